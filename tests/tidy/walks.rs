//! The walks of ARCHITECTURE.md name files and functions: they are there.

use super::sources::{page, root};

/// Each file below `src` that the walks name, with the functions in brackets behind it.
fn named(walks: &str) -> Vec<(String, Vec<String>)> {
    let mut named: Vec<(String, Vec<String>)> = Vec::new();
    let mut in_brackets = false;
    for (number, part) in walks.split('`').enumerate() {
        let is_code = number % 2 == 1;
        if !is_code {
            in_brackets = part.trim_end().ends_with('(') || (in_brackets && part.trim() == ",");
        } else if part.ends_with(".rs") {
            named.push((part.to_owned(), Vec::new()));
        } else if let Some((_, functions)) = named.last_mut().filter(|_| in_brackets) {
            functions.push(part.to_owned());
        }
    }
    named
}

#[test]
fn the_walks_lead_through_files_and_functions_that_are_there() {
    let page = page("ARCHITECTURE.md");
    let (_, walks) = page.split_once("\n## Three walks\n").expect("the page has walks");
    let walks = walks.split("\n## ").next().unwrap_or(walks);
    let named = named(walks);
    assert!(named.len() > 15, "the walks were read");
    for (file, functions) in named {
        let code =
            std::fs::read_to_string(root().join("src").join(&file)).unwrap_or_else(|_| panic!("{file} is not there"));
        for function in functions {
            assert!(code.contains(&format!("fn {function}")), "{file} has no function {function}");
        }
    }
}

#[test]
fn functions_belong_to_the_file_before_them() {
    let walks = "`a/b.rs` (`c`, `d`) then `e` and `f.rs`";
    let expected = [("a/b.rs", vec!["c", "d"]), ("f.rs", vec![])];
    let expected =
        expected.map(|(file, functions)| (file.to_owned(), functions.into_iter().map(str::to_owned).collect()));
    assert_eq!(named(walks), expected);
}
