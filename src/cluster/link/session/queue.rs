//! Messages that wait to leave by one lane, in their order.

use std::collections::VecDeque;

use bytes::Bytes;

use super::super::frame::{Lane, Nack, Writer};

/// A message up to this size is not divided where the next frame can have it whole.
const WHOLE_MAX: usize = 32 * 1024;
/// Less than this is no page.
const PAGE_MIN: usize = 1024;

#[derive(Debug)]
pub enum Message {
    Tell(Bytes),
    Request(u64, Bytes),
    Reply(u64, Bytes),
    Nack(u64, Nack),
}

impl Message {
    fn len(&self) -> usize {
        match self {
            Message::Tell(bytes) | Message::Request(_, bytes) | Message::Reply(_, bytes) => bytes.len(),
            Message::Nack(..) => 0,
        }
    }

    /// Writes as much of the message as `room` has, from `done` on, and says how much that was.
    fn write(&self, lane: Lane, done: usize, room: usize, into: &mut Writer) -> usize {
        let end = self.len().min(done + room);
        match self {
            Message::Nack(id, why) => into.nack(*id, *why),
            Message::Tell(bytes) | Message::Request(_, bytes) | Message::Reply(_, bytes) if done > 0 => {
                into.more(lane, &bytes[done..end]);
            }
            Message::Tell(bytes) => into.tell(bytes.len(), &bytes[..end]),
            Message::Request(id, bytes) => into.request(*id, bytes.len(), &bytes[..end]),
            Message::Reply(id, bytes) => into.reply(*id, bytes.len(), &bytes[..end]),
        }
        end - done
    }
}

#[derive(Debug)]
pub struct Queue {
    lane: Lane,
    messages: VecDeque<Message>,
    /// How much of the first has left.
    done: usize,
    /// Of all that wait, what has left included.
    bytes: usize,
}

impl Queue {
    pub fn new(lane: Lane) -> Queue {
        Queue { lane, messages: VecDeque::new(), done: 0, bytes: 0 }
    }

    pub fn push(&mut self, message: Message) {
        self.bytes += message.len();
        self.messages.push_back(message);
    }
    pub fn len(&self) -> usize {
        self.messages.len()
    }
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Moves into the frame what fits, up to `share` bytes. Each message is begun by `begin`, which says whether anybody still
    /// wants it to leave.
    pub fn fill(&mut self, into: &mut Writer, share: usize, begin: &mut dyn FnMut(&Message) -> bool) {
        let until = into.filled() + share;
        while let Some(message) = self.messages.front() {
            let room = into.room().min(until.saturating_sub(into.filled()));
            let rest = message.len() - self.done;
            let waits_for_next = rest > room && (room < PAGE_MIN || (rest <= WHOLE_MAX && into.filled() > 0));
            if room == 0 || waits_for_next {
                return;
            }
            if self.done == 0 && !begin(message) {
                self.pop();
                continue;
            }
            self.done += message.write(self.lane, self.done, room, into);
            if self.done == message.len() {
                self.pop();
            }
        }
    }

    fn pop(&mut self) {
        if let Some(message) = self.messages.pop_front() {
            self.bytes -= message.len();
        }
        self.done = 0;
    }
}
