//! `souk entity`: what operators do with entities on a running server, and which there are.

use anyhow::{Context, bail};
use clap::Subcommand;
use clap::builder::FalseyValueParser;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{As, Call, encoded};
use super::meter::Op;
use super::output;
use super::server_args::ServerArgs;

#[derive(Debug, Subcommand)]
pub enum EntityCommand {
    /// The ids of a kind, ascending.
    List(ListArgs),
    /// Compare an entity with its events. Exit code 1 where it differs.
    Verify(EntityArgs),
    /// Have an entity leave its node's memory, with a snapshot.
    Passivate(EntityArgs),
    /// Have an entity refuse commands until it is released, its slot moves, or its node ends.
    Quarantine(EntityArgs),
    /// End a quarantine, also one after panics.
    Release(EntityArgs),
}

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Such as cart, order or sku.
    pub kind: String,
    /// The id behind which the list starts.
    #[arg(long, value_name = "ID", env = "SOUK_ENTITY_AFTER")]
    pub after: Option<String>,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, clap::Args)]
pub struct EntityArgs {
    /// Such as cart, order or sku.
    pub kind: String,
    pub id: String,
    /// Print JSON, as the server has it.
    #[arg(long, env = "SOUK_ENTITY_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
    #[command(flatten)]
    pub server: ServerArgs,
}

pub async fn run(command: EntityCommand) -> anyhow::Result<()> {
    match command {
        EntityCommand::List(args) => list(args).await,
        EntityCommand::Verify(args) => {
            let found = post(&args, "verify").await?;
            output::print(&if args.json { format!("{found:#}\n") } else { verified(&found) })?;
            if found["agrees"] == true { Ok(()) } else { bail!("{} {} is not what its events say", args.kind, args.id) }
        }
        EntityCommand::Passivate(args) => operate(args, "passivate").await,
        EntityCommand::Quarantine(args) => operate(args, "quarantine").await,
        EntityCommand::Release(args) => operate(args, "release").await,
    }
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let (api, session) = (args.server.api(1)?, args.server.session()?);
    let after = args.after.as_deref().map(|after| format!("?after={}", encoded(after))).unwrap_or_default();
    let path = format!("/v1/admin/entities/{}{after}", encoded(&args.kind));
    // Printed as it comes: a kind may have millions.
    let mut printed = Ok(true);
    let print = |entity: Value| {
        if matches!(printed, Ok(true)) {
            printed = output::print_on(&format!("{}\n", entity["id"].as_str().unwrap_or_default()));
        }
    };
    api.list(Op::Read, &path, As::User(&session), print).await.context("asking the server")?;
    printed.map(drop)
}

async fn post(args: &EntityArgs, what: &str) -> anyhow::Result<Value> {
    let (api, session) = (args.server.api(1)?, args.server.session()?);
    let path = format!("/v1/admin/entities/{}/{}/{what}", encoded(&args.kind), encoded(&args.id));
    let call = Call::new(Op::Admin, Method::POST, path).json(&json!({})).by(As::User(&session));
    api.read(call).await.context("asking the server")
}

async fn operate(args: EntityArgs, what: &str) -> anyhow::Result<()> {
    let came = post(&args, what).await?;
    let said = if came["changed"] == true { "done" } else { "it was so already" };
    let text = format!("{what} {} {}: {said}\n", args.kind, args.id);
    output::print(&if args.json { format!("{came:#}\n") } else { text })
}

/// What was found, as people read it.
fn verified(found: &Value) -> String {
    let compared = |name: &str| {
        let compared = &found[name];
        let at = compared["at"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let version = compared["version"].as_u64().map(|version| format!(" at version {version}")).unwrap_or_default();
        let word = compared["found"].as_str().unwrap_or("-").replace('_', " ");
        let places = at.map(|place| format!("  {place}\n")).collect::<String>();
        format!("{name}: {word}{version}\n{places}")
    };
    let list = |name: &str| found[name].as_array().cloned().unwrap_or_default();
    let wrong = list("violations").into_iter().chain(list("faults"));
    let wrong = wrong.filter_map(|why| Some(format!("wrong: {}\n", why.as_str()?))).collect::<String>();
    let head = format!(
        "{} {} on {}, slot {}: version {}, {} records, {} events\n",
        found["kind"].as_str().unwrap_or("-"),
        found["id"].as_str().unwrap_or("-"),
        found["node"].as_str().unwrap_or("-"),
        found["slot"],
        found["version"],
        found["records"],
        found["events"],
    );
    format!("{head}{}{}{wrong}", compared("served"), compared("snapshot"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_a_few_lines() {
        let found = json!({"kind": "sku", "id": "TEE-M", "node": "a#1", "slot": 3, "version": 9, "records": 9, "events": 12,
            "served": {"found": "differs", "version": 9, "at": ["/on_hand"]}, "snapshot": {"found": "none"},
            "violations": [], "faults": ["a gap"], "agrees": false});
        let said = "sku TEE-M on a#1, slot 3: version 9, 9 records, 12 events\nserved: differs at version 9\n  /on_hand\n\
                    snapshot: none\nwrong: a gap\n";
        assert_eq!(verified(&found), said);
    }
}
