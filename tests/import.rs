//! `souk import` as a merchant runs it, on the real binary: what a faulty file changes (nothing, or all but its faulty
//! rows), what it says, and its exit code. Of several nodes the next one is asked each time.

use std::cell::Cell;
use std::path::Path;
use std::process::Command;

use crate::nodes;
use crate::process::{ADMIN_EMAIL, PASSWORD, Process, SOUK, clean};
use crate::stores::TestStore;

struct Merchant {
    // in this order they go: the nodes before their store
    nodes: Vec<Process>,
    imports: Cell<usize>,
    _store: TestStore,
    home: tempfile::TempDir,
}

impl Merchant {
    fn new() -> Merchant {
        let home = tempfile::tempdir().expect("a folder");
        let store = TestStore::new(home.path());
        let nodes = nodes::serve(nodes::chosen(), &store, home.path(), |launch| {
            launch.administered().env("SOUK_LOG__FILTER", "error")
        });
        Merchant { nodes, imports: Cell::new(0), _store: store, home }
    }

    /// Imports this text. The exit code, and all that was said.
    fn imports(&self, text: impl AsRef<[u8]>, arguments: &[&str]) -> (i32, String) {
        let file = self.home.path().join("file");
        std::fs::write(&file, text).expect("written");
        let turn = self.imports.replace(self.imports.get() + 1);
        run(&self.nodes[turn % self.nodes.len()].url, &file, arguments)
    }
}

fn run(url: &str, file: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(SOUK);
    clean(&mut command);
    command.arg("import").arg(file).args(["--url", url, "--email", ADMIN_EMAIL]).args(arguments);
    let output = command.env("SOUK_PASSWORD", PASSWORD).output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().expect("a code"), String::from_utf8(text).expect("text"))
}

#[track_caller]
fn says((code, text): (i32, String), expected: i32, words: &[&str]) {
    assert_eq!(code, expected, "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in:\n{text}");
    }
}

#[test]
fn faulty_rows_and_files_are_told_and_not_guessed_at() {
    let shop = Merchant::new();
    // a quote that is never closed: nothing of the file is applied, although its first row is right
    let open = "sku,title,price,on_hand\nCUP,Cup,6.50,1\nMUG,\"Mug,7.00,2\nJUG,Jug,8.00,3\n";
    says(shop.imports(open, &[]), 1, &["line 3: the quote that opens here is not closed"]);
    // a price with a comma in it makes a row too long: that row is in error, the others are applied
    let long = "sku,title,price,on_hand\nCUP,Cup,6.50,1\nMUG,Mug,6,50,2\n";
    let errors = shop.home.path().join("errors.csv");
    let told = shop.imports(long, &["--errors", errors.to_str().expect("a path")]);
    says(told, 1, &["file:3: MUG: the row has 5 cells", "1 created, 0 updated, 0 unchanged, 1 in error; stock set: 1"]);
    assert!(std::fs::read_to_string(errors).expect("the errors").contains(",3,MUG,"));
    // with the way it is written told, it is right
    let foreign = "sku;title;price;on_hand\nCUP;Cup;6,50;1\nMUG;Mug;6,50;2\n";
    let told = shop.imports(foreign, &["--delimiter", ";", "--decimal-comma"]);
    says(told, 0, &["1 created, 0 updated, 1 unchanged, 0 in error; stock set: 1"]);
    says(shop.imports(foreign, &["--delimiter", "ab"]), 2, &["expected one of the characters that separate"]);
    // a line that is no UTF-8, behind a byte order mark
    let json = b"\xef\xbb\xbf{\"sku\":\"CUP\",\"title\":\"Cup\",\"price\":\"6.5\"}\n{\"title\":\"Caf\xe9\"}\n";
    says(shop.imports(json, &[]), 1, &["file:2: product: not UTF-8", "1 unchanged, 1 in error"]);
}

