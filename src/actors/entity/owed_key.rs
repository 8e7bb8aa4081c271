//! Keys of what entities owe. A key names a request within its entity: the request's id derives from the key's text, so
//! the texts are as frozen as stored bytes.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use crate::actors::values::Invalid;

/// The key of an owed request, declared by [`owed_keys!`](crate::owed_keys).
pub trait Key: Display + FromStr<Err = Invalid> {
    /// The first part of each key.
    const WORDS: &'static [&'static str];
}

/// One part of a key behind its word.
pub trait KeyPart: Sized {
    /// Writes the colon before it, too.
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result;
    /// Takes it from the front of what is left of the key.
    fn read(rest: &mut Option<&str>) -> Result<Self, Invalid>;
}

impl<T: Display + FromStr> KeyPart for T {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, ":{self}")
    }

    fn read(rest: &mut Option<&str>) -> Result<T, Invalid> {
        let text = rest.ok_or(Invalid("a key without its last part"))?;
        let (part, after) = match text.split_once(':') {
            Some((part, after)) => (part, Some(after)),
            None => (text, None),
        };
        *rest = after;
        part.parse().map_err(|_| Invalid("a key with a part that is none"))
    }
}

/// How often the request was asked anew. The key of the first question lacks this part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again(pub u32);

impl KeyPart for Again {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { self.0.write(f) }
    }

    fn read(rest: &mut Option<&str>) -> Result<Again, Invalid> {
        if rest.is_none() { Ok(Again(0)) } else { u32::read(rest).map(Again) }
    }
}

/// Declares the keys of a kind: each a word, and the parts that follow it, with colons between. Words are never changed
/// and never used again.
#[macro_export]
macro_rules! owed_keys {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$vmeta:meta])* $word:literal => $variant:ident $({ $($field:ident : $type:ty),* $(,)? })? ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        $vis enum $name { $( $(#[$vmeta])* $variant $({ $($field: $type),* })? ),* }

        impl $crate::actors::entity::owed_key::Key for $name {
            const WORDS: &'static [&'static str] = &[$($word),*];
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $( $name::$variant $({ $($field),* })? => {
                        f.write_str($word)?;
                        $( $( $crate::actors::entity::owed_key::KeyPart::write($field, f)?; )* )?
                    } )*
                }
                Ok(())
            }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::actors::values::Invalid;
            #[allow(unused_mut)]
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let (word, mut rest) = match text.split_once(':') {
                    Some((word, rest)) => (word, Some(rest)),
                    None => (text, None),
                };
                let key = match word {
                    $( $word => $name::$variant $({ $(
                        $field: $crate::actors::entity::owed_key::KeyPart::read(&mut rest)?
                    ),* })?, )*
                    _ => return Err($crate::actors::values::Invalid("no key of this kind")),
                };
                match rest {
                    None => Ok(key),
                    Some(_) => Err($crate::actors::values::Invalid("a key with a part too many")),
                }
            }
        }
    };
}

/// Holds the keys of a kind to their texts, both ways; each word has to be among them.
#[cfg(test)]
#[track_caller]
pub fn golden<K: Key + PartialEq + fmt::Debug>(keys: &[(K, &str)]) {
    for (key, text) in keys {
        assert_eq!(key.to_string(), *text);
        assert_eq!(text.parse().as_ref(), Ok(key));
    }
    let words: std::collections::BTreeSet<&str> =
        keys.iter().map(|(_, text)| text.split(':').next().unwrap_or(text)).collect();
    assert_eq!(words, K::WORDS.iter().copied().collect(), "each word has a golden text");
    assert_eq!(words.len(), K::WORDS.len(), "a word stands for one key");
    for broken in ["", ":", "nothing", "nothing:1"] {
        assert!(broken.parse::<K>().is_err(), "{broken:?}");
    }
    for word in K::WORDS {
        assert!(format!("{word}:1:2:3").parse::<K>().is_err(), "a part too many");
        assert!(format!("{word}:").parse::<K>().is_err(), "an empty part");
    }
}
