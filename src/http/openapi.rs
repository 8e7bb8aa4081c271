//! The OpenAPI document: made of the handlers, with what holds for every route added in one place.

use std::collections::HashMap;

use axum::Extension;
use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi as _;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Required, ResponseBuilder};

use super::answer::problem::{Code, Document, Fault};
use super::answer::{outcomes, schema};
use super::request::idempotency;
use super::request::json::Nothing;
use super::request::query::Query;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "souk",
        description = "An e-commerce backend. Errors are RFC 9457 problems; money is in minor units; \
                       unsafe requests may carry an Idempotency-Key.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(
        Document,
        Fault,
        Code,
        schema::Money,
        schema::Totals,
        schema::Time,
        schema::Role,
        schema::Flag,
        schema::StockBand
    ))
)]
struct Base;

/// The document before any route.
pub fn base() -> OpenApi {
    Base::openapi()
}

/// Adds what holds for every route.
pub fn finish(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    for (name, header) in [("cart_token", "X-Cart-Token"), ("order_token", "X-Order-Token")] {
        components.add_security_scheme(name, SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new(header))));
    }
    let undemanding = undemanding(&components.schemas);
    document.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
    for (path, item) in &mut document.paths.paths {
        let keyed = !path.starts_with("/v1/auth");
        for operation in [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch] {
            operation.iter_mut().for_each(|operation| may_fail(path, operation));
        }
        item.get.iter_mut().for_each(may_be_known);
        for operation in [&mut item.put, &mut item.post, &mut item.delete, &mut item.patch] {
            operation.iter_mut().for_each(may_be_malformed);
            operation.iter_mut().for_each(|operation| may_be_empty(operation, &undemanding));
            operation.iter_mut().filter(|_| keyed).for_each(may_be_keyed);
        }
    }
}

/// Every operation may answer with a problem: which ones follows from what kind of operation it is, and from
/// what the handler says of itself.
fn may_fail(path: &str, operation: &mut Operation) {
    let mut add = |statuses: &[u16]| {
        for (status, problem) in statuses.iter().copied().map(outcomes::problem) {
            operation.responses.responses.entry(status).or_insert(problem);
        }
    };
    add(&[400, 414, 431, 500, 503]);
    if path.starts_with("/v1/") {
        add(&[401, 429]);
    }
    if path.starts_with("/v1/admin/") {
        add(&[403]);
    }
    if path.contains('{') {
        add(&[404]);
    }
    let content = Content::new(Some(Ref::from_schema_name("Problem")));
    let problem =
        ResponseBuilder::new().description("A problem (RFC 9457)").content("application/problem+json", content);
    operation.responses.responses.insert("default".into(), problem.build().into());
}

/// What every operation with a body may say of it.
fn may_be_malformed(operation: &mut Operation) {
    for (status, problem) in [408, 413, 415, 422].map(outcomes::problem) {
        operation.responses.responses.entry(status).or_insert(problem);
    }
}

/// The shapes that demand no field.
fn undemanding<'a>(schemas: impl IntoIterator<Item = (&'a String, &'a RefOr<Schema>)>) -> Vec<Ref> {
    let demands_nothing = |schema: &RefOr<Schema>| match schema {
        RefOr::T(Schema::Object(object)) => object.required.is_empty(),
        RefOr::T(_) | RefOr::Ref(_) => false,
    };
    let names = schemas.into_iter().filter(|(_, schema)| demands_nothing(schema)).map(|(name, _)| name);
    names.map(Ref::from_schema_name).collect()
}

/// An empty body counts as `{}`: where that will do, none must be sent.
fn may_be_empty(operation: &mut Operation, undemanding: &[Ref]) {
    let Some(body) = &mut operation.request_body else { return };
    let will_do = |content: &Content| match &content.schema {
        Some(RefOr::Ref(shape)) => undemanding.iter().any(|known| known.ref_location == shape.ref_location),
        Some(RefOr::T(_)) | None => false,
    };
    if body.content.values().all(will_do) {
        body.required = Some(Required::False);
    }
}

/// Every GET can be conditional.
fn may_be_known(operation: &mut Operation) {
    let unchanged = ResponseBuilder::new().description("Still as If-None-Match says").build();
    operation.responses.responses.entry("304".into()).or_insert(unchanged.into());
    let (status, problem) = outcomes::problem(412);
    operation.responses.responses.entry(status).or_insert(problem);
}

/// Every unsafe operation takes an idempotency key. Where it must have one, the handler has said so.
fn may_be_keyed(operation: &mut Operation) {
    for (status, problem) in [409, 412].map(outcomes::problem) {
        operation.responses.responses.entry(status).or_insert(problem);
    }
    let parameters = operation.parameters.get_or_insert_default();
    if parameters.iter().any(|parameter| parameter.name == "Idempotency-Key") {
        return;
    }
    let text = ObjectBuilder::new().schema_type(Type::String).max_length(Some(idempotency::KEY_MAX)).build();
    let key = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("The same key and request get the same answer again."))
        .schema(Some(text));
    parameters.push(key.build());
}

/// Path patterns with the methods that they know, as an `Allow` field has them.
pub type Allowed = HashMap<String, HeaderValue>;

/// What each path of the document allows. GET brings HEAD, and OPTIONS is always answered.
pub fn allowed(document: &OpenApi) -> Allowed {
    let methods = |item: &PathItem| {
        let known = [
            ("GET,HEAD", item.get.is_some()),
            ("POST", item.post.is_some()),
            ("PUT", item.put.is_some()),
            ("PATCH", item.patch.is_some()),
            ("DELETE", item.delete.is_some()),
            ("OPTIONS", true),
        ];
        known.into_iter().filter(|(_, known)| *known).map(|(method, _)| method).collect::<Vec<_>>().join(",")
    };
    let paths = document.paths.paths.iter();
    paths.filter_map(|(path, item)| Some((path.clone(), HeaderValue::try_from(methods(item)).ok()?))).collect()
}

/// The document of all routes, as it is sent: what the routes give their handler.
#[derive(Clone)]
pub struct Rendered(Bytes);

impl Rendered {
    pub fn new(document: &OpenApi) -> Rendered {
        let json = serde_json::to_vec(document);
        Rendered(json.expect("a document of strings, numbers and maps by string is JSON").into())
    }
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", security(()),
    responses((status = 200, body = serde_json::Value)))]
pub async fn document(Extension(Rendered(json)): Extension<Rendered>, _: Query<Nothing>) -> Response {
    let mut response = json.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
