//! Drives all connections on one thread.

use std::collections::VecDeque;
use std::io;
use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::connection::{Answer, Connection, Pending};
use crate::options::Options;
use crate::report::{Report, Told};
use crate::request::{Learnt, Requests};

/// How long answers are awaited after the last request was sent.
const PATIENCE: Duration = Duration::from_secs(20);

struct Drive<'a> {
    options: &'a Options,
    requests: &'a Requests,
    connections: Vec<Connection>,
    idle: Vec<usize>,
    busy: usize,
    /// Due in an open loop, and not sent for want of an idle connection.
    due: VecDeque<Instant>,
    next: u64,
    last: u64,
    start: Instant,
    end: Option<Instant>,
    report: Report,
}

pub fn drive(options: &Options, requests: &Requests) -> io::Result<Report> {
    let addr = options.addr.to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut poll = Poll::new()?;
    let mut connections = Vec::with_capacity(options.connections);
    for index in 0..options.connections {
        let mut connection = Connection::open(addr)?;
        poll.registry().register(&mut connection.stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        connections.push(connection);
    }
    let list = if options.journey { 1 } else { requests.len() as u64 };
    let many = options.count.unwrap_or(if options.seconds.is_some() { u64::MAX / 2 } else { list });
    let start = Instant::now();
    let mut drive = Drive {
        options,
        requests,
        idle: (0..connections.len()).rev().collect(),
        connections,
        busy: 0,
        due: VecDeque::new(),
        next: options.first,
        last: options.first + many,
        start,
        end: options.seconds.map(|seconds| start + Duration::from_secs_f64(seconds)),
        report: Report::default(),
    };
    drive.run(&mut poll)?;
    let mut report = drive.report;
    let last = report.told.iter().map(|told| told.sent_us + u64::from(told.latency_us)).max().unwrap_or(0);
    // A run of so many seconds counts what was answered in them; a list takes as long as it takes.
    let took = Duration::from_micros(last).as_secs_f64().max(1e-6);
    report.seconds = options.seconds.filter(|_| options.count.is_none()).unwrap_or(took);
    Ok(report)
}

impl Drive<'_> {
    fn run(&mut self, poll: &mut Poll) -> io::Result<()> {
        let mut events = Events::with_capacity(4_096);
        let mut scratch = vec![0; 65_536];
        let interval = self.options.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
        let mut next_due = self.start;
        loop {
            let now = Instant::now();
            match interval {
                None => self.send_from_idle(now)?,
                Some(interval) => {
                    while next_due <= now && self.end.is_none_or(|end| next_due < end) {
                        self.due.push_back(next_due);
                        next_due += interval;
                    }
                    self.send_due()?;
                }
            }
            if self.busy == 0 && self.is_over(now) {
                return Ok(());
            }
            if self.end.is_some_and(|end| now > end + PATIENCE) {
                self.report.io_errors += self.busy as u64;
                return Ok(());
            }
            let wait = match interval {
                Some(_) => next_due.saturating_duration_since(Instant::now()).max(Duration::from_micros(200)),
                None => Duration::from_millis(200),
            };
            if let Err(error) = poll.poll(&mut events, Some(wait.min(Duration::from_millis(200)))) {
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            for event in &events {
                self.serve(event.token().0, event.is_writable(), &mut scratch)?;
            }
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.next >= self.last || self.end.is_some_and(|end| now >= end)
    }

    fn send_from_idle(&mut self, now: Instant) -> io::Result<()> {
        while !self.is_over(now) {
            let Some(index) = self.idle.pop() else { break };
            self.begin(index)?;
        }
        Ok(())
    }

    /// Sends what is due. What has waited a second for a connection is given up: the offer was made.
    fn send_due(&mut self) -> io::Result<()> {
        while let Some(due) = self.due.front().copied() {
            if self.next >= self.last || due.elapsed() > Duration::from_secs(1) {
                self.report.unsent += 1;
            } else {
                let Some(index) = self.idle.pop() else { break };
                self.begin(index)?;
            }
            self.due.pop_front();
        }
        Ok(())
    }

    fn begin(&mut self, index: usize) -> io::Result<()> {
        let n = self.next;
        self.next += 1;
        self.busy += 1;
        self.connections[index].learnt = Learnt::default();
        self.send(index, n, 0)
    }

    fn send(&mut self, index: usize, n: u64, step: usize) -> io::Result<()> {
        let line =
            if self.options.journey { step } else { ((n - self.options.first) % self.requests.len() as u64) as usize };
        let connection = &mut self.connections[index];
        let bytes = self.requests.bytes(line, n, self.options.picks, &connection.learnt);
        let pending = Pending { n, step, since: Instant::now() };
        match connection.send(&bytes, pending) {
            Ok(()) => Ok(()),
            Err(error) => self.lost(index, &error),
        }
    }

    fn serve(&mut self, index: usize, writable: bool, scratch: &mut [u8]) -> io::Result<()> {
        let connection = &mut self.connections[index];
        if connection.pending.is_none() {
            return Ok(());
        }
        if writable && let Err(error) = connection.flush() {
            return self.lost(index, &error);
        }
        match connection.receive(scratch) {
            Ok(Some(answer)) => self.answered(index, &answer),
            Ok(None) => Ok(()),
            Err(error) => self.lost(index, &error),
        }
    }

    fn answered(&mut self, index: usize, answer: &Answer) -> io::Result<()> {
        let now = Instant::now();
        let connection = &mut self.connections[index];
        let Some(Pending { n, step, since }) = connection.pending.take() else { return Ok(()) };
        let is_last = !self.options.journey || step + 1 == self.requests.len();
        let is_good = answer.status < 400;
        let in_time = self.end.is_none_or(|end| now <= end);
        self.report.told.push(Told {
            sent_us: micros(since - self.start),
            latency_us: u32::try_from(micros(now - since)).unwrap_or(u32::MAX),
            status: answer.status,
            step: step as u8,
            in_time,
        });
        if matches!(answer.status, 429 | 503) && !answer.retry_after {
            self.report.refused_without_retry_after += 1;
        }
        if !is_good && self.report.first_failure.is_none() {
            self.report.first_failure = Some(connection.body(answer));
        }
        if step == 0 && (self.options.journey || self.options.save.is_some()) {
            let field = |name: &[u8]| connection.field(answer, name);
            connection.learnt = Learnt { id: field(b"\"id\":\""), token: field(b"\"token\":\"") };
            if self.options.save.is_some() {
                self.report.learnt.insert(n, connection.learnt.clone());
            }
        }
        connection.forget_answer();
        if answer.closes {
            return self.lost(index, &io::ErrorKind::ConnectionReset.into());
        }
        if !is_last && is_good {
            return self.send(index, n, step + 1);
        }
        self.report.journeys += u64::from(is_last && is_good && in_time);
        self.busy -= 1;
        // The closed loop goes on at once, on this connection: no detour over the list of idle ones.
        if self.options.rate.is_none() && !self.is_over(now) { self.begin(index) } else { self.rest(index) }
    }

    fn rest(&mut self, index: usize) -> io::Result<()> {
        self.idle.push(index);
        Ok(())
    }

    /// A connection that broke is not opened again: the run says so, and ends with an error when all are gone.
    fn lost(&mut self, index: usize, error: &io::Error) -> io::Result<()> {
        self.report.io_errors += 1;
        self.report.first_failure.get_or_insert_with(|| error.to_string());
        self.connections[index].pending = None;
        self.busy = self.busy.saturating_sub(1);
        if self.report.io_errors >= self.connections.len() as u64 {
            return Err(io::Error::other(format!("every connection was lost: {error}")));
        }
        Ok(())
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
