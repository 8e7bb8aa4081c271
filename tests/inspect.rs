//! `souk inspect` on the real binary: of a server, and of a store at rest.

use std::path::Path;
use std::process::Command;

use souk::persistence::embedded::EngineKind;

use crate::process::{ADMIN_EMAIL, Launch, PASSWORD, SOUK, clean};

/// The exit code, and what was said.
fn inspect(arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(SOUK);
    clean(&mut command);
    let output = command.arg("inspect").args(arguments).env("SOUK_PASSWORD", PASSWORD).output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().expect("a code"), String::from_utf8(text).expect("text"))
}

/// Asks for versions of an entity that has one, and of one that is not there.
fn tells_an_end_from_nothing(place: &[&str]) {
    let of = |id: &str, at: &str| inspect(&[&["login", id, "--at", at], place].concat());
    let (code, text) = of(ADMIN_EMAIL, "1");
    assert!(code == 0 && text.contains("version  1\n"), "{text}");
    let (code, text) = of(ADMIN_EMAIL, "7");
    assert!(code == 1 && text.contains("ends at version 1"), "{text}");
    let (code, text) = of("nobody@example.com", "7");
    assert!(code == 1 && text.contains("login nobody@example.com does not exist"), "{text}");
    assert_eq!(of(ADMIN_EMAIL, "0").0, 2, "versions begin at 1");
}

#[test]
fn beyond_the_end_of_a_journal_inspection_says_where_that_ends() {
    let home = tempfile::tempdir().expect("a folder");
    let data = home.path().join("data");
    let launch = Launch::new(home.path()).data(&data).engine(EngineKind::Sled).administered();
    let server = launch.env("SOUK_LOG__FILTER", "error").start();
    tells_an_end_from_nothing(&["--url", &server.url, "--email", ADMIN_EMAIL]);
    server.stop();
    tells_an_end_from_nothing(&["--data", path(&data)]);
}

fn path(data: &Path) -> &str {
    data.to_str().expect("a path in UTF-8")
}
