//! The real binary, with shoppers in it, on a PostgreSQL in trouble: it answers 503 with `Retry-After` and stays
//! alive, goes on by itself when the trouble is over, and neither loses nor doubles anything.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::postgres::{self, Server};
use super::process::{Launch, Process, SOUK, clean};
use super::proxy::{Cut, Proxy};
use super::shoppers::Shoppers;
use super::small_disk::SmallDisk;

/// A shop in which is shopped.
struct Shop {
    souk: Process,
    shoppers: Shoppers,
    /// Of its store, without a proxy before it.
    store: String,
    _home: tempfile::TempDir,
}

impl Shop {
    async fn open(store: &str, through: &str) -> Shop {
        let home = tempfile::tempdir().expect("a folder");
        let launch = Launch::new(home.path()).args(&["--store", "postgres", "--store-url", through, "--sample"]);
        let souk = launch.env("SOUK_STORE__SLOTS", "64").start();
        let shoppers = Shoppers::start(&souk.url, 6).await;
        shoppers.get(30).await;
        Shop { souk, shoppers, store: store.to_owned(), _home: home }
    }

    /// Refuses, and lives.
    async fn is_in_trouble(&mut self) {
        self.shoppers.are_refused(12).await;
        self.lives().await;
    }

    async fn lives(&mut self) {
        assert!(self.souk.is_running());
        let alive = reqwest::get(format!("{}/livez", self.souk.url)).await.expect("an answer");
        assert_eq!(alive.status(), 200);
    }

    async fn goes_on(&mut self) {
        self.shoppers.get(60).await;
        self.lives().await;
    }

    /// Ends well, and its store has everything once.
    async fn is_whole(self) {
        self.shoppers.have_all().await;
        let ended = self.souk.stop();
        assert!(ended.status.success(), "{}", ended.log);
        let mut check = Command::new(SOUK);
        clean(&mut check);
        let checked = check.args(["store", "check", &self.store]).output().expect("it runs");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_or_crashes() {
    let mut server = Server::new(&[]);
    let url = server.database("souk").await;
    let mut shop = Shop::open(&url, &url).await;
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
    shop.is_whole().await;
}

/// For longer than the lease: souk must not speak for its slots meanwhile, and takes them back afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stalls_for_ten_seconds() {
    let server = Server::new(&[]);
    let url = server.database("souk").await;
    let mut shop = Shop::open(&url, &url).await;
    server.freeze();
    tokio::time::sleep(Duration::from_secs(10)).await; // the trouble itself
    shop.is_in_trouble().await;
    server.thaw();
    shop.goes_on().await;
    shop.is_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_free_connections() {
    let server = Server::new(&["max_connections=24", "superuser_reserved_connections=0", "max_wal_senders=0"]);
    let url = server.database("souk").await;
    let admin = server.client("postgres").await;
    let mut shop = Shop::open(&url, &url).await;
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
    shop.is_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_writes() {
    let server = Server::new(&[]);
    let url = server.database("souk").await;
    let admin = server.client("postgres").await;
    let mut shop = Shop::open(&url, &url).await;
    let to_end = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = 'souk'";
    admin.batch_execute("alter database souk set default_transaction_read_only = on").await.expect("read only");
    admin.query(to_end, &[]).await.expect("new sessions");
    shop.is_in_trouble().await;
    admin.batch_execute("alter database souk reset default_transaction_read_only").await.expect("writable");
    shop.goes_on().await;
    shop.is_whole().await;
}

/// Again and again, until a client was told that nobody knows: his key decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_lost_after_the_commit_and_before_the_answer() {
    let server = Server::new(&[]);
    let direct = server.database("souk").await;
    let proxy = Proxy::before(server.port).await;
    let through = direct.replace(&server.port.to_string(), &proxy.address.port().to_string());
    let mut shop = Shop::open(&direct, &through).await;
    let mut cuts = 0;
    while cuts < 12 || shop.shoppers.refusals("outcome_unknown") < 6 {
        proxy.cut(if cuts % 3 == 2 { Cut::Request } else { Cut::Answer });
        shop.shoppers.get(10).await;
        assert!(proxy.has_cut());
        cuts += 1;
        assert!(cuts < 200, "nobody is ever told that an outcome is unknown");
    }
    shop.goes_on().await;
    shop.is_whole().await;
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
    let disk = match SmallDisk::mount_as_root(&folder, 160) {
        Ok(disk) => disk,
        Err(why) => {
            println!("SKIPPED: a full disk cannot be tested here, for nobody lets us mount a tmpfs: {why}");
            return;
        }
    };
    let settings = ["max_wal_size=4", "min_wal_size=2", "checkpoint_timeout=30"];
    let mut server = Server::on_disk(folder.join("server"), disk.file("server"), &disk.under, &settings);
    let url = server.database("souk").await;
    let mut shop = Shop::open(&url, &url).await;
    for left_bytes in [2 << 20, 0] {
        let ballast = disk.fill_up(left_bytes);
        shop.is_in_trouble().await;
        let waits = std::time::Instant::now();
        while !server.has_ended() && waits.elapsed() < Duration::from_secs(5) {
            shop.is_in_trouble().await;
        }
        std::fs::remove_file(&ballast).expect("room is made");
        if server.has_ended() {
            server.start();
        }
        shop.goes_on().await;
    }
    shop.is_whole().await;
}
