//! What operators do with entities: leaving memory, verification, quarantine; and which entities there are.

use serde_json::{Value, json};

use crate::support::{Shop, unique};

#[tokio::test]
async fn an_entity_leaves_memory_and_comes_back_as_it_was() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    // Nobody else asks for it, as read models ask for a SKU.
    let (sku, cart) = (shop.sku(100, 7).await, shop.guest_cart().await);
    shop.add(&cart, &sku, 1).await.is(200);
    let path = format!("/v1/admin/entities/cart/{}", cart.id);
    let before = shop.get(&path).by(&admin).send().await.is(200).body.clone();
    let passivate = async || {
        let told = shop.post(&format!("{path}/passivate"), json!({})).by(&admin).send().await;
        let expected = json!({"kind": "cart", "id": cart.id, "changed": told.is(200).body["changed"]});
        assert_eq!(told.body, expected);
        told.body["changed"].as_bool().expect("whether it was changed")
    };
    assert_eq!((passivate().await, passivate().await), (true, false));
    let after = shop.get(&path).by(&admin).send().await.is(200).body.clone();
    assert_eq!((&before["resident"], &after["resident"]), (&json!(true), &json!(false)));
    assert_eq!((&before["state"], &before["version"]), (&after["state"], &after["version"]));
    // The snapshot is there, and agrees.
    let told = shop.post(&format!("{path}/verify"), json!({})).by(&admin).send().await;
    let found = &told.is(200).body;
    let agrees = json!({"found": "agrees", "version": after["version"]});
    assert_eq!((&found["served"], &found["snapshot"]), (&agrees, &agrees), "{found}");
    let hops = told.header("x-souk-hops");
    assert!(hops == "0" || (hops == "1" && shop.server.is_a_cluster()), "{hops}");
}

#[tokio::test]
async fn an_entity_that_owes_something_stays() {
    let shop = Shop::alone(&[("SOUK_PAYMENT__TIMEOUT_MS", "20000"), ("SOUK_COMPLETE__DEADLINE_MS", "100")]).await;
    let admin = shop.admin().await;
    let cart = shop.ready_cart(&shop.sku(100, 5).await, 1).await;
    let order = shop.pay(&cart, "tok_timeout", &unique("pay")).await.is(202).body.clone();
    let path = format!("/v1/admin/entities/order/{}/passivate", order["id"].as_str().expect("an id"));
    let told = shop.post(&path, json!({})).by(&admin).send().await;
    assert_eq!(told.is_problem(409, "entity_busy").body["retryable"], true);
}

#[tokio::test]
async fn an_entity_is_compared_with_its_events() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let sku = shop.sku(100, 99).await;
    let cart = shop.guest_cart().await;
    for n in 1..=3 {
        shop.add(&cart, &sku, n).await.is(200);
    }
    let path = format!("/v1/admin/entities/cart/{}", cart.id);
    let told = shop.post(&format!("{path}/verify"), json!({})).by(&admin).send().await;
    let found = &told.is(200).body;
    assert_eq!(
        (&found["agrees"], &found["version"], &found["snapshot"]),
        (&json!(true), &json!(4), &json!({"found": "none"}))
    );
    assert_eq!((&found["faults"], &found["violations"]), (&json!([]), &json!([])));
    assert!(found["records"].as_u64() >= Some(4) && found["events"].as_u64() >= Some(4), "{found}");
    let inspected = shop.get(&path).by(&admin).send().await.is(200).body.clone();
    for member in ["kind", "id", "node", "slot", "epoch"] {
        assert_eq!(found[member], inspected[member], "{member}");
    }
    // A singleton with secrets, and a user.
    for entity in ["keyring/only".to_owned(), format!("user/{}", admin["user"]["id"].as_str().expect("an id"))] {
        let told = shop.post(&format!("/v1/admin/entities/{entity}/verify"), json!({})).by(&admin).send().await;
        assert_eq!(told.is(200).body["agrees"], true, "{}", told.body);
        assert!(!told.body.to_string().contains("argon2"));
    }
}

#[tokio::test]
async fn a_quarantined_entity_refuses_commands_and_can_be_read_until_it_is_released() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let sku = shop.sku(100, 9).await;
    let cart = shop.guest_cart().await;
    let path = format!("/v1/admin/entities/cart/{}", cart.id);
    let tell = async |what: &str| {
        let told = shop.post(&format!("{path}/{what}"), json!({})).by(&admin).send().await;
        told.is(200).body["changed"].as_bool().expect("whether it was changed")
    };
    assert!(!tell("release").await, "it is not quarantined");
    assert_eq!((tell("quarantine").await, tell("quarantine").await), (true, false));
    let refused = shop.add(&cart, &sku, 1).await;
    assert_eq!(refused.is_problem(500, "entity_quarantined").body["retryable"], false);
    shop.get(&cart.path()).cart_token(&cart.token).send().await.is(200);
    shop.get(&path).by(&admin).send().await.is(200);
    // It is out of memory, and still quarantined.
    assert!(tell("passivate").await);
    shop.add(&cart, &sku, 1).await.is_problem(500, "entity_quarantined");
    let other = shop.guest_cart().await;
    shop.add(&other, &sku, 1).await.is(200);
    assert_eq!((tell("release").await, tell("release").await), (true, false));
    shop.add(&cart, &sku, 1).await.is(200);
}

#[tokio::test]
async fn only_entities_that_somebody_has_touched_are_operated_on() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    for entity in ["cart/cart_00000000000000000000000000", "cart/x", "unicorn/x"] {
        for what in ["passivate", "verify", "quarantine", "release"] {
            let path = format!("/v1/admin/entities/{entity}/{what}");
            shop.post(&path, json!({})).by(&admin).send().await.is_problem(404, "not_found");
        }
    }
    let path = format!("/v1/admin/entities/cart/{}/verify", shop.guest_cart().await.id);
    shop.post(&path, json!({"deep": true})).by(&admin).send().await.has_fault("unknown_field", "/deep");
}

#[tokio::test]
async fn the_ids_of_a_kind_are_listed_in_order_and_in_parts() {
    let shop = Shop::alone(&[]).await;
    let admin = shop.admin().await;
    let mut skus = Vec::new();
    for _ in 0..5 {
        skus.push(shop.sku(100, 1).await);
    }
    skus.sort();
    let (mut path, mut seen) = ("/v1/admin/entities/sku?limit=2".to_owned(), Vec::new());
    loop {
        let page = shop.get(&path).by(&admin).send().await;
        seen.extend(page.is(200).column("id"));
        let Some(cursor) = page.body["page"]["next_cursor"].as_str() else { break };
        path = format!("/v1/admin/entities/sku?limit=2&cursor={cursor}");
    }
    seen.retain(|id| skus.contains(id)); // the sample's are there too, where there is one
    assert_eq!(seen, skus);
    let after = shop.get(&format!("/v1/admin/entities/sku?limit=1&after={}", skus[2])).by(&admin).send().await;
    assert_eq!(after.is(200).column("id"), [skus[3].as_str()]);
    assert_eq!(shop.get("/v1/admin/entities/keyring").by(&admin).send().await.is(200).column("id"), ["only"]);
    assert_eq!(
        shop.get("/v1/admin/entities/mock_charge").by(&admin).send().await.is(200).body["data"],
        Value::Array(vec![])
    );
    shop.get("/v1/admin/entities/unicorn").by(&admin).send().await.is_problem(404, "not_found");
    shop.get("/v1/admin/entities/sku?from=A").by(&admin).send().await.is_problem(400, "unknown_parameter");
}
