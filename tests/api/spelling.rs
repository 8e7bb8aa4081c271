//! How texts of people are spelt: what looks the same is the same, and nothing is hidden.

use serde_json::json;

use crate::support::{ADDRESS, Shop, unique};

const PASSWORD: &str = "correct horse battery";

#[tokio::test]
async fn two_email_addresses_that_look_alike_are_one_account() {
    let shop = Shop::open().await;
    let name = unique("rene").to_lowercase();
    let (composed, apart) = (format!("{name}\u{e9}@m\u{fc}nchen.de"), format!("{name}e\u{301}@mu\u{308}nchen.de"));
    let ascii = format!("{name}\u{e9}@xn--mnchen-3ya.de");
    let register = |email: &str, password: &str| {
        shop.post("/v1/auth/register", json!({"email": email, "password": password})).send()
    };
    assert_eq!(register(&apart, PASSWORD).await.is(201).body["user"]["email"], ascii);
    for email in [&composed, &apart, &ascii, &composed.to_uppercase()] {
        register(email, PASSWORD).await.is_problem(409, "email_taken");
        assert_eq!(shop.log_in(email, PASSWORD).await.is(200).body["user"]["email"], ascii);
    }
    let admin = shop.admin().await;
    let path = reqwest::Url::parse_with_params("http://x/v1/admin/users", [("email", &apart)]).expect("a URL");
    let found = shop.get(&format!("{}?{}", path.path(), path.query().expect("a query"))).by(&admin).send().await;
    assert_eq!(found.is(200).body["data"][0]["email"], ascii);
    for hidden in ["ada\u{200b}@example.com", "\u{202e}ada@example.com", "ada@example..com", "ada@exa\u{ad}mple.com"] {
        register(hidden, PASSWORD).await.has_fault("invalid_value", "/email");
    }
    // One password, from whatever keyboard; as it is counted when it is spelt.
    let email = format!("{}@example.com", unique("keys"));
    register(&email, "Zu\u{308}rich\u{a0}2026").await.is(201);
    shop.log_in(&email, "Z\u{fc}rich 2026").await.is(200);
    shop.log_in(&email, "Zurich 2026").await.is_problem(401, "invalid_credentials");
    register("b@example.com", "a\u{308}o\u{308}u\u{308}a\u{308}o\u{308}").await.has_fault("invalid_value", "/password");
}

#[tokio::test]
async fn names_and_titles_show_what_they_are() {
    let shop = Shop::open().await;
    let (me, admin) = (shop.customer().await, shop.admin().await);
    let name = |name: &str| shop.patch("/v1/me", json!({"name": name})).by(&me).send();
    for (sent, kept) in [("\u{202e}Rene\u{301}\u{200b} ", "Ren\u{e9}"), ("می\u{200c}خواهم", "می\u{200c}خواهم")]
    {
        assert_eq!(name(sent).await.is(200).body["name"], kept);
    }
    for wrong in ["Ada\u{7}", "Ada\nEve", "Ada\u{2028}Eve", "\u{200b}\u{202e}", "\u{3164}", "\u{301}"] {
        name(wrong).await.has_fault("invalid_value", "/name");
    }
    let mut address = ADDRESS.clone();
    address["city"] = json!("\u{2066}Zu\u{308}rich\u{2069}");
    assert_eq!(shop.post("/v1/me/addresses", address).by(&me).send().await.is(201).body["city"], "Z\u{fc}rich");
    for path in ["/v1/admin/products", "/v1/admin/categories"] {
        let title = |title: &str| shop.post(path, json!({"title": title})).by(&admin).send();
        for wrong in ["\u{200b}", "\u{a0}\u{3000}", "\u{2800}", "a\u{0}b", "\u{fe0f}"] {
            title(wrong).await.has_fault("invalid_value", "/title");
        }
        let told = title(&format!("{} Bru\u{302}le\u{301}e\u{202c}", unique("Creme"))).await;
        let told = told.is(201);
        assert!(told.body["title"].as_str().is_some_and(|title| title.ends_with(" Br\u{fb}l\u{e9}e")), "{}", told.body);
        assert!(told.body["slug"].as_str().is_some_and(|slug| slug.ends_with("-brulee")), "{}", told.body);
    }
}
