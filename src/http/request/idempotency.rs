//! Idempotency keys: from a header to the identity of a request.
//!
//! The identity (a [`RequestId`]) is a hash of who asks, method, path and key; the fingerprint says
//! whether it is the same request again. The outcome itself is not kept here but by the entity, in the
//! record of what the request did: so a repeat finds it after a crash or a move too.

use axum::http::{HeaderMap, Method, Uri};
use rand::RngCore;

use super::json;
use crate::actors::runtime::client::Keyed;
use crate::actors::values::RequestId;
use crate::config::Idempotency;
use crate::http::answer::problem::{Code, Problem, Result};
use crate::http::keys::Keys;

/// The longest key.
pub const KEY_MAX: usize = 255;
/// The shortest key of an anonymous caller. He is known by his key alone, so nobody must be able to guess it: a UUID
/// has 36 characters, or 22 in base64.
pub const ANONYMOUS_KEY_MIN: usize = 22;

/// What a route asks of its idempotency key; a type, so that the route's signature says it.
pub trait Rule: Send + Sync + 'static {
    const REQUIRED: bool;
    fn keep_ms(config: &Idempotency) -> u64;
}

/// A key may come.
pub struct Optional;
/// A key must come.
pub struct Required;
/// A key must come, and its outcome is kept longer, because money moves.
pub struct Money;

impl Rule for Optional {
    const REQUIRED: bool = false;
    fn keep_ms(config: &Idempotency) -> u64 {
        config.keep_ms
    }
}
impl Rule for Required {
    const REQUIRED: bool = true;
    fn keep_ms(config: &Idempotency) -> u64 {
        config.keep_ms
    }
}
impl Rule for Money {
    const REQUIRED: bool = true;
    fn keep_ms(config: &Idempotency) -> u64 {
        config.keep_money_ms
    }
}

/// A key as the client sent it, unquoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// The key of a request; `None` when it has none.
    ///
    /// Errors: 400 when there are two, or it is empty, too long, or neither a structured-field string
    /// nor bare visible characters.
    pub fn of(headers: &HeaderMap) -> Result<Option<Key>> {
        let mut values = headers.get_all("idempotency-key").iter();
        let Some(value) = values.next() else { return Ok(None) };
        let invalid = |why: &str| Problem::new(Code::IdempotencyKeyInvalid).detail(why);
        if values.next().is_some() {
            return Err(invalid("There is more than one Idempotency-Key."));
        }
        let text = value.to_str().map_err(|_| invalid("The key has characters outside of ASCII."))?.trim();
        let key = match text.strip_prefix('"') {
            Some(rest) => unquoted(rest).ok_or_else(|| invalid("The key is not a well-formed quoted string."))?,
            None => text.to_owned(),
        };
        if key.is_empty() || key.len() > KEY_MAX {
            return Err(invalid("A key has 1 to 255 characters."));
        }
        Ok(Some(Key(key)))
    }
}

/// The inside of an RFC 9651 string, from behind its opening quote. Parameters behind it are not used.
fn unquoted(rest: &str) -> Option<String> {
    let mut key = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => key.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            c @ ' '..='~' => key.push(c),
            _ => return None,
        }
    }
    let behind = chars.as_str();
    (behind.is_empty() || behind.starts_with(';')).then_some(key)
}

/// Who a key belongs to, as bytes that no two callers share.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    User(&'a str),
    Guest { token: &'a str },
    Anonymous,
}

/// The identity of a request, and what is kept of its outcome.
#[derive(Debug, Clone)]
pub struct Identity {
    pub request: RequestId,
    /// `None`: no key came, nothing is kept, the identity is random.
    pub keyed: Option<Keyed>,
}

/// Fixes the identity of an unsafe request.
///
/// Errors: 400 when the route wants a key and there is none, or an anonymous caller's is too short.
pub fn identify<R: Rule>(
    (config, keys): (&Idempotency, &Keys),
    key: Option<&Key>,
    scope: Scope<'_>,
    (method, uri): (&Method, &Uri),
    body: &[u8],
    random: RequestId,
) -> Result<Identity> {
    let Some(Key(key)) = key else {
        if R::REQUIRED {
            return Err(Code::IdempotencyKeyRequired.into());
        }
        return Ok(Identity { request: random, keyed: None });
    };
    let (kind, who) = match scope {
        Scope::User(user) => ("user", user),
        Scope::Guest { token } => ("guest", token),
        Scope::Anonymous => ("anonymous", ""),
    };
    if matches!(scope, Scope::Anonymous) && key.len() < ANONYMOUS_KEY_MIN {
        let why = "Without a user or a token a key has at least 22 characters: use a UUID.";
        return Err(Problem::new(Code::IdempotencyKeyInvalid).detail(why));
    }
    let (method, path) = (method.as_str().as_bytes(), uri.path().as_bytes());
    let request = RequestId::of("client", &[kind.as_bytes(), who.as_bytes(), method, path, key.as_bytes()]);
    // A body that is not JSON is refused later; until then its bytes stand for themselves.
    let body = json::canonical(body).unwrap_or_else(|| body.to_vec());
    let query = uri.query().unwrap_or_default().as_bytes();
    let fingerprint = keys.fingerprint(&[method, path, query, &body]);
    Ok(Identity { request, keyed: Some(Keyed { fingerprint, keep_ms: R::keep_ms(config) }) })
}

