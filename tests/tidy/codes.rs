//! The codes of problems: each that clients can read of is raised somewhere.

use super::sources::{page, sources};

const LIST: &str = "src/http/answer/codes.rs";

/// The variants of the list: `NotFound = 404 "not_found" "There is nothing here";`.
fn codes() -> Vec<String> {
    let page = page(LIST);
    let code = |line: &str| {
        let (name, rest) = line.trim().split_once(" = ")?;
        let is_code = rest.starts_with(|first: char| first.is_ascii_digit()) && rest.contains('"');
        is_code.then(|| name.to_owned())
    };
    page.lines().filter_map(code).collect()
}

#[test]
fn every_code_is_raised_somewhere() {
    let sources = sources("src");
    let is_raised = |code: &String| {
        let name = format!("Code::{code}");
        let ends = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
        sources
            .iter()
            .any(|source| source.code.match_indices(&name).any(|(at, _)| ends(&source.code[at + name.len()..])))
    };
    let codes = codes();
    assert!(codes.len() > 60, "the list was read");
    let idle: Vec<String> = codes.into_iter().filter(|code| !is_raised(code)).collect();
    assert_eq!(idle, Vec::<String>::new());
}
