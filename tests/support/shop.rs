//! The real binary, with shoppers in it, on a store in trouble.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::process::Command;

use super::process::{Launch, Process, SOUK, clean};
use super::proxy::{Cut, Proxy};
use super::shoppers::Shoppers;

/// A shop in which is shopped.
pub struct Shop {
    souk: Process,
    shoppers: Shoppers,
    /// Of its store, without a proxy before it.
    store: String,
    launch: Launch,
    _home: tempfile::TempDir,
}

impl Shop {
    /// On a store of this kind, through a proxy perhaps.
    pub async fn open(kind: &str, store: &str, through: &str) -> Shop {
        let home = tempfile::tempdir().expect("a folder");
        let launch = Launch::new(home.path()).args(&["--store", kind, "--store-url", through, "--sample"]);
        // A request waits for a store in trouble until its deadline: here that is soon.
        let launch = launch.env("SOUK_STORE__SLOTS", "64").env("SOUK_HTTP__REQUEST_DEADLINE_MS", "2_000");
        let souk = launch.start();
        let shoppers = Shoppers::start(&souk.url, 6).await;
        shoppers.get(30).await;
        Shop { souk, shoppers, store: store.to_owned(), launch, _home: home }
    }

    /// Refuses, and lives.
    pub async fn is_in_trouble(&mut self) {
        self.shoppers.are_refused(12).await;
        self.lives().await;
    }

    async fn lives(&mut self) {
        assert!(self.souk.is_running());
        let alive = reqwest::get(format!("{}/livez", self.souk.url)).await.expect("an answer");
        assert_eq!(alive.status(), 200);
    }

    pub async fn goes_on(&mut self) {
        self.shoppers.get(60).await;
        self.lives().await;
    }

    /// Loses connections on their way, some before a commit and most after it, until enough commits have met it. A
    /// request with a key is asked again by the edge itself, and its receipt decides: its client waits a moment, and
    /// notices nothing.
    pub async fn bears_cuts(&mut self, proxy: &Proxy, said: Option<&str>) {
        let mut cuts = 0;
        let is_heard = |log: String| said.is_none_or(|said| log.matches(said).count() >= 6);
        while cuts < 12 || !is_heard(self.launch.log()) {
            proxy.cut(if cuts % 3 == 2 { Cut::Request } else { Cut::Answer });
            self.shoppers.get(10).await;
            assert!(proxy.has_cut());
            cuts += 1;
            assert!(cuts < 200, "no commit ever meets it: {}", self.launch.log());
        }
    }

    /// Ends well, and its store has everything once.
    pub async fn ends_whole(self) {
        self.shoppers.have_all().await;
        let ended = self.souk.stop();
        assert!(ended.status.success(), "{}", ended.log);
        check(&self.store);
    }
}

/// A store is well, by `souk store check`.
pub fn check(store: &str) {
    let mut check = Command::new(SOUK);
    clean(&mut check);
    let checked = check.args(["store", "check", store]).output().expect("it runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}