/// An identity that nobody has had before.
pub fn random_request_id() -> RequestId {
    let mut bytes = [0; 16];
    rand::thread_rng().fill_bytes(&mut bytes);
    RequestId(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn key(text: &str) -> Result<Option<Key>> {
        let value = axum::http::HeaderValue::from_bytes(text.as_bytes()).expect("a header value");
        Key::of(&HeaderMap::from_iter([(axum::http::HeaderName::from_static("idempotency-key"), value)]))
    }

    #[test]
    fn a_key_is_the_same_quoted_or_bare() {
        let long = "k".repeat(255);
        for (text, inside) in
            [("abc", "abc"), ("\"abc\"", "abc"), ("\"a\\\"b\\\\\"", "a\"b\\"), ("\"abc\";v=1", "abc"), (&long, &long)]
        {
            assert_eq!(key(text), Ok(Some(Key(inside.into()))), "{text}");
        }
        let too_long = "k".repeat(256);
        for wrong in ["", "\"", "\"abc", "\"abc\"d", "\"\"", "\"a\\b\"", "käse", &too_long] {
            assert_eq!(key(wrong).map_err(|problem| problem.code()), Err(Code::IdempotencyKeyInvalid), "{wrong}");
        }
        assert_eq!(Key::of(&HeaderMap::new()), Ok(None));
    }

    fn identity<R: Rule>(key: Option<&str>, scope: Scope<'_>, path: &str, body: &str) -> Result<Identity> {
        let key = key.map(|text| Key(text.into()));
        let uri: Uri = path.parse().expect("a path");
        let random = RequestId([9; 16]);
        let config = Config::default();
        let keys = crate::http::keys::tests::keys(&[1]);
        identify::<R>((&config.idempotency, &keys), key.as_ref(), scope, (&Method::POST, &uri), body.as_bytes(), random)
    }

    #[test]
    fn the_same_request_is_the_same_and_another_is_another() {
        let first = identity::<Optional>(Some("k1"), Scope::User("user_a"), "/a", r#"{"x":1,"y":2}"#).expect("a key");
        let again = identity::<Optional>(Some("k1"), Scope::User("user_a"), "/a", r#"{"y":2, "x":1}"#).expect("a key");
        let changed = identity::<Optional>(Some("k1"), Scope::User("user_a"), "/a", r#"{"x":2}"#).expect("a key");
        let print = |identity: &Identity| identity.keyed.as_ref().map(|keyed| keyed.fingerprint);
        assert_eq!((first.request, print(&first)), (again.request, print(&again)));
        assert_eq!(first.request, changed.request);
        assert_ne!(print(&first), print(&changed));
        for (key, scope, path) in [
            ("k2", Scope::User("user_a"), "/a"),
            ("k1", Scope::User("user_b"), "/a"),
            ("k1", Scope::Guest { token: "user_a" }, "/a"),
            ("k1", Scope::User("user_a"), "/b"),
        ] {
            let other = identity::<Optional>(Some(key), scope, path, "{}").expect("a key");
            assert_ne!(other.request, first.request, "{key} {scope:?} {path}");
        }
    }

    #[test]
    fn a_route_may_want_a_key_and_an_anonymous_key_must_be_long() {
        let code = |result: Result<Identity>| result.map(|identity| identity.request).map_err(|p| p.code());
        assert_eq!(code(identity::<Money>(None, Scope::User("u"), "/a", "")), Err(Code::IdempotencyKeyRequired));
        assert_eq!(code(identity::<Optional>(None, Scope::User("u"), "/a", "")), Ok(RequestId([9; 16])));
        let short = identity::<Optional>(Some(&"k".repeat(21)), Scope::Anonymous, "/a", "");
        assert_eq!(code(short), Err(Code::IdempotencyKeyInvalid));
        assert!(identity::<Optional>(Some(&"k".repeat(22)), Scope::Anonymous, "/a", "").is_ok());
        let kept = identity::<Money>(Some("k"), Scope::User("u"), "/a", "").expect("a key").keyed;
        assert_eq!(kept.map(|keyed| keyed.keep_ms), Some(7 * 24 * 3_600_000));
    }
}
