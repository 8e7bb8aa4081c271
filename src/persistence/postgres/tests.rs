//! What needs no server: addresses, statements and what is stored of names. (The rest is in `tests/postgres`, on a real one.)

use super::super::conformance::{client_receipt, key, request};
use super::super::{Batch, EntityKey, OwedChange, Payload, Record, WakeChange};
use super::connect::Address;
use super::plan::{Columns, entity_number, plan};
use super::statement::Statement;

#[test]
fn addresses_name_tls_as_libpq_does() {
    let address = Address::parse("postgres://u:p@h/d?sslmode=verify-full&sslrootcert=certs%2Fca.pem").expect("valid");
    assert_eq!(address.config.get_ssl_mode(), tokio_postgres::config::SslMode::Require);
    assert_eq!(address.ca_file.as_deref(), Some(std::path::Path::new("certs/ca.pem")));
    let plain = Address::parse("postgres://u@h:5433/d").expect("valid");
    assert_eq!((plain.config.get_ports(), plain.ca_file), (&[5433][..], None));
    assert!(Address::parse("postgres://h:port/").is_err());
}

#[test]
fn the_number_of_an_entity_never_changes() {
    let numbers = [(3, "cart_00000000000000000000000001"), (4, "cart_00000000000000000000000001"), (255, "é")]
        .map(|(kind, id)| entity_number(&EntityKey { kind, id: id.into() }));
    assert_eq!(numbers, [1_738_600_137, 1_292_713_911, -1_929_403_066]);
}

fn record(seq: u64) -> Record {
    Record {
        slot: 1,
        seq,
        epoch: 1,
        key: key("a"),
        version: seq,
        at_ms: 1,
        request: request(seq),
        receipt: None,
        events: vec![Payload { type_number: 0x0a01, version: 1, bytes: vec![1] }],
        owed: None,
        wake: None,
    }
}

/// The numbers of the parameters that a text names.
fn named(text: &str) -> Vec<usize> {
    let digits = |piece: &str| piece.chars().take_while(char::is_ascii_digit).collect::<String>();
    let mut named: Vec<usize> = text.split('$').skip(1).map(|piece| digits(piece).parse().expect("a number")).collect();
    named.sort_unstable();
    named.dedup();
    named
}

#[test]
fn a_statement_has_the_parts_that_its_batch_has() {
    let plain = record(2);
    let wake = Some(WakeChange { before_ms: Some(1), after_ms: Some(2) });
    let owed = Some(OwedChange { before_due_ms: Some(1), after: None });
    let full = Record { receipt: Some(client_receipt(9)), wake, owed, ..record(1) };
    let parts = ["souk_entities", "souk_receipts", "souk_owed", "souk_wakes", "souk_snapshots"];
    for (record, has) in [(plain, [false; 5]), (full, [true, true, true, true, false])] {
        let (owner, plans) = plan(Batch { owner: "me".into(), records: vec![record], snapshots: Vec::new() });
        let columns = Columns::of(&plans);
        let owner = &*owner;
        for statement in [Statement::quick(&columns, &owner), Statement::careful(&columns, &owner)] {
            let Statement { text, parameters } = statement;
            assert_eq!(named(&text), (1..=parameters.len()).collect::<Vec<_>>(), "{text}");
            assert_eq!(parts.map(|part| text.contains(part)), has, "{text}");
            assert!(text.contains("insert into souk_records"), "{text}");
        }
    }
}
