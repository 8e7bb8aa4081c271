//! A power cut: what a killed process had written and not made durable is taken back. `powercut.c`, preloaded, notes
//! what was there before each write; here it is undone. All of it, or, as real disks do, all but some sectors of some
//! writes, in no order. Names (files created, renamed, removed) go as a journaling file system has them: in order,
//! so a cut keeps the first few that were not synced and takes the rest.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const SHIM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/powercut.c");
/// What a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// What of the writes that were not made durable a cut leaves.
#[derive(Debug, Clone, Copy)]
pub enum Left {
    Nothing,
    /// Sectors by chance.
    Some {
        seed: u64,
    },
}

/// What a cut has taken.
#[derive(Debug, Default, Clone, Copy)]
pub struct Taken {
    pub writes: usize,
    pub bytes: u64,
    pub names: usize,
}

pub struct PowerCut {
    shim: PathBuf,
    journal: PathBuf,
    data: PathBuf,
}

impl PowerCut {
    /// Compiles the shim into `home`, for processes that keep their data in `data`, which need not exist.
    pub fn new(home: &Path, data: &Path) -> PowerCut {
        fs::create_dir_all(data).expect("the folder of the data");
        let shim = home.join("powercut.so");
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).args([SHIM, "-lpthread"]);
        assert!(compile.status().expect("a C compiler").success(), "the shim compiles");
        let data = fs::canonicalize(data).expect("the folder of the data");
        PowerCut { shim, journal: home.join("powercut.journal"), data }
    }

    /// The environment of a process that the shim is to watch.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let [shim, journal, data] = [&self.shim, &self.journal, &self.data].map(|path| path.display().to_string());
        vec![("LD_PRELOAD", shim), ("POWERCUT_JOURNAL", journal), ("POWERCUT_DATA", data)]
    }

    /// Takes back what the process, which is dead, had not made durable.
    pub fn cut(&self, left: Left) -> Taken {
        // A process that was killed early has none.
        let entries = read_entries(&fs::read(&self.journal).unwrap_or_default());
        let mut synced: BTreeMap<u64, u64> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.kind == SYNC) {
            let upto = synced.entry(entry.inode).or_default();
            *upto = entry.offset.max(*upto);
        }
        let is_durable = |(number, entry): &(usize, &Entry)| {
            entry.kind == SYNC || synced.get(&entry.inode).is_some_and(|upto| (*number as u64) < *upto)
        };
        let lost: Vec<&Entry> = entries.iter().enumerate().filter(|e| !is_durable(e)).map(|(_, entry)| entry).collect();
        let mut undo = Undo::new(left, lost.iter().filter(|entry| entry.is_name()).count());
        let files = self.files();
        for entry in lost.iter().rev() {
            match files.get(&entry.inode) {
                _ if entry.is_name() => undo.name(entry, &self.stash()),
                Some(path) => undo.change(entry, path),
                None => {} // it is gone for good
            }
        }
        undo.lengths();
        let _ = fs::remove_file(&self.journal);
        let _ = fs::remove_dir_all(self.stash());
        undo.taken
    }

    fn stash(&self) -> PathBuf {
        PathBuf::from(format!("{}.kept", self.journal.display()))
    }

    fn files(&self) -> BTreeMap<u64, PathBuf> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.data.clone(), self.stash()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let metadata = entry.metadata().expect("its metadata");
                if metadata.is_dir() {
                    folders.push(entry.path())
                } else {
                    drop(files.insert(metadata.ino(), entry.path()))
                }
            }
        }
        files
    }
}

const WRITE: u32 = 1;
const TRUNCATE: u32 = 2;
const CREATE: u32 = 3;
const REMOVE: u32 = 4;
const RENAME: u32 = 5;
const SYNC: u32 = 6;

/// One entry of the shim's journal: see `struct entry` there.
struct Entry {
    kind: u32,
    inode: u64,
    offset: u64,
    length: u64,
    size: u64,
    name: PathBuf,
    other: PathBuf,
    old: Vec<u8>,
}

impl Entry {
    fn is_name(&self) -> bool {
        [CREATE, REMOVE, RENAME].contains(&self.kind)
    }
}

