//! JSON at the rim: bodies into types, faults into JSON pointers, and the canonical form that an
//! idempotency fingerprint is taken of.

mod strict;

use axum::http::{HeaderMap, header};
use serde::de::{self, DeserializeOwned, IntoDeserializer};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::actors::values::spelling;
use crate::http::answer::problem::{Code, Fault, Problem, Result};

/// The body of a request that takes none; `{}` and an empty body are both that.
#[derive(Debug, Clone, Copy, Default, serde::Deserialize, serde::Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Parses a body. An empty one counts as `{}`, whatever its media type.
///
/// Errors: 415 for another media type, 400 for what is not JSON, 422 with a pointer for a field that is
/// missing, unknown, of the wrong type or not acceptable.
pub fn parse<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return parse_text(b"{}");
    }
    if !says_json(headers) || is_encoded(headers) {
        return Err(Code::UnsupportedMediaType.into());
    }
    parse_text(body)
}

fn parse_text<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    // Derived parsers would take a list for a struct, field by field. That is refused.
    if body.trim_ascii_start().first() != Some(&b'{') {
        serde_json::from_slice::<de::IgnoredAny>(body).map_err(|error| not_json(&error))?;
        return Err(Problem::of_field(Fault::new(Code::WrongType, "").detail("Expected an object.")));
    }
    // The plain parse is the fast one; only a body with a fault is parsed again to find its place.
    let parsed = serde_json::from_slice(body).or_else(|_| {
        // A text that breaks off is not JSON, whatever is wrong before the break.
        serde_json::from_slice::<de::IgnoredAny>(body).map_err(|error| not_json(&error))?;
        let mut text = serde_json::Deserializer::from_slice(body);
        let value = serde_path_to_error::deserialize(&mut text).map_err(|error| {
            let path: Vec<Segment> = error.path().iter().cloned().collect();
            fault_of(&path, error.inner(), body)
        })?;
        text.end().map_err(|error| not_json(&error))?;
        Ok::<T, Problem>(value)
    })?;
    strict::check(body)?;
    Ok(parsed)
}

fn says_json(headers: &HeaderMap) -> bool {
    let Some(media) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Whether the body is compressed, which requests may not be: it would get around the size limit.
fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity")
}

fn not_json(error: &serde_json::Error) -> Problem {
    let place = format!("The text breaks at line {}, column {}.", error.line(), error.column());
    Problem::new(Code::InvalidJson).detail(place)
}

fn fault_of(path: &[Segment], error: &serde_json::Error, body: &[u8]) -> Problem {
    if !error.is_data() {
        return not_json(error);
    }
    let message = error.to_string();
    let message = match message.rfind(" at line ") {
        Some(end) => &message[..end],
        None => &message,
    };
    let pointer = pointer_of(path);
    let named = message.split('`').nth(1).unwrap_or_default();
    let fault = if message.starts_with("missing field") {
        Fault::new(Code::Required, below(&pointer, named))
    } else if message.starts_with("unknown field") {
        let already = path.last().is_some_and(|last| matches!(last, Segment::Map { key } if key == named));
        Fault::new(Code::UnknownField, if already { pointer } else { below(&pointer, named) })
    } else if message.starts_with("duplicate field") {
        let already = path.last().is_some_and(|last| matches!(last, Segment::Map { key } if key == named));
        let pointer = if already { pointer } else { below(&pointer, named) };
        Fault::new(Code::InvalidValue, pointer).detail("It is there twice.")
    } else if message.starts_with("invalid type") {
        Fault::new(Code::WrongType, pointer).detail(format!("Expected {}.", expected(message)))
    } else if message.starts_with("invalid value: integer") || message.starts_with("invalid value: floating") {
        Fault::new(Code::OutOfRange, pointer).detail(format!("Expected {}.", expected(message)))
    } else if message.starts_with("unknown variant") {
        let choices = message.split_once("expected ").map(|(_, list)| list).unwrap_or_default();
        Fault::new(Code::InvalidValue, pointer).detail(format!("Expected {choices}."))
    } else if message.starts_with("invalid") {
        Fault::new(Code::InvalidValue, pointer)
    } else {
        // The message of one of our own types: written for whoever sent the value.
        let code = if is_number(body, &pointer) { Code::OutOfRange } else { Code::InvalidValue };
        Fault::new(code, pointer).detail(message)
    };
    Problem::of_field(fault)
}

fn is_number(body: &[u8], pointer: &str) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|value| value.pointer(pointer).is_some_and(Value::is_number))
}

