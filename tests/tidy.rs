//! The rules of the house, as tests: who may import whom, what the pure folders may not touch, and what every file,
//! setting and metric must have. (That every setting is read stands beside its reader, in `src/config/tests.rs`;
//! that every route is in the OpenAPI document, beside the routes.)

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use souk::metrics::Metrics;

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

/// Every file below `folder` that is text, by its path from the root.
fn files(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder of the project") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    let name = |path: &Path| path.strip_prefix(root()).expect("below the root").display().to_string();
    let mut files: Vec<(String, String)> =
        found.iter().filter_map(|path| Some((name(path), fs::read_to_string(path).ok()?))).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} has files");
    files
}

/// Every Rust file below `folder` that is no test, with its text up to its tests.
fn sources(folder: &str) -> Vec<(String, String)> {
    let sources = files(folder).into_iter().filter(|(name, _)| name.ends_with(".rs") && !is_test(name));
    sources.map(|(name, text)| (name, before_tests(&text).to_owned())).collect()
}

/// A file's text up to the tests that stand in it. (That tests stand beside it is said at its head: no end.)
fn before_tests(text: &str) -> &str {
    const TESTS: &str = "#[cfg(test)]\nmod ";
    let mut starts = text.match_indices(TESTS).map(|(at, _)| at);
    let inline = |at: &usize| text[at + TESTS.len()..].lines().next().is_some_and(|line| line.ends_with('{'));
    &text[..starts.find(inline).unwrap_or(text.len())]
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
fn tests_end_a_file_only_where_they_stand_in_it() {
    assert_eq!(before_tests("a\n#[cfg(test)]\nmod tests;\nb\n"), "a\n#[cfg(test)]\nmod tests;\nb\n");
    assert_eq!(before_tests("a\n#[cfg(test)]\nmod tests {\nb\n"), "a\n");
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

const NONE: [&str; 0] = [];

/// A path of the machine that somebody wrote this on helps nobody else.
#[test]
fn no_machine_s_own_paths_are_named() {
    let words = ["/tmp/", "/home/", "/root/", "/work/", "/Users/", "/mnt/"];
    let mut texts = Vec::new();
    for folder in ["src", "tests", "config", "scripts", "deploy", "docs", ".ci"] {
        texts.extend(files(folder));
    }
    for page in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "Cargo.toml", ".gitignore"] {
        texts.push((page.to_owned(), fs::read_to_string(root().join(page)).expect("a page")));
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
    let text = fs::read_to_string(root().join("config/default.toml")).expect("the defaults");
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
    let code: String =
        sources("src").into_iter().filter(|(name, _)| name != "src/metrics.rs").map(|(_, code)| code).collect();
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
