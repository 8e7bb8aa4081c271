//! Fuzzing by mutation, small enough for every test run: what decoders make of almost right bytes.
//!
//! The tests stand beside the decoders, many of which are private; this file is part of the library's own test
//! build. Each decoder has a corpus in `tests/fuzz/corpus/NAME`: inputs are mutated from there and from the
//! seeds of the test. A panic, a refusal to read back what was just accepted, or memory out of all proportion
//! to the input is a failure: the input is written into the corpus, where it is tried first from then on.
//!
//! - `SOUK_FUZZ_ROUNDS=1000000 cargo test fuzz` takes its time; `SOUK_FUZZ_SEED` makes other mutations.
//! - `SOUK_FUZZ_KEEP=1` writes the seeds of the tests into the corpus.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

const ROUNDS: u64 = 1_500;
/// What any decoder may take at once, and how much more for each byte that it reads. (A list may be given a
/// mebibyte in advance: so careful is serde.)
const TAKEN_MAX: usize = 2 << 20;
const TAKEN_PER_BYTE: usize = 64;
/// Longer inputs only make it slow.
const INPUT_MAX: usize = 64 << 10;

/// What became of an input.
pub enum Verdict {
    Refused,
    Accepted,
    /// It was accepted, and something does not hold.
    Wrong(String),
}

impl Verdict {
    /// Accepted, if `holds`.
    pub fn accepted(holds: bool, what: &str) -> Verdict {
        if holds { Verdict::Accepted } else { Verdict::Wrong(what.to_owned()) }
    }
}

/// Counts what a thread takes at once.
struct Counting;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

fn note(bytes: usize) {
    // During a thread's end there is nothing to count any more.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(bytes)));
}

#[allow(unsafe_code, reason = "an allocator is unsafe to write; this one hands everything on")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        unsafe { System.realloc(memory, layout, size) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Holds a decoder to its word: `judge` decodes the bytes, and what it accepts it encodes and decodes again.
pub fn decoder(name: &str, seeds: impl IntoIterator<Item = Vec<u8>>, judge: impl Fn(&[u8]) -> Verdict) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds: Vec<Vec<u8>> = seeds.into_iter().collect();
    if number("SOUK_FUZZ_KEEP").is_some() {
        fs::create_dir_all(&folder).expect("a folder of the corpus");
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed).expect("a file of the corpus");
        }
    }
    let mut corpus = kept(&folder);
    corpus.extend(seeds);
    let mut accepted = 0;
    for input in &corpus {
        accepted += u64::from(tried(&folder, input, &judge));
    }
    assert!(accepted > 0, "{name}: not one input of the corpus is accepted, so nothing was tested");
    let mut chance = Chance(number("SOUK_FUZZ_SEED").unwrap_or(1));
    for _ in 0..number("SOUK_FUZZ_ROUNDS").unwrap_or(ROUNDS) {
        let input = chance.mutated(&corpus);
        if tried(&folder, &input, &judge) && input.len() < 4_096 && corpus.len() < 1_000 {
            corpus.push(input); // what is accepted though it was changed leads further
        }
    }
}

fn kept(folder: &PathBuf) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry of the corpus").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a file of the corpus")).collect()
}

/// Whether the input was accepted.
fn tried(folder: &PathBuf, input: &[u8], judge: &impl Fn(&[u8]) -> Verdict) -> bool {
    LARGEST.with(|largest| largest.set(0));
    let verdict = catch_unwind(AssertUnwindSafe(|| judge(input)));
    let taken = LARGEST.with(Cell::get);
    let why = match verdict {
        Ok(_) if taken > TAKEN_MAX + TAKEN_PER_BYTE * input.len() => {
            format!("{taken} bytes were taken at once for {}", input.len())
        }
        Ok(Verdict::Refused) => return false,
        Ok(Verdict::Accepted) => return true,
        Ok(Verdict::Wrong(what)) => what,
        Err(_) => "it panicked".to_owned(),
    };
    let hash = input
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let file = folder.join(format!("failed-{hash:016x}"));
    fs::create_dir_all(folder).expect("a folder of the corpus");
    fs::write(&file, input).expect("a file of the corpus");
    panic!("{why}; the input is kept in {}: {}", file.display(), input.escape_ascii());
}

