//! The project's files as the rules see them.

use std::fs;
use std::path::{Path, PathBuf};

/// A Rust file that is no test.
pub struct Source {
    /// From the root: `src/actors/cart/mod.rs`.
    pub name: String,
    /// Its text up to the tests that stand in it.
    pub code: String,
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every file below `folder` that is text, by its path from the root.
pub fn files(folder: &str) -> Vec<(String, String)> {
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
pub fn sources(folder: &str) -> Vec<Source> {
    let sources = files(folder).into_iter().filter(|(name, _)| name.ends_with(".rs") && !is_test(name));
    sources.map(|(name, text)| Source { name, code: before_tests(&text).to_owned() }).collect()
}

/// A file's text up to the tests that stand in it. (That tests stand beside it is said at its head: no end.)
fn before_tests(text: &str) -> &str {
    const TESTS: &str = "#[cfg(test)]\n";
    let mut starts = text.match_indices(TESTS).map(|(at, _)| at);
    let inline = |at: &usize| {
        let line = text[at + TESTS.len()..].lines().next().unwrap_or_default();
        line.trim_start_matches("pub(crate) ").starts_with("mod ") && line.ends_with('{')
    };
    &text[..starts.find(inline).unwrap_or(text.len())]
}

fn is_test(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.contains("test") || name.contains("/tests/") || name.contains("/testing/") || file == "schedules.rs"
}

/// Lines that are code and contain one of `words`.
pub fn offences(sources: &[Source], words: &[&str]) -> Vec<String> {
    let mut offences = Vec::new();
    for Source { name, code } in sources {
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
fn tests_end_a_file_only_where_they_stand_in_it() {
    assert_eq!(before_tests("a\n#[cfg(test)]\nmod tests;\nb\n"), "a\n#[cfg(test)]\nmod tests;\nb\n");
    assert_eq!(before_tests("a\n#[cfg(test)]\nmod tests {\nb\n"), "a\n");
    assert_eq!(before_tests("a\n#[cfg(test)]\npub(crate) mod tests {\nb\n"), "a\n");
}
