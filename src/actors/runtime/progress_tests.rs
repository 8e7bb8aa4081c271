//! Slots that take what waits, slots that need not, and one that never does.

use std::sync::Arc;

use super::*;
use crate::actors::entity::Caller;
use crate::actors::kinds;
use crate::actors::runtime::envelope::{Body, Envelope, ReplyTo, Wait, key};
use crate::actors::runtime::slot::message::{Back, SlotMessage, Start};
use crate::actors::runtime::slot::output::Output;
use crate::actors::runtime::slot::question::Question;
use crate::actors::runtime::slot::shell::{Now, SlotContext, SlotShell};
use crate::actors::runtime::slot::{Common, Inbox, Memory};
use crate::actors::runtime::writer::{Ended, QueueBudget};
use crate::actors::values::{RequestId, Time};
use crate::cluster::{NodeId, Ownership, SoleOwner};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::persistence::{Journal, SlotHead, memory};

const SLOTS: Slot = 3;
const NONE: [Slot; 0] = [];

struct Node {
    watch: SlotWatch,
    slots: Vec<Arc<SlotShared>>,
    shells: Vec<SlotShell>,
    epoch: u64,
}

fn now() -> Now {
    Now { time: Time(0), instant: Instant::now() }
}

impl Node {
    /// All slots serve.
    fn new() -> Node {
        let journal: Arc<dyn Journal> = Arc::new(memory::Memory::new(SLOTS));
        let limits = Config::default().slots;
        let metrics = Arc::new(Metrics::new());
        let common = Arc::new(Common {
            kinds: kinds::all(),
            policy: Arc::new(Config::default().policy()),
            memory: Memory::new(limits.resident_bytes_max, usize::from(SLOTS)),
            limits,
            budget: Arc::new(QueueBudget::new(1_000, 1 << 20)),
            metrics: metrics.clone(),
        });
        let ownership = Arc::new(Ownership::new(NodeId::of("node#1"), SLOTS));
        let slots: Vec<_> = (0..SLOTS).map(|slot| SlotShared::new(slot, 64)).collect();
        let shell = |shared: &Arc<SlotShared>| {
            SlotShell::new(SlotContext {
                shared: shared.clone(),
                common: common.clone(),
                ownership: ownership.clone(),
                lease: Arc::new(SoleOwner),
                journal: journal.clone(),
            })
        };
        let shells = slots.iter().map(shell).collect();
        let router =
            Router::new(slots.clone(), kinds::all(), journal.clone(), ownership.clone(), Arc::new(SoleOwner), metrics);
        let mut node = Node { watch: SlotWatch::new(Arc::new(router)), slots, shells, epoch: 1 };
        (0..SLOTS).for_each(|slot| drop(node.take(slot, SlotMessage::Begin(Box::new(Start::Claimed(node.head()))))));
        node
    }

    fn head(&self) -> SlotHead {
        SlotHead { owner: Some("node#1".into()), epoch: self.epoch, ..SlotHead::default() }
    }

    fn take(&mut self, slot: Slot, message: SlotMessage) -> Vec<Output> {
        self.shells[usize::from(slot)].handle(message, now()).others
    }

    fn inbox(&self, slot: Slot) -> &Inbox {
        &self.slots[usize::from(slot)].inbox
    }

    fn send(&self, slot: Slot) {
        let envelope = Envelope {
            key: key(9, "SKU-1"),
            slot,
            request: RequestId::default(),
            caller: Caller::System,
            deadline: Instant::now() + Duration::from_secs(1),
            want_state: false,
            body: Body::Read { wait: Wait::Durable },
            reply: ReplyTo::nobody(),
        };
        drop(self.inbox(slot).push(envelope));
    }

    /// Time passes, and the node is asked as often as it is.
    async fn after(&mut self, seconds: u64) -> Vec<Slot> {
        for _ in 0..seconds * 10 {
            tokio::time::advance(Duration::from_millis(100)).await;
            self.watch.stuck();
        }
        self.watch.stuck().to_vec()
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_never_takes_what_waits_is_stuck_until_it_does() {
    let mut node = Node::new();
    node.send(1);
    assert_eq!(node.after(29).await, NONE);
    assert_eq!(node.after(2).await, [1]);
    node.slots[1].suspend();
    assert_eq!(node.after(60).await, [1], "the lease has lapsed, and it has taken nothing since");
    node.inbox(1).drain(1);
    assert_eq!(node.after(1).await, NONE);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_has_more_to_do_than_it_can_is_not_stuck() {
    let mut node = Node::new();
    (0..20).for_each(|_| node.send(0));
    for _ in 0..20 {
        assert_eq!(node.after(10).await, NONE);
        node.send(0);
        node.inbox(0).drain(1);
    }
    assert!(node.inbox(0).has_waited(Instant::now()).is_some_and(|waited| waited > TAKEN_WITHIN));
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_waits_for_the_store_is_not_stuck() {
    let mut node = Node::new();
    // Slot 0 recovers, slot 1 is in quarantine, slot 2 is suspended: messages wait in front of all.
    let generation = node.slots[0].generation();
    drop(node.take(0, SlotMessage::Ended { generation, why: Ended::Unknown }));
    let generation = node.slots[1].generation();
    drop(node.take(1, SlotMessage::Ended { generation, why: Ended::Damaged("a page".into()) }));
    node.slots[2].suspend();
    (0..SLOTS).for_each(|slot| node.send(slot));
    assert_eq!(node.after(300).await, NONE);

    // They go on: from now on the time counts.
    node.epoch = 2;
    let generation = node.slots[0].generation();
    let settled = SlotMessage::Back { generation, what: Box::new(Back::Settled) };
    let asked = node.take(0, settled);
    assert!(matches!(asked[..], [Output::Ask { question: Question::Claim { .. }, .. }]));
    let again = SlotMessage::Back { generation, what: Box::new(Back::HeadRead(Ok(node.head()))) };
    drop(node.take(0, again));
    node.slots[2].allow();
    drop(node.take(2, SlotMessage::Keep(2)));
    assert_eq!(node.after(29).await, NONE);
    assert_eq!(node.after(2).await, [0, 2]);
    (0..SLOTS).for_each(|slot| drop(node.take(slot, SlotMessage::Poke)));
    assert_eq!(node.after(60).await, NONE);
}

/// A process that was halted, or a machine that slept, has not watched.
#[tokio::test(start_paused = true)]
async fn a_pause_of_the_whole_process_is_no_slot_s_fault() {
    let mut node = Node::new();
    node.send(1);
    assert_eq!(node.after(20).await, NONE);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(node.after(29).await, NONE);
    assert_eq!(node.after(2).await, [1]);
}
