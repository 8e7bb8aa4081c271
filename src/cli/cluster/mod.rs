//! `souk cluster`: what operators see of a cluster and do with it, as a client of the admin routes. Any node can be asked.
//!
//! Standard output has the result, for people as tables and with `--json` as the server has it. What changes something is
//! asked about at a terminal, with the moves that would follow.

pub mod args;
mod events;
mod tables;

use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use args::{ActArgs, ClusterCommand, SeeArgs};

use super::client::{Api, As, Call, encoded};
use super::meter::Op;
use super::output;
use super::server_args::ServerArgs;
use super::session::Session;

const PATH: &str = "/v1/admin/cluster";
/// How often `watch` looks, and `drain --wait`.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub async fn run(command: ClusterCommand) -> anyhow::Result<()> {
    match command {
        ClusterCommand::Status(args) => see(&args, "", tables::status).await,
        ClusterCommand::Nodes(args) => see(&args, "", tables::nodes).await,
        ClusterCommand::Slots(args) => slots(args).await,
        ClusterCommand::Slot(args) => see(&args.see, &format!("/slots/{}", args.slot), tables::slot).await,
        ClusterCommand::Plan(args) => see(&args, "/plan", tables::plan).await,
        ClusterCommand::Events(args) => events::run(&args).await,
        ClusterCommand::Watch(args) => watch(&args).await,
        ClusterCommand::Cordon(args) => {
            let path = format!("/nodes/{}/cordon", encoded(&args.node));
            act(&args.act, &path, &format!("cordon {}", args.node), json!({})).await.map(drop)
        }
        ClusterCommand::Uncordon(args) => {
            let path = format!("/nodes/{}/uncordon", encoded(&args.node));
            act(&args.act, &path, &format!("uncordon {}", args.node), json!({})).await.map(drop)
        }
        ClusterCommand::Drain(args) => drain(args).await,
        ClusterCommand::Move(args) => {
            let what = format!("move slot {} to {}", args.slot, args.node);
            act(&args.act, &format!("/slots/{}/move", args.slot), &what, json!({"to": args.node})).await.map(drop)
        }
        ClusterCommand::Pin(args) => {
            let to = args.node.as_deref().unwrap_or("the node that has it");
            let what = format!("pin slot {} to {to}", args.slot);
            act(&args.act, &format!("/slots/{}/pin", args.slot), &what, json!({"to": args.node})).await.map(drop)
        }
        ClusterCommand::Unpin(args) => {
            let what = format!("unpin slot {}", args.slot);
            act(&args.act, &format!("/slots/{}/unpin", args.slot), &what, json!({})).await.map(drop)
        }
    }
}

/// A server, and an administrator there.
struct Admin {
    api: Api,
    session: Session,
}

impl Admin {
    fn of(server: &ServerArgs) -> anyhow::Result<Admin> {
        Ok(Admin { api: server.api(1)?, session: server.session()? })
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let call = Call::get(Op::Read, format!("{PATH}{path}")).by(As::User(&self.session));
        self.api.read(call).await.context("asking the server")
    }

    /// Every slot, or those of this node and in this state.
    async fn slots(&self, owner: Option<&str>, state: Option<&str>) -> anyhow::Result<Vec<Value>> {
        let filters = [("owner", owner), ("state", state)];
        let filters = filters.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value?))));
        let query = filters.collect::<Vec<_>>().join("&");
        let path = if query.is_empty() { format!("{PATH}/slots") } else { format!("{PATH}/slots?{query}") };
        let mut all = Vec::new();
        let listing = self.api.list(Op::Read, &path, As::User(&self.session), |slot| all.push(slot));
        listing.await.context("asking the server")?;
        Ok(all)
    }

    /// The slots that the asked node is about to give away, or to take.
    async fn changing(&self) -> anyhow::Result<Vec<Value>> {
        let mut changing = self.slots(None, Some("handing_over")).await?;
        changing.extend(self.slots(None, Some("claiming")).await?);
        Ok(changing)
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let call = Call::new(Op::Admin, Method::POST, format!("{PATH}{path}")).json(body);
        self.api.read(call.by(As::User(&self.session))).await.context("asking the server")
    }
}

fn shown(found: &Value, is_json: bool, table: impl Fn(&Value) -> String) -> String {
    if is_json { format!("{found:#}\n") } else { table(found) }
}

async fn see(args: &SeeArgs, path: &str, table: impl Fn(&Value) -> String) -> anyhow::Result<()> {
    let found = Admin::of(&args.server)?.get(path).await?;
    output::print(&shown(&found, args.json, table))
}

async fn slots(args: args::SlotsArgs) -> anyhow::Result<()> {
    let all = Admin::of(&args.see.server)?.slots(args.owner.as_deref(), args.state.as_deref()).await?;
    output::print(&shown(&Value::Array(all), args.see.json, tables::slots))
}

async fn watch(args: &SeeArgs) -> anyhow::Result<()> {
    let admin = Admin::of(&args.server)?;
    let is_terminal = std::io::stdout().is_terminal();
    loop {
        let mut found = admin.get("").await?;
        found["plan"] = admin.get("/plan").await?;
        found["changing"] = json!(admin.changing().await?);
        let text = if args.json {
            format!("{found}\n")
        } else if is_terminal {
            format!("\x1b[2J\x1b[H{}", tables::watched(&found))
        } else {
            format!("{}\n", tables::watched(&found))
        };
        if !output::print_on(&text)? {
            return Ok(()); // nobody reads on
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Does it, after asking where somebody sits at a terminal. `None`: nothing was done. `what`: for people.
async fn act(args: &ActArgs, path: &str, what: &str, mut body: Value) -> anyhow::Result<Option<(Admin, Value)>> {
    let admin = Admin::of(&args.server)?;
    body["reason"] = json!(args.reason);
    let asks = !args.yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if args.dry_run || asks {
        let mut dry = body.clone();
        dry["dry_run"] = json!(true);
        let planned = admin.post(path, &dry).await?;
        if args.dry_run {
            output::print(&shown(&planned, args.json, |planned| tables::acted(what, planned)))?;
            return Ok(None);
        }
        eprint!("{}{what}? [y/N] ", tables::moves(&planned["moves"]));
        std::io::stderr().flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).context("reading the answer")?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            bail!("not done");
        }
    }
    let acted = admin.post(path, &body).await?;
    output::print(&shown(&acted, args.json, |acted| tables::acted(what, acted)))?;
    Ok(Some((admin, acted)))
}

async fn drain(args: args::DrainArgs) -> anyhow::Result<()> {
    let path = format!("/nodes/{}/drain", encoded(&args.node));
    let done = act(&args.act, &path, &format!("drain {}", args.node), json!({})).await?;
    let Some((admin, acted)) = done.filter(|_| args.wait) else { return Ok(()) };
    // 202 is the job itself, 200 of what is so already has it beside other things.
    let job = if acted["job"].is_object() { &acted["job"] } else { &acted };
    let id = job["id"].as_str().context("the server's answer has no job")?.to_owned();
    loop {
        let job = admin.get(&format!("/jobs/{}", encoded(&id))).await?;
        if std::io::stderr().is_terminal() {
            eprint!("\r{} slots are left   ", job["remaining"]);
        }
        match job["state"].as_str() {
            Some("done") => return output::print(&shown(&job, args.act.json, tables::job)),
            Some("running") => sleep(LOOK_EVERY).await,
            _ => bail!("the drain has not come to its end: {}", tables::job(&job).trim_end()),
        }
    }
}
