//! Every URL of the server, on one page. (The path stands at the handler, because the OpenAPI document
//! is made of it; the comment here is held against that document by a test.)

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, StatusCode, Version, header};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::{Extension, Router};
use tower::ServiceBuilder;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::compression::{CompressionLayer, CompressionLevel};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::Edge;
use super::account::{auth, me};
use super::admin::{inventory, orders as admin_orders, products as admin_products, users};
use super::answer::problem::{Code, Problem};
use super::edge::pipeline::{Class, Front};
use super::openapi;
use super::operations::audit::{self, recording};
use super::operations::cluster::{actions as cluster_actions, events as cluster_events, reads as cluster};
use super::operations::{consumers, entities, health, operators};
use super::shop::{carts, categories, completion, orders, products};

/// Answers below this size are sent as they are: compressing them saves nothing.
const COMPRESS_ABOVE_BYTES: u16 = 1_024;

fn shop() -> OpenApiRouter<Edge> {
    OpenApiRouter::new()
        // Signing in
        .routes(routes!(auth::register)) //                                  POST /v1/auth/register
        .routes(routes!(auth::log_in)) //                                    POST /v1/auth/login
        .routes(routes!(auth::refresh)) //                                   POST /v1/auth/refresh
        .routes(routes!(auth::log_out)) //                                   POST /v1/auth/logout
        .routes(routes!(auth::jwks)) //                                      GET /.well-known/jwks.json
        // Me
        .routes(routes!(me::profile, me::change_profile)) //                 GET, PATCH /v1/me
        .routes(routes!(me::change_password)) //                             PUT /v1/me/password
        .routes(routes!(me::list_sessions)) //                               GET /v1/me/sessions
        .routes(routes!(me::end_session)) //                                 DELETE /v1/me/sessions/{id}
        .routes(routes!(me::list_addresses, me::add_address)) //             GET, POST /v1/me/addresses
        .routes(routes!(me::put_address, me::remove_address)) //             PUT, DELETE /v1/me/addresses/{id}
        // The catalogue
        .routes(routes!(categories::tree)) //                                GET /v1/categories
        .routes(routes!(products::list)) //                                  GET /v1/products
        .routes(routes!(products::get)) //                                   GET /v1/products/{id}
        // Carts
        .routes(routes!(carts::create)) //                                   POST /v1/carts
        .routes(routes!(carts::get)) //                                      GET /v1/carts/{id}
        .routes(routes!(carts::add_lines)) //                                POST /v1/carts/{id}/lines
        .routes(routes!(carts::set_quantity, carts::remove_line)) //         PATCH, DELETE /v1/carts/{id}/lines/{line}
        .routes(routes!(carts::set_contact)) //                              PUT /v1/carts/{id}/contact
        .routes(routes!(carts::merge)) //                                    POST /v1/carts/{id}/merge
        .routes(routes!(completion::complete)) //                            POST /v1/carts/{id}/complete
        .routes(routes!(carts::mine)) //                                     GET /v1/me/cart
        // Orders
        .routes(routes!(orders::mine)) //                                    GET /v1/me/orders
        .routes(routes!(orders::lookup)) //                                  GET /v1/orders/lookup
        .routes(routes!(orders::get)) //                                     GET /v1/orders/{id}
        .routes(routes!(orders::cancel)) //                                  POST /v1/orders/{id}/cancel
}

