//! Every refusal of the edge, as RFC 9457 `application/problem+json`.
//!
//! A handler returns a [`Problem`]; the front layer writes it out, because only it knows the request id
//! and the trace id. Nothing else makes an error response: rejections of extractors and the router,
//! panics, timeouts and overload all come through here. A problem carries what a caller may know and
//! never an internal message.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

pub use super::codes::Code;
use crate::actors::runtime::client::AskError;

/// One fault in a request: where, and what.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Fault {
    pub code: Code,
    /// JSON pointer into the body, such as `/lines/0/quantity`; empty for the whole body.
    pub pointer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Further members, such as `sku`, `available`, `requested`.
    #[serde(flatten)]
    #[schema(value_type = Object, additional_properties)]
    pub more: Map<String, Value>,
}

impl Fault {
    pub fn new(code: Code, pointer: impl Into<String>) -> Fault {
        Fault { code, pointer: clipped(pointer.into()), detail: None, more: Map::new() }
    }
    pub fn detail(mut self, detail: impl Into<String>) -> Fault {
        self.detail = Some(clipped(detail.into()));
        self
    }
    /// Adds a member; what cannot be written as JSON becomes null.
    pub fn with(mut self, name: &str, value: impl Serialize) -> Fault {
        self.more.insert(name.into(), serde_json::to_value(value).unwrap_or(Value::Null));
        self
    }
}

/// The most bytes of a text in a problem: it may repeat what the caller sent, and need not repeat all of it.
const ECHO_MAX_BYTES: usize = 512;

