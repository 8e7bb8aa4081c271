//! What stays in memory: the node's budget, which its slots share, and who may not leave. And what an entity that an
//! older program left behind gets when it goes on.

use super::*;
use crate::actors::entity::Caller;
use crate::actors::kinds;
use crate::actors::runtime::envelope::{Keep, ReplyTo, Wait};
use crate::actors::runtime::slot::{Memory, SlotLimits};
use crate::actors::runtime::writer::{Effect, Item, QueueBudget};
use crate::actors::user::types::Command;
use crate::actors::values::{RequestId, Role, Secret, UserId};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::persistence::{OwedItem, OwedRow, Payload, Record, Slot};

const NOW: Time = Time(1_000_000);
const SLOTS: usize = 4;
/// A slot's share is 1,000 bytes.
const BUDGET: usize = 4_000;

fn common(limits: SlotLimits) -> Arc<Common> {
    Arc::new(Common {
        kinds: kinds::all(),
        policy: Arc::new(Config::default().policy()),
        memory: Memory::new(limits.resident_bytes_max, SLOTS),
        limits,
        budget: Arc::new(QueueBudget::new(1_000, 1 << 20)),
        metrics: Arc::new(Metrics::new()),
    })
}
fn node() -> Arc<Common> {
    common(SlotLimits { resident_bytes_max: BUDGET, ..Config::default().slots })
}
fn slot(common: &Arc<Common>, slot: Slot) -> SlotCore {
    SlotCore::new(SlotShared::new(slot, 100), common.clone(), 1, &SlotHead::default())
}
fn key(number: usize) -> EntityKey {
    let kind = kinds::all().by_name("slug").expect("a kind");
    EntityKey { kind: kind.number(), id: format!("entity-{number}").into() }
}
/// Brings an entity of this size into memory.
fn bring(core: &mut SlotCore, number: usize, size_bytes: usize, now: Time) {
    let spec = kinds::all().by_name("slug").expect("a kind");
    core.message(core.state.internal(key(number), Body::Read { wait: Wait::Durable }), now);
    let mut resident = Resident::new(spec.fresh());
    resident.size_bytes = size_bytes;
    core.loaded(key(number), Ok(resident), now);
    core.passivate(now);
}
fn holds(core: &SlotCore, numbers: std::ops::Range<usize>) -> Vec<usize> {
    numbers.filter(|number| core.residents.contains_key(&key(*number))).collect()
}

#[test]
fn a_busy_slot_uses_the_room_that_the_others_leave() {
    let common = node();
    let (mut busy, mut quiet) = (slot(&common, 0), slot(&common, 1));
    bring(&mut quiet, 0, 400, NOW);
    for number in 0..36 {
        bring(&mut busy, number, 100, NOW);
    }
    assert_eq!(holds(&busy, 0..36).len(), 36, "three and a half shares, with the node within its budget");
    for number in 36..40 {
        bring(&mut busy, number, 100, NOW);
    }
    assert_eq!(holds(&busy, 0..40), (4..40).collect::<Vec<_>>(), "the least recently used make room");
    quiet.passivate(NOW);
    assert_eq!(holds(&quiet, 0..1), [0], "a slot within its share gives up nothing");
    assert_eq!(common.memory.true_bytes(), 4_000);
}

#[test]
fn a_slot_that_used_the_room_of_others_gives_it_back_when_they_want_it() {
    let common = node();
    let (mut first, mut second) = (slot(&common, 0), slot(&common, 1));
    for number in 0..40 {
        bring(&mut first, number, 100, NOW);
    }
    for number in 0..10 {
        bring(&mut second, number, 100, NOW);
        first.passivate(NOW);
    }
    assert_eq!((holds(&first, 0..40).len(), holds(&second, 0..10).len()), (30, 10));
}

