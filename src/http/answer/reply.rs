//! What handlers answer when all went well: a body with its status, entity tag, location, and the rest
//! of the headers that the contract promises.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::problem::Code;
use crate::actors::entity::Kind;
use crate::actors::runtime::client::Answered;
use crate::actors::values::JournalPosition;

/// A successful answer.
#[derive(Debug)]
#[must_use]
pub struct Reply<T> {
    status: StatusCode,
    body: Option<T>,
    tag: Tag,
    location: Option<String>,
    link: Option<String>,
    replayed: bool,
    minimal: bool,
    position: Option<JournalPosition>,
}

/// How far the journal was when what was asked for was done.
pub const SOUK_POSITION: HeaderName = HeaderName::from_static("souk-position");

#[derive(Debug, Clone)]
enum Tag {
    None,
    Known(String),
    /// The body shows one entity at this version.
    Version(u64),
    /// The body shows other entities too: its hash is part of the tag.
    VersionAndBody(u64),
    /// The body has no version of its own.
    Body,
}

impl<T: Serialize> Reply<T> {
    fn new(status: StatusCode, body: Option<T>) -> Reply<T> {
        let (location, link, position) = (None, None, None);
        Reply { status, body, tag: Tag::None, location, link, replayed: false, minimal: false, position }
    }
    pub fn ok(body: T) -> Reply<T> {
        Reply::new(StatusCode::OK, Some(body))
    }
    /// 201; `location` is a path.
    pub fn created(location: impl Into<String>, body: T) -> Reply<T> {
        Reply { location: Some(location.into()), ..Reply::new(StatusCode::CREATED, Some(body)) }
    }
    /// 202: undecided; `location` says where to look.
    pub fn accepted(location: impl Into<String>, body: T) -> Reply<T> {
        Reply { location: Some(location.into()), ..Reply::new(StatusCode::ACCEPTED, Some(body)) }
    }
    /// 301 without a body; `location` is a path.
    pub fn moved(location: impl Into<String>) -> Reply<T> {
        Reply { location: Some(location.into()), ..Reply::new(StatusCode::MOVED_PERMANENTLY, None) }
    }

    /// `ETag: "v17"`.
    pub fn version(self, version: u64) -> Reply<T> {
        Reply { tag: Tag::Version(version), ..self }
    }
    /// `ETag: "v17-HASH"`: for a body that shows data of other entities too.
    pub fn version_of_whole(self, version: u64) -> Reply<T> {
        Reply { tag: Tag::VersionAndBody(version), ..self }
    }
    /// An entity tag that is known already; see [`tag_of_whole`].
    pub fn tag(self, tag: String) -> Reply<T> {
        Reply { tag: Tag::Known(tag), ..self }
    }
    /// An entity tag for a body without a version, such as a list.
    pub fn tagged(self) -> Reply<T> {
        Reply { tag: Tag::Body, ..self }
    }
    /// `Idempotent-Replayed: true` when the outcome had been given before.
    pub fn replayed(self, replayed: bool) -> Reply<T> {
        Reply { replayed, ..self }
    }
    /// `Preference-Applied: return=minimal`, when it was.
    pub fn minimal(self, minimal: bool) -> Reply<T> {
        Reply { minimal, ..self }
    }
    /// `Souk-Position`: for staff, who may want to find what they have done in a list of another node at once. It is not for
    /// customers, who could tell from it how much is sold.
    pub fn position(self, position: Option<JournalPosition>) -> Reply<T> {
        Reply { position, ..self }
    }
    /// Version and replay mark of an entity's answer.
    pub fn of<K: Kind>(self, answered: &Answered<K>) -> Reply<T> {
        self.version(answered.view.version).replayed(answered.replayed)
    }
    /// A `Link` field.
    pub fn link(self, link: Option<String>) -> Reply<T> {
        Reply { link, ..self }
    }
}

impl Reply<()> {
    /// 204.
    pub fn no_content() -> Reply<()> {
        Reply::new(StatusCode::NO_CONTENT, None)
    }
}

impl<T: Serialize> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        let Ok(bytes) = self.body.as_ref().map(written).transpose() else {
            return super::problem::Problem::new(Code::Internal).into_response();
        };
        let tag = tag_of(self.tag, bytes.as_deref().unwrap_or_default());
        let has_body = bytes.is_some();
        let mut response = Response::new(bytes.map_or_else(Body::empty, Body::from));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.reserve(FIELDS);
        if has_body {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let fields = [(header::ETAG, tag), (header::LOCATION, self.location), (header::LINK, self.link)];
        for (name, text) in fields {
            if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
                headers.insert(name, value);
            }
        }
        if let Some(value) = self.position.and_then(|at| HeaderValue::try_from(at.to_string()).ok()) {
            headers.insert(SOUK_POSITION, value);
        }
        if self.replayed {
            headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
        }
        if self.minimal {
            headers.insert("preference-applied", HeaderValue::from_static("return=minimal"));
        }
        response
    }
}

/// Memory for a usual body is taken at once, in bytes.
const USUAL_BODY: usize = 1_024;
/// The same for the header fields of an answer, those of the layers around included.
const FIELDS: usize = 12;

fn written<T: Serialize>(body: &T) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(USUAL_BODY);
    serde_json::to_writer(&mut bytes, body).map(|()| bytes)
}

fn tag_of(tag: Tag, body: &[u8]) -> Option<String> {
    match tag {
        Tag::None => None,
        Tag::Known(tag) => Some(tag),
        Tag::Version(version) => Some(format!("\"v{version}\"")),
        Tag::VersionAndBody(version) => Some(tag_of_whole(version, body)),
        Tag::Body => Some(format!("\"{}\"", hash_of(body))),
    }
}

/// `"v17-HASH"`, the entity tag of a body that shows an entity at a version, and data of others.
pub fn tag_of_whole(version: u64, body: &[u8]) -> String {
    format!("\"v{version}-{}\"", hash_of(body))
}

fn hash_of(body: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(body)[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_carries_what_the_contract_promises() {
        let response = Reply::created("/v1/carts/cart_1", "x").version(17).replayed(true).into_response();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        assert_eq!(response.status(), 201);
        assert_eq!(header("etag"), Some("\"v17\""));
        assert_eq!(header("location"), Some("/v1/carts/cart_1"));
        assert_eq!(header("idempotent-replayed"), Some("true"));
        assert_eq!(header("content-type"), Some("application/json"));
    }

    #[test]
    fn the_tag_of_a_whole_changes_with_its_body() {
        let tag = |body: &str, version| {
            let response = Reply::ok(body).version_of_whole(version).into_response();
            response.headers()[header::ETAG].to_str().expect("a tag").to_owned()
        };
        assert_ne!(tag("a", 1), tag("b", 1));
        assert_eq!(tag("a", 1), tag("a", 1));
        assert_eq!(crate::http::request::conditional::version_of_tag(&tag("a", 12)), Some(12));
    }
}
