//! The OpenAPI document says what there is; and what operators ask of every service.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::Shop;

/// Every route of the contract that clients are written against.
const ROUTES: &str = "
    POST /v1/auth/register
    POST /v1/auth/login
    POST /v1/auth/refresh
    POST /v1/auth/logout
    GET /.well-known/jwks.json
    GET /v1/me
    PATCH /v1/me
    PUT /v1/me/password
    GET /v1/me/sessions
    DELETE /v1/me/sessions/{id}
    GET /v1/me/addresses
    POST /v1/me/addresses
    PUT /v1/me/addresses/{id}
    DELETE /v1/me/addresses/{id}
    GET /v1/me/cart
    GET /v1/me/orders
    GET /v1/categories
    GET /v1/products
    GET /v1/products/{id}
    POST /v1/carts
    GET /v1/carts/{id}
    POST /v1/carts/{id}/lines
    PATCH /v1/carts/{id}/lines/{line}
    DELETE /v1/carts/{id}/lines/{line}
    PUT /v1/carts/{id}/contact
    POST /v1/carts/{id}/merge
    POST /v1/carts/{id}/complete
    GET /v1/orders/{id}
    POST /v1/orders/{id}/cancel
    GET /v1/orders/lookup
    POST /v1/admin/categories
    PATCH /v1/admin/categories/{id}
    DELETE /v1/admin/categories/{id}
    GET /v1/admin/products
    POST /v1/admin/products
    GET /v1/admin/products/{id}
    PATCH /v1/admin/products/{id}
    DELETE /v1/admin/products/{id}
    GET /v1/admin/inventory/{sku}
    PUT /v1/admin/inventory/{sku}
    POST /v1/admin/inventory/{sku}/adjust
    GET /v1/admin/orders
    GET /v1/admin/orders/{id}
    POST /v1/admin/orders/{id}/fulfil
    POST /v1/admin/orders/{id}/refund
    GET /v1/admin/users
    PATCH /v1/admin/users/{id}
    GET /v1/admin/entities/{kind}
    POST /v1/admin/entities/{kind}/{id}/passivate
    POST /v1/admin/entities/{kind}/{id}/verify
    POST /v1/admin/entities/{kind}/{id}/quarantine
    POST /v1/admin/entities/{kind}/{id}/release
    GET /v1/admin/audit
    GET /v1/admin/entities/{kind}/{id}
    GET /v1/admin/entities/{kind}/{id}/journal
    GET /v1/admin/entities/{kind}/{id}/state
    GET /v1/admin/attention
    GET /v1/admin/cluster
    GET /v1/admin/cluster/slots
    GET /v1/admin/cluster/slots/{n}
    GET /v1/admin/cluster/nodes/{id}
    GET /v1/admin/cluster/plan
    GET /v1/admin/cluster/jobs/{id}
    GET /v1/admin/cluster/events
    POST /v1/admin/cluster/nodes/{id}/cordon
    POST /v1/admin/cluster/nodes/{id}/drain
    POST /v1/admin/cluster/nodes/{id}/uncordon
    POST /v1/admin/cluster/slots/{n}/move
    POST /v1/admin/cluster/slots/{n}/pin
    POST /v1/admin/cluster/slots/{n}/unpin
    GET /v1/admin/consumers
    POST /v1/admin/consumers/{name}/pause
    POST /v1/admin/consumers/{name}/resume
    POST /v1/admin/consumers/{name}/replay
    GET /livez
    GET /readyz
    GET /startupz
    GET /metrics
    GET /version
    GET /openapi.json";

#[tokio::test]
async fn the_document_has_every_route_and_no_other() {
    let shop = Shop::open().await;
    let document = &shop.server.contract().document;
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let paths = document["paths"].as_object().expect("paths").iter();
    let documented: BTreeSet<String> = paths
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("methods").keys();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let promised: BTreeSet<String> =
        ROUTES.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    assert_eq!(documented, promised);
}

#[tokio::test]
async fn codes_of_all_kinds_are_enumerations_in_the_document() {
    let shop = Shop::open().await;
    let schemas = shop.server.contract().document["components"]["schemas"].clone();
    let words = |name: &str| schemas[name]["enum"].as_array().unwrap_or_else(|| panic!("{name} has words")).clone();
    for (schema, some) in [
        ("Code", "insufficient_stock"),
        ("WarningCode", "price_changed"),
        ("RequirementCode", "contact_required"),
        ("TimelineType", "confirmed"),
        ("OrderStatus", "pending"),
        ("PaymentStatus", "partially_refunded"),
        ("FulfillmentStatus", "returned"),
        ("CartStatus", "merged"),
        ("StockBand", "low_stock"),
        ("MergeStrategy", "keep"),
    ] {
        assert!(words(schema).contains(&json!(some)), "{schema}: {:?}", words(schema));
    }
}

#[tokio::test]
async fn every_reference_in_the_document_leads_somewhere() {
    let shop = Shop::open().await;
    let document = &shop.server.contract().document;
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn the_document_can_be_read_by_people() {
    let shop = Shop::open().await;
    let told = shop.get("/docs/").send().await;
    assert_eq!(told.is(200).header("content-type"), "text/html");
    assert!(told.header("content-security-policy").starts_with("default-src 'self'"));
    assert!(shop.get("/docs").send().await.is(200).body.as_str().is_some_and(|page| page.contains("swagger")));
}

#[tokio::test]
async fn the_node_reports_itself() {
    let shop = Shop::open().await;
    let alive = shop.get("/livez").send().await;
    assert_eq!(alive.is(200).body, "ok");
    assert_eq!(shop.get("/readyz").send().await.is(200).body, json!({"status": "ok"}));
    let told = shop.get("/readyz?verbose").send().await;
    assert_eq!(told.is(200).body["checks"][0], json!({"name": "started", "ok": true}));
    shop.get("/startupz?verbose").send().await.is(200);
    assert_eq!(shop.get("/version").send().await.is(200).body["name"], "souk");
    let told = shop.get("/metrics").send().await;
    assert!(told.is(200).header("content-type").starts_with("text/plain"));
    let text = told.body.as_str().expect("a text");
    assert!(text.contains("souk_http_requests{method=\"GET\",route=\"/readyz\""), "{text}");
    assert!(text.lines().any(|line| line.starts_with("# HELP")), "each metric says what it is");
}
