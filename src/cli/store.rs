//! `souk store check`, `souk store copy` and `souk store move-slots`: what is done to stores, with progress on standard error
//! and the result on standard output.

mod move_slots;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Subcommand;
use clap::builder::FalseyValueParser;
use indicatif::ProgressBar;
use parking_lot::Mutex;

use super::config_args::{ConfigArgs, sources_of};
use super::{Misuse, output};
use crate::actors::kinds;
use crate::cluster::slot_of;
use crate::config::Config;
use crate::node::cluster::nobody_serves;
use crate::persistence::Store;
use crate::persistence::open::{self, Slots, StoreChoice, StoreSettings};
use crate::upkeep::Watch;
use crate::upkeep::check::{self, Report};
use crate::upkeep::copy::{self, Copied};

#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Verify a store: sequences, epochs, checksums, and every index against what the events come to.
    ///
    /// An embedded store must be at rest; a shared one may be in use, and is only read. Exit codes: 0 all is well,
    /// 1 something is wrong (each problem is named) or the store cannot be read, 2 misused.
    Check(CheckArgs),
    /// Move a whole store into another one, of whatever engine, and verify what came of it.
    ///
    /// Stop every node first. The new store is created, with as many slots. Interrupted, the same command goes on
    /// where it was. Exit codes: 0 everything was copied and compared, 1 failed or refused, 2 misused.
    Copy(CopyArgs),
    /// Move slots to another of the store's PostgreSQL servers, while the shop serves.
    ///
    /// First name the new server in store.urls on every node, and restart the nodes one after the other: a node that does
    /// not name it cannot serve the slots that lie there. Each slot is copied while it is served; then it stands still for
    /// a moment, in which requests wait, until nodes find it on the other server. Interrupted, the same command goes on
    /// where it was: run it soon, for one slot may be on neither server. Exit codes: 0 all of them are there, 1 failed
    /// or refused, 2 misused.
    MoveSlots(move_slots::MoveSlotsArgs),
}

#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// sled:DIR, fjall:DIR, postgres://... or redis://... [default: the one that is configured].
    #[arg(value_name = "STORE")]
    pub place: Option<StoreChoice>,
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print the result as JSON.
    #[arg(long, env = "SOUK_STORE_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct CopyArgs {
    /// The store that is there: sled:DIR, fjall:DIR, postgres://... or redis://...
    pub from: StoreChoice,
    /// The store that it becomes.
    pub to: StoreChoice,
    /// Configuration file, for what concerns the stores beside their address.
    #[arg(long, value_name = "FILE", env = "SOUK_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long, env = "SOUK_STORE_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
}

pub async fn run(command: StoreCommand) -> anyhow::Result<()> {
    match command {
        StoreCommand::Check(args) => check(args).await,
        StoreCommand::Copy(args) => copy(args).await,
        StoreCommand::MoveSlots(args) => move_slots::run(args).await,
    }
}

async fn check(args: CheckArgs) -> anyhow::Result<()> {
    let config = Config::load(&args.config.sources(std::env::vars_os()))?;
    let configured = config.store_settings().choice;
    let settings = config.settings_of(args.place.unwrap_or(configured), Slots::Stored);
    if settings.choice == StoreChoice::Memory {
        bail!(Misuse("a store in memory is gone with its process: there is nothing to check".to_owned()));
    }
    let store = open_store(&settings).await?;
    let started = Instant::now();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let meter = Meter::default();
    let report = check::check(store.clone(), kinds::all(), slot_of, now.as_millis() as i64, &meter).await;
    meter.end();
    let report = report.with_context(|| format!("checking {}", settings.choice))?;
    // What is wrong was found; that it cannot be closed well either adds nothing.
    let closed = store.close().await;
    let text = if args.json {
        format!("{}\n", serde_json::to_string_pretty(&report)?)
    } else {
        summary(&settings.choice, &report, started.elapsed().as_secs_f64())
    };
    output::print(&text)?;
    match report.problems_total {
        0 if report.slots_unjudged > 0 => bail!("{} was too busy: not every slot could be judged", settings.choice),
        0 => Ok(closed?),
        1 => bail!("{} is not well: 1 problem", settings.choice),
        count => bail!("{} is not well: {count} problems", settings.choice),
    }
}

