//! A slot's bounded queue. A ractor mailbox has no bound, so the messages wait here, and the actor gets
//! one poke when the queue stops being empty; it then takes what has gathered, in one turn.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::actors::runtime::envelope::Envelope;

pub struct Inbox {
    capacity: usize,
    queue: Mutex<Queue>,
}

struct Queue {
    /// Each with the moment at which it came.
    waiting: VecDeque<(Instant, Envelope)>,
    /// Since when messages wait and none has been taken.
    stands_since: Option<Instant>,
    /// Whether the actor has been poked and has not drained since.
    poked: bool,
    /// The slot does not live here: nothing is taken.
    closed: bool,
}

/// What became of a push.
pub enum Pushed {
    /// Accepted; the actor must be poked.
    Poke,
    /// Accepted; the actor will come anyway.
    Quiet,
    /// The queue, or this entity's half of it, is full.
    Full(Envelope),
    Closed(Envelope),
}

impl Inbox {
    pub fn new(capacity: usize) -> Inbox {
        Inbox {
            capacity,
            queue: Mutex::new(Queue { waiting: VecDeque::new(), stands_since: None, poked: false, closed: false }),
        }
    }

    /// Appends a message. One entity fills at most half of the queue: a hot one slows itself, not its
    /// neighbours. The scan that this takes happens only while the queue is half full.
    pub fn push(&self, envelope: Envelope) -> Pushed {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Pushed::Closed(envelope);
        }
        let half = self.capacity / 2;
        if !envelope.body.is_internal() && queue.waiting.len() >= half {
            let of_this_entity = queue.waiting.iter().filter(|(_, waiting)| waiting.key == envelope.key).count();
            if queue.waiting.len() >= self.capacity || of_this_entity >= half {
                return Pushed::Full(envelope);
            }
        }
        let now = Instant::now();
        queue.waiting.push_back((now, envelope));
        queue.stands_since.get_or_insert(now);
        if std::mem::replace(&mut queue.poked, true) { Pushed::Quiet } else { Pushed::Poke }
    }

    /// Takes up to `most` messages. When some remain the actor counts as poked still: it must come again.
    pub fn drain(&self, most: usize) -> (Vec<Envelope>, bool) {
        let mut queue = self.queue.lock();
        let taken = most.min(queue.waiting.len());
        let batch = queue.waiting.drain(..taken).map(|(_, envelope)| envelope).collect();
        queue.poked = !queue.waiting.is_empty();
        queue.stands_since = queue.poked.then(Instant::now);
        (batch, queue.poked)
    }

    /// For how long the oldest message has waited.
    pub fn has_waited(&self, now: Instant) -> Option<Duration> {
        self.queue.lock().waiting.front().map(|(since, _)| now.saturating_duration_since(*since))
    }

    /// Since when messages wait and none has been taken, or the slot has begun to take them. A queue that is taken from does
    /// not stand, however long it is.
    pub fn stands_since(&self) -> Option<Instant> {
        self.queue.lock().stands_since
    }

    pub fn len(&self) -> usize {
        self.queue.lock().waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.lock().waiting.is_empty()
    }

    /// Messages are taken, also where the queue was closed.
    pub fn open(&self) {
        self.queue.lock().closed = false;
    }

    pub fn is_open(&self) -> bool {
        !self.queue.lock().closed
    }

    /// A new generation takes over: whatever poke the one before had is forgotten. Says whether messages wait: then
    /// the slot pokes itself.
    pub fn repoke(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.poked = !queue.waiting.is_empty();
        queue.stands_since = queue.poked.then(Instant::now);
        queue.poked
    }

    /// Takes nothing any more; what waited is returned, unanswered.
    pub fn close(&self) -> Vec<Envelope> {
        let mut queue = self.queue.lock();
        (queue.closed, queue.stands_since) = (true, None);
        queue.waiting.drain(..).map(|(_, envelope)| envelope).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::entity::Caller;
    use crate::actors::runtime::envelope::{Body, ReplyTo, Wait, key};
    use crate::actors::values::RequestId;

    fn envelope(id: &str, body: Body) -> Envelope {
        Envelope {
            key: key(9, id),
            slot: 0,
            request: RequestId::default(),
            caller: Caller::System,
            deadline: tokio::time::Instant::now(),
            want_state: false,
            body,
            reply: ReplyTo::nobody(),
        }
    }

    fn read(id: &str) -> Envelope {
        envelope(id, Body::Read { wait: Wait::Durable })
    }

    #[test]
    fn one_entity_fills_at_most_half_and_internal_messages_always_fit() {
        let inbox = Inbox::new(4);
        assert!(matches!(inbox.push(read("hot")), Pushed::Poke));
        assert!(matches!(inbox.push(read("hot")), Pushed::Quiet));
        assert!(matches!(inbox.push(read("hot")), Pushed::Full(_)), "its half is full");
        assert!(matches!(inbox.push(read("a")), Pushed::Quiet));
        assert!(matches!(inbox.push(read("b")), Pushed::Quiet));
        assert!(matches!(inbox.push(read("c")), Pushed::Full(_)), "the queue is full");
        assert!(matches!(inbox.push(envelope("hot", Body::Wake)), Pushed::Quiet));
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_stands_while_nothing_is_taken_from_it() {
        let inbox = Inbox::new(8);
        assert_eq!(inbox.stands_since(), None);
        let began = Instant::now();
        ["a", "b", "c"].into_iter().for_each(|id| drop(inbox.push(read(id))));
        tokio::time::advance(Duration::from_secs(9)).await;
        drop(inbox.push(read("d")));
        assert_eq!(inbox.stands_since(), Some(began));
        inbox.drain(1);
        assert_eq!(inbox.stands_since(), Some(Instant::now()), "it has moved, though the oldest has waited for long");
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(inbox.repoke() && inbox.stands_since() == Some(Instant::now()));
        inbox.drain(8);
        assert_eq!(inbox.stands_since(), None);
        drop(inbox.push(read("e")));
        inbox.close();
        assert_eq!(inbox.stands_since(), None);
    }

    #[test]
    fn a_drain_that_leaves_messages_must_come_again() {
        let inbox = Inbox::new(8);
        for id in ["a", "b", "c"] {
            inbox.push(read(id));
        }
        let (batch, again) = inbox.drain(2);
        assert_eq!((batch.len(), again), (2, true));
        let later = Instant::now() + Duration::from_secs(9);
        assert!(inbox.has_waited(later).is_some_and(|waited| waited >= Duration::from_secs(9)));
        let (batch, again) = inbox.drain(2);
        assert_eq!((batch.len(), again), (1, false));
        assert_eq!(inbox.has_waited(later), None);
        assert!(matches!(inbox.push(read("d")), Pushed::Poke));
        assert_eq!(inbox.close().len(), 1);
        assert!(matches!(inbox.push(read("e")), Pushed::Closed(_)));
    }
}
