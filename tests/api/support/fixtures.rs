//! People and goods of a test's own.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::server::{ADMIN_EMAIL, PASSWORD};
use super::{Shop, Told};

/// A name that no other test has.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{what}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn gbp(amount: i64) -> Value {
    json!({"amount": amount, "currency": "GBP"})
}

pub static ADDRESS: LazyLock<Value> = LazyLock::new(
    || json!({"name": "Ada", "line1": "1 High St", "city": "London", "postal_code": "N1 9GU", "country": "GB"}),
);

/// A guest's cart and what opens it.
#[derive(Debug, Clone)]
pub struct GuestCart {
    pub id: String,
    pub token: String,
}

impl GuestCart {
    pub fn path(&self) -> String {
        format!("/v1/carts/{}", self.id)
    }
}

impl Shop {
    pub async fn log_in(&self, email: &str, password: &str) -> Told {
        self.post("/v1/auth/login", json!({"email": email, "password": password})).send().await
    }

    /// The administrator's tokens; he signs in once per server.
    pub async fn admin(&self) -> Value {
        let sign_in = || async { self.log_in(ADMIN_EMAIL, PASSWORD).await.is(200).body.clone() };
        self.server.administrator.get_or_init(sign_in).await.clone()
    }

    /// Registers; the answer's body.
    pub async fn register(&self, email: &str) -> Value {
        let told = self.post("/v1/auth/register", json!({"email": email, "password": PASSWORD})).send().await;
        told.is(201).body.clone()
    }

    /// The tokens of a new customer.
    pub async fn customer(&self) -> Value {
        self.register(&format!("{}@example.com", unique("customer"))).await
    }

    /// The tokens of a new user with these roles.
    pub async fn user_with(&self, roles: &[&str]) -> Value {
        let tokens = self.customer().await;
        let path = format!("/v1/admin/users/{}", tokens["user"]["id"].as_str().expect("an id"));
        self.patch(&path, json!({"roles": roles})).by(&self.admin().await).send().await.is(200);
        let email = tokens["user"]["email"].as_str().expect("an address");
        self.log_in(email, PASSWORD).await.is(200).body.clone()
    }

    /// A published product with one variant; the answer is the product.
    pub async fn product(&self, sku: &str, price: i64, stock: u64) -> Value {
        let admin = self.admin().await;
        let variants = json!([{"sku": sku, "options": {"size": "M"}, "price": gbp(price)}]);
        let body = json!({"title": format!("A {sku}"), "description": "Soft", "category_ids": [], "attributes": {},
                          "status": "published", "variants": variants});
        let product = self.post("/v1/admin/products", body).by(&admin).send().await.is(201).body.clone();
        self.stock(sku, stock).await;
        product
    }

    /// A SKU for sale, `stock` pieces at `price`.
    pub async fn sku(&self, price: i64, stock: u64) -> String {
        let sku = unique("SKU");
        self.product(&sku, price, stock).await;
        sku
    }

    pub async fn stock(&self, sku: &str, on_hand: u64) {
        let admin = self.admin().await;
        let put = self.put(&format!("/v1/admin/inventory/{sku}"), json!({"on_hand": on_hand}));
        put.by(&admin).key(&unique("stock")).send().await.is(200);
    }

    pub async fn inventory(&self, sku: &str) -> Value {
        let admin = self.admin().await;
        self.get(&format!("/v1/admin/inventory/{sku}")).by(&admin).send().await.is(200).body.clone()
    }

    /// on_hand, reserved and available.
    pub async fn counts(&self, sku: &str) -> (u64, u64, u64) {
        let stock = self.inventory(sku).await;
        let count = |name: &str| stock[name].as_u64().expect("a count");
        (count("on_hand"), count("reserved"), count("available"))
    }

    pub async fn guest_cart(&self) -> GuestCart {
        let told = self.post("/v1/carts", json!({})).send().await;
        let text = |name: &str| told.is(201).body[name].as_str().expect("a guest's cart has both").to_owned();
        GuestCart { id: text("id"), token: text("token") }
    }

    pub async fn add(&self, cart: &GuestCart, sku: &str, quantity: u64) -> Told {
        let path = format!("{}/lines", cart.path());
        self.post(&path, json!({"sku": sku, "quantity": quantity})).cart_token(&cart.token).send().await
    }

    /// A guest's cart that only has to be paid.
    pub async fn ready_cart(&self, sku: &str, quantity: u64) -> GuestCart {
        let cart = self.guest_cart().await;
        self.add(&cart, sku, quantity).await.is(200);
        let contact = json!({"email": "ada@example.com", "shipping_address": *ADDRESS});
        self.put(&format!("{}/contact", cart.path()), contact).cart_token(&cart.token).send().await.is(200);
        cart
    }

    /// Completes a guest's cart.
    pub async fn pay(&self, cart: &GuestCart, token: &str, key: &str) -> Told {
        let body = json!({"payment": {"method": "mock", "token": token}});
        let path = format!("{}/complete", cart.path());
        self.post(&path, body).cart_token(&cart.token).key(key).send().await
    }

    /// A guest's confirmed order, as it was created.
    pub async fn order(&self, sku: &str, quantity: u64) -> Value {
        let cart = self.ready_cart(sku, quantity).await;
        self.pay(&cart, "tok_ok", &unique("pay")).await.is(201).body.clone()
    }

    /// A user's cart that only has to be paid; its path.
    pub async fn cart_of(&self, tokens: &Value, sku: &str, quantity: u64) -> String {
        let cart = self.post("/v1/carts", json!({})).by(tokens).send().await.is(201).body.clone();
        let path = format!("/v1/carts/{}", cart["id"].as_str().expect("an id"));
        let line = json!({"sku": sku, "quantity": quantity});
        self.post(&format!("{path}/lines"), line).by(tokens).send().await.is(200);
        let contact = json!({"email": "ada@example.com", "shipping_address": *ADDRESS});
        self.put(&format!("{path}/contact"), contact).by(tokens).send().await.is(200);
        path
    }

    /// A user's confirmed order, as it was created.
    pub async fn order_of(&self, tokens: &Value, sku: &str, quantity: u64) -> Value {
        let path = self.cart_of(tokens, sku, quantity).await;
        let body = json!({"payment": {"method": "mock", "token": "tok_ok"}});
        let told = self.post(&format!("{path}/complete"), body).by(tokens).key(&unique("pay")).send().await;
        told.is(201).body.clone()
    }
}