/// What staff asks for. What would change something is recorded before it is done.
fn admin() -> OpenApiRouter<Edge> {
    OpenApiRouter::new()
        // Merchants
        .routes(routes!(categories::create)) //                              POST /v1/admin/categories
        .routes(routes!(categories::change, categories::delete)) //          PATCH, DELETE /v1/admin/categories/{id}
        .routes(routes!(admin_products::list, admin_products::create)) //    GET, POST /v1/admin/products
        .routes(routes!(admin_products::get, admin_products::change, admin_products::archive)) // GET, PATCH, DELETE /v1/admin/products/{id}
        .routes(routes!(inventory::get, inventory::set)) //                  GET, PUT /v1/admin/inventory/{sku}
        .routes(routes!(inventory::adjust)) //                               POST /v1/admin/inventory/{sku}/adjust
        .routes(routes!(admin_orders::list)) //                              GET /v1/admin/orders
        .routes(routes!(admin_orders::get)) //                               GET /v1/admin/orders/{id}
        .routes(routes!(admin_orders::fulfil)) //                            POST /v1/admin/orders/{id}/fulfil
        .routes(routes!(admin_orders::refund)) //                            POST /v1/admin/orders/{id}/refund
        // Administrators
        .routes(routes!(users::find)) //                                     GET /v1/admin/users
        .routes(routes!(users::set_roles)) //                                PATCH /v1/admin/users/{id}
        // Operators
        .routes(routes!(operators::inspect)) //                              GET /v1/admin/entities/{kind}/{id}
        .routes(routes!(operators::journal)) //                              GET /v1/admin/entities/{kind}/{id}/journal
        .routes(routes!(operators::state)) //                                GET /v1/admin/entities/{kind}/{id}/state
        .routes(routes!(entities::list)) //                                  GET /v1/admin/entities/{kind}
        .routes(routes!(entities::passivate)) //                             POST /v1/admin/entities/{kind}/{id}/passivate
        .routes(routes!(entities::verify)) //                                POST /v1/admin/entities/{kind}/{id}/verify
        .routes(routes!(entities::quarantine)) //                            POST /v1/admin/entities/{kind}/{id}/quarantine
        .routes(routes!(entities::release)) //                               POST /v1/admin/entities/{kind}/{id}/release
        .routes(routes!(audit::list)) //                                     GET /v1/admin/audit
        .routes(routes!(operators::attention)) //                            GET /v1/admin/attention
        .routes(routes!(cluster::cluster)) //                                GET /v1/admin/cluster
        .routes(routes!(cluster::slots)) //                                  GET /v1/admin/cluster/slots
        .routes(routes!(cluster::slot)) //                                   GET /v1/admin/cluster/slots/{n}
        .routes(routes!(cluster::node)) //                                   GET /v1/admin/cluster/nodes/{id}
        .routes(routes!(cluster::plan)) //                                   GET /v1/admin/cluster/plan
        .routes(routes!(cluster::job)) //                                    GET /v1/admin/cluster/jobs/{id}
        .routes(routes!(cluster_events::events)) //                          GET /v1/admin/cluster/events
        .routes(routes!(cluster_actions::cordon)) //                         POST /v1/admin/cluster/nodes/{id}/cordon
        .routes(routes!(cluster_actions::drain)) //                          POST /v1/admin/cluster/nodes/{id}/drain
        .routes(routes!(cluster_actions::uncordon)) //                       POST /v1/admin/cluster/nodes/{id}/uncordon
        .routes(routes!(cluster_actions::move_slot)) //                      POST /v1/admin/cluster/slots/{n}/move
        .routes(routes!(cluster_actions::pin)) //                            POST /v1/admin/cluster/slots/{n}/pin
        .routes(routes!(cluster_actions::unpin)) //                          POST /v1/admin/cluster/slots/{n}/unpin
        .routes(routes!(consumers::list)) //                                 GET /v1/admin/consumers
        .routes(routes!(consumers::pause)) //                                POST /v1/admin/consumers/{name}/pause
        .routes(routes!(consumers::resume)) //                               POST /v1/admin/consumers/{name}/resume
        .routes(routes!(consumers::replay)) //                               POST /v1/admin/consumers/{name}/replay
}

fn operations() -> OpenApiRouter<Edge> {
    OpenApiRouter::new()
        .routes(routes!(health::livez)) //                                   GET /livez
        .routes(routes!(health::readyz)) //                                  GET /readyz
        .routes(routes!(health::startupz)) //                                GET /startupz
        .routes(routes!(health::version)) //                                 GET /version
        .routes(routes!(health::metrics)) //                                 GET /metrics
        .routes(routes!(openapi::document)) //                               GET /openapi.json
}

/// The OpenAPI document of all routes.
pub fn document() -> utoipa::openapi::OpenApi {
    let (_, mut document) =
        OpenApiRouter::with_openapi(openapi::base()).merge(shop()).merge(admin()).merge(operations()).split_for_parts();
    openapi::finish(&mut document);
    document
}

