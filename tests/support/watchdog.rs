//! Ends a test binary in which something stands still, and says what and where: else the whole run would wait for it.
//!
//! What tests share (clients, processes, stores) calls [`watch`], which notes the test on whose thread it is called.
//! The note goes when that thread ends.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

/// Longer than any test takes on a slow machine. Minutes; `SOUK_TEST_MINUTES_MAX` sets another limit.
const MINUTES_MAX: u64 = 30;
const LOOKS_EVERY: Duration = Duration::from_secs(5);

/// What runs, by the number of its note, and since when.
type Running = BTreeMap<u64, (String, Instant)>;

static RUNNING: Mutex<Running> = Mutex::new(BTreeMap::new());

fn running() -> MutexGuard<'static, Running> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something that must end in time, until this is dropped.
pub struct Noted(u64);

impl Drop for Noted {
    fn drop(&mut self) {
        running().remove(&self.0);
    }
}

thread_local! {
    static TEST: OnceCell<Noted> = const { OnceCell::new() };
}

/// From now on the test that calls this must end in time.
pub fn watch() {
    // A test's thread has its name. (With one thread for all tests, none has.)
    let thread = std::thread::current();
    let Some(name) = thread.name().filter(|name| *name != "main" && !name.starts_with("tokio")) else { return };
    // A thread that is about to end needs no note.
    let _ = TEST.try_with(|noted| noted.get_or_init(|| note(name.to_owned())).0);
}

pub fn note(name: String) -> Noted {
    static DOG: Once = Once::new();
    DOG.call_once(|| {
        let set = std::env::var("SOUK_TEST_MINUTES_MAX").ok();
        let minutes = set.map_or(MINUTES_MAX, |set| set.parse().expect("a number of minutes"));
        std::thread::spawn(move || keep_watch(Duration::from_secs(60 * minutes)));
    });
    let mut running = running();
    let number = running.last_key_value().map_or(0, |(last, _)| last + 1);
    running.insert(number, (name, Instant::now()));
    Noted(number)
}

fn keep_watch(limit: Duration) {
    loop {
        std::thread::sleep(LOOKS_EVERY);
        let running = running().clone();
        if running.values().any(|(_, since)| since.elapsed() > limit) {
            let _ = std::io::stderr().write_all(report(&running).as_bytes()); // it ends, whoever hears why
            std::process::abort();
        }
    }
}

/// What runs and for how long; the threads of this process with what each waits in, and their children.
fn report(running: &Running) -> String {
    let mut text = "\nwatchdog: a test stands still\n".to_owned();
    for (name, since) in running.values() {
        text += &format!("  {name}: {} s\n", since.elapsed().as_secs());
    }
    for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default().trim().to_owned();
        text += &format!("  thread {} in {} (system call {})\n", read("comm"), read("wchan"), read("syscall"));
        for child in read("children").split_whitespace() {
            let command = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default().replace('\0', " ");
            text += &format!("    child {child}: {command}\n");
        }
    }
    text
}

#[test]
fn a_watched_test_is_noted_until_its_thread_ends() {
    const NAME: &str = "watchdog::some_test";
    let noted = || running().values().any(|(name, _)| name == NAME);
    let thread = std::thread::Builder::new().name(NAME.to_owned()).spawn(move || {
        watch();
        watch();
        assert_eq!(running().values().filter(|(name, _)| name == NAME).count(), 1);
        let report = report(&running());
        assert!(report.contains("watchdog::some_test: ") && report.contains("  thread "), "{report}");
    });
    thread.expect("a thread").join().expect("it is noted");
    assert!(!noted(), "it has ended");
}
