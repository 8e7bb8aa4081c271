//! How a world comes to rest, and what must be true then: everything owed is answered, the books agree,
//! what is served is what is durable, every question gets its old answer, and all of this also without
//! snapshots.

use futures::FutureExt;
use futures::future::join_all;
use souk::actors::cart::types::{Cart, CartStatus};
use souk::actors::entity::Kind;
use souk::actors::order::types::{Order, OrderStatus};
use souk::actors::product::types::Product;
use souk::actors::runtime::envelope::{AskError, Body, Keep, Wait};
use souk::actors::sku::types::{Pieces, StockUnit};
use souk::actors::values::RequestId;
use souk::persistence::{EntityKey, Journal};

use crate::handle::{Asked, Handle};
use crate::task::Task;
use crate::world::{AUDIT, World};
use crate::{Broken, Summary, shop};

/// A world that is still busy after so many steps without anything new never comes to rest.
const STEPS_MAX: u64 = 200_000;
/// What has to happen now and then, if these runs are to mean anything.
pub const EXPECTED: [&str; 29] = [
    "orders confirmed",
    "orders rejected",
    "orders fulfilled",
    "orders cancelled after their confirmation",
    "orders cancelled before",
    "insufficient_stock",
    "refused stock while others held it",
    "told that stock is contended",
    "SKUs that changed hands",
    "payment_failed",
    "payment_timeout",
    "reservation_expired",
    "refunds",
    "carts merged",
    "carts expired",
    "product changes refused",
    "crashes",
    "slots failed",
    "slots that left",
    "slots that came back",
    "nodes that ended themselves",
    "entities panicked",
    "entities quarantined",
    "writers failed",
    "generations ended",
    "commits sent again",
    "snapshots loaded",
    "slow loads",
    "refused as answered long ago",
];
/// Questions asked once more at the end.
const REPEATS: usize = 40;

impl World {
    pub fn come_to_rest(mut self) -> Result<Summary, Broken> {
        self.calm_down();
        self.drain()?;
        shop::judge_at_rest(&self.history)?;
        self.provider.settled_with(&self.history)?;
        self.audit()?;
        self.say(|| "all snapshots are deleted".into());
        let _done = self.journal.durable().drop_snapshots().now_or_never();
        self.crash();
        self.wire.clear();
        self.start_node();
        self.audit()?;
        shop::judge_at_rest(&self.history)?;
        Ok(self.summary())
    }

    /// How often what happened.
    fn summary(&self) -> Summary {
        let mut summary = self.happened.clone();
        summary.insert("steps", self.steps);
        summary.insert("answers judged", self.answers.count);
        summary.insert("records", self.metrics.records_committed.get());
        summary.insert("entities panicked", self.metrics.panics.get());
        summary.insert("entities quarantined", self.metrics.quarantined.get());
        summary.insert("refused for want of room", self.metrics.busy.get());
        summary.insert("snapshots loaded", self.journal.snapshots_loaded());
        summary.insert("generations ended", self.generations_ended());
        summary.insert("commits sent again", self.metrics.commits_repeated.get());
        summary.insert("refused stock while others held it", self.refusals.beside_holds);
        summary.insert("told that stock is contended", self.refusals.contended);
        let mut count = |what| *summary.entry(what).or_default() += 1;
        for (_, order) in self.history.all::<Order>() {
            count(match order.status {
                OrderStatus::Pending => "orders pending",
                OrderStatus::Confirmed => "orders confirmed",
                OrderStatus::Rejected => "orders rejected",
                OrderStatus::Cancelled if order.confirmed => "orders cancelled after their confirmation",
                OrderStatus::Cancelled => "orders cancelled before",
                OrderStatus::Completed => "orders fulfilled",
            });
            if let Some(refusal) = &order.refusal {
                count(refusal.code.word());
            }
            order.refunds.iter().for_each(|_| count("refunds"));
        }
        for (_, cart) in self.history.all::<Cart>() {
            count(match cart.status {
                CartStatus::Open => "carts open",
                CartStatus::Completing => "carts completing",
                CartStatus::Completed => "carts completed",
                CartStatus::Merged => "carts merged",
                CartStatus::Expired => "carts expired",
            });
        }
        for (_, sku) in self.history.all::<StockUnit>() {
            if !sku.past.ledgers().is_empty() || *sku.past.forgotten() != Pieces::default() {
                count("SKUs that changed hands");
            }
        }
        for (_, product) in self.history.all::<Product>() {
            if product.last_refusal.is_some() {
                count("product changes refused");
            }
        }
        summary
    }

    fn generations_ended(&self) -> u64 {
        let ended = &self.metrics.generations_ended;
        ["refused", "unknown"].iter().map(|why| ended.with_label_values(&[why]).get()).sum()
    }

    fn drain(&mut self) -> Result<(), Broken> {
        for _ in 0..STEPS_MAX {
            self.steps += 1;
            if !self.settle()? {
                let waiting = self.waiting.first().map(|waiting| {
                    format!("{}/{} {}", waiting.question.key.kind, waiting.question.key.id, waiting.question.request)
                });
                let open = format!("{} clients, wire {}, {waiting:?}", self.clients.len(), self.wire.len());
                return if self.is_at_rest() {
                    Ok(())
                } else {
                    Err(Broken { invariant: "every question is answered in the end", detail: open })
                };
            }
        }
        let detail = format!("{} clients, {} deliveries", self.clients.len(), self.deliveries.len());
        Err(Broken { invariant: "the world comes to rest", detail })
    }

    /// Reads everything, and asks again what was asked before.
    fn audit(&mut self) -> Result<(), Broken> {
        let keys: Vec<EntityKey> = self.history.keys().cloned().collect();
        let mut asked = self.town.lock().asked.clone();
        while asked.len() > REPEATS {
            let index = self.random.below(asked.len());
            asked.swap_remove(index);
        }
        let auditor = Handle::new(999, self.town.clone());
        self.clients.push(Task::new(async move {
            join_all(keys.into_iter().map(|key| read(&auditor, key))).await;
            join_all(asked.into_iter().map(|asked| ask_again(&auditor, asked))).await;
        }));
        self.drain()
    }
}

async fn read(auditor: &Handle, key: EntityKey) {
    let body = Body::Read { wait: Wait::Durable };
    let read = auditor.send(key, RequestId::default(), body, AUDIT).await;
    assert!(read.is_ok(), "at rest everything can be read: {:?}", read.err());
}

/// The same question, and the same key for another one.
async fn ask_again(auditor: &Handle, asked: Asked) {
    let Asked { key, request, command, keep, wait } = asked;
    let wait = if key.kind == Order::NUMBER { wait } else { Wait::Durable };
    let body = Body::Command { command: command.clone(), keep: Some(keep), if_version: None, wait };
    let again = auditor.send(key.clone(), request, body, "asks again").await;
    let Ok(again) = again else { panic!("at rest everything is answered: {:?}", again.err()) };
    if again.replayed {
        let other = Keep::Client { fingerprint: [0xee; 16], keep_ms: 1_000 };
        let body = Body::Command { command, keep: Some(other), if_version: None, wait };
        let reused = auditor.send(key, request, body, "reuses a key").await;
        assert_eq!(reused.err(), Some(AskError::KeyReused), "a key belongs to one question");
    }
}
