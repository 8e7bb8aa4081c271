//! What a run was and what it showed, as JSON for programs and as one HTML page for people.

mod page;
mod timeline;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::cluster::NODES;
use super::measure::{Attempt, Effect, Effects, Latencies, seconds, slowest};
use super::run::Outcome;
use super::way::name;

/// So many of the requests that took longest are named.
const SLOWEST: usize = 60;

/// What is reported of one run.
pub struct Round {
    pub seed: u64,
    pub happened: Vec<(super::faults::Happened, Effect)>,
    pub seconds: Vec<super::measure::Second>,
    pub all: Latencies,
    /// What was checked, in words, with how much of it there was.
    pub checked: Vec<(String, usize)>,
    /// Attempts that failed, and the requests that took longest.
    pub failures: Vec<Value>,
    pub slowest: Vec<Value>,
    pub wrong: Vec<String>,
}

impl Round {
    pub fn of(outcome: &Outcome) -> Round {
        let (requests, attempts) = (outcome.shop.requests.lock(), outcome.shop.attempts.lock());
        let with_effect =
            |happened: &super::faults::Happened| (happened.clone(), Effect::of(happened, &requests, &attempts));
        let mut checked = Vec::new();
        for (kind, judged) in &outcome.judged {
            checked.push((format!("{kind} whose histories are linearizable"), judged.entities - judged.refused.len()));
            checked.push((format!("calls in the histories of {kind}"), judged.calls));
            checked.push((format!("of them, calls that were never answered ({kind})"), judged.unanswered));
        }
        checked.push(("orders in the books".to_owned(), outcome.orders));
        checked.push(("orders that were acknowledged".to_owned(), outcome.shop.bought.lock().len()));
        Round {
            seed: outcome.plan.seed,
            happened: outcome.happened.iter().map(with_effect).collect(),
            seconds: seconds(&requests, &attempts),
            all: Latencies::of(requests.iter()),
            checked,
            failures: attempts.iter().filter_map(Attempt::failure_json).collect(),
            slowest: slowest(&requests, SLOWEST),
            wrong: outcome.wrong.clone(),
        }
    }

    /// What was promised to clients, and not kept.
    pub fn broken_bars(&self) -> Vec<String> {
        let broken = self.happened.iter().flat_map(|(happened, effect)| {
            let fault = happened.fault;
            let others = (fault.spares_others() && !effect.at_others.is_empty())
                .then(|| format!("{}: others were refused {:?}", fault.words(), effect.at_others));
            let victims = (fault.is_planned() && !effect.at_victims.is_empty())
                .then(|| format!("{}: it was planned, and refused {:?}", fault.words(), effect.at_victims));
            others.into_iter().chain(victims)
        });
        broken.collect()
    }

    fn json(&self) -> Value {
        let faults = self.happened.iter().map(|(happened, effect)| {
            json!({
                "fault": happened.fault.words(), "began_s": happened.began as f64 / 1e6,
                "ended_s": happened.ended as f64 / 1e6,
                "victims": happened.victims.iter().map(|node| name(*node)).collect::<Vec<_>>(), "effect": effect.json(),
            })
        });
        json!({
            "seed": self.seed, "faults": faults.collect::<Vec<_>>(), "latency": self.all.json(),
            "checked": self.checked.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "failures": self.failures, "slowest": self.slowest, "wrong": self.wrong, "broken_bars": self.broken_bars(),
        })
    }
}

/// All rounds, under what they ran.
pub struct Report {
    /// Which store, lease and program, and how to have the same again.
    pub about: Vec<(&'static str, String)>,
    pub rounds: Vec<Round>,
}

impl Report {
    pub fn effects(&self) -> Effects {
        let mut effects = Effects::new();
        for (happened, effect) in self.rounds.iter().flat_map(|round| &round.happened) {
            effects.entry(happened.fault).or_default().join(effect);
        }
        effects
    }

    pub fn json(&self) -> Value {
        let effects: serde_json::Map<String, Value> =
            self.effects().iter().map(|(fault, effect)| (fault.words().to_owned(), effect.json())).collect();
        let about: serde_json::Map<String, Value> =
            self.about.iter().map(|(what, text)| ((*what).to_owned(), json!(text))).collect();
        let rounds: Vec<Value> = self.rounds.iter().map(Round::json).collect();
        json!({"about": about, "nodes_max": NODES, "faults": effects, "rounds": rounds})
    }

    /// Into a folder: `report.json` and `report.html`.
    pub fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).expect("a folder");
        let json = serde_json::to_string_pretty(&self.json()).expect("JSON");
        fs::write(folder.join("report.json"), json).expect("the report");
        fs::write(folder.join("report.html"), page::html(self)).expect("the page");
    }
}

/// The histories that no order fits, and what the nodes said, for whoever looks for the cause.
pub fn keep_evidence(outcome: &Outcome, folder: &Path) {
    fs::create_dir_all(folder).expect("a folder");
    let seed = outcome.plan.seed;
    for (kind, judged) in &outcome.judged {
        for (number, (why, history)) in judged.refused.iter().enumerate() {
            let file = folder.join(format!("refused-{seed}-{kind}-{number}.txt"));
            fs::write(file, format!("{why}\n{history}")).expect("the history");
        }
    }
    for (node, log) in (0..).zip(&outcome.logs) {
        fs::write(folder.join(format!("{}-{seed}.log", name(node))), log).expect("the log");
    }
}
