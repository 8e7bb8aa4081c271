//! The real binary as a server, on a free port with its own data, and with an administrator.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub const ADMIN_EMAIL: &str = "admin@example.com";
pub const ADMIN_PASSWORD: &str = "correct-horse-battery";

pub struct Server {
    /// Such as `http://127.0.0.1:40123`.
    pub url: String,
    data: PathBuf,
    child: Child,
}

impl Server {
    /// Starts a server on a free port, and waits until it listens.
    pub fn start(data: PathBuf) -> Server {
        Server::start_at(data, "127.0.0.1:0")
    }

    fn start_at(data: PathBuf, address: &str) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_souk"))
            .args(["serve", "--http", address, "--data"])
            .arg(&data)
            .env("SOUK_BOOTSTRAP_ADMIN_EMAIL", ADMIN_EMAIL)
            .env("SOUK_BOOTSTRAP_ADMIN_PASSWORD", ADMIN_PASSWORD)
            .env("SOUK_LOG__FILTER", "error")
            .stdout(Stdio::piped())
            .spawn()
            .expect("souk starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its standard output");
        BufReader::new(stdout).read_line(&mut line).expect("its first line");
        let url = line.trim().strip_prefix("listening on ").expect("the first line says where it listens").to_owned();
        Server { url, data, child }
    }

    /// Kills the server without warning, and starts it on the same data and port.
    pub fn kill_and_restart(mut self) -> Server {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
        let address = self.url.trim_start_matches("http://").to_owned();
        Server::start_at(self.data.clone(), &address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have been killed already
        let _ = self.child.wait();
    }
}
