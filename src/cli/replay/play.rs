//! Many customers at once: each worker takes the next invoice, plays it, notes its outcome.

use std::sync::Arc;

use indicatif::ProgressBar;
use parking_lot::Mutex;

use super::schedule::Schedule;
use super::shopper::{Customer, Customers, shop};
use super::state::{Log, Outcome};
use super::{Played, Run};
use crate::cli::client::ApiError;
use crate::cli::output;

/// After so many invoices without an outcome something is wrong with the whole.
const FAILURES_MAX: usize = 100;

struct Floor {
    run: Arc<Run>,
    log: Arc<Log>,
    customers: Arc<Customers>,
    schedule: Mutex<Schedule>,
    outcomes: Mutex<Vec<Option<Outcome>>>,
    failures: Mutex<Vec<(u32, String)>>,
    /// What ends the replay before its time.
    fatal: Mutex<Option<anyhow::Error>>,
    bar: ProgressBar,
}

/// Plays every invoice that has no outcome yet.
pub async fn play(run: &Arc<Run>, log: Arc<Log>) -> anyhow::Result<Played> {
    let invoices = &run.retail.invoices[..run.invoices];
    let found: Vec<Option<Outcome>> = invoices.iter().map(|invoice| log.found(invoice.number).cloned()).collect();
    let resumed = found.iter().flatten().count();
    let was_found: Vec<bool> = found.iter().map(Option::is_some).collect();
    let rows = |from: usize| run.retail.lines(&invoices[from]).len() as u64;
    let bar = output::progress(run.retail.sale_rows(run.invoices) as u64, "lines").with_message("playing");
    bar.inc((0..found.len()).filter(|index| found[*index].is_some()).map(rows).sum());
    bar.reset_eta();

    let floor = Arc::new(Floor {
        run: run.clone(),
        customers: Arc::new(customers(run, &found)),
        schedule: Mutex::new(Schedule::new(invoices, |index| found[index].is_some())),
        outcomes: Mutex::new(found),
        failures: Mutex::default(),
        fatal: Mutex::default(),
        log,
        bar,
    });
    let interrupted = tokio::spawn(stop_when_interrupted(floor.clone()));
    let workers: Vec<_> = (0..run.clients).map(|_| tokio::spawn(work(floor.clone()))).collect();
    for worker in workers {
        worker.await?;
    }
    interrupted.abort();
    floor.bar.finish_and_clear();
    if let Some(fatal) = floor.fatal.lock().take() {
        return Err(fatal);
    }
    let outcomes = std::mem::take(&mut *floor.outcomes.lock());
    let failures = std::mem::take(&mut *floor.failures.lock());
    let decided = outcomes.iter().zip(was_found).zip(invoices).filter(|((now, was), _)| now.is_some() && !was);
    let lines = decided.map(|(_, invoice)| run.retail.lines(invoice).len()).sum();
    Ok(Played { outcomes, failures, resumed, lines, customers: floor.customers.clone() })
}

fn customers(run: &Run, found: &[Option<Outcome>]) -> Customers {
    let mut customers = Customers::new();
    for (invoice, outcome) in run.retail.invoices.iter().zip(found) {
        if let Some(number) = invoice.customer {
            // the first entry of a customer tells: outcomes are found in the order of his invoices
            customers.entry(number).or_insert_with(|| Arc::new(Customer::new(number, outcome.is_some())));
        }
    }
    customers
}

async fn stop_when_interrupted(floor: Arc<Floor>) {
    if tokio::signal::ctrl_c().await.is_ok() {
        let why = "interrupted; what was under way is finished. With --state FILE the same command goes on from here";
        floor.give_up(anyhow::anyhow!(why));
    }
}

async fn work(floor: Arc<Floor>) {
    loop {
        let taken = floor.schedule.lock().take();
        let Some(index) = taken else { return };
        let invoice = &floor.run.retail.invoices[index];
        let customer = invoice.customer.and_then(|number| floor.customers.get(&number));
        match shop(&floor.run, invoice, customer.map(|customer| &**customer)).await {
            Ok(outcome) => {
                if let Err(error) = floor.log.played(invoice.number, &outcome) {
                    floor.give_up(error);
                }
                floor.outcomes.lock()[index] = Some(outcome);
            }
            Err(error) => floor.failed(invoice.number, error),
        }
        floor.bar.inc(floor.run.retail.lines(invoice).len() as u64);
        floor.schedule.lock().played(index);
    }
}

impl Floor {
    /// Ends the replay: what is under way is finished, nothing new is begun.
    fn give_up(&self, why: anyhow::Error) {
        self.schedule.lock().stop();
        self.fatal.lock().get_or_insert(why);
    }

    fn failed(&self, invoice: u32, error: ApiError) {
        if let ApiError::GaveUp { .. } = error {
            return self.give_up(anyhow::Error::new(error).context(format!("invoice {invoice}")));
        }
        let mut failures = self.failures.lock();
        failures.push((invoice, error.to_string()));
        if failures.len() >= FAILURES_MAX {
            let why = anyhow::anyhow!("{FAILURES_MAX} invoices have failed, the last ({invoice}) with: {error}");
            drop(failures);
            self.give_up(why);
        }
    }
}
