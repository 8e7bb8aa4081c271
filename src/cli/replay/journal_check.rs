//! Was each rejection right? The journal of its SKU knows.
//!
//! The refused order asked the SKU at some moment between its placement and its rejection. At some version
//! that the SKU had in that time, exactly as many pieces must have been available as the customer was told,
//! and fewer than he wanted. What was available at each version is recomputed here from the journal's
//! events; for the first rejection of each SKU it is also held against the state that time travel shows (where the
//! decisive moment is what a version came to).

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::{Value, json};

use super::report::Check;
use super::state::{Outcome, Refusal};
use super::{Played, Run};
use crate::cli::client::{ApiError, Call, encoded};
use crate::cli::inspect::{self, Versioned};
use crate::cli::meter::Op;
use crate::cli::output;

/// A rejected order and what it was told.
struct Rejection<'a> {
    invoice: u32,
    order: &'a str,
    available: u64,
    requested: u64,
}

pub async fn rejections_are_explained(run: &Run, played: &Played) -> Result<Check, ApiError> {
    let mut check = Check::new("every rejection is explained by the journal of its SKU");
    let mut by_sku: BTreeMap<&str, Vec<Rejection<'_>>> = BTreeMap::new();
    let mut rejected = 0;
    for (invoice, outcome) in run.retail.invoices.iter().zip(&played.outcomes) {
        let Some(Outcome::Rejected { order, refusal }) = outcome else { continue };
        rejected += 1;
        let wanted = refusal.sku.as_deref().and_then(|sku| run.retail.item(sku));
        let wanted = wanted.and_then(|item| run.retail.quantities(invoice).get(&item).copied());
        match refusal {
            Refusal { code, sku: Some(sku), available: Some(available), requested: Some(requested) }
                if code == "insufficient_stock" && available < requested && wanted == Some(*requested) =>
            {
                let (available, requested) = (*available, *requested);
                let rejection = Rejection { invoice: invoice.number, order, available, requested };
                by_sku.entry(sku).or_default().push(rejection);
            }
            refusal => check.differs(format!("invoice {}: {refusal:?}", invoice.number)),
        }
    }
    let bar = output::progress(by_sku.len() as u64, "SKUs").with_message("reading journals");
    let mut explained = 0;
    let mut results = futures::stream::iter(by_sku)
        .map(|(sku, rejections)| explain(run, sku, rejections))
        .buffer_unordered(run.clients);
    while let Some((count, unexplained)) = results.try_next().await? {
        bar.inc(1);
        explained += count;
        unexplained.into_iter().for_each(|what| check.differs(what));
    }
    bar.finish_and_clear();
    Ok(check.compare("rejections", json!(rejected), json!(explained)))
}

#[derive(Deserialize)]
struct OrderTimes {
    created_at: String,
    timeline: Vec<Moment>,
}

#[derive(Deserialize)]
struct Moment {
    at: String,
    #[serde(rename = "type")]
    what: String,
}

/// How many of a SKU's rejections its journal explains, and what is to be said of the others.
async fn explain(run: &Run, sku: &str, rejections: Vec<Rejection<'_>>) -> Result<(u64, Vec<String>), ApiError> {
    let path = format!("/v1/admin/entities/sku/{}", encoded(sku));
    let journal: Vec<Entry> = inspect::journal(&run.api, &path, run.as_admin()).await?;
    let history = match History::of(&journal) {
        Ok(history) => history,
        Err(why) => return Ok((0, vec![format!("{sku}: {why}")])),
    };
    let mut explained = 0;
    let mut unexplained = Vec::new();
    for (index, rejection) in rejections.iter().enumerate() {
        let order_path = format!("/v1/admin/orders/{}", rejection.order);
        let times: OrderTimes = run.api.read(Call::get(Op::Read, order_path).by(run.as_admin())).await?;
        let until = times.timeline.iter().find(|moment| moment.what == "rejected").map(|moment| moment.at.as_str());
        let decisive = until.and_then(|until| history.decisive(&times.created_at, until, rejection.available));
        let Some((version, lasting)) = decisive else {
            let Rejection { invoice, available, requested, .. } = rejection;
            let told = format!("{available} available, {requested} requested");
            unexplained.push(format!("invoice {invoice}: {sku}: at no version of that time were there {told}"));
            continue;
        };
        explained += 1;
        if index == 0 && lasting {
            let seen = available_at(run, &path, version).await?;
            if seen != Some(rejection.available) {
                let told = rejection.available;
                unexplained.push(format!("{sku} at version {version}: time travel shows {seen:?}, the journal {told}"));
            }
        }
    }
    Ok((explained, unexplained))
}

