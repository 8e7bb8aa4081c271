//! Which problems a route may answer with, for the OpenAPI document. What a code means stands in
//! [`Code`](super::problem::Code).

use std::collections::BTreeMap;

use axum::http::StatusCode;
use utoipa::IntoResponses;
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};

/// Declares a set of statuses that a route may refuse with.
macro_rules! outcomes {
    ($($(#[$doc:meta])* $name:ident = $($status:literal)*;)*) => {$(
        $(#[$doc])*
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                [$($status),*].into_iter().map(problem).collect()
            }
        }
    )*};
}

outcomes! {
    /// Reading what anybody may see.
    Missing = 404;
    /// Listing what anybody may see.
    BadQuery = 400;
    /// Opening an account.
    Registering = 409 422;
    /// Creating a cart.
    Creating = 400 401 422;
    /// Changing a cart.
    CartChange = 400 401 404 409 410 412 422;
    Completing = 400 401 402 404 409 410 412 422;
    /// What belongs to a signed-in user.
    Mine = 401 404;
    /// A customer acting on an order.
    OrderChange = 400 401 404 409 412 422;
    AdminList = 400 401 403;
    AdminRead = 401 403 404;
    AdminCreate = 400 401 403 409 422;
    AdminChange = 400 401 403 404 409 412 422;
    /// What is refused because of how things stand.
    Refused = 404 409;
    /// An administrator's change that needs `If-Match`.
    GuardedChange = 400 401 403 404 409 412 422 428;
}

/// A response that is a problem, under its status.
pub fn problem(status: u16) -> (String, RefOr<Response>) {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("A problem");
    let content = Content::new(Some(Ref::from_schema_name("Problem")));
    let response = ResponseBuilder::new().description(reason).content("application/problem+json", content).build();
    (status.to_string(), response.into())
}
