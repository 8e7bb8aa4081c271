//! The numbers and the bytes that commands, replies, rejections, events and states have, kept in `tests/golden`:
//! other nodes and old stores hold these bytes.
//!
//! - `numbers.txt` lists every code and version of every kind, each with the variant that is written under it now and
//!   with the wire version since which it is written. None may be used twice and none may go. What is written for a reader of
//!   a wire version has no number that is newer than that.
//! - `KIND.txt` has the bytes of one value of each, and how that value reads. The bytes of the present version are written
//!   the same and read the same; those of an old version are read as the value beside them.
//!
//! What is new is added with `SOUK_GOLDEN=add cargo test golden`: rows that are there stay as they are. A field that only
//! got another name is told with `SOUK_GOLDEN=reword`: bytes stay as they are, and the text beside them is written anew.
//! Where bytes are refused, do neither: the variant needs its next version, and the one before a reader under `old`. A
//! state, which has no old readers, needs its `STATE_VERSION` raised; then its row is made anew with `add`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};
use std::fs;
use std::path::PathBuf;

use data_encoding::HEXLOWER;

use super::source::Source;
use crate::actors::entity::{CodecError, Entity, Kind, Number, Stored, codec};
use crate::actors::kinds::{self, Visitor};
use crate::actors::runtime::wire::WireVersion;

/// A code, its version, and bytes.
type Written = (u8, u16, Vec<u8>);
/// How a value reads, and the bytes that it is written as now.
type Read = Result<(String, Written), CodecError>;

/// One enum with numbers of its own, without its type.
pub struct Face {
    pub name: &'static str,
    pub numbers: Vec<Number>,
    /// Writes again what it reads, and says what it was.
    pub read: fn(u8, u16, &[u8]) -> Read,
    /// Invents the variant of a code.
    pub make: fn(u8, &mut Source) -> Written,
    /// The same, for a reader of nothing newer than a wire version. `None`: he is not told it.
    pub make_for: fn(u8, &mut Source, WireVersion) -> Option<Written>,
}

impl Face {
    pub fn of<T: Stored + Debug>(name: &'static str) -> Face {
        Face {
            name,
            numbers: T::NUMBERS.to_vec(),
            read: |code, version, bytes| {
                let value = T::from_stored(code, version, bytes)?;
                Ok((format!("{value:?}"), value.to_stored()))
            },
            make: |code, source| source.variant::<T>(code).to_stored(),
            make_for: |code, source, wire| source.variant::<T>(code).to_stored_for(wire).ok(),
        }
    }

    /// A state has one version, and no code.
    fn of_state<S: Entity>() -> Face {
        Face {
            name: "state",
            numbers: vec![Number {
                code: 0,
                version: S::STATE_VERSION,
                variant: Some("State"),
                since: WireVersion::FIRST,
            }],
            read: |code, version, bytes| {
                if (code, version) != (0, S::STATE_VERSION) {
                    return Err(CodecError::Unknown { code, version });
                }
                let state: S = codec::decode(bytes)?;
                Ok((format!("{state:?}"), (0, version, codec::encode(&state))))
            },
            make: |_, source| (0, S::STATE_VERSION, codec::encode(&source.value::<S>())),
            make_for: |_, source, _| Some((0, S::STATE_VERSION, codec::encode(&source.value::<S>()))),
        }
    }
}

