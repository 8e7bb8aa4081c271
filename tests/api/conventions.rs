//! What holds for every route: the shapes of values, problems from every layer, HEAD and OPTIONS, headers.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::ANSWER_WITHIN;
use crate::support::{ADDRESS, Shop, gbp, unique};

/// Whether it is `prefix_` and 128 bits in base32.
fn is_id(prefix: &str, text: &str) -> bool {
    let inside = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).unwrap_or_default();
    inside.len() == 26 && inside.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Whether it is RFC 3339 in UTC with `Z`.
fn is_time(text: &str) -> bool {
    let parsed = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339);
    parsed.is_ok() && text.ends_with('Z')
}

#[tokio::test]
async fn ids_are_prefixed_money_is_in_minor_units_and_times_are_utc() {
    let shop = Shop::open().await;
    let ada = shop.customer().await;
    let sku = unique("SHAPES");
    let product = shop.product(&sku, 1999, 9).await;
    let order = shop.order_of(&ada, &sku, 2).await;
    let address = shop.post("/v1/me/addresses", ADDRESS.clone()).by(&ada).send().await.is(201).body.clone();
    let sessions = shop.get("/v1/me/sessions").by(&ada).send().await.is(200).body.clone();
    for (prefix, value) in [
        ("user", &ada["user"]["id"]),
        ("prod", &product["id"]),
        ("var", &product["variants"][0]["id"]),
        ("cart", &order["cart_id"]),
        ("line", &order["lines"][0]["id"]),
        ("ord", &order["id"]),
        ("pay", &order["payments"][0]["id"]),
        ("addr", &address["id"]),
        ("ses", &sessions["data"][0]["id"]),
    ] {
        assert!(value.as_str().is_some_and(|text| is_id(prefix, text)), "{prefix}: {value}");
    }
    for value in [&ada["user"]["created_at"], &product["updated_at"], &order["created_at"], &order["timeline"][0]["at"]]
    {
        assert!(value.as_str().is_some_and(is_time), "{value}");
    }
    assert_eq!(product["variants"][0]["price"], gbp(1999));
    let zero = gbp(0);
    let totals = json!({"subtotal": gbp(3998), "discount": zero, "shipping": zero, "tax": zero, "total": gbp(3998)});
    assert_eq!(order["totals"], totals);
    assert_eq!(order["lines"][0]["total"], gbp(3998));
}

#[tokio::test]
async fn every_layer_refuses_with_a_problem() {
    let shop = Shop::open().await;
    shop.get("/v1/nowhere").send().await.is_problem(404, "not_found");
    shop.get("/").send().await.is_problem(404, "not_found");
    let told = shop.delete("/v1/auth/login").send().await;
    told.is_problem(405, "method_not_allowed");
    assert_eq!(told.header("allow"), "POST,OPTIONS");
    let login = || shop.ask(Method::POST, "/v1/auth/login");
    for text in ["{", "nope", "{\"email\":\"a@b.c\",}", "{} {}"] {
        login().text(text).send().await.is_problem(400, "invalid_json");
    }
    login().typed("text/plain", "{}").send().await.is_problem(415, "unsupported_media_type");
    login().typed("application/x-www-form-urlencoded", "a=b").send().await.is_problem(415, "unsupported_media_type");
    let packed = login().header("content-encoding", "gzip").text("{}");
    packed.send().await.is_problem(415, "unsupported_media_type");
    let big = json!({"email": "x".repeat(2 << 20), "password": "y"});
    login().json(big).send().await.is_problem(413, "body_too_large");
    shop.get("/v1/me").send().await.is_problem(401, "unauthenticated");
    let told = shop.get("/v1/me").header("authorization", "Bearer nonsense").send().await;
    told.is_problem(401, "invalid_token");
    assert!(told.header("www-authenticate").starts_with("Bearer"));
    let large = shop.get("/v1/products").header("x-large", &"x".repeat(40_000)).send().await;
    large.is_problem(431, "headers_too_large");
}

#[tokio::test]
async fn a_fault_in_a_body_is_named_and_pointed_at() {
    let shop = Shop::open().await;
    let carts = |body| shop.post("/v1/carts", body).send();
    carts(json!({"currency": 7})).await.has_fault("wrong_type", "/currency");
    carts(json!({"colour": "red"})).await.has_fault("unknown_field", "/colour");
    carts(json!({"currency": "QQQ"})).await.has_fault("invalid_value", "/currency");
    carts(json!({"reference": "x".repeat(256)})).await.has_fault("invalid_value", "/reference");
    carts(json!({"metadata": {"gift": 1}})).await.has_fault("wrong_type", "/metadata/gift");
    carts(json!([])).await.has_fault("wrong_type", "");
    let login = shop.post("/v1/auth/login", json!({"password": "x"})).send().await;
    login.is_problem(422, "validation_failed").has_fault("required", "/email");
    let cart = shop.guest_cart().await;
    shop.add(&cart, "SKU", 0).await.has_fault("out_of_range", "/quantity");
    shop.add(&cart, "SKU", 1_000_001).await.has_fault("out_of_range", "/quantity");
    shop.add(&cart, "not a sku", 1).await.has_fault("invalid_value", "/sku");
    let lines = format!("{}/lines", cart.path());
    let negative = shop.post(&lines, json!({"sku": "A", "quantity": -1})).cart_token(&cart.token).send().await;
    negative.has_fault("out_of_range", "/quantity");
    let contact = json!({"email": "ada@example.com", "shipping_address": {"name": "Ada", "zip": "N1"}});
    let told = shop.put(&format!("{}/contact", cart.path()), contact).cart_token(&cart.token).send().await;
    told.has_fault("unknown_field", "/shipping_address/zip");
}

