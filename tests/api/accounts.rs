//! Accounts: registering, logging in, tokens, sessions, the profile.

use serde_json::{Value, json};

use crate::support::{Shop, unique};

const PASSWORD: &str = "correct horse battery";

#[tokio::test]
async fn an_account_is_opened_once_and_its_owner_logs_in() {
    let shop = Shop::open().await;
    let email = format!("{}@example.com", unique("ada"));
    let body = json!({"email": format!(" {} ", email.to_uppercase()), "password": PASSWORD, "name": "Ada"});
    let told = shop.post("/v1/auth/register", body.clone()).send().await;
    told.is(201);
    assert_eq!(told.body["user"]["email"], email);
    assert_eq!(told.body["user"]["roles"], json!(["customer"]));
    assert_eq!((&told.body["token_type"], &told.body["expires_in"]), (&json!("Bearer"), &json!(300)));
    shop.post("/v1/auth/register", body).send().await.is_problem(409, "email_taken");
    let short = json!({"email": "b@example.com", "password": "nine char"});
    shop.post("/v1/auth/register", short).send().await.has_fault("invalid_value", "/password");
    let nowhere = json!({"email": "b.example.com", "password": PASSWORD});
    shop.post("/v1/auth/register", nowhere).send().await.has_fault("invalid_value", "/email");

    let tokens = shop.log_in(&email, PASSWORD).await.is(200).body.clone();
    let told = shop.get("/v1/me").by(&tokens).send().await;
    assert_eq!(told.is(200).body, tokens["user"]);
    assert_eq!(told.header("etag"), format!("\"v{}\"", told.body["version"]));
    let wrong = shop.log_in(&email, "wrong horse battery").await;
    let unknown = shop.log_in("nobody@example.com", "wrong horse battery").await;
    wrong.is_problem(401, "invalid_credentials");
    unknown.is_problem(401, "invalid_credentials");
    for key in ["title", "detail", "retryable", "type"] {
        assert_eq!(wrong.body[key], unknown.body[key]);
    }
}

#[tokio::test]
async fn one_of_two_who_register_the_same_address_at_once_gets_it() {
    let shop = Shop::open().await;
    let body = json!({"email": format!("{}@example.com", unique("twin")), "password": PASSWORD});
    let register = || shop.post("/v1/auth/register", body.clone()).send();
    let (one, two) = tokio::join!(register(), register());
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
}

#[tokio::test]
async fn ten_failed_logins_lock_the_account_for_that_address() {
    let shop = Shop::open().await;
    let ada = shop.customer().await;
    let email = ada["user"]["email"].as_str().expect("an address");
    // Ten are ten, also when twelve come at once.
    let twelve = futures::future::join_all((0..12).map(|_| shop.log_in(email, "wrong horse battery"))).await;
    let judged = twelve.iter().filter(|told| told.status == 401).count();
    if judged != 10 {
        assert!(judged > 10 && shop.has_counted_apart().await, "{judged}");
        return; // each of several nodes has counted up to ten
    }
    for told in twelve.iter().filter(|told| told.status != 401) {
        told.is_problem(429, "too_many_failed_logins");
    }
    let told = shop.log_in(email, PASSWORD).await;
    told.is_problem(429, "too_many_failed_logins");
    assert!(told.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 800));
    shop.log_in("other@example.com", "wrong horse battery").await.is_problem(401, "invalid_credentials");
    shop.get("/v1/me").by(&ada).send().await.is(200);
}

