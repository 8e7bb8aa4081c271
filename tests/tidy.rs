//! The rules of the house, as tests: who may import whom, what the pure folders may not touch, and what every file,
//! setting and metric must have. (That every setting is read stands beside its reader, in `src/config/tests.rs`;
//! that every route is in the OpenAPI document, beside the routes.)

mod circles;
mod codes;
mod defaults;
mod imports;
mod rooms;
mod sources;
mod walks;

use std::collections::BTreeSet;

use souk::metrics::Metrics;

use sources::{Source, files, offences, page, sources};

const NONE: [&str; 0] = [];

/// The folders of the kinds, from the list of kinds.
fn kinds() -> Vec<String> {
    let list = page("src/actors/kinds.rs");
    let lines = list.lines().filter_map(|line| line.split_once("=> super::")?.1.split_once("::types::"));
    let kinds: Vec<String> = lines.map(|(kind, _)| kind.to_owned()).collect();
    assert_eq!(kinds.len(), souk::actors::kinds::all().names().count(), "the list was read");
    kinds
}

/// What nothing pure has to do with.
const IMPURE: [&str; 13] = [
    "async ",
    "tokio",
    "std::time::I",
    "std::time::S",
    "SystemTime",
    "Instant",
    "rand::",
    "std::fs",
    "std::net",
    "std::thread",
    "HashMap",
    "HashSet",
    "unsafe",
];

#[test]
fn entities_are_pure() {
    for kind in kinds() {
        let sources = sources(&format!("src/actors/{kind}"));
        assert_eq!(offences(&sources, &IMPURE), NONE, "{kind}");
        assert_eq!(offences(&sources, &["std::time"]), NONE, "{kind}");
    }
}

/// Whole clusters run in one test, with a clock that the test moves.
#[test]
fn the_cluster_s_protocol_is_pure() {
    let sources = sources("src/cluster/protocol");
    assert_eq!(offences(&sources, &IMPURE), NONE);
    assert_eq!(offences(&sources, &["Moment::now", "incarnate", "crate::"]), NONE);
}

/// What lies below the edge knows no HTTP: not ours (the code map says so), and nobody else's.
#[test]
fn axum_is_the_edge_s_alone() {
    let mut below = sources("src/actors");
    below.extend(sources("src/persistence"));
    below.extend(sources("src/cluster"));
    assert_eq!(offences(&below, &["axum::", "hyper::"]), NONE);
}

#[test]
fn engines_and_bincode_are_named_in_their_own_files_only() {
    let mut offenders: Vec<String> = offences(&sources("src"), &["bincode::"]);
    offenders.retain(|offence| !offence.starts_with("src/persistence/codec.rs"));
    assert_eq!(offenders, Vec::<String>::new());
    for engine in ["sled", "fjall"] {
        let named = ["::", " ", "(", "<", "&"].map(|before| format!("{before}{engine}::"));
        let named = named.each_ref().map(String::as_str);
        let mut offenders: Vec<String> = offences(&sources("src"), &named);
        offenders.retain(|offence| !offence.starts_with("src/persistence/embedded/engine/"));
        assert_eq!(offenders, Vec::<String>::new());
    }
}

#[test]
fn files_are_short_enough_to_be_understood() {
    const LINES_MAX: usize = 600;
    let lengths = files("src").into_iter().map(|(name, text)| (name, text.lines().count()));
    let long: Vec<_> = lengths.filter(|(_, lines)| *lines > LINES_MAX).collect();
    assert_eq!(long, []);
}

#[test]
fn nothing_is_unwrapped_outside_of_tests() {
    assert_eq!(offences(&sources("src"), &[".unwrap()", ".unwrap_err()", "todo!(", "unimplemented!(", "dbg!("]), NONE);
}

/// A path of the machine that somebody wrote this on helps nobody else.
#[test]
fn no_machine_s_own_paths_are_named() {
    let words = ["/tmp/", "/home/", "/root/", "/work/", "/Users/", "/mnt/"];
    let mut texts = Vec::new();
    for folder in ["src", "tests", "config", "scripts", "deploy", "docs", ".ci"] {
        texts.extend(files(folder));
    }
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "Cargo.toml", ".gitignore"] {
        texts.push((name.to_owned(), page(name)));
    }
    texts.retain(|(name, _)| name != "tests/tidy.rs");
    let mut found = Vec::new();
    for (name, text) in &texts {
        for (number, line) in text.lines().enumerate() {
            found.extend(
                words.iter().filter(|word| line.contains(**word)).map(|word| format!("{name}:{}: {word}", number + 1)),
            );
        }
    }
    assert_eq!(found, NONE);
}

/// Why, and in which unit: nobody should have to read the code to know what a setting does.
#[test]
fn every_setting_is_explained_above_it() {
    let text = page("config/default.toml");
    let lines: Vec<&str> = text.lines().collect();
    let mut settings = 0;
    for (number, line) in lines.iter().enumerate() {
        if line.starts_with('#') || !line.contains(" = ") {
            continue;
        }
        settings += 1;
        let above: Vec<&str> =
            lines[..number].iter().rev().take_while(|line| line.starts_with("# ")).copied().collect();
        let words = above.iter().flat_map(|line| line.split_whitespace()).count();
        assert!(words > 5, "config/default.toml:{}: {line} has no explanation", number + 1);
    }
    assert!(settings > 40, "the file was read");
}

#[test]
fn every_metric_has_a_help_text_and_is_counted_somewhere() {
    let code: String = sources("src")
        .into_iter()
        .filter(|Source { name, .. }| name != "src/metrics.rs")
        .map(|source| source.code)
        .collect();
    let mut names = BTreeSet::new();
    for (name, help) in Metrics::describe() {
        assert!(names.insert(name), "{name} is there once");
        assert!(help.len() > 10 && help.ends_with('.'), "{name}: {help:?}");
        let field = name.strip_prefix("souk_").expect("the project's prefix");
        assert!(
            code.contains(&format!("metrics.{field}")) || code.contains(&format!(".{field}.")),
            "{name} is never counted"
        );
    }
}