#[test]
fn a_giant_evicts_neither_itself_nor_its_neighbours() {
    let common = node();
    let mut core = slot(&common, 0);
    bring(&mut core, 0, 3_000, NOW);
    for number in 1..20 {
        bring(&mut core, number, 100, NOW);
    }
    assert_eq!(holds(&core, 0..20).len(), 20, "it counts for 500 bytes");
}

#[test]
fn giants_do_not_hold_much_more_than_the_budget() {
    let common = node();
    let mut cores: Vec<SlotCore> = (0..SLOTS).map(|number| slot(&common, number as Slot)).collect();
    for number in 0..5 {
        for core in &mut cores {
            bring(core, number, 600, NOW);
        }
        assert!(common.memory.true_bytes() <= BUDGET / 4 * 5, "{} bytes", common.memory.true_bytes());
    }
    for core in &cores {
        assert_eq!(holds(core, 4..5), [4], "the one that was used last stays");
    }
}

#[test]
fn what_a_slot_held_is_given_back_however_it_ends() {
    let common = node();
    let (mut ended, mut dropped) = (slot(&common, 0), slot(&common, 1));
    bring(&mut ended, 0, 700, NOW);
    bring(&mut dropped, 0, 300, NOW);
    ended.end();
    assert_eq!((ended.resident_bytes(), common.memory.true_bytes()), (0, 300));
    drop(ended);
    drop(dropped);
    assert_eq!(common.memory.true_bytes(), 0);
}

#[test]
fn an_entity_that_panicked_or_left_holds_nothing() {
    let common = node();
    let mut core = slot(&common, 0);
    bring(&mut core, 0, 200, NOW);
    bring(&mut core, 1, 300, NOW);
    core.panicked(key(0), true, NOW);
    assert_eq!(core.resident_bytes(), 300);
    core.passivate(NOW.plus_ms(common.limits.idle_ms));
    assert_eq!((core.resident_bytes(), common.memory.true_bytes()), (0, 0));
}

/// A look-up in the index of receipts says whether a request was seen. The entity that left while it is in flight
/// would be loaded again without what happened since.
#[test]
fn an_entity_stays_while_a_receipt_is_looked_up() {
    let common = node();
    let mut core = slot(&common, 0);
    bring(&mut core, 0, 100, NOW);
    let resident = core.residents.get_mut(&key(0)).expect("it is in memory");
    assert!(resident.may_leave(0));
    assert!(resident.receipts.begin_lookup(7, &common.limits.receipts));
    assert!(!resident.may_leave(0));
    let idle = NOW.plus_ms(common.limits.idle_ms);
    core.passivate(idle);
    assert_eq!(holds(&core, 0..1), [0], "idle, but looked for");
    let reply = ReplyTo::nobody();
    let keep = Some(Keep::Client { fingerprint: [0; 16], keep_ms: 1_000 });
    let body = Body::Command { command: Arc::new(()), keep, if_version: None, wait: Wait::Durable };
    let (caller, request) = (Caller::System, RequestId::of("test", &[b"1"]));
    let envelope = Envelope { request, caller, reply, body, ..Envelope::internal(key(0), 0, Body::Wake) };
    core.receipt_found(Lookup { ticket: 7, envelope }, Err(AskError::Unavailable), idle);
    core.passivate(idle);
    assert_eq!(holds(&core, 0..1), [0usize; 0], "the answer has come: it may leave");
}

/// `Placed` as it was stored before orders had limits: its version 1.
const PLACED_V1: &str = "00000000000000000000000000000de40000000000000000000000000000ca4707070707070707070707070707070707\
    004742500100000000000000000000000000000001055445452d4d000000000000000000000000000000650941727469\
    636c65203002fbd007474250fba00f474250fba00f474250004742500047425000474250fba00f4742500f6164614065\
    78616d706c652e636f6d03416461000000000002474200000104504f203701076368616e6e656c037765620106746f6b\
    5f6f6b";

