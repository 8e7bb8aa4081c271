//! What needs no server: addresses. (The rest is in `tests/postgres`, on a real one.)

use super::super::tls::Files;
use super::connect::Address;
use super::tls::Tls;

fn parse(url: &str) -> Result<Address, String> {
    Address::parse(url, &Tls::default())
}

fn authorities(path: &str) -> Files {
    Files { root_cert: Some(path.into()), ..Files::default() }
}

#[test]
fn addresses_name_tls_as_libpq_does() {
    let address = parse("postgres://u:p@h/d?sslmode=verify-full&sslrootcert=certs%2Fca.pem").expect("valid");
    assert_eq!(address.config.get_ssl_mode(), tokio_postgres::config::SslMode::Require);
    assert_eq!(address.tls, Some(authorities("certs/ca.pem")));
    assert_eq!(parse("postgres://h/d?sslmode=require").expect("valid").tls, Some(Files::default()));
    let both = parse("postgres://h/d?sslmode=require&sslcert=a&sslkey=b").expect("valid").tls.expect("TLS");
    assert_eq!((both.client_cert, both.client_key), (Some("a".into()), Some("b".into())));
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
