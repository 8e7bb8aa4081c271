//! `souk cluster events`: the stream of events, as far as it is or for ever.

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::args::EventsArgs;
use super::{Admin, LOOK_EVERY, PATH, tables};
use crate::cli::client::{ApiError, encoded};
use crate::cli::output;

/// An event of the server is some hundred bytes.
const EVENT_BYTES_MAX: usize = 1 << 20;
/// What the server says when it has told everything that it keeps.
const UP_TO_DATE: &str = ": up to date";

/// How a stream ended.
enum Ended {
    /// There is no more to be told, or nobody reads on.
    Done,
    /// It may go on behind the last event.
    Lost(String),
}

pub async fn run(args: &EventsArgs) -> anyhow::Result<()> {
    let admin = Admin::of(&args.see.server)?;
    let query = args.types.as_deref().map(|types| format!("?types={}", encoded(types))).unwrap_or_default();
    let path = format!("{PATH}/events{query}");
    let mut last_id: Option<String> = None;
    let mut well_at = Instant::now();
    loop {
        let before = last_id.clone();
        match read(&admin, &path, &mut last_id, args).await? {
            Ended::Done => return Ok(()),
            Ended::Lost(_) if last_id != before => well_at = Instant::now(),
            Ended::Lost(why) if well_at.elapsed().as_secs() > args.see.server.patience => bail!("the server: {why}"),
            Ended::Lost(_) => {}
        }
        sleep(LOOK_EVERY).await;
    }
}

/// One stream, to its end. Errors: the server refuses.
async fn read(admin: &Admin, path: &str, last_id: &mut Option<String>, args: &EventsArgs) -> anyhow::Result<Ended> {
    let mut stream = match admin.api.open(path, last_id.as_deref(), &admin.session).await {
        Ok(stream) => stream,
        Err(ApiError::GaveUp { last, .. }) => return Ok(Ended::Lost(last)),
        Err(error) => return Err(error).context("asking the server"),
    };
    let mut text = Vec::new();
    loop {
        match stream.chunk().await {
            Ok(Some(chunk)) => text.extend_from_slice(&chunk),
            Ok(None) => return Ok(Ended::Lost("the stream ended".to_owned())),
            Err(error) => return Ok(Ended::Lost(error.to_string())),
        }
        while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
            let block: Vec<u8> = text.drain(..end + 2).collect();
            let block = String::from_utf8_lossy(&block);
            if block.trim_end() == UP_TO_DATE && !args.follow {
                return Ok(Ended::Done);
            }
            let Some(event) = Event::of(&block) else { continue };
            let line =
                if args.see.json { format!("{}\n", event.json()) } else { tables::event(&event.kind, &event.data) };
            *last_id = Some(event.id);
            if !output::print_on(&line)? {
                return Ok(Ended::Done);
            }
        }
        if text.len() > EVENT_BYTES_MAX {
            bail!("the server's answer is not as documented: an event without an end");
        }
    }
}

/// An event as it came.
#[derive(Debug, PartialEq)]
struct Event {
    id: String,
    kind: String,
    data: Value,
}

impl Event {
    /// `None` for a comment.
    fn of(block: &str) -> Option<Event> {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let data = serde_json::from_str(field("data")?).ok()?;
        Some(Event { id: field("id")?.to_owned(), kind: field("event")?.to_owned(), data })
    }

    fn json(&self) -> Value {
        json!({"id": self.id, "event": self.kind, "data": self.data})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_three_fields_and_a_comment_has_none() {
        let event = Event::of("id: 0a-7\nevent: pinned\ndata: {\"slot\":3}\n\n").expect("an event");
        assert_eq!((&*event.id, &*event.kind, &event.data["slot"]), ("0a-7", "pinned", &json!(3)));
        assert_eq!(Event::of(": alive\n\n"), None);
        assert_eq!(Event::of("retry: 1000\n\n"), None);
    }
}
