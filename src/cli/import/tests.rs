use std::io::Write;

use super::wanted::{Named, WantedPrice};
use super::*;
use crate::actors::values::{Currency, Money};
use crate::cli::args::StockShare;
use crate::fuzz::{Verdict, decoder};

fn parse_text(text: &str) -> anyhow::Result<Parsed> {
    parse_bytes(text.as_bytes(), Format::default())
}

fn parse_bytes(bytes: &[u8], format: Format) -> anyhow::Result<Parsed> {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("written");
    parse(file.path(), format, ImportStock::Share(StockShare::EXACT))
}

/// What `parsed` has: SKUs with their prices, and the lines in error.
fn read(parsed: &Parsed) -> (Vec<(String, i64)>, Vec<u64>) {
    let variants = parsed.products.iter().flat_map(|product| &product.variants);
    let amount = |price: &WantedPrice| price.money(None).map_or(-1, |money| money.amount);
    let prices = variants.map(|variant| (variant.sku.to_string(), amount(&variant.price))).collect();
    (prices, parsed.errors.iter().map(|error| error.line).collect())
}

#[test]
fn a_csv_catalogue_has_products_variants_and_rows_in_error() {
    let parsed = parse_text(
        "sku,title,price,currency,category,on_hand,product,option:size,attribute:fabric\n\
         TEE-S,Tee,19.99,GBP,Clothes > Shirts|New,5,tee,S,cotton\n\
         TEE-M,Tee,21.5,GBP,,,tee,M,\n\
         MUG,Mug,700,JPY,,0,,,\n\
         bad sku,Mug,1,,,,,,\n\
         PLATE,,1,,,,,,\n\
         FORK,Fork,1.005,GBP,,,,,\n\
         KNIFE,Knife,1,,,many,,,\n\
         MUG,Mug again,1,,,,,,\n",
    )
    .expect("a catalogue");
    assert_eq!(parsed.products.len(), 2);
    let tee = &parsed.products[0];
    let paths = [vec!["Clothes".to_owned(), "Shirts".to_owned()], vec!["New".to_owned()]];
    assert_eq!(tee.categories.as_deref(), Some(paths.as_slice()));
    assert_eq!(tee.attributes, Named::Among([("fabric".to_owned(), "cotton".to_owned())].into()));
    let variants: Vec<_> = tee.variants.iter().map(|v| (v.sku.as_str(), v.line, v.on_hand)).collect();
    assert_eq!(variants, [("TEE-S", 2, Some(5)), ("TEE-M", 3, None)]);
    let pounds = |pence| WantedPrice::Money(Money::new(pence, Currency::GBP));
    let prices: Vec<_> = tee.variants.iter().map(|v| v.price.clone()).collect();
    assert_eq!(prices, [pounds(1_999), pounds(2_150)]);
    let yen = "JPY".parse::<Currency>().expect("a currency");
    assert_eq!(parsed.products[1].variants[0].price, WantedPrice::Money(Money::new(700, yen)));
    let errors: Vec<_> = parsed.errors.iter().map(|error| (error.line, error.what.as_str())).collect();
    assert_eq!(errors, [(5, "bad sku"), (6, "PLATE"), (7, "FORK"), (8, "KNIFE"), (9, "MUG")]);
}

#[test]
fn json_lines_are_a_catalogue_too() {
    let parsed = parse_text(concat!(
        r#"{"title": "Tee", "variants": [{"sku": "TEE", "price": {"amount": 5, "currency": "EUR"}}]}"#,
        "\n\n",
        r#"{"sku": "MUG", "title": "Mug", "price": "7.50", "on_hand": 12, "status": "draft","#,
        r#" "categories": ["Home>Mugs"]}"#,
        "\n",
        r#"{"sku": "CUP", "title": "Cup", "price": "7.50", "colour": "red"}"#,
        "\n",
        r#"{"sku": "TEE", "title": "Tee", "price": "1"}"#,
        "\nnonsense\n",
    ))
    .expect("a catalogue");
    let titles: Vec<_> = parsed.products.iter().map(|p| (p.title.as_str(), p.status, p.line)).collect();
    assert_eq!(titles, [("Tee", None, 1), ("Mug", Some("draft"), 3)]);
    assert_eq!(parsed.products[1].variants[0].on_hand, Some(12));
    let lines: Vec<_> = parsed.errors.iter().map(|error| error.line).collect();
    assert_eq!(lines, [4, 5, 6]);
}

#[test]
fn an_online_retail_file_is_known_by_its_header() {
    let parsed = parse_text(
        "invoice,stock_code,description,quantity,invoice_date,price,customer_id,country,reconstructed\n\
         489434,79323p,PINK CHERRY LIGHTS,12,2009-12-01 07:45,6.75,13085,United Kingdom,0\n",
    )
    .expect("a catalogue");
    let product = &parsed.products[0];
    assert_eq!(product.categories, Some(vec![vec!["Lamps and lanterns".to_owned()]]));
    assert_eq!(product.variants[0].on_hand, Some(12));
    assert_eq!(read(&parsed).0, [("79323P".to_owned(), 675)]);
}

