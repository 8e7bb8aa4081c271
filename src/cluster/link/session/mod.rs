//! One link as a state machine: what to send when, and what has come. Requests, replies, ticks and frames go in with the time;
//! frames to send, requests to answer and outcomes come out. It does no I/O and reads no clock.
//!
//! **Credit.** At most `window` numbered frames are under way in each direction. A frame counts as under way until the peer
//! says that it has taken it off the wire; that rests on nothing else, so two nodes with full queues cannot block each other. It
//! is said at once when the peer has used all its credit, otherwise with the next frame or the next tick. Whatever wants to
//! leave without credit waits, and the frames that then leave are the fuller. That is all the batching there is: a lone request
//! leaves at once.
//!
//! **Lanes.** Tells go first, but take at most half of a frame while others wait. Replies and requests share the rest. Each
//! lane keeps its order; a tell may overtake a request, and a reply either.
//!
//! **What is certain.** A request that has not begun to leave is certainly not taken. One that has is `Lost` when the link ends
//! or its time is up. Request ids are never used twice on a link, and a new link begins with nothing: a reply cannot meet
//! another request than its own.
//!
//! **Replies are never refused.** What bounds them is the number of open requests, and that no request is taken while many
//! bytes of replies wait. Both are checked when a request comes.

mod assembly;
mod queue;
mod receiving;
#[cfg(test)]
mod tests;
mod ticking;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::counters::Counters;
use super::frame::{FRAME_MAX, Header, Lane, Nack, Writer};
use super::limits::Limits;
use super::outcome::{AskFailure, EndWhy, NotTaken};
use assembly::Assembly;
use queue::{Message, Queue};

/// What the two ends agreed on in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The number that the peer gave to the connection.
    pub number: u64,
    /// How many frames the peer takes without having said that it took them.
    pub window: u8,
    /// The largest message that the peer takes.
    pub message_max_bytes: usize,
}

/// How it is found out that a peer is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    /// How often something is sent that the peer answers.
    pub heartbeat: Duration,
    /// After how long without a byte the link ends.
    pub dead_after: Duration,
}

/// What is to be done, in this order. `A` is whoever asks.
#[derive(Debug)]
pub enum Output<A> {
    /// To the wire.
    Frame(Vec<u8>),
    /// To whoever answers requests: the answer comes by [`Session::reply`].
    Asked { id: u64, request: Bytes },
    /// To whoever runs the cluster's protocol.
    Told(Bytes),
    /// To the asker. Each gets exactly one.
    Outcome(A, Result<Bytes, AskFailure>),
    /// The link has to end. Nothing comes behind it.
    End(EndWhy),
}

/// A request of this node's.
#[derive(Debug)]
struct Ask<A> {
    asker: A,
    deadline: Duration,
    /// It has begun to leave.
    is_sent: bool,
}

/// How a link is doing, for operators.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Vitals {
    pub rtt: Option<Duration>,
    /// Frames that may be sent now.
    pub credit: u64,
    /// Frames sent and received.
    pub frames: u64,
    /// Requests to the peer without an outcome.
    pub asks: usize,
    /// Requests of the peer without a reply.
    pub open: usize,
}

pub struct Session<A> {
    limits: Limits,
    terms: Terms,
    pulse: Pulse,
    counters: Arc<Counters>,

    is_open: bool,
    is_ended: bool,
    /// Frames are kept back, because more is about to be said.
    is_corked: bool,
    /// Something waits for credit.
    is_waiting: bool,

    tells: Queue,
    requests: Queue,
    replies: Queue,
    asks: BTreeMap<u64, Ask<A>>,
    next_id: u64,
    /// Requests of the peer that are to be answered.
    open: BTreeSet<u64>,
    takes_requests: bool,

    /// The last numbered frame sent, and the last that the peer has said it took.
    sent: u64,
    acknowledged: u64,
    /// The last numbered frame taken, and the last that the peer was told of.
    taken: u64,
    told_taken: u64,
    echo: Option<u64>,
    told: Assembly<()>,
    requested: Assembly<u64>,
    replied: Assembly<u64>,

    last_tick: Duration,
    silence: Duration,
    heard: u64,
    last_beat: Duration,
    beats: u64,
    beat_sent: Option<(u64, Duration)>,
    rtt: Option<Duration>,
    frames: u64,
}

