//! What holds for every route: problems from every layer, headers, limits, HEAD and OPTIONS.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use souk::http::EdgeConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::shop::Shop;

#[tokio::test]
async fn every_layer_refuses_with_a_problem() {
    let shop = Shop::open().await;
    shop.get("/v1/nowhere").send().await.is_problem(404, "not_found");
    shop.get("/").send().await.is_problem(404, "not_found");
    let told = shop.ask(Method::DELETE, "/v1/auth/login").send().await;
    told.is_problem(405, "method_not_allowed");
    assert_eq!(told.header("allow"), "POST,OPTIONS");
    let login = || shop.ask(Method::POST, "/v1/auth/login");
    login().text("{").send().await.is_problem(400, "invalid_json");
    login().header("content-type", "text/plain").text("{}").send().await.is_problem(415, "unsupported_media_type");
    let told = login().json(json!({"email": "ada@example.com", "pass": "x"})).send().await;
    told.is_problem(422, "validation_failed");
    assert_eq!(told.body["errors"][0]["pointer"], "/pass");
    assert_eq!(told.body["errors"][0]["code"], "unknown_field");
    let told = login().send().await;
    told.is_problem(422, "validation_failed");
    assert_eq!(told.body["errors"][0], json!({"code": "required", "pointer": "/email"}));
    let big = json!({"email": "x".repeat(2 << 20), "password": "y"});
    login().json(big).send().await.is_problem(413, "body_too_large");
    shop.get("/v1/me").send().await.is_problem(401, "unauthenticated");
    let told = shop.get("/v1/me").header("authorization", "Bearer nonsense").send().await;
    told.is_problem(401, "invalid_token");
    assert!(told.header("www-authenticate").starts_with("Bearer"));
    for path in ["/readyz?colour=red", "/version?x=1", "/.well-known/jwks.json?x", "/v1/auth/login?x=1"] {
        let method = if path.starts_with("/v1") { Method::POST } else { Method::GET };
        shop.ask(method, path).send().await.is_problem(400, "unknown_parameter");
    }
    let packed = login().header("content-encoding", "gzip").text("{}");
    packed.send().await.is_problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn every_answer_has_its_ids_and_its_security_headers() {
    let shop = Shop::open().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let told = shop.get("/v1/nowhere").header("x-request-id", "mine").header("traceparent", trace).send().await;
    assert_eq!(told.body["request_id"], "mine");
    assert_eq!(told.body["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(told.header("traceresponse").starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    let told = shop.get("/livez").send().await;
    assert_eq!(told.body, "ok");
    assert!(told.header("x-request-id").starts_with("req_"));
    assert_eq!(told.header("x-content-type-options"), "nosniff");
    assert_eq!(told.header("x-frame-options"), "DENY");
    assert_eq!(told.header("cache-control"), "no-store");
    assert_eq!(told.header("ratelimit"), "", "loopback is exempt");
}

#[tokio::test]
async fn head_and_options_are_answered_right() {
    let shop = Shop::open().await;
    let told = shop.ask(Method::HEAD, "/livez").send().await;
    assert_eq!((told.status.as_u16(), told.header("content-length"), told.body.as_str()), (200, "2", Some("")));
    let told = shop.ask(Method::HEAD, "/v1/nowhere").send().await;
    assert_eq!((told.status.as_u16(), told.body.as_str()), (404, Some("")));
    let told = shop.ask(Method::OPTIONS, "/v1/me").send().await;
    assert_eq!((told.status.as_u16(), told.header("allow")), (204, "GET,HEAD,PATCH,OPTIONS"));
    shop.ask(Method::OPTIONS, "/v1/nowhere").send().await.is_problem(404, "not_found");
}

#[tokio::test]
async fn a_browser_on_a_configured_origin_may_call() {
    let config = EdgeConfig { cors_origins: vec!["https://shop.example".into()], ..EdgeConfig::default() };
    let shop = Shop::with(config).await;
    let preflight = |origin: &'static str| {
        let asked = shop.ask(Method::OPTIONS, "/v1/me").header("origin", origin);
        asked.header("access-control-request-method", "PATCH").send()
    };
    let told = preflight("https://shop.example").await.is(200).header("access-control-allow-origin").to_owned();
    assert_eq!(told, "https://shop.example");
    assert_eq!(preflight("https://other.example").await.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn a_forwarded_caller_is_limited_and_told_so() {
    let shop = Shop::with(EdgeConfig { address_limit_per_minute: 2, ..EdgeConfig::default() }).await;
    let ask = || shop.get("/.well-known/jwks.json").header("x-forwarded-for", "192.0.2.1").send();
    let told = ask().await;
    assert_eq!(
        (told.header("ratelimit-policy"), told.is(200).header("ratelimit")),
        ("\"address\";q=2;w=60", "\"address\";r=1;t=60")
    );
    ask().await.is(200);
    let told = ask().await;
    told.is_problem(429, "too_many_requests");
    assert!(told.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=60).contains(&seconds)));
    assert!(told.header("ratelimit").starts_with("\"address\";r=0;t="));
    shop.get("/.well-known/jwks.json").send().await.is(200);
    shop.get("/livez").header("x-forwarded-for", "192.0.2.1").send().await.is(200);
}

#[tokio::test]
async fn a_known_entity_is_not_sent_again_and_large_answers_are_compressed() {
    let shop = Shop::open().await;
    let tag = shop.get("/.well-known/jwks.json").send().await.header("etag").to_owned();
    let told = shop.get("/.well-known/jwks.json").header("if-none-match", &tag).send().await;
    assert_eq!((told.status.as_u16(), told.body.as_str(), told.header("etag")), (304, Some(""), tag.as_str()));
    let told = shop.get("/openapi.json").send().await;
    assert_eq!(told.body["openapi"], "3.1.0");
    let told = shop.get("/docs/").header("accept-encoding", "gzip").send().await;
    assert_eq!((told.status.as_u16(), told.header("content-type")), (200, "text/html"));
    assert!(told.header("content-security-policy").starts_with("default-src 'self'"));
}

#[tokio::test]
async fn the_node_reports_itself() {
    let shop = Shop::open().await;
    assert_eq!(shop.get("/readyz").send().await.is(200).body, json!({"status": "ok"}));
    let told = shop.get("/readyz?verbose").send().await;
    assert_eq!(told.body["checks"][0], json!({"name": "started", "ok": true}));
    shop.get("/startupz").send().await.is(200);
    assert_eq!(shop.get("/version").send().await.body["name"], "souk");
    let told = shop.get("/metrics").send().await;
    assert!(
        told.body.as_str().is_some_and(|text| text.contains("souk_http_requests{method=\"GET\",route=\"/readyz\""))
    );
}

#[tokio::test]
async fn a_client_that_is_slow_with_its_head_or_body_is_cut_off() {
    let config = EdgeConfig { header_timeout_ms: 100, body_timeout_ms: 100, ..EdgeConfig::default() };
    let shop = Shop::with(config).await;
    let say = async |text: &str| {
        let mut stream = tokio::net::TcpStream::connect(shop.address).await.expect("a connection");
        stream.write_all(text.as_bytes()).await.expect("it is taken");
        let mut answer = String::new();
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await;
        read.expect("the server ends it").expect("in order");
        answer
    };
    say("GET /livez HTTP/1.1\r\nhost:").await;
    let answer = say("POST /v1/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\"code\":\"request_timeout\""), "{answer}");
}

#[tokio::test]
async fn a_stopping_server_finishes_what_it_has_admitted() {
    let shop = Shop::open().await;
    let hashing = tokio::spawn({
        let ask = shop.post("/v1/auth/register", json!({"email": "a@b.c", "password": "correct horse battery"}));
        async move { ask.send().await.status }
    });
    // Registering hashes a password for tens of milliseconds: when it shows as running, it is admitted.
    loop {
        let metrics = shop.get("/metrics").send().await.body;
        if metrics.as_str().is_some_and(|text| text.contains("souk_http_running 2")) || hashing.is_finished() {
            break;
        }
    }
    shop.stop.cancel();
    shop.served.await.expect("it ends");
    assert_eq!(hashing.await.expect("an answer"), 201);
}
