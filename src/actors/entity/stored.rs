//! Data whose bytes outlive a process or leave it: commands, events, replies, rejections, and what lies in them.
//!
//! Each variant has a code and a version of its own, allotted where the enum is declared. A variant that was released is
//! never changed: it gets the next version, and a reader of the one before stands under `old`, for ever. All numbers stand
//! together in `tests/golden/numbers.txt`, so that none is used twice and none goes.
//!
//! A stored enum may lie in the fields of another. There it is (code, version, its own bytes): old versions are read
//! inside of what is newer, and a reader who does not know the code refuses the whole.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeTuple, Serializer};

use super::codec::CodecError;

/// Data with a versioned stored form; made by [`stored_enum!`](crate::stored_enum).
pub trait Stored: Sized {
    /// Every code and version that can be read, old ones included.
    const NUMBERS: &'static [Number];

    /// The code of this value's variant, its version, and its bytes.
    fn to_stored(&self) -> (u8, u16, Vec<u8>);

    /// Reads any version that was ever written.
    fn from_stored(code: u8, version: u16, bytes: &[u8]) -> Result<Self, CodecError>;

    /// The variant with this code out of the fields of its present version, from wherever they come.
    fn from_fields<'de, D: Deserializer<'de>>(code: u8, fields: D) -> Result<Self, D::Error>;
}

/// A code and a version of a stored enum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number {
    pub code: u8,
    pub version: u16,
    /// The variant that is written under this number now; `None`: an old version, which is only read.
    pub variant: Option<&'static str>,
}

/// Bytes with their length, written and read in one piece.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bytes<'a>(pub std::borrow::Cow<'a, [u8]>);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes<'static> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Bytes<'static>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Bytes(bytes.to_vec().into()))
            }
            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Self::Value, E> {
                Ok(Bytes(bytes.into()))
            }
        }
        d.deserialize_byte_buf(Read)
    }
}

/// The name under which a stored enum in the fields of another asks a [`Deserializer`] for itself.
pub const NESTED: &str = "stored enum";

/// Writes a stored enum that lies in the fields of another.
pub fn write_nested<T: Stored, S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
    let (code, version, bytes) = value.to_stored();
    let mut tuple = s.serialize_tuple(3)?;
    tuple.serialize_element(&code)?;
    tuple.serialize_element(&version)?;
    tuple.serialize_element(&Bytes(bytes.into()))?;
    tuple.end()
}

/// Reads a stored enum that lies in the fields of another.
pub fn read_nested<'de, T: Stored, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
    d.deserialize_newtype_struct(NESTED, Nested(PhantomData))
}

struct Nested<T>(PhantomData<T>);

impl<'de, T: Stored> Visitor<'de> for Nested<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("code, version and bytes")
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<T, D::Error> {
        let (code, version, bytes): (u8, u16, Bytes<'static>) = Deserialize::deserialize(d)?;
        T::from_stored(code, version, &bytes.0).map_err(de::Error::custom)
    }
    /// A source that makes up values has no bytes to give. It gives the code and then the fields.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        let missing = || de::Error::custom("a code and fields are wanted");
        let code = seq.next_element()?.ok_or_else(missing)?;
        seq.next_element_seed(Fields::<T>(code, PhantomData))?.ok_or_else(missing)
    }
}

struct Fields<T>(u8, PhantomData<T>);

impl<'de, T: Stored> DeserializeSeed<'de> for Fields<T> {
    type Value = T;
    fn deserialize<D: Deserializer<'de>>(self, fields: D) -> Result<T, D::Error> {
        T::from_fields(self.0, fields)
    }
}

