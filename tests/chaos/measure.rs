//! What clients saw, in numbers: how long requests took, what was refused, and by whom, before, during and after each fault.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::faults::{Fault, Happened};
use super::way::name;

/// What is before and after a fault is so long.
const AROUND_US: u64 = 3_000_000;

/// One sending of a request.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub node: usize,
    pub began: u64,
    pub ended: u64,
    /// Method and path, where it failed.
    pub asked: String,
    pub outcome: Outcome,
}

impl Attempt {
    /// For whoever looks for the cause of a failure.
    pub fn failure_json(&self) -> Option<Value> {
        let failure = self.outcome.failure()?;
        let (began, ended) = (self.began as f64 / 1e6, self.ended as f64 / 1e6);
        Some(json!({"node": name(self.node), "asked": self.asked, "began_s": began, "ended_s": ended, "told": failure}))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done, or refused by a rule of the shop.
    Decided,
    /// An order that is pending: 202.
    Pending,
    /// Not now; status and code say why.
    Refused(String),
    /// The connection ended without an answer.
    NoAnswer,
    /// Nobody took the connection.
    NotConnected,
    /// The client did not wait any longer, because the node was not ready.
    LeftWaiting,
}

impl Outcome {
    /// Whether it may have done something. (An attempt that was refused as unavailable or overloaded has not.)
    pub fn may_be_done(&self) -> bool {
        match self {
            Outcome::NotConnected => false,
            Outcome::Refused(code) => code != "503 unavailable" && code != "503 overloaded",
            Outcome::Decided | Outcome::Pending | Outcome::NoAnswer | Outcome::LeftWaiting => true,
        }
    }

    /// What a client behind a load balancer sees as a failure: a refusal, or no answer. (Where nobody takes the connection the
    /// balancer tries the next node, and who leaves has decided so himself.)
    pub fn failure(&self) -> Option<&str> {
        match self {
            Outcome::Refused(code) => Some(code),
            Outcome::NoAnswer => Some("no answer"),
            Outcome::Decided | Outcome::Pending | Outcome::NotConnected | Outcome::LeftWaiting => None,
        }
    }
}

/// A request from its first sending until it was decided.
#[derive(Debug, Clone)]
pub struct Request {
    /// Method and path.
    pub asked: String,
    pub began: u64,
    pub ended: u64,
}

/// How long some requests took.
#[derive(Debug, Default, Clone)]
pub struct Latencies(Vec<u64>);

impl Request {
    fn took(&self) -> u64 {
        self.ended - self.began
    }
}

/// Those that took longest, for whoever looks for the cause.
pub fn slowest(requests: &[Request], count: usize) -> Vec<Value> {
    let mut slowest: Vec<&Request> = requests.iter().collect();
    slowest.sort_by_key(|request| std::cmp::Reverse(request.took()));
    let told = |request: &Request| {
        let (began, took) = (request.began as f64 / 1e6, request.took() as f64 / 1e6);
        json!({"asked": request.asked, "began_s": began, "took_s": took})
    };
    slowest.into_iter().take(count).map(told).collect()
}

impl Latencies {
    pub fn of<'a>(requests: impl Iterator<Item = &'a Request>) -> Latencies {
        let mut took: Vec<u64> = requests.map(Request::took).collect();
        took.sort_unstable();
        Latencies(took)
    }

    pub fn join(&mut self, other: &Latencies) {
        self.0.extend(&other.0);
        self.0.sort_unstable();
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Milliseconds that this share of them took at most.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let at = ((self.0.len() as f64 * share).ceil() as usize).clamp(1, self.0.len().max(1)) - 1;
        self.0.get(at).map_or(0.0, |us| *us as f64 / 1_000.0)
    }

