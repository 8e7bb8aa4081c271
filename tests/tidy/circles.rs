//! Files that import each other in a circle: whoever reads one has to read all.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{imports, module_of};
use super::sources::sources;

/// Which file imports which.
type Graph = BTreeMap<String, BTreeSet<String>>;

fn graph() -> Graph {
    let files: BTreeMap<Vec<String>, String> =
        sources("src").into_iter().map(|source| (module_of(&source.name), source.name)).collect();
    let mut graph = Graph::new();
    for import in imports("src") {
        // The longest part of the path that is a file; what follows is inside it. The crate's own root is nobody's import.
        let lengths = (1..=import.path.len()).rev();
        let Some(target) = lengths.map(|length| &import.path[..length]).find_map(|path| files.get(path)) else {
            continue;
        };
        if *target != import.file {
            graph.entry(import.file).or_default().insert(target.clone());
        }
    }
    graph
}

fn reachable(graph: &Graph, from: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut next = vec![from.to_owned()];
    while let Some(file) = next.pop() {
        for target in graph.get(&file).into_iter().flatten() {
            if found.insert(target.clone()) {
                next.push(target.clone());
            }
        }
    }
    found
}

/// Groups of files each of which reaches all others of its group.
fn circles(graph: &Graph) -> BTreeSet<BTreeSet<String>> {
    let reach: BTreeMap<&String, BTreeSet<String>> = graph.keys().map(|file| (file, reachable(graph, file))).collect();
    let in_circle = reach.iter().filter(|(file, targets)| targets.contains(**file));
    let back = |file: &String, target: &String| reach.get(target).is_some_and(|targets| targets.contains(file));
    in_circle.map(|(file, targets)| targets.iter().filter(|target| back(file, target)).cloned().collect()).collect()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let short = |file: String| file.trim_start_matches("src/").trim_end_matches(".rs").to_owned();
    let found: Vec<Vec<String>> =
        circles(&graph()).into_iter().map(|circle| circle.into_iter().map(short).collect()).collect();
    assert_eq!(found, Vec::<Vec<String>>::new());
}

#[test]
fn a_circle_is_found() {
    let arrow = |from: &str, to: &str| (from.to_owned(), BTreeSet::from([to.to_owned()]));
    let graph = Graph::from([arrow("a", "b"), arrow("b", "c"), arrow("c", "b")]);
    assert_eq!(circles(&graph), BTreeSet::from([BTreeSet::from(["b".to_owned(), "c".to_owned()])]));
}
