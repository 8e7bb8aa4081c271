use super::rows::parse_pence;
use super::*;
use crate::fuzz::{Verdict, decoder};

#[path = "../../../tests/support/retail_sample.rs"]
mod retail_sample;

const HEADER: &str = "invoice,stock_code,description,quantity,invoice_date,price,customer_id,country,reconstructed\n";

fn parse(rows: &str) -> Retail {
    Retail::parse(format!("{HEADER}{rows}").as_bytes()).expect("a readable file")
}

#[test]
fn prices_are_read_exactly() {
    for (text, pence) in
        [("6.95", 695), ("2.1", 210), ("3", 300), ("0.04", 4), ("-53594.36", -5_359_436), ("1.500", 150), (".5", 50)]
    {
        assert_eq!(parse_pence(text), Some(pence), "{text}");
    }
    for wrong in ["", ".", "-", "1.005", "1e3", "1,5", "1.2.3", "+1", "99999999999999999999"] {
        assert_eq!(parse_pence(wrong), None, "{wrong}");
    }
}

#[test]
fn only_sale_rows_are_sales_and_the_others_are_counted_by_reason() {
    let retail = parse(
        "489434,85048,LIGHTS,12,2009-12-01 07:45,6.95,13085,United Kingdom,0\n\
         489434,post,POSTAGE,1,2009-12-01 07:45,18.0,13085,United Kingdom,0\n\
         C489435,85048,LIGHTS,-12,2009-12-01 07:46,6.95,13085,United Kingdom,0\n\
         489436,85048,LIGHTS,-1,2009-12-01 07:46,6.95,,United Kingdom,0\n\
         489437,85048,LIGHTS,1,2009-12-01 07:46,0.0,,United Kingdom,0\n\
         ,85048,LIGHTS,-1,2009-12-01 07:46,6.95,,United Kingdom,1\n\
         A506401,B,Adjust bad debt,1,2010-04-29 13:36,-53594.36,,United Kingdom,0\n\
         489438,85048,LIGHTS,many,2009-12-01 07:46,6.95,,United Kingdom,0\n\
         489439,8504,SHORT,1,2009-12-01 07:46,6.95,,United Kingdom,0\n\
         489440,85048,FRACTION,1,2009-12-01 07:46,6.955,,United Kingdom,0\n\
         489441,85048\n\
         489442,M,Manual,1,2009-12-01 07:46,0.001,,United Kingdom,0\n",
    );
    assert_eq!(retail.rows, 12);
    assert_eq!(retail.sale_rows(usize::MAX), 1);
    let skipped: Vec<_> = retail.skipped.iter().map(|(why, skipped)| (*why, skipped.rows)).collect();
    assert_eq!(
        skipped,
        [
            (Skip::Unreadable, 3),
            (Skip::NoInvoice, 1),
            (Skip::Cancellation, 1),
            (Skip::OtherInvoice, 1),
            (Skip::NotSold, 1),
            (Skip::Free, 1),
            (Skip::NotAProduct, 3),
        ]
    );
    assert_eq!(
        retail.skipped[&Skip::NotAProduct].examples,
        [(3, "post".to_owned()), (10, "8504".to_owned()), (13, "M".to_owned())]
    );
}

#[test]
fn a_sku_has_its_most_frequent_price_and_title_and_the_lowest_and_first_on_ties() {
    let row =
        |code: &str, title: &str, price: &str| format!("489434,{code},{title},1,2009-12-01 07:45,{price},,EIRE,0\n");
    let retail = parse(
        &[
            row("22041b", "RECORD  FRAME ", "2.1"),
            row("22041B", " RECORD FRAME", "2.55"),
            row("22041B", "ALBUM FRAME", "2.55"),
            row("22041B", "ALBUM FRAME", "2.1"),
            row("22041B", "", "9.0"),
            row("10002", "?", "0.85"),
        ]
        .concat(),
    );
    let expected =
        [("10002", "Item 10002", "Curiosities", 85), ("22041B", "ALBUM FRAME", "Frames and photographs", 210)];
    let items: Vec<_> = retail.items.iter().map(|i| (i.sku.as_str(), i.title.as_str(), i.category, i.price)).collect();
    assert_eq!(items, expected);
    assert_eq!((retail.item("22041B"), retail.item("9")), (Some(1), None));
}

