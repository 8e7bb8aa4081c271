//! `souk store move-slots`: slots go from one PostgreSQL server of a store to another.

use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::builder::FalseyValueParser;

use super::super::config_args::ConfigArgs;
use super::super::{Misuse, output};
use crate::config::Config;
use crate::persistence::open::StoreChoice;
use crate::persistence::several::SeveralOptions;
use crate::persistence::several::moving::{MoveWatch, Moved, Mover, Plan, Step};
use crate::persistence::{Slot, StoreError};

#[derive(Debug, clap::Args)]
pub struct MoveSlotsArgs {
    /// Which slots: from the first to the one behind the last, as in 0..512.
    #[arg(value_name = "FROM..TO")]
    pub slots: SlotRange,
    /// The server that they go to: one of store.urls.
    #[arg(value_name = "URL")]
    pub to: StoreChoice,
    #[command(flatten)]
    pub config: ConfigArgs,
    /// How long a server that does not answer is waited for while a slot is on neither; before, the command ends at once.
    #[arg(long, value_name = "SECONDS", env = "SOUK_STORE_WAIT", default_value_t = 60)]
    pub wait: u64,
    /// Say what would be moved, and move nothing.
    #[arg(long, env = "SOUK_STORE_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub dry_run: bool,
    /// Print the result as JSON.
    #[arg(long, env = "SOUK_STORE_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
}

/// Slots, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRange(Range<Slot>);

impl FromStr for SlotRange {
    type Err = String;

    fn from_str(text: &str) -> Result<SlotRange, String> {
        let number = |text: &str| text.parse::<Slot>().map_err(|error| format!("{text:?}: {error}"));
        let (from, to) = text.split_once("..").ok_or("slots are FROM..TO, as in 0..512")?;
        let (from, to) = (number(from)?, number(to)?);
        if from < to {
            Ok(SlotRange(from..to))
        } else {
            Err(format!("{text} has no slot: TO is the one behind the last"))
        }
    }
}

pub async fn run(args: MoveSlotsArgs) -> anyhow::Result<()> {
    let config = Config::load(&args.config.sources(std::env::vars_os()))?;
    let StoreChoice::Several { urls } = config.store_settings().choice else {
        bail!(Misuse("slots are moved between the servers of store.urls, and it names not several".to_owned()));
    };
    let StoreChoice::Postgres { url } = &args.to else {
        bail!(Misuse("slots are moved to one PostgreSQL server: postgres://...".to_owned()));
    };
    let options = SeveralOptions { urls, slots: None, settings: config.store.postgres.clone() };
    let opened = Mover::open(options, url, Duration::from_secs(args.wait)).await;
    let mover = opened.with_context(|| format!("cannot move slots to {}", args.to))?;
    let done = work(&mover, &args).await;
    let _ = mover.close().await; // every step is durable by itself
    output::print(&done?)
}

async fn work(mover: &Mover, args: &MoveSlotsArgs) -> anyhow::Result<String> {
    let SlotRange(slots) = args.slots.clone();
    if slots.end > mover.slots() {
        bail!(Misuse(format!("the store has the slots 0..{}", mover.slots())));
    }
    let to = &args.to;
    if args.dry_run {
        let plan = mover.plan(slots).await?;
        return if args.json { json(&plan) } else { Ok(said(&plan, to)) };
    }
    let watch = Progress { to: slots.end };
    let moved = mover.run(slots, &watch).await;
    let moved = moved.context("not all slots were moved: run the same command again, it goes on where it was")?;
    if args.json { json(&moved) } else { Ok(done(&moved, to)) }
}

fn json(result: &impl serde::Serialize) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(result)?))
}

fn said(plan: &Plan, to: &StoreChoice) -> String {
    let Plan { slots, there, begun, records } = plan;
    format!(
        "would move {slots} slots ({begun} of them begun) with {records} records to {to}; {there} are there already\n"
    )
}

fn done(moved: &Moved, to: &StoreChoice) -> String {
    let Moved { slots, there, records, pause_max_ms } = moved;
    format!(
        "{slots} slots were moved to {to}, {there} were there already; {records} records were copied and compared\n\
             no slot stood still for longer than {pause_max_ms} ms\n"
    )
}

/// A line for each slot.
struct Progress {
    to: Slot,
}

impl MoveWatch for Progress {
    fn reached(&self, slot: Slot, step: Step) -> Result<(), StoreError> {
        if step == Step::Deleted {
            eprintln!("slot {slot} was moved (to go: {})", self.to - slot - 1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_names_slots_and_the_one_behind_the_last() {
        let range = |text: &str| text.parse::<SlotRange>();
        assert_eq!(range("0..512"), Ok(SlotRange(0..512)));
        assert_eq!(range("7..8"), Ok(SlotRange(7..8)));
        for wrong in ["", "7", "7..7", "8..7", "..8", "7..", "-1..3", "0..=3", "0..70000"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
