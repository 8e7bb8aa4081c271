//! The rules of the house, as tests: who may import whom, and what the pure folders may not touch.

use std::fs;
use std::path::{Path, PathBuf};

const KINDS: &[&str] = &[
    "cart",
    "categories",
    "customer",
    "keyring",
    "login",
    "mock_charge",
    "order",
    "order_number",
    "product",
    "session",
    "sku",
    "slug",
    "user",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below `folder`, with its text up to its tests.
fn sources(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder of the project") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    let mut sources: Vec<(String, String)> = found
        .iter()
        .map(|path| {
            let name = path.strip_prefix(root()).expect("below the root").display().to_string();
            let text = fs::read_to_string(path).expect("a source file");
            let code = text.split("#[cfg(test)]\nmod").next().unwrap_or_default().to_owned();
            (name, code)
        })
        .filter(|(name, _)| !is_test(name))
        .collect();
    sources.sort();
    assert!(!sources.is_empty(), "{folder} has sources");
    sources
}

fn is_test(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    file == "testkit.rs" || file.contains("test") || name.contains("/tests/") || file == "schedules.rs"
}

/// Lines that are code and contain one of `words`.
fn offences(sources: &[(String, String)], words: &[&str]) -> Vec<String> {
    let mut offences = Vec::new();
    for (name, code) in sources {
        for (number, line) in code.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if let Some(word) = words.iter().find(|word| code.contains(**word)) {
                offences.push(format!("{name}:{}: {word}", number + 1));
            }
        }
    }
    offences
}

#[test]
fn persistence_and_cluster_know_no_shop_and_not_each_other() {
    let up = ["crate::actors", "crate::http", "crate::node", "crate::cli", "crate::config"];
    let none: Vec<String> = Vec::new();
    assert_eq!(offences(&sources("src/persistence"), &[&up[..], &["crate::cluster"]].concat()), none);
    assert_eq!(offences(&sources("src/cluster"), &[&up[..], &["crate::persistence"]].concat()), none);
}

#[test]
fn actors_know_neither_http_nor_the_command_line() {
    let words = ["crate::http", "crate::node", "crate::cli", "axum::"];
    assert_eq!(offences(&sources("src/actors"), &words), Vec::<String>::new());
}

#[test]
fn entities_are_pure() {
    let impure = [
        "async ",
        "tokio",
        "std::time",
        "SystemTime",
        "Instant",
        "rand::",
        "std::fs",
        "std::net",
        "std::thread",
        "HashMap",
        "HashSet",
        "crate::cluster",
        "crate::metrics",
        "crate::http",
        "super::slot::actor",
        "client::",
        "unsafe",
    ];
    for kind in KINDS {
        assert_eq!(offences(&sources(&format!("src/actors/{kind}")), &impure), Vec::<String>::new());
    }
}

#[test]
fn entities_see_only_the_types_of_other_kinds() {
    for kind in KINDS {
        let mut offences = Vec::new();
        for (name, code) in sources(&format!("src/actors/{kind}")) {
            for (number, line) in code.lines().enumerate() {
                let Some((_, rest)) = line.split_once("crate::actors::") else { continue };
                if line.trim_start().starts_with("//") {
                    continue;
                }
                let mut path = rest.split("::");
                let first = path.next().unwrap_or_default();
                let second = path.next().unwrap_or_default();
                let allowed = first == "entity"
                    || first == "values"
                    || first.starts_with('{')
                    || first == *kind
                    || second.starts_with("types")
                    || first.starts_with("testkit");
                if !allowed {
                    offences.push(format!("{name}:{}: {}", number + 1, line.trim()));
                }
            }
        }
        assert_eq!(offences, Vec::<String>::new());
    }
}

#[test]
fn sled_and_bincode_are_named_in_their_own_files_only() {
    let mut offenders: Vec<String> = offences(&sources("src"), &["bincode::"]);
    offenders.retain(|offence| !offence.starts_with("src/persistence/codec.rs"));
    assert_eq!(offenders, Vec::<String>::new());
    let mut offenders: Vec<String> = offences(&sources("src"), &["::sled::"]);
    offenders.retain(|offence| !offence.starts_with("src/persistence/sled"));
    assert_eq!(offenders, Vec::<String>::new());
}
