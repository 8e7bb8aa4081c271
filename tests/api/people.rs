//! Accounts: registering, logging in, sessions, the profile, the address book, administrators.

use reqwest::Method;
use serde_json::{Value, json};
use souk::actors::client::{Asking, Wait};
use souk::actors::entity::Caller;
use souk::actors::user::types::{Command, User};
use souk::actors::values::{RequestId, Role, UserId};
use souk::http::EdgeConfig;

use crate::shop::Shop;

const EMAIL: &str = "ada@example.com";

async fn log_in(shop: &Shop, email: &str, password: &str) -> crate::shop::Told {
    shop.post("/v1/auth/login", json!({"email": email, "password": password})).send().await
}

/// An administrator's tokens.
pub async fn administrator(shop: &Shop) -> Value {
    let registered = shop.register("admin@example.com").await;
    let id: UserId = registered["user"]["id"].as_str().expect("an id").parse().expect("a user id");
    let asking = Asking {
        request: RequestId([7; 16]),
        keyed: None,
        caller: Caller::System,
        deadline: tokio::time::Instant::now() + std::time::Duration::from_secs(5),
        if_version: None,
        wait: Wait::Settled,
    };
    let command = Command::SetRoles { roles: [Role::Customer, Role::Admin].into() };
    let answered = shop.runtime.client.ask::<User>(&id, command, asking).await.expect("an outcome");
    assert!(answered.outcome.is_ok());
    log_in(shop, "admin@example.com", "correct horse battery").await.body
}

#[tokio::test]
async fn an_account_is_opened_once_and_its_owner_logs_in() {
    let shop = Shop::open().await;
    let body = json!({"email": " Ada@Example.com ", "password": "correct horse battery", "name": "Ada"});
    let told = shop.post("/v1/auth/register", body.clone()).send().await;
    told.is(201);
    assert_eq!(told.body["user"]["email"], EMAIL);
    assert_eq!(told.body["user"]["roles"], json!(["customer"]));
    assert_eq!((&told.body["token_type"], &told.body["expires_in"]), (&json!("Bearer"), &json!(300)));
    shop.post("/v1/auth/register", body).send().await.is_problem(409, "email_taken");
    let short = json!({"email": "b@example.com", "password": "short"});
    let told = shop.post("/v1/auth/register", short).send().await;
    assert_eq!(told.is_problem(422, "validation_failed").body["errors"][0]["pointer"], "/password");

    let tokens = log_in(&shop, EMAIL, "correct horse battery").await.is(200).body.clone();
    let told = shop.get("/v1/me").by(&tokens).send().await;
    assert_eq!(told.is(200).body, tokens["user"]);
    assert_eq!(told.header("etag"), format!("\"v{}\"", told.body["version"]));
    let wrong = log_in(&shop, EMAIL, "wrong horse battery").await;
    let unknown = log_in(&shop, "nobody@example.com", "wrong horse battery").await;
    wrong.is_problem(401, "invalid_credentials");
    unknown.is_problem(401, "invalid_credentials");
    for key in ["title", "detail", "retryable", "type"] {
        assert_eq!(wrong.body[key], unknown.body[key]);
    }
}

#[tokio::test]
async fn ten_failed_logins_lock_the_account_for_that_address() {
    let shop = Shop::with(EdgeConfig { login_failures: 3, ..EdgeConfig::default() }).await;
    shop.register(EMAIL).await;
    for _ in 0..3 {
        log_in(&shop, EMAIL, "wrong horse battery").await.is_problem(401, "invalid_credentials");
    }
    let told = log_in(&shop, EMAIL, "correct horse battery").await;
    told.is_problem(429, "too_many_failed_logins");
    assert!(told.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 800));
    log_in(&shop, "other@example.com", "wrong horse battery").await.is_problem(401, "invalid_credentials");
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_its_reuse_ends_the_session() {
    let shop = Shop::open().await;
    let first = shop.register(EMAIL).await;
    let refresh =
        |tokens: &Value| shop.post("/v1/auth/refresh", json!({"refresh_token": tokens["refresh_token"]})).send();
    let second = refresh(&first).await.is(200).body.clone();
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    let third = refresh(&second).await.is(200).body.clone();
    // The very first one is older than the last one spent: somebody holds a copy.
    refresh(&first).await.is_problem(401, "invalid_token");
    refresh(&third).await.is_problem(401, "invalid_token");
    shop.get("/v1/me").by(&third).send().await.is_problem(401, "invalid_token");
    shop.post("/v1/auth/refresh", json!({"refresh_token": "nonsense"})).send().await.is_problem(401, "invalid_token");
}