/// What was available, by the SKU's state at `version`.
async fn available_at(run: &Run, path: &str, version: u64) -> Result<Option<u64>, ApiError> {
    let call = Call::get(Op::Read, format!("{path}/state?at={version}")).by(run.as_admin());
    let answer: Value = run.api.read(call).await?;
    // the state itself, or the state with its version around it
    let state = answer.get("state").unwrap_or(&answer);
    let holds = state["reservations"].as_object();
    let reserved = holds.map(|holds| holds.values().filter_map(|hold| hold["quantity"].as_u64()).sum::<u64>());
    Ok(state["on_hand"].as_u64().and_then(|on_hand| on_hand.checked_sub(reserved.unwrap_or(0))))
}

/// A journal entry of a SKU.
#[derive(Debug, Deserialize)]
pub struct Entry {
    version: u64,
    at: String,
    events: Vec<Event>,
}

impl Versioned for Entry {
    fn version(&self) -> u64 {
        self.version
    }
}

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "type")]
    what: String,
    #[serde(default)]
    data: Value,
}

/// What was available when. A record may hold several commands that were decided together, and a refusal may
/// lie between them: so there is a moment for each event.
pub struct History {
    /// In order.
    moments: Vec<Available>,
}

struct Available {
    /// Since when.
    at: String,
    version: u64,
    pieces: u64,
    /// Whether it is what the version came to, and not passed within it.
    lasting: bool,
}

impl History {
    pub fn of(journal: &[Entry]) -> Result<History, String> {
        let mut stock = Stock::default();
        let mut moments = Vec::with_capacity(journal.len());
        for entry in journal {
            for (index, event) in entry.events.iter().enumerate() {
                let pieces = stock.apply(event).and_then(|()| stock.on_hand.checked_sub(stock.reserved));
                let pieces = pieces.ok_or_else(|| format!("version {}: {event:?} does not fit", entry.version))?;
                let lasting = index + 1 == entry.events.len();
                moments.push(Available { at: entry.at.clone(), version: entry.version, pieces, lasting });
            }
        }
        Ok(History { moments })
    }

    /// A version that was in force at some time from `since` to `until` with exactly so many pieces available;
    /// and whether these are what it came to. Times compare as text: they all have one form.
    pub fn decisive(&self, since: &str, until: &str, pieces: u64) -> Option<(u64, bool)> {
        let first = self.moments.partition_point(|moment| moment.at.as_str() < since).saturating_sub(1);
        let in_time = self.moments[first..].iter().take_while(|moment| moment.at.as_str() <= until);
        let fitting = in_time.filter(|moment| moment.pieces == pieces);
        fitting.max_by_key(|moment| (moment.lasting, moment.version)).map(|moment| (moment.version, moment.lasting))
    }
}

#[derive(Default)]
struct Stock {
    on_hand: u64,
    held: HashMap<String, u64>,
    /// The sum of what is held.
    reserved: u64,
    /// Orders that hold pieces of what the SKU named before: these are not counted here any more.
    before: HashSet<String>,
}

impl Stock {
    /// `None`: the event is not as it should be.
    fn apply(&mut self, event: &Event) -> Option<()> {
        let data = &event.data;
        match event.what.as_str() {
            "stock_set" => self.on_hand = data["on_hand"].as_u64()?,
            "adjusted" => self.on_hand = self.on_hand.checked_add_signed(data["delta"].as_i64()?)?,
            "reserved" => {
                let quantity = data["quantity"].as_u64()?;
                self.let_go(&data["order"])?;
                self.held.insert(data["order"].as_str()?.to_owned(), quantity);
                self.reserved += quantity;
            }
            "committed" if self.before.remove(data["order"].as_str()?) => {}
            "committed" => {
                self.let_go(&data["order"])?;
                self.on_hand = self.on_hand.checked_sub(data["quantity"].as_u64()?)?;
            }
            "hold_released" => self.let_go(&data["order"])?,
            "expired" => data["orders"].as_array()?.iter().try_for_each(|order| self.let_go(order))?,
            "restocked" => self.on_hand = self.on_hand.checked_add(data["quantity"].as_u64()?)?,
            // Another variant has it now, and none of the pieces.
            "claimed" if data["fresh"].as_bool()? => {
                self.before.extend(self.held.drain().map(|(order, _)| order));
                (self.on_hand, self.reserved) = (0, 0);
            }
            // of the offer, of what the product is told, and of what it was before
            "claimed" | "offer_set" | "released" | "band_changed" | "band_told" | "restocked_past" => {}
            _ => return None,
        }
        Some(())
    }

    fn let_go(&mut self, order: &Value) -> Option<()> {
        self.reserved -= self.held.remove(order.as_str()?).unwrap_or(0);
        Some(())
    }
}
