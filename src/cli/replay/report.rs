//! What a replay found, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::state::Outcome;
use super::{Played, Run};
use crate::cli::args::ReplayArgs;
use crate::cli::meter::Latency;

/// Differences that a check lists; it counts all.
const DIFFERENCES_SHOWN: usize = 20;

/// One thing that must hold.
#[derive(Debug, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub ok: bool,
    /// What `expected` and `actual` are of.
    pub of: &'static str,
    pub expected: Value,
    pub actual: Value,
    pub differences: u64,
    /// The first of them.
    pub first_differences: Vec<String>,
}

impl Check {
    pub fn new(name: &'static str) -> Check {
        let (of, expected, actual) = ("", Value::Null, Value::Null);
        Check { name, ok: true, of, expected, actual, differences: 0, first_differences: Vec::new() }
    }

    /// Something is not as it must be.
    pub fn differs(&mut self, what: String) {
        self.ok = false;
        self.differences += 1;
        if self.first_differences.len() < DIFFERENCES_SHOWN {
            self.first_differences.push(what);
        }
    }

    /// The sum of the check: it fails when the two are not equal.
    pub fn compare(mut self, of: &'static str, expected: Value, actual: Value) -> Check {
        self.ok &= expected == actual;
        (self.of, self.expected, self.actual) = (of, expected, actual);
        self
    }
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Timings {
    pub read_s: f64,
    pub prepare_s: f64,
    pub play_s: f64,
    pub verify_s: f64,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub ok: bool,
    pub run: String,
    pub file: String,
    pub fingerprint: String,
    pub stock: String,
    pub clients: usize,
    /// Whether up to 500 lines went into a cart with each request (`add_line`), with short answers.
    pub bulk: bool,
    pub rows: Rows,
    pub invoices: Invoices,
    pub timings: Timings,
    /// Invoices decided in this session, lines put into carts and HTTP calls, per second of playing.
    pub orders_per_s: f64,
    pub lines_per_s: f64,
    pub requests_per_s: f64,
    /// Attempts that were made again, after lost connections, overload or failures.
    pub repeats: u64,
    /// Those, by the code of the problem before them, or "no answer".
    pub repeats_after: BTreeMap<String, u64>,
    /// Of each kind of call, in microseconds; repeats included.
    pub latencies: BTreeMap<&'static str, Latency>,
    pub checks: Vec<Check>,
}

#[derive(Debug, Serialize)]
pub struct Rows {
    pub total: u64,
    pub sales: usize,
    pub items: usize,
    pub units: u64,
    /// The other rows, by reason.
    pub skipped: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
pub struct Invoices {
    pub in_file: usize,
    pub played: usize,
    pub by_customers: usize,
    pub by_guests: usize,
    pub confirmed: usize,
    pub rejected: usize,
    pub failed: usize,
    /// Decided in an earlier session of this replay.
    pub resumed: usize,
}

impl Report {
    pub fn new(run: &Run, args: &ReplayArgs, played: &Played, timings: Timings, checks: Vec<Check>) -> Report {
        let retail = &run.retail;
        let decided: Vec<&Outcome> = played.outcomes.iter().flatten().collect();
        let confirmed = decided.iter().filter(|outcome| matches!(outcome, Outcome::Confirmed { .. })).count();
        let by_customers = retail.invoices[..run.invoices].iter().filter(|invoice| invoice.customer.is_some()).count();
        let in_session = decided.len().saturating_sub(played.resumed);
        let repeats_after = run.api.meter.repeats();
        let latencies: BTreeMap<_, _> = run.api.meter.latencies().into_iter().collect();
        let calls = |names: &[&str]| names.iter().filter_map(|name| latencies.get(name)).map(|l| l.count).sum::<u64>();
        let playing = calls(&["auth", "create_cart", "add_line", "set_contact", "complete", "poll_order"]);
        let per_s = |count: u64| (count as f64 / timings.play_s.max(0.001) * 10.0).round() / 10.0;
        Report {
            ok: checks.iter().all(|check| check.ok),
            run: run.id.0.clone(),
            file: args.file.display().to_string(),
            fingerprint: retail.fingerprint.clone(),
            stock: args.stock.to_string(),
            clients: run.clients,
            bulk: run.bulk,
            rows: Rows {
                total: retail.rows,
                sales: retail.sale_rows(usize::MAX),
                items: retail.items.len(),
                units: retail.sold(usize::MAX).iter().sum(),
                skipped: retail.skipped.iter().map(|(why, skipped)| (why.to_string(), skipped.rows)).collect(),
            },
            invoices: Invoices {
                in_file: retail.invoices.len(),
                played: run.invoices,
                by_customers,
                by_guests: run.invoices - by_customers,
                confirmed,
                rejected: decided.len() - confirmed,
                failed: played.failures.len(),
                resumed: played.resumed,
            },
            orders_per_s: per_s(in_session as u64),
            lines_per_s: per_s(played.lines as u64),
            requests_per_s: per_s(playing),
            repeats: repeats_after.values().sum(),
            repeats_after,
            timings,
            latencies,
            checks,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { rows, invoices, timings, .. } = self;
        writeln!(
            f,
            "{}: {} rows, of which {} sales of {} pieces of {} SKUs in {} invoices",
            self.file, rows.total, rows.sales, rows.units, rows.items, invoices.in_file
        )?;
        for (why, count) in &rows.skipped {
            writeln!(f, "  left out {count:>8}  {why}")?;
        }
        writeln!(
            f,
            "played {} invoices ({} by customers, {} by guests) with stock {} and {} clients, {}",
            invoices.played,
            invoices.by_customers,
            invoices.by_guests,
            self.stock,
            self.clients,
            if self.bulk { "lines in bulk" } else { "line by line" }
        )?;
        writeln!(
            f,
            "{} confirmed, {} rejected, {} failed; {} of them in an earlier session",
            invoices.confirmed, invoices.rejected, invoices.failed, invoices.resumed
        )?;
        let Timings { read_s, prepare_s, play_s, verify_s } = timings;
        writeln!(
            f,
            "took {read_s:.1} s to read, {prepare_s:.1} s to prepare, {play_s:.1} s to play, {verify_s:.1} s to verify"
        )?;
        let Report { orders_per_s, lines_per_s, requests_per_s, repeats, .. } = self;
        writeln!(
            f,
            "{orders_per_s} orders/s, {lines_per_s} lines/s, {requests_per_s} requests/s; {repeats} attempts repeated"
        )?;
        for (code, count) in &self.repeats_after {
            writeln!(f, "  {count:>9} after {code}")?;
        }
        writeln!(f, "  {:12} {:>9} {:>9} {:>9} {:>9} {:>9}", "milliseconds", "calls", "p50", "p90", "p99", "max")?;
        for (name, latency) in &self.latencies {
            let ms = |us: u64| us as f64 / 1_000.0;
            let Latency { count, p50_us, p90_us, p99_us, max_us } = latency;
            let (p50, p90, p99, max) = (ms(*p50_us), ms(*p90_us), ms(*p99_us), ms(*max_us));
            writeln!(f, "  {name:12} {count:>9} {p50:>9.2} {p90:>9.2} {p99:>9.2} {max:>9.1}")?;
        }
        for check in &self.checks {
            let verdict = if check.ok { "ok  " } else { "FAIL" };
            // by month there is too much for a line
            let totals = if check.expected.is_object() && check.ok {
                format!("{} as expected", check.of)
            } else {
                format!("{} expected {}, found {}", check.of, check.expected, check.actual)
            };
            writeln!(f, "{verdict} {}: {totals}", check.name)?;
            for difference in &check.first_differences {
                writeln!(f, "       {difference}")?;
            }
            let more = check.differences.saturating_sub(check.first_differences.len() as u64);
            if more > 0 {
                writeln!(f, "       ... and {more} more")?;
            }
        }
        writeln!(f, "{}", if self.ok { "verified" } else { "NOT VERIFIED" })
    }
}
