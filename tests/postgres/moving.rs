//! Slots that move between real servers: under writers, with movers that are killed at every step, two of them at once, and
//! souk itself with the real command.

use std::ops::Range;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use souk::persistence::conformance::{SCRIBE, SLOTS, Scribe, client_receipt, key};
use souk::persistence::several::moving::{MoveWatch, Moved, Mover, Step};
use souk::persistence::several::{self, SeveralOptions};
use souk::persistence::{Batch, Record, Refusal, Slot, Store, StoreError};
use tokio_postgres::Client;

use super::postgres::{Server, shared_at};
use super::process::{SOUK, clean};
use super::several::{Cart, SHOP_SLOTS, launch, open};
use super::{impatient, name, settings};

/// The slots that are moved: those that are on the first of the two servers.
const MOVED: Slot = 2;
/// The one that movers are killed at.
const LAST: Slot = 1;
const PATIENT: Duration = Duration::from_secs(60);
/// A mover that is impatient has given up by then, also on a slow machine.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(30);

/// Two databases on two servers, and clients that look into them.
struct Pair {
    urls: Vec<String>,
    clients: Vec<Client>,
}

impl Pair {
    async fn new() -> Pair {
        let (mut urls, mut clients) = (Vec::new(), Vec::new());
        for at in 0..2 {
            let database = name();
            urls.push(shared_at(at).database(&database).await);
            clients.push(shared_at(at).client(&database).await);
        }
        Pair { urls, clients }
    }

    /// The second is on this server.
    async fn to(target: &Server) -> Pair {
        let first = name();
        let urls = vec![shared_at(0).database(&first).await, target.database("souk").await];
        let clients = vec![shared_at(0).client(&first).await, target.client("souk").await];
        Pair { urls, clients }
    }

    async fn mover(&self, to: usize) -> Result<Mover, StoreError> {
        let options = SeveralOptions { urls: self.urls.clone(), slots: None, settings: settings() };
        Mover::open(options, &self.urls[to], PATIENT).await
    }

    /// The same with a mover that gives up soon.
    async fn impatiently_moves(
        &self,
        to: usize,
        slots: Range<Slot>,
        watch: &dyn MoveWatch,
    ) -> Result<Moved, StoreError> {
        let options = SeveralOptions { urls: self.urls.clone(), slots: None, settings: impatient() };
        Mover::open(options, &self.urls[to], Duration::from_secs(1)).await?.run(slots, watch).await
    }

    async fn moves(&self, to: usize, watch: &dyn MoveWatch) -> Result<Moved, StoreError> {
        self.mover(to).await?.run(0..MOVED, watch).await
    }

    /// Everything is on one server, and nothing of it on the other.
    async fn all_on(&self, server: usize) {
        for table in ["slots", "records", "entities", "receipts", "owed", "wakes", "snapshots"] {
            // A server that never had a slot has a row of it all the same.
            let which = if table == "slots" { "epoch > 0 and slot < 2" } else { "true" };
            let sql = format!("select count(*) from souk_{table} where {which}");
            let count = async |server: usize| -> i64 {
                self.clients[server].query_one(&sql, &[]).await.expect("a count").get(0)
            };
            assert!(count(server).await > 0, "{table}");
            assert_eq!(count(1 - server).await, 0, "{table}");
        }
        for client in &self.clients {
            let moves: i64 = client.query_one("select count(*) from souk_moves", &[]).await.expect("a count").get(0);
            assert_eq!(moves, 0);
        }
    }
}

/// Nobody is told.
struct Unwatched;

impl MoveWatch for Unwatched {
    fn reached(&self, _: Slot, _: Step) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Kills the mover when the slot has come so far.
struct Killed(Slot, Step);

impl MoveWatch for Killed {
    fn reached(&self, slot: Slot, step: Step) -> Result<(), StoreError> {
        let Killed(of, at) = *self;
        if (slot, step) == (of, at) { Err(StoreError::Fatal("killed".to_owned())) } else { Ok(()) }
    }
}

/// Halts a server when the slot has come so far.
struct Halts<'a>(&'a Server, Slot, Step);

