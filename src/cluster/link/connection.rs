//! One connection to a peer: its state machine, and what carries its frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::carrier::Carried;
use super::counters::Counters;
use super::hello::Hello;
use super::limits::Limits;
use super::outcome::{AskFailure, NotTaken};
use super::session::{Output, Pulse, Session, Terms, Vitals};

type Tell = Box<dyn FnOnce(Result<Bytes, AskFailure>) + Send>;

/// Whoever asks: it is told exactly once, whatever happens.
pub struct Asker {
    tell: Option<Tell>,
    counters: Arc<Counters>,
}

impl Asker {
    pub fn new(counters: &Arc<Counters>, tell: impl FnOnce(Result<Bytes, AskFailure>) + Send + 'static) -> Asker {
        Asker { tell: Some(Box::new(tell)), counters: counters.clone() }
    }
    pub fn tell(mut self, outcome: Result<Bytes, AskFailure>) {
        if let Some(tell) = self.tell.take() {
            tell(outcome);
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            self.counters.requests_dropped.one();
            tell(Err(AskFailure::Lost));
        }
    }
}

/// What is left of the outputs when the frames have gone to the wire.
pub type Left = Vec<Output<Asker>>;

pub struct Connection {
    pub peer: Hello,
    /// What this node calls the connection.
    pub number: u64,
    pub heard: Arc<AtomicU64>,
    pub made: Instant,
    began: Instant,
    session: Mutex<Session<Asker>>,
    carried: OnceCell<Carried>,
    is_finished: AtomicBool,
    announced: Mutex<Announced>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Announced {
    NotYet,
    Up,
    Down,
}

impl Connection {
    /// `began`: when the clock of all connections did.
    pub fn new(
        peer: Hello,
        number: u64,
        limits: Limits,
        pulse: Pulse,
        counters: Arc<Counters>,
        began: Instant,
    ) -> Connection {
        let message_max_bytes = limits.message_max_bytes.min(peer.message_max_bytes as usize);
        let terms = Terms { number: peer.number, window: peer.window, message_max_bytes };
        Connection {
            session: Mutex::new(Session::new(limits, terms, pulse, counters, began.elapsed())),
            peer,
            number,
            heard: Arc::default(),
            made: Instant::now(),
            began,
            carried: OnceCell::new(),
            is_finished: AtomicBool::new(false),
            announced: Mutex::new(Announced::NotYet),
        }
    }

    /// Does something with the state machine, and sends the frames that come of it. They leave while the state is locked: so
    /// they leave in their order.
    pub fn act<R>(&self, act: impl FnOnce(&mut Session<Asker>, &mut Left) -> R) -> (R, Left) {
        let mut outputs = Vec::new();
        let mut session = self.session.lock();
        let result = act(&mut session, &mut outputs);
        if let Some(carried) = self.carried.get() {
            for output in outputs.extract_if(.., |output| matches!(output, Output::Frame(_))) {
                if let Output::Frame(frame) = output {
                    carried.send(frame);
                }
            }
        }
        (result, outputs)
    }

    pub fn now(&self) -> std::time::Duration {
        self.began.elapsed()
    }

    /// Frames can be sent from now on. Gives it back where the connection has been opened already.
    pub fn open(&self, carried: Carried) -> Left {
        let now = self.now();
        if self.carried.set(carried).is_err() {
            return Vec::new();
        }
        self.act(|session, outputs| session.open(now, outputs)).1
    }

    pub fn ask(&self, asker: Asker, request: Bytes, within: std::time::Duration) {
        let deadline = self.now().saturating_add(within);
        let (refused, left) = self.act(|session, outputs| {
            let refused = session.ask(asker, request, deadline).err();
            session.send(outputs);
            refused
        });
        debug_assert!(left.is_empty(), "asking sends frames and nothing else");
        if let Some((asker, why)) = refused {
            asker.tell(Err(AskFailure::NotTaken(why)));
        }
    }

    pub fn tell(&self, message: Bytes) {
        self.act(|session, outputs| {
            session.tell(message);
            session.send(outputs);
        });
    }

    pub fn reply(&self, id: u64, reply: Bytes) {
        self.act(|session, outputs| {
            session.reply(id, reply);
            session.send(outputs);
        });
    }

    pub fn leave_unanswered(&self, id: u64, is_untouched: bool) {
        self.act(|session, outputs| {
            session.leave_unanswered(id, is_untouched);
            session.send(outputs);
        });
    }

    /// The link has ended: closes the connection, and says which askers are to be told. Only the first call has them.
    pub fn finish(&self) -> Option<Left> {
        if self.is_finished.swap(true, Ordering::AcqRel) {
            return None;
        }
        let (_, left) = self.act(|session, outputs| session.end(outputs));
        self.close();
        Some(left)
    }
    pub fn is_finished(&self) -> bool {
        self.is_finished.load(Ordering::Acquire)
    }

    fn close(&self) {
        if let Some(carried) = self.carried.get() {
            carried.close();
        }
    }

    pub fn vitals(&self) -> Vitals {
        self.session.lock().vitals()
    }
    pub fn is_drained(&self) -> bool {
        self.session.lock().is_drained()
    }

    /// Announces the link by `up`, unless that was done or it has ended.
    pub fn announce_up(&self, up: impl FnOnce()) {
        let mut announced = self.announced.lock();
        if *announced == Announced::NotYet {
            *announced = Announced::Up;
            up();
        }
    }
    /// Announces the end by `down`, where the beginning was announced.
    pub fn announce_down(&self, down: impl FnOnce()) {
        let mut announced = self.announced.lock();
        if std::mem::replace(&mut *announced, Announced::Down) == Announced::Up {
            down();
        }
    }
}

/// Why nothing could be asked where there is no connection.
pub fn no_link(asker: Asker, is_stopping: bool) {
    let why = if is_stopping { NotTaken::Stopping } else { NotTaken::Down };
    asker.tell(Err(AskFailure::NotTaken(why)));
}
