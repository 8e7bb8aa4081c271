use std::io::Write;

use super::*;
use crate::actors::values::{Currency, Money};
use crate::cli::args::StockShare;
use crate::fuzz::{Verdict, decoder};

fn parse_text(text: &str) -> anyhow::Result<Parsed> {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("written");
    parse(file.path(), ImportStock::Share(StockShare::EXACT))
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
         FORK,Fork,1.005,,,,,,\n\
         KNIFE,Knife,1,,,many,,,\n\
         MUG,Mug again,1,,,,,,\n",
    )
    .expect("a catalogue");
    assert_eq!(parsed.products.len(), 2);
    let tee = &parsed.products[0];
    let paths = [vec!["Clothes".to_owned(), "Shirts".to_owned()], vec!["New".to_owned()]];
    assert_eq!(tee.categories.as_deref(), Some(paths.as_slice()));
    assert_eq!(tee.attributes.as_ref().map(|attributes| attributes["fabric"].as_str()), Some("cotton"));
    let variants: Vec<_> = tee.variants.iter().map(|v| (v.sku.as_str(), v.price.amount, v.on_hand)).collect();
    assert_eq!(variants, [("TEE-S", 1_999, Some(5)), ("TEE-M", 2_150, None)]);
    let yen = "JPY".parse::<Currency>().expect("a currency");
    assert_eq!(parsed.products[1].variants[0].price, Money::new(700, yen));
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
    assert_eq!(titles, [("Tee", "published", 1), ("Mug", "draft", 3)]);
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
    let variant = &product.variants[0];
    assert_eq!((variant.sku.as_str(), variant.price.amount, variant.on_hand), ("79323P", 675, Some(12)));
}

#[test]
fn what_is_no_catalogue_is_refused_with_the_reason() {
    for (text, why) in [
        ("name,price\nx,1\n", "none of them is sku"),
        ("sku,title\nx,1\n", "price is missing"),
        ("sku,title,price,colour\nx,y,1,red\n", "unknown column \"colour\""),
    ] {
        let error = format!("{:#}", parse_text(text).expect_err("no catalogue"));
        assert!(error.contains(why), "{error}");
    }
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
    decoder("catalogue-csv", [csv.into()], |bytes| judge(csv_catalogue::parse("file", bytes)));
    let json = "{\"title\":\"Tee\",\"categories\":[\"A > B\"],\"variants\":[{\"sku\":\"TEE-M\",\"options\":{\"size\":\"M\"},\
                \"price\":{\"amount\":1999,\"currency\":\"GBP\"},\"on_hand\":5}]}\n{\"sku\":\"MUG\",\"title\":\"Mug\",\"price\":\"7.50\"}\n";
    decoder("catalogue-json", [json.into()], |bytes| judge(json_catalogue::parse("file", bytes)));
}
