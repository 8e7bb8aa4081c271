//! The report as one HTML page, which needs nothing beside it.

use super::{Report, Round, timeline};
use crate::chaos::measure::{Effect, Latencies};

const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2em auto; padding: 0 1em; color: #1b1b1f; background: #fff }
table { border-collapse: collapse; margin: 1em 0 } td, th { padding: .2em .7em; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left } .bad { color: #b3261e; font-weight: 600 } .good { color: #1b6e3c; font-weight: 600 }
svg { width: 100%; height: auto } svg text { font: 11px system-ui, sans-serif; fill: #444 }
path { fill: none; stroke-width: 1.6 } .p50 { stroke: #2b6cb0 } .p99 { stroke: #b7791f } .max { stroke: #c53030; stroke-width: 1 }
.grid { stroke: #ddd } .fault { fill: #e0867d } .planned { fill: #86b49b } .shade { opacity: .13 } .failed { fill: #c53030 }
code { background: #f2f2f4; padding: .1em .3em }";

pub fn html(report: &Report) -> String {
    let wrong: Vec<String> =
        report.rounds.iter().flat_map(|round| [round.wrong.clone(), round.broken_bars()].concat()).collect();
    let mut page = format!(
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>souk: chaos</title><style>{STYLE}</style>"
    );
    page += "<h1>What a cluster of souk bore</h1>";
    page += &match wrong.len() {
        0 => "<p class='good'>Everything that was acknowledged is there, once, and every answer fits.</p>".to_owned(),
        count => format!("<p class='bad'>{count} things are wrong.</p>"),
    };
    for why in wrong.iter().take(100) {
        page += &format!("<p class='bad'>{}</p>", escaped(why));
    }
    page += "<table>";
    for (what, text) in &report.about {
        page += &format!("<tr><td>{what}<td style='text-align:left'><code>{}</code>", escaped(text));
    }
    page += "</table><h2>Faults</h2>";
    page += &faults(report);
    for (number, round) in (1..).zip(&report.rounds) {
        page += &format!("<h2>Round {number}</h2><p>Seed <code>{}</code>. {}</p>", round.seed, spread(&round.all));
        page += &timeline::svg(round);
        page += &checked(round);
    }
    page + "</html>"
}

/// What each kind of fault meant to clients.
fn faults(report: &Report) -> String {
    let mut table = "<p>Latencies in milliseconds, p50 / p99 / longest, of requests in the 3 s before, of those that met the fault, \
        and of those in the 3 s after. Fail-over: from the fault until all slots were served by others. Failed: attempts that were \
        refused with 503 or a retryable 409, or got no answer, at the nodes that were struck and at the others.</p>\
        <table><tr><th>fault<th>times<th>before<th>during<th>after<th>fail-over, s: p50 / longest<th>failed at struck<th>failed at others"
        .to_owned();
    for (fault, effect) in report.effects() {
        let Effect { times, before, during, after, at_victims, at_others, fail_over_s } = effect;
        let told = |codes: &std::collections::BTreeMap<String, usize>| {
            let codes: Vec<String> = codes.iter().map(|(code, count)| format!("{count} {}", escaped(code))).collect();
            if codes.is_empty() { "0".to_owned() } else { codes.join("<br>") }
        };
        let middle = fail_over_s.get(fail_over_s.len() / 2);
        let fail_over =
            middle.zip(fail_over_s.last()).map_or("-".to_owned(), |(p50, max)| format!("{p50:.2} / {max:.2}"));
        let words = fault.words();
        let [before, during, after] = [before, during, after].map(|latencies| three(&latencies));
        table += &format!(
            "<tr><td>{words}<td>{times}<td>{before}<td>{during}<td>{after}<td>{fail_over}<td>{}<td>{}",
            told(&at_victims),
            told(&at_others)
        );
    }
    table + "</table>"
}

fn three(latencies: &Latencies) -> String {
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| latencies.quantile_ms(share));
    if latencies.count() == 0 { "-".to_owned() } else { format!("{p50:.0} / {p99:.0} / {max:.0}") }
}

fn spread(latencies: &Latencies) -> String {
    format!("{} requests were decided: {} ms (p50 / p99 / longest).", latencies.count(), three(latencies))
}

fn checked(round: &Round) -> String {
    let rows = round.checked.iter().map(|(what, count)| format!("<tr><td>{}<td>{count}", escaped(what)));
    format!("<table><tr><th>checked<th>count{}</table>", rows.collect::<String>())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
