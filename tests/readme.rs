//! The tour of README.md, as a new user pastes it: every `bash` block goes, in order, into one bash that stops at
//! the first failure, against a fresh store served by the real binary. A `text` block behind it is what must come
//! out: spaces do not count, and `…` stands for anything.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::process::{Launch, SOUK, clean, log_of};

const README: &str = include_str!("../README.md");
/// What a block of the tour may take, with the slowest password hash on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);
const END: &str = "-- end of block --";

/// What the tour does, step by step.
#[derive(Debug)]
enum Step {
    Run { line: usize, script: String },
    Expect { line: usize, text: String },
    ServerStops,
    ServerStarts,
}

fn steps(readme: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = readme.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        match line {
            "<!-- tour: the server stops -->" => steps.push(Step::ServerStops),
            "<!-- tour: the server starts -->" => steps.push(Step::ServerStarts),
            _ => {}
        }
        let Some(language) = line.strip_prefix("```").filter(|language| !language.is_empty()) else { continue };
        let block: String = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").fold(
            String::new(),
            |mut block, line| {
                block.push_str(line);
                block.push('\n');
                block
            },
        );
        match language {
            "bash" => steps.push(Step::Run { line: number + 1, script: block }),
            "text" => steps.push(Step::Expect { line: number + 1, text: block }),
            _ => {}
        }
    }
    steps
}

/// A bash that is fed block after block.
struct Bash {
    child: Child,
    input: ChildStdin,
    output: Receiver<String>,
}

impl Bash {
    fn start(dir: &Path, url: &str) -> Bash {
        let mut command = Command::new("bash");
        clean(&mut command);
        command.args(["-e", "-u", "-o", "pipefail"]).current_dir(dir).env("SOUK_URL", url);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bash starts");
        let mut input = child.stdin.take().expect("its input");
        writeln!(input, "exec 2>&1").expect("bash takes its input");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let (send, output) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| send.send(line)));
        Bash { child, input, output }
    }

    /// What the block prints. `Err`: it failed, or took too long.
    fn run(&mut self, script: &str) -> Result<String, String> {
        write!(self.input, "{script}\necho; echo '{END}'\n").expect("bash takes its input");
        let mut printed = String::new();
        loop {
            match self.output.recv_timeout(PATIENCE) {
                Ok(line) if line == END => return Ok(printed),
                Ok(line) => {
                    printed.push_str(&line);
                    printed.push('\n');
                }
                Err(why) => return Err(format!("{why}, after\n{printed}")),
            }
        }
    }
}

impl Drop for Bash {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first piece between two `…` that does not come, in its turn.
fn missing<'a>(expected: &'a str, printed: &str) -> Option<&'a str> {
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    let printed = bare(printed);
    let mut rest = printed.as_str();
    for piece in expected.split('…') {
        let wanted = bare(piece);
        match rest.find(&wanted) {
            Some(at) => rest = &rest[at + wanted.len()..],
            None => return Some(piece),
        }
    }
    None
}

#[test]
fn what_is_expected_must_come_in_its_order() {
    assert_eq!(missing("{\"a\": 1, … \"c\": 3}", "{\"a\":1,\"b\":2,\"c\":3}"), None);
    assert_eq!(missing("c … a", "a b c"), Some(" a"));
}

#[test]
fn the_tour_works_as_pasted() {
    let dir = tempfile::tempdir().expect("a directory");
    let launch = Launch::new(dir.path()).args(&["--sample"]);
    let mut server = Some(launch.start());
    let url = server.as_ref().map(|server| server.url.clone()).expect("it has just started");
    // Where the tour starts it again it must be where it was.
    let address = url.strip_prefix("http://").expect("an address").to_owned();
    let mut bash = Bash::start(dir.path(), &url);
    let mut printed = String::new();
    let mut ran = 0;
    for step in steps(README) {
        match step {
            Step::Run { line, script } => {
                let script = script.replace("http://127.0.0.1:8080", &url).replace("target/release/souk", SOUK);
                printed = bash.run(&script).unwrap_or_else(|why| {
                    panic!("README.md:{line}: the block fails: {why}\n{script}\n{}", log_of(dir.path()))
                });
                ran += 1;
            }
            Step::Expect { line, text } => {
                if let Some(piece) = missing(&text, &printed) {
                    panic!("README.md:{line}: expected {piece:?} (and what is before it) in\n{printed}");
                }
            }
            Step::ServerStops => {
                let status = server.take().expect("it runs").stop().status;
                assert!(status.success(), "{status}\n{}", log_of(dir.path()));
            }
            Step::ServerStarts => {
                server = Some(launch.clone().at(&address).start());
            }
        }
    }
    assert!(ran > 10, "the tour has its blocks");
    let log = log_of(dir.path());
    for level in ["ERROR", "WARN"] {
        assert!(!log.contains(&format!("\"level\":\"{level}\"")), "the tour is quiet: {log}");
    }
    assert!(server.take().expect("it runs").stop().status.success());
}
