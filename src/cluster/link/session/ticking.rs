//! What time brings: heartbeats, the end of patience, and credit that was not urgent.

use std::time::Duration;

use super::super::outcome::{EndWhy, NotTaken};
use super::{Output, Session};

impl<A> Session<A> {
    /// Time passes. `heard`: how many bytes have come on the connection since it began.
    pub fn tick(&mut self, now: Duration, heard: u64, outputs: &mut Vec<Output<A>>) {
        if !self.is_open || self.is_ended {
            return;
        }
        self.give_up(now, outputs);
        // While this process itself stood still, nothing could be heard: such a gap counts as one tick.
        let passed = now.saturating_sub(self.last_tick).min(self.pulse.heartbeat / 2);
        self.last_tick = now;
        self.silence = if heard == self.heard { self.silence + passed } else { Duration::ZERO };
        self.heard = heard;
        if self.silence >= self.pulse.dead_after {
            self.counters.links_silent.one();
            self.end(outputs);
            outputs.push(Output::End(EndWhy::Silent));
            return;
        }
        self.send(outputs);
        let beats = now.saturating_sub(self.last_beat) >= self.pulse.heartbeat;
        if beats || self.taken > self.told_taken {
            let mut frame = self.writer(0, 16);
            if beats {
                self.last_beat = now;
                self.beats += 1;
                // An echo that is still missing goes on being waited for: its time is the longer.
                self.beat_sent.get_or_insert((self.beats, now));
                frame.beat(self.beat_sent.map_or(self.beats, |(number, _)| number));
            }
            self.emit(frame, outputs);
        }
    }

    fn give_up(&mut self, now: Duration, outputs: &mut Vec<Output<A>>) {
        let late: Vec<u64> = self.asks.iter().filter(|(_, ask)| ask.deadline <= now).map(|(id, _)| *id).collect();
        for id in late {
            self.fail(id, NotTaken::Deadline, outputs);
        }
    }
}
