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

use crate::actors::client::AskError;

/// Declares the codes: `Variant = status "slug" "title" [retryable]`.
macro_rules! problem_codes {
    ($($(#[$doc:meta])* $variant:ident = $status:literal $slug:literal $title:literal $($retryable:ident)?;)*) => {
        /// A stable word for what went wrong: of the problem itself and of each entry in `errors`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
        pub enum Code { $($(#[$doc])* #[serde(rename = $slug)] $variant),* }

        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            pub const fn slug(self) -> &'static str { match self { $(Code::$variant => $slug),* } }
            pub const fn title(self) -> &'static str { match self { $(Code::$variant => $title),* } }
            /// Whether the same request, sent again as it is, may well succeed.
            pub const fn retryable(self) -> bool {
                match self { $(Code::$variant => problem_codes!(@retryable $($retryable)?)),* }
            }
            const fn status_number(self) -> u16 { match self { $(Code::$variant => $status),* } }
        }
    };
    (@retryable retryable) => { true };
    (@retryable) => { false };
}

problem_codes! {
    // Malformed: 400
    BadRequest = 400 "bad_request" "The request is malformed";
    InvalidJson = 400 "invalid_json" "The body is not JSON";
    UnknownParameter = 400 "unknown_parameter" "There is no such query parameter";
    InvalidParameter = 400 "invalid_parameter" "A query parameter is not what it should be";
    InvalidCursor = 400 "invalid_cursor" "The cursor does not belong to this list";
    InvalidHeader = 400 "invalid_header" "A header is not what it should be";
    IdempotencyKeyRequired = 400 "idempotency_key_required" "This request needs an Idempotency-Key";
    IdempotencyKeyInvalid = 400 "idempotency_key_invalid" "The Idempotency-Key is not acceptable";

    // Who: 401, 403, 404
    Unauthenticated = 401 "unauthenticated" "Sign in first";
    InvalidToken = 401 "invalid_token" "The token is not, or no longer, good";
    InvalidCredentials = 401 "invalid_credentials" "Email or password is wrong";
    Forbidden = 403 "forbidden" "Your role does not allow this";
    NotFound = 404 "not_found" "There is nothing here";
    MethodNotAllowed = 405 "method_not_allowed" "This resource does not know this method";
    RequestTimeout = 408 "request_timeout" "The request took too long to arrive" retryable;
    BodyTooLarge = 413 "body_too_large" "The body is too large";
    UnsupportedMediaType = 415 "unsupported_media_type" "Send application/json";
    HeadersTooLarge = 431 "headers_too_large" "The headers are too large";

    // Business: 402, 409, 410
    /// The payment provider declined.
    PaymentFailed = 402 "payment_failed" "The payment was declined";
    PaymentTimeout = 402 "payment_timeout" "The payment provider did not answer";
    Conflict = 409 "conflict" "The state does not allow this";
    EmailTaken = 409 "email_taken" "This email address is taken";
    SlugTaken = 409 "slug_taken" "This slug is taken";
    SkuTaken = 409 "sku_taken" "This SKU is taken";
    RequestInProgress = 409 "request_in_progress" "This request is still running" retryable;
    ChangeInProgress = 409 "change_in_progress" "Another change of this is still running" retryable;
    InsufficientStock = 409 "insufficient_stock" "Not enough stock";
    ReservationExpired = 409 "reservation_expired" "The stock was held too long and was given back";
    StockChanged = 409 "stock_changed" "The stock is not what you expected";
    StockReserved = 409 "stock_reserved" "Pending orders hold more than that";
    SkuUnavailable = 409 "sku_unavailable" "A SKU is no longer for sale";
    PriceChanged = 409 "price_changed" "Prices have changed";
    CartNotReady = 409 "cart_not_ready" "Something is missing before the cart can be completed";
    CartClosed = 409 "cart_closed" "The cart is no longer open";
    CompletionInProgress = 409 "completion_in_progress" "The cart is being completed";
    TooManyLines = 409 "too_many_lines" "The cart is full";
    MergeNotPossible = 409 "merge_not_possible" "These carts cannot be merged";
    OrderCancelled = 409 "order_cancelled" "The order was cancelled before it was confirmed";
    OrderStatus = 409 "order_status" "The order's status does not allow this";
    OrderNotCancellable = 409 "order_not_cancellable" "The order can no longer be cancelled";
    OrderNotFulfillable = 409 "order_not_fulfillable" "The order cannot be fulfilled";
    OrderNotRefundable = 409 "order_not_refundable" "The order cannot be refunded";
    RefundExceedsCaptured = 409 "refund_exceeds_captured" "More than what remains captured";
    CategoryHasChildren = 409 "category_has_children" "The category still has children";
    LimitReached = 409 "limit_reached" "There are as many as there may be";
    ProductArchived = 409 "product_archived" "The product is archived";
    CartExpired = 410 "cart_expired" "The cart has expired";

    // Preconditions: 412, 428
    StaleVersion = 412 "stale_version" "It has changed since you read it";
    PreconditionRequired = 428 "precondition_required" "Send If-Match with the version you read";

    // Content: 422. The short ones stand in `errors`.
    ValidationFailed = 422 "validation_failed" "Something in the body is not what it should be";
    IdempotencyKeyReused = 422 "idempotency_key_reused" "This Idempotency-Key was used for another request";
    Required = 422 "required" "A field is missing";
    WrongType = 422 "wrong_type" "A field is of the wrong type";
    UnknownField = 422 "unknown_field" "There is no such field";
    InvalidValue = 422 "invalid_value" "A field's value is not acceptable";
    OutOfRange = 422 "out_of_range" "A field is out of its range";
    UnknownSku = 422 "unknown_sku" "There is no such SKU";
    UnpublishedSku = 422 "unpublished_sku" "This SKU is not for sale";
    OtherCurrency = 422 "other_currency" "It is priced in another currency";
    UnknownCategory = 422 "unknown_category" "There is no such category";
    CategoryCycle = 422 "category_cycle" "A category cannot stand below itself";
    UnknownLine = 422 "unknown_line" "There is no such line";
    CartEmpty = 422 "cart_empty" "The cart has no lines";
    ContactRequired = 422 "contact_required" "The cart has no contact";

    // Volume: 429
    TooManyRequests = 429 "too_many_requests" "Too many requests" retryable;
    TooManyFailedLogins = 429 "too_many_failed_logins" "Too many failed logins" retryable;

    // Ours: 5xx
    Internal = 500 "internal" "Something broke on our side";
    EntityQuarantined = 500 "entity_quarantined" "This cannot be served until an operator has looked at it";
    Overloaded = 503 "overloaded" "Too much at once" retryable;
    Unavailable = 503 "unavailable" "Not reachable right now" retryable;
    DeadlinePassed = 503 "deadline_passed" "It took too long" retryable;
    OutcomeUnknown = 503 "outcome_unknown" "Whether it was done is not known" retryable;
    NotReady = 503 "not_ready" "Not ready" retryable;
}

impl Code {
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.status_number()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The general code for a status that a layer below the handlers has made.
    pub fn of_status(status: StatusCode) -> Code {
        match status.as_u16() {
            401 => Code::Unauthenticated,
            403 => Code::Forbidden,
            404 => Code::NotFound,
            405 => Code::MethodNotAllowed,
            408 => Code::RequestTimeout,
            413 => Code::BodyTooLarge,
            415 => Code::UnsupportedMediaType,
            429 => Code::TooManyRequests,
            431 => Code::HeadersTooLarge,
            503 => Code::Unavailable,
            400..=499 => Code::BadRequest,
            _ => Code::Internal,
        }
    }
}

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
        Fault { code, pointer: pointer.into(), detail: None, more: Map::new() }
    }
    pub fn detail(mut self, detail: impl Into<String>) -> Fault {
        self.detail = Some(detail.into());
        self
    }
    /// Adds a member; what cannot be written as JSON becomes null.
    pub fn with(mut self, name: &str, value: impl Serialize) -> Fault {
        self.more.insert(name.into(), serde_json::to_value(value).unwrap_or(Value::Null));
        self
    }
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
        self.0.detail = Some(detail.into());
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

    fn to_json(&self, request_id: &str, trace_id: &str) -> Vec<u8> {
        let Content { code, detail, errors, more, retryable, .. } = &*self.0;
        let document = Document {
            r#type: format!("urn:souk:problem:{}", code.slug()),
            title: code.title(),
            status: code.status_number(),
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
            AskError::Unavailable => Problem::new(Code::Unavailable),
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
