//! Data whose bytes outlive a process or leave it: commands, events, replies, rejections, and what lies in them.
//!
//! Each variant has a code and a version of its own, allotted where the enum is declared. A variant that was released is
//! never changed: it gets the next version, and a reader of the one before stands under `old`, for ever. All numbers stand
//! together in `tests/golden/numbers.txt`, so that none is used twice and none goes.
//!
//! A stored enum may lie in the fields of another. There it is (code, version, its own bytes): old versions are read
//! inside of what is newer, and a reader who does not know the code refuses the whole.
//!
//! **For older readers.** Nodes of two releases speak with each other while a cluster is upgraded. A number that is newer than
//! the first [`WireVersion`] says `since` when it is written. For a reader of an earlier version the variant is written as
//! `before` says, or not at all: [`Stored::to_stored_for`]. Fields that are stored enums themselves, and are named under
//! `nested`, are written for the same reader. What the macro does not look into: a stored enum inside of a struct that is a
//! field, and a `coded_enum!`, whose numbers have no versions. Where one of those gets a new number, the variant around
//! it needs a new version.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::codec::CodecError;

/// Data with a versioned stored form; made by [`stored_enum!`](crate::stored_enum).
pub trait Stored: Sized {
    /// Every code and version that can be read, old ones included.
    const NUMBERS: &'static [Number];

    /// The code of this value's variant, its version, and its bytes.
    fn to_stored(&self) -> (u8, u16, Vec<u8>);

    /// The same, for a reader of nothing newer than `wire`. Error: no such reader can be told this.
    fn to_stored_for(&self, wire: WireVersion) -> Result<(u8, u16, Vec<u8>), TooNew> {
        let _ = wire; // without `since`, every reader knows it
        Ok(self.to_stored())
    }

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
    /// The variant that is written under this number now; `None`: an old version, which is only read, or written for old
    /// readers.
    pub variant: Option<&'static str>,
    /// Who reads this wire version is written this number. (Of an old version the first; `numbers.txt` has it.)
    pub since: WireVersion,
}

/// How new the numbers are that a node reads, or that are written for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WireVersion(pub u16);

impl WireVersion {
    /// The first there was.
    pub const FIRST: WireVersion = WireVersion(1);
    /// What this program reads and would like to write. A release that adds a number raises it.
    pub const OURS: WireVersion = WireVersion(2);

    /// What `since` says in a [`stored_enum!`](crate::stored_enum), if it says anything.
    pub const fn since(said: &[u16]) -> WireVersion {
        match said {
            [] => WireVersion::FIRST,
            [version, ..] => WireVersion(*version),
        }
    }
}

/// A reader of this wire version has no form of the variant with this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooNew {
    pub code: u8,
    pub wire: WireVersion,
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

/// A stored enum as it lies in the fields of another: its code, version and bytes.
#[derive(Serialize)]
pub struct Numbered(u8, u16, Bytes<'static>);

impl From<(u8, u16, Vec<u8>)> for Numbered {
    fn from((code, version, bytes): (u8, u16, Vec<u8>)) -> Numbered {
        Numbered(code, version, Bytes(bytes.into()))
    }
}

/// Writes a stored enum that lies in the fields of another.
pub fn write_nested<T: Stored, S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
    Numbered::from(value.to_stored()).serialize(s)
}

/// A stored enum in a field of another, or several of them, as it is written for a reader of nothing newer than `wire`.
pub trait Nest {
    type Written: Serialize;
    fn nest_for(&self, wire: WireVersion) -> Result<Self::Written, TooNew>;
}

impl<T: Stored> Nest for T {
    type Written = Numbered;
    fn nest_for(&self, wire: WireVersion) -> Result<Self::Written, TooNew> {
        self.to_stored_for(wire).map(Numbered::from)
    }
}

impl<T: Nest> Nest for Option<T> {
    type Written = Option<T::Written>;
    fn nest_for(&self, wire: WireVersion) -> Result<Self::Written, TooNew> {
        self.as_ref().map(|nested| nested.nest_for(wire)).transpose()
    }
}

