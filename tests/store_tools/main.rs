//! `souk store check` and `souk store copy`, on the real binary: a shop with orders moves from one engine to another
//! and back, and nobody can tell; a copy that is killed goes on; what must be refused is; and what is wrong in a store
//! is found.

mod damage;
mod liar;
mod lies;
mod moving;
mod refusals;
mod shop;

#[path = "../support/process.rs"]
mod process;
#[path = "../support/replaying.rs"]
mod replaying;
#[path = "../support/retail_sample.rs"]
mod retail_sample;

use std::path::Path;
use std::process::{Command, Stdio};

use process::{SOUK, clean};
use serde_json::Value;

/// How a store is named on the command line. A store on a server of its own has its address instead.
pub fn embedded(engine: &str, dir: &Path) -> String {
    format!("{engine}:{}", dir.display())
}

/// The stores that the tests go through, each somewhere below `home`. A shared one is added here: started as a server
/// of the test's own, and named by its address.
pub fn stores(home: &Path) -> Vec<String> {
    ["fjall", "sled"].map(|engine| embedded(engine, &home.join(format!("moved-{engine}")))).into()
}

/// What `souk store ...` said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(SOUK);
    clean(&mut command);
    command.arg("store").args(arguments).stdin(Stdio::null());
    command
}

pub fn store(arguments: &[&str]) -> Said {
    let done = command(arguments).output().expect("souk starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Said { code: done.status.code(), out: text(done.stdout), err: text(done.stderr) }
}

impl Said {
    #[track_caller]
    pub fn well(self) -> Said {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    #[track_caller]
    pub fn refused(&self, code: i32, why: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.err.contains(why), "{self:?}");
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}
