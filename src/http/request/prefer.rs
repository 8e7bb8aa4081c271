//! `Prefer` (RFC 7240): what a caller would like of the answer. Of the preferences only `return=minimal` is known,
//! and only cart writes honour it; every other one is ignored, as the standard says.

use axum::http::{HeaderMap, HeaderName};

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Whether the caller would rather have a short answer. The first `return` that is there counts (section 2).
pub fn wants_minimal(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = fields.flat_map(|field| field.split(',')).filter_map(|preference| {
        let token = preference.split(';').next()?;
        let (name, value) = token.split_once('=')?;
        name.trim().eq_ignore_ascii_case("return").then(|| value.trim().trim_matches('"'))
    });
    preferences.next() == Some("minimal")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_first_return_counts_whatever_stands_beside_it() {
        let wants = |fields: &[&'static str]| {
            let fields = fields.iter().map(|field| (PREFER, HeaderValue::from_static(field)));
            wants_minimal(&fields.collect())
        };
        for fields in [
            &["return=minimal"][..],
            &["respond-async, Return=\"minimal\"; a=b, wait=10"],
            &["wait=10", "return = minimal"],
            &["return=minimal, return=representation"],
        ] {
            assert!(wants(fields), "{fields:?}");
        }
        for fields in [&[][..], &["return"], &["return=representation, return=minimal"], &["returns=minimal"], &[""]] {
            assert!(!wants(fields), "{fields:?}");
        }
    }
}
