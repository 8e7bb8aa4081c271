//! Everything is read back through the API and held against a recomputation from the file.
//!
//! Which invoices must be confirmed: with enough stock all of them; with one client those that the oracle says;
//! with less stock and many clients those that the customers were told are, while each rejection must be
//! explained by the journal of its SKU ([`super::journal_check`]).

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::{Value, json};

use super::journal_check;
use super::oracle::{self, Expected};
use super::report::Check;
use super::state::Outcome;
use super::{Played, Run};
use crate::cli::args::StockShare;
use crate::cli::client::{ApiError, As, Call, encoded};
use crate::cli::meter::Op;
use crate::cli::output;
use crate::cli::retail::Invoice;

/// Listings may lag behind by a second.
const LISTINGS_LAG: Duration = Duration::from_millis(1_500);

pub async fn verify(run: &Run, share: &StockShare, played: &Played) -> Result<Vec<Check>, ApiError> {
    tokio::time::sleep(LISTINGS_LAG).await;
    let mut checks = vec![everything_was_decided(run, played)];
    let expected = expectations(run, share);
    if let Some(expected) = &expected {
        checks.push(outcomes_are_as_expected(run, played, expected));
    }
    let confirmed: Vec<bool> = match &expected {
        Some(expected) => expected.iter().map(|expected| *expected == Expected::Confirmed).collect(),
        None => played.outcomes.iter().map(|o| matches!(o, Some(Outcome::Confirmed { .. }))).collect(),
    };
    let shop = Shop::read(run).await?;
    checks.extend(shop.checks(run, played, &confirmed));
    checks.push(stock_adds_up(run, &confirmed).await?);
    checks.push(histories_are_complete(run, played, &confirmed).await?);
    checks.push(journal_check::rejections_are_explained(run, played).await?);
    Ok(checks)
}

/// What each invoice must come to, where that can be known beforehand.
fn expectations(run: &Run, share: &StockShare) -> Option<Vec<Expected>> {
    if share.is_enough() {
        Some(vec![Expected::Confirmed; run.invoices])
    } else {
        (run.clients == 1).then(|| oracle::sequential(&run.retail, run.invoices, &run.stock))
    }
}

fn everything_was_decided(run: &Run, played: &Played) -> Check {
    let mut check = Check::new("every invoice was decided");
    for (invoice, why) in &played.failures {
        check.differs(format!("invoice {invoice}: {why}"));
    }
    check.compare("invoices", json!(run.invoices), json!(played.outcomes.iter().flatten().count()))
}

fn outcomes_are_as_expected(run: &Run, played: &Played, expected: &[Expected]) -> Check {
    let name = if run.clients == 1 { "outcomes equal the sequential oracle" } else { "every order is confirmed" };
    let mut check = Check::new(name);
    let mut counts = [[0_u64; 2]; 2];
    for ((invoice, outcome), expected) in run.retail.invoices.iter().zip(&played.outcomes).zip(expected) {
        counts[0][usize::from(matches!(expected, Expected::Rejected(_)))] += 1;
        let Some(outcome) = outcome else { continue };
        counts[1][usize::from(matches!(outcome, Outcome::Rejected { .. }))] += 1;
        if let Err(why) = matches_expectation(run, outcome, expected) {
            check.differs(format!("invoice {}: {why}", invoice.number));
        }
    }
    let shown = |[confirmed, rejected]: [u64; 2]| json!({"confirmed": confirmed, "rejected": rejected});
    check.compare("outcomes", shown(counts[0]), shown(counts[1]))
}

fn matches_expectation(run: &Run, outcome: &Outcome, expected: &Expected) -> Result<(), String> {
    match (outcome, expected) {
        (Outcome::Confirmed { .. }, Expected::Confirmed) => Ok(()),
        (Outcome::Confirmed { .. }, Expected::Rejected(short)) => Err(format!("confirmed in spite of {short:?}")),
        (Outcome::Rejected { refusal, .. }, Expected::Confirmed) => Err(format!("rejected: {refusal:?}")),
        (Outcome::Rejected { refusal, .. }, Expected::Rejected(short)) => {
            let item = refusal.sku.as_deref().and_then(|sku| run.retail.item(sku));
            let told = (refusal.available, refusal.requested);
            let fits = short.iter().any(|s| Some(s.item) == item && told == (Some(s.available), Some(s.requested)));
            let is_stock = refusal.code == "insufficient_stock";
            if fits && is_stock { Ok(()) } else { Err(format!("rejected for {refusal:?}, expected {short:?}")) }
        }
    }
}

#[derive(Deserialize)]
struct OrderRow {
    status: String,
    payment_status: String,
    user_id: Option<String>,
    reference: Option<String>,
    #[serde(default)]
    metadata: Metadata,
    lines: Vec<LineRow>,
    totals: TotalsRow,
}