impl<A> Session<A> {
    pub fn new(limits: Limits, terms: Terms, pulse: Pulse, counters: Arc<Counters>, now: Duration) -> Session<A> {
        Session {
            limits,
            terms,
            pulse,
            counters,
            is_open: false,
            is_ended: false,
            is_corked: false,
            is_waiting: false,
            tells: Queue::new(Lane::Tell),
            requests: Queue::new(Lane::Request),
            replies: Queue::new(Lane::Reply),
            asks: BTreeMap::new(),
            next_id: 1,
            open: BTreeSet::new(),
            takes_requests: true,
            sent: 0,
            acknowledged: 0,
            taken: 0,
            told_taken: 0,
            echo: None,
            told: Assembly::default(),
            requested: Assembly::default(),
            replied: Assembly::default(),
            last_tick: now,
            silence: Duration::ZERO,
            heard: 0,
            last_beat: now,
            beats: 0,
            beat_sent: None,
            rtt: None,
            frames: 0,
        }
    }

    /// The wire takes frames from now on. (What has come before is taken already.)
    pub fn open(&mut self, now: Duration, outputs: &mut Vec<Output<A>>) {
        self.is_open = true;
        self.last_tick = now;
        self.silence = Duration::ZERO;
        self.send(outputs);
    }

    /// Asks the peer. The asker comes back where the request cannot even wait.
    pub fn ask(&mut self, asker: A, request: Bytes, deadline: Duration) -> Result<(), (A, NotTaken)> {
        let refusal = if !self.is_open || self.is_ended {
            Some(NotTaken::Down)
        } else if request.len() > self.terms.message_max_bytes {
            Some(NotTaken::TooLarge)
        } else if self.asks.len() >= self.limits.asks_max
            || (self.requests.bytes() + request.len() > self.limits.queue_max_bytes && !self.requests.is_empty())
        {
            self.counters.asks_busy.one();
            Some(NotTaken::Busy)
        } else {
            None
        };
        if let Some(why) = refusal {
            return Err((asker, why));
        }
        let id = self.next_id;
        self.next_id += 1;
        self.asks.insert(id, Ask { asker, deadline, is_sent: false });
        self.requests.push(Message::Request(id, request));
        Ok(())
    }

    /// Tells the peer. Says whether it will leave if the link lives.
    pub fn tell(&mut self, message: Bytes) -> bool {
        let fits = message.len() <= self.limits.tell_max_bytes && self.tells.len() < self.limits.tells_max;
        let takes = self.is_open && !self.is_ended && fits;
        if takes {
            self.tells.push(Message::Tell(message));
        } else {
            self.counters.tells_dropped.one();
        }
        takes
    }

    /// Answers a request of the peer. A second answer, and one on a link that has ended, go nowhere.
    pub fn reply(&mut self, id: u64, reply: Bytes) {
        if self.is_ended || !self.open.remove(&id) {
            return;
        }
        if reply.len() > self.terms.message_max_bytes {
            self.replies.push(Message::Nack(id, Nack::ReplyTooLarge));
        } else {
            self.replies.push(Message::Reply(id, reply));
        }
    }

    /// Nobody answers this request of the peer. `is_untouched`: for certain, nothing was done about it.
    pub fn leave_unanswered(&mut self, id: u64, is_untouched: bool) {
        if !self.is_ended && self.open.remove(&id) {
            let (why, counter) = if is_untouched {
                (Nack::Refused, &self.counters.requests_refused)
            } else {
                (Nack::Unanswered, &self.counters.requests_unanswered)
            };
            counter.one();
            self.replies.push(Message::Nack(id, why));
        }
    }

    /// Takes no request any more; what is open is still answered.
    pub fn stop_taking(&mut self) {
        self.takes_requests = false;
    }

    /// Says goodbye: the peer ends the link when it hears it.
    pub fn say_bye(&mut self, outputs: &mut Vec<Output<A>>) {
        if self.is_open && !self.is_ended {
            let mut frame = self.writer(0, 8);
            frame.bye();
            self.emit(frame, outputs);
        }
    }

    /// Nothing waits to leave.
    pub fn is_drained(&self) -> bool {
        self.is_ended || (self.open.is_empty() && self.replies.is_empty() && self.tells.is_empty())
    }

