//! What the tests of the shop's trade have in common: an administrator, products with stock, carts that are
//! ready to be completed.

use reqwest::Method;
use serde_json::{Value, json};
use souk::http::EdgeConfig;

use crate::people::administrator;
use crate::shop::{Shop, Told};

/// A shop with an administrator.
pub struct Market {
    pub shop: Shop,
    pub admin: Value,
}

/// A guest's cart and what opens it.
pub struct GuestCart {
    pub path: String,
    pub id: String,
    pub token: String,
}

pub fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

pub fn gbp(amount: i64) -> Value {
    json!({"amount": amount, "currency": "GBP"})
}

impl Market {
    pub async fn open() -> Market {
        Market::with(EdgeConfig::default()).await
    }

    pub async fn with(config: EdgeConfig) -> Market {
        let shop = Shop::with(config).await;
        let admin = administrator(&shop).await;
        Market { shop, admin }
    }

    pub async fn admin(&self, method: Method, path: &str, body: Value) -> Told {
        self.shop.ask(method, path).by(&self.admin).key(&unique()).json(body).send().await
    }

    pub async fn admin_get(&self, path: &str) -> Told {
        self.shop.get(path).by(&self.admin).send().await
    }

    pub async fn change(&self, method: Method, path: &str, version: &Value, body: Value) -> Told {
        let tag = format!("\"v{version}\"");
        self.shop.ask(method, path).by(&self.admin).header("if-match", &tag).json(body).send().await
    }

    /// A published product of one variant, with so many in stock.
    pub async fn product(&self, title: &str, sku: &str, price: i64, on_hand: u64) -> Value {
        let body = json!({
            "title": title, "description": "", "category_ids": [], "attributes": {}, "status": "published",
            "variants": [{"sku": sku, "options": {}, "price": gbp(price)}]
        });
        let made = self.admin(Method::POST, "/v1/admin/products", body).await;
        made.is(201);
        self.stock(sku, on_hand).await;
        made.body
    }

    pub async fn stock(&self, sku: &str, on_hand: u64) {
        let set = self.admin(Method::PUT, &format!("/v1/admin/inventory/{sku}"), json!({"on_hand": on_hand})).await;
        set.is(200);
    }

    pub async fn inventory(&self, sku: &str) -> Value {
        let told = self.admin_get(&format!("/v1/admin/inventory/{sku}")).await;
        told.is(200);
        told.body
    }

    pub async fn guest_cart(&self) -> GuestCart {
        let made = self.shop.post("/v1/carts", json!({})).send().await;
        made.is(201);
        let id = text(&made.body["id"]).to_owned();
        GuestCart { path: format!("/v1/carts/{id}"), id, token: text(&made.body["token"]).to_owned() }
    }

    pub async fn ask(&self, cart: &GuestCart, method: Method, below: &str, body: Value) -> Told {
        let path = format!("{}{below}", cart.path);
        self.shop.ask(method, &path).header("x-cart-token", &cart.token).json(body).send().await
    }

    pub async fn add(&self, cart: &GuestCart, sku: &str, quantity: u64) -> Told {
        self.ask(cart, Method::POST, "/lines", json!({"sku": sku, "quantity": quantity})).await
    }

    /// A guest's cart with one line and a contact.
    pub async fn ready_cart(&self, sku: &str, quantity: u64) -> GuestCart {
        let cart = self.guest_cart().await;
        self.add(&cart, sku, quantity).await.is(200);
        self.ask(&cart, Method::PUT, "/contact", contact()).await.is(200);
        cart
    }

    pub async fn complete(&self, cart: &GuestCart, key: &str, token: &str) -> Told {
        let body = json!({"payment": {"method": "mock", "token": token}});
        let path = format!("{}/complete", cart.path);
        self.shop.post(&path, body).header("x-cart-token", &cart.token).key(key).send().await
    }

    /// Asks until the answer is as wanted: for lists, which may lag a second.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..100 {
            let told = self.admin_get(path).await;
            told.is(200);
            if wanted(&told.body) {
                return told.body;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{path} does not come to show what is wanted");
    }
}

pub fn contact() -> Value {
    let address = json!({"name": "Ada", "line1": "1 High St", "city": "Leeds", "postal_code": "LS1", "country": "GB"});
    json!({"email": "Ada@Example.com", "shipping_address": address})
}

/// A key that no other request has.
pub fn unique() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("a-key-that-is-long-enough-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
