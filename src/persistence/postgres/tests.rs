//! What needs no server: addresses. (The rest is in `tests/postgres`, on a real one.)

use super::connect::Address;

#[test]
fn addresses_name_tls_as_libpq_does() {
    let address = Address::parse("postgres://u:p@h/d?sslmode=verify-full&sslrootcert=certs%2Fca.pem").expect("valid");
    assert_eq!(address.config.get_ssl_mode(), tokio_postgres::config::SslMode::Require);
    assert_eq!(address.ca_file.as_deref(), Some(std::path::Path::new("certs/ca.pem")));
    let plain = Address::parse("postgres://u@h:5433/d").expect("valid");
    assert_eq!((plain.config.get_ports(), plain.ca_file), (&[5433][..], None));
    assert!(Address::parse("postgres://h:port/").is_err());
}