/// What the parser wanted, in words that are not the names of our types.
fn expected(message: &str) -> &'static str {
    let wanted = message.rsplit_once("expected ").map(|(_, wanted)| wanted).unwrap_or_default();
    match wanted {
        "a string" | "a borrowed string" | "string" => "a string",
        "a boolean" => "true or false",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a map" => "an object",
        wanted if wanted.starts_with("struct ") => "an object",
        _ => "something else",
    }
}

fn pointer_of(path: &[Segment]) -> String {
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } => below(&pointer, key),
        Segment::Enum { variant } => below(&pointer, variant),
        Segment::Unknown => pointer,
    })
}

/// The pointer to member `name` of what `pointer` points to.
pub fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The one spelling of a JSON text: members sorted by name, no spaces, numbers and strings as
/// serde_json writes them. `None` when it is no JSON. An empty text is `{}`.
pub fn canonical(body: &[u8]) -> Option<Vec<u8>> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Some(b"{}".to_vec());
    }
    let value: Value = serde_json::from_slice(body).ok()?;
    let mut text = Vec::with_capacity(body.len());
    write_canonical(&value, &mut text);
    Some(text)
}

fn write_canonical(value: &Value, text: &mut Vec<u8>) {
    match value {
        Value::Object(members) => {
            // Sorted here, because a feature flag of the crate decides whether its map is sorted.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| name.as_str());
            text.push(b'{');
            for (n, (name, value)) in members.into_iter().enumerate() {
                if n > 0 {
                    text.push(b',');
                }
                text.extend_from_slice(Value::from(name.as_str()).to_string().as_bytes());
                text.push(b':');
                write_canonical(value, text);
            }
            text.push(b'}');
        }
        Value::Array(items) => {
            text.push(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    text.push(b',');
                }
                write_canonical(item, text);
            }
            text.push(b']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.extend_from_slice(value.to_string().as_bytes());
        }
    }
}

/// A text of 1 to `MAX` characters on one line, as [`spelling::one_line`] keeps it. At least one of them is visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<const MAX: usize>(pub String);

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let why = || de::Error::custom(format!("expected a text of 1 to {MAX} characters on one line"));
        spelt::<MAX>(spelling::one_line(&String::deserialize(deserializer)?)).map(Text).ok_or_else(why)
    }
}

/// A text of 1 to `MAX` characters on any number of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines<const MAX: usize>(pub String);

impl<'de, const MAX: usize> Deserialize<'de> for Lines<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let why = || de::Error::custom(format!("expected a text of 1 to {MAX} characters"));
        spelt::<MAX>(spelling::lines(&String::deserialize(deserializer)?)).map(Lines).ok_or_else(why)
    }
}

/// A text of at most `MAX` characters on any number of lines, as [`spelling::lines`] keeps it. It may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prose<const MAX: usize>(pub String);

impl<'de, const MAX: usize> Deserialize<'de> for Prose<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = spelling::lines(&String::deserialize(deserializer)?);
        let text = text.filter(|text| text.chars().count() <= MAX).map(Prose);
        text.ok_or_else(|| de::Error::custom(format!("expected a text of at most {MAX} characters")))
    }
}

fn spelt<const MAX: usize>(text: Option<String>) -> Option<String> {
    text.filter(|text| (1..=MAX).contains(&text.chars().count()) && spelling::shows(text))
}

/// An optional text, or an optional value that is written as a text. An empty text counts as absent, like `null`,
/// because forms send their empty fields so. Use with `#[serde(default, deserialize_with = "json::filled")]`.
pub fn filled<'de, T, D>(deserializer: D) -> std::result::Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.trim().is_empty());
    text.map(|text| T::deserialize(text.into_deserializer())).transpose()
}

/// The same for a field of a PATCH that can be taken away: an empty text takes it away, like `null`.
pub fn filled_or_none<'de, T, D>(deserializer: D) -> std::result::Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    filled(deserializer).map(Some)
}

/// For a field of a PATCH that is always there: it can be changed, and `null` is a 422.
/// Use with `#[serde(default, deserialize_with = "json::given")]`, and document it without `null`.
pub fn given<'de, T, D>(deserializer: D) -> std::result::Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// For a field of a PATCH that is empty when it is taken away: absent is `None`, `null` is the empty value.
/// Use with `#[serde(default, deserialize_with = "json::clearable")]`.
pub fn clearable<'de, T, D>(deserializer: D) -> std::result::Result<Option<T>, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default).map(Some)
}

