use std::io::Write;

use serde_json::json;

use super::contact::country_code;
use super::journal_check::{Entry, History};
use super::oracle::{Expected, Shortage, sequential};
use super::schedule::Schedule;
use super::shopper::filling;
use super::state::{Log, Outcome, Refusal, Terms};
use super::*;

fn retail(rows: &str) -> Retail {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    let header = "invoice,stock_code,description,quantity,invoice_date,price,customer_id,country,reconstructed";
    write!(file, "{header}\n{rows}").expect("written");
    Retail::read(file.path()).expect("a readable file")
}

fn row(invoice: u32, sku: &str, quantity: u32, customer: &str) -> String {
    format!("{invoice},{sku},CUP,{quantity},2010-01-01 10:00,1.0,{customer},EIRE,0\n")
}

#[test]
fn the_oracle_rejects_whole_invoices_and_gives_nothing_away() {
    let retail = retail(
        &[
            row(500_001, "20001", 3, "1"),
            row(500_002, "20001", 1, ""),
            row(500_002, "20002", 2, ""),
            row(500_002, "20001", 2, ""),
            row(500_003, "20002", 4, "2"),
            row(500_004, "20001", 2, "2"),
        ]
        .concat(),
    );
    assert_eq!(retail.sold(usize::MAX), [8, 6]);
    let short = Shortage { item: 0, available: 2, requested: 3 };
    assert_eq!(
        sequential(&retail, 4, &[5, 5]),
        [Expected::Confirmed, Expected::Rejected(vec![short]), Expected::Confirmed, Expected::Confirmed]
    );
    assert_eq!(sequential(&retail, 4, &[8, 6]), vec![Expected::Confirmed; 4]);
    let none = sequential(&retail, 2, &[0, 0]);
    assert!(matches!(&none[1], Expected::Rejected(short) if short.len() == 2), "{none:?}");
}

#[test]
fn the_schedule_keeps_each_customer_s_order_and_with_one_client_the_file_s() {
    let rows: String = [(500_001, "1"), (500_002, "1"), (500_003, ""), (500_004, "2"), (500_005, "1"), (500_006, "")]
        .iter()
        .map(|(invoice, customer)| row(*invoice, "20001", 1, customer))
        .collect();
    let retail = retail(&rows);
    let mut alone = Schedule::new(&retail.invoices, |_| false);
    for expected in 0..6 {
        assert_eq!(alone.take(), Some(expected));
        alone.played(expected);
    }
    assert_eq!(alone.take(), None);

    let mut many = Schedule::new(&retail.invoices, |_| false);
    let taken: Vec<_> = std::iter::from_fn(|| many.take()).collect();
    assert_eq!(taken, [0, 2, 3, 5]);
    many.played(0);
    assert_eq!((many.take(), many.take()), (Some(1), None));

    let mut rest = Schedule::new(&retail.invoices, |index| index <= 2);
    assert_eq!(rest.take(), Some(3));
    rest.stop();
    assert_eq!(rest.take(), None);
}

fn terms() -> Terms {
    Terms { fingerprint: "f".to_owned(), stock: "90%".to_owned(), invoices: 3, sequential: true, bulk: false }
}

#[test]
fn a_replay_goes_on_from_its_state_even_after_a_torn_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("state");
    let confirmed = Outcome::Confirmed { order: "ord_1".to_owned() };
    let refusal = Refusal {
        code: "insufficient_stock".to_owned(),
        sku: Some("1".to_owned()),
        available: Some(1),
        requested: Some(2),
    };
    let rejected = Outcome::Rejected { order: "ord_2".to_owned(), refusal };
    let run = {
        let log = Log::open(Some(&path), terms()).expect("a new state");
        assert!(!log.is_prepared());
        log.prepared().expect("written");
        log.played(500_001, &confirmed).expect("written");
        log.played(500_002, &rejected).expect("written");
        assert!(Log::open(Some(&path), terms()).is_err(), "two replays with one state");
        log.run().clone()
    };
    let whole = std::fs::read(&path).expect("readable");
    std::fs::write(&path, &whole[..whole.len() - 7]).expect("torn");
    let log = Log::open(Some(&path), terms()).expect("the state again");
    assert_eq!((log.run(), log.is_prepared()), (&run, true));
    assert_eq!((log.found(500_001), log.found(500_002)), (Some(&confirmed), None));
    log.played(500_002, &rejected).expect("written");
    drop(log);
    assert_eq!(std::fs::read(&path).expect("readable"), whole);
}

#[test]
fn a_state_of_other_terms_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("state");
    drop(Log::open(Some(&path), terms()).expect("a new state"));
    let other = Terms { stock: "exact".to_owned(), ..terms() };
    let error = Log::open(Some(&path), other).map(|_| ()).expect_err("other terms");
    assert!(format!("{error:#}").contains("other terms"), "{error:#}");
}

#[test]
fn bulk_is_among_the_terms_and_older_states_are_without() {
    let old = json!({"fingerprint": "f", "stock": "90%", "invoices": 3, "sequential": true});
    assert_eq!(serde_json::from_value::<Terms>(old).expect("terms"), terms());
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("state");
    drop(Log::open(Some(&path), terms()).expect("a new state"));
    assert!(Log::open(Some(&path), Terms { bulk: true, ..terms() }).is_err());
}