#[tokio::test]
async fn guesses_from_everywhere_are_stopped_and_the_owner_still_gets_in() {
    let shop = Shop::alone(&[
        ("SOUK_HTTP__TRUSTED_PROXIES", "127.0.0.0/8"),
        ("SOUK_LIMITS__LOGIN_FAILURES_MAX", "3"),
        ("SOUK_LIMITS__ACCOUNT_FAILURES_MAX", "6"),
    ])
    .await;
    let (home, office, stranger) = ("192.0.2.1", "198.51.100.7", "203.0.113.99");
    let ask = |path: &str, body: Value, from: &str| shop.post(path, body).header("x-forwarded-for", from).send();
    let log_in = |email: &str, password: &str, from: &str| {
        ask("/v1/auth/login", json!({"email": email, "password": password}), from)
    };
    let registered = ask("/v1/auth/register", json!({"email": "ada@example.com", "password": PASSWORD}), home).await;
    for n in 1..=6 {
        for email in ["ada@example.com", "nobody@example.com"] {
            log_in(email, "wrong horse battery", &format!("203.0.113.{n}"))
                .await
                .is_problem(401, "invalid_credentials");
        }
    }
    let told = log_in("ada@example.com", PASSWORD, stranger).await;
    assert!(told.is_problem(429, "too_many_failed_logins").header("retry-after").parse::<u64>().is_ok());
    // Nobody learns whether there is such an account.
    log_in("nobody@example.com", PASSWORD, stranger).await.is_problem(429, "too_many_failed_logins");
    log_in("eve@example.com", PASSWORD, stranger).await.is_problem(401, "invalid_credentials");
    log_in("ada@example.com", PASSWORD, home).await.is(200);
    // A session that is refreshed shows where its owner is now.
    log_in("ada@example.com", PASSWORD, office).await.is_problem(429, "too_many_failed_logins");
    let token = registered.is(201).body["refresh_token"].clone();
    ask("/v1/auth/refresh", json!({"refresh_token": token}), office).await.is(200);
    log_in("ada@example.com", PASSWORD, office).await.is(200);
    // A place that is known has its own bound nevertheless.
    for _ in 0..3 {
        log_in("ada@example.com", "wrong horse battery", home).await.is_problem(401, "invalid_credentials");
    }
    log_in("ada@example.com", PASSWORD, home).await.is_problem(429, "too_many_failed_logins");
}

async fn refresh(shop: &Shop, tokens: &Value) -> crate::support::Told {
    shop.post("/v1/auth/refresh", json!({"refresh_token": tokens["refresh_token"]})).send().await
}

#[tokio::test]
async fn a_refresh_token_has_one_successor_for_a_moment() {
    let shop = Shop::open().await;
    let first = shop.customer().await;
    let second = refresh(&shop, &first).await.is(200).body.clone();
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    let again = refresh(&shop, &first).await.is(200).body.clone();
    assert_eq!(again["refresh_token"], second["refresh_token"], "the reply was lost");
    shop.get("/v1/me").by(&again).send().await.is(200);
    refresh(&shop, &again).await.is(200);
}

#[tokio::test]
async fn two_tabs_that_refresh_at_once_both_go_on() {
    let shop = Shop::open().await;
    let (mut one, mut two) = {
        let tokens = shop.customer().await;
        (tokens.clone(), tokens)
    };
    for _ in 0..5 {
        let (told_one, told_two) = tokio::join!(refresh(&shop, &one), refresh(&shop, &two));
        (one, two) = (told_one.is(200).body.clone(), told_two.is(200).body.clone());
        assert_eq!(one["refresh_token"], two["refresh_token"]);
        for tab in [&one, &two] {
            shop.get("/v1/me").by(tab).send().await.is(200);
        }
    }
    let sessions = shop.get("/v1/me/sessions").by(&one).send().await;
    assert_eq!(sessions.is(200).column("current"), ["true"]);
}

#[tokio::test]
async fn who_knows_a_session_and_no_token_of_it_ends_nothing() {
    let shop = Shop::open().await;
    let tokens = shop.customer().await;
    let token = tokens["refresh_token"].as_str().expect("a token");
    let (head, secret) = token.rsplit_once('.').expect("a secret");
    let (session, _) = head.split_once('.').expect("a session");
    let other = shop.customer().await;
    let (_, others) = other["refresh_token"].as_str().and_then(|token| token.rsplit_once('.')).expect("a secret");
    let made_up = [
        format!("{head}.{others}"),
        format!("{session}.1.{secret}"),
        format!("{session}.18446744073709551615.{secret}"),
        // As they looked before they had numbers.
        format!("{session}.{secret}"),
        format!("{session}.{others}"),
        format!("{session}.0"),
        session.to_owned(),
        "nonsense".to_owned(),
    ];
    for token in made_up {
        refresh(&shop, &json!({"refresh_token": token})).await.is_problem(401, "invalid_token");
        shop.get("/v1/me").by(&tokens).send().await.is(200);
    }
    refresh(&shop, &tokens).await.is(200);
}

#[tokio::test]
async fn after_the_grace_a_used_refresh_token_ends_the_session() {
    let shop = Shop::with(&[("SOUK_AUTH__REFRESH_GRACE_MS", "1")]).await;
    let first = shop.customer().await;
    let second = refresh(&shop, &first).await.is(200).body.clone();
    // Longer than the grace, which is measured from the rotation that has been answered.
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    refresh(&shop, &first).await.is_problem(401, "invalid_token");
    refresh(&shop, &second).await.is_problem(401, "invalid_token");
    shop.get("/v1/me").by(&second).send().await.is_problem(401, "invalid_token");
}

fn email(tokens: &Value) -> &str {
    tokens["user"]["email"].as_str().expect("an address")
}

