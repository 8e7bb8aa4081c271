//! A synchronous standby: what was acknowledged is there, too, when the primary is gone for good.

use souk::persistence::conformance::{self, Scribe, key};

use super::open;
use super::postgres::Server;
use super::trouble::{contenders, grown_to};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_is_promoted_has_everything_that_was_acknowledged() {
    let mut primary = Server::new(&[]);
    let url = primary.database("souk").await;
    let store = open(&url).await;
    let standby = primary.standby("standby");
    let admin = primary.client("souk").await;
    for sql in ["alter system set synchronous_standby_names = 'ANY 1 (standby)'", "select pg_reload_conf()"] {
        admin.batch_execute(sql).await.expect("a synchronous standby");
    }
    let in_step = "select count(*) from pg_stat_replication where sync_state = 'quorum' and state = 'streaming'";
    while admin.query_one(in_step, &[]).await.expect("its state").get::<_, i64>(0) == 0 {
        tokio::task::yield_now().await;
    }
    // They know both servers, and write to the one that can be written to.
    let both = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/souk?target_session_attrs=read-write",
        primary.port, standby.port
    );
    let tasks = contenders(&both, 0..4, 60).await;
    grown_to(&*store, 150).await;
    primary.kill();
    standby.client("souk").await.query("select pg_promote(true, 60)", &[]).await.expect("it is promoted");
    let mut acks = Vec::new();
    for task in tasks {
        acks.extend(task.await.expect("a contender"));
    }
    let promoted = open(&both).await;
    let records = conformance::verify(&*promoted, &acks).await;
    assert!(records >= 150, "{records} records, {} told", acks.len());
    let mut scribe = Scribe::claim(promoted).await;
    let record = scribe.record_of(0, key("after"), 1);
    scribe.commit(&[record]).await;
}
