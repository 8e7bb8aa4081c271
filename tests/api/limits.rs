//! Volume: who is limited and how he is told; how much at once is never refused.

use serde_json::json;

use crate::support::{Shop, unique};

const FEW: &[(&str, &str)] = &[("SOUK_LIMITS__ADDRESS_PER_MINUTE", "5"), ("SOUK_LIMITS__USER_PER_MINUTE", "2")];

#[tokio::test]
async fn a_forwarded_caller_is_limited_and_told_so() {
    let shop = Shop::alone(FEW).await;
    let ask = || shop.get("/v1/categories").header("x-forwarded-for", "192.0.2.1").send();
    let told = ask().await;
    assert_eq!(told.is(200).header("ratelimit-policy"), "\"address\";q=5;w=60");
    assert_eq!(told.header("ratelimit"), "\"address\";r=4;t=60");
    for _ in 0..4 {
        ask().await.is(200);
    }
    let told = ask().await;
    told.is_problem(429, "too_many_requests");
    assert_eq!(told.body["retryable"], true);
    assert!(told.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=60).contains(&seconds)));
    assert!(told.header("ratelimit").starts_with("\"address\";r=0;t="));
    let other = shop.get("/v1/categories").header("x-forwarded-for", "192.0.2.2").send().await;
    other.is_problem(429, "too_many_requests");
    shop.get("/v1/categories").header("forwarded", "for=192.0.2.3").send().await.is_problem(429, "too_many_requests");
    shop.get("/livez").header("x-forwarded-for", "192.0.2.1").send().await.is(200);
    shop.get("/v1/categories").send().await.is(200);
}

#[tokio::test]
async fn a_proxy_that_is_believed_says_who_is_limited() {
    let settings = [FEW, &[("SOUK_HTTP__TRUSTED_PROXIES", "127.0.0.0/8")]].concat();
    let shop = Shop::alone(&settings).await;
    let ask = |address: &str| shop.get("/v1/categories").header("x-forwarded-for", address).send();
    for _ in 0..5 {
        ask("192.0.2.1").await.is(200);
    }
    shop.limits(&ask("192.0.2.1").await, "too_many_requests").await;
    ask("192.0.2.2").await.is(200);
}

#[tokio::test]
async fn what_a_client_says_of_itself_in_another_header_is_not_believed() {
    let settings = [FEW, &[("SOUK_HTTP__TRUSTED_PROXIES", "127.0.0.0/8")]].concat();
    let shop = Shop::alone(&settings).await;
    // A proxy that writes X-Forwarded-For passes Forwarded through, as it came.
    let ask = |claimed: String| {
        let request = shop.get("/v1/categories").header("forwarded", &claimed);
        request.header("x-forwarded-for", &format!("198.51.100.7, {}", "192.0.2.1")).send()
    };
    for n in 0..5 {
        ask(format!("for=203.0.113.{n}")).await.is(200);
    }
    shop.limits(&ask("for=203.0.113.99".into()).await, "too_many_requests").await;

    let forwarded = [("SOUK_HTTP__TRUSTED_PROXY_HEADER", "Forwarded")];
    let shop = Shop::alone(&[&settings[..], &forwarded].concat()).await;
    let ask = |claimed: &'static str| {
        let request = shop.get("/v1/categories").header("x-forwarded-for", claimed);
        request.header("forwarded", "for=\"[2001:db8:1:2:3::4]:99\"").send()
    };
    for claimed in ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4", "203.0.113.5"] {
        ask(claimed).await.is(200);
    }
    shop.limits(&ask("203.0.113.6").await, "too_many_requests").await;
}

#[tokio::test]
async fn whoever_has_one_address_of_a_network_has_all_of_them() {
    let settings = [FEW, &[("SOUK_HTTP__TRUSTED_PROXIES", "127.0.0.0/8")]].concat();
    let shop = Shop::alone(&settings).await;
    let ask = |address: String| shop.get("/v1/categories").header("x-forwarded-for", &address).send();
    for n in 1..=5 {
        ask(format!("2001:db8:1:2:{n:x}::{n:x}")).await.is(200);
    }
    shop.limits(&ask("2001:db8:1:2:ffff::1".into()).await, "too_many_requests").await;
    ask("2001:db8:1:3::1".into()).await.is(200);
    for _ in 0..4 {
        ask("192.0.2.1".into()).await.is(200);
    }
    ask("::ffff:192.0.2.1".into()).await.is(200);
    shop.limits(&ask("192.0.2.1".into()).await, "too_many_requests").await;
}

#[tokio::test]
async fn a_user_has_a_limit_of_his_own() {
    let shop = Shop::alone(FEW).await;
    let ada = shop.customer().await;
    let ask = || shop.get("/v1/me").by(&ada).header("x-forwarded-for", "192.0.2.1").send();
    let told = ask().await;
    assert_eq!(told.is(200).header("ratelimit-policy"), "\"address\";q=5;w=60, \"user\";q=2;w=60");
    ask().await.is(200);
    let told = ask().await;
    told.is_problem(429, "too_many_requests");
    assert!(told.header("ratelimit").contains("\"user\";r=0;t="), "{}", told.header("ratelimit"));
    for _ in 0..10 {
        shop.get("/v1/me").by(&ada).send().await.is(200);
    }
}

#[tokio::test]
async fn loopback_is_limited_where_nobody_is_exempt() {
    let settings = [FEW, &[("SOUK_LIMITS__EXEMPT", "")]].concat();
    let shop = Shop::alone(&settings).await;
    for _ in 0..5 {
        shop.get("/v1/categories").send().await.is(200);
    }
    shop.get("/v1/categories").send().await.is_problem(429, "too_many_requests");
}

#[tokio::test]
async fn a_429_is_not_remembered() {
    let shop = Shop::alone(FEW).await;
    let key = unique("0123456789abcdef0123456789");
    for _ in 0..6 {
        shop.get("/v1/categories").header("x-forwarded-for", "192.0.2.1").send().await;
    }
    let open = || shop.post("/v1/carts", json!({})).key(&key);
    open().header("x-forwarded-for", "192.0.2.1").send().await.is_problem(429, "too_many_requests");
    assert!(!open().send().await.is(201).is_replayed());
}

#[tokio::test]
async fn two_hundred_and_fifty_six_at_once_are_served() {
    let shop = Shop::open().await;
    let asks = (0..256).map(|n| {
        let shop = &shop;
        async move {
            if n % 2 == 0 {
                shop.get("/v1/products").send().await
            } else {
                shop.post("/v1/carts", json!({})).send().await
            }
        }
    });
    for told in futures::future::join_all(asks).await {
        assert!(told.status.is_success(), "{}", told.body);
    }
}