#[tokio::test]
async fn an_ended_session_is_refused_at_once() {
    let shop = Shop::open().await;
    let here = shop.register(EMAIL).await;
    let there = log_in(&shop, EMAIL, "correct horse battery").await.body;
    let sessions = shop.get("/v1/me/sessions").by(&here).send().await.is(200).body.clone();
    assert_eq!(sessions["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(sessions["page"], json!({"next_cursor": null, "has_more": false}));
    let other = sessions["data"].as_array().expect("a list").iter().find(|session| session["current"] == false);
    let path = format!("/v1/me/sessions/{}", other.expect("the other one")["id"].as_str().expect("an id"));
    for replayed in ["", "true"] {
        let told = shop.ask(Method::DELETE, &path).by(&here).key("end-it").send().await;
        assert_eq!(told.is(204).header("idempotent-replayed"), replayed);
    }
    shop.get("/v1/me").by(&there).send().await.is_problem(401, "invalid_token");
    shop.ask(Method::DELETE, &path).by(&here).send().await.is_problem(404, "not_found");
    shop.post("/v1/auth/logout", json!({})).by(&here).send().await.is(204);
    shop.get("/v1/me").by(&here).send().await.is_problem(401, "invalid_token");
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let shop = Shop::open().await;
    let here = shop.register(EMAIL).await;
    let there = log_in(&shop, EMAIL, "correct horse battery").await.body;
    let put = |current: &str| {
        let body = json!({"current_password": current, "new_password": "battery staple correct"});
        shop.ask(Method::PUT, "/v1/me/password").by(&here).json(body)
    };
    put("wrong horse battery").send().await.is_problem(401, "invalid_credentials");
    put("correct horse battery").key("new").send().await.is(204);
    assert_eq!(put("correct horse battery").key("new").send().await.is(204).header("idempotent-replayed"), "true");
    shop.get("/v1/me").by(&there).send().await.is_problem(401, "invalid_token");
    shop.get("/v1/me").by(&here).send().await.is(200);
    log_in(&shop, EMAIL, "correct horse battery").await.is_problem(401, "invalid_credentials");
    log_in(&shop, EMAIL, "battery staple correct").await.is(200);
}

#[tokio::test]
async fn a_profile_changes_under_its_version_and_its_key() {
    let shop = Shop::open().await;
    let me = shop.register(EMAIL).await;
    let patch = |body: Value| shop.ask(Method::PATCH, "/v1/me").by(&me).json(body);
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
async fn an_address_book_has_one_default() {
    let shop = Shop::open().await;
    let me = shop.register(EMAIL).await;
    let home = json!({"name": "Ada", "line1": "1 High St", "city": "London", "postal_code": "N1", "country": "GB"});
    let first = shop.post("/v1/me/addresses", home.clone()).by(&me).key("a1").send().await;
    let id = first.is(201).body["id"].as_str().expect("an id").to_owned();
    assert_eq!(first.header("location"), format!("/v1/me/addresses/{id}"));
    let again = shop.post("/v1/me/addresses", home.clone()).by(&me).key("a1").send().await;
    assert_eq!((again.is(201).header("idempotent-replayed"), &again.body), ("true", &first.body));
    let mut second = home.clone();
    second["default"] = json!(true);
    shop.post("/v1/me/addresses", second.clone()).by(&me).send().await.is(201);
    let path = format!("/v1/me/addresses/{id}");
    assert_eq!(shop.ask(Method::PUT, &path).by(&me).json(second).send().await.is(200).body["default"], true);
    let list = shop.get("/v1/me/addresses?limit=1").by(&me).send().await;
    assert_eq!(list.is(200).body["page"]["has_more"], true);
    let next = list.header("link").split(['<', '>']).nth(1).expect("a link").to_owned();
    let rest = shop.get(&next).by(&me).send().await;
    assert_eq!(rest.is(200).body["data"][0]["default"], false);
    shop.ask(Method::DELETE, &path).by(&me).send().await.is(204);
    shop.ask(Method::DELETE, &path).by(&me).send().await.is_problem(404, "not_found");
    shop.ask(Method::DELETE, "/v1/me/addresses/nonsense").by(&me).send().await.is_problem(404, "not_found");
    let mut wrong = home;
    wrong["country"] = json!("UK");
    let told = shop.post("/v1/me/addresses", wrong).by(&me).send().await;
    assert_eq!(told.is_problem(422, "validation_failed").body["errors"][0]["pointer"], "/country");
}

#[tokio::test]
pub async fn administrators_find_users_and_give_roles_and_others_do_not() {
    let shop = Shop::open().await;
    let ada = shop.register(EMAIL).await;
    let admin = administrator(&shop).await;
    let path = format!("/v1/admin/users?email={EMAIL}");
    shop.get(&path).send().await.is_problem(401, "unauthenticated");
    shop.get(&path).by(&ada).send().await.is_problem(403, "forbidden");
    let found = shop.get(&path).by(&admin).send().await;
    assert_eq!(found.is(200).body["data"], json!([ada["user"]]));
    let none = shop.get("/v1/admin/users?email=x@example.com").by(&admin).send().await;
    assert_eq!(none.is(200).body["data"], json!([]));
    shop.get("/v1/admin/users").by(&admin).send().await.is_problem(400, "invalid_parameter");
    let user = format!("/v1/admin/users/{}", ada["user"]["id"].as_str().expect("an id"));
    let told = shop.ask(Method::PATCH, &user).by(&admin).json(json!({"roles": ["seller"]})).send().await;
    assert_eq!(told.is(200).body["roles"], json!(["seller"]));
    let told = shop.ask(Method::PATCH, &user).by(&admin).json(json!({"roles": ["king"]})).send().await;
    assert_eq!(told.is_problem(422, "validation_failed").body["errors"][0]["pointer"], "/roles/0");
}

#[tokio::test]
async fn operators_see_an_entity_its_history_and_its_past() {
    let shop = Shop::open().await;
    let ada = shop.register(EMAIL).await;
    let admin = administrator(&shop).await;
    let path = format!("/v1/admin/entities/user/{}", ada["user"]["id"].as_str().expect("an id"));
    let now = shop.get(&path).by(&admin).send().await;
    assert_eq!(now.is(200).body["state"]["account"]["password_hash"], "[redacted]");
    assert_eq!(now.body["kind"], "user");
    let history = shop.get(&format!("{path}/journal")).by(&admin).send().await;
    assert_eq!(history.is(200).body["data"][0]["version"], 1);
    assert!(!history.body.to_string().contains("argon2"));
    let later = shop.get(&format!("{path}/journal?after=1&limit=1")).by(&admin).send().await;
    assert_eq!(later.is(200).body["data"][0]["version"], 2);
    let past = shop.get(&format!("{path}/state?at=1")).by(&admin).send().await;
    assert_eq!(past.is(200).body["state"]["status"], "registering");
    shop.get(&format!("{path}/state?at=999")).by(&admin).send().await.is_problem(404, "not_found");
    shop.get("/v1/admin/entities/unicorn/x").by(&admin).send().await.is_problem(404, "not_found");
    shop.get(&path).by(&ada).send().await.is_problem(403, "forbidden");
    let cluster = shop.get("/v1/admin/cluster").by(&admin).send().await;
    assert_eq!(cluster.is(200).body["slots"][0]["owner"], "one");
}

#[tokio::test]
async fn public_keys_verify_access_tokens_and_private_ones_are_not_shown() {
    let shop = Shop::open().await;
    let me = shop.register(EMAIL).await;
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
