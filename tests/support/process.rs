//! The real binary as a process: started on data, settings and arguments of one's own, killed, stopped, halted,
//! and asked at its end for its status and what it said.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use rand::Rng;
use souk::persistence::embedded::EngineKind;

pub const SOUK: &str = env!("CARGO_BIN_EXE_souk");
pub const ADMIN_EMAIL: &str = "admin@example.com";
pub const PASSWORD: &str = "correct horse battery";

/// How long a stop may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// How `souk serve` is to be started.
#[derive(Debug, Clone)]
pub struct Launch {
    home: PathBuf,
    /// None: on a free port.
    address: Option<String>,
    /// souk, and before it what it is to run under.
    under: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

/// A running `souk serve`. It is killed when it is dropped: the journal must bear that.
pub struct Process {
    child: Child,
    launch: Launch,
    /// Such as `http://127.0.0.1:41234`.
    pub url: String,
}

/// How a process ended, and all that the processes of its home said on standard error.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub log: String,
}

impl Launch {
    /// Working in `home`, where also its log goes (`server.log`), on a free port.
    pub fn new(home: &Path) -> Launch {
        crate::watchdog::watch();
        let (arguments, environment) = Default::default();
        let (address, under) = (None, vec![SOUK.to_owned()]);
        Launch { home: home.to_owned(), address, under, arguments, environment }
    }

    pub fn at(mut self, address: &str) -> Launch {
        self.address = Some(address.to_owned());
        self
    }
    /// As the last arguments of another program.
    pub fn under(mut self, program: &[&str]) -> Launch {
        self.under = program.iter().copied().chain([SOUK]).map(str::to_owned).collect();
        self
    }
    pub fn data(self, folder: &Path) -> Launch {
        self.args(&["--data", folder.to_str().expect("a path in UTF-8")])
    }
    /// On this embedded store.
    pub fn engine(self, engine: EngineKind) -> Launch {
        self.args(&["--store", engine.name()])
    }
    pub fn args(mut self, arguments: &[&str]) -> Launch {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }
    /// Sets a variable; an earlier value of it is void.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Launch {
        self.environment.push((name.to_owned(), value.into()));
        self
    }
    /// With the administrator of these tests.
    pub fn administered(self) -> Launch {
        self.env("SOUK_BOOTSTRAP_ADMIN_EMAIL", ADMIN_EMAIL).env("SOUK_BOOTSTRAP_ADMIN_PASSWORD", PASSWORD)
    }

    pub fn log(&self) -> String {
        log_of(&self.home)
    }

    /// Starts it, and waits until it listens.
    pub fn start(&self) -> Process {
        self.try_start().unwrap_or_else(|ended| panic!("it does not start: {}\n{}", ended.status, ended.log))
    }

    /// Starts it, and does not wait.
    pub fn begin(&self) -> Process {
        let child = self.command().stdout(Stdio::null()).spawn().expect("the binary starts");
        Process { child, launch: self.clone(), url: String::new() }
    }

    /// Starts it, and kills it before it may have got far.
    pub fn start_and_kill(&self, after: Duration) {
        let mut command = self.command();
        command.stdout(Stdio::null());
        let mut child = spawn(command);
        std::thread::sleep(after);
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

    fn command(&self) -> Command {
        let log = std::fs::File::options().create(true).append(true).open(self.home.join("server.log"));
        let (program, arguments) = self.under.split_first().expect("at least souk itself");
        let mut command = mortal(program, "KILL");
        clean(&mut command);
        let address = self.address.clone().unwrap_or_else(|| format!("127.0.0.1:{}", free_port()));
        command.args(arguments).args(["serve", "--http", &address]).args(&self.arguments).current_dir(&self.home);
        command.envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stderr(log.expect("a log"));
        command
    }

    /// Starts it, and waits until it listens or has ended.
    pub fn try_start(&self) -> Result<Process, Ended> {
        let mut command = self.command();
        command.stdout(Stdio::piped());
        let mut child = spawn(command);
        let mut output = BufReader::new(child.stdout.take().expect("its standard output"));
        let mut process = Process { child, launch: self.clone(), url: String::new() };
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = output.read_line(&mut line);
            let _ = tell.send(read.map(|_| line)); // nobody waits for it any more
            // What it prints later must not fill a pipe that nobody empties.
            std::io::copy(&mut output, &mut std::io::sink())
        });
        let told = told.recv_timeout(PATIENCE);
        let line = told.unwrap_or_else(|_| panic!("it neither listens nor ends\n{}", self.log()));
        match line.ok().and_then(|line| line.trim_end().strip_prefix("listening on ").map(str::to_owned)) {
            Some(url) => {
                process.url = url;
                Ok(process)
            }
            None => Err(process.end()),
        }
    }
}

impl Process {
    /// Sends a signal, such as `TERM`, `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("there is kill");
        assert!(sent.success());
    }

    /// Waits until it ends by itself.
    pub fn wait(mut self) -> Ended {
        self.end()
    }

    /// Asks it to stop, as an operator does, and waits until it has.
    pub fn stop(self) -> Ended {
        self.signal("TERM");
        self.wait()
    }

    /// Kills it without warning. The answer is how it was started, at the address that it had.
    pub fn kill(mut self) -> Launch {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
        let address = self.url.trim_start_matches("http://").to_owned();
        self.launch.clone().at(&address)
    }

    pub fn kill_and_restart(self) -> Process {
        self.kill().start()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("its status").is_none()
    }

    /// What it was started with as this variable.
    pub fn told(&self, name: &str) -> Option<&str> {
        self.launch.environment.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has in memory.
    pub fn memory_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("what it has");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1_024
    }

    fn end(&mut self) -> Ended {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("its status") {
                return Ended { status, log: self.launch.log() };
            }
            assert!(Instant::now() < until, "it does not end\n{}", self.launch.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it has ended already: as well
        let _ = self.child.wait();
    }
}

/// A program that is sent the signal when this process ends, however that comes about; to be started by [`spawn`].
pub fn mortal(program: impl AsRef<std::ffi::OsStr>, signal: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal, "--"]).arg(program);
    command
}

/// Starts a process from a thread that never ends: what is mortal is told when the *thread* that started it does.
pub fn spawn(command: Command) -> Child {
    type Order = (Command, mpsc::Sender<Child>);
    static IMMORTAL: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let immortal = IMMORTAL.get_or_init(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in orders {
                let _ = answer.send(command.spawn().expect("it starts"));
            }
        });
        Mutex::new(sender)
    });
    let (answer, started) = mpsc::channel();
    immortal.lock().expect("the thread").send((command, answer)).expect("the thread");
    started.recv().expect("a process")
}

/// A port that nobody listens on, below those that connections are given on their way out (Linux: from 32,768): so it
/// is still free when its server starts, and when it starts again.
pub fn free_port() -> u16 {
    let mut any = std::iter::repeat_with(|| rand::thread_rng().gen_range(10_000..32_000));
    any.find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

/// Takes out of a command's environment what would configure souk.
pub fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SOUK_")) {
        command.env_remove(name);
    }
}

pub fn log_of(home: &Path) -> String {
    std::fs::read_to_string(home.join("server.log")).unwrap_or_default()
}
