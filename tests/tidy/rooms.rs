//! The rooms of the house and who may import whom. The code map of ARCHITECTURE.md is the rule: its first column names
//! the rooms, its last what each may import. What the page does not allow fails here; what it allows and nobody does is
//! told too, so that the page stays true.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{Import, imports, module_of};
use super::kinds;
use super::sources::{page, sources};

/// Stands in the map for every folder of a kind.
const KIND: &str = "actors/<kind>";
/// Stands in the map for the `types` of kinds.
const TYPES: &str = "types";
/// Ends an entry that means a room's own files without the rooms below it.
const OWN_FILES: &str = "/mod";

/// A room, by its path below `src`, and what it may import.
struct CodeMap(BTreeMap<String, BTreeSet<String>>);

impl CodeMap {
    /// Reads the table below the heading "Code map".
    fn read() -> CodeMap {
        let page = page("ARCHITECTURE.md");
        let (_, map) = page.split_once("\n## Code map\n").expect("the page has a code map");
        let map = map.split("\n## ").next().unwrap_or(map);
        let mut rooms = BTreeMap::new();
        for row in map.lines().filter(|line| line.starts_with("| `src/")) {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
            let (first, last) = (cells[0], cells[cells.len() - 1]);
            let may: BTreeSet<String> = in_backticks(last).into_iter().collect();
            for room in in_backticks(first).iter().flat_map(|room| alternatives(room)) {
                let name = room.trim_start_matches("src/").trim_end_matches('/').trim_end_matches(".rs").to_owned();
                assert!(rooms.insert(name, may.clone()).is_none(), "{room} stands once in the map");
            }
        }
        assert!(rooms.len() > 10, "the table was read");
        CodeMap(rooms)
    }

    /// The smallest room that a path of modules lies in.
    fn room(&self, path: &[String]) -> Option<String> {
        let path = path.join("/");
        let is_below = |room: &str| path == room || path.starts_with(&format!("{room}/"));
        if let Some(kind) = kinds().iter().find(|kind| is_below(&format!("actors/{kind}"))) {
            return self.0.contains_key(KIND).then(|| format!("actors/{kind}"));
        }
        self.0.keys().filter(|room| is_below(room)).max_by_key(|room| room.len()).cloned()
    }

    fn row(room: &str) -> &str {
        let kind = room.strip_prefix("actors/").is_some_and(|name| kinds().contains(&name.to_owned()));
        if kind { KIND } else { room }
    }

    /// The entry of the map that allows an import from one room to another, where one does.
    fn allows(&self, from: &str, to: &str, import: &Import) -> Option<&String> {
        let may = &self.0[CodeMap::row(from)];
        let is_types = CodeMap::row(to) == KIND && import.path.get(2).is_some_and(|module| module == TYPES);
        may.iter().find(|entry| {
            let entry = entry.as_str();
            entry == to
                || to.starts_with(&format!("{entry}/"))
                || entry.strip_suffix(OWN_FILES) == Some(to)
                || entry == CodeMap::row(to)
                || (entry == TYPES && is_types)
        })
    }
}

fn in_backticks(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// `src/http/{shop,account}/` is two.
fn alternatives(room: &str) -> Vec<String> {
    let Some((before, rest)) = room.split_once('{') else { return vec![room.to_owned()] };
    let (names, after) = rest.split_once('}').expect("a closed brace");
    names.split(',').map(|name| format!("{before}{name}{after}")).collect()
}

#[test]
fn every_file_lies_in_a_room_of_the_code_map() {
    let map = CodeMap::read();
    let outside: Vec<String> = sources("src")
        .into_iter()
        .map(|source| source.name)
        .filter(|name| !matches!(name.as_str(), "src/lib.rs" | "src/main.rs" | "src/actors/mod.rs"))
        .filter(|name| map.room(&module_of(name)).is_none())
        .collect();
    assert_eq!(outside, Vec::<String>::new());
}

#[test]
fn a_room_imports_what_the_code_map_allows_and_the_map_allows_no_more() {
    let map = CodeMap::read();
    let mut offences = Vec::new();
    let mut used = BTreeSet::new();
    for import in imports("src") {
        let (Some(from), Some(to)) = (map.room(&module_of(&import.file)), map.room(&import.path)) else { continue };
        if from == to {
            continue;
        }
        match map.allows(&from, &to, &import) {
            Some(entry) => {
                used.insert((CodeMap::row(&from).to_owned(), entry.clone()));
            }
            None => offences.push(format!(
                "{}:{}: {} ({from} may not import {to})",
                import.file,
                import.line,
                import.name()
            )),
        }
    }
    assert_eq!(offences, Vec::<String>::new());
    let listed = map.0.iter().flat_map(|(room, may)| may.iter().map(|entry| (room.clone(), entry.clone())));
    let unused: Vec<_> = listed.filter(|entry| !used.contains(entry)).collect();
    assert_eq!(unused, [], "the map allows what nobody imports");
}
