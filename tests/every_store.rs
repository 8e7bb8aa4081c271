//! The suites that must hold on every store: the API, races, the import, the replay, and crashes. They run on the store that
//! `SOUK_TEST_STORE` names (see `stores`), and are one binary, because a binary for each costs more to build than to run.

mod api;
mod crash;
mod following;
mod import;
mod races;
mod replay;

#[path = "support/client.rs"]
mod client;
#[path = "support/entrance.rs"]
mod entrance;
#[path = "support/folders.rs"]
mod folders;
#[path = "support/history.rs"]
mod history;
#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/powercut.rs"]
mod powercut;
#[path = "support/process.rs"]
mod process;
#[path = "support/replaying.rs"]
mod replaying;
#[path = "support/retail_sample.rs"]
mod retail_sample;
#[path = "support/small_disk.rs"]
mod small_disk;
#[path = "support/stores.rs"]
mod stores;
#[path = "support/watchdog.rs"]
mod watchdog;

use api::support;
use races::crowd;
