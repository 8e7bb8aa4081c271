//! What needs no server: addresses, statements and what is stored of names. (The rest is in `tests/postgres`, on a real one.)

use super::super::conformance::{client_receipt, key, request};
use super::super::tls::Files;
use super::super::{Batch, EntityKey, OwedChange, Payload, Record, WakeChange};
use super::connect::Address;
use super::plan::{Columns, entity_number, plan};
use super::statement::Statement;
use super::tls::Tls;

fn parse(url: &str) -> Result<Address, String> {
    Address::parse(url, &Tls::default())
}

fn authorities(path: &str) -> Files {
    Files { root_cert_file: Some(path.into()), ..Files::default() }
}

#[test]
fn addresses_name_tls_as_libpq_does() {
    let address = parse("postgres://u:p@h/d?sslmode=verify-full&sslrootcert=certs%2Fca.pem").expect("valid");
    assert_eq!(address.config.get_ssl_mode(), tokio_postgres::config::SslMode::Require);
    assert_eq!(address.tls, Some(authorities("certs/ca.pem")));
    assert_eq!(parse("postgres://h/d?sslmode=require").expect("valid").tls, Some(Files::default()));
    let both = parse("postgres://h/d?sslmode=require&sslcert=a&sslkey=b").expect("valid").tls.expect("TLS");
    assert_eq!((both.client_cert_file, both.client_key_file), (Some("a".into()), Some("b".into())));
    let plain = parse("postgres://u@h:5433/d?connect_timeout=2").expect("valid");
    assert_eq!((plain.config.get_ports(), plain.tls), (&[5433][..], None));
    assert!(parse("postgres://h/d?sslmode=prefer").expect("valid").tls.is_none());
    for wrong in ["postgres://h:port/", "postgres://h/d?sslmode=allways", "postgres://h/d?sslcrl=list.pem"] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn who_names_certificates_must_ask_for_tls() {
    assert!(parse("postgres://h/d?sslrootcert=ca.pem").is_err());
    assert!(parse("postgres://h/d?sslmode=disable&sslrootcert=ca.pem").is_err());
    let configured = Tls { is_required: None, files: authorities("ca.pem") };
    assert!(Address::parse("postgres://h/d", &configured).is_err());
    assert!(Address::parse("postgres://h/d?sslmode=require", &configured).is_ok());
}

#[test]
fn the_address_is_right_where_the_configuration_says_something_else() {
    let configured = Tls { is_required: Some(true), files: authorities("ca.pem") };
    let of = |url: &str| Address::parse(url, &configured).expect("valid").tls;
    assert_eq!(of("postgres://h/d"), Some(authorities("ca.pem")));
    assert_eq!(of("postgres://h/d?sslrootcert=other.pem"), Some(authorities("other.pem")));
    assert_eq!(of("postgres://h/d?sslmode=disable"), None);
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
        let (owner, plans) = plan(Batch::of("me", [record]));
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