#[tokio::test]
async fn an_ended_session_is_refused_at_once() {
    let shop = Shop::open().await;
    let here = shop.customer().await;
    let there = shop.log_in(email(&here), PASSWORD).await.body;
    let sessions = shop.get("/v1/me/sessions").by(&here).send().await.is(200).body.clone();
    assert_eq!(sessions["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(sessions["page"], json!({"next_cursor": null, "has_more": false}));
    let other = sessions["data"].as_array().expect("a list").iter().find(|session| session["current"] == false);
    let path = format!("/v1/me/sessions/{}", other.expect("the other one")["id"].as_str().expect("an id"));
    for replayed in ["", "true"] {
        let told = shop.delete(&path).by(&here).key("end-it").send().await;
        assert_eq!(told.is(204).header("idempotent-replayed"), replayed);
    }
    shop.get("/v1/me").by(&there).send().await.is_problem(401, "invalid_token");
    shop.delete(&path).by(&here).send().await.is_problem(404, "not_found");
    shop.post("/v1/auth/logout", json!({})).by(&here).send().await.is(204);
    shop.get("/v1/me").by(&here).send().await.is_problem(401, "invalid_token");
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let shop = Shop::open().await;
    let here = shop.customer().await;
    let there = shop.log_in(email(&here), PASSWORD).await.body;
    let put = |current: &str| {
        let body = json!({"current_password": current, "new_password": "battery staple correct"});
        shop.put("/v1/me/password", body).by(&here)
    };
    put("wrong horse battery").send().await.is_problem(401, "invalid_credentials");
    put(PASSWORD).key("new").send().await.is(204);
    assert_eq!(put(PASSWORD).key("new").send().await.is(204).header("idempotent-replayed"), "true");
    shop.get("/v1/me").by(&there).send().await.is_problem(401, "invalid_token");
    shop.get("/v1/me").by(&here).send().await.is(200);
    shop.log_in(email(&here), PASSWORD).await.is_problem(401, "invalid_credentials");
    shop.log_in(email(&here), "battery staple correct").await.is(200);
}

#[tokio::test]
async fn a_profile_changes_under_its_version_and_its_key() {
    let shop = Shop::open().await;
    let me = shop.customer().await;
    let patch = |body: Value| shop.patch("/v1/me", body).by(&me);
    let first = patch(json!({"name": "Ada"})).key("k").send().await;
    assert_eq!(first.is(200).body["name"], "Ada");
    let again = patch(json!({"name": "Ada"})).key("\"k\"").send().await;
    assert_eq!((again.is(200).header("idempotent-replayed"), &again.body), ("true", &first.body));
    assert_eq!(again.header("x-request-id"), first.header("x-request-id"));
    patch(json!({"name": "Eve"})).key("k").send().await.is_problem(422, "idempotency_key_reused");
    let told = patch(json!({"name": null})).header("if-match", "\"v1\"").send().await;
    assert_eq!(told.is_problem(412, "stale_version").body["current_version"], first.body["version"]);
    let told = patch(json!({"name": null})).header("if-match", first.header("etag")).send().await;
    assert!(told.is(200).body.get("name").is_none());
    // What the first request had come to is told again, whatever has happened since.
    let again = patch(json!({"name": "Ada"})).key("k").send().await;
    assert_eq!((again.is(200).header("etag"), &again.body), (first.header("etag"), &first.body));
}

#[tokio::test]
async fn public_keys_verify_access_tokens_and_private_ones_are_not_shown() {
    let shop = Shop::open().await;
    let me = shop.customer().await;
    let keys = shop.get("/.well-known/jwks.json").send().await.is(200).body.clone();
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(keys.clone()).expect("a key set");
    let token = me["access_token"].as_str().expect("a token");
    let header = jsonwebtoken::decode_header(token).expect("a header");
    assert_eq!((header.typ.as_deref(), header.alg), (Some("at+jwt"), jsonwebtoken::Algorithm::EdDSA));
    let jwk = set.find(header.kid.as_deref().expect("a key id")).expect("its key");
    let key = jsonwebtoken::DecodingKey::from_jwk(jwk).expect("a usable key");
    let mut validation = jsonwebtoken::Validation::new(header.alg);
    validation.set_audience(&["souk"]);
    let claims = jsonwebtoken::decode::<Value>(token, &key, &validation).expect("it verifies").claims;
    for claim in ["iss", "aud", "exp", "nbf", "sub", "sid", "roles"] {
        assert!(claims.get(claim).is_some(), "{claim}");
    }
    assert_eq!(claims["sub"], me["user"]["id"]);
    assert!(keys["keys"][0].get("d").is_none());
}