fn summary(store: &StoreChoice, report: &Report, seconds: f64) -> String {
    let check::Counts { records, events, entities, receipts, snapshots, owed, wakes, .. } = report.counts;
    let mut text =
        format!("{store}: {} slots, {records} records, {events} events, {entities} entities\n", report.slots);
    text += &format!("held against them: {receipts} receipts, {snapshots} snapshots, {owed} owed rows, {wakes} wake ");
    text += &format!("rows, {} nodes; in {seconds:.1} s\n", report.nodes);
    report.notes.iter().for_each(|note| text += &format!("note: {note}\n"));
    report.problems.iter().for_each(|problem| text += &format!("problem: {problem}\n"));
    let more = report.problems_total - report.problems.len() as u64;
    if more > 0 {
        text += &format!("and {more} more problems\n");
    }
    text += if report.is_well() { "all is well\n" } else { "" };
    text
}

async fn copy(args: CopyArgs) -> anyhow::Result<()> {
    let config = Config::load(&sources_of(args.config.as_deref(), std::env::vars_os()))?;
    let CopyArgs { from, to, .. } = args;
    if is_same(&from, &to) {
        bail!(Misuse("a store cannot be copied into itself".to_owned()));
    }
    let from_settings = config.settings_of(from, Slots::Stored);
    let from = open_store(&from_settings).await?;
    nobody_serves(&*from, config.cluster.protocol().lease.lease)
        .await
        .with_context(|| format!("cannot copy {}", from_settings.choice))?;
    let to_settings = config.settings_of(to, Slots::Configured(from.slots()));
    let to = open_store(&to_settings).await?;
    let meter = Meter::default();
    let copied = copy::copy(&*from, &*to, &meter).await;
    meter.end();
    let closed = to.close().await;
    let _ = from.close().await; // nothing was written to it
    let copied = copied.with_context(|| format!("copying {} to {}", from_settings.choice, to_settings.choice))?;
    closed?;
    let text = if args.json {
        format!("{}\n", serde_json::to_string_pretty(&copied)?)
    } else {
        let Copied { slots, records, written, checksum } = copied;
        format!(
            "{from} is {to} now: {slots} slots, {records} records, of which {written} were written in this run\n\
                 verified: heads, records, owed and wake rows are the same; checksum {checksum}\n\
                 before it serves: souk store check {to}, which holds every receipt and list against the records\n",
            from = from_settings.choice,
            to = to_settings.choice
        )
    };
    output::print(&text)
}

/// Whether both are one store: also when a folder is named in two ways.
fn is_same(from: &StoreChoice, to: &StoreChoice) -> bool {
    match (from, to) {
        (StoreChoice::Embedded { dir: from, .. }, StoreChoice::Embedded { dir: to, .. }) => {
            from == to
                || std::fs::canonicalize(from).ok().is_some_and(|from| std::fs::canonicalize(to).ok() == Some(from))
        }
        _ => from == to,
    }
}

async fn open_store(settings: &StoreSettings) -> anyhow::Result<std::sync::Arc<dyn Store>> {
    open::open(settings).await.with_context(|| format!("cannot open the store {}", settings.choice))
}

/// Progress: a bar on a terminal, else a line for each whole percent.
#[derive(Default)]
struct Meter(Mutex<Steps>);

#[derive(Default)]
struct Steps {
    what: &'static str,
    total: u64,
    done: u64,
    percent: u64,
    bar: Option<ProgressBar>,
}

impl Meter {
    fn end(&self) {
        if let Some(bar) = self.0.lock().bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Watch for Meter {
    fn begins(&self, what: &'static str, total: u64) {
        self.end();
        let bar = std::io::stderr().is_terminal().then(|| output::progress(total, "records").with_message(what));
        *self.0.lock() = Steps { what, total, bar, ..Steps::default() };
    }

    fn advances(&self, steps: u64) {
        let mut now = self.0.lock();
        now.done += steps;
        if let Some(bar) = &now.bar {
            return bar.inc(steps);
        }
        let percent = now.done.saturating_mul(100) / now.total.max(1);
        if percent > now.percent {
            now.percent = percent;
            eprintln!("{}: {percent} % ({} of {} records)", now.what, now.done, now.total);
        }
    }
}