#[derive(Deserialize, Default)]
struct Metadata {
    replay: Option<String>,
}

#[derive(Deserialize)]
struct LineRow {
    sku: String,
    quantity: u64,
    total: Amount,
}

#[derive(Deserialize)]
struct TotalsRow {
    total: Amount,
}

#[derive(Deserialize)]
struct Amount {
    amount: i64,
}

/// What the shop's own list of orders says of this replay.
struct Shop {
    /// Confirmed and captured orders of each invoice.
    confirmed: Vec<u32>,
    rejected: u64,
    units: Vec<u64>,
    /// Pence by `YYYY-MM`.
    revenue: BTreeMap<String, i64>,
    odd: Vec<String>,
}

impl Shop {
    async fn read(run: &Run) -> Result<Shop, ApiError> {
        let by_number: HashMap<String, usize> =
            run.retail.invoices[..run.invoices].iter().enumerate().map(|(i, v)| (v.number.to_string(), i)).collect();
        let mut shop = Shop {
            confirmed: vec![0; run.invoices],
            rejected: 0,
            units: vec![0; run.retail.items.len()],
            revenue: BTreeMap::new(),
            odd: Vec::new(),
        };
        let bar = output::progress(run.invoices as u64, "orders").with_message("reading orders");
        run.api
            .list(Op::Read, "/v1/admin/orders", run.as_admin(), |order: OrderRow| {
                if order.metadata.replay.as_ref() == Some(&run.id.0) {
                    bar.inc(1);
                    let index = order.reference.as_ref().and_then(|reference| by_number.get(reference));
                    match index {
                        Some(index) => shop.add(run, *index, &order),
                        None => shop.odd.push(format!("an order with the reference {:?}", order.reference)),
                    }
                }
            })
            .await?;
        bar.finish_and_clear();
        Ok(shop)
    }

    fn add(&mut self, run: &Run, index: usize, order: &OrderRow) {
        let invoice = &run.retail.invoices[index];
        let mut odd = |what: String| self.odd.push(format!("invoice {}: {what}", invoice.number));
        if order.user_id.is_some() != invoice.customer.is_some() {
            odd(format!("user_id is {:?}", order.user_id));
        }
        match (order.status.as_str(), order.payment_status.as_str()) {
            ("confirmed", "captured") => self.confirmed[index] += 1,
            ("rejected", "none" | "voided" | "failed") => {
                self.rejected += 1;
                return;
            }
            (status, payment) => {
                odd(format!("is {status} with payment {payment}"));
                return;
            }
        }
        let mut bought = BTreeMap::new();
        for line in &order.lines {
            let Some(item) = run.retail.item(&line.sku) else {
                odd(format!("has the SKU {}", line.sku));
                continue;
            };
            *bought.entry(item).or_insert(0) += line.quantity;
            self.units[item as usize] += line.quantity;
            let price = run.retail.items[item as usize].price;
            if i64::try_from(line.quantity).ok().and_then(|quantity| quantity.checked_mul(price))
                != Some(line.total.amount)
            {
                odd(format!("{} x {} at {price} comes to {}", line.quantity, line.sku, line.total.amount));
            }
        }
        if bought != run.retail.quantities(invoice) {
            odd("its lines are not those of the file".to_owned());
        }
        *self.revenue.entry(invoice.month().to_owned()).or_insert(0) += order.totals.total.amount;
    }

    fn checks(self, run: &Run, played: &Played, confirmed: &[bool]) -> Vec<Check> {
        let mut orders = Check::new("each confirmed invoice is one order, with its lines");
        self.odd.into_iter().for_each(|what| orders.differs(what));
        let mut units = vec![0; run.retail.items.len()];
        let mut revenue = BTreeMap::new();
        for (index, invoice) in run.retail.invoices[..run.invoices].iter().enumerate() {
            if self.confirmed[index] != u32::from(confirmed[index]) {
                let found = self.confirmed[index];
                orders.differs(format!("invoice {}: {found} confirmed orders", invoice.number));
            }
            if confirmed[index] {
                run.retail.quantities(invoice).iter().for_each(|(item, n)| units[*item as usize] += n);
                *revenue.entry(invoice.month().to_owned()).or_insert(0) += run.retail.value(invoice);
            }
        }
        let expected = confirmed.iter().filter(|confirmed| **confirmed).count();
        let orders = orders.compare("orders", json!(expected), json!(self.confirmed.iter().sum::<u32>()));

        let told = played.outcomes.iter().flatten().filter(|o| matches!(o, Outcome::Rejected { .. })).count();
        let rejected = Check::new("rejected orders are neither paid nor hidden");
        let rejected = rejected.compare("rejected orders", json!(told), json!(self.rejected));

        let mut sold = Check::new("units of every SKU");
        for ((item, expected), actual) in run.retail.items.iter().zip(&units).zip(&self.units) {
            if expected != actual {
                sold.differs(format!("{}: expected {expected}, found {actual}", item.sku));
            }
        }
        let sold = sold.compare("units", json!(units.iter().sum::<u64>()), json!(self.units.iter().sum::<u64>()));
        let revenue =
            Check::new("revenue of every month, in pence").compare("revenue", json!(revenue), json!(self.revenue));
        vec![orders, rejected, sold, revenue]
    }
}

