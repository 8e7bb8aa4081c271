//! Shapes of the OpenAPI document for values that other modules own: they know nothing of HTTP, so
//! their shapes are written here. Used as `#[schema(value_type = schema::Money)]`.

use std::borrow::Cow;

use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{RefOr, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

use crate::actors::values::{Role as RoleWord, StockBand as StockBandWord};

/// An amount in integer minor units of its currency.
#[derive(ToSchema)]
#[allow(dead_code, reason = "a shape, never a value")]
pub struct Money {
    #[schema(example = 1999)]
    amount: i64,
    /// ISO 4217.
    #[schema(example = "GBP")]
    currency: String,
}

/// subtotal + shipping + tax - discount = total.
#[derive(ToSchema)]
#[allow(dead_code, reason = "a shape, never a value")]
pub struct Totals {
    subtotal: Money,
    discount: Money,
    shipping: Money,
    tax: Money,
    total: Money,
}

/// RFC 3339, UTC, with `Z`.
pub struct Time;

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(utoipa::openapi::KnownFormat::DateTime);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
    }
}
impl ToSchema for Time {
    fn name() -> Cow<'static, str> {
        "Time".into()
    }
}

/// A parameter that means yes by being there, and may say it: what [`crate::http::request::query`] reads as a boolean.
pub struct Flag;

impl PartialSchema for Flag {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["", "true", "1", "false", "0"])).into()
    }
}
impl ToSchema for Flag {
    fn name() -> Cow<'static, str> {
        "Flag".into()
    }
}

/// Declares the shape of each word type (made by `coded_enum!`): a string, one of its words.
#[macro_export]
macro_rules! word_shapes {
    ($($(#[$meta:meta])* $vis:vis $name:ident = $words:ty;)*) => {$(
        $(#[$meta])*
        $vis struct $name;

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::schema::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .enum_values(Some(<$words>::ALL.iter().map(|word| word.word())))
                    .into()
            }
        }
        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )*};
}

word_shapes! {
    /// What a user may do.
    pub Role = RoleWord;
    /// How much of a SKU is left, in words.
    pub StockBand = StockBandWord;
}