fn read_entries(mut bytes: &[u8]) -> Vec<Entry> {
    const HEAD: usize = 48;
    let mut entries = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() {
        let small = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let large = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let lens = [small(4), small(40), small(44)].map(|len| len as usize);
        // The kill may have cut the last entry off: its change was not made yet.
        let Some((parts, rest)) = rest.split_at_checked(lens.iter().sum()) else { break };
        let path = |bytes: &[u8]| PathBuf::from(String::from_utf8(bytes.to_vec()).expect("UTF-8"));
        entries.push(Entry {
            kind: small(0),
            inode: large(8),
            offset: large(16),
            length: large(24),
            size: large(32),
            name: path(&parts[..lens[0]]),
            other: path(&parts[lens[0]..lens[0] + lens[1]]),
            old: parts[lens[0] + lens[1]..].to_vec(),
        });
        bytes = rest;
    }
    entries
}

struct Undo {
    chance: Option<StdRng>,
    /// How probable it is that a sector survives.
    share: f64,
    /// How many names survive.
    names_left: usize,
    names_seen: usize,
    names: usize,
    /// Of each file that had grown: its length when it was last durable, and what was written behind it survives.
    grown: BTreeMap<PathBuf, u64>,
    taken: Taken,
}

impl Undo {
    fn new(left: Left, names: usize) -> Undo {
        let mut chance = match left {
            Left::Nothing => None,
            Left::Some { seed } => Some(StdRng::seed_from_u64(seed)),
        };
        let share = chance.as_mut().map_or(0.0, |chance| [0.05, 0.5, 0.95][chance.gen_range(0..3)]);
        let names_left = chance.as_mut().map_or(0, |chance| chance.gen_range(0..=names));
        let (grown, taken) = Default::default();
        Undo { chance, share, names_left, names_seen: 0, names, grown, taken }
    }

    /// Entries come from the last to the first.
    fn name(&mut self, entry: &Entry, stash: &Path) {
        self.names_seen += 1;
        if self.names - self.names_seen < self.names_left {
            return;
        }
        self.taken.names += 1;
        let kept = (entry.length > 0).then(|| stash.join(entry.length.to_string()));
        // The kill may have come before the change.
        let result = match (entry.kind, kept) {
            (CREATE, _) => fs::remove_file(&entry.name),
            (REMOVE, Some(kept)) => fs::rename(kept, &entry.name),
            (RENAME, kept) => fs::rename(&entry.other, &entry.name).and_then(|()| match kept {
                Some(kept) => fs::rename(kept, &entry.other),
                None => Ok(()),
            }),
            _ => Ok(()),
        };
        let _ = result;
    }

    fn change(&mut self, entry: &Entry, path: &Path) {
        let file = File::options().write(true).open(path).expect("a file of the data");
        let length = file.metadata().expect("its length").len();
        if entry.kind == TRUNCATE {
            file.set_len(length.max(entry.size)).expect("as long as it was");
            file.write_all_at(&entry.old, entry.offset).expect("what was cut off");
            return;
        }
        assert_eq!(entry.kind, WRITE);
        let end = (entry.offset + entry.length).min(length);
        let mut from = entry.offset;
        let mut all = true;
        while from < end {
            let to = end.min((from / SECTOR + 1) * SECTOR);
            let share = self.share;
            if self.chance.as_mut().is_some_and(|chance| chance.gen_bool(share)) {
                all = false;
            } else {
                let mut before: Vec<u8> = entry.old.iter().copied().skip((from - entry.offset) as usize).collect();
                before.resize((to - from) as usize, 0);
                file.write_all_at(&before, from).expect("what was there");
                self.taken.bytes += to - from;
            }
            from = to;
        }
        self.taken.writes += usize::from(all);
        if entry.offset + entry.length > entry.size {
            let durable = self.grown.entry(path.to_owned()).or_insert(entry.size);
            *durable = entry.size.min(*durable);
        }
    }

    /// A file that had grown is as long as it was, or, by chance, anything up to what it had become.
    fn lengths(&mut self) {
        for (path, durable) in std::mem::take(&mut self.grown) {
            let Ok(file) = File::options().write(true).open(path) else { continue };
            let length = file.metadata().expect("its length").len();
            let durable = durable.min(length);
            let left = match &mut self.chance {
                None => durable,
                Some(chance) => [durable, length, chance.gen_range(durable..=length)][chance.gen_range(0..3)],
            };
            file.set_len(left).expect("a length");
        }
    }
}
