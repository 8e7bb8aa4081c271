//! Files that were damaged: the check says so, or they did not matter.

use std::fs;
use std::os::unix::fs::FileExt;

use souk::persistence::embedded::EngineKind::Sled;

use super::{embedded, shop, store};
use crate::folders;

const ROUNDS: u64 = 12;

#[tokio::test]
async fn a_damaged_file_is_found_or_does_not_matter() {
    let home = tempfile::tempdir().expect("a folder");
    let data = home.path().join("data");
    shop::open(home.path(), &embedded(Sled, &data)).await;
    let right = store(&["check", &embedded(Sled, &data), "--json"]).well().json();
    let (harmed, mut found) = (home.path().join("harmed"), 0);
    for round in 0..ROUNDS {
        folders::copy(&data, &harmed);
        let file = fs::File::options().read(true).write(true).open(harmed.join("db")).expect("sled's file");
        let bytes = fs::read(harmed.join("db")).expect("sled's file");
        let used = bytes.iter().rposition(|byte| *byte != 0).expect("something is in it") as u64;
        let at = used * round / ROUNDS;
        let flipped: Vec<u8> = bytes[at as usize..].iter().take(64).map(|byte| byte ^ 0x10).collect();
        file.write_all_at(&flipped, at).expect("it is written");
        let said = store(&["check", &embedded(Sled, &harmed), "--json"]);
        match said.code {
            // What sled had written over since.
            Some(0) => assert_eq!(said.json(), right, "round {round}"),
            Some(1) => {
                assert!(said.err.lines().last().is_some_and(|line| line.starts_with("souk: ")), "{said:?}");
                found += 1;
            }
            _ => panic!("round {round}: {said:?}"),
        }
    }
    println!("{found} of {ROUNDS} mattered");
    assert!(found > 0, "damage is found");
}