fn clipped(mut text: String) -> String {
    if text.len() > ECHO_MAX_BYTES {
        let end = (0..=ECHO_MAX_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    text
}

/// What a caller is told when something was refused. Cheap to pass (one box).
#[derive(Debug, Clone, PartialEq)]
pub struct Problem(Box<Content>);

#[derive(Debug, Clone, PartialEq)]
struct Content {
    code: Code,
    detail: Option<String>,
    errors: Vec<Fault>,
    more: Map<String, Value>,
    retryable: bool,
    retry_after_s: Option<u64>,
    replayed: bool,
}

/// What handlers answer.
pub type Result<T> = std::result::Result<T, Problem>;

impl Problem {
    pub fn new(code: Code) -> Problem {
        let retry_after_s = (code.retryable() && code.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        Problem(Box::new(Content {
            code,
            detail: None,
            errors: vec![],
            more: Map::new(),
            retryable: code.retryable(),
            retry_after_s,
            replayed: false,
        }))
    }

    /// A 422 with one fault.
    pub fn of_field(fault: Fault) -> Problem {
        Problem::new(Code::ValidationFailed).fault(fault)
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Problem {
        self.0.detail = Some(clipped(detail.into()));
        self
    }
    pub fn fault(mut self, fault: Fault) -> Problem {
        self.0.errors.push(fault);
        self
    }
    pub fn faults(mut self, faults: impl IntoIterator<Item = Fault>) -> Problem {
        self.0.errors.extend(faults);
        self
    }
    /// Adds a member beside the standard ones, such as `order_id`.
    pub fn with(mut self, name: &str, value: impl Serialize) -> Problem {
        self.0.more.insert(name.into(), serde_json::to_value(value).unwrap_or(Value::Null));
        self
    }
    /// Seconds after which to try again, at least one.
    pub fn retry_after_s(mut self, seconds: u64) -> Problem {
        self.0.retry_after_s = Some(seconds.max(1));
        self
    }
    /// For a request that must not simply be sent again, whatever the code says.
    pub fn not_retryable(mut self) -> Problem {
        self.0.retryable = false;
        self
    }
    /// Marks a refusal that was given before, to the same request.
    pub fn replayed(mut self, replayed: bool) -> Problem {
        self.0.replayed = replayed;
        self
    }

    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The whole response. `request_id` and `trace_id` are what the caller can name it by.
    pub fn render(&self, request_id: &str, trace_id: &str) -> Response {
        let body = self.to_json(request_id, trace_id);
        let mut response = Response::new(axum::body::Body::from(body));
        *response.status_mut() = self.0.code.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.0.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.0.replayed {
            headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
        }
        match self.0.code {
            Code::Unauthenticated => insert_challenge(headers, "Bearer"),
            Code::InvalidToken => insert_challenge(headers, "Bearer error=\"invalid_token\""),
            _ => {}
        }
        response
    }

    /// The body alone.
    pub fn to_json(&self, request_id: &str, trace_id: &str) -> Vec<u8> {
        let Content { code, detail, errors, more, retryable, .. } = &*self.0;
        let document = Document {
            r#type: format!("urn:souk:problem:{}", code.slug()),
            title: code.title(),
            status: code.status().as_u16(),
            code: *code,
            detail: detail.as_deref(),
            retryable: *retryable,
            request_id,
            trace_id,
            errors,
            more,
        };
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

fn insert_challenge(headers: &mut axum::http::HeaderMap, challenge: &'static str) {
    headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
}

/// The body of every error answer.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct Document<'a> {
    /// `urn:souk:problem:` and the code.
    r#type: String,
    title: &'a str,
    status: u16,
    code: Code,
    /// What happened this time, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// Whether the same request, sent again, may well succeed.
    retryable: bool,
    request_id: &'a str,
    trace_id: &'a str,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'a [Fault],
    /// Further members that belong to the code.
    #[serde(flatten)]
    #[schema(value_type = Object, additional_properties)]
    more: &'a Map<String, Value>,
}

/// Leaves the problem in the response's extensions: the front layer, which knows the ids, renders it.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = self.0.code.status();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Problem {
        Problem::new(code)
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Problem {
        match error {
            AskError::Busy { retry_after_ms } => {
                Problem::new(Code::Overloaded).retry_after_s(retry_after_ms.div_ceil(1000))
            }
            AskError::Unavailable | AskError::Unsupported => Problem::new(Code::Unavailable),
            AskError::DeadlinePassed => Problem::new(Code::DeadlinePassed)
                .detail("The outcome is not known. Send the request again with the same Idempotency-Key."),
            AskError::Unknown => {
                Problem::new(Code::OutcomeUnknown).detail("Send the request again with the same Idempotency-Key.")
            }
            AskError::KeyReused => Problem::new(Code::IdempotencyKeyReused),
            AskError::StaleVersion { current } => Problem::new(Code::StaleVersion)
                .detail(format!("It is at version {current} now."))
                .with("current_version", current),
            AskError::Quarantined | AskError::Damaged => Problem::new(Code::EntityQuarantined),
            AskError::UnknownKind => Problem::new(Code::NotFound),
            AskError::AnsweredLongAgo | AskError::Panicked => Problem::new(Code::Internal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(problem: &Problem) -> Value {
        serde_json::from_slice(&problem.to_json("req_1", "abc")).expect("a problem is JSON")
    }

    #[test]
    fn a_problem_reads_as_the_contract_says() {
        let fault = Fault::new(Code::InsufficientStock, "/lines/0/quantity")
            .with("sku", "TEE-M")
            .with("available", 1)
            .with("requested", 3);
        let problem = Problem::new(Code::InsufficientStock)
            .detail("SKU TEE-M has 1 available, 3 requested.")
            .fault(fault)
            .with("order_id", "ord_1");
        assert_eq!(
            json(&problem),
            serde_json::json!({
                "type": "urn:souk:problem:insufficient_stock", "title": "Not enough stock", "status": 409,
                "code": "insufficient_stock", "detail": "SKU TEE-M has 1 available, 3 requested.",
                "retryable": false, "request_id": "req_1", "trace_id": "abc", "order_id": "ord_1",
                "errors": [{"code": "insufficient_stock", "pointer": "/lines/0/quantity", "sku": "TEE-M",
                            "available": 1, "requested": 3}]
            })
        );
    }

    #[test]
    fn a_problem_does_not_repeat_a_long_text_whole() {
        let long = "é".repeat(40_000);
        let fault = Fault::new(Code::UnknownField, format!("/{long}")).detail(long.clone());
        let problem = Problem::of_field(fault).detail(long);
        assert!(problem.to_json("req_1", "abc").len() < 4 * ECHO_MAX_BYTES);
        assert!(json(&problem)["errors"][0]["pointer"].as_str().is_some_and(|text| text.ends_with("é…")));
    }

    #[test]
    fn codes_are_distinct_and_their_statuses_are_errors() {
        let slugs: std::collections::BTreeSet<_> = Code::ALL.iter().map(|code| code.slug()).collect();
        assert_eq!(slugs.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{}", code.slug());
            assert_eq!(serde_json::to_value(code).ok(), Some(Value::from(code.slug())));
        }
    }

    #[test]
    fn what_the_client_handle_refuses_becomes_the_status_of_the_contract() {
        let table = [
            (AskError::Busy { retry_after_ms: 1200 }, 503, Some("2")),
            (AskError::Unavailable, 503, Some("1")),
            (AskError::Unsupported, 503, Some("1")),
            (AskError::DeadlinePassed, 503, Some("1")),
            (AskError::Unknown, 503, Some("1")),
            (AskError::KeyReused, 422, None),
            (AskError::StaleVersion { current: 7 }, 412, None),
            (AskError::Quarantined, 500, None),
            (AskError::Damaged, 500, None),
            (AskError::UnknownKind, 404, None),
            (AskError::AnsweredLongAgo, 500, None),
            (AskError::Panicked, 500, None),
        ];
        for (error, status, retry_after) in table {
            let name = format!("{error:?}");
            let response = Problem::from(error).render("r", "t");
            assert_eq!(response.status().as_u16(), status, "{name}");
            let header = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            assert_eq!(header, retry_after, "{name}");
        }
    }
}