#[test]
fn what_is_no_catalogue_is_refused_with_the_reason() {
    for (text, why) in [
        ("name,price\nx,1\n", "none of them is sku"),
        ("sku,title\nx,1\n", "price is missing"),
        ("sku,title,price,price\nx,y,1,2\n", "the column price is there twice"),
        ("sku,title,price,option:a,option:a\nx,y,1,2,3\n", "the column option:a is there twice"),
        ("sku,title,price,option:\nx,y,1,2\n", "unknown column"),
        ("sku;title;price\nx;y;1\n", "another --delimiter"),
        ("sku,title,price,colour\nx,y,1,red\n", "unknown column \"colour\""),
    ] {
        let error = format!("{:#}", parse_text(text).expect_err("no catalogue"));
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_row_of_another_length_than_the_header_is_in_error() {
    let parsed = parse_text(
        "sku,title,price,on_hand\n\
         A,Ah,6,50,7\n\
         B,Bee,1,2\n\
         C,Sea,1\n\
         D,\"Dee,\n \"\"D\"\"\",2,3\n\
         E,Eh,\"6,50\",1\n",
    )
    .expect("a catalogue");
    assert_eq!(read(&parsed), (vec![("B".to_owned(), 100), ("D".to_owned(), 200)], vec![2, 4, 7]));
    assert!(parsed.errors[0].reason.contains("5 cells, the header 4"), "{}", parsed.errors[0].reason);
}

#[test]
fn quotes_that_do_not_fit_refuse_the_whole_file_with_their_line() {
    for (rows, line) in [
        ("A,Ah,1,\nB,\"Bee,1,\nC,Sea,1,\n", "line 3: "),
        ("A,Ah,\"6\"50,1\n", "line 2: "),
        ("A,Ah,1,\nB,\"Bee\"x,1,\n", "line 3: "),
    ] {
        let error = format!("{:#}", parse_text(&format!("sku,title,price,on_hand\n{rows}")).expect_err("refused"));
        assert!(error.contains(line), "{error}");
    }
    let header = format!("{:#}", parse_text("sku,\"title,price\nA,Ah,1\n").expect_err("refused"));
    assert!(header.contains("line 1: "), "{header}");
}

#[test]
fn a_csv_of_another_place_is_read_as_it_is_written() {
    let format = Format { delimiter: b';', decimal_comma: true };
    let text = "\u{feff}sku;title;price;category\nA;Ah, oh;6,50;X > Y\nB;Bee;7;\nC;Sea;1.000,50;\nD;Dee;1,2,3;\n";
    let parsed = parse_bytes(text.as_bytes(), format).expect("a catalogue");
    assert_eq!(read(&parsed), (vec![("A".to_owned(), 650), ("B".to_owned(), 700)], vec![4, 5]));
    let tabs = Format { delimiter: b'\t', decimal_comma: false };
    let parsed = parse_bytes(b"sku\ttitle\tprice\nA\t\"A\th\"\t6.50\n", tabs).expect("a catalogue");
    assert_eq!(read(&parsed), (vec![("A".to_owned(), 650)], vec![]));
}

#[test]
fn a_line_of_json_that_cannot_be_read_is_in_error_and_the_others_go_on() {
    let line = |sku: &str| format!("{{\"sku\": \"{sku}\", \"title\": \"T\", \"price\": \"1\"}}\n");
    let mut text = format!("\u{feff}{}", line("A")).into_bytes();
    text.extend(b"{\"sku\": \"X\", \"title\": \"Caf\xe9\", \"price\": \"1\"}\n");
    text.extend(line("B").bytes());
    text.extend(b"{\"title\": \"");
    text.extend(std::iter::repeat_n(b'x', 5 << 20));
    text.extend(b"\"}\n");
    text.extend(line("C").trim_end().bytes());
    let parsed = parse_bytes(&text, Format::default()).expect("a catalogue");
    let skus: Vec<_> = read(&parsed).0.into_iter().map(|(sku, _)| sku).collect();
    assert_eq!(skus, ["A", "B", "C"]);
    let errors: Vec<_> = parsed.errors.iter().map(|error| (error.line, error.reason.as_str())).collect();
    assert_eq!(errors[0], (2, "not UTF-8 at byte 27"));
    assert_eq!((errors.len(), errors[1].0), (2, 4));
    assert!(errors[1].1.contains("longer than"), "{}", errors[1].1);
}

#[test]
fn a_sku_of_an_earlier_file_is_in_error() {
    let file = |name: &str, text: &str| {
        csv_catalogue::parse(name, text.as_bytes(), Format::default()).expect("a catalogue").products
    };
    let mut products = file("a", "sku,title,price\nA,Ah,1\n");
    products.extend(file("b", "sku,title,price\nB,Bee,1\nA,Ah,2\n"));
    let (kept, repeated) = distinct(products);
    assert_eq!(kept.len(), 2);
    let reason = "this SKU was there before in a".to_owned();
    assert_eq!(repeated, [("b".to_owned(), RowError { line: 3, what: "A".to_owned(), reason })]);
}

#[test]
fn fuzz_catalogues() {
    let judge = |parsed: anyhow::Result<Parsed>| match parsed {
        Ok(parsed) => {
            let whole = parsed.products.iter().all(|product| !product.variants.is_empty());
            Verdict::accepted(whole, "a product has a variant")
        }
        Err(_) => Verdict::Refused,
    };
    let csv = "sku,title,price,currency,category,on_hand,product,option:size,attribute:fabric,slug,status\n\
               TEE-S,Tee,19.99,GBP,Clothes > Shirts|New,5,tee,S,cotton,tee,draft\nMUG,Mug,700,JPY,,0,,,,,\n";
    decoder("catalogue-csv", [csv.into()], |bytes| judge(csv_catalogue::parse("file", bytes, Format::default())));
    let json = "{\"title\":\"Tee\",\"categories\":[\"A > B\"],\"variants\":[{\"sku\":\"TEE-M\",\"options\":{\"size\":\"M\"},\
                \"price\":{\"amount\":1999,\"currency\":\"GBP\"},\"on_hand\":5}]}\n{\"sku\":\"MUG\",\"title\":\"Mug\",\"price\":\"7.50\"}\n";
    decoder("catalogue-json", [json.into()], |bytes| judge(json_catalogue::parse("file", bytes)));
}
