//! `souk cluster` on the real binary: what it prints, and its exit codes; of a node that is alone, and of two over one
//! PostgreSQL. Also what else goes through a cluster: `souk inspect` and `souk admin create-admin`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;
use souk::persistence::embedded::EngineKind;

use crate::nodes;
use crate::process::{ADMIN_EMAIL, Launch, PASSWORD, SOUK, clean, mortal, spawn};
use crate::stores::postgres::Server;

/// How long what follows may take on a slow machine.
const WITHIN: Duration = Duration::from_secs(60);

/// The exit code, and what was said on standard output and standard error.
fn cluster(url: &str, arguments: &[&str]) -> (i32, String, String) {
    souk(url, &[&["cluster"], arguments].concat())
}

fn souk(url: &str, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(SOUK);
    clean(&mut command);
    let command = command.args(arguments).args(["--url", url, "--email", ADMIN_EMAIL]);
    let output = command.env("SOUK_PASSWORD", PASSWORD).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("a code"), text(output.stdout), text(output.stderr))
}

#[test]
fn a_node_that_is_alone_is_shown_and_refuses_to_be_changed() {
    let home = tempfile::tempdir().expect("a folder");
    let launch = Launch::new(home.path()).data(&home.path().join("data")).engine(EngineKind::Sled).administered();
    let launch = launch.env("SOUK_LOG__FILTER", "error").env("SOUK_STORE__SLOTS", "128").env("SOUK_NODE_NAME", "alone");
    let server = launch.start();
    let of = |arguments: &[&str]| cluster(&server.url, arguments);

    let (code, said, _) = of(&["status"]);
    assert!(code == 0 && said.starts_with("cluster souk: 128 slots, store sled (well), balanced"), "{said}");
    assert!(said.contains("alone#") && said.contains("serving"), "{said}");
    let (code, said, _) = of(&["slots", "--owner", "alone", "--json"]);
    let slots: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, slots.as_array().map(Vec::len)), (0, Some(128)), "every page");
    for arguments in [&["nodes"][..], &["slot", "0"], &["plan"], &["events"], &["slots", "--state", "parked"]] {
        let (code, _, why) = of(arguments);
        assert_eq!((code, &*why), (0, ""), "{arguments:?}");
    }
    for (arguments, reason) in [
        (&["slot", "128"][..], "slot_not_found"),
        (&["drain", "alone", "--yes"], "store_is_local"),
        (&["cordon", "alone"], "store_is_local"),
        (&["move", "0", "alone", "--dry-run"], "store_is_local"),
        (&["pin", "0"], "store_is_local"),
        (&["events", "--types", "node_found"], "invalid_parameter"),
    ] {
        let (code, said, why) = of(arguments);
        assert!(code == 1 && said.is_empty() && why.contains(reason), "{arguments:?}: {why}");
    }
    for misused in [&["move", "0"][..], &["slot", "first"], &["drain"], &["mend"]] {
        assert_eq!(of(misused).0, 2, "{misused:?}");
    }
    // What was tried is in the log, and dry runs are not.
    let (code, said, _) = souk(&server.url, &["audit", "--action", "cluster"]);
    let tried: Vec<&str> = said.lines().filter_map(|line| line.split("  ").nth(3)).collect();
    assert_eq!((code, tried.len()), (0, 3), "{said}");
    assert_eq!(tried[0], "cluster.node.drain alone: refused 409 store_is_local");
    let (code, said, _) = souk(&server.url, &["entity", "verify", "keyring", "only"]);
    assert!(code == 0 && said.contains("served: agrees"), "{said}");
    assert_eq!(souk(&server.url, &["entity", "list", "keyring"]), (0, "only\n".to_owned(), String::new()));
    let (code, said, why) = souk(&server.url, &["entity", "passivate", "cart", "nobody"]);
    assert!(code == 1 && said.is_empty() && why.contains("not_found"), "{why}");
    server.stop();
}

/// A command that goes on until it is killed, and its lines.
struct Following {
    child: Child,
    lines: Receiver<String>,
}

