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
//! - *Who*: [`caller::Who`] (guests too), [`caller::SignedIn`] (401), [`caller::Admin`], [`caller::Staff`]
//!   (403) are extractors: put the guard first. [`Read`] and [`Write`] carry a `Who` already. What is not
//!   the caller's is a 404: `who.may_open_cart(..)`.
//! - *Reads*: `Read { who, deadline }`, then `edge.client.read::<K>(&id, read.deadline).await?`; version 0
//!   is a 404. `If-None-Match` is answered by the front layer: only set `.version(v)` on the reply, or
//!   `.version_of_whole(v)` where the body shows other entities' data.
//! - *Writes*: [`Write<Body, Rule>`](Write); the rule is [`Optional`](idempotency::Optional),
//!   [`Required`](idempotency::Required) or [`Money`](idempotency::Money). Ids of what is created:
//!   `CartId::derived(&write.request, 0)`. An entity that may be busy for a moment is asked with
//!   [`patience::ask`]. Side reads that a command needs come *after*
//!   `write.repeat::<K>(..)`, so that a repeat is answered from its outcome, whatever has changed since.
//!   Where the contract wants `If-Match`: `write.must_match()?`.
//! - *Refusals*: [`Problem::new`] with a [`Code`](codes::Code) (add codes there), `.detail()` for people,
//!   `.fault(Fault::new(code, "/lines/0/quantity"))` for places, `.with("order_id", id)` for more members.
//!   `?` turns an `AskError` into its problem.
//! - *Lists*: an empty type that implements [`query::Listing`], `List<ThatType>` as extractor,
//!   `list.page(..)` or, for a list that is in memory, `list.page_of(..)`.
//!   `List` and `Query` stand before `Read` and `Write`, which refuse a query string that nobody has read.
//! - *Shapes*: money, times, ids and words are documented by the types of [`schema`]
//!   (`#[schema(value_type = schema::Money)]`); texts are [`json::Text<MAX>`].
//! - *`null`*: every field of a PATCH is read by [`json::nullable`] (`Option<Option<T>>`: `null` takes it away),
//!   [`json::clearable`] (`null` makes it empty) or [`json::given`] (`null` is a 422). In other bodies `null` is as if
//!   the field were absent: `Option<T>`, or [`json::or_empty`].

pub mod address;
pub mod admin_orders;
pub mod admin_products;
pub mod admission;
pub mod arrival;
pub mod auth;
pub mod caller;
pub mod carts;
pub mod categories;
pub mod codes;
pub mod completion;
pub mod conditional;
pub mod config;
pub mod connection;
pub mod context;
pub mod descriptors;
pub mod extract;
pub mod fields;
pub mod filters;
pub mod front;
#[cfg(test)]
mod fuzz_tests;
pub mod health;
pub mod idempotency;
pub mod inventory;
pub mod json;
pub mod limits;
pub mod lists;
pub mod me;
pub mod openapi;
pub mod operators;
pub mod orders;
pub mod origin;
pub mod outcomes;
pub mod passwords;
pub mod patience;
pub mod prefer;
pub mod problem;
pub mod products;
pub mod query;
pub mod reply;
pub mod routes;
pub mod schema;
pub mod serve;
pub mod sessions;
pub mod spelling;
pub mod tokens;
pub mod unparsed;
pub mod users;
pub mod views;
pub mod waiting;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use tokio::time::Instant;

pub use config::EdgeConfig;
pub use extract::{Path, Read, Write};
pub use health::Health;
pub use operators::{ClusterNode, ClusterSlot, ClusterView};
pub use problem::{Problem, Result};
pub use reply::Reply;
pub use serve::serve;

use crate::actors::client::{AskError, Asking, Client, Wait};
use crate::actors::entity::Caller;
use crate::actors::keyring::types::{Command, Keyring};
use crate::actors::projections::Projections;
use crate::actors::values::{Only, Secret};
use crate::metrics::Metrics;

/// What the edge is given to work with.
pub struct Given {
    pub client: Client,
    pub projections: Arc<Projections>,
    pub config: EdgeConfig,
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
    pub config: EdgeConfig,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    pub cluster: Arc<dyn ClusterView>,
    pub keys: tokens::Keys,
    pub passwords: passwords::Passwords,
    pub limiter: Arc<dyn limits::Limiter>,
    pub admission: admission::Admission,
    pub bodies: arrival::Allowance,
    /// Strict-Transport-Security, where it is to be sent.
    pub hsts: Option<HeaderValue>,
}

impl Deref for Edge {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// Why the edge cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the keyring did not answer: {0:?}")]
    Keyring(AskError),
    #[error(transparent)]
    Keys(#[from] tokens::KeysError),
}

impl Edge {
    /// Makes the edge; the shop is given secrets if it has none yet.
    pub async fn start(given: Given) -> std::result::Result<Edge, StartError> {
        let Given { client, projections, config, metrics, health, cluster, limiter } = given;
        let fresh = Command::Ensure { signing_seed: Secret(tokens::random()), token_secret: Secret(tokens::random()) };
        let asking = Asking {
            request: idempotency::random_request_id(),
            keyed: None,
            caller: Caller::System,
            deadline: Instant::now() + Duration::from_millis(config.handler_timeout_ms),
            if_version: None,
            wait: Wait::Durable,
        };
        let keyring = client.ask::<Keyring>(&Only, fresh, asking).await.map_err(StartError::Keyring)?;
        let keys = tokens::Keys::new(&config, &keyring.view.state)?;
        let hsts = match config.hsts_max_age_s {
            0 => None,
            seconds => HeaderValue::try_from(format!("max-age={seconds}; includeSubDomains")).ok(),
        };
        Ok(Edge(Arc::new(Inner {
            keys,
            passwords: passwords::Passwords::new(&config),
            limiter,
            admission: admission::Admission::new(&config),
            bodies: arrival::Allowance::new(&config),
            hsts,
            client,
            projections,
            config,
            metrics,
            health,
            cluster,
        })))
    }
}
