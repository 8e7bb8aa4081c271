//! The real binary, with shoppers in it, on a Redis in trouble: it answers 503 with `Retry-After` and stays alive,
//! goes on by itself when the trouble is over, and neither loses nor doubles anything.

use std::time::Duration;

use super::proxy::Proxy;
use super::server::{CAREFUL, Server};
use super::shop::Shop;
use super::small_disk::SmallDisk;

async fn shop_on(server: &Server) -> Shop {
    let url = server.url("shop");
    Shop::open("redis", &url, &url).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed() {
    let server = Server::start(CAREFUL);
    let mut shop = shop_on(&server).await;
    for _ in 0..3 {
        server.kill();
        shop.is_in_trouble().await;
        server.go_on();
        shop.goes_on().await;
    }
    shop.ends_whole().await;
}

/// For longer than the lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stalls_for_ten_seconds() {
    let server = Server::start(CAREFUL);
    let mut shop = shop_on(&server).await;
    server.signal("STOP");
    tokio::time::sleep(Duration::from_secs(10)).await; // the trouble itself
    shop.is_in_trouble().await;
    server.signal("CONT");
    shop.goes_on().await;
    shop.ends_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_free_connections() {
    let server = Server::start(&[CAREFUL, &["--maxclients", "16"]].concat());
    let mut shop = shop_on(&server).await;
    let admin = redis::Client::open(format!("redis://127.0.0.1:{}/", server.port)).expect("an address");
    let mut admin = admin.get_multiplexed_async_connection().await.expect("a connection");
    let mut crowd = Vec::new();
    for _ in 0..20 {
        crowd.push(tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.expect("a connection"));
    }
    // Those of the crowd who have found no room are gone; souk's place is taken by others.
    for _ in 0..20 {
        let mut kill = redis::cmd("CLIENT");
        kill.arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]);
        let _: u64 = kill.query_async(&mut admin).await.expect("they are ended");
        crowd.clear();
        for _ in 0..40 {
            crowd.push(tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.expect("a connection"));
        }
        let mut list = redis::cmd("CLIENT");
        let list: String = list.arg("LIST").query_async(&mut admin).await.expect("a list");
        if !list.lines().any(|line| line.contains("cmd=evalsha") || line.contains("cmd=eval ")) {
            break;
        }
    }
    shop.is_in_trouble().await;
    drop(crowd);
    shop.goes_on().await;
    shop.ends_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_writes() {
    let server = Server::start(CAREFUL);
    let mut shop = shop_on(&server).await;
    server.say(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
    shop.is_in_trouble().await;
    server.say(&["CONFIG", "SET", "maxmemory", "0"]).await;
    shop.goes_on().await;
    shop.ends_whole().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_lost_after_the_commit_and_before_the_answer() {
    let server = Server::start(CAREFUL);
    let proxy = Proxy::before(server.port).await;
    let direct = server.url("shop");
    let through = direct.replace(&server.port.to_string(), &proxy.address.port().to_string());
    let mut shop = Shop::open("redis", &direct, &through).await;
    // The call is sent again and known by its number: nobody up here hears of it.
    shop.bears_cuts(&proxy, None).await;
    shop.goes_on().await;
    shop.ends_whole().await;
}

/// Redis ends itself, for it cannot take back what it has done; it is started again when there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_disk_is_full() {
    let home = tempfile::tempdir().expect("a folder");
    let disk = SmallDisk::mount(&home.path().join("small"), 40).expect("a small tmpfs, in a namespace of its own");
    let server = Server::start_on_disk(&disk.path, &disk.under, CAREFUL);
    let mut shop = shop_on(&server).await;
    for _ in 0..2 {
        let ballast = disk.fill_up(20_000);
        shop.is_in_trouble().await;
        assert!(server.has_ended());
        std::fs::remove_file(&ballast).expect("room is made");
        server.kill(); // what is left of it
        server.go_on();
        shop.goes_on().await;
    }
    shop.ends_whole().await;
}
