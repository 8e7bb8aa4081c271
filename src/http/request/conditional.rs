//! Conditional requests (RFC 9110, 8.8.3 and 13): the entity tags that a request names, how they compare with the tag
//! of an answer, and what follows for a read. Writes compare versions, in the entity itself (see [`super::extract`]).
//!
//! A compressed answer is another representation than the same answer plain, so it has a strong tag of its own:
//! `"v17"` is `"v17-gzip"` then.
//!
//! Absent on purpose: `If-Modified-Since`, `If-Unmodified-Since`, `Range` and `If-Range`. Answers have no modification
//! date and no parts, and the RFC has a server ignore these fields then.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;

use crate::actors::runtime::client::AskError;
use crate::http::answer::problem::{Code, Problem};

const GZIP_MARK: &str = "-gzip";

/// The tags that one field of a request names, in all of its lines together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// `*`: whatever there is.
    Any,
    Tags(Vec<Tag>),
}

/// `"opaque"` or `W/"opaque"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    weak: bool,
    /// With its quotes.
    quoted: String,
}

/// The preconditions of a request.
#[derive(Debug, Default)]
pub struct Conditions {
    if_match: Option<Named>,
    if_none_match: Option<Named>,
}

impl Named {
    /// What the lines of a field name; `None` when there is no such field. What is no tag matches nothing.
    pub fn of(headers: &HeaderMap, name: HeaderName) -> Option<Named> {
        let mut lines = headers.get_all(name).iter().peekable();
        lines.peek()?;
        let members: Vec<&[u8]> = lines.flat_map(|line| members(line.as_bytes())).collect();
        if members == [b"*"] {
            return Some(Named::Any);
        }
        Some(Named::Tags(members.into_iter().filter_map(Tag::parse).collect()))
    }

    /// The versions in strong tags of ours; `None` when any will do. Never more than were sent.
    pub fn versions(&self) -> Option<Vec<u64>> {
        let Named::Tags(tags) = self else { return None };
        let mut versions: Vec<u64> =
            tags.iter().filter(|tag| !tag.weak).filter_map(|tag| version_of_tag(&tag.quoted)).collect();
        versions.sort_unstable();
        versions.dedup();
        Some(versions)
    }

    /// The weak comparison: that of `If-None-Match`.
    fn has(&self, current: &str) -> bool {
        match self {
            Named::Any => true,
            Named::Tags(tags) => tags.iter().any(|tag| tag.quoted == current),
        }
    }

    /// The strong comparison: that of `If-Match`. Where both tags hold a version, the versions alone compare, as they
    /// do for a write.
    fn has_strongly(&self, current: &str) -> bool {
        let Named::Tags(tags) = self else { return true };
        let version = version_of_tag(current);
        let same = |tag: &Tag| tag.quoted == current || version.is_some() && version_of_tag(&tag.quoted) == version;
        tags.iter().any(|tag| !tag.weak && same(tag))
    }
}

/// The members of a list. A comma between quotes is part of its tag, and nothing escapes a quote.
fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let parts = line.split(move |byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    });
    parts.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

impl Tag {
    fn parse(member: &[u8]) -> Option<Tag> {
        let (weak, quoted) = member.strip_prefix(b"W/").map_or((false, member), |rest| (true, rest));
        let inside = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        let is_fine = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
        // Ours are ASCII: a tag that is no text is none of ours.
        let quoted = std::str::from_utf8(quoted).ok()?.to_owned();
        inside.iter().all(is_fine).then_some(Tag { weak, quoted })
    }
}

/// The version in an entity tag of ours: `"v17"`, `"v17-HASH"`, and both with `-gzip` behind.
pub fn version_of_tag(tag: &str) -> Option<u64> {
    let inside = tag.strip_prefix("\"v")?.strip_suffix('"')?;
    let version = inside.split('-').next()?;
    version.bytes().all(|byte| byte.is_ascii_digit()).then(|| version.parse().ok())?
}

impl Conditions {
    /// The preconditions of a read. Those of a write are judged by the entity.
    pub fn of_read(method: &Method, headers: &HeaderMap) -> Conditions {
        if method != Method::GET && method != Method::HEAD {
            return Conditions::default();
        }
        Conditions {
            if_match: Named::of(headers, header::IF_MATCH),
            if_none_match: Named::of(headers, header::IF_NONE_MATCH),
        }
    }

    /// The problem (412) if `If-Match` names none of this answer's tags. It is judged before `If-None-Match`.
    pub fn refuse(&self, response: &Response) -> Option<Problem> {
        let wanted = self.if_match.as_ref().filter(|_| response.status() == StatusCode::OK)?;
        let tag = tag_of(response).unwrap_or_default();
        if wanted.has_strongly(tag) {
            return None;
        }
        Some(match version_of_tag(tag) {
            Some(current) => AskError::StaleVersion { current }.into(),
            None => Code::StaleVersion.into(),
        })
    }