/// For a field of any other body that need not be there: `null` is as if it were not.
/// Use with `#[serde(default, deserialize_with = "json::or_empty")]`.
pub fn or_empty<'de, T, D>(deserializer: D) -> std::result::Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// For a field of a PATCH that can be taken away: absent is `None`, `null` is `Some(None)`.
/// Use with `#[serde(default, deserialize_with = "json::nullable")]`.
pub fn nullable<'de, T, D>(deserializer: D) -> std::result::Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::values::{Quantity, Sku};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        #[allow(dead_code, reason = "only parsed")]
        sku: Sku,
        #[allow(dead_code, reason = "only parsed")]
        quantity: Quantity,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[serde(default)]
        #[allow(dead_code, reason = "only parsed")]
        lines: Vec<Line>,
    }

    fn json_headers() -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, "application/json; charset=utf-8".parse().expect("a header"))])
    }

    #[test]
    fn a_fault_is_named_and_pointed_at() {
        let table = [
            (r#"{"lines":[{"sku":"A"}]}"#, "required", "/lines/0/quantity"),
            (r#"{"lines":[{"sku":"A","quantity":"3"}]}"#, "wrong_type", "/lines/0/quantity"),
            (r#"{"lines":[{"sku":"A","quantity":-3}]}"#, "out_of_range", "/lines/0/quantity"),
            (r#"{"lines":[{"sku":"A","quantity":0}]}"#, "out_of_range", "/lines/0/quantity"),
            (r#"{"lines":[{"sku":"A","quantity":1.5}]}"#, "wrong_type", "/lines/0/quantity"),
            (r#"{"lines":[{"sku":" ","quantity":1}]}"#, "invalid_value", "/lines/0/sku"),
            (r#"{"lines":[{"sku":7,"quantity":1}]}"#, "wrong_type", "/lines/0/sku"),
            (r#"{"lines":[{"sku":"A","quantity":1,"price":2}]}"#, "unknown_field", "/lines/0/price"),
            (r#"{"li/nes":[]}"#, "unknown_field", "/li~1nes"),
            (r#"{"lines":{}}"#, "wrong_type", "/lines"),
            (r#"[1]"#, "wrong_type", ""),
            (r#""x""#, "wrong_type", ""),
        ];
        for (body, code, pointer) in table {
            let problem = parse::<Body>(&json_headers(), body.as_bytes()).expect_err(body);
            let shown = problem.render("", "");
            assert_eq!(shown.status().as_u16(), 422, "{body}");
            let text = format!("{problem:?}");
            let wanted = Code::ALL.iter().find(|known| known.slug() == code).expect("a known code");
            assert!(text.contains(&format!("code: {wanted:?}, pointer: {pointer:?}")), "{body}: {text}");
        }
    }

    #[test]
    fn what_is_not_json_is_400_another_media_type_415_and_nothing_is_an_empty_object() {
        for text in ["{", "{]", "nope", "{\"x\":1,}", "{\"x\":1} {}", "{\"lines\":[]}x", "\u{0}", "{\"lines\":1e999}"] {
            let problem = parse::<Body>(&json_headers(), text.as_bytes()).expect_err(text);
            assert_eq!(problem.code(), Code::InvalidJson, "{text}");
        }
        let problem = parse::<Body>(&HeaderMap::new(), b"{}").expect_err("no media type");
        assert_eq!(problem.code(), Code::UnsupportedMediaType);
        assert!(parse::<Body>(&HeaderMap::new(), b" \n").is_ok());
        assert!(parse::<Nothing>(&json_headers(), b"").is_ok());
        assert!(parse::<Nothing>(&json_headers(), br#"{"a":1}"#).is_err());
    }

    #[test]
    fn the_canonical_form_does_not_know_order_and_spaces() {
        let one = canonical(br#"{ "b": [1, {"d": "\u00e9", "c": null}], "a": 2.50 }"#);
        let two = canonical("{\"a\":2.5,\"b\":[1,{\"c\":null,\"d\":\"é\"}]}".as_bytes());
        assert_eq!(one, two);
        assert_eq!(one.as_deref(), Some("{\"a\":2.5,\"b\":[1,{\"c\":null,\"d\":\"é\"}]}".as_bytes()));
        assert_ne!(canonical(b"[1,2]"), canonical(b"[2,1]"));
        assert_eq!(canonical(b""), canonical(b"{}"));
        assert_eq!(canonical(b"{"), None);
    }
}