impl MoveWatch for Halts<'_> {
    fn reached(&self, slot: Slot, step: Step) -> Result<(), StoreError> {
        if (slot, step) == (self.1, self.2) {
            self.0.freeze();
        }
        Ok(())
    }
}

/// Some of everything in each slot.
async fn fill(scribe: &mut Scribe) {
    for slot in 0..MOVED {
        let mut records: Vec<Record> = (0..600).map(|n| scribe.record(slot, &format!("e{slot}-{}", n % 40))).collect();
        for (n, record) in records.iter_mut().enumerate().filter(|(n, _)| n % 7 == 0) {
            record.receipt = Some(client_receipt(if n % 2 == 0 { i64::MAX } else { 5 }));
        }
        let owing = (1..30).map(|n| scribe.owing(slot, &format!("o{slot}-{n}"), Some(1_000 + n))).collect::<Vec<_>>();
        let waking = (1..30).map(|n| scribe.waking(slot, &format!("w{slot}-{n}"), Some(9_000 - n))).collect::<Vec<_>>();
        records.extend(owing);
        records.extend(waking);
        let pictured = [scribe.snapshot_at(&records[599]), scribe.snapshot_at(&records[598])];
        scribe.commit_with(&records, &pictured).await;
    }
}

/// What a store says of everything.
async fn everything(store: &dyn Store) -> Vec<String> {
    let mut all = vec![format!("{:?}", store.entities(10, None, usize::MAX).await.expect("entities"))];
    for slot in 0..MOVED {
        let records = store.feed(slot, 0, usize::MAX).await.expect("a feed");
        for record in records.iter().filter(|record| record.receipt.is_some()) {
            let found = store.find_receipt(slot, &record.key, &record.request).await.expect("a look-up");
            assert_eq!(found.as_ref(), Some(record));
        }
        for id in ["e", "o", "w"].map(|of| format!("{of}{slot}-29")) {
            all.push(format!("{:?}", store.load(slot, &key(&id)).await.expect("a load")));
        }
        all.push(format!("{:?}", store.load(slot, &key(&format!("e{slot}-39"))).await.expect("a snapshot")));
        all.push(format!("{records:?}"));
        all.push(format!("{:?}", store.owed(slot, None, usize::MAX).await.expect("owed rows")));
        all.push(format!("{:?}", store.wakes(slot, None, usize::MAX).await.expect("wake rows")));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_moves_and_moves_back() {
    let pair = Pair::new().await;
    let store = open(&pair.urls).await;
    let mut scribe = Scribe::claim(store.clone()).await;
    fill(&mut scribe).await;
    let before = everything(&*store).await;
    for to in [1, 0, 1] {
        let plan = pair.mover(to).await.expect("a mover").plan(0..MOVED).await.expect("a plan");
        let moved = pair.moves(to, &Unwatched).await.expect("moved");
        assert_eq!((plan.slots, plan.records), (moved.slots, moved.records));
        assert_eq!((moved.slots, moved.there), (usize::from(MOVED), 0));
        pair.all_on(to).await;
        // Who knew the map of before, who comes now, and who came in between.
        assert!(everything(&*store).await == before, "it is another than before");
        assert!(everything(&*open(&pair.urls).await).await == before, "it is another than before");
    }
    let heads = store.heads().await.expect("heads");
    for (slot, head) in (0..).zip(heads) {
        let moves = if slot < MOVED { 3 } else { 0 };
        assert_eq!((head.owner.as_deref(), head.epoch), (Some(SCRIBE), 1 + moves), "slot {slot}");
        let late = scribe.record(slot, "late");
        let refused = scribe.append(&[late]).await;
        let is_fenced = matches!(refused[..], [(_, Refusal::Fenced { .. })]);
        assert_eq!(is_fenced, slot < MOVED, "the epoch of before is over: {refused:?}");
    }
    let refused = pair.mover(1).await.expect("a mover").run(0..1, &Unwatched).await.expect("nothing to do");
    assert_eq!((refused.slots, refused.there), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mover_that_was_killed_at_any_step_is_started_again() {
    let pair = Pair::new().await;
    let store = open(&pair.urls).await;
    let mut scribe = Scribe::claim(store.clone()).await;
    fill(&mut scribe).await;
    let before = everything(&*store).await;
    pair.moves(0, &Unwatched).await.expect("moved");
    for (step, to) in Step::ALL.into_iter().zip([1, 0].into_iter().cycle()) {
        let killed = pair.moves(to, &Killed(LAST, step)).await;
        assert!(matches!(killed, Err(StoreError::Fatal(_))), "{step:?}: {killed:?}");
        let is_nowhere = (Step::Cut..Step::Switched).contains(&step);
        tokio::time::sleep(Duration::from_millis(100)).await; // no map is read more often
        let read = store.feed(LAST, 0, 1).await;
        assert_eq!(matches!(read, Err(StoreError::Unavailable(_))), is_nowhere, "{step:?}: {read:?}");
        assert_eq!(open(&pair.urls).await.feed(LAST, 0, 1).await.is_ok(), !is_nowhere, "{step:?}");
        // Until it is cut, it can be called back.
        if step < Step::Switched {
            assert_eq!(pair.moves(1 - to, &Unwatched).await.is_err(), is_nowhere, "{step:?}");
        }
        pair.moves(to, &Unwatched).await.unwrap_or_else(|error| panic!("{step:?}: {error}"));
        pair.all_on(to).await;
        assert!(everything(&*store).await == before, "{step:?}: it is another than before");
    }
}

/// The mover gives up, and says that it does not answer. When it is back, the next one goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_at_any_step_is_not_waited_for_for_ever() {
    let target = Server::new(&[]);
    let pair = Pair::to(&target).await;
    let store = open(&pair.urls).await;
    let mut scribe = Scribe::claim(store.clone()).await;
    fill(&mut scribe).await;
    let before = everything(&*store).await;
    for step in Step::ALL {
        let began = Instant::now();
        let given_up = pair.impatiently_moves(1, 0..MOVED, &Halts(&target, LAST, step)).await;
        assert!(began.elapsed() < GIVEN_UP_WITHIN, "{step:?}: after {:?}", began.elapsed());
        let needs_it_still = step < Step::Opened;
        match &given_up {
            Err(StoreError::Unavailable(_)) if needs_it_still => {}
            Ok(_) if !needs_it_still => {}
            other => panic!("{step:?}: {other:?}"),
        }
        target.thaw();
        pair.moves(1, &Unwatched).await.unwrap_or_else(|error| panic!("{step:?}: {error}"));
        pair.all_on(1).await;
        assert!(everything(&*store).await == before, "{step:?}: it is another than before");
        pair.moves(0, &Unwatched).await.expect("moved back");
    }
}

/// One that writes to a slot again and again, as a node does: it tells what was acknowledged.
async fn write(store: Arc<dyn Store>, mut scribe: Scribe, slot: Slot, is_over: Arc<AtomicBool>) -> Vec<Record> {
    let mut epoch = scribe.head(slot).epoch;
    let mut acknowledged = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let mut record = scribe.record(slot, &format!("x{slot}-{}", acknowledged.len() % 9));
        record.receipt = Some(client_receipt(i64::MAX));
        loop {
            record.epoch = epoch;
            match store.append(Batch::of(SCRIBE, [record.clone()])).await.expect("an answer").pop() {
                None => break,
                Some((_, Refusal::Unavailable(_) | Refusal::Fenced { .. })) => {}
                Some(other) => panic!("{other:?}"),
            }
            epoch = claim(&*store, slot, epoch).await;
        }
        acknowledged.push(record);
    }
    acknowledged
}

async fn claim(store: &dyn Store, slot: Slot, mut epoch: u64) -> u64 {
    loop {
        match store.claim(SCRIBE, &[(slot, epoch)]).await.expect("an answer").remove(0) {
            Ok(head) => return head.epoch,
            Err(Refusal::Fenced { current }) => epoch = current,
            Err(Refusal::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_while_slots_move_is_there_once() {
    let pair = Pair::new().await;
    let store = open(&pair.urls).await;
    let mut scribe = Scribe::claim(store.clone()).await;
    fill(&mut scribe).await;
    let heads = store.heads().await.expect("heads");
    let is_over = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for slot in 0..MOVED {
        // Each has a handle of its own.
        let own = open(&pair.urls).await;
        let scribe = Scribe::at(own.clone(), heads.clone());
        writers.push(tokio::spawn(write(own, scribe, slot, is_over.clone())));
    }
    for to in [1, 0, 1] {
        let moved = pair.moves(to, &Unwatched).await.expect("moved");
        println!("the longest pause was {} ms", moved.pause_max_ms);
    }
    is_over.store(true, Ordering::Relaxed);
    for (slot, writer) in (0..).zip(writers) {
        let acknowledged = writer.await.expect("it writes");
        let kept = store.feed(slot, heads[usize::from(slot)].seq, usize::MAX).await.expect("a feed");
        assert!(!acknowledged.is_empty() && kept == acknowledged, "slot {slot}: {} of them", acknowledged.len());
    }
    pair.all_on(1).await;
}

/// Lets a second mover do the whole move when the first has come so far, with the lock of the first lost.
struct Overtaken<'a>(&'a Pair, Step);

impl MoveWatch for Overtaken<'_> {
    fn reached(&self, slot: Slot, step: Step) -> Result<(), StoreError> {
        if (slot, step) == (LAST, self.1) {
            let overtaking = async {
                let second = self.0.moves(1, &Unwatched).await;
                assert!(matches!(&second, Err(StoreError::Fatal(why)) if why.contains("another mover")), "{second:?}");
                let lose = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and database = (
                    select oid from pg_database where datname = current_database())";
                self.0.clients[0].query(lose, &[]).await.expect("the session ends");
                // It is gone when the server has ended it.
                while let Err(StoreError::Fatal(why)) = self.0.moves(1, &Unwatched).await {
                    assert!(why.contains("another mover"), "{why}");
                }
            };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(overtaking));
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mover_that_another_has_overtaken_spoils_nothing() {
    let pair = Pair::new().await;
    let store = open(&pair.urls).await;
    let mut scribe = Scribe::claim(store.clone()).await;
    fill(&mut scribe).await;
    let before = everything(&*store).await;
    for step in [Step::Expected, Step::Copied, Step::Cut, Step::Completed, Step::Opened] {
        pair.moves(0, &Unwatched).await.expect("moved back");
        let slow = pair.moves(1, &Overtaken(&pair, step)).await;
        println!("overtaken when it was {step:?}: {slow:?}");
        pair.moves(1, &Unwatched).await.unwrap_or_else(|error| panic!("{step:?}: {error}"));
        pair.all_on(1).await;
        assert!(everything(&*store).await == before, "{step:?}: it is another than before");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_otherwise_than_it_left_is_given_back() {
    let pair = Pair::new().await;
    let store = open(&pair.urls).await;
    let mut scribe = Scribe::claim(store.clone()).await;
    fill(&mut scribe).await;
    let before = everything(&*store).await;
    // Before the cut: a record that is another; after it: an index row that is another.
    let spoilt = [
        (Step::Expected, "insert into souk_records values (0, 1, 1, 1, 10, 'x', 'x')"),
        (Step::Cut, "insert into souk_wakes values (0, 1, 10, 'x')"),
    ];
    for (step, sql) in spoilt {
        pair.moves(1, &Killed(0, step)).await.expect_err("killed");
        pair.clients[1].batch_execute(sql).await.expect("a row");
        let refused = pair.moves(1, &Unwatched).await.expect_err("it is found");
        assert!(refused.to_string().contains("slot 0 was not moved"), "{refused}");
        assert!(everything(&*store).await == before, "it is another than before");
    }
    assert_eq!(store.heads().await.expect("heads")[0].epoch, 2, "it was opened again after the cut");
    pair.moves(1, &Unwatched).await.expect("moved");
    pair.all_on(1).await;
    assert!(everything(&*store).await == before, "it is another than before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_another_store_is_refused() {
    let (pair, other) = (Pair::new().await, Pair::new().await);
    drop((open(&pair.urls).await, open(&other.urls).await));
    let options = SeveralOptions { urls: pair.urls.clone(), slots: None, settings: settings() };
    let refused = Mover::open(options, &other.urls[1], PATIENT).await.map(drop).expect_err("it is another's");
    assert!(refused.to_string().contains("no part of this store"), "{refused}");
    // Who knows one server of two may not serve the slots of the other.
    pair.moves(1, &Unwatched).await.expect("moved");
    let options = SeveralOptions { urls: pair.urls[..1].to_vec(), slots: Some(SLOTS), settings: settings() };
    let refused = several::open(options).await.map(drop).expect_err("it has no slot");
    assert!(refused.to_string().contains("not named"), "{refused}");
}

fn move_slots(urls: &[String], arguments: &[&str]) -> Command {
    let mut command = Command::new(SOUK);
    clean(&mut command);
    command.args(["store", "move-slots"]).args(arguments);
    command.args(["--store", "postgres"]).env("SOUK_STORE__URLS", urls.join(","));
    command
}

/// Changes a cart again and again; the last change that was acknowledged, after which there was none.
async fn shop(url: &str, cart: &Cart, is_over: &AtomicBool) -> usize {
    let mut number = 0;
    loop {
        match cart.contact(url, number + 1).await {
            (200, _) => number += 1,
            (503, true) => continue,
            other => panic!("{other:?}"),
        }
        if is_over.load(Ordering::Relaxed) {
            return number;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_serves_while_its_slots_move() {
    let mut urls = Vec::new();
    for at in 0..2 {
        urls.push(shared_at(at).database(&name()).await);
    }
    let home = tempfile::tempdir().expect("a folder");
    let souk = launch(&home, &urls).start();
    let url = souk.url.clone();
    let mut carts = Vec::new();
    for _ in 0..8 {
        carts.push(Cart::new(&url).await);
    }
    let is_over = AtomicBool::new(false);
    let moving = async {
        let to = urls[1].clone();
        let command = move_slots(&urls, &["0..64", &to]);
        // The first is killed while it moves a slot, the second goes on.
        let first = tokio::task::spawn_blocking(move || {
            use std::io::{BufRead, BufReader};
            let mut command = command;
            let mut mover = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
            let said = BufReader::new(mover.stderr.take().expect("its progress")).lines().nth(5);
            mover.kill().expect("it is there");
            mover.wait().expect("it has ended");
            said
        });
        let said = first.await.expect("it runs").expect("a line").expect("a line");
        assert!(said.contains("was moved"), "{said}");
        let mut command = move_slots(&urls, &["0..64", &to, "--json"]);
        let done = tokio::task::spawn_blocking(move || command.output().expect("it runs")).await.expect("it runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        println!("{}", String::from_utf8_lossy(&done.stdout));
        is_over.store(true, Ordering::Relaxed);
    };
    let shopping = futures::future::join_all(carts.iter().map(|cart| shop(&url, cart, &is_over)));
    let ((), numbers) = futures::join!(moving, shopping);
    println!("acknowledged: {numbers:?}");
    assert!(souk.stop().status.success());
    let again = launch(&home, &urls).start();
    for (cart, number) in carts.iter().zip(numbers) {
        assert_eq!(cart.email(&again.url).await, format!("ada{number}@example.com"));
    }
    assert!(again.stop().status.success());
    let at = shared_at(1).url("postgres");
    for (arguments, code, says) in [
        (vec!["0..64", &urls[1], "--dry-run"], 0, "64 are there already"),
        (vec!["0..65", &urls[1]], 2, "0..64"),
        (vec!["3..3", &urls[1]], 2, "has no slot"),
        (vec!["0..64", &at], 1, "cannot move"),
        (vec!["0..64", "sled:x"], 2, "one PostgreSQL server"),
    ] {
        let done = move_slots(&urls, &arguments).output().expect("it runs");
        let said = [done.stdout, done.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(done.status.code() == Some(code) && said.contains(says), "{arguments:?}: {said}");
    }
    assert_eq!(SHOP_SLOTS, 64);
    super::shop::check(&urls.join(","));
}

/// The real command is stopped by it, and slots that lie elsewhere do not notice, but for a moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_serves_its_other_slots_while_the_server_that_slots_go_to_hangs() {
    let target = Server::new(&[]);
    let urls = vec![shared_at(0).database(&name()).await, target.database("souk").await];
    let home = tempfile::tempdir().expect("a folder");
    let souk = launch(&home, &urls).start();
    let url = souk.url.clone();
    let mut carts = Vec::new();
    while carts.len() < 8 {
        // The first server has half of the slots, and the first of these are moved.
        let cart = Cart::new(&url).await;
        carts.extend((8..32).contains(&cart.slot()).then_some(cart));
    }
    let is_over = AtomicBool::new(false);
    let moving = async {
        let mut command = move_slots(&urls, &["0..8", &urls[1], "--wait", "1"]);
        command.env("SOUK_STORE__POSTGRES__READ_MS", "1000").env("SOUK_STORE__POSTGRES__CONNECT_MS", "1000");
        let mut mover = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let said = mover.stderr.take().expect("what it says");
        let halted = tokio::task::spawn_blocking(move || {
            use std::io::{BufRead, BufReader};
            let mut lines = BufReader::new(said).lines().map_while(Result::ok);
            let first = lines.find(|line| line.contains("was moved")).expect("a slot was moved");
            target.freeze();
            let began = Instant::now();
            let last: Vec<String> = lines.collect();
            let code = mover.wait().expect("it ends").code();
            (target, first, last.join("\n"), code, began.elapsed())
        });
        let (target, first, last, code, took) = halted.await.expect("it gives up");
        println!("{first}\n{last}\nafter {took:?}");
        assert!(took < GIVEN_UP_WITHIN, "{took:?}");
        assert!(code == Some(1) && last.contains("run the same command again"), "{code:?}: {last}");
        // To begin with such a server is refused as well.
        let mut command = move_slots(&urls, &["0..8", &urls[1]]);
        let refused = tokio::task::spawn_blocking(move || command.output().expect("it runs")).await.expect("it runs");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(1) && said.contains("cannot move slots"), "{said}");
        is_over.store(true, Ordering::Relaxed);
        target
    };
    // Every one of them is answered well all the time.
    let shopping = futures::future::join_all(carts.iter().map(async |cart| {
        let mut number = 0;
        while !is_over.load(Ordering::Relaxed) {
            number += 1;
            assert_eq!(cart.contact(&url, number).await, (200, false), "slot {}", cart.slot());
        }
        number
    }));
    let (target, numbers) = futures::join!(moving, shopping);
    println!("acknowledged meanwhile: {numbers:?}");
    target.thaw();
    let done = move_slots(&urls, &["0..8", &urls[1]]).output().expect("it runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let mut moved = Cart::new(&url).await;
    while moved.slot() >= 8 {
        moved = Cart::new(&url).await;
    }
    while moved.contact(&url, 7).await.0 != 200 {}
    assert_eq!(moved.email(&url).await, "ada7@example.com");
    for (cart, number) in carts.iter().zip(numbers) {
        assert_eq!(cart.email(&url).await, format!("ada{number}@example.com"));
    }
    assert!(souk.stop().status.success());
    super::shop::check(&urls.join(","));
}