    pub fn cork(&mut self) {
        self.is_corked = true;
    }
    pub fn uncork(&mut self, outputs: &mut Vec<Output<A>>) {
        self.is_corked = false;
        self.send(outputs);
    }

    /// Sends what can be sent.
    pub fn send(&mut self, outputs: &mut Vec<Output<A>>) {
        if !self.is_open || self.is_ended || self.is_corked {
            return;
        }
        while !(self.tells.is_empty() && self.replies.is_empty() && self.requests.is_empty()) {
            let must_wait = self.credit() == 0;
            let waited = std::mem::replace(&mut self.is_waiting, must_wait);
            if must_wait {
                self.counters.credit_waits.add(u64::from(!waited));
                break;
            }
            let waiting = self.tells.bytes() + self.replies.bytes() + self.requests.bytes();
            let messages = self.tells.len() + self.replies.len() + self.requests.len();
            let mut frame = self.writer(self.sent + 1, waiting + messages * 16);
            self.fill(&mut frame);
            if frame.filled() == 0 {
                break; // all that waited were requests that nobody wants any more
            }
            self.sent += 1;
            self.emit(frame, outputs);
        }
        let owes_credit = self.taken - self.told_taken >= u64::from(self.limits.window);
        if self.echo.is_some() || owes_credit {
            let frame = self.writer(0, 8);
            self.emit(frame, outputs);
        }
    }

    fn credit(&self) -> u64 {
        u64::from(self.terms.window).saturating_sub(self.sent - self.acknowledged)
    }

    fn writer(&self, number: u64, room: usize) -> Writer {
        Writer::new(Header { link: self.terms.number, number, taken: self.taken }, room)
    }

    /// Gives the frame away, with what every frame may carry.
    fn emit(&mut self, mut frame: Writer, outputs: &mut Vec<Output<A>>) {
        if let Some(number) = self.echo.take() {
            frame.echo(number);
        }
        self.told_taken = self.taken;
        let frame = frame.finish();
        self.frames += 1;
        self.counters.frames_sent.one();
        self.counters.bytes_sent.add(frame.len() as u64);
        outputs.push(Output::Frame(frame));
    }

    fn fill(&mut self, frame: &mut Writer) {
        let all = frame.room();
        let others_wait = !(self.replies.is_empty() && self.requests.is_empty());
        self.tells.fill(frame, if others_wait { all / 2 } else { all }, &mut |_| true);
        let left = frame.room();
        self.replies.fill(frame, if self.requests.is_empty() { left } else { left / 2 }, &mut |_| true);
        let (asks, counters) = (&mut self.asks, &self.counters);
        let mut begin = |message: &Message| {
            let Message::Request(id, _) = message else { return true };
            let Some(ask) = asks.get_mut(id) else { return false };
            ask.is_sent = true;
            counters.requests_sent.one();
            true
        };
        self.requests.fill(frame, FRAME_MAX, &mut begin);
        self.replies.fill(frame, FRAME_MAX, &mut |_| true);
    }

    fn fail(&mut self, id: u64, unsent: NotTaken, outputs: &mut Vec<Output<A>>) {
        if let Some(ask) = self.asks.remove(&id) {
            let failure = if ask.is_sent {
                self.counters.asks_lost.one();
                AskFailure::Lost
            } else {
                AskFailure::NotTaken(unsent)
            };
            outputs.push(Output::Outcome(ask.asker, Err(failure)));
        }
    }

    /// The link has ended: everybody who waits is told. What comes afterwards goes nowhere.
    pub fn end(&mut self, outputs: &mut Vec<Output<A>>) {
        self.is_ended = true;
        let waiting: Vec<u64> = self.asks.keys().copied().collect();
        for id in waiting {
            self.fail(id, NotTaken::Down, outputs);
        }
        self.open.clear();
        (self.tells, self.requests) = (Queue::new(Lane::Tell), Queue::new(Lane::Request));
        self.replies = Queue::new(Lane::Reply);
    }

    pub fn vitals(&self) -> Vitals {
        let (asks, open) = (self.asks.len(), self.open.len());
        Vitals { rtt: self.rtt, credit: self.credit(), frames: self.frames, asks, open }
    }
}
