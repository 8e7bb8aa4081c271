//! Two ends and the wire between them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::super::super::counters::Counters;
use super::super::super::frame::{FRAME_MAX, Reader};
use super::super::super::limits::Limits;
use super::super::super::outcome::{AskFailure, EndWhy, NotTaken};
use super::super::{Output, Pulse, Session, Terms};

pub const PULSE: Pulse = Pulse { heartbeat: Duration::from_millis(250), dead_after: Duration::from_millis(1_000) };
pub const WITHIN: Duration = Duration::from_secs(8);

pub type Outcome = (u32, Result<Bytes, AskFailure>);

/// One end: its state machine, and what has come out of it.
pub struct End {
    pub session: Session<u32>,
    pub counters: Arc<Counters>,
    pub frames: VecDeque<Vec<u8>>,
    pub asked: Vec<(u64, Bytes)>,
    pub told: Vec<Bytes>,
    pub outcomes: Vec<Outcome>,
    pub ended: Option<EndWhy>,
}

pub fn terms(number: u64, limits: Limits) -> Terms {
    Terms { number, window: limits.window, message_max_bytes: limits.message_max_bytes }
}

impl End {
    pub fn new(limits: Limits, number: u64) -> End {
        let counters = Arc::new(Counters::default());
        let session = Session::new(limits, terms(number, limits), PULSE, counters.clone(), Duration::ZERO);
        let mut end = End {
            session,
            counters,
            frames: VecDeque::new(),
            asked: Vec::new(),
            told: Vec::new(),
            outcomes: Vec::new(),
            ended: None,
        };
        end.act(|session, outputs| session.open(Duration::ZERO, outputs));
        end
    }

    pub fn act(&mut self, act: impl FnOnce(&mut Session<u32>, &mut Vec<Output<u32>>)) {
        let mut outputs = Vec::new();
        act(&mut self.session, &mut outputs);
        for output in outputs {
            assert_eq!(self.ended, None, "nothing comes behind the end");
            match output {
                Output::Frame(frame) => {
                    assert!(frame.len() <= FRAME_MAX);
                    self.frames.push_back(frame);
                }
                Output::Asked { id, request } => self.asked.push((id, request)),
                Output::Told(message) => self.told.push(message),
                Output::Outcome(asker, outcome) => self.outcomes.push((asker, outcome)),
                Output::End(why) => self.ended = Some(why),
            }
        }
    }

    pub fn ask(&mut self, asker: u32, request: &[u8]) -> Result<(), NotTaken> {
        self.ask_within(asker, request, WITHIN)
    }
    pub fn ask_within(&mut self, asker: u32, request: &[u8], deadline: Duration) -> Result<(), NotTaken> {
        let mut refused = Ok(());
        self.act(|session, outputs| {
            refused = session.ask(asker, Bytes::copy_from_slice(request), deadline).map_err(|(back, why)| {
                assert_eq!(back, asker);
                why
            });
            session.send(outputs);
        });
        refused
    }
    pub fn tell(&mut self, message: &[u8]) {
        self.act(|session, outputs| {
            session.tell(Bytes::copy_from_slice(message));
            session.send(outputs);
        });
    }
    pub fn reply(&mut self, id: u64, reply: &[u8]) {
        self.act(|session, outputs| {
            session.reply(id, Bytes::copy_from_slice(reply));
            session.send(outputs);
        });
    }
    pub fn answer_all(&mut self) {
        for (id, request) in std::mem::take(&mut self.asked) {
            self.reply(id, &request);
        }
    }
    pub fn take(&mut self, frame: Vec<u8>) {
        self.act(|session, outputs| {
            session.receive(Bytes::from(frame), Duration::ZERO, outputs);
            session.send(outputs);
        });
    }
    pub fn tick(&mut self, at: Duration, heard: u64) {
        self.act(|session, outputs| session.tick(at, heard, outputs));
    }
}

pub struct Pair {
    pub a: End,
    pub b: End,
}

impl Pair {
    pub fn new(limits: Limits) -> Pair {
        Pair { a: End::new(limits, 11), b: End::new(limits, 22) }
    }

    /// Carries everything that is under way, in turn, until nothing is.
    pub fn run(&mut self) {
        loop {
            let (to_b, to_a) = (self.a.frames.pop_front(), self.b.frames.pop_front());
            if to_a.is_none() && to_b.is_none() {
                return;
            }
            to_b.into_iter().for_each(|frame| self.b.take(frame));
            to_a.into_iter().for_each(|frame| self.a.take(frame));
        }
    }
}

pub fn numbered(frames: &VecDeque<Vec<u8>>) -> usize {
    let header = |frame: &Vec<u8>| Reader::new(Bytes::from(frame.clone())).expect("a frame").header;
    frames.iter().filter(|frame| header(frame).number != 0).count()
}
