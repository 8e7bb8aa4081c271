//! The slots that a consumer cannot be served from the tail. They wait in a row for their turn, and a few of them are
//! read from the journal at once, by tasks of their own, while the consumer takes what has been read.
//!
//! A slot of which there is more goes to the end of the row. So all are served alike; and an embedded store, which has
//! the records of all slots side by side, is read from its beginning to its end as a whole (see [`Journal::feed`]).
//!
//! [`Journal::feed`]: crate::persistence::Journal::feed

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::Feed;
use super::consumer::ConsumerError;
use super::position::Position;
use super::progress::Progress;
use super::reader::{READS_AT_ONCE, TakeError};
use super::taken::{Taken, Wanted};
use crate::persistence::{Slot, StoreError};

/// How long a read of the journal may take. The slot is tried again.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// What a read of a slot came to.
type Read = (Slot, Result<Option<Taken>, TakeError>);

pub(super) struct Reads {
    feed: Arc<Feed>,
    progress: Arc<Progress>,
    /// The slot that has waited longest first.
    waiting: VecDeque<Slot>,
    /// Whether a slot waits, is being read, or has been read and not been released yet.
    held: Vec<bool>,
    /// What is being read, and what has been read and not been taken: [`READS_AT_ONCE`] at most.
    under_way: JoinSet<Read>,
    /// One of them, which somebody has waited for.
    ended: Option<Result<Read, JoinError>>,
}

impl Reads {
    pub fn new(feed: Arc<Feed>, progress: Arc<Progress>) -> Reads {
        let held = vec![false; usize::from(feed.reader.journal.slots())];
        Reads { feed, progress, waiting: VecDeque::new(), held, under_way: JoinSet::new(), ended: None }
    }

    /// Whether a slot is taken care of here.
    pub fn holds(&self, slot: Slot) -> bool {
        self.held.get(usize::from(slot)).is_some_and(|held| *held)
    }

    /// Whether no slot waits or is being read.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty() && self.ended.is_none()
    }

    /// A slot is to be read. It comes last.
    pub fn put(&mut self, slot: Slot) {
        if let Some(held) = self.held.get_mut(usize::from(slot)) {
            *held = true;
            self.waiting.push_back(slot);
        }
    }

    /// What was read of a slot has been taken: there is nothing more to read of it.
    pub fn release(&mut self, slot: Slot) {
        if let Some(held) = self.held.get_mut(usize::from(slot)) {
            *held = false;
        }
    }

    /// Has those read that have waited longest, unless enough is under way.
    pub fn start(&mut self, positions: &[Position]) {
        while self.under_way.len() < READS_AT_ONCE {
            let Some(slot) = self.waiting.pop_front() else { break };
            let Some(position) = positions.get(usize::from(slot)).copied() else { continue };
            let (feed, progress) = (self.feed.clone(), self.progress.clone());
            self.under_way.spawn(async move {
                let take = feed.reader.take(slot, &position, &progress.kinds, Wanted::SHARE);
                let late = |_| Err(TakeError::Store(StoreError::Unavailable("no answer in time".to_owned())));
                (slot, timeout(READ_TIMEOUT, take).await.unwrap_or_else(late))
            });
        }
    }

    /// What has been read, if something has. Its slot is held until it is released or put again.
    pub fn ready(&mut self) -> Option<Result<Read, ConsumerError>> {
        let read = match &mut self.ended {
            Some(_) => self.ended.take(),
            None => self.under_way.try_join_next(),
        };
        read.map(|read| read.map_err(broken))
    }

    /// Returns when something has been read; never while nothing is under way. Nothing is lost when the wait is ended.
    pub async fn readable(&mut self) {
        if self.ended.is_none() {
            self.ended = self.under_way.join_next().await;
        }
        if self.ended.is_none() {
            std::future::pending().await
        }
    }

    /// Gives up all of it.
    pub fn clear(&mut self) {
        (self.under_way, self.ended) = (JoinSet::new(), None); // ends the tasks
        self.waiting.clear();
        self.held.fill(false);
    }
}

/// A store that panics. All is read again after a pause.
fn broken(error: JoinError) -> ConsumerError {
    ConsumerError::of(format_args!("a read of the journal ended: {error}"))
}
