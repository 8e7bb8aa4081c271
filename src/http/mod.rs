//! How the shop is asked for: the HTTP edge. It authenticates, parses into types that prove
//! themselves, fixes each request's identity and deadline, asks entities through the client handle, and
//! shows what they answer. It holds no state of the shop.
//!
//! Architecture invariant: entities are seen only through `actors::client` and their `types`.
//!
//! # How a resource file is written
//!
//! One thin file per resource: shapes (what goes in and out, with `ToSchema`), handlers of about ten
//! lines, and one function that turns each of an entity's rejections into a [`Problem`]. Its URLs are
//! listed in [`routes`], one line per path.
//!
//! ```text
//! #[derive(Deserialize, ToSchema)]
//! #[serde(deny_unknown_fields)]                      // an unknown field is a 422 with a pointer
//! struct AddLine {
//!     #[schema(value_type = String)] sku: Sku,       // domain types parse themselves; their message is shown
//!     #[schema(value_type = u32)] quantity: Quantity,
//! }
//!
//! /// Adds a SKU to the cart.                        // summary in the OpenAPI document
//! #[utoipa::path(post, path = "/v1/carts/{id}/lines", tag = "carts", request_body = AddLine,
//!     params(("id" = String, Path)), responses((status = 200, body = CartView)))]
//! pub async fn add_line(
//!     State(edge): State<Edge>,
//!     Path(id): Path<CartId>,                         // a malformed id is a 404
//!     write: Write<AddLine>,                          // last: it reads the body
//! ) -> Result<Reply<CartView>> {
//!     let command = cart::Command::AddLine { .. };
//!     let answered = write.ask::<Cart>(&edge, &id, command, Wait::Durable).await?;
//!     match &answered.outcome {
//!         Ok(_) => Ok(Reply::ok(show(&edge, &answered.view)).of(&answered)),   // ETag, Idempotent-Replayed
//!         Err(rejection) => Err(refusal(rejection).replayed(answered.replayed)),
//!     }
//! }
//! ```
//!
//! - *Who*: [`request::caller::Who`] (guests too), [`request::caller::SignedIn`] (401), [`request::caller::Admin`], [`request::caller::Staff`]
//!   (403) are extractors: put the guard first. [`Read`] and [`Write`] carry a `Who` already. What is not
//!   the caller's is a 404: `who.may_open_cart(..)`.
//! - *Reads*: `Read { who, deadline }`, then `edge.client.read::<K>(&id, read.deadline).await?`; version 0
//!   is a 404. `If-None-Match` is answered by the front layer: only set `.version(v)` on the reply, or
//!   `.version_of_whole(v)` where the body shows other entities' data.
//! - *Writes*: [`Write<Body, Rule>`](Write); the rule is [`Optional`](request::idempotency::Optional),
//!   [`Required`](request::idempotency::Required) or [`Money`](request::idempotency::Money). Ids of what is created:
//!   `CartId::derived(&write.request, 0)`. An entity that may be busy for a moment is asked with
//!   [`request::patience::ask`]. Side reads that a command needs come *after*
//!   `write.repeat::<K>(..)`, so that a repeat is answered from its outcome, whatever has changed since.
//!   Where the contract wants `If-Match`: `write.must_match()?`.
//! - *Refusals*: [`Problem::new`] with a [`Code`](answer::codes::Code) (add codes there), `.detail()` for people,
//!   `.fault(Fault::new(code, "/lines/0/quantity"))` for places, `.with("order_id", id)` for more members.
//!   `?` turns an `AskError` into its problem.
//! - *Lists*: an empty type that implements [`request::query::Listing`], `List<ThatType>` as extractor,
//!   `list.page(..)` or, for a list that is in memory, `list.page_of(..)`.
//!   `List` and `Query` stand before `Read` and `Write`, which refuse a query string that nobody has read.
//! - *Shapes*: money, times, ids and words are documented by the types of [`answer::schema`]
//!   (`#[schema(value_type = answer::schema::Money)]`); texts are [`request::json::Text<MAX>`].
//! - *`null`*: every field of a PATCH is read by [`request::json::nullable`] (`Option<Option<T>>`: `null` takes it away),
//!   [`request::json::clearable`] (`null` makes it empty) or [`request::json::given`] (`null` is a 422). In other bodies `null` is as if
//!   the field were absent: `Option<T>`, or [`request::json::or_empty`].

