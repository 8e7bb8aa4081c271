//! The suites that run once, whatever store other tests run on: each has a store of its own, or none. They are one
//! binary, because a binary for each costs more to build than to run.

mod chaos;
mod cluster;
mod cluster_cli;
mod deploy;
mod hostile;
mod inspect;
mod old_accounts;
mod orders;
mod postgres;
mod quarantine;
mod readme;
mod redis;
mod runtime;
mod store_tools;
mod tidy;

#[path = "support/authority.rs"]
mod authority;
#[path = "support/client.rs"]
mod client;
#[path = "support/clock.rs"]
mod clock;
#[path = "support/edge.rs"]
mod edge;
#[path = "support/entrance.rs"]
mod entrance;
#[path = "support/folders.rs"]
mod folders;
#[path = "support/history.rs"]
mod history;
#[path = "crash/ledger.rs"]
#[allow(dead_code, reason = "the crash tests use more of it")]
mod ledger;
#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/process.rs"]
mod process;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/replaying.rs"]
mod replaying;
#[path = "support/retail_sample.rs"]
mod retail_sample;
#[path = "support/shop.rs"]
mod shop;
#[path = "support/shoppers.rs"]
mod shoppers;
#[path = "support/small_disk.rs"]
mod small_disk;
#[path = "support/stores.rs"]
mod stores;
#[path = "support/watchdog.rs"]
mod watchdog;
