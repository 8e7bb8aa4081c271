//! What no body may have, wherever in it: a member that is there twice, and control characters in a text.
//!
//! A parser of a map keeps the last of two members and says nothing, so that client and server may mean
//! different things by one text (RFC 8259, 4). A NUL or another control character comes from a mistake, and
//! breaks whatever prints it later.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::below;
use crate::http::answer::problem::{Code, Fault, Problem, Result};

const TWICE: &str = "It is there twice.";
const CONTROL: &str = "It has control characters.";

/// Errors: 422 with a pointer. What is no JSON passes: the parse says so.
pub fn check(body: &[u8]) -> Result<()> {
    let found = RefCell::new(None);
    let mut text = serde_json::Deserializer::from_slice(body);
    if Walk(&found).deserialize(&mut text).is_ok() {
        return Ok(());
    }
    match found.into_inner() {
        Some(Found { why, inside_out }) => {
            let pointer = inside_out.iter().rev().fold(String::new(), |pointer, name| below(&pointer, name));
            Err(Problem::of_field(Fault::new(Code::InvalidValue, pointer).detail(why)))
        }
        None => Ok(()),
    }
}

/// What was found, and the members around it, the innermost first.
struct Found {
    why: &'static str,
    inside_out: Vec<String>,
}

/// The name of a member, as it stands in the body where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Walks through one value.
#[derive(Clone, Copy)]
struct Walk<'a>(&'a RefCell<Option<Found>>);

impl Walk<'_> {
    fn refuse<E: de::Error>(self, why: &'static str) -> E {
        *self.0.borrow_mut() = Some(Found { why, inside_out: Vec::new() });
        E::custom(why)
    }

    /// Notes that what was found is inside of this member.
    fn within<E>(self, name: impl ToString) -> impl FnOnce(E) -> E {
        move |error| {
            if let Some(found) = self.0.borrow_mut().as_mut() {
                found.inside_out.push(name.to_string());
            }
            error
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_bool<E>(self, _: bool) -> std::result::Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> std::result::Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> std::result::Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> std::result::Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> std::result::Result<(), E> {
        Ok(())
    }
    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<(), E> {
        let is_bad = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
        if text.chars().any(is_bad) { Err(self.refuse(CONTROL)) } else { Ok(()) }
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<(), A::Error> {
        let mut place = 0_usize;
        while items.next_element_seed(self).map_err(self.within(place))?.is_some() {
            place += 1;
        }
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> std::result::Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(Name(name)) = members.next_key()? {
            if name.chars().any(char::is_control) {
                return Err(self.refuse(CONTROL)).map_err(self.within(name));
            }
            members.next_value_seed(self).map_err(self.within(&name))?;
            if let Some(name) = seen.replace(name) {
                return Err(self.refuse(TWICE)).map_err(self.within(name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_is_there_twice_and_a_control_character_are_found_wherever_they_are() {
        let table = [
            (r#"{"a":1,"b":{"a":1},"c":[{"a":1},{"a":"x\n\t\r"}]}"#, None),
            (r#"{"a":1,"a":1}"#, Some(("/a", TWICE))),
            (r#"{"a":1,"\u0061":2}"#, Some(("/a", TWICE))),
            (r#"{"a":[0,{"m":{"k":1,"k":2}}]}"#, Some(("/a/1/m/k", TWICE))),
            (r#"{"m":{"x/y":"a\u0000b"}}"#, Some(("/m/x~1y", CONTROL))),
            (r#"{"m":["ok","\u007f"]}"#, Some(("/m/1", CONTROL))),
            (r#"{"m":{"a\u0085":1}}"#, Some(("/m/a\u{85}", CONTROL))),
            (r#"{"m":"#, None),
        ];
        for (body, fault) in table {
            let found = check(body.as_bytes()).map_err(|problem| format!("{problem:?}"));
            match fault {
                None => assert_eq!(found, Ok(()), "{body}"),
                Some((pointer, why)) => {
                    let text = found.expect_err(body);
                    assert!(text.contains(&format!("pointer: {pointer:?}")) && text.contains(why), "{body}: {text}");
                }
            }
        }
    }
}