#[test]
fn a_cart_is_filled_line_by_line_or_with_500_at_once() {
    let rows: String = (0..1_001).map(|line| row(500_001, &format!("2{line:04}"), line + 1, "1")).collect();
    let retail = retail(&rows);
    let lines = retail.lines(&retail.invoices[0]);
    let single: Vec<_> = filling(&retail, lines, false).collect();
    assert_eq!(single.len(), 1_001);
    assert_eq!(single[7], ("line-7".to_owned(), r#"{"sku":"20007","quantity":8}"#.to_owned()));
    let bulk: Vec<_> = filling(&retail, lines, true).collect();
    let steps: Vec<_> = bulk.iter().map(|(step, _)| step.as_str()).collect();
    assert_eq!(steps, ["lines-0", "lines-1", "lines-2"]);
    let read = |body: &str| serde_json::from_str::<serde_json::Value>(body).expect("JSON")["lines"].clone();
    let all = bulk.iter().flat_map(|(_, body)| read(body).as_array().expect("a list").clone());
    let each = single.iter().map(|(_, body)| serde_json::from_str::<serde_json::Value>(body).expect("JSON"));
    assert!(all.eq(each));
    assert_eq!(read(&bulk[2].1), json!([{"sku": "21000", "quantity": 1001}]));
}

#[test]
fn keys_are_long_enough_for_guests_and_differ_by_step() {
    let log = Log::open(None, terms()).expect("no file");
    let key = log.run().key(489_434, "open");
    assert!(key.len() >= 22 && key.len() <= 255, "{key}");
    assert_ne!(key, log.run().key(489_434, "line-0"));
}

#[test]
fn countries_of_the_file_have_codes_and_unknown_ones_are_home() {
    for (name, code) in
        [("EIRE", "IE"), ("RSA", "ZA"), ("Unspecified", "GB"), ("Channel Islands", "JE"), ("Unit", "GB")]
    {
        assert_eq!(country_code(name), code);
    }
}

#[test]
fn a_sku_s_journal_tells_what_was_available_when() {
    let journal = json!([
        {"version": 1, "at": "2026-01-01T00:00:00.000Z", "events": [{"type": "claimed", "data": {"fresh": true}}]},
        {"version": 2, "at": "2026-01-01T00:00:01.000Z", "events": [{"type": "stock_set", "data": {"on_hand": 10}}]},
        {"version": 3, "at": "2026-01-01T00:00:02.000Z", "events": [
            {"type": "reserved", "data": {"order": "a", "quantity": 4}},
            {"type": "reserved", "data": {"order": "b", "quantity": 3}}]},
        {"version": 4, "at": "2026-01-01T00:00:03.000Z", "events": [
            {"type": "committed", "data": {"order": "a", "quantity": 4}}, {"type": "band_changed", "data": {}}]},
        {"version": 5, "at": "2026-01-01T00:00:04.000Z", "events": [{"type": "hold_released", "data": {"order": "b"}}]},
        {"version": 6, "at": "2026-01-01T00:00:10.000Z", "events": [
            {"type": "reserved", "data": {"order": "c", "quantity": 2}}, {"type": "released"}]},
        {"version": 7, "at": "2026-01-01T00:00:11.000Z", "events": [{"type": "claimed", "data": {"fresh": true}}]},
        {"version": 8, "at": "2026-01-01T00:00:12.000Z", "events": [{"type": "stock_set", "data": {"on_hand": 5}}]},
        {"version": 9, "at": "2026-01-01T00:00:13.000Z", "events": [
            {"type": "committed", "data": {"order": "c", "quantity": 2}},
            {"type": "restocked_past", "data": {"order": "c", "quantity": 2}}]},
    ]);
    let entries: Vec<Entry> = serde_json::from_value(journal).expect("entries");
    let history = History::of(&entries).expect("a consistent journal");
    let decisive = |since: &str, until: &str, available| {
        history.decisive(&format!("2026-01-01T00:00:{since}Z"), &format!("2026-01-01T00:00:{until}Z"), available)
    };
    assert_eq!(decisive("01.500", "01.600", 10), Some((2, true)));
    assert_eq!(decisive("01.500", "02.600", 3), Some((3, true)));
    assert_eq!(decisive("03.500", "03.600", 3), Some((4, true)));
    assert_eq!(decisive("03.500", "09.000", 6), Some((5, true)));
    assert_eq!(decisive("02.500", "03.600", 6), None);
    assert_eq!(decisive("01.500", "02.600", 6), Some((3, false)), "within a record");
    assert_eq!(decisive("02.500", "03.600", 10), None);
    assert_eq!(decisive("11.500", "11.600", 0), Some((7, true)), "another variant has none of the pieces");
    assert_eq!(decisive("13.500", "13.600", 5), Some((9, true)), "what was sold before is not of it");

    let wrong: Vec<Entry> = serde_json::from_value(json!([
        {"version": 1, "at": "", "events": [{"type": "reserved", "data": {"order": "a", "quantity": 4}}]},
    ]))
    .expect("entries");
    assert!(History::of(&wrong).is_err());
}
