//! What is opened, and what is not.

use souk::persistence::StoreError;
use souk::persistence::conformance::SLOTS;
use souk::persistence::redis::{RedisOptions, RedisStore};

use super::server::{self, CAREFUL, Server};
use super::{changed, name, options};

async fn refusal(options: RedisOptions) -> String {
    match RedisStore::open(options).await {
        Err(StoreError::Fatal(why)) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it opens"),
    }
}

#[tokio::test]
async fn another_number_of_slots_and_another_layout_are_refused() {
    let server = server::shared();
    let prefix = name();
    let url = server.url(&prefix);
    RedisStore::open(options(&url)).await.expect("a new store");
    let why = refusal(RedisOptions { slots: Some(SLOTS * 2), ..options(&url) }).await;
    assert_eq!(why, "the store was created with 4 slots, and the configuration says 8");
    for other in [1, 3] {
        server.say(&["HSET", &format!("{prefix}:{{store}}"), "format", &other.to_string()]).await;
        let why = refusal(options(&url)).await;
        assert_eq!(why, format!("the store has layout {other}, and this souk reads 2"));
    }
}

#[tokio::test]
async fn a_server_that_loses_what_it_acknowledges_is_refused_unless_loss_is_accepted() {
    let lossy: [(&[&str], &str); 4] = [
        (&[], "appendonly is \"no\""),
        (&["--appendonly", "yes"], "appendfsync is \"everysec\""),
        (
            &["--appendonly", "yes", "--appendfsync", "always", "--no-appendfsync-on-rewrite", "yes"],
            "while the file is",
        ),
        (&["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "allkeys-lru"], "throws records"),
    ];
    for (settings, said) in lossy {
        let server = Server::start(settings);
        let url = server.url("a");
        let why = refusal(options(&url)).await;
        assert!(why.contains(said) && why.contains("accept_loss"), "{why}");
        RedisStore::open(changed(&url, |settings| settings.accept_loss = true)).await.expect("it was told to");
    }
}

#[tokio::test]
async fn a_server_that_does_not_say_is_refused_unless_loss_is_accepted() {
    let server = Server::start(&[CAREFUL, &["--rename-command", "CONFIG", ""]].concat());
    let url = server.url("a");
    let why = refusal(options(&url)).await;
    assert!(why.contains("does not say how it is configured"), "{why}");
    RedisStore::open(changed(&url, |settings| settings.accept_loss = true)).await.expect("it was told to");
}
