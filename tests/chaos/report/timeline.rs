//! A run as a picture: when which fault was, how long requests took in each second, and how many attempts failed.

use std::fmt::Write;

use super::Round;
use crate::chaos::measure::Second;

const WIDTH: f64 = 1_120.0;
const LEFT: f64 = 60.0;
/// Height of the chart of latencies, and of that of failures.
const LATENCIES: f64 = 180.0;
const FAILURES: f64 = 60.0;
const GAP: f64 = 26.0;
/// Height of a fault's bar with its words.
const BAR: f64 = 17.0;
/// The scale of latencies goes from 1 ms to 100 s, by powers of ten.
const DECADES: f64 = 5.0;

pub fn svg(round: &Round) -> String {
    let seconds = round.seconds.len().max(1) as f64;
    let x = |second: f64| LEFT + second / seconds * (WIDTH - LEFT);
    let bars = round.happened.len() as f64 * BAR;
    let (top, bottom) = (bars + GAP, bars + GAP + LATENCIES);
    let height = bottom + GAP + FAILURES + GAP;
    let mut svg =
        format!("<svg viewBox='0 0 {WIDTH} {height}' role='img' aria-label='faults, latencies and failures'>");
    let mut put = |text: String| svg.push_str(&text);
    for (number, (happened, _)) in round.happened.iter().enumerate() {
        let (from, to) = (x(happened.began as f64 / 1e6), x(happened.ended as f64 / 1e6));
        let (y, kind) = (number as f64 * BAR, if happened.fault.is_planned() { "planned" } else { "fault" });
        let below = height - GAP - y;
        put(format!("<rect class='{kind} shade' x='{from:.1}' y='{y}' width='{:.1}' height='{below}'/>", to - from));
        put(format!("<rect class='{kind}' x='{from:.1}' y='{y}' width='{:.1}' height='{}'/>", to - from, BAR - 3.0));
        let words = happened.fault.words();
        let (at, anchor) = if from > WIDTH / 2.0 { (from - 4.0, "end") } else { (to + 4.0, "start") };
        put(format!("<text x='{at:.1}' y='{:.1}' text-anchor='{anchor}'>{words}</text>", y + 11.0));
    }
    let y = |ms: f64| bottom - (ms.max(1.0).log10() / DECADES).min(1.0) * LATENCIES;
    for decade in 0..=DECADES as u32 {
        let ms = 10_f64.powi(decade as i32);
        let label = if ms < 1_000.0 { format!("{ms} ms") } else { format!("{} s", ms / 1_000.0) };
        put(format!("<line class='grid' x1='{LEFT}' x2='{WIDTH}' y1='{0:.1}' y2='{0:.1}'/>", y(ms)));
        put(format!("<text x='{}' y='{:.1}' text-anchor='end'>{label}</text>", LEFT - 6.0, y(ms) + 4.0));
    }
    for (class, share) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
        put(line(class, &round.seconds, &x, |second| y(second.latencies.quantile_ms(share))));
    }
    put(format!(
        "<text x='{LEFT}' y='{:.1}'>requests by when they were decided: p50, p99 and longest</text>",
        top - 6.0
    ));
    let most = round.seconds.iter().map(|second| second.failed).max().unwrap_or(0).max(1) as f64;
    let floor = bottom + GAP + FAILURES;
    for (number, second) in round.seconds.iter().enumerate().filter(|(_, second)| second.failed > 0) {
        let high = second.failed as f64 / most * FAILURES;
        let (at, width) = (x(number as f64), (x(1.0) - x(0.0)).max(1.0));
        put(format!(
            "<rect class='failed' x='{at:.1}' y='{:.1}' width='{width:.1}' height='{high:.1}'/>",
            floor - high
        ));
    }
    put(format!("<text x='{LEFT}' y='{:.1}'>attempts that failed, at most {most} a second</text>", bottom + GAP - 8.0));
    for second in (0..round.seconds.len()).step_by(30) {
        put(format!("<text x='{:.1}' y='{:.1}'>{second} s</text>", x(second as f64), floor + 16.0));
    }
    svg + "</svg>"
}

/// A line through the seconds in which something was decided.
fn line(class: &str, seconds: &[Second], x: &impl Fn(f64) -> f64, y: impl Fn(&Second) -> f64) -> String {
    let mut path = String::new();
    for (number, second) in seconds.iter().enumerate().filter(|(_, second)| second.latencies.count() > 0) {
        let step = if path.is_empty() { 'M' } else { 'L' };
        let _ = write!(path, "{step}{:.1} {:.1}", x(number as f64 + 0.5), y(second)); // a String takes everything
    }
    format!("<path class='{class}' d='{path}'/>")
}