    pub fn json(&self) -> Value {
        let [p50, p90, p99, max] = [0.5, 0.9, 0.99, 1.0].map(|share| self.quantile_ms(share));
        json!({"requests": self.count(), "p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "max_ms": max})
    }
}

/// What one fault, or all of its kind, meant to clients.
#[derive(Debug, Default, Clone)]
pub struct Effect {
    pub times: usize,
    pub before: Latencies,
    pub during: Latencies,
    pub after: Latencies,
    /// Failed attempts at the nodes that it struck, and at the others, by what they were told.
    pub at_victims: BTreeMap<String, usize>,
    pub at_others: BTreeMap<String, usize>,
    /// Until all slots were served again, in seconds.
    pub fail_over_s: Vec<f64>,
}

impl Effect {
    pub fn of(happened: &Happened, requests: &[Request], attempts: &[Attempt]) -> Effect {
        let Happened { began, ended, .. } = *happened;
        let within = |from: u64, to: u64| move |request: &&Request| request.began >= from && request.ended <= to;
        let overlapping = |request: &&Request| request.began < ended && request.ended > began;
        let (before, after) = (within(began.saturating_sub(AROUND_US), began), within(ended, ended + AROUND_US));
        let mut effect = Effect {
            times: 1,
            before: Latencies::of(requests.iter().filter(before)),
            during: Latencies::of(requests.iter().filter(overlapping)),
            after: Latencies::of(requests.iter().filter(after)),
            fail_over_s: happened.fail_over.iter().map(std::time::Duration::as_secs_f64).collect(),
            ..Effect::default()
        };
        let met = |attempt: &&Attempt| match attempt.outcome {
            // The connection was lost just then, however long it had stood.
            Outcome::NoAnswer => (began..=ended).contains(&attempt.ended),
            _ => attempt.began < ended && attempt.ended > began,
        };
        for attempt in attempts.iter().filter(met) {
            let Some(failure) = attempt.outcome.failure() else { continue };
            let struck = happened.victims.contains(&attempt.node);
            let told = if struck { &mut effect.at_victims } else { &mut effect.at_others };
            *told.entry(failure.to_owned()).or_default() += 1;
        }
        effect
    }

    pub fn join(&mut self, other: &Effect) {
        self.times += other.times;
        self.before.join(&other.before);
        self.during.join(&other.during);
        self.after.join(&other.after);
        for (mine, theirs) in [(&mut self.at_victims, &other.at_victims), (&mut self.at_others, &other.at_others)] {
            for (code, count) in theirs {
                *mine.entry(code.clone()).or_default() += count;
            }
        }
        self.fail_over_s.extend(&other.fail_over_s);
        self.fail_over_s.sort_by(f64::total_cmp);
    }

    pub fn json(&self) -> Value {
        json!({
            "times": self.times, "before": self.before.json(), "during": self.during.json(), "after": self.after.json(),
            "failed_at_victims": self.at_victims, "failed_at_others": self.at_others, "fail_over_s": self.fail_over_s,
        })
    }
}

/// By kind, over several rounds.
pub type Effects = BTreeMap<Fault, Effect>;

/// A second of a run.
#[derive(Debug, Default, Clone)]
pub struct Second {
    pub latencies: Latencies,
    pub failed: usize,
}

/// Each second of a run, by when requests were decided.
pub fn seconds(requests: &[Request], attempts: &[Attempt]) -> Vec<Second> {
    let second = |us: u64| (us / 1_000_000) as usize;
    let ends = requests.iter().map(|request| request.ended).chain(attempts.iter().map(|attempt| attempt.ended));
    let mut seconds = vec![Second::default(); ends.max().map_or(0, |last| second(last) + 1)];
    for request in requests {
        seconds[second(request.ended)].latencies.0.push(request.took());
    }
    seconds.iter_mut().for_each(|second| second.latencies.0.sort_unstable());
    for attempt in attempts.iter().filter(|attempt| attempt.outcome.failure().is_some()) {
        seconds[second(attempt.ended)].failed += 1;
    }
    seconds
}

#[test]
fn quantiles_are_of_what_was_measured() {
    let request = |us: u64| Request { asked: String::new(), began: 1_000, ended: 1_000 + us };
    let requests: Vec<Request> = (1..=100).map(|ms| request(ms * 1_000)).collect();
    let latencies = Latencies::of(requests.iter());
    assert_eq!([0.5, 0.99, 1.0].map(|share| latencies.quantile_ms(share)), [50.0, 99.0, 100.0]);
    assert_eq!(Latencies::default().quantile_ms(0.5), 0.0);
}
