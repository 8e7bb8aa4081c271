//! What happens in the cluster, as this node sees it: the newest of it, for operators.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::history::{Beside, History};
use crate::actors::runtime::slot::actor::now;
use crate::actors::values::Time;
use crate::cluster::protocol::messages::Event;
use crate::persistence::{Epoch, Slot};

/// How many are kept. Who asks for older ones is told the oldest that is there.
const KEPT: usize = 4_096;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// As the protocol has it.
    Cluster(Event),
    /// Everything that a slot of this node needs has been read, or read anew: it is served at this epoch.
    SlotRecovered { slot: Slot, epoch: Epoch },
}

#[derive(Debug, Clone)]
pub struct ClusterEvent {
    /// It grows by one with each. It begins anew with each incarnation of the node.
    pub number: u64,
    pub at: Time,
    pub event: Happened,
}

#[derive(Default)]
pub struct Events {
    kept: Mutex<VecDeque<ClusterEvent>>,
    history: Mutex<History>,
    /// When the tables were read last.
    read_at: AtomicI64,
    news: Notify,
}

impl Events {
    pub(super) fn push(&self, event: Event, beside: Beside) {
        self.history.lock().take(now(), &event, beside);
        self.keep(Happened::Cluster(event));
    }

    pub(super) fn recovered(&self, slot: Slot, epoch: Epoch) {
        self.keep(Happened::SlotRecovered { slot, epoch });
    }

    fn keep(&self, event: Happened) {
        let mut kept = self.kept.lock();
        let number = kept.back().map_or(1, |last| last.number + 1);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(ClusterEvent { number, at: now(), event });
        drop(kept);
        self.news.notify_waiters();
    }

    pub(super) fn read(&self) {
        self.read_at.store(now().0, Ordering::Relaxed);
    }

    /// When this node has read the tables of the cluster last.
    pub fn read_at(&self) -> Time {
        Time(self.read_at.load(Ordering::Relaxed))
    }

    /// The number of the newest; 0 while there is none.
    pub fn newest(&self) -> u64 {
        self.kept.lock().back().map_or(0, |event| event.number)
    }

    /// What this node has seen of slots and of drains.
    pub fn history<T>(&self, look: impl FnOnce(&History) -> T) -> T {
        look(&self.history.lock())
    }

    /// Those after a number, at most so many, the oldest first.
    pub fn after(&self, number: u64, limit: usize) -> Vec<ClusterEvent> {
        self.kept.lock().iter().filter(|event| event.number > number).take(limit).cloned().collect()
    }

    /// The same, once there are any.
    pub async fn wait_after(&self, number: u64, limit: usize) -> Vec<ClusterEvent> {
        loop {
            let news = self.news.notified();
            let found = self.after(number, limit);
            if !found.is_empty() {
                return found;
            }
            news.await;
        }
    }
}