/// Declares an enum whose variants are stored each under a fixed code and version: no discriminant or
/// name of the compiler reaches the disk or the wire. Fields are stored in the order written; never change a
/// variant that was released: give it a new version, and say under `old` how the old one reads. Before
/// each field list stands (code, version); a variant has at most 16 fields.
///
/// ```text
/// stored_enum! {
///     pub enum Event {
///         (1, 1) => Opened { by: UserId },
///         (2, 2) => Renamed { name: String, at: Time },
///         (3, 1) => Moved(to: Address),
///     }
///     old {
///         (2, 1) => |bytes| { let (name,): (String,) = codec::decode(bytes)?; Ok(Event::Renamed { name, at: Time::ZERO }) }
///     }
/// }
/// ```
#[macro_export]
macro_rules! stored_enum {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$vmeta:meta])* ($code:literal, $version:literal) => $variant:ident $({ $($(#[$fmeta:meta])* $field:ident : $type:ty),* $(,)? })? $(( $one:ident : $inner:ty ))? ),* $(,)?
        }
        $( old { $( ($old_code:literal, $old_version:literal) => $read:expr ),* $(,)? } )?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        #[serde(remote = "Self", tag = "type", content = "data", rename_all = "snake_case")]
        $vis enum $name {
            $( $(#[$vmeta])* $variant $({ $($(#[$fmeta])* $field: $type),* })? $(( $inner ))? ),*
        }

        impl $crate::actors::entity::Stored for $name {
            const NUMBERS: &'static [$crate::actors::entity::Number] = &[
                $( $crate::actors::entity::Number { code: $code, version: $version, variant: Some(stringify!($variant)) }, )*
                $( $( $crate::actors::entity::Number { code: $old_code, version: $old_version, variant: None }, )* )?
            ];
            fn to_stored(&self) -> (u8, u16, Vec<u8>) {
                match self {
                    $( $name::$variant $({ $($field),* })? $(( $one ))? =>
                        ($code, $version, $crate::actors::entity::codec::encode(&( $($(&$field,)*)? $(&$one,)? ))), )*
                }
            }
            #[allow(unused_variables)]
            fn from_stored(code: u8, version: u16, bytes: &[u8]) -> Result<Self, $crate::actors::entity::CodecError> {
                match (code, version) {
                    $( ($code, $version) => {
                        let ( $($($field,)*)? $($one,)? ) : ( $($($type,)*)? $($inner,)? ) = $crate::actors::entity::codec::decode(bytes)?;
                        Ok($name::$variant $({ $($field),* })? $(( $one ))?)
                    } )*
                    $( $( ($old_code, $old_version) => {
                        let read: fn(&[u8]) -> Result<$name, $crate::actors::entity::CodecError> = $read;
                        read(bytes)
                    } )* )?
                    (code, version) => Err($crate::actors::entity::CodecError::Unknown { code, version }),
                }
            }
            fn from_fields<'de, D: serde::Deserializer<'de>>(code: u8, fields: D) -> Result<Self, D::Error> {
                match code {
                    $( $code => {
                        let ( $($($field,)*)? $($one,)? ) : ( $($($type,)*)? $($inner,)? ) = serde::Deserialize::deserialize(fields)?;
                        Ok($name::$variant $({ $($field),* })? $(( $one ))?)
                    } )*
                    other => Err(serde::de::Error::custom(format!("no variant has the code {other}"))),
                }
            }
        }

        /// To people it is `{"type": ..., "data": ...}`; in the fields of another it is its code, version and bytes.
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() { $name::serialize(self, s) } else { $crate::actors::entity::write_nested(self, s) }
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                $crate::actors::entity::read_nested(d)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::super::codec;
    use super::*;
    use crate::actors::values::{Time, UserId};

    stored_enum! {
        enum Event {
            (1, 1) => Opened { by: UserId },
            (2, 2) => Renamed { name: String, at: Time },
            (3, 1) => Closed,
        }
        old {
            (2, 1) => |bytes| {
                let (name,): (String,) = codec::decode(bytes)?;
                Ok(Event::Renamed { name, at: Time::ZERO })
            },
        }
    }

    stored_enum! {
        enum Outer {
            (1, 1) => Told(events: Vec<Event>),
        }
    }

    #[test]
    fn a_stored_variant_reads_back_and_old_versions_are_upcast() {
        for event in [Event::Opened { by: UserId(7) }, Event::Renamed { name: "a".into(), at: Time(3) }, Event::Closed]
        {
            let (code, version, bytes) = event.to_stored();
            assert_eq!(Event::from_stored(code, version, &bytes), Ok(event));
        }
        let old = codec::encode(&("b",));
        assert_eq!(Event::from_stored(2, 1, &old), Ok(Event::Renamed { name: "b".into(), at: Time::ZERO }));
        assert_eq!(Event::from_stored(9, 1, &[]), Err(CodecError::Unknown { code: 9, version: 1 }));
        let number = |code, version, variant| Number { code, version, variant };
        let numbers = [(1, 1, Some("Opened")), (2, 2, Some("Renamed")), (3, 1, Some("Closed")), (2, 1, None)];
        assert_eq!(Event::NUMBERS, numbers.map(|(code, version, variant)| number(code, version, variant)));
    }

    #[test]
    fn a_stored_enum_in_the_fields_of_another_keeps_its_own_numbers() {
        let outer = Outer::Told(vec![Event::Closed, Event::Renamed { name: "a".into(), at: Time(3) }]);
        let (code, version, bytes) = outer.to_stored();
        assert_eq!(bytes, [2, 3, 1, 0, 2, 2, 3, 1, b'a', 6]);
        assert_eq!(Outer::from_stored(code, version, &bytes), Ok(outer));
        let old = [1, 2, 1, 2, 1, b'b'];
        let renamed = Event::Renamed { name: "b".into(), at: Time::ZERO };
        assert_eq!(Outer::from_stored(1, 1, &old), Ok(Outer::Told(vec![renamed])), "an old version inside");
        assert!(matches!(Outer::from_stored(1, 1, &[1, 9, 1, 0]), Err(CodecError::Malformed(_))), "an unknown code");
        let json = serde_json::json!({"type": "told", "data": [{"type": "closed"}]});
        assert_eq!(serde_json::to_value(Outer::Told(vec![Event::Closed])).expect("JSON"), json);
    }
}
