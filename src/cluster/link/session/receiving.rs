//! What a frame brings.

use std::time::Duration;

use bytes::Bytes;

use super::super::frame::{Header, Lane, Nack, Part, Reader};
use super::super::outcome::{AskFailure, EndWhy, NotTaken};
use super::queue::Message;
use super::{Output, Session};

impl<A> Session<A> {
    /// A frame has come.
    pub fn receive(&mut self, frame: Bytes, now: Duration, outputs: &mut Vec<Output<A>>) {
        if self.is_ended {
            return;
        }
        self.frames += 1;
        self.counters.frames_received.one();
        self.counters.bytes_received.add(frame.len() as u64);
        if let Err(why) = self.take(frame, now, outputs) {
            self.end(outputs);
            outputs.push(Output::End(why));
        }
    }

    fn take(&mut self, frame: Bytes, now: Duration, outputs: &mut Vec<Output<A>>) -> Result<(), EndWhy> {
        let mut frame = Reader::new(frame).map_err(|_| EndWhy::Malformed)?;
        let Header { number, taken, .. } = frame.header;
        if taken < self.acknowledged || taken > self.sent {
            return Err(EndWhy::Malformed);
        }
        let is_numbered = number != 0;
        if is_numbered {
            if number != self.taken + 1 {
                return Err(EndWhy::Gap);
            }
            if number - self.told_taken > u64::from(self.limits.window) {
                return Err(EndWhy::Flood);
            }
        }
        while let Some(part) = frame.next_part().map_err(|_| EndWhy::Malformed)? {
            if !is_numbered && !matches!(part, Part::Beat(_) | Part::Echo(_) | Part::Bye) {
                return Err(EndWhy::Malformed);
            }
            self.part(part, now, outputs)?;
        }
        // Only now: a frame that ends the link gives no credit.
        self.acknowledged = taken;
        if is_numbered {
            self.taken = number;
        }
        Ok(())
    }

    fn part(&mut self, part: Part, now: Duration, outputs: &mut Vec<Output<A>>) -> Result<(), EndWhy> {
        match part {
            Part::Beat(number) => self.echo = Some(number),
            Part::Echo(number) => {
                if let Some((_, sent)) = self.beat_sent.take_if(|(beat, _)| *beat == number) {
                    self.rtt = Some(now.saturating_sub(sent));
                }
            }
            Part::Bye => return Err(EndWhy::Bye),
            Part::Tell { total, page } => {
                let whole = self.told.begin((), total, page, self.limits.tell_max_bytes)?;
                outputs.extend(whole.map(|((), message)| Output::Told(message)));
            }
            Part::Request { id, total, page } => {
                let whole = self.requested.begin(id, total, page, self.limits.message_max_bytes)?;
                self.requested_whole(whole, outputs)?;
            }
            Part::Reply { id, total, page } => {
                let whole = self.replied.begin(id, total, page, self.limits.message_max_bytes)?;
                self.replied_whole(whole, outputs);
            }
            Part::More { lane: Lane::Tell, page } => {
                let whole = self.told.go_on(&page)?;
                outputs.extend(whole.map(|((), message)| Output::Told(message)));
            }
            Part::More { lane: Lane::Request, page } => {
                let whole = self.requested.go_on(&page)?;
                self.requested_whole(whole, outputs)?;
            }
            Part::More { lane: Lane::Reply, page } => {
                let whole = self.replied.go_on(&page)?;
                self.replied_whole(whole, outputs);
            }
            Part::Nack { id, why } => {
                let failure = match why {
                    Nack::Busy => AskFailure::NotTaken(NotTaken::PeerBusy),
                    Nack::Stopping => AskFailure::NotTaken(NotTaken::PeerStopping),
                    Nack::Refused => AskFailure::NotTaken(NotTaken::PeerRefused),
                    Nack::Unanswered => AskFailure::Lost,
                    Nack::ReplyTooLarge => AskFailure::ReplyTooLarge,
                };
                self.outcome(id, Err(failure), outputs);
            }
        }
        Ok(())
    }

    fn requested_whole(&mut self, whole: Option<(u64, Bytes)>, outputs: &mut Vec<Output<A>>) -> Result<(), EndWhy> {
        let Some((id, request)) = whole else { return Ok(()) };
        self.counters.requests_received.one();
        let refusal = if !self.takes_requests {
            Some(Nack::Stopping)
        } else if self.open.len() >= self.limits.open_max || self.replies.bytes() >= self.limits.replies_max_bytes {
            Some(Nack::Busy)
        } else {
            None
        };
        if let Some(why) = refusal {
            self.counters.requests_refused.one();
            // Who goes on asking while so much waits for it to take does not keep to its own bound.
            if self.replies.len() > 4 * self.limits.open_max {
                return Err(EndWhy::Flood);
            }
            self.replies.push(Message::Nack(id, why));
            return Ok(());
        }
        if !self.open.insert(id) {
            return Err(EndWhy::Malformed);
        }
        outputs.push(Output::Asked { id, request });
        Ok(())
    }

    fn replied_whole(&mut self, whole: Option<(u64, Bytes)>, outputs: &mut Vec<Output<A>>) {
        if let Some((id, reply)) = whole {
            self.outcome(id, Ok(reply), outputs);
        }
    }

    fn outcome(&mut self, id: u64, result: Result<Bytes, AskFailure>, outputs: &mut Vec<Output<A>>) {
        match self.asks.remove(&id) {
            Some(ask) => outputs.push(Output::Outcome(ask.asker, result)),
            None => self.counters.replies_late.one(),
        }
    }
}
