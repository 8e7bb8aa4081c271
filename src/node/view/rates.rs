//! How much there is of something in a second: counters that are looked at every few seconds.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::metrics::Metrics;

const EVERY: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Rates(Mutex<State>);

#[derive(Default)]
struct State {
    before: Option<Sample>,
    requests_per_s: Option<f64>,
    /// By peer.
    frames_per_s: BTreeMap<String, f64>,
}

struct Sample {
    at: Instant,
    requests: u64,
    frames: BTreeMap<String, u64>,
}

impl Rates {
    /// Looks until nobody has the rates any more. `frames`: the frames of each link since it was made, by peer.
    pub fn start(metrics: Arc<Metrics>, frames: impl Fn() -> BTreeMap<String, u64> + Send + 'static) -> Arc<Rates> {
        let rates = Arc::new(Rates::default());
        let looking: Weak<Rates> = Arc::downgrade(&rates);
        tokio::spawn(async move {
            while let Some(rates) = looking.upgrade() {
                rates.look(Sample { at: Instant::now(), requests: metrics.requests_answered(), frames: frames() });
                drop(rates);
                sleep(EVERY).await;
            }
        });
        rates
    }

    fn look(&self, now: Sample) {
        let mut state = self.0.lock();
        if let Some(before) = &state.before {
            let seconds = now.at.duration_since(before.at).as_secs_f64().max(f64::EPSILON);
            let rate = |before: u64, now: u64| (now.saturating_sub(before) as f64 / seconds * 10.0).round() / 10.0;
            let requests_per_s = rate(before.requests, now.requests);
            // A link that was made anew counts from 0.
            let of_link = |(peer, frames): (&String, &u64)| {
                let before = before.frames.get(peer).filter(|before| *before <= frames)?;
                Some((peer.clone(), rate(*before, *frames)))
            };
            let frames_per_s = now.frames.iter().filter_map(of_link).collect();
            (state.requests_per_s, state.frames_per_s) = (Some(requests_per_s), frames_per_s);
        }
        state.before = Some(now);
    }

    /// `None`: it has not been looked at twice yet.
    pub fn requests_per_s(&self) -> Option<f64> {
        self.0.lock().requests_per_s
    }

    pub fn frames_per_s(&self, peer: &str) -> Option<f64> {
        self.0.lock().frames_per_s.get(peer).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_was_added_between_two_looks() {
        let (rates, begin) = (Rates::default(), Instant::now());
        let sample = |seconds, requests, frames| Sample {
            at: begin + Duration::from_secs(seconds),
            requests,
            frames: BTreeMap::from([("b".to_owned(), frames)]),
        };
        rates.look(sample(0, 10, 100));
        assert_eq!((rates.requests_per_s(), rates.frames_per_s("b")), (None, None));
        rates.look(sample(2, 15, 140));
        assert_eq!((rates.requests_per_s(), rates.frames_per_s("b")), (Some(2.5), Some(20.0)));
        rates.look(sample(4, 15, 7));
        assert_eq!((rates.requests_per_s(), rates.frames_per_s("b")), (Some(0.0), None), "the link is new");
    }
}