/// The whole server.
pub fn router(edge: Edge) -> Router {
    let document = document();
    let allowed = Arc::new(openapi::allowed(&document));
    let front = |class| Front { edge: edge.clone(), class, allowed: allowed.clone() };
    let gzip = || CompressionLayer::new().gzip(true).quality(CompressionLevel::Fastest);
    // Compressed, a stream of events would be kept back until there is enough of it.
    let compression = gzip().compress_when(SizeAbove::new(COMPRESS_ABOVE_BYTES).and(NotForContentType::SSE));
    let (shop, admin): (Router<Edge>, Router<Edge>) = (shop().into(), admin().into());
    let shop = shop.merge(admin.route_layer(from_fn_with_state(edge.clone(), recording::recorded)));
    // The front layer sees what is sent: a compressed answer has an entity tag of its own. Problems have none, and are
    // written by the front layer.
    let problems = gzip().compress_when(SizeAbove::new(COMPRESS_ABOVE_BYTES).and(is_problem));
    // As one layer of the router: each of its own would box every request once more.
    let around = ServiceBuilder::new()
        .layer(problems)
        .layer(front(Class::Shop))
        .map_response(|response: Response<_>| response.map(Body::new))
        .layer(compression.clone());
    let shop = shop.fallback(nothing_here).layer(around);
    let operations: Router<Edge> = operations().into();
    let rendered = Extension(openapi::Rendered::new(&document));
    let operations = operations.layer(rendered).layer(front(Class::Operations));
    let docs: Router<Edge> = SwaggerUi::new("/docs").config(Config::from("/openapi.json")).into();
    let docs = docs.layer(compression).layer(front(Class::Documents));
    let router = shop.merge(operations).merge(docs);
    match cors(&edge.config.http.cors.origins) {
        Some(cors) => router.layer(cors).with_state(edge),
        None => router.with_state(edge),
    }
}

fn is_problem(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json")
}

async fn nothing_here(_: Request) -> Problem {
    Code::NotFound.into()
}

/// What browsers on other origins may do; nothing without configured origins.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let origins = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| origin.parse().ok()))
    };
    let exposed = [
        "etag",
        "location",
        "link",
        "retry-after",
        "x-request-id",
        "idempotent-replayed",
        "preference-applied",
        "souk-position",
        "ratelimit",
        "ratelimit-policy",
        "allow",
        "traceresponse",
        "x-souk-node",
        "x-souk-slot-epoch",
        "x-souk-hops",
    ];
    let headers = [
        "authorization",
        "content-type",
        "idempotency-key",
        "if-match",
        "if-none-match",
        "prefer",
        "souk-position",
        "x-cart-token",
        "x-order-token",
        "x-request-id",
        "traceparent",
        "tracestate",
    ];
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods(Any)
        .allow_headers(headers.map(axum::http::HeaderName::from_static))
        .expose_headers(exposed.map(axum::http::HeaderName::from_static))
        .max_age(std::time::Duration::from_secs(600));
    Some(layer)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// `METHOD path` of everything in the document.
    fn documented() -> BTreeSet<String> {
        let document = serde_json::to_value(super::document()).expect("a document is JSON");
        let paths = document["paths"].as_object().expect("it has paths").clone();
        let lines = paths.into_iter().flat_map(|(path, item)| {
            let methods: Vec<String> = item.as_object().expect("an item").keys().cloned().collect();
            methods.into_iter().map(move |method| format!("{} {path}", method.to_uppercase()))
        });
        lines.collect()
    }

    #[test]
    fn the_comments_on_this_page_are_the_routes() {
        let page = include_str!("routes.rs");
        let commented = page.lines().filter(|line| line.trim_start().starts_with(".routes(")).flat_map(|line| {
            let comment = line.split("//").last().unwrap_or_default().trim();
            let (methods, path) = comment.rsplit_once(' ').unwrap_or_default();
            methods.split(", ").map(|method| format!("{method} {path}")).collect::<Vec<_>>()
        });
        assert_eq!(commented.collect::<BTreeSet<_>>(), documented());
    }
}
