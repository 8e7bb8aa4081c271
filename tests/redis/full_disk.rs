//! The real binary, with shoppers in it, on a Redis whose disk is full. Redis cannot take back what it has not
//! written, so it ends; whoever watches over it starts it again, in vain for as long as there is no room.

use std::process::Command;

use super::process::{Launch, SOUK, clean};
use super::server::{CAREFUL, Server};
use super::shoppers::Shoppers;
use super::small_disk::SmallDisk;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn souk_outlives_a_full_disk_of_its_redis_and_loses_nothing() {
    let home = tempfile::tempdir().expect("a folder");
    let disk = match SmallDisk::mount(&home.path().join("small"), 24) {
        Ok(disk) => disk,
        Err(why) => {
            println!("SKIPPED: a full disk cannot be tested here, for nobody lets us mount a tmpfs: {why}");
            return;
        }
    };
    let server = Server::on_disk(&disk.path, &disk.under, CAREFUL);
    let url = server.url("shop");
    let launch = Launch::new(home.path()).args(&["--store", "redis", "--store-url", &url, "--sample"]);
    let mut souk = launch.env("SOUK_STORE__SLOTS", "64").start();
    let shoppers = Shoppers::start(&souk.url, 6).await;
    shoppers.get(30).await;
    for (left_bytes, in_vain) in [(100_000, 0), (0, 2)] {
        let ballast = disk.fill_up(left_bytes);
        shoppers.are_refused(12).await;
        assert!(server.has_ended(), "{left_bytes}: Redis must not go on without its file");
        for _ in 0..in_vain {
            server.go_on();
            while !server.has_ended() {
                shoppers.are_refused(6).await;
            }
        }
        let alive = reqwest::get(format!("{}/livez", souk.url)).await.expect("an answer");
        assert!(alive.status() == 200 && souk.is_running());
        std::fs::remove_file(&ballast).expect("room is made");
        server.go_on();
        shoppers.get(60).await;
    }
    shoppers.have_all().await;
    let ended = souk.stop();
    assert!(ended.status.success(), "{}", ended.log);
    let mut check = Command::new(SOUK);
    clean(&mut check);
    let checked = check.args(["store", "check", &url]).output().expect("it runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}
