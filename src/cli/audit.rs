//! `souk audit`: what staff did and was refused, from any node of a running server.

use anyhow::Context;
use clap::builder::FalseyValueParser;
use serde_json::Value;

use super::client::{As, encoded};
use super::meter::Op;
use super::output;
use super::server_args::ServerArgs;

#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    /// Only what ended behind this entry, or after this time, such as 2026-11-27T00:00:00Z.
    #[arg(long, value_name = "ID_OR_TIME", env = "SOUK_AUDIT_AFTER")]
    pub after: Option<String>,
    /// Only what this user did.
    #[arg(long, value_name = "USER", env = "SOUK_AUDIT_ACTOR")]
    pub actor: Option<String>,
    /// Only actions of this name, or below it, such as cluster or cluster.node.drain.
    #[arg(long, value_name = "WORD", env = "SOUK_AUDIT_ACTION")]
    pub action: Option<String>,
    /// Print JSON, as the server has it: one entry a line.
    #[arg(long, env = "SOUK_AUDIT_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
    #[command(flatten)]
    pub server: ServerArgs,
}

pub async fn run(args: AuditArgs) -> anyhow::Result<()> {
    let (api, session) = (args.server.api(1)?, args.server.session()?);
    let given = [("after", &args.after), ("actor", &args.actor), ("action", &args.action)];
    let given = given.into_iter().filter_map(|(name, value)| Some(format!("&{name}={}", encoded(value.as_deref()?))));
    let query = given.collect::<String>();
    let path = format!("/v1/admin/audit{}", query.replacen('&', "?", 1));
    // Printed as it comes: a log may be long.
    let mut printed = Ok(true);
    let print = |entry: Value| {
        if matches!(printed, Ok(true)) {
            printed = output::print_on(&if args.json { format!("{entry}\n") } else { line(&entry) });
        }
    };
    api.list(Op::Read, &path, As::User(&session), print).await.context("asking the server")?;
    printed.map(drop)
}

/// An entry, as people read it.
fn line(entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
    let status = entry["status"].as_u64().map(|status| format!(" {status}")).unwrap_or_default();
    let code = entry["code"].as_str().map(|code| format!(" {code}")).unwrap_or_default();
    let (at, actor, action, subject) = (text("at"), text("actor"), text("action"), text("subject"));
    format!("{at}  {actor}  {}  {action} {subject}: {}{status}{code}\n", text("address"), text("outcome"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_is_a_line() {
        let entry = json!({"at": "2026-11-27T10:00:00.000Z", "actor": "user_1", "address": "192.0.2.1", "status": 409,
            "action": "cluster.node.drain", "subject": "node-1", "outcome": "refused", "code": "last_node"});
        let said = "2026-11-27T10:00:00.000Z  user_1  192.0.2.1  cluster.node.drain node-1: refused 409 last_node\n";
        assert_eq!(line(&entry), said);
        let made = json!({"at": "t", "actor": null, "address": null, "status": null, "outcome": "done",
            "action": "administrator.make", "subject": "user_1"});
        assert_eq!(line(&made), "t  -  -  administrator.make user_1: done\n");
    }
}
