//! The codes of problems: one list, which is also an enumeration of the OpenAPI document. A code is never renamed,
//! because clients branch on it.

use axum::http::StatusCode;
use serde::Serialize;

/// Declares the codes: `Variant = status "slug" "title" [retryable]`.
macro_rules! problem_codes {
    ($($(#[$doc:meta])* $variant:ident = $status:literal $slug:literal $title:literal $($retryable:ident)?;)*) => {
        /// A stable word for what went wrong: of the problem itself and of each entry in `errors`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
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
    NodeNotFound = 404 "node_not_found" "There is no such node";
    SlotNotFound = 404 "slot_not_found" "There is no such slot";
    MethodNotAllowed = 405 "method_not_allowed" "This resource does not know this method";
    RequestTimeout = 408 "request_timeout" "The request took too long to arrive" retryable;
    BodyTooLarge = 413 "body_too_large" "The body is too large";
    UriTooLong = 414 "uri_too_long" "The request line is too long";
    UnsupportedMediaType = 415 "unsupported_media_type" "Send application/json";
    HeadersTooLarge = 431 "headers_too_large" "The headers are too large";

    // Business: 402, 409, 410
    /// The payment provider declined.
    PaymentFailed = 402 "payment_failed" "The payment was declined";
    PaymentTimeout = 402 "payment_timeout" "The payment provider did not answer";
    EmailTaken = 409 "email_taken" "This email address is taken";
    SlugTaken = 409 "slug_taken" "This slug is taken";
    SkuTaken = 409 "sku_taken" "This SKU is taken";
    RequestInProgress = 409 "request_in_progress" "This request is still running" retryable;
    ChangeInProgress = 409 "change_in_progress" "Another change of this is still running" retryable;
    InsufficientStock = 409 "insufficient_stock" "Not enough stock";
    OrderTimeout = 409 "order_timeout" "The order could not be decided in time";
    ReservationExpired = 409 "reservation_expired" "The stock was held too long and was given back";
    StockChanged = 409 "stock_changed" "The stock is not what you expected";
    StockReserved = 409 "stock_reserved" "Pending orders hold more than that";
    SkuUnavailable = 409 "sku_unavailable" "A SKU is no longer for sale";
    ItemChanged = 409 "item_changed" "A SKU names another article now";
    PriceChanged = 409 "price_changed" "Prices have changed";
    CartNotReady = 409 "cart_not_ready" "Something is missing before the cart can be completed";
    CartClosed = 409 "cart_closed" "The cart is no longer open";
    CompletionInProgress = 409 "completion_in_progress" "The cart is being completed" retryable;
    TooManyLines = 409 "too_many_lines" "The cart is full";
    MergeNotPossible = 409 "merge_not_possible" "These carts cannot be merged";
    OrderCancelled = 409 "order_cancelled" "The order was cancelled before it was confirmed";
    OrderStatus = 409 "order_status" "The order's status does not allow this";
    OrderNotCancellable = 409 "order_not_cancellable" "The order can no longer be cancelled";
    RefundExceedsCaptured = 409 "refund_exceeds_captured" "More than what remains captured";
    CategoryHasChildren = 409 "category_has_children" "The category still has children";
    LastAdministrator = 409 "last_administrator" "The shop would have no administrator";
    LimitReached = 409 "limit_reached" "There are as many as there may be";
    EntityBusy = 409 "entity_busy" "Something of it is under way" retryable;
    NodeAmbiguous = 409 "node_ambiguous" "Several nodes have this name";
    NodeNotLive = 409 "node_not_live" "The node is gone, or takes no slots now";
    LastNode = 409 "last_node" "No other node could serve";
    AlreadyMoving = 409 "already_moving" "The slot is on its way already";
    IncompatibleVersion = 409 "incompatible_version" "The node does not read what is written";
    StoreIsLocal = 409 "store_is_local" "The store belongs to this node alone";
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

/// The document lists the words that clients see.
impl utoipa::PartialSchema for Code {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::schema::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .enum_values(Some(Code::ALL.iter().map(|code| code.slug())))
            .into()
    }
}
impl utoipa::ToSchema for Code {
    fn name() -> std::borrow::Cow<'static, str> {
        "Code".into()
    }
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
            414 => Code::UriTooLong,
            415 => Code::UnsupportedMediaType,
            429 => Code::TooManyRequests,
            431 => Code::HeadersTooLarge,
            503 => Code::Unavailable,
            400..=499 => Code::BadRequest,
            _ => Code::Internal,
        }
    }
}
