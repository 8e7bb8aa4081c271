//! Who buys and where it goes, as carts and orders show it. The tests beside this file hold the JSON shapes of carts,
//! orders and products, which are the contract with clients.

#[cfg(test)]
mod tests;

use serde::Serialize;
use utoipa::ToSchema;

use crate::actors::values::{Contact, Email};
use crate::http::request::address::AddressView;

/// Who buys and where it goes.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Contact)]
pub struct ContactView {
    #[schema(value_type = String, format = Email)]
    pub email: Email,
    pub shipping_address: AddressView,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billing_address: Option<AddressView>,
}

impl From<&Contact> for ContactView {
    fn from(contact: &Contact) -> ContactView {
        ContactView {
            email: contact.email.clone(),
            shipping_address: (&contact.shipping_address).into(),
            billing_address: contact.billing_address.as_ref().map(Into::into),
        }
    }
}
