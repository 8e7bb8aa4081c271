//! The list of kinds: the one place where their frozen numbers are allotted. A number that was given
//! out is never used again; a new kind takes the next one and adds one line.

use std::sync::LazyLock;

use super::entity::Kind;
use super::runtime::erased::{KindSpec, spec};

/// Every kind that this program knows.
pub struct Kinds {
    specs: Vec<Box<dyn KindSpec>>,
}

impl Kinds {
    /// A list of kinds (a test may bring its own).
    pub fn new(specs: Vec<Box<dyn KindSpec>>) -> Kinds {
        Kinds { specs }
    }
    pub fn by_number(&self, number: u8) -> Option<&dyn KindSpec> {
        self.specs.iter().find(|spec| spec.number() == number).map(|spec| &**spec)
    }
    pub fn by_name(&self, name: &str) -> Option<&dyn KindSpec> {
        self.specs.iter().find(|spec| spec.name() == name).map(|spec| &**spec)
    }
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.specs.iter().map(|spec| spec.name())
    }
    /// Each kind with a gateway that its entities may owe something to.
    pub fn gateways(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.specs.iter().flat_map(|spec| spec.gateways().iter().map(|gateway| (spec.name(), *gateway)))
    }
}

/// Checks at compile time that a kind has the number of its line.
const fn numbered<K: Kind>(number: u8) {
    assert!(K::NUMBER == number, "a kind's number is the one in the list of kinds");
}

/// A test that holds every kind to something.
#[cfg(test)]
pub trait Visitor {
    fn visit<K: Kind>(&mut self);
}

macro_rules! kinds {
    ($($number:literal => $kind:ty,)*) => {
        const _: () = { $(numbered::<$kind>($number);)* };
        static ALL: LazyLock<Kinds> = LazyLock::new(|| Kinds::new(vec![$(spec::<$kind>()),*]));

        /// Shows every kind, with its types.
        #[cfg(test)]
        pub fn visit(visitor: &mut impl Visitor) {
            $(visitor.visit::<$kind>();)*
        }
    };
}

kinds! {
    1 => super::keyring::types::Keyring,
    2 => super::user::types::User,
    3 => super::login::types::Login,
    4 => super::session::types::Session,
    5 => super::customer::types::Customer,
    6 => super::categories::types::Categories,
    7 => super::slug::types::ProductSlug,
    8 => super::product::types::Product,
    9 => super::sku::types::StockUnit,
    10 => super::cart::types::Cart,
    11 => super::order::types::Order,
    12 => super::order_number::types::OrderNumber,
    13 => super::mock_charge::types::MockCharge,
    14 => super::audit::types::Audit,
}

/// The shop's kinds.
pub fn all() -> &'static Kinds {
    &ALL
}
