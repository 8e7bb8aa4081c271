//! One spelling for every URL (RFC 3986, 6.2.2). What a client may write in several ways, `/v1/%63arts` or `%2f` for
//! `%2F`, is the same resource: routes, idempotency keys and cursors must not tell the spellings apart. So the accept
//! loop rewrites each request's target once, before anything reads it.
//!
//! In a path, a byte that needs no encoding stands as it is, and any other byte is encoded in upper case: `%2F` stays
//! encoded, because it separates nothing. In a query, only what RFC 3986 calls unreserved is decoded, because `&`, `=`
//! and `+` mean something there.

use std::borrow::Cow;

use axum::http::Uri;
use axum::http::uri::PathAndQuery;

/// Bytes that need no encoding in a path, and in a query.
static PATH: [bool; 256] = table(b"-._~/!$&'()*+,;=:@");
static UNRESERVED: [bool; 256] = table(b"-._~");

/// Letters, digits and these.
const fn table(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

/// The target in its one spelling; `None` where it is so already, or malformed.
pub fn respelt(uri: &Uri) -> Option<Uri> {
    if is_plain(uri) || is_malformed(uri) {
        return None;
    }
    let path = rewritten(uri.path(), &PATH, true);
    let query = uri.query().map(|query| rewritten(query, &UNRESERVED, false));
    if matches!(path, Cow::Borrowed(_)) && !matches!(query, Some(Cow::Owned(_))) {
        return None;
    }
    let target = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

/// Whether there is nothing that could be spelt otherwise, as in nearly every request.
fn is_plain(uri: &Uri) -> bool {
    let is_in_query = |byte: &u8| *byte != b'%' && byte.is_ascii();
    uri.path().bytes().all(|byte| PATH[usize::from(byte)])
        && uri.query().is_none_or(|query| query.as_bytes().iter().all(is_in_query))
}

/// Whether a percent sign stands without its two digits.
pub fn is_malformed(uri: &Uri) -> bool {
    if is_plain(uri) {
        return false;
    }
    let torn = |text: &str| text.split('%').skip(1).any(|rest| decoded(rest.as_bytes()).is_none());
    torn(uri.path()) || uri.query().is_some_and(torn)
}

/// The byte that two hexadecimal digits, those behind a percent sign, stand for.
fn decoded(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(0)? << 4 | digit(1)?)
}

/// A well-formed text with the bytes that are `plain` decoded. Those that are not are encoded if the text had them
/// encoded, or if `strictly`.
fn rewritten<'a>(text: &'a str, plain: &[bool; 256], strictly: bool) -> Cow<'a, str> {
    let plain = |byte: u8| plain[usize::from(byte)];
    let mut written = String::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let [first, rest @ ..] = bytes {
        let escaped = if *first == b'%' { decoded(rest) } else { None };
        let byte = escaped.unwrap_or(*first);
        bytes = if escaped.is_some() { rest.get(2..).unwrap_or_default() } else { rest };
        // A slash that came encoded is part of its segment.
        let is_plain = plain(byte) && !(escaped.is_some() && byte == b'/');
        if is_plain || (escaped.is_none() && !strictly && byte.is_ascii()) {
            written.push(char::from(byte));
        } else {
            written.push_str(&format!("%{byte:02X}"));
        }
    }
    if written == text { Cow::Borrowed(text) } else { Cow::Owned(written) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().expect("a target")
    }

    #[test]
    fn every_spelling_of_a_target_becomes_one() {
        for (spelt, one) in [
            ("/v1/carts", "/v1/carts"),
            ("/v1/%63arts", "/v1/carts"),
            ("/%76%31/carts/%7Eada%2dx", "/v1/carts/~ada-x"),
            ("/v1/admin/inventory/A%2fB", "/v1/admin/inventory/A%2FB"),
            ("/v1/admin/inventory/A%3aB%40", "/v1/admin/inventory/A:B@"),
            ("/v1/products/a%2541", "/v1/products/a%2541"),
            ("/v1/products/k%c3%a4se", "/v1/products/k%C3%A4se"),
            ("/v1/products/a\"b", "/v1/products/a%22b"),
            ("/v1/products?%73ort=a%2cb&x=1+2%26%c3", "/v1/products?sort=a%2Cb&x=1+2%26%C3"),
            ("/v1/products?filter[price]=1", "/v1/products?filter[price]=1"),
            ("/v1/products?", "/v1/products?"),
            ("http://souk.example/%61?b=%63", "http://souk.example/a?b=c"),
            ("*", "*"),
            ("souk.example:443", "souk.example:443"),
        ] {
            let target = uri(spelt);
            let respelt = respelt(&target).unwrap_or(target);
            assert_eq!(respelt.to_string(), uri(one).to_string(), "{spelt}");
            assert_eq!(super::respelt(&respelt), None, "{spelt}: it is the one already");
        }
    }

    #[test]
    fn a_percent_sign_has_two_digits() {
        for torn in ["/%", "/%z", "/%zz", "/a%2", "/%+1", "/?q=%", "/?q=%g0", "/%%41"] {
            assert!(is_malformed(&uri(torn)), "{torn}");
            assert_eq!(respelt(&uri(torn)), None, "{torn}");
        }
        assert!(!is_malformed(&uri("/%41?q=%2f")));
    }
}