pub mod account;
pub mod admin;
pub mod answer;
pub mod edge;
#[cfg(test)]
mod fuzz_tests;
pub mod keys;
pub mod limits;
pub mod openapi;
pub mod operations;
#[cfg(test)]
mod refusals_tests;
pub mod request;
pub mod routes;
pub mod shop;

use std::ops::Deref;
use std::sync::Arc;

use axum::http::HeaderValue;

pub use answer::problem::{Problem, Result};
pub use answer::reply::Reply;
pub use edge::serve::serve;
pub use operations::cluster::ClusterView;
pub use operations::health::Health;
pub use request::extract::{Path, Read, Write};

use account::keyholder::{Keyholder, StartError};

use crate::actors::projections::Projections;
use crate::actors::runtime::client::Client;
use crate::config::Config;
use crate::metrics::Metrics;

/// The parts of a node that the edge works with.
pub struct Given {
    pub client: Client,
    pub projections: Arc<Projections>,
    pub config: Config,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    pub cluster: Arc<dyn ClusterView>,
    pub limiter: Arc<dyn limits::Limiter>,
}

/// The edge: what every handler can reach. Cheap to clone.
#[derive(Clone)]
pub struct Edge(Arc<Inner>);

/// The parts of an [`Edge`].
pub struct Inner {
    pub client: Client,
    pub projections: Arc<Projections>,
    pub config: Config,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    pub cluster: Arc<dyn ClusterView>,
    pub keys: Arc<account::keyholder::Keyholder>,
    pub passwords: account::passwords::Passwords,
    pub limiter: Arc<dyn limits::Limiter>,
    pub admission: edge::admission::Admission,
    pub bodies: edge::arrival::Allowance,
    pub rendered_products: shop::products::rendered::RenderedProducts,
    pub event_streams: operations::cluster::events::Streams,
    /// Strict-Transport-Security, where it is to be sent.
    pub hsts: Option<HeaderValue>,
}

impl Deref for Edge {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Edge {
    /// Makes the edge. It may be without the shop's keys for now ([`Edge::until_it_has_keys`]).
    ///
    /// Errors: keys that are there and cannot be used.
    pub async fn start(given: Given) -> std::result::Result<Edge, StartError> {
        let Given { client, projections, config, metrics, health, cluster, limiter } = given;
        let keys = Arc::new(Keyholder::default());
        match keys.ask(&client, &config).await {
            Ok(()) => {}
            Err(error @ StartError::Keyring(_)) => tracing::error!(%error, "the node starts without the shop's keys"),
            Err(error @ StartError::Keys(_)) => return Err(error),
        }
        let held = keys.clone();
        health.check("keyring", Box::new(move || held.check()));
        let hsts = match config.http.hsts_max_age_s {
            0 => None,
            seconds => HeaderValue::try_from(format!("max-age={seconds}; includeSubDomains")).ok(),
        };
        Ok(Edge(Arc::new(Inner {
            keys,
            passwords: account::passwords::Passwords::new(&config.auth),
            limiter,
            admission: edge::admission::Admission::new(&config.http),
            bodies: edge::arrival::Allowance::new(&config.http),
            rendered_products: shop::products::rendered::RenderedProducts::new(config.http.rendered_max_bytes),
            event_streams: operations::cluster::events::Streams::default(),
            hsts,
            client,
            projections,
            config,
            metrics,
            health,
            cluster,
        })))
    }

    /// Asks the keyring until it gives the shop's keys.
    pub async fn until_it_has_keys(&self) {
        self.keys.ask_until_there(&self.client, &self.config).await;
    }
}