#[tokio::test]
async fn an_empty_body_counts_as_an_empty_object() {
    let shop = Shop::open().await;
    shop.ask(Method::POST, "/v1/carts").send().await.is(201);
    shop.ask(Method::POST, "/v1/carts").text(" \n").send().await.is(201);
    shop.ask(Method::POST, "/v1/auth/login").send().await.has_fault("required", "/email");
}

#[tokio::test]
async fn an_unknown_query_parameter_is_refused_everywhere() {
    let shop = Shop::open().await;
    let cart = shop.guest_cart().await;
    for path in [
        "/v1/products?color=red",
        "/v1/categories?x=1",
        "/readyz?colour=red",
        "/version?x=1",
        "/.well-known/jwks.json?x",
    ] {
        shop.get(path).send().await.is_problem(400, "unknown_parameter");
    }
    for path in ["/v1/me?x=1", "/v1/me/orders?sort=total", "/v1/me/addresses?x=1", "/v1/me/cart?x=1"] {
        shop.get(path).by(&shop.customer().await).send().await.is_problem(400, "unknown_parameter");
    }
    let path = format!("{}?x=1", cart.path());
    shop.get(&path).cart_token(&cart.token).send().await.is_problem(400, "unknown_parameter");
    shop.post("/v1/carts?x=1", json!({})).send().await.is_problem(400, "unknown_parameter");
    shop.get("/v1/admin/orders?filter[colour]=red")
        .by(&shop.admin().await)
        .send()
        .await
        .is_problem(400, "unknown_parameter");
}

#[tokio::test]
async fn what_is_no_id_names_nothing() {
    let shop = Shop::open().await;
    let cart = shop.guest_cart().await;
    let unknown = "cart_00000000000000000000000000";
    for path in [
        "/v1/carts/nonsense",
        "/v1/carts/42",
        &format!("/v1/carts/{unknown}"),
        "/v1/orders/%00",
        "/v1/products/No%20Slug",
    ] {
        shop.get(path).cart_token(&cart.token).send().await.is_problem(404, "not_found");
    }
    shop.get("/v1/admin/inventory/-x").by(&shop.admin().await).send().await.is_problem(404, "not_found");
}

#[tokio::test]
async fn every_answer_has_its_ids_and_its_security_headers() {
    let shop = Shop::open().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let told = shop.get("/v1/nowhere").header("x-request-id", "mine").header("traceparent", trace).send().await;
    assert_eq!(told.body["request_id"], "mine");
    assert_eq!(told.body["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(told.header("traceresponse").starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    for path in ["/livez", "/v1/products", "/v1/nowhere"] {
        let told = shop.get(path).send().await;
        assert!(told.header("x-request-id").starts_with("req_"));
        assert_eq!(told.header("x-content-type-options"), "nosniff");
        assert_eq!(told.header("x-frame-options"), "DENY");
        assert_eq!(told.header("referrer-policy"), "no-referrer");
        assert!(told.header("content-security-policy").starts_with("default-src 'none'"));
        assert_eq!(told.header("cache-control"), "no-store");
        assert_eq!(told.header("ratelimit"), "", "loopback is exempt");
    }
}

#[tokio::test]
async fn head_and_options_are_answered_right() {
    let shop = Shop::open().await;
    let told = shop.ask(Method::HEAD, "/livez").send().await;
    assert_eq!((told.is(200).header("content-length"), told.body.as_str()), ("2", Some("")));
    let (head, get) = (shop.ask(Method::HEAD, "/v1/categories").send().await, shop.get("/v1/categories").send().await);
    for name in ["etag", "content-type", "content-length"] {
        assert_eq!(head.is(200).header(name), get.header(name), "{name}");
    }
    assert_eq!(head.body, "");
    let told = shop.ask(Method::HEAD, "/v1/nowhere").send().await;
    assert_eq!(told.is(404).body, "");
    for (path, allow) in [
        ("/v1/me", "GET,HEAD,PATCH,OPTIONS"),
        ("/v1/carts", "POST,OPTIONS"),
        ("/v1/admin/products/x", "GET,HEAD,PATCH,DELETE,OPTIONS"),
    ] {
        let told = shop.ask(Method::OPTIONS, path).send().await;
        assert_eq!(told.is(204).header("allow"), allow, "{path}");
    }
    shop.ask(Method::OPTIONS, "/v1/nowhere").send().await.is_problem(404, "not_found");
    let told = shop.ask(Method::OPTIONS, "/v1/me").header("origin", "https://shop.example").send().await;
    assert_eq!(told.header("access-control-allow-origin"), "", "without configured origins there is no CORS");
}

#[tokio::test]
async fn large_answers_are_compressed_for_who_takes_it() {
    let shop = Shop::open().await;
    let small = shop.get("/v1/orders/lookup?number=X&email=x").header("accept-encoding", "gzip").send().await;
    assert_eq!(small.is(404).header("content-encoding"), "", "a small answer is sent as it is");
    // The shop's client unpacks nothing, so this answer is asked for without being held against the document.
    let plain = reqwest::Client::builder().no_gzip().timeout(ANSWER_WITHIN).build().expect("a client");
    let ask = plain.get(format!("{}/docs/swagger-ui.css", shop.server.url())).header("accept-encoding", "gzip");
    let answer = ask.send().await.expect("an answer");
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    // A problem may be long too: it names each line.
    let cart = shop.guest_cart().await;
    let lines: Vec<Value> = (0..200).map(|n| json!({"sku": format!("NOWHERE-{n}"), "quantity": 1})).collect();
    let ask = plain.post(format!("{}{}/lines", shop.server.url(), cart.path())).header("x-cart-token", &cart.token);
    let answer = ask.header("accept-encoding", "gzip").json(&json!({"lines": lines})).send().await.expect("an answer");
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-encoding"]),
        (422, &"gzip".parse().expect("a value"))
    );
    assert_eq!(
        (&answer.headers()["content-type"], &answer.headers()["vary"]),
        (&"application/problem+json".parse().expect("a value"), &"accept-encoding".parse().expect("a value"))
    );
}

