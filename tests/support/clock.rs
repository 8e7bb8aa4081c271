//! The calendar's clock of a process, set while it runs: a shim that is preloaded (`clock.c`).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const SHIM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/clock.c");

pub struct Clock {
    shim: PathBuf,
    path: PathBuf,
    offset: File,
}

impl Clock {
    /// With what it needs in a folder.
    pub fn new(home: &Path) -> Clock {
        let (shim, path) = (home.join("clock.so"), home.join("clock.offset"));
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(SHIM).status();
        assert!(compiled.expect("a C compiler").success(), "the shim compiles");
        let offset = File::create(&path).expect("a file");
        let clock = Clock { shim, path, offset };
        clock.set(0);
        clock
    }

    /// So many seconds ahead of this machine's.
    pub fn set(&self, ahead_s: i64) {
        self.offset.write_all_at(&ahead_s.to_ne_bytes(), 0).expect("written");
    }

    /// The environment of a process that goes by this clock.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        [("LD_PRELOAD", self.shim.display().to_string()), ("CLOCK_OFFSET", self.path.display().to_string())]
    }
}
