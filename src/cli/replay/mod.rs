//! `souk replay online-retail FILE`: two years of a real shop, played through the public API as its customers
//! would have done, and then verified against what the file says.
//!
//! Before: the catalogue is imported where it is missing, and every SKU's stock is set. Then each invoice is
//! a cart (its number is the cart's `reference`), opened by its customer, who is registered and logged in,
//! or by a guest; filled in file order, line by line or (`--bulk`) many lines at once; given a contact ([`contact`]); completed. Many customers
//! at once, the invoices of each in order. Last, everything is read back and held against a direct
//! recomputation ([`verify`]).
//!
//! A replay has a run id; every request that changes something carries an idempotency key made from it. With
//! `--state FILE` the run id and every outcome are kept, so a replay that was killed goes on where it was:
//! what was under way is asked again with the same keys and gets the same answers (within the day for
//! which the server keeps them).
//!
//! The accounts are made-up names (`c12345@customers.example.com`) with passwords derived from them: not
//! secret, and of use to nobody but a replay.

mod contact;
mod journal_check;
mod oracle;
mod play;
mod report;
mod schedule;
mod shopper;
mod state;
#[cfg(test)]
mod tests;
mod verify;

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};

use super::args::{ImportStock, ReplayArgs};
use super::client::{Api, As, Bearer};
use super::import::{Importer, retail_wanted};
use super::output;
use super::retail::Retail;
use super::session::Session;
use report::{Report, Timings};
use shopper::Customers;
use state::{Log, Outcome, RunId, Terms};

/// What a replay is about: shared by everything that takes part in it.
pub struct Run {
    pub api: Api,
    pub admin: Session,
    pub retail: Retail,
    /// How many invoices are played, from the first.
    pub invoices: usize,
    pub id: RunId,
    /// Of each item, what was set before the first order.
    pub stock: Vec<u64>,
    pub clients: usize,
    /// Whether lines go into carts many at once.
    pub bulk: bool,
}

impl Run {
    fn as_admin(&self) -> As<'_> {
        As::User(&self.admin)
    }
}

pub async fn run(args: ReplayArgs) -> anyhow::Result<()> {
    let clients = usize::from(args.clients);
    let (api, admin) = (args.server.api(clients)?, args.server.session()?);
    admin.bearer(&api).await.context("logging in as administrator")?;

    let started = Instant::now();
    let retail = Retail::read(&args.file)?;
    let invoices = args.invoices.unwrap_or(usize::MAX).min(retail.invoices.len());
    let terms = Terms {
        fingerprint: retail.fingerprint.clone(),
        stock: args.stock.to_string(),
        invoices,
        sequential: clients == 1,
        bulk: args.bulk,
    };
    let log = Log::open(args.state.as_deref(), terms)?;
    let stock = retail.sold(invoices).into_iter().map(|sold| args.stock.of(sold)).collect();
    let run = Arc::new(Run { api, admin, retail, invoices, id: log.run().clone(), stock, clients, bulk: args.bulk });
    let read_s = started.elapsed().as_secs_f64();

    let started = Instant::now();
    if !log.is_prepared() {
        prepare(&run, &args).await.context("preparing the catalogue and its stock")?;
        log.prepared()?;
    }
    let prepare_s = started.elapsed().as_secs_f64();

    let started = Instant::now();
    let played = play::play(&run, Arc::new(log)).await?;
    let play_s = started.elapsed().as_secs_f64();

    let started = Instant::now();
    let checks = verify::verify(&run, &args.stock, &played).await.context("verifying")?;
    let verify_s = started.elapsed().as_secs_f64();

    let timings = Timings { read_s, prepare_s, play_s, verify_s };
    let report = Report::new(&run, &args, &played, timings, checks);
    if let Some(path) = &args.report {
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    output::print(&report.to_string())?;
    if report.ok { Ok(()) } else { bail!("the replay did not verify") }
}

/// Imports what is missing of the catalogue, and sets every SKU's stock. May be done again as long as no
/// order was played.
async fn prepare(run: &Run, args: &ReplayArgs) -> anyhow::Result<()> {
    let file = args.file.display().to_string();
    let mut products = retail_wanted(&file, &run.retail, ImportStock::Share(args.stock), run.invoices);
    // what is played is bought: a draft could not be
    products.iter_mut().for_each(|product| product.status = Some("published"));
    let bar = output::progress(products.len() as u64, "products").with_message("preparing");
    let importer = Importer::new(&run.api, run.as_admin(), run.clients.clamp(8, 32)).await?;
    let applied = importer.apply(products, &bar).await?;
    bar.finish_and_clear();
    match applied.errors.first() {
        None => Ok(()),
        Some((_, error)) => {
            bail!("{} products failed, the first: {}: {}", applied.errors.len(), error.what, error.reason)
        }
    }
}

/// The result of playing: each invoice's outcome, and other failures.
pub struct Played {
    /// By the invoice's index; `None`: it has no outcome.
    pub outcomes: Vec<Option<Outcome>>,
    /// (invoice number, why) of those without an outcome.
    pub failures: Vec<(u32, String)>,
    /// Invoices whose outcome was in the state file already.
    pub resumed: usize,
    /// Lines of the invoices that were decided in this session.
    pub lines: usize,
    /// Who took part, logged in still.
    pub customers: Arc<Customers>,
}