impl<T: Nest> Nest for Vec<T> {
    type Written = Vec<T::Written>;
    fn nest_for(&self, wire: WireVersion) -> Result<Self::Written, TooNew> {
        self.iter().map(|nested| nested.nest_for(wire)).collect()
    }
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
/// A number that came with a wire version after the first says so with `since`. Readers of earlier ones get what `before`
/// makes of the variant, the newest number first, or are refused it. A number under `before` stands under `old`, too. Behind
/// the fields, `nested` names those that are stored enums, or options or lists of them.
///
/// ```text
/// stored_enum! {
///     pub enum Event {
///         (1, 1) => Opened { by: UserId },
///         (2, 2) since 2 => Renamed { name: String, at: Time },
///         (3, 1) => Moved(to: Address) nested [to],
///         (4, 1) since 3 => Closed,
///     }
///     old {
///         (2, 1) => |bytes| { let (name,): (String,) = codec::decode(bytes)?; Ok(Event::Renamed { name, at: Time::ZERO }) }
///     }
///     before {
///         (2, 1) => |event, _| match event {
///             Event::Renamed { name, .. } => Some(codec::encode(&(name,))),
///             _ => None,
///         }
///     }
/// }
/// ```
#[macro_export]
macro_rules! stored_enum {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$vmeta:meta])* ($code:literal, $version:literal) $(since $since:literal)? => $variant:ident $({ $($(#[$fmeta:meta])* $field:ident : $type:ty),* $(,)? })? $(( $one:ident : $inner:ty ))? $(nested [ $($nested:ident),* $(,)? ])? ),* $(,)?
        }
        $( old { $( ($old_code:literal, $old_version:literal) => $read:expr ),* $(,)? } )?
        $( before { $( ($before_code:literal, $before_version:literal) $(since $before_since:literal)? => $write:expr ),* $(,)? } )?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        #[serde(remote = "Self", tag = "type", content = "data", rename_all = "snake_case")]
        $vis enum $name {
            $( $(#[$vmeta])* $variant $({ $($(#[$fmeta])* $field: $type),* })? $(( $inner ))? ),*
        }

        impl $crate::actors::entity::Stored for $name {
            const NUMBERS: &'static [$crate::actors::entity::Number] = &[
                $( $crate::actors::entity::Number {
                    code: $code,
                    version: $version,
                    variant: Some(stringify!($variant)),
                    since: $crate::actors::entity::WireVersion::since(&[$($since)?]),
                }, )*
                $( $( $crate::actors::entity::Number {
                    code: $old_code,
                    version: $old_version,
                    variant: None,
                    since: $crate::actors::entity::WireVersion::FIRST,
                }, )* )?
            ];
            fn to_stored(&self) -> (u8, u16, Vec<u8>) {
                match self {
                    $( $name::$variant $({ $($field),* })? $(( $one ))? =>
                        ($code, $version, $crate::actors::entity::codec::encode(&( $($(&$field,)*)? $(&$one,)? ))), )*
                }
            }
            fn to_stored_for(&self, wire: $crate::actors::entity::WireVersion) -> Result<(u8, u16, Vec<u8>), $crate::actors::entity::TooNew> {
                match self {
                    $( $name::$variant $({ $($field),* })? $(( $one ))? if wire >= $crate::actors::entity::WireVersion::since(&[$($since)?]) => {
                        $( $( let $nested = &$crate::actors::entity::Nest::nest_for($nested, wire)?; )* )?
                        Ok(($code, $version, $crate::actors::entity::codec::encode(&( $($(&$field,)*)? $(&$one,)? ))))
                    } )*
                    newer => {
                        let code = match newer { $( $name::$variant { .. } => $code ),* };
                        let too_new = $crate::actors::entity::TooNew { code, wire };
                        $( $( if code == $before_code && wire >= $crate::actors::entity::WireVersion::since(&[$($before_since)?]) {
                            let write: fn(&$name, $crate::actors::entity::WireVersion) -> Option<Vec<u8>> = $write;
                            return write(newer, wire).map(|bytes| (code, $before_version, bytes)).ok_or(too_new);
                        } )* )?
                        Err(too_new)
                    }
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
        let number = |code, version, variant| Number { code, version, variant, since: WireVersion::FIRST };
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

    stored_enum! {
        /// What nodes of three wire versions say.
        enum Talk {
            (1, 1) => Hello { name: String },
            (2, 3) since 3 => Count { of: u32, at: Time },
            (3, 1) since 2 => Wave,
        }
        old {
            (2, 1) => |bytes| codec::decode(bytes).map(|(of,): (u8,)| Talk::Count { of: of.into(), at: Time::ZERO }),
            (2, 2) => |bytes| codec::decode(bytes).map(|(of,): (u32,)| Talk::Count { of, at: Time::ZERO }),
        }
        before {
            (2, 2) since 2 => |talk, _| match talk {
                Talk::Count { of, .. } => Some(codec::encode(&(of,))),
                Talk::Hello { .. } | Talk::Wave => None,
            },
            // A count that the first version cannot tell is not told.
            (2, 1) => |talk, _| match talk {
                Talk::Count { of, .. } => u8::try_from(*of).ok().map(|of| codec::encode(&(of,))),
                Talk::Hello { .. } | Talk::Wave => None,
            },
        }
    }

    stored_enum! {
        enum Letter {
            (1, 1) => Sent { first: Talk, others: Vec<Talk>, last: Option<Talk> } nested [first, others, last],
        }
    }

    fn count(of: u32) -> Talk {
        Talk::Count { of, at: Time(9) }
    }

    /// The number and what it reads as, of what is written for a reader of `wire`.
    fn told<T: Stored>(value: &T, wire: u16) -> Result<(u8, u16, T), TooNew> {
        let (code, version, bytes) = value.to_stored_for(WireVersion(wire))?;
        Ok((code, version, T::from_stored(code, version, &bytes).expect("it is read")))
    }

    #[test]
    fn a_variant_is_written_as_its_reader_knows_it() {
        let without_time = |of| Talk::Count { of, at: Time::ZERO };
        assert_eq!(told(&count(7), 1), Ok((2, 1, without_time(7))));
        assert_eq!(told(&count(7), 2), Ok((2, 2, without_time(7))));
        assert_eq!(told(&count(700), 2), Ok((2, 2, without_time(700))));
        for newest in [3, 4] {
            assert_eq!(told(&count(7), newest), Ok((2, 3, count(7))));
        }
        let hello = Talk::Hello { name: "ada".into() };
        for wire in 1..4 {
            assert_eq!(told(&hello, wire), Ok((1, 1, hello.clone())), "what never changed");
        }
        assert_eq!(count(7).to_stored_for(WireVersion(3)), Ok(count(7).to_stored()));
        let since = |number: &Number| (number.code, number.version, number.since.0);
        let since: Vec<_> = Talk::NUMBERS.iter().filter(|number| number.variant.is_some()).map(since).collect();
        assert_eq!(since, [(1, 1, 1), (2, 3, 3), (3, 1, 2)]);
    }

    #[test]
    fn what_a_reader_cannot_know_is_refused() {
        let too_new = |code, wire| Err(TooNew { code, wire: WireVersion(wire) });
        assert_eq!(told(&Talk::Wave, 1), too_new(3, 1));
        assert_eq!(told(&Talk::Wave, 2), Ok((3, 1, Talk::Wave)));
        assert_eq!(told(&count(700), 1), too_new(2, 1), "the old form has no room for it");
    }

    #[test]
    fn what_lies_in_the_fields_is_written_for_the_same_reader() {
        let letter = |first: Talk| Letter::Sent { first, others: vec![count(1), count(2)], last: Some(count(3)) };
        let at = |of| Talk::Count { of, at: Time::ZERO };
        let older = Letter::Sent { first: at(4), others: vec![at(1), at(2)], last: Some(at(3)) };
        for wire in [1, 2] {
            assert_eq!(told(&letter(count(4)), wire), Ok((1, 1, older.clone())));
        }
        assert_eq!(told(&letter(count(4)), 3), Ok((1, 1, letter(count(4)))));
        let (newest, stored) = (letter(Talk::Wave).to_stored_for(WireVersion(3)), letter(Talk::Wave).to_stored());
        assert_eq!(newest, Ok(stored), "the same bytes either way");
        assert_eq!(told(&letter(Talk::Wave), 1), Err(TooNew { code: 3, wire: WireVersion(1) }), "the whole is refused");
    }
}