/// SplitMix64: the same mutations for the same seed, everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    fn mutated(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = self.pick(corpus).clone();
        for _ in 0..=self.below(4) {
            self.mutate(&mut input, corpus);
        }
        input.truncate(INPUT_MAX);
        input
    }

    fn range(&mut self, len: usize) -> std::ops::Range<usize> {
        let start = self.below(len + 1);
        start..(start + self.below(17)).min(len)
    }

    fn mutate(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        const BYTES: &[u8] = b"\x00\x01\x7f\x80\xff\"\\{}[]:,.-+&=%;/?# \n\r\t0a";
        const TEXTS: [&[u8]; 14] = [
            b"99999999999999999999",
            b"-9223372036854775808",
            b"9223372036854775807",
            b"-1",
            b"1e400",
            b"null",
            b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
            b"\\ud800",
            b"\\u0000",
            b"%00",
            b"\xed\xa0\x80",
            b"\xf0\x9f\x9b\x92",
            b"\xe2\x80\xae",
            b"\xc2\xa0",
        ];
        const LENGTHS: [&[u8]; 9] = [
            b"\xff",
            b"\xff\xff",
            b"\xff\xff\xff\xff",
            b"\xff\xff\xff\x7f",
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xff\xff\xff\xff\xff\xff\xff\x7f",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\xfb\xff\xff",
            b"\xfd\xff\xff\xff\xff\xff\xff\xff\x0f",
        ];
        let at = self.below(input.len() + 1);
        match self.below(10) {
            0 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (at % 8)),
            1 => {
                let byte = *self.pick(BYTES);
                input.iter_mut().skip(at).take(1).for_each(|place| *place = byte);
            }
            2 => input.truncate(at),
            3 => drop(input.drain(self.range(input.len()))),
            4 => {
                let copy = input[self.range(input.len())].to_vec();
                input.splice(at..at, copy);
            }
            5 => {
                let text = *self.pick(&TEXTS);
                input.splice(at..at, text.iter().copied());
            }
            6 => self.number(input),
            7 => {
                let length = *self.pick(&LENGTHS);
                let end = (at + length.len()).min(input.len());
                input.splice(at..end, length.iter().copied());
            }
            8 => {
                let other = self.pick(corpus);
                let from = other[self.below(other.len() + 1)..].to_vec();
                input.truncate(at);
                input.extend(from);
            }
            _ => {
                let byte = self.next() as u8;
                input.insert(at, byte);
            }
        }
    }

    /// Puts another number in the place of one that is written out.
    fn number(&mut self, input: &mut Vec<u8>) {
        const NUMBERS: [&str; 8] =
            ["0", "-1", "99999999999999999999", "9223372036854775807", "4294967296", "1.5", "1e9", "-0"];
        let from = self.below(input.len());
        let Some(start) = (from..input.len()).find(|at| input[*at].is_ascii_digit()) else { return };
        let digits = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = *self.pick(&NUMBERS);
        input.splice(start..start + digits, number.bytes());
    }
}

#[test]
fn what_goes_wrong_is_found() {
    let fails = |judge: fn(&[u8]) -> Verdict| {
        let name = "deliberately-wrong";
        let found = catch_unwind(|| decoder(name, [b"abc 123".to_vec()], judge)).is_err();
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
        let kept = fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
        let _ = fs::remove_dir_all(folder); // there is none where nothing was found
        found && kept
    };
    assert!(fails(|bytes| if bytes.contains(&0xff) { panic!("on purpose") } else { Verdict::Accepted }));
    assert!(fails(|bytes| Verdict::accepted(!bytes.starts_with(b"b"), "no b")));
    assert!(fails(|bytes| {
        drop(std::hint::black_box(vec![0u8; bytes.len() << 20]));
        Verdict::Accepted
    }));
    assert!(!fails(|_| Verdict::Accepted));
}