#[test]
fn a_category_that_is_refused_is_the_error_of_the_products_that_want_it() {
    let shop = Merchant::new();
    let long = "x".repeat(201);
    let text = format!(
        "sku,title,price,category\nCUP,Cup,1,Home > Cups\nMUG,Mug,1,{long}\nJUG,Jug,1,{long} > Jugs\nPOT,Pot,1,Home\n"
    );
    let told = shop.imports(text, &[]);
    says(told, 1, &["file:3: MUG: category", "file:4: JUG: category", "2 created", "2 in error", "created: 2"]);
}

#[test]
fn what_a_file_does_not_say_stays_and_a_second_run_judges_anew() {
    let shop = Merchant::new();
    let draft = "sku,title,price,currency,status,slug,option:size\nTEE,Tee,700,JPY,draft,tee,M\n";
    says(shop.imports(draft, &[]), 0, &["1 created"]);
    says(shop.imports("sku,title,price\nTEE,Tee,700\n", &[]), 0, &["0 updated, 1 unchanged"]);
    says(shop.imports("sku,title,price\nTEE,Shirt,700\n", &[]), 0, &["1 updated"]);
    says(shop.imports(draft, &[]), 0, &["1 updated"]);
    says(shop.imports(draft, &[]), 0, &["0 updated, 1 unchanged"]);
    // a refusal is not remembered: the slug is free a moment later
    let other = "sku,title,price,slug\nHAT,Hat,1,tee\n";
    says(shop.imports(other, &[]), 1, &["file:2: HAT: 409 slug_taken"]);
    says(shop.imports("sku,title,price,slug\nTEE,Tee,700,shirt\n", &[]), 0, &["1 updated"]);
    says(shop.imports(other, &[]), 0, &["1 created"]);
    // back and forth: what was once written is written again
    for title in ["Cap", "Hat", "Cap"] {
        says(shop.imports(format!("sku,title,price\nHAT,{title},1\n"), &[]), 0, &["1 updated"]);
    }
}

#[test]
fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let shop = Merchant::new();
    says(shop.imports("sku,title,price,on_hand\nCUP,Cup,1,5\nPOT,Pot,1,5\n", &[]), 0, &["2 created"]);
    let text =
        "sku,title,price,on_hand,category\nCUP,Big cup,2,7,Home\nPOT,Pot,1,,\nMUG,Mug,1,3,Home > Mugs\nJUG,,1,,\n";
    for _ in 0..2 {
        let told = shop.imports(text, &["--dry-run"]);
        says(
            told,
            1,
            &[
                "file:2: CUP: update category_ids, title, variants; stock of CUP: 5 to 7",
                "file:4: MUG: create; stock of MUG: 0 to 3",
                "file:5: JUG: title is empty",
                "dry run: nothing was changed",
                "1 created, 1 updated, 1 unchanged, 1 in error; stock set: 2; categories created: 2",
                "1 rows would not be imported",
            ],
        );
    }
    let done = "1 created, 1 updated, 1 unchanged, 1 in error; stock set: 2; categories created: 2";
    says(shop.imports(text, &[]), 1, &[done]);
}

#[test]
fn titles_are_compared_as_the_shop_spells_them() {
    let shop = Merchant::new();
    // letters and accents apart, and a mark that shows nothing, as some programs write them
    let file = "sku,title,price,category\nCUP,Cafe\u{301} cup\u{200b},6.50,De\u{301}cor\u{feff} > Cafe\u{301}\n";
    says(shop.imports(file, &[]), 0, &["1 created, 0 updated, 0 unchanged, 0 in error"]);
    let again = shop.imports(file, &[]);
    says(again, 0, &["0 created, 0 updated, 1 unchanged, 0 in error"]);
    let composed = "sku,title,price,category\nCUP,Caf\u{e9} cup,6.50,D\u{e9}cor > Caf\u{e9}\n";
    says(shop.imports(composed, &[]), 0, &["0 created, 0 updated, 1 unchanged, 0 in error"]);
}
