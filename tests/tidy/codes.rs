//! The codes of problems: each that clients can read of is raised somewhere.

use super::sources::{page, sources};

const LIST: &str = "src/http/answer/codes.rs";

/// Name and word of each code of the list: `NotFound = 404 "not_found" "There is nothing here";`.
fn codes() -> Vec<(String, String)> {
    let code = |line: &str| {
        let (name, rest) = line.trim().split_once(" = ")?;
        let word = rest.split('"').nth(1).filter(|_| rest.starts_with(|first: char| first.is_ascii_digit()))?;
        Some((name.to_owned(), word.to_owned()))
    };
    page(LIST).lines().filter_map(code).collect()
}

/// By its name, or because another list has the same word (what a cart still needs is shown by its own list).
#[test]
fn every_code_is_raised_somewhere() {
    let sources = sources("src");
    let ends = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
    let is_raised = |(name, word): &(String, String)| {
        let (name, word) = (format!("Code::{name}"), format!("\"{word}\""));
        sources.iter().any(|source| {
            let by_name = source.code.match_indices(&name).any(|(at, _)| ends(&source.code[at + name.len()..]));
            by_name || source.name != LIST && source.code.contains(&word)
        })
    };
    let codes = codes();
    assert!(codes.len() > 60, "the list was read");
    let idle: Vec<_> = codes.into_iter().filter(|code| !is_raised(code)).collect();
    assert_eq!(idle, []);
}