impl Following {
    fn start(url: &str, arguments: &[&str]) -> Following {
        let mut command = mortal(SOUK, "KILL");
        clean(&mut command);
        command.arg("cluster").args(arguments).args(["--url", url, "--email", ADMIN_EMAIL]);
        let mut child = spawn_piped(command);
        let output = BufReader::new(child.stdout.take().expect("its standard output"));
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            // Nobody may read on: then it ends.
            output.lines().map_while(Result::ok).try_for_each(|line| tell.send(line))
        });
        Following { child, lines }
    }

    /// Waits for a line that has all of these words.
    fn says(&self, words: &[&str]) {
        self.tells(&format!("{words:?}"), |line| words.iter().all(|word| line.contains(word)));
    }

    /// Waits for a line in JSON that is what is sought.
    fn tells_json(&self, what: &str, is_sought: impl Fn(&Value) -> bool) {
        self.tells(what, |line| is_sought(&serde_json::from_str(line).expect("JSON")));
    }

    fn tells(&self, what: &str, is_sought: impl Fn(&str) -> bool) {
        let mut before = Vec::new();
        loop {
            match self.lines.recv_timeout(WITHIN) {
                Ok(line) if is_sought(&line) => return,
                Ok(line) => before.push(line),
                Err(why) => panic!("no line with {what} ({why}) but\n{}", before.join("\n")),
            }
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it has ended already: as well
        let _ = self.child.wait();
    }
}

fn spawn_piped(mut command: Command) -> Child {
    command.env("SOUK_PASSWORD", PASSWORD).stdin(Stdio::null()).stdout(Stdio::piped());
    spawn(command)
}

/// Two nodes over one PostgreSQL, with 16 slots.
struct Pair {
    _server: Server,
    store: String,
    homes: [tempfile::TempDir; 2],
}

impl Pair {
    fn new() -> Pair {
        let server = Server::new(&[]);
        let store = server.make_database("souk");
        let homes = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        Pair { _server: server, store, homes }
    }

    fn launch(&self, number: usize) -> Launch {
        let launch = Launch::new(self.homes[number].path()).args(&["--store", "postgres", "--store-url", &self.store]);
        let launch = launch.env("SOUK_CLUSTER__ZONE", ["west", "east"][number]);
        nodes::member(launch, ["a", "b"][number]).administered().env("SOUK_STORE__SLOTS", "16")
    }
}

/// The slots of a node, as the asked one sees it.
fn slots_of(url: &str, node: &str) -> Vec<u64> {
    let (code, said, why) = cluster(url, &["slots", "--owner", node, "--json"]);
    assert_eq!((code, &*why), (0, ""));
    let slots: Vec<Value> = serde_json::from_str(&said).expect("JSON");
    slots.iter().map(|slot| slot["slot"].as_u64().expect("a number")).collect()
}

#[test]
fn operators_close_a_node_and_move_slots_and_see_it_while_it_happens() {
    let pair = Pair::new();
    let nodes = nodes::start(&[pair.launch(0), pair.launch(1)]);
    let (a, b) = (&nodes[0].url, &nodes[1].url);
    let does = |arguments: &[&str], said_first: &str| {
        let (code, said, why) = cluster(a, arguments);
        assert!(code == 0 && said.starts_with(said_first) && why.is_empty(), "{arguments:?}: {said}{why}");
        said
    };
    let events = Following::start(a, &["events", "--follow"]);
    let only_slots = Following::start(b, &["events", "--follow", "--types", "slot_moved", "--json"]);
    let watch = Following::start(b, &["watch"]);
    watch.says(&["cluster souk: 16 slots, store postgres (well), balanced"]);
    watch.says(&["ID", "ZONE"]);
    watch.says(&["b#", "serving", "east"]);

    does(&["cordon", "b", "--dry-run"], "cordon b: would be done\n");
    does(&["cordon", "b", "--reason", "a look at it"], "cordon b: done\n");
    does(&["cordon", "b"], "cordon b: it is so already\n");
    events.says(&["cordoned", "node=b#"]);
    watch.says(&["b#", "cordoned"]);
    does(&["uncordon", "b"], "uncordon b: done\n");
    events.says(&["uncordoned", "node=b#"]);

    let number = slots_of(a, "a")[0];
    let slot = number.to_string();
    let moved = |node: &str| {
        events.says(&["slot_moved", &format!("slot={slot} "), &format!("node={node}#")]);
        only_slots.tells_json("the slot that moved", |told| {
            assert_eq!(told["event"], "slot_moved", "nothing else was asked for");
            told["data"]["slot"] == number
        });
    };
    let planned = does(&["pin", &slot, "b", "--dry-run"], &format!("pin slot {slot} to b: would be done\n"));
    assert!(planned.contains("placed"), "{planned}");
    does(&["pin", &slot, "b"], &format!("pin slot {slot} to b: done\n"));
    moved("b");
    let shown = does(&["slot", &slot], "SLOT");
    assert!(shown.contains("b#") && shown.contains("moved"), "with its history: {shown}");
    does(&["unpin", &slot], &format!("unpin slot {slot}: done\n"));
    events.says(&["unpinned", &format!("slot={slot}")]);
    does(&["move", &slot, "a"], &format!("move slot {slot} to a: done\n"));
    moved("a");
    does(&["unpin", &slot], &format!("unpin slot {slot}: done\n"));

    let drained = does(&["drain", "b", "--wait"], "drain~b#");
    assert!(drained.ends_with(" done: 0 slots are left\n"), "{drained}");
    assert_eq!((slots_of(a, "b").len(), slots_of(a, "a").len()), (0, 16));
    events.says(&["drain_started", "node=b#"]);
    events.says(&["drain_done", "node=b#"]);
    let plan = does(&["plan"], "NODE");
    let share = |node: &str| {
        let row = plan.lines().find(|line| line.starts_with(node)).unwrap_or_else(|| panic!("{plan}"));
        row.split_whitespace().skip(1).map(|number| number.parse::<usize>().expect("a number")).collect::<Vec<_>>()
    };
    assert_eq!((share("a#"), share("b#")), (vec![16, 16], vec![0, 0]));
    let (code, said, why) = cluster(a, &["cordon", "a"]);
    assert!(code == 1 && said.is_empty() && why.contains("last_node"), "{why}");
    // Any node is asked for anything.
    let (code, said, _) = cluster(b, &["uncordon", "b"]);
    assert!(code == 0 && said.starts_with("uncordon b: done\nSLOT") && said.contains("balance"), "{said}");
    nodes::spread(&nodes);
    watch.says(&["cluster souk", "(well), balanced"]);
}

