//! Who imports whom, read from the sources: `use` trees with their braces, and paths that stand in the code.

use super::sources::{Source, sources};

/// One name that a file takes from elsewhere in the crate.
pub struct Import {
    pub file: String,
    pub line: usize,
    /// The absolute path without `crate`: `["actors", "sku", "types", "Sku"]`.
    pub path: Vec<String>,
}

impl Import {
    /// The path as it would be written: `actors::sku::types::Sku`.
    pub fn name(&self) -> String {
        self.path.join("::")
    }
}

/// Every import of the crate's own modules by files below `folder`, tests aside.
pub fn imports(folder: &str) -> Vec<Import> {
    sources(folder).iter().flat_map(imports_of).collect()
}

fn imports_of(source: &Source) -> Vec<Import> {
    let module = module_of(&source.name);
    let code = without_comments(&source.code);
    let mut imports = Vec::new();
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || before == '_' || before == ':' {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            for leaf in leaves(tree_at(&code[at..])) {
                if let Some(path) = absolute(&module, &leaf) {
                    imports.push(Import { file: source.name.clone(), line, path });
                }
            }
        }
    }
    imports
}

/// The module that a file is: `src/http/shop/carts/mod.rs` is `["http", "shop", "carts"]`.
pub fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    let parts = path.split('/').filter(|part| !matches!(*part, "lib" | "main"));
    parts.map(str::to_owned).collect()
}

/// Keeps lines where they are, so that a place can be told.
fn without_comments(code: &str) -> String {
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The path or tree of paths that `code` begins with: up to what can be part of neither.
fn tree_at(code: &str) -> &str {
    let mut depth = 0_usize;
    let mut end = code.len();
    for (at, sign) in code.char_indices() {
        let opens = sign == '{' && code[..at].ends_with("::");
        match sign {
            '{' if opens || depth > 0 => depth += 1,
            '}' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    end = at + 1;
                    break;
                }
            }
            _ if depth > 0 => {}
            ':' | '_' => {}
            _ if sign.is_alphanumeric() => {}
            _ => {
                end = at;
                break;
            }
        }
    }
    &code[..end]
}

/// Each path of a tree: `a::{b, c::{d, e as f}}` is `a::b`, `a::c::d` and `a::c::e`.
fn leaves(tree: &str) -> Vec<Vec<String>> {
    let words = |path: &str| -> Vec<String> {
        path.split("::").map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let Some((before, inside)) = tree.split_once('{') else {
        return vec![words(tree.split(" as ").next().unwrap_or(tree))];
    };
    let inside = inside.rsplit_once('}').map_or(inside, |(inside, _)| inside);
    let mut found = Vec::new();
    let mut depth = 0_usize;
    let mut start = 0;
    let mut branches = Vec::new();
    for (at, sign) in inside.char_indices() {
        match sign {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                branches.push(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    branches.push(&inside[start..]);
    for branch in branches.into_iter().map(str::trim).filter(|branch| !branch.is_empty()) {
        for leaf in leaves(branch) {
            let mut path = words(before);
            path.extend(leaf.into_iter().filter(|word| word != "self"));
            found.push(path);
        }
    }
    found
}

/// A path from the crate's root, or none where it begins above it.
fn absolute(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    let mut base: Vec<String> = match first.as_str() {
        "crate" => Vec::new(),
        "self" => module.to_vec(),
        _ => module.split_last()?.1.to_vec(),
    };
    let mut rest = rest;
    while rest.first().is_some_and(|word| word == "super") {
        base.pop()?;
        rest = &rest[1..];
    }
    base.extend(rest.iter().cloned());
    Some(base)
}

#[test]
fn a_tree_of_imports_is_read_to_its_leaves() {
    let read = |tree: &str| leaves(tree_at(tree)).iter().map(|path| path.join("::")).collect::<Vec<_>>();
    assert_eq!(
        read("crate::actors::{client, slot::{self, core::Lookup}, sku as s};"),
        ["crate::actors::client", "crate::actors::slot", "crate::actors::slot::core::Lookup", "crate::actors::sku",]
    );
    assert_eq!(read("super::reply::Reply::ok(1)"), ["super::reply::Reply::ok"]);
    assert_eq!(read("crate::metrics { a }"), ["crate::metrics"]);
    let here = ["http", "shop", "carts"].map(str::to_owned);
    let path = ["super", "super", "edge"].map(str::to_owned);
    assert_eq!(absolute(&here, &path), Some(vec!["http".to_owned(), "edge".to_owned()]));
}
