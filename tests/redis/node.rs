//! souk itself on Redis: it stays alive while Redis is away, says so, comes back by itself, and keeps what it
//! has acknowledged.

use std::time::Duration;

use serde_json::json;

use super::ledger::Writers;
use super::process::{Launch, Process};
use super::server::{CAREFUL, Server};

/// Asks until the shop refuses a write because of its store. The answer has to say when to come again.
async fn is_refused(souk: &Process) {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().expect("a client");
    for number in 0.. {
        let asked = http.post(format!("{}/v1/carts", souk.url)).json(&json!({"reference": format!("r{number}")}));
        let answer = asked.send().await.expect("an answer");
        if answer.status() == 503 {
            assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
            break;
        }
    }
    let alive = http.get(format!("{}/livez", souk.url)).send().await.expect("an answer");
    assert_eq!(alive.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn souk_outlives_its_redis_and_loses_nothing() {
    let server = Server::start(CAREFUL);
    let home = tempfile::tempdir().expect("a folder");
    let arguments = ["--store", "redis", "--store-url", &server.url("shop")];
    let launch = Launch::new(home.path())
        .args(&arguments)
        .administered()
        .env("SOUK_STORE__SLOTS", "64")
        .env("SOUK_LIMITS__REDIS_URL", format!("redis://127.0.0.1:{}/1", server.port));
    let mut souk = launch.start();
    let writers = Writers::start(&souk.url, 4, usize::MAX);
    let mut goal = 100;
    writers.reach(goal).await;
    for trouble in ["kill", "stop", "kill"] {
        match trouble {
            "kill" => server.kill(),
            _ => server.signal("STOP"),
        }
        is_refused(&souk).await;
        match trouble {
            "kill" => server.go_on(),
            _ => server.signal("CONT"),
        }
        goal = writers.acknowledged.load(std::sync::atomic::Ordering::Relaxed) + 100;
        writers.reach(goal).await;
        assert!(souk.is_running());
    }
    let ended = souk.stop();
    assert!(ended.status.success(), "{}", ended.log);
    let ledger = writers.finish().await;
    assert!(ledger.carts.len() >= goal && !ledger.refused.is_empty());
    souk = launch.start();
    ledger.is_kept_by(&souk.url).await;
    let mut codes: Vec<&str> = ledger.refused.iter().filter_map(|(_, _, body)| body["code"].as_str()).collect();
    codes.sort_unstable();
    codes.dedup();
    // A repeat while the first is still on its way is told so at its deadline.
    let is_told_so = |(status, _, body): &(u16, String, serde_json::Value)| {
        *status == 503 || (*status == 409 && body["code"] == "request_in_progress")
    };
    assert!(ledger.refused.iter().all(is_told_so), "{codes:?}");
    assert!(souk.stop().status.success());
}

#[test]
fn souk_says_why_it_does_not_start_on_a_redis_that_loses_things() {
    let server = Server::start(&[]);
    let home = tempfile::tempdir().expect("a folder");
    let launch = Launch::new(home.path()).args(&["--store", "redis", "--store-url", &server.url("shop")]);
    let Err(ended) = launch.try_start() else { panic!("it starts") };
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.log.contains("may lose what it acknowledges: appendonly is"), "{}", ended.log);
    let launch = launch.env("SOUK_STORE__REDIS__ACCEPT_LOSS", "true").env("SOUK_STORE__SLOTS", "64");
    assert!(launch.start().stop().status.success());
}
