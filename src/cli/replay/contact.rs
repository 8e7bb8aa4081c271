//! The contact of an invoice. The file knows a customer number and a country; the rule for the rest:
//!
//! - email: `c12345@customers.example.com`; a guest's: `guest-489434@customers.example.com`, by the invoice
//! - name: `Customer 12345`; `Guest 489434`
//! - street, city: `Not recorded`; postal code: `00000`
//! - country: the ISO code of the file's country; where that is none (`Unspecified`, or a name that is not
//!   known) `GB`, the shop's own; for `Channel Islands` Jersey, for `West Indies` Barbados, for `European
//!   Community` Belgium

use serde_json::{Value, json};

use crate::cli::retail::{Invoice, Retail};

const HOME: &str = "GB";

const COUNTRIES: &[(&str, &str)] = &[
    ("Australia", "AU"),
    ("Austria", "AT"),
    ("Bahrain", "BH"),
    ("Belgium", "BE"),
    ("Bermuda", "BM"),
    ("Brazil", "BR"),
    ("Canada", "CA"),
    ("Channel Islands", "JE"),
    ("Cyprus", "CY"),
    ("Czech Republic", "CZ"),
    ("Denmark", "DK"),
    ("EIRE", "IE"),
    ("European Community", "BE"),
    ("Finland", "FI"),
    ("France", "FR"),
    ("Germany", "DE"),
    ("Greece", "GR"),
    ("Hong Kong", "HK"),
    ("Iceland", "IS"),
    ("Israel", "IL"),
    ("Italy", "IT"),
    ("Japan", "JP"),
    ("Korea", "KR"),
    ("Lebanon", "LB"),
    ("Lithuania", "LT"),
    ("Malta", "MT"),
    ("Netherlands", "NL"),
    ("Nigeria", "NG"),
    ("Norway", "NO"),
    ("Poland", "PL"),
    ("Portugal", "PT"),
    ("RSA", "ZA"),
    ("Saudi Arabia", "SA"),
    ("Singapore", "SG"),
    ("Spain", "ES"),
    ("Sweden", "SE"),
    ("Switzerland", "CH"),
    ("Thailand", "TH"),
    ("USA", "US"),
    ("United Arab Emirates", "AE"),
    ("United Kingdom", HOME),
    ("West Indies", "BB"),
];

pub fn email_of(customer: u32) -> String {
    format!("c{customer}@customers.example.com")
}

pub fn name_of(customer: u32) -> String {
    format!("Customer {customer}")
}

pub fn country_code(name: &str) -> &'static str {
    COUNTRIES.iter().find(|(known, _)| *known == name).map_or(HOME, |(_, code)| code)
}

/// The body of `PUT /v1/carts/{id}/contact`.
pub fn of(retail: &Retail, invoice: &Invoice) -> Value {
    let (email, name) = match invoice.customer {
        Some(customer) => (email_of(customer), name_of(customer)),
        None => (format!("guest-{}@customers.example.com", invoice.number), format!("Guest {}", invoice.number)),
    };
    let country = retail.countries.get(usize::from(invoice.country)).map_or(HOME, |name| country_code(name));
    json!({
        "email": email,
        "shipping_address": {
            "name": name,
            "line1": "Not recorded",
            "city": "Not recorded",
            "postal_code": "00000",
            "country": country,
        },
    })
}
