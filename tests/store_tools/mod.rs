//! `souk store check` and `souk store copy`, on the real binary: a shop with orders moves from one engine to another
//! and back, and nobody can tell; a copy that is killed goes on; what must be refused is; and what is wrong in a store
//! is found.

mod damage;
mod liar;
mod lies;
mod moving;
mod planted;
mod refusals;
mod shop;

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use souk::persistence::embedded::EngineKind;
use souk::persistence::embedded::EngineKind::{Fjall, Sled};

use crate::process::{SOUK, clean};
use crate::stores::{self, Kind, TestStore};

/// The address of an embedded store.
pub fn embedded(engine: EngineKind, dir: &Path) -> String {
    stores::embedded(engine, dir)
}

/// The stores that things are moved to, empty: one of each kind, and none twice in a row.
pub fn stores(home: &Path) -> Vec<TestStore> {
    let kinds = [Kind::Postgres, Kind::Redis, Kind::Embedded(Fjall), Kind::Embedded(Sled)];
    kinds.map(|kind| TestStore::of(kind, &home.join(format!("moved-{}", kind.name())))).into()
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