#[test]
fn an_invoice_has_its_lines_in_file_order_wherever_they_lie() {
    let retail = parse(
        "500002,20001,CUP,5,2010-03-01 09:00,1.0,1,EIRE,0\n\
         500001,20003,BAG,1,2010-03-01 09:00,2.0,,France,0\n\
         500002,20000,BOX,2,2010-03-01 09:01,3.0,1,EIRE,0\n\
         500002,20001,CUP,4,2010-03-01 09:01,1.5,1,EIRE,0\n",
    );
    let numbers: Vec<_> = retail.invoices.iter().map(|invoice| (invoice.number, invoice.customer)).collect();
    assert_eq!(numbers, [(500_002, Some(1)), (500_001, None)]);
    let first = &retail.invoices[0];
    assert_eq!((first.month(), first.at.as_str()), ("2010-03", "2010-03-01 09:00"));
    let lines: Vec<_> = retail.lines(first).iter().map(|line| (line.item, line.quantity)).collect();
    assert_eq!(lines, [(1, 5), (0, 2), (1, 4)]);
    assert_eq!(retail.quantities(first), BTreeMap::from([(0, 2), (1, 9)]));
    assert_eq!(retail.value(first), 9 * 100 + 2 * 300);
    assert_eq!(retail.sold(1), [2, 9, 0]);
    assert_eq!(retail.sold(2), [2, 9, 1]);
}

#[test]
fn another_file_is_refused_with_what_is_expected() {
    let error = Retail::parse("sku,title\n1,2\n".as_bytes()).expect_err("not this format").to_string();
    assert!(error.contains("invoice,stock_code"), "{error}");
}

#[test]
fn the_generated_sample_reads_as_it_was_made() {
    let sample = retail_sample::Sample::default();
    let (csv, known) = retail_sample::generate(&sample);
    let retail = Retail::parse(csv.as_bytes()).expect("a readable sample");
    let guests = retail.invoices.iter().filter(|invoice| invoice.customer.is_none()).count() as u64;
    let found = retail_sample::Known {
        rows: retail.rows,
        sale_rows: retail.sale_rows(usize::MAX) as u64,
        invoices: retail.invoices.len() as u64,
        guest_invoices: guests,
        units: retail.sold(usize::MAX).iter().sum(),
    };
    assert_eq!(found, known);
    assert!(retail.skipped.len() >= 6, "{:?}", retail.skipped);
    assert!(retail.invoices.iter().any(|invoice| retail.lines(invoice).len() >= 300));
    assert_eq!(retail_sample::generate(&sample), (csv, known));
}

#[test]
fn fuzz_online_retail() {
    let rows = "489434,85048,LIGHTS,12,2009-12-01 07:45,6.95,13085,United Kingdom,0\n\
                489434,post,POSTAGE,1,2009-12-01 07:45,18.0,13085,United Kingdom,0\n\
                C489435,85048A,LIGHTS,-12,2009-12-01 07:46,6.95,,United Kingdom,0\n\
                489436,85048A,LIGHTS,1000000,2009-12-01 07:46,1000000.00,13085.0,EIRE,0\n";
    decoder("online-retail", [format!("{HEADER}{rows}").into_bytes()], |bytes| match Retail::parse(bytes) {
        Ok(retail) => {
            let sold: u64 = retail.sold(usize::MAX).iter().sum();
            let bought = retail.invoices.iter().flat_map(|invoice| retail.lines(invoice));
            let same = sold == bought.map(|line| u64::from(line.quantity)).sum::<u64>();
            let priced = retail.invoices.iter().all(|invoice| retail.value(invoice) >= 0);
            Verdict::accepted(same && priced, "what is sold is what was bought, at a price")
        }
        Err(_) => Verdict::Refused,
    });
}
