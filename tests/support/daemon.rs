//! The real binary as an operator runs it: from a directory of its own, on a free port, stopped with SIGTERM. (The
//! server with an administrator that the API is replayed against is `server.rs`.)

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub const SOUK: &str = env!("CARGO_BIN_EXE_souk");

/// How long a start or a stop may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Daemon {
    child: Child,
    /// Such as `http://127.0.0.1:41234`.
    pub url: String,
}

impl Daemon {
    /// Starts `souk serve --http ADDRESS` with further arguments, working in `dir`; standard error goes to
    /// `server.log` there.
    pub fn start(dir: &Path, address: &str, arguments: &[&str]) -> Daemon {
        let log = std::fs::File::options().create(true).append(true).open(dir.join("server.log")).expect("a log");
        let mut command = Command::new(SOUK);
        command.arg("serve").args(["--http", address]).args(arguments).current_dir(dir);
        clean(&mut command);
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("the binary starts");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("its standard output"));
        output.read_line(&mut line).expect("its first line");
        let url = line.trim_end().strip_prefix("listening on ").map(str::to_owned);
        let Some(url) = url else { panic!("it said {line:?}\n{}", log_of(dir)) };
        // What it prints later must not fill a pipe that nobody empties.
        std::thread::spawn(move || std::io::copy(&mut output.by_ref(), &mut std::io::sink()));
        Daemon { child, url }
    }

    /// Sends SIGTERM and waits for the end.
    pub fn stop(mut self) -> ExitStatus {
        terminate(self.child.id());
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("its status") {
                return status;
            }
            assert!(Instant::now() < until, "it does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it has ended already: as well
        let _ = self.child.wait();
    }
}

/// Takes out of a command's environment what would configure souk.
pub fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SOUK_")) {
        command.env_remove(name);
    }
}

pub fn log_of(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("server.log")).unwrap_or_default()
}

fn terminate(process: u32) {
    let sent = Command::new("kill").args(["-TERM", &process.to_string()]).status().expect("kill runs");
    assert!(sent.success());
}