#[tokio::test]
async fn a_client_that_is_slow_with_its_head_or_body_is_cut_off() {
    let shop = Shop::with(&[("SOUK_HTTP__HEADER_TIMEOUT_MS", "100"), ("SOUK_HTTP__BODY_TIMEOUT_MS", "100")]).await;
    let say = async |text: &str| {
        let mut stream = tokio::net::TcpStream::connect(shop.server.address()).await.expect("a connection");
        stream.write_all(text.as_bytes()).await.expect("it is taken");
        let mut answer = String::new();
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await;
        read.expect("the server ends it").expect("in order");
        answer
    };
    let answer = say("GET /livez HTTP/1.1\r\nhost:").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let answer = say("POST /v1/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\"code\":\"request_timeout\""), "{answer}");
}

#[tokio::test]
async fn a_browser_on_a_configured_origin_may_call() {
    let shop = Shop::with(&[("SOUK_HTTP__CORS__ORIGINS", "https://shop.example")]).await;
    let preflight = |origin: &str| {
        let asked = shop.ask(Method::OPTIONS, "/v1/me").header("origin", origin);
        asked.header("access-control-request-method", "PATCH").send()
    };
    let told = preflight("https://shop.example").await;
    assert_eq!(told.is(200).header("access-control-allow-origin"), "https://shop.example");
    let listed = |told: &crate::support::Told, field: &str| -> Vec<String> {
        told.header(field).split(',').map(|name| name.trim().to_ascii_lowercase()).collect()
    };
    let allowed = listed(&told, "access-control-allow-headers");
    for name in ["idempotency-key", "if-match", "x-cart-token", "x-order-token", "traceparent", "tracestate"] {
        assert!(allowed.iter().any(|allowed| allowed == name), "{name} of {allowed:?}");
    }
    assert_eq!(preflight("https://other.example").await.header("access-control-allow-origin"), "");
    let told = shop.get("/v1/products").header("origin", "https://shop.example").send().await;
    let exposed = listed(&told, "access-control-expose-headers");
    let of_cluster = ["x-souk-node", "x-souk-slot-epoch", "x-souk-hops"];
    let of_all = ["etag", "location", "retry-after", "ratelimit", "ratelimit-policy", "allow", "traceresponse"];
    for name in of_all.into_iter().chain(of_cluster) {
        assert!(exposed.iter().any(|exposed| exposed == name), "{name} of {exposed:?}");
    }
    let refused = shop.get("/v1/me").header("origin", "https://shop.example").send().await;
    let origin = refused.is_problem(401, "unauthenticated").header("access-control-allow-origin");
    assert_eq!(origin, "https://shop.example", "a page must be able to read refusals");
}

#[tokio::test]
async fn a_stopping_server_finishes_what_it_has_admitted() {
    let shop = Shop::at_one_node(&[]).await;
    let body = json!({"email": "a@b.c", "password": "correct horse battery"});
    let registering = tokio::spawn(shop.post("/v1/auth/register", body).send());
    // Registering hashes a password for tens of milliseconds: when it shows as running, it is admitted.
    loop {
        let metrics = shop.get("/metrics").send().await.body;
        if metrics.as_str().is_some_and(|text| text.contains("souk_http_running 2")) || registering.is_finished() {
            break;
        }
    }
    shop.server.terminate();
    assert_eq!(registering.await.expect("an answer").status, 201);
}
