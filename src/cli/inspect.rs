//! `souk inspect KIND ID`: what an actor holds, what it has been through, and what it was at any version;
//! asked from a running server, or read off a store at rest.

use std::fmt::Write;

use anyhow::{Context, bail};
use serde_json::Value;

use super::args::InspectArgs;
use super::client::{Api, ApiError, As, Call, encoded};
use super::meter::Op;
use super::output;
use crate::config::Config;
use crate::node::{self, Question};

pub async fn run(args: InspectArgs) -> anyhow::Result<()> {
    let question = match (args.at, args.journal) {
        (Some(version), _) => Question::StateAt { version },
        (None, true) => Question::Journal,
        (None, false) => Question::Present,
    };
    let found = match &args.data {
        Some(_) => {
            let config = Config::load(&args.sources(std::env::vars_os()))?;
            node::inspect_at_rest(config, &args.kind, &args.id, question).await?
        }
        None => ask(&args, question).await?,
    };
    let Some(found) = found else { bail!("{} {} does not exist", args.kind, args.id) };
    let text = match question {
        _ if args.json => format!("{found:#}\n"),
        Question::Journal => journal_lines(&found),
        Question::Present | Question::StateAt { .. } => outline(&found),
    };
    output::print(&text)
}

async fn ask(args: &InspectArgs, question: Question) -> anyhow::Result<Option<Value>> {
    let api = args.server.api(1)?;
    let session = args.server.session()?;
    let path = format!("/v1/admin/entities/{}/{}", encoded(&args.kind), encoded(&args.id));
    let as_admin = As::User(&session);
    let found = match question {
        Question::Present => api.read(Call::get(Op::Read, path).by(as_admin)).await.map(Some),
        Question::StateAt { version } => {
            api.read(Call::get(Op::Read, format!("{path}/state?at={version}")).by(as_admin)).await.map(Some)
        }
        Question::Journal => journal(&api, &path, as_admin).await.map(|entries| {
            let entries: Vec<Value> = entries;
            (!entries.is_empty()).then_some(Value::Array(entries))
        }),
    };
    match found {
        Ok(found) => Ok(found),
        // It says so when only the version does not exist.
        Err(ApiError::Refused(problem)) if problem.status == 404 && args.at.is_some() && !problem.detail.is_empty() => {
            bail!("{}", problem.detail)
        }
        Err(ApiError::Refused(problem)) if problem.status == 404 => Ok(None),
        Err(error) => Err(error).context("asking the server"),
    }
}

/// All records of the entity at `path`, however many pages they take.
pub async fn journal<T>(api: &Api, path: &str, caller: As<'_>) -> Result<Vec<T>, ApiError>
where
    T: serde::de::DeserializeOwned + Versioned,
{
    let mut entries: Vec<T> = Vec::new();
    loop {
        let after = entries.last().map_or(0, Versioned::version);
        let call = Call::get(Op::Read, format!("{path}/journal?after={after}&limit=100")).by(caller);
        let page: JournalPage<T> = api.read(call).await?;
        let page = page.into_entries();
        // a server may answer with what was asked for and nothing more: an empty page is the end
        match page.last() {
            Some(last) if last.version() > after => entries.extend(page),
            Some(_) | None => return Ok(entries),
        }
    }
}

/// A journal entry, as far as paging looks into it.
pub trait Versioned {
    fn version(&self) -> u64;
}

impl Versioned for Value {
    fn version(&self) -> u64 {
        self["version"].as_u64().unwrap_or(0)
    }
}

/// The list is bare or wrapped as lists are elsewhere in the API.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum JournalPage<T> {
    Bare(Vec<T>),
    Wrapped { data: Vec<T> },
}

impl<T> JournalPage<T> {
    fn into_entries(self) -> Vec<T> {
        match self {
            JournalPage::Bare(entries) | JournalPage::Wrapped { data: entries } => entries,
        }
    }
}

/// One line for each event: version, time, request, what happened.
fn journal_lines(entries: &Value) -> String {
    let mut lines = String::new();
    for entry in entries.as_array().into_iter().flatten() {
        let word = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
        let head = format!("v{:<6} {}  {}", entry.version(), word("at"), word("request_id"));
        let events = entry["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        if events.is_empty() {
            lines.push_str(&format!("{head}  (nothing changed)\n"));
        }
        for event in events {
            let kind = event["type"].as_str().unwrap_or("?");
            let data = if event["data"].is_null() { String::new() } else { event["data"].to_string() };
            lines.push_str(format!("{head}  {kind} {data}").trim_end());
            lines.push('\n');
        }
    }
    lines
}

/// Plain values first, one to a line; then the nested ones, indented.
fn outline(found: &Value) -> String {
    let Some(fields) = found.as_object() else { return format!("{found:#}\n") };
    let is_plain = |value: &Value| !(value.is_object() || value.is_array());
    let width = fields.iter().filter(|(_, value)| is_plain(value)).map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in fields.iter().filter(|(_, value)| is_plain(value)) {
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        writeln!(text, "{name:width$}  {shown}").expect("a string takes everything");
    }
    for (name, value) in fields.iter().filter(|(_, value)| !is_plain(value)) {
        writeln!(text, "{name}  {value:#}").expect("a string takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_journal_reads_as_a_transcript() {
        let entries = json!([
            {"version": 1, "at": "2026-01-01T00:00:00.000Z", "request_id": "req_a", "events": [
                {"type": "stock_set", "data": {"on_hand": 5}}, {"type": "released"}]},
            {"version": 1, "at": "2026-01-01T00:00:01.000Z", "request_id": "req_b", "events": []},
        ]);
        assert_eq!(
            journal_lines(&entries),
            "v1      2026-01-01T00:00:00.000Z  req_a  stock_set {\"on_hand\":5}\n\
             v1      2026-01-01T00:00:00.000Z  req_a  released\n\
             v1      2026-01-01T00:00:01.000Z  req_b  (nothing changed)\n"
        );
    }

    #[test]
    fn an_entity_is_outlined_with_plain_values_first() {
        let found = json!({"state": {"on_hand": 5}, "version": 7, "slot": 3, "wake_at": null});
        assert_eq!(outline(&found), "slot     3\nversion  7\nwake_at  null\nstate  {\n  \"on_hand\": 5\n}\n");
    }
}
