//! The real binary, with shoppers in it, on a PostgreSQL in trouble: it answers 503 with `Retry-After` and stays
//! alive, goes on by itself when the trouble is over, and neither loses nor doubles anything.

use std::path::PathBuf;
use std::time::Duration;

use super::postgres::{self, Server};
use super::proxy::Proxy;
use super::shop::Shop;
use super::small_disk::SmallDisk;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_or_crashes() {
    let mut server = Server::new(&[]);
    let url = server.database("souk").await;
    let mut shop = Shop::open("postgres", &url, &url).await;
    for crash in [false, true, true] {
        if crash {
            server.kill()
        } else {
            server.stop()
        }
        shop.is_in_trouble().await;
        server.start();
        shop.goes_on().await;
    }
    shop.ends_whole().await;
}

/// For longer than the lease: souk must not speak for its slots meanwhile, and takes them back afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stalls_for_ten_seconds() {
    let server = Server::new(&[]);
    let url = server.database("souk").await;
    let mut shop = Shop::open("postgres", &url, &url).await;
    server.freeze();
    tokio::time::sleep(Duration::from_secs(10)).await; // the trouble itself
    shop.is_in_trouble().await;
    server.thaw();
    shop.goes_on().await;
    shop.ends_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_free_connections() {
    let server = Server::new(&["max_connections=24", "superuser_reserved_connections=0", "max_wal_senders=0"]);
    let url = server.database("souk").await;
    let admin = server.client("postgres").await;
    let mut shop = Shop::open("postgres", &url, &url).await;
    let mut others = Vec::new();
    let held = "select count(*) from pg_stat_activity where application_name = 'souk'";
    while admin.query_one(held, &[]).await.expect("a count").get::<_, i64>(0) > 0 {
        let to_end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'souk'";
        admin.query(to_end, &[]).await.expect("they are told");
        while let Ok((client, connection)) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
            tokio::spawn(connection);
            others.push(client);
        }
    }
    shop.is_in_trouble().await;
    drop(others);
    shop.goes_on().await;
    shop.ends_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_writes() {
    let server = Server::new(&[]);
    let url = server.database("souk").await;
    let admin = server.client("postgres").await;
    let mut shop = Shop::open("postgres", &url, &url).await;
    let to_end = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = 'souk'";
    admin.batch_execute("alter database souk set default_transaction_read_only = on").await.expect("read only");
    admin.query(to_end, &[]).await.expect("new sessions");
    shop.is_in_trouble().await;
    admin.batch_execute("alter database souk reset default_transaction_read_only").await.expect("writable");
    shop.goes_on().await;
    shop.ends_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_lost_after_the_commit_and_before_the_answer() {
    let server = Server::new(&[]);
    let direct = server.database("souk").await;
    let proxy = Proxy::before(server.port).await;
    let through = direct.replace(&server.port.to_string(), &proxy.address.port().to_string());
    let mut shop = Shop::open("postgres", &direct, &through).await;
    shop.bears_cuts(&proxy, Some("the outcome of a commit is unknown")).await;
    shop.goes_on().await;
    shop.ends_whole().await;
}

/// Gone at the end, after the server that is on it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// PostgreSQL cannot go on without room for its log: it ends, and cannot start until there is some.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_disk_is_full() {
    let folder = postgres::folder_for_a_disk();
    let _gone_at_the_end = Folder(folder.parent().expect("the server's").to_owned());
    let disk = SmallDisk::mount_as_root(&folder, 160).expect("a small tmpfs, in a namespace of its own");
    let settings = ["max_wal_size=4", "min_wal_size=2", "checkpoint_timeout=30"];
    let mut server = Server::on_disk(folder.join("server"), disk.file("server"), &disk.under, &settings);
    let url = server.database("souk").await;
    let mut shop = Shop::open("postgres", &url, &url).await;
    // The data goes first, and the server says so to each who writes; and then the log.
    for is_log_full in [false, true] {
        // A new session may want to write a file of its own, too: this one is there before.
        let writer = server.client("postgres").await;
        let ballast = disk.fill_up(if is_log_full { 0 } else { 1 << 20 });
        shop.is_in_trouble().await;
        if is_log_full {
            while writer
                .batch_execute("select pg_logical_emit_message(false, 'noise', repeat('x', 65536))")
                .await
                .is_ok()
            {}
            // The server has panicked: its word comes before the end of the connection.
            while !writer.is_closed() {
                tokio::task::yield_now().await;
            }
            shop.is_in_trouble().await;
        }
        std::fs::remove_file(&ballast).expect("room is made");
        if server.has_ended() {
            server.start();
        }
        shop.goes_on().await;
    }
    shop.ends_whole().await;
}

/// What `pg_dump` takes of a running shop is a shop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_of_a_running_shop_is_whole() {
    let server = Server::new(&[]);
    let url = server.database("souk").await;
    let mut shop = Shop::open("postgres", &url, &url).await;
    let restored = server.database("restored").await;
    server.copy("souk", "restored");
    shop.goes_on().await;
    super::shop::check(&restored);
    shop.ends_whole().await;
}
