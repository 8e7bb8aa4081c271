//! What comes in over the wire, almost right: bodies, tokens, keys and headers.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::de::DeserializeOwned;

use super::*;
use crate::actors::values::{CartId, OrderId, Role, SessionId, UserId};
use crate::fuzz::{Verdict, decoder};

type Parse = fn(&HeaderMap, &[u8]) -> Result<()>;

fn parse<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<()> {
    crate::http::request::json::parse::<T>(headers, body).map(drop)
}

/// Every body that a route takes.
const BODIES: [Parse; 23] = [
    parse::<crate::http::request::json::Nothing>,
    parse::<crate::http::request::address::AddressBody>,
    parse::<crate::http::admin::orders::Fulfil>,
    parse::<crate::http::admin::orders::RefundBody>,
    parse::<crate::http::admin::products::NewProductBody>,
    parse::<crate::http::admin::products::PatchProduct>,
    parse::<crate::http::account::auth::LogIn>,
    parse::<crate::http::account::auth::Refresh>,
    parse::<crate::http::account::auth::Register>,
    parse::<crate::http::shop::carts::NewLines>,
    parse::<crate::http::shop::carts::Merge>,
    parse::<crate::http::shop::carts::NewCart>,
    parse::<crate::http::shop::carts::SetContact>,
    parse::<crate::http::shop::carts::SetQuantity>,
    parse::<crate::http::shop::categories::NewCategory>,
    parse::<crate::http::shop::categories::PatchCategory>,
    parse::<crate::http::shop::completion::Complete>,
    parse::<crate::http::admin::inventory::AdjustStock>,
    parse::<crate::http::admin::inventory::SetStock>,
    parse::<crate::http::account::me::ChangePassword>,
    parse::<crate::http::account::me::PatchProfile>,
    parse::<crate::http::shop::orders::Cancel>,
    parse::<crate::http::admin::users::SetRoles>,
];

const SEEDS: &[&str] = &[
    "{}",
    r#"{"sku":"TEE-M","quantity":3}"#,
    r#"{"lines":[{"sku":"TEE-M","quantity":3},{"sku":"MUG","quantity":1}]}"#,
    r#"{"quantity":0}"#,
    r#"{"on_hand":5,"delta":-1,"reason":"found"}"#,
    r#"{"email":"ada@example.com","password":"correct horse battery","name":"Ada"}"#,
    r#"{"current_password":"a","new_password":"correct horse battery"}"#,
    r#"{"refresh_token":"ses_00000000000000000000000001.abc"}"#,
    r#"{"source_cart_id":"cart_00000000000000000000000001","source_token":"x","strategy":"sum"}"#,
    r#"{"email":"a@b.c","shipping_address":{"name":"Ada","line1":"x","city":"y","postal_code":"z","country":"GB"}}"#,
    r#"{"payment":{"method":"mock","token":"tok_ok"},"expected_total":{"amount":1999,"currency":"GBP"}}"#,
    r#"{"currency":"EUR","reference":"r","metadata":{"a":"b"},"lines":[{"sku":"A","quantity":1}]}"#,
    r#"{"title":"Tee","slug":"tee","category_ids":["tops"],"attributes":{"fabric":"cotton"},"status":"draft",
        "variants":[{"sku":"TEE-M","options":{"size":"M"},"price":{"amount":1999,"currency":"GBP"}}]}"#,
    r#"{"title":"Tops","parent_id":null,"position":3}"#,
    r#"{"lines":[{"line_id":"line_00000000000000000000000001","quantity":1}],"amount":{"amount":5,"currency":"GBP"}}"#,
    r#"{"roles":["customer","admin"]}"#,
];

#[test]
fn fuzz_bodies() {
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    decoder("body", SEEDS.iter().map(|seed| seed.as_bytes().to_vec()), |bytes| {
        let canonical = crate::http::request::json::canonical(bytes);
        let again = canonical.as_deref().and_then(crate::http::request::json::canonical);
        if canonical != again {
            return Verdict::Wrong("the canonical form is its own".into());
        }
        let mut accepted = false;
        for parse in BODIES {
            match parse(&headers, bytes) {
                Ok(()) if canonical.is_none() => return Verdict::Wrong("a body without a fingerprint".into()),
                Ok(()) => accepted = true,
                Err(problem) => {
                    let status = problem.render("", "").status().as_u16();
                    if !matches!(status, 400 | 422) {
                        return Verdict::Wrong(format!("a fault of ours: {status}"));
                    }
                }
            }
        }
        if accepted { Verdict::Accepted } else { Verdict::Refused }
    });
}

#[test]
fn fuzz_tokens() {
    const NOW: u64 = 1_800_000_000;
    let keys = crate::http::keys::tests::keys(&[1]);
    let access = keys.access_token(UserId(1), SessionId(2), vec![Role::Admin], NOW).expect("a token");
    let refresh = keys.refresh_token(SessionId(2)).reveal();
    let (cart, order) = (keys.cart_token(CartId(5)), keys.order_token(OrderId(5)));
    let seeds = [&access, &refresh, &cart, &order].map(|token| token.clone().into_bytes());
    decoder("token", seeds, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Verdict::Refused };
        if keys.check(text, NOW).is_some() {
            // One that an earlier run gave out, and the corpus has kept, is good too; but not in two spellings.
            let signed = |token: &str| token.rsplit_once('.').map(|(signed, _)| signed.to_owned());
            return Verdict::accepted(text == access || signed(text) != signed(&access), "only what was given out");
        }
        if keys.opens_cart(text, CartId(5)) || keys.opens_order(text, OrderId(5)) {
            return Verdict::accepted(text == cart || text == order, "only what was given out opens");
        }
        match crate::http::keys::refresh::RefreshToken::parse(text) {
            Some(token) => Verdict::accepted(token.reveal() == text, "there is one text for a token"),
            None => Verdict::Refused,
        }
    });
}

#[test]
fn fuzz_headers() {
    const NAMES: [&str; 8] = [
        "idempotency-key",
        "x-request-id",
        "traceparent",
        "forwarded",
        "x-forwarded-for",
        "authorization",
        "content-type",
        "if-none-match",
    ];
    let seeds = [
        "\"8e03978e-40d5-43dd-bc93-6894a57f9324\";a=1",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "for=\"[2001:db8::1]:80\";proto=https, for=192.0.2.7",
        "192.0.2.7, ::1",
        "Bearer abc.def.ghi",
        "\"v17-abcdef\"",
    ];
    let mut config = Config::default();
    config.http.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a block")];
    decoder("header", seeds.map(|seed| seed.as_bytes().to_vec()), |bytes| {
        let Ok(value) = HeaderValue::from_bytes(bytes) else { return Verdict::Refused };
        let mut request = axum::extract::Request::new(axum::body::Body::empty());
        request.extensions_mut().insert(crate::http::request::context::Peer(([127, 0, 0, 1], 80).into()));
        for name in NAMES {
            request.headers_mut().insert(HeaderName::from_static(name), value.clone());
        }
        let context = crate::http::request::context::Context::of(&config, &request);
        if HeaderValue::try_from(context.request_id()).is_err() || context.trace_id().len() != 32 {
            return Verdict::Wrong("ids are fit for headers".into());
        }
        let _ =
            (value.to_str().ok().and_then(crate::http::request::conditional::version_of_tag), context.trace_response());
        match crate::http::request::idempotency::Key::of(request.headers()) {
            Ok(_) => Verdict::Accepted,
            Err(problem) => Verdict::accepted(problem.render("", "").status() == 400, "it is the caller's fault"),
        }
    });
}