    /// Turns an answer that the caller has already into a 304 without a body. Its tag, `Vary` and the headers about
    /// caching stay.
    pub fn shorten(&self, response: &mut Response) {
        let Some(known) = self.if_none_match.as_ref().filter(|_| response.status() == StatusCode::OK) else { return };
        if tag_of(response).is_some_and(|tag| known.has(tag)) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            // A body of unknown length, because `Content-Length: 0` would be about the answer that is not sent.
            *response.body_mut() = Body::from_stream(futures::stream::empty::<Result<Bytes, Infallible>>());
            for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING] {
                response.headers_mut().remove(name);
            }
        }
    }
}

fn tag_of(response: &Response) -> Option<&str> {
    response.headers().get(header::ETAG)?.to_str().ok()
}

/// Gives a compressed answer its own tag.
pub fn mark_encoding(response: &mut Response) {
    if response.headers().get(header::CONTENT_ENCODING).is_none_or(|encoding| encoding != "gzip") {
        return;
    }
    let opaque = tag_of(response).and_then(|tag| tag.strip_suffix('"'));
    let marked = opaque.and_then(|opaque| HeaderValue::try_from(format!("{opaque}{GZIP_MARK}\"")).ok());
    if let Some(marked) = marked {
        response.headers_mut().insert(header::ETAG, marked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(lines: &[&str]) -> Named {
        let line = |text: &&str| (header::IF_MATCH, HeaderValue::from_str(text).expect("a header value"));
        Named::of(&lines.iter().map(line).collect(), header::IF_MATCH).expect("a field")
    }

    #[test]
    fn a_tag_of_ours_has_a_version() {
        for (tag, version) in [
            ("\"v17\"", Some(17)),
            ("\"v17-abcdef\"", Some(17)),
            ("\"v17-gzip\"", Some(17)),
            ("\"v17-abcdef-gzip\"", Some(17)),
            ("W/\"v17\"", None),
            ("v17", None),
            ("\"17\"", None),
            ("\"v\"", None),
            ("\"v+1\"", None),
            ("\"v-1\"", None),
        ] {
            assert_eq!(version_of_tag(tag), version, "{tag}");
        }
    }

    /// The examples of RFC 9110, 8.8.3.2, 13.1.1 and 13.1.2 among them.
    #[test]
    fn tags_are_found_in_lists_and_lines_weakly_or_strongly() {
        for (lines, weakly, strongly) in [
            (&["\"v17\""][..], true, true),
            (&["W/\"v17\""], true, false),
            (&["\"v16\", \"v17\""], true, true),
            (&["\"v16\"", "\"v17\""], true, true),
            (&["W/\"v17\"", "\"other\""], true, false),
            (&[",, \"v17\" ,"], true, true),
            (&["\"a,b\",\"v17\""], true, true),
            (&["\"a,\"v17\",b\""], false, false),
            (&["*"], true, true),
            (&["*, \"v1\""], false, false),
            (&["\"v1\""], false, false),
            (&["\"v17-ab\""], false, true),
            (&["\"v17-gzip\""], false, true),
            (&["v17"], false, false),
            (&["w/\"v17\""], false, false),
            (&["\"v17"], false, false),
            (&[""], false, false),
        ] {
            let named = named(lines);
            assert_eq!((named.has("\"v17\""), named.has_strongly("\"v17\"")), (weakly, strongly), "{lines:?}");
        }
        assert_eq!(Named::of(&HeaderMap::new(), header::IF_MATCH), None);
    }

    #[test]
    fn the_versions_of_a_list_are_those_of_its_strong_tags_of_ours() {
        let versions = |lines: &[&str]| named(lines).versions();
        assert_eq!(versions(&["*"]), None);
        assert_eq!(versions(&["\"v3\", W/\"v4\"", "\"v2-ab-gzip\", \"v3-ab\", \"other\""]), Some(vec![2, 3]));
        assert_eq!(versions(&["v3"]), Some(vec![]));
    }

    #[test]
    fn a_compressed_answer_has_a_tag_of_its_own() {
        let answer = |encoding| {
            let builder =
                Response::builder().header(header::ETAG, "\"v17-ab\"").header(header::VARY, "accept-encoding");
            let mut answer = builder.header(header::CONTENT_ENCODING, encoding).body(Body::empty()).expect("an answer");
            mark_encoding(&mut answer);
            answer
        };
        assert_eq!(tag_of(&answer("gzip")), Some("\"v17-ab-gzip\""));
        assert_eq!(tag_of(&answer("identity")), Some("\"v17-ab\""));
        let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static("W/\"v17-ab-gzip\""))]);
        let mut known = answer("gzip");
        Conditions::of_read(&Method::GET, &headers).shorten(&mut known);
        assert_eq!(
            (known.status(), known.headers()[header::VARY].as_bytes()),
            (StatusCode::NOT_MODIFIED, &b"accept-encoding"[..])
        );
        assert!(!known.headers().contains_key(header::CONTENT_ENCODING));
        let mut other = answer("identity");
        Conditions::of_read(&Method::GET, &headers).shorten(&mut other);
        assert_eq!(other.status(), StatusCode::OK);
    }
}
