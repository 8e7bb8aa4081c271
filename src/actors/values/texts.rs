//! Names: texts that only their parser makes.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Invalid, spelling};

/// Declares a text type: a cheap-to-clone string that only its parser makes.
/// `text_type!(Sku, "message", |text| -> Option<String>)`; where a rule has become stricter than what is stored,
/// `stored` and the rule for that follow.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $why:literal, $parse:expr) => {
        text_type!($(#[$doc])* $name, $why, $parse, stored $parse);
    };
    ($(#[$doc:meta])* $name:ident, $why:literal, $parse:expr, stored $stored:expr) => {
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
                let stored: fn(&str) -> Option<String> = $stored;
                let is_stored = !d.is_human_readable();
                let text = String::deserialize(d)?;
                let read = if is_stored { stored(&text).map(|ok| $name(ok.into())) } else { text.parse().ok() };
                read.ok_or_else(|| de::Error::custom(Invalid($why)))
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

/// The rule for email addresses before spellings were told apart: trimmed and lower-cased.
fn old_email(text: &str) -> Option<String> {
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

text_type!(
    /// An email address as it compares: trimmed, in lower case and NFC, its domain in ASCII; nothing in it is hidden.
    /// A stored one may still be as [`LoginName`] says.
    Email,
    "expected an email address such as ada@example.com (at most 254 characters)",
    |text| {
        let text = text.trim();
        let (local, domain) = text.rsplit_once('@')?;
        if spelling::has_hidden(text) || !spelling::shows(local) {
            return None;
        }
        let local = spelling::nfc(&spelling::nfc(local).to_lowercase()).into_owned();
        let email = format!("{local}@{}", spelling::domain(domain)?);
        // Whatever is new is also good by the old rule: as such it is stored and found.
        old_email(&email).filter(|read| *read == email)
    },
    stored old_email
);

text_type!(
    /// What an account is found by: an email address, as accounts are named in the store. New ones are named by an
    /// [`Email`]; old ones may be spelt otherwise.
    LoginName,
    "expected an email address such as ada@example.com (at most 254 characters)",
    old_email
);

impl From<&Email> for LoginName {
    fn from(email: &Email) -> LoginName {
        LoginName(email.0.clone())
    }
}

impl Email {
    /// The names that an account of this address may have: its own, and how it was spelt before there was one spelling.
    /// At most four.
    pub fn names(&self) -> Vec<LoginName> {
        let mut names = vec![LoginName::from(self)];
        let Some((local, domain)) = self.0.rsplit_once('@') else { return names };
        let shown = spelling::shown_domain(domain);
        for other in [
            format!("{local}@{shown}"),
            format!("{}@{}", spelling::nfd(local), spelling::nfd(&shown)),
            format!("{}@{domain}", spelling::nfd(local)),
        ] {
            names.extend(other.parse().ok().filter(|name| !names.contains(name)));
        }
        names
    }
}

/// An email address as somebody types it who means an account that is there, maybe an old one.
#[derive(Debug, Clone)]
pub struct TypedEmail {
    typed: LoginName,
    email: Option<Email>,
}

impl TypedEmail {
    /// The names that the account may have, the most likely first: an old account is found by its own spelling.
    pub fn names(&self) -> Vec<LoginName> {
        let others = self.email.iter().flat_map(Email::names).filter(|name| *name != self.typed);
        std::iter::once(self.typed.clone()).chain(others).collect()
    }

    /// One text for all spellings of it.
    pub fn as_str(&self) -> &str {
        self.email.as_ref().map_or(self.typed.as_str(), Email::as_str)
    }

    /// Whether it is this address, which may be an old spelling.
    pub fn means(&self, email: &Email) -> bool {
        self.names().contains(&LoginName::from(email))
    }
}

impl FromStr for TypedEmail {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        Ok(TypedEmail { typed: text.parse()?, email: text.parse().ok() })
    }
}

impl<'de> Deserialize<'de> for TypedEmail {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

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

    #[test]
    fn an_email_address_has_one_spelling() {
        let email = |text: &str| text.parse::<Email>().map(|email| email.as_str().to_owned());
        assert_eq!(email(" Ada@Example.COM "), Ok("ada@example.com".into()));
        assert_eq!(email("rene\u{301}@mu\u{308}nchen.de"), Ok("rené@xn--mnchen-3ya.de".into()));
        assert_eq!(email("René@München.de"), email("rene\u{301}@xn--mnchen-3ya.de"));
        let wrong = [
            "ada",
            "@example.com",
            "ada@",
            "a da@example.com",
            "a@b@example.com",
            "ada@example..com",
            "ada@.example",
            "ada@example.",
            "ada\u{200b}@example.com",
            "ada@exa\u{200d}mple.com",
            "\u{202e}ada@example.com",
            "ada\u{0}@example.com",
            "\u{3164}@example.com",
        ];
        for text in wrong {
            assert!(email(text).is_err(), "{text:?}");
        }
        assert!(email(&format!("{}@example.com", "a".repeat(65))).is_err());
        for text in ["ada@example.com", "İ@example.com", "ΑΣ@example.com", "ﬁ\u{301}@例え。jp", "\u{212b}@a.de"]
        {
            let email = email(text).expect(text);
            assert_eq!(email.parse::<Email>().map(|again| again.to_string()), Ok(email.clone()), "{text}");
            assert_eq!(email.parse::<LoginName>().map(|again| again.to_string()), Ok(email.clone()), "{text}");
        }
    }

    #[test]
    fn an_email_address_that_is_stored_stays_as_it_was_spelt() {
        use crate::persistence::codec;
        for old in ["ada@example..com", "rene\u{301}@münchen.de", "ada\u{200b}@example.com"] {
            let read = codec::decode::<Email>(&codec::encode(old)).map(|email| email.to_string());
            assert_eq!(read, Ok(old.into()));
            let name = old.parse::<LoginName>().map(|name| name.to_string());
            assert_eq!(name, Ok(old.into()));
        }
        assert!(codec::decode::<Email>(&codec::encode("ada")).is_err());
        assert!(serde_json::from_str::<Email>("\"ada@example..com\"").is_err());
    }

    #[test]
    fn an_account_is_looked_for_under_every_spelling_that_its_address_had() {
        let names = |text: &str| text.parse::<TypedEmail>().map(|typed| typed.names()).unwrap_or_default();
        assert_eq!(names("Ada@example.com"), ["ada@example.com".parse().expect("a name")]);
        let (nfc, nfd) = ("ren\u{e9}@m\u{fc}nchen.de", "rene\u{301}@mu\u{308}nchen.de");
        for typed in [nfc, nfd, "ren\u{e9}@xn--mnchen-3ya.de"] {
            let names = names(typed);
            for name in [typed, nfc, nfd, "ren\u{e9}@xn--mnchen-3ya.de"] {
                assert!(names.contains(&name.parse().expect("a name")), "{typed}: {name}");
            }
            assert!(names.len() <= 5 && names[0].as_str() == typed, "{names:?}");
        }
        assert_eq!(names("ada@example..com"), ["ada@example..com".parse().expect("a name")]);
    }
}
