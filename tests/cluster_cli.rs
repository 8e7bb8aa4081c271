//! `souk cluster` on the real binary: what it prints, and its exit codes.

use std::process::Command;

use serde_json::Value;
use souk::persistence::embedded::EngineKind;

use crate::process::{ADMIN_EMAIL, Launch, PASSWORD, SOUK, clean};

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
