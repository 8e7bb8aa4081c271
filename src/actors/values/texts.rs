//! Names: texts that only their parser makes.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Invalid;

/// Declares a text type: a cheap-to-clone string that only its parser makes.
/// `text_type!(Sku, "message", |text| -> Option<normalised Cow or String>)`.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $why:literal, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = Invalid;
            fn from_str(text: &str) -> Result<Self, Invalid> {
                let parse: fn(&str) -> Option<String> = $parse;
                parse(text).map(|ok| $name(ok.into())).ok_or(Invalid($why))
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

text_type!(
    /// The merchant's own name of a stock-keeping unit, case-sensitive.
    Sku,
    "a SKU is 1 to 64 characters, starts with a letter or digit, and goes on with A-Z a-z 0-9 . _ -",
    |text| {
        let ok = (1..=64).contains(&text.len())
            && text.as_bytes()[0].is_ascii_alphanumeric()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        ok.then(|| text.to_owned())
    }
);

text_type!(
    /// An email address, trimmed and lower-cased: so it compares.
    Email,
    "expected an email address such as ada@example.com (at most 254 characters)",
    |text| {
        let text = text.trim().to_lowercase();
        let (local, domain) = text.rsplit_once('@')?;
        let plain = |s: &str| s.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '@');
        let ok = text.len() <= 254
            && !local.is_empty()
            && local.len() <= 64
            && plain(local)
            && plain(domain)
            && !domain.starts_with('.')
            && !domain.ends_with('.')
            && !domain.is_empty();
        ok.then_some(text)
    }
);

text_type!(
    /// The readable name of a product or category in a URL.
    Slug,
    "a slug is 1 to 100 of a-z 0-9 -, and neither starts nor ends with -",
    |text| {
        let ok = (1..=100).contains(&text.len())
            && !text.starts_with('-')
            && !text.ends_with('-')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        ok.then(|| text.to_owned())
    }
);

impl Slug {
    /// A slug made from a title, in Latin letters: `Crème  brûlée!` is `creme-brulee`; with nothing usable in it,
    /// `item`.
    pub fn from_title(title: &str) -> Slug {
        let latin = deunicode::deunicode_with_tofu(title, "-");
        let mut out = String::new();
        for c in latin.chars() {
            if c.is_ascii_alphanumeric() {
                out.push(c.to_ascii_lowercase());
            } else if !out.ends_with('-') && !out.is_empty() {
                out.push('-');
            }
            if out.len() >= 80 {
                break;
            }
        }
        let out = out.trim_matches('-');
        Slug(if out.is_empty() { "item" } else { out }.into())
    }

    /// The slug with `-n` behind it, for when the plain one is taken.
    pub fn with_suffix(&self, n: u32) -> Slug {
        Slug(format!("{}-{n}", self.0).into())
    }
}

text_type!(
    /// The short human name of an order.
    OrderNumber,
    "an order number is 4 to 20 of A-Z 0-9 -",
    |text| {
        let text = text.trim().to_ascii_uppercase();
        let ok = (4..=20).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-');
        ok.then_some(text)
    }
);

/// The name of a singleton entity (such as the category tree): always the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Only;

impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("only")
    }
}

impl FromStr for Only {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text == "only" { Ok(Only) } else { Err(Invalid("this kind has one entity, named only")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_keeps_the_letters_of_its_title() {
        let table = [
            ("Blue  Tee!", "blue-tee"),
            ("Crème brûlée", "creme-brulee"),
            ("Cre\u{300}me bru\u{302}le\u{301}e", "creme-brulee"),
            ("Żółta łódź", "zolta-lodz"),
            ("Łódź", "lodz"),
            ("Größe", "grosse"),
            ("Ærø", "aero"),
            ("Горячий чай", "goriachii-chai"),
            ("日本語", "ri-ben-yu"),
            ("すし", "susi"),
            ("!!!", "item"),
            ("\u{e000}", "item"),
        ];
        for (title, slug) in table {
            let made = Slug::from_title(title);
            assert_eq!(made.as_str(), slug, "{title}");
            assert_eq!(made.as_str().parse(), Ok(made.clone()), "{title}");
        }
        let long = Slug::from_title(&"日".repeat(500));
        assert!(long.as_str().len() <= 80 && long.as_str().parse::<Slug>().is_ok(), "{long}");
    }
}