/// An order that waits for its number and its stock, as a program left it that gave no order a deadline.
fn old_order() -> Resident {
    let spec = kinds::all().by_name("order").expect("a kind");
    let mut resident = Resident::new(spec.fresh());
    let bytes = data_encoding::HEXLOWER.decode(PLACED_V1.as_bytes()).expect("hexadecimal");
    let placed = Payload { type_number: u16::from_be_bytes([spec.number(), 1]), version: 1, bytes };
    resident.state.replay(&placed, NOW).expect("old bytes are read");
    (resident.version, resident.seq, resident.at) = (1, 1, NOW);
    let items = resident.state.owed().into_iter().zip(256..);
    let items = items.map(|(owed, number)| OwedItem { number, key: owed.key }).collect();
    resident.owed = Some(Box::new(OwedRow { due_ms: NOW.0, items }));
    resident
}

fn records(core: &mut SlotCore) -> Vec<Record> {
    let submitted = core.outputs(NOW).submissions.into_iter().filter_map(|submission| match submission.item {
        Item::Record(record) => Some(Record::clone(&record)),
        Item::Snapshot(_) | Item::Barrier => None,
    });
    submitted.collect()
}

#[test]
fn an_old_order_that_nobody_answers_is_woken_at_its_deadline() {
    const RESERVE_MS: u64 = 25_000;
    let mut core = slot(&node(), 0);
    core.wake_page(Vec::new(), NOW);
    let resident = old_order();
    let (order, row) =
        (crate::actors::runtime::envelope::key(11, "order"), resident.owed.as_deref().cloned().expect("owed"));
    core.owed_page(OwedPage { rows: vec![(order.clone(), row)], is_last: true }, NOW);
    core.loaded(order.clone(), Ok(resident), NOW);
    let deadline = NOW.plus_ms(RESERVE_MS).0;
    let [moved] = &records(&mut core)[..] else { panic!("one record") };
    let wake = moved.wake.expect("a wake row");
    assert_eq!((wake.before_ms, wake.after_ms, moved.version, moved.events.len()), (None, Some(deadline), 1, 0));
    core.message(Envelope::internal(order, 0, Body::Resume), NOW);
    assert!(records(&mut core).is_empty(), "its row is there");
    core.tick(NOW.plus_ms(RESERVE_MS));
    let woken = records(&mut core);
    let events: Vec<u16> =
        woken.iter().flat_map(|record| &record.events).map(|event| event.type_number & 0xff).collect();
    assert_eq!(events, [10], "refused: its time is up");
}

/// It was recorded: whether it has settled he sees where the slot lives next.
#[tokio::test]
async fn who_waits_until_an_entity_has_settled_is_told_what_was_done_when_its_slot_leaves() {
    let spec = kinds::all().by_name("user").expect("a kind");
    let key = EntityKey { kind: spec.number(), id: UserId(1).to_string().into() };
    for (written, told) in [(Ok(()), Ok((1, false))), (Err(AskError::Unavailable), Err(AskError::Unknown))] {
        let mut core = slot(&common(Config::default().slots), 0);
        let command = Command::Register {
            id: UserId(1),
            email: "a@example.com".parse().expect("an address"),
            name: None,
            password_hash: Secret("hash".into()),
            roles: [Role::Customer].into(),
        };
        let (reply, answer) = ReplyTo::channel();
        let body = Body::Command { command: Arc::new(command), keep: None, if_version: None, wait: Wait::Settled };
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        let asked = Envelope { want_state: true, deadline, reply, ..core.state.internal(key.clone(), body) };
        core.message(asked, NOW);
        core.loaded(key.clone(), Ok(Resident::new(spec.fresh())), NOW);
        let recorded = core.outputs(NOW).submissions;
        assert!(recorded.iter().any(|one| matches!(one.item, Item::Record(_))));
        for effect in core.end().1.submissions.into_iter().flat_map(|one| one.effects) {
            let Effect::Reply(to, reply) = effect else { continue };
            to.send(written.clone().and(reply)); // as the writer does
        }
        let answer = answer.await.expect("an answer").map(|reply| (reply.version, reply.state.is_some()));
        assert_eq!(answer, told);
    }
}