/// Two nodes that cannot link to each other: what the plan wants stays to be done, and everybody can see it.
#[test]
fn who_watches_sees_the_moves_that_are_to_be_made() {
    let pair = Pair::new();
    let a = pair.launch(0).start();
    let _stranger = pair.launch(1).env("SOUK_CLUSTER__SECRET", "another secret than that of a").begin();
    let watch = Following::start(&a.url, &["watch"]);
    watch.says(&["cluster souk", "not balanced"]);
    watch.says(&["8 slots are to move:"]);
    watch.says(&["SLOT", "FROM", "TO", "WHY"]);
    watch.says(&["a#", "b#", "balance"]);
    let json = Following::start(&a.url, &["watch", "--json"]);
    json.tells_json("moves", |seen| seen["plan"]["moves"][0]["why"] == "balance" && seen["changing"].is_array());
}

#[test]
fn an_entity_is_inspected_at_any_node_and_an_administrator_is_made_beside_the_nodes() {
    let pair = Pair::new();
    let nodes = nodes::start(&[pair.launch(0), pair.launch(1)]);
    let mut command = Command::new(SOUK);
    clean(&mut command);
    command.args(["admin", "create-admin", "second@example.com", "--store", "postgres", "--store-url", &pair.store]);
    command.envs([("SOUK_CLUSTER__SECRET", nodes::SECRET), ("SOUK_STORE__SLOTS", "16"), ("SOUK_PASSWORD", PASSWORD)]);
    let made = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&made.stdout);
    assert!(made.status.success() && said.contains("second@example.com"), "{said}{made:?}");
    nodes::spread(&nodes); // nothing has gone to it
    let mut owners = Vec::new();
    for email in [ADMIN_EMAIL, "second@example.com"] {
        let told = nodes.iter().map(|node| {
            let (code, said, why) = souk(&node.url, &["inspect", "login", email, "--json"]);
            assert_eq!(code, 0, "{why}");
            serde_json::from_str::<Value>(&said).expect("JSON")
        });
        let told: Vec<Value> = told.collect();
        for same in ["node", "slot", "epoch", "version", "state"] {
            assert_eq!(told[0][same], told[1][same], "{same} of {email}");
        }
        owners.push(told[0]["node"].clone());
    }
    assert!(owners.iter().all(Value::is_string), "{owners:?}");
    let (code, said, why) = souk(&nodes[1].url, &["entity", "verify", "keyring", "only"]);
    assert!(code == 0 && said.contains("served: agrees"), "{said}{why}");
}