/// All that has bytes, by the file that keeps it: each kind, and what the runtime says itself.
pub fn everything() -> Vec<(&'static str, Vec<Face>)> {
    struct All(Vec<(&'static str, Vec<Face>)>);
    impl Visitor for All {
        fn visit<K: Kind>(&mut self) {
            let faces = vec![
                Face::of::<K::Command>("command"),
                Face::of::<K::Reply>("reply"),
                Face::of::<K::Rejection>("rejection"),
                Face::of::<<K::State as Entity>::Event>("event"),
                Face::of_state::<K::State>(),
            ];
            self.0.push((K::NAME, faces));
        }
    }
    let mut all = All(Vec::new());
    kinds::visit(&mut all);
    let order = all.0.iter_mut().find(|(name, _)| *name == "order").map(|(_, faces)| faces);
    order.expect("the order is a kind").push(Face::of::<crate::actors::order::types::Step>("step"));
    all.0.push(("runtime", crate::actors::runtime::wire::faces()));
    all.0
}

#[derive(PartialEq)]
enum Mode {
    Check,
    Add,
    Reword,
}

fn mode() -> Mode {
    match std::env::var("SOUK_GOLDEN").as_deref() {
        Ok("add") => Mode::Add,
        Ok("reword") => Mode::Reword,
        Ok(other) => panic!("SOUK_GOLDEN is add or reword, not {other:?}"),
        Err(_) => Mode::Check,
    }
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"))
}

fn rows(name: &str) -> Vec<String> {
    fs::read_to_string(file(name)).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn write(name: &str, rows: impl IntoIterator<Item = String>) {
    let text = rows.into_iter().map(|row| row + "\n").collect::<String>();
    fs::write(file(name), text).expect("a file of golden bytes");
}

/// A row: face, code, version, and what stands behind them.
fn parsed(row: &str) -> (&str, u8, u16, &str) {
    let wrong = || panic!("no row of golden bytes: {row}");
    let (face, rest) = row.split_once(' ').unwrap_or_else(wrong);
    let (number, rest) = rest.split_once(' ').unwrap_or_else(wrong);
    let (code, version) = number.split_once('.').unwrap_or_else(wrong);
    match (code.parse(), version.parse()) {
        (Ok(code), Ok(version)) => (face, code, version, rest),
        _ => panic!("no row of golden bytes: {row}"),
    }
}

#[test]
fn golden_numbers_are_used_once_and_for_ever() {
    let mut now = BTreeMap::new();
    for (name, faces) in everything() {
        for face in faces.iter().filter(|face| face.name != "state") {
            let present = face.numbers.iter().filter(|number| number.variant.is_some());
            let codes: BTreeSet<u8> = present.clone().map(|number| number.code).collect();
            assert_eq!(codes.len(), present.count(), "{name} {}: two variants have one code", face.name);
            for Number { code, version, variant, since: _ } in &face.numbers {
                let newest = face.numbers.iter().filter(|other| other.code == *code).map(|other| other.version).max();
                let place = format!("{name} {} {code}.{version}", face.name);
                assert!(variant.is_none() || newest == Some(*version), "{place}: an old version is newer");
                let before = now.insert((name, face.name, *code, *version), variant.unwrap_or("old"));
                assert!(before.is_none(), "{place}: used twice");
            }
        }
    }
    let mode = mode();
    let mut known = BTreeMap::new();
    for row in rows("numbers") {
        let (name, rest) = row.split_once(' ').expect("a name");
        let (face, code, version, rest) = parsed(rest);
        let (variant, since) = rest.split_once(" since=").expect("a variant and a wire version");
        let since: u16 = since.parse().expect("a wire version");
        assert!(since <= WireVersion::OURS.0, "{row}: newer than this program");
        let number = now.keys().find(|key| **key == (name, face, code, version));
        let number = number.unwrap_or_else(|| panic!("{row}: numbers that were given out are read for ever"));
        known.insert(*number, (variant.to_owned(), since));
    }
    let mut rows = Vec::new();
    for (key, variant) in now {
        let (name, face, code, version) = key;
        let place = format!("{name} {face} {code}.{version}");
        let since = known.get(&key).map_or(WireVersion::OURS.0, |(_, since)| *since);
        match known.get(&key) {
            None => assert!(mode == Mode::Add, "{place} {variant} is new: SOUK_GOLDEN=add"),
            // Its successor is new: it is read and not written any more.
            Some((was, _)) if variant == "old" => {
                assert!(was == "old" || mode == Mode::Add, "{place} is {variant} now")
            }
            Some((was, _)) => assert!(was == variant || mode == Mode::Reword, "{place} was {was} and is {variant} now"),
        }
        rows.push(format!("{place} {variant} since={since}"));
    }
    if mode != Mode::Check {
        write("numbers", rows);
    }
}

#[test]
fn golden_bytes_stay_as_they_are() {
    let mode = mode();
    for (name, faces) in everything() {
        let faces: Vec<Face> = faces.into_iter().filter(|face| face.name != "event").collect();
        let mut kept = Vec::new();
        let mut seen = BTreeSet::new();
        for row in rows(name) {
            let (face_name, code, version, rest) = parsed(&row);
            let face = faces.iter().find(|face| face.name == face_name).unwrap_or_else(|| panic!("{name}: {row}"));
            let number = face.numbers.iter().find(|number| (number.code, number.version) == (code, version));
            if number.is_none() && face_name == "state" && mode == Mode::Add {
                continue; // its successor is added below
            }
            let number = number.unwrap_or_else(|| panic!("{name} {face_name} {code}.{version} is not read any more"));
            let (hex, text) = rest.split_once(' ').unwrap_or((rest, ""));
            let bytes = HEXLOWER.decode(hex.trim_start_matches('-').as_bytes()).expect("hexadecimal");
            let place = format!("{name} {face_name} {code}.{version}");
            let (read, written) = (face.read)(code, version, &bytes).unwrap_or_else(|error| panic!("{place}: {error}"));
            if number.variant.is_some() {
                assert_eq!(HEXLOWER.encode(&written.2), HEXLOWER.encode(&bytes), "{place} is written otherwise now");
            }
            assert!(mode == Mode::Reword || read == text, "{place} reads otherwise now:\n{read}\n{text}");
            seen.insert((face.name, code, version));
            kept.push(shown(face_name, code, version, &bytes, &read));
        }
        for face in &faces {
            for number in &face.numbers {
                if seen.contains(&(face.name, number.code, number.version)) {
                    continue;
                }
                let place = format!("{name} {} {}.{}", face.name, number.code, number.version);
                assert!(number.variant.is_some(), "{place}: the bytes of an old version have gone from the file");
                assert!(mode == Mode::Add, "{place} is new: SOUK_GOLDEN=add");
                let (code, version, bytes) = (face.make)(number.code, &mut Source::full(u64::from(number.code)));
                let (read, _) = (face.read)(code, version, &bytes).expect("what was written reads");
                kept.push(shown(face.name, code, version, &bytes, &read));
            }
        }
        if mode != Mode::Check {
            let place = |row: &String| {
                let (name, code, version, _) = parsed(row);
                (faces.iter().position(|face| face.name == name), code, version)
            };
            kept.sort_by_key(place);
            write(name, kept);
        }
    }
}

fn shown(face: &str, code: u8, version: u16, bytes: &[u8], read: &str) -> String {
    let mut row = format!("{face} {code}.{version} ");
    let hex = HEXLOWER.encode(bytes);
    let _ = write!(row, "{} {read}", if hex.is_empty() { "-" } else { &hex });
    assert!(!row.contains('\n'), "a value is shown on one line");
    row
}

/// Whatever is told to a reader of an earlier wire version, he knows its number.
#[test]
fn golden_numbers_are_written_to_those_who_know_them() {
    if mode() == Mode::Add {
        return; // the list is being written
    }
    let mut known = BTreeMap::new();
    for row in rows("numbers") {
        let (place, rest) = row.rsplit_once(' ').expect("a wire version");
        let (number, _) = place.rsplit_once(' ').expect("a variant");
        let since: u16 = rest.trim_start_matches("since=").parse().expect("a wire version");
        known.insert(number.to_owned(), since);
    }
    for (name, faces) in everything() {
        for face in faces.iter().filter(|face| face.name != "state") {
            for number in face.numbers.iter().filter(|number| number.variant.is_some()) {
                let place = |version| format!("{name} {} {}.{version}", face.name, number.code);
                let since = known.get(&place(number.version)).copied();
                assert_eq!(since, Some(number.since.0), "{}: its `since` and the list differ", place(number.version));
                for wire in WireVersion::FIRST.0..=WireVersion::OURS.0 {
                    let written = (face.make_for)(number.code, &mut Source::full(1), WireVersion(wire));
                    let Some((_, version, bytes)) = written else { continue };
                    let since = known.get(&place(version)).copied();
                    assert!(since.is_some_and(|since| since <= wire), "{} for wire version {wire}", place(version));
                    let read = (face.read)(number.code, version, &bytes);
                    read.unwrap_or_else(|error| panic!("{} for wire version {wire}: {error}", place(version)));
                }
            }
        }
    }
}

/// Values of every variant of everything, made up: what is written reads back, and is written the same again.
#[test]
fn whatever_has_bytes_survives_them() {
    const VALUES: u64 = 60;
    for (name, faces) in everything() {
        for face in &faces {
            for number in face.numbers.iter().filter(|number| number.variant.is_some()) {
                for seed in 0..VALUES {
                    let written = (face.make)(number.code, &mut Source::new(seed << 8 | u64::from(number.code)));
                    let (_, again) = (face.read)(written.0, written.1, &written.2)
                        .unwrap_or_else(|error| panic!("{name} {} {}: {error}", face.name, number.code));
                    assert_eq!(again, written, "{name} {} {} seed {seed}", face.name, number.code);
                    assert_eq!((written.0, written.1), (number.code, number.version));
                }
            }
        }
    }
}
