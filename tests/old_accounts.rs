//! Accounts from before an email address had one spelling: their owners still get in, on the real binary.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use souk::actors::entity::{Caller, codec};
use souk::actors::gateways::payments::MockPayments;
use souk::actors::kinds;
use souk::actors::payment::types::GATEWAY;
use souk::actors::runtime::Runtime;
use souk::actors::runtime::client::{Asking, Wait};
use souk::actors::user::types::{Command, User};
use souk::actors::values::{Email, RequestId, Role, UserId};
use souk::cluster::{NodeId, SoleOwner};
use souk::config::Config;
use souk::http::account::passwords::{NewPassword, Passwords};
use souk::metrics::Metrics;
use souk::persistence::embedded::EngineKind;
use souk::persistence::open::{Slots, StoreChoice, open};
use tokio::time::{Duration, Instant};

use crate::client::client;
use crate::process::Launch;

const PASSWORD: &str = "correct horse battery";

/// Registers these addresses as they are, as it was done before.
async fn register(data: &std::path::Path, emails: &[&str]) {
    let choice = StoreChoice::Embedded { engine: EngineKind::Sled, dir: data.into() };
    let settings = Config::default().settings_of(choice, Slots::Configured(16));
    let store = open(&settings).await.expect("a new store");
    let config = Config::default().runtime(NodeId::incarnate("old"), kinds::all());
    let prepared = Runtime::prepare(config, store, Arc::new(SoleOwner), Arc::new(Metrics::new()));
    let payments = Arc::new(MockPayments::new(prepared.client()));
    let runtime = prepared.with_gateway(GATEWAY, payments).start(0..16).await.expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(30);
    let passwords = Passwords::new(&Config::default().auth);
    for (n, email) in (1..).zip(emails) {
        let new = NewPassword::new(PASSWORD.into()).expect("long enough");
        let asking = Asking {
            request: RequestId::of("old", &[email.as_bytes()]),
            keyed: None,
            caller: Caller::System,
            deadline,
            if_version: None,
            wait: Wait::Settled,
        };
        let command = Command::Register {
            id: UserId(n),
            // As a store gives it back.
            email: codec::decode::<Email>(&codec::encode(*email)).expect("good by the rule of then"),
            name: None,
            password_hash: passwords.hash_alone(new, deadline).await.expect("hashed"),
            roles: BTreeSet::from([Role::Customer]),
        };
        let answered = runtime.client.ask::<User>(&UserId(n), command, asking).await.expect("answered");
        assert!(answered.view.state.active().is_some(), "{email} is registered");
    }
    runtime.drain().await.close().await.expect("the store is closed");
}

#[tokio::test]
async fn an_old_account_is_entered_under_every_spelling_of_its_address() {
    let home = tempfile::tempdir().expect("a folder");
    let data = home.path().join("data");
    let (apart, broken) = ("rene\u{301}@mu\u{308}nchen.de", "ada@example..com");
    let (hidden, twin) = ("ada\u{200b}@example.com", "ada@example.com");
    register(&data, &[apart, broken, hidden, twin]).await;
    let launch = Launch::new(home.path()).data(&data).engine(EngineKind::Sled);
    let server = launch.env("SOUK_STORE__SLOTS", "16").env("SOUK_LOG__FILTER", "error").start();
    let post = async |path: &str, body: Value| {
        let told = client().post(format!("{}{path}", server.url)).json(&body).send().await.expect("an answer");
        let status = told.status().as_u16();
        (status, told.json::<Value>().await.expect("JSON"))
    };
    let log_in = async |email: &str| post("/v1/auth/login", json!({"email": email, "password": PASSWORD})).await;
    let ways_in = [
        (apart, apart),
        ("Rene\u{301}@Mu\u{308}nchen.de", apart),
        ("ren\u{e9}@m\u{fc}nchen.de", apart),
        ("ren\u{e9}@xn--mnchen-3ya.de", apart),
        (broken, broken),
        (hidden, hidden),
        (twin, twin),
    ];
    for (typed, stored) in ways_in {
        let (status, body) = log_in(typed).await;
        assert_eq!((status, body["user"]["email"].as_str()), (200, Some(stored)), "{typed:?}: {body}");
    }
    assert_eq!(log_in("rene@m\u{fc}nchen.de").await.0, 401);
    for typed in [apart, "ren\u{e9}@m\u{fc}nchen.de", "ren\u{e9}@xn--mnchen-3ya.de"] {
        let (status, body) = post("/v1/auth/register", json!({"email": typed, "password": PASSWORD})).await;
        assert_eq!((status, body["code"].as_str()), (409, Some("email_taken")), "{typed:?}: {body}");
    }
}
