//! Values as they were stored before, in their frozen forms.

use serde::{Deserialize, Serialize};

use super::{Address, Contact, Email};

/// An address before it had a company.
#[derive(Serialize, Deserialize)]
pub struct AddressV1 {
    name: String,
    line1: String,
    line2: Option<String>,
    city: String,
    region: Option<String>,
    postal_code: String,
    country: String,
    phone: Option<String>,
}

/// A contact of such addresses.
#[derive(Serialize, Deserialize)]
pub struct ContactV1 {
    email: Email,
    shipping_address: AddressV1,
    billing_address: Option<AddressV1>,
}

impl From<AddressV1> for Address {
    fn from(old: AddressV1) -> Address {
        let AddressV1 { name, line1, line2, city, region, postal_code, country, phone } = old;
        Address { name, line1, line2, city, region, postal_code, country, phone, company: None }
    }
}

impl From<ContactV1> for Contact {
    fn from(old: ContactV1) -> Contact {
        let ContactV1 { email, shipping_address, billing_address } = old;
        Contact {
            email,
            shipping_address: shipping_address.into(),
            billing_address: billing_address.map(Address::from),
        }
    }
}