#[derive(Deserialize)]
struct Inventory {
    on_hand: u64,
    reserved: u64,
    #[serde(default)]
    reservations: Vec<Value>,
}

/// Stock set = final on_hand + confirmed units, and nothing is held.
async fn stock_adds_up(run: &Run, confirmed: &[bool]) -> Result<Check, ApiError> {
    let mut expected = run.stock.clone();
    let confirmed_invoices = run.retail.invoices.iter().zip(confirmed).filter(|(_, confirmed)| **confirmed);
    for (invoice, _) in confirmed_invoices {
        for (item, quantity) in run.retail.quantities(invoice) {
            expected[item as usize] = expected[item as usize].saturating_sub(quantity);
        }
    }
    let mut check = Check::new("stock of every SKU: what was set less what was sold, nothing held");
    let bar = output::progress(run.retail.items.len() as u64, "SKUs").with_message("reading stock");
    let mut found = futures::stream::iter(run.retail.items.iter().zip(&expected))
        .map(|(item, expected)| async move {
            let path = format!("/v1/admin/inventory/{}", encoded(&item.sku));
            let stock: Inventory = run.api.read(Call::get(Op::Read, path).by(run.as_admin())).await?;
            Ok::<_, ApiError>((item, *expected, stock))
        })
        .buffer_unordered(run.clients);
    let mut total = 0;
    while let Some((item, expected, stock)) = found.try_next().await? {
        bar.inc(1);
        total += stock.on_hand;
        if stock.on_hand != expected || stock.reserved != 0 || !stock.reservations.is_empty() {
            let Inventory { on_hand, reserved, .. } = stock;
            check.differs(format!("{}: expected {expected}, found {on_hand} of which {reserved} held", item.sku));
        }
    }
    bar.finish_and_clear();
    Ok(check.compare("pieces on hand", json!(expected.iter().sum::<u64>()), json!(total)))
}

#[derive(Deserialize)]
struct HistoryRow {
    reference: Option<String>,
    #[serde(default)]
    metadata: Metadata,
}

/// Every customer sees his confirmed invoices, newest first, and nothing else of this replay.
async fn histories_are_complete(run: &Run, played: &Played, confirmed: &[bool]) -> Result<Check, ApiError> {
    let mut expected: BTreeMap<u32, Vec<String>> =
        played.customers.keys().map(|number| (*number, Vec::new())).collect();
    let invoices: Vec<(&Invoice, &bool)> = run.retail.invoices.iter().zip(confirmed).collect();
    for (invoice, _) in invoices.into_iter().rev().filter(|(_, confirmed)| **confirmed) {
        if let Some(history) = invoice.customer.and_then(|number| expected.get_mut(&number)) {
            history.push(invoice.number.to_string());
        }
    }
    let mut check = Check::new("order history of every customer, newest first");
    let total: usize = expected.values().map(Vec::len).sum();
    let bar = output::progress(expected.len() as u64, "customers").with_message("reading histories");
    let mut found = futures::stream::iter(expected)
        .map(|(number, expected)| async move {
            let mut history = Vec::with_capacity(expected.len());
            let Some(customer) = played.customers.get(&number) else { return Ok((number, expected, history)) };
            let of_this_replay = |row: &HistoryRow| row.metadata.replay.as_ref() == Some(&run.id.0);
            run.api
                .list(Op::Read, "/v1/me/orders", As::User(customer.session()), |row: HistoryRow| {
                    if of_this_replay(&row) {
                        history.push(row.reference.unwrap_or_default());
                    }
                })
                .await?;
            Ok::<_, ApiError>((number, expected, history))
        })
        .buffer_unordered(run.clients);
    let mut listed = 0;
    while let Some((number, expected, history)) = found.try_next().await? {
        bar.inc(1);
        listed += history.len();
        if history != expected {
            check.differs(format!("customer {number}: expected {expected:?}, found {history:?}"));
        }
    }
    bar.finish_and_clear();
    Ok(check.compare("orders in histories", json!(total), json!(listed)))
}
