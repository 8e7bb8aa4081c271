//! Made-up values of any type that has bytes: a [`Deserializer`] that decodes nothing, but invents what it is asked for.
//!
//! A value that proves itself refuses most of what is invented. Then the same element is invented again, so what
//! comes out is always valid, and every variant of every type is reached without a generator written for it.
//! An enum that would be stored by the compiler's own discriminant is refused: see [`Source::deserialize_enum`].

use serde::de::value::Error;
use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor,
};

use crate::actors::entity::{NESTED, Stored};

/// How often one element is invented before it is given up. The rarest is one of the 256 values of a byte.
const TRIES: usize = 4_000;

pub struct Source {
    chance: u64,
    /// Every option is there and every list has two elements: what golden bytes show.
    full: bool,
    number: u32,
    /// Letters that the next bytes are: a currency would hardly ever be met by chance.
    letters: &'static [u8],
}

impl Source {
    /// The same values for the same seed.
    pub fn new(seed: u64) -> Source {
        Source { chance: seed, full: false, number: 0, letters: b"" }
    }

    /// Leaves nothing out.
    pub fn full(seed: u64) -> Source {
        Source { full: true, ..Source::new(seed) }
    }

    pub fn value<T: DeserializeOwned>(&mut self) -> T {
        self.until_valid(|source| T::deserialize(source)).expect("a value can be made up")
    }

    /// The variant of a stored enum.
    pub fn variant<T: Stored>(&mut self, code: u8) -> T {
        self.until_valid(|source| T::from_fields(code, source)).expect("a value can be made up")
    }

    fn until_valid<T>(&mut self, mut make: impl FnMut(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let mut last = Error::custom("never tried");
        for _ in 0..TRIES {
            match make(self) {
                Ok(value) => return Ok(value),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.chance ^ (self.chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.random() % n.max(1)
    }

    /// Small ones, those at which an encoding grows, and any.
    fn integer(&mut self) -> u64 {
        const EDGES: [u64; 8] = [0, 1, 250, 251, 65_535, 65_536, u32::MAX as u64, u64::MAX];
        match self.below(4) {
            0 | 1 => self.below(400),
            2 => EDGES[self.below(8) as usize],
            _ => {
                let bits = self.below(64);
                self.random() >> bits
            }
        }
    }

    fn text(&mut self) -> String {
        self.number += 1;
        let number = self.number;
        match self.below(8) {
            0 | 1 => format!("TEE-{number}"),
            2 | 3 => format!("blue-tee-{number}"),
            4 | 5 => format!("ada{number}@example.com"),
            6 if !self.full => "x".repeat(self.below(600) as usize),
            _ => format!("Cre\u{300}me bru\u{302}l\u{e9}e {number}"),
        }
    }

    fn length(&mut self) -> usize {
        if self.full { 2 } else { self.below(4) as usize }
    }
}

/// What is still to come of a list, tuple, struct or map.
struct Elements<'a> {
    source: &'a mut Source,
    left: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Error;
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.source).map(Some)
    }
    fn next_element<T: Deserialize<'de>>(&mut self) -> Result<Option<T>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.source.until_valid(|source| T::deserialize(source)).map(Some)
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for Elements<'_> {
    type Error = Error;
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        self.next_element_seed(seed)
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(&mut *self.source)
    }
    fn next_entry<K: Deserialize<'de>, V: Deserialize<'de>>(&mut self) -> Result<Option<(K, V)>, Error> {
        let Some(key) = self.next_element()? else { return Ok(None) };
        let value = self.source.until_valid(|source| V::deserialize(source))?;
        Ok(Some((key, value)))
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let integer = self.integer();
            visitor.$visit(integer as $type)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Source {
    type Error = Error;

    fn is_human_readable(&self) -> bool {
        false
    }
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("bytes do not describe themselves"))
    }
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_any(visitor)
    }
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_any(visitor)
    }
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let odd = self.random() % 2 == 1;
        visitor.visit_bool(odd)
    }
    /// Most bytes are the codes of words, which are small.
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let byte = match self.letters.split_first() {
            Some((letter, others)) => {
                self.letters = others;
                *letter
            }
            None if self.below(3) > 0 => self.below(20) as u8,
            None => self.random() as u8,
        };
        visitor.visit_u8(byte)
    }
    integers! {
        deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64,
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_u128 visit_u128 u128, deserialize_i128 visit_i128 i128
    }
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_any(visitor)
    }
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_any(visitor)
    }
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_char('x')
    }
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let text = self.text();
        visitor.visit_string(text)
    }
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_byte_buf(visitor)
    }
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let bytes = (0..4 * self.length()).map(|_| self.random() as u8).collect();
        visitor.visit_byte_buf(bytes)
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.full || self.below(3) > 0 { visitor.visit_some(self) } else { visitor.visit_none() }
    }
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if name == NESTED {
            visitor.visit_seq(Elements { source: self, left: 2 })
        } else {
            visitor.visit_newtype_struct(self)
        }
    }
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let left = self.length();
        visitor.visit_seq(Elements { source: self, left })
    }
    fn deserialize_tuple<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value, Error> {
        const CURRENCIES: [&[u8]; 3] = [b"GBP", b"JPY", b"EUR"];
        if left == 3 {
            self.letters = CURRENCIES[self.below(3) as usize];
        }
        visitor.visit_seq(Elements { source: self, left })
    }
    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _: &str, left: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Elements { source: self, left })
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let left = self.length();
        visitor.visit_map(Elements { source: self, left })
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Elements { source: self, left: fields.len() })
    }
    /// No discriminant of the compiler may be stored or cross: such an enum becomes a `coded_enum!` or `stored_enum!`.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        panic!("{name} is stored by the compiler's own numbers: make it a coded_enum or a stored_enum")
    }
}
