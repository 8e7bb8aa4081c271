//! Enums without data that are stored and shown: a status, a reason, a role. The number goes to the journal
//! and the word to clients, so neither follows from the order or the spelling of the variants.

/// Declares an enum without data whose stored form is a fixed number and whose JSON form is a fixed
/// word. Numbers are never changed and never used again.
#[macro_export]
macro_rules! coded_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $code:literal $word:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name { $($(#[$vmeta])* $variant),* }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),*];
            /// Every word, in the order of `ALL`.
            #[allow(dead_code, reason = "for the kinds that a list filters by")]
            pub const WORDS: &'static [&'static str] = &[$($word),*];
            pub const fn word(self) -> &'static str { match self { $($name::$variant => $word),* } }
            pub const fn code(self) -> u8 { match self { $($name::$variant => $code),* } }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.word()) }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::actors::values::Invalid;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text { $($word => Ok($name::$variant),)* _ => Err($crate::actors::values::Invalid(concat!("expected one of:", $(" ", $word),*))) }
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() { s.serialize_str(self.word()) } else { s.serialize_u8(self.code()) }
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                use serde::de::Error;
                if d.is_human_readable() {
                    <String as serde::Deserialize>::deserialize(d)?.parse().map_err(D::Error::custom)
                } else {
                    match <u8 as serde::Deserialize>::deserialize(d)? {
                        $($code => Ok($name::$variant),)*
                        other => Err(D::Error::custom(format!(concat!(stringify!($name), " has no code {}"), other))),
                    }
                }
            }
        }
    };
}
