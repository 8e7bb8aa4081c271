//! Was each rejection right? The journal of its SKU knows.
//!
//! The refused order asked the SKU at some moment between its placement and its rejection. At some version
//! that the SKU had in that time, exactly as many pieces must have been available as the customer was told,
//! and fewer than he wanted. What was available at each version is recomputed here from the journal's
//! events; for the first rejection of each SKU it is also held against the state that time travel shows.

use std::collections::{BTreeMap, HashMap};

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
        let Some(version) = decisive else {
            let Rejection { invoice, available, requested, .. } = rejection;
            let told = format!("{available} available, {requested} requested");
            unexplained.push(format!("invoice {invoice}: {sku}: at no version of that time were there {told}"));
            continue;
        };
        explained += 1;
        if index == 0 {
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

/// What was available at each version, and since when.
pub struct History {
    /// (since when, version, available), in order.
    versions: Vec<(String, u64, u64)>,
}

impl History {
    pub fn of(journal: &[Entry]) -> Result<History, String> {
        let mut on_hand: u64 = 0;
        let mut held: HashMap<String, u64> = HashMap::new();
        let mut versions = Vec::with_capacity(journal.len());
        for entry in journal {
            for event in &entry.events {
                apply(&mut on_hand, &mut held, event).ok_or_else(|| format!("version {}: {event:?}", entry.version))?;
            }
            let reserved: u64 = held.values().sum();
            let available = on_hand.checked_sub(reserved);
            let available =
                available.ok_or_else(|| format!("version {}: {reserved} held of {on_hand}", entry.version))?;
            versions.push((entry.at.clone(), entry.version, available));
        }
        Ok(History { versions })
    }

    /// A version that was in force at some time from `since` to `until` with exactly so many available.
    /// Times compare as text: they all have one form.
    pub fn decisive(&self, since: &str, until: &str, available: u64) -> Option<u64> {
        let first = self.versions.partition_point(|(at, _, _)| at.as_str() < since).saturating_sub(1);
        let in_time = self.versions[first..].iter().take_while(|(at, _, _)| at.as_str() <= until);
        in_time.filter(|(_, _, had)| *had == available).map(|(_, version, _)| *version).last()
    }
}

/// `None`: the event is not as it should be.
fn apply(on_hand: &mut u64, held: &mut HashMap<String, u64>, event: &Event) -> Option<()> {
    let data = &event.data;
    let order = || data["order"].as_str().map(str::to_owned);
    match event.what.as_str() {
        "stock_set" => *on_hand = data["on_hand"].as_u64()?,
        "adjusted" => *on_hand = on_hand.checked_add_signed(data["delta"].as_i64()?)?,
        "reserved" => {
            held.insert(order()?, data["quantity"].as_u64()?);
        }
        "committed" => {
            held.remove(&order()?);
            *on_hand = on_hand.checked_sub(data["quantity"].as_u64()?)?;
        }
        "hold_released" => {
            held.remove(&order()?);
        }
        "expired" => {
            for order in data["orders"].as_array()? {
                held.remove(order.as_str()?);
            }
        }
        "restocked" => *on_hand = on_hand.checked_add(data["quantity"].as_u64()?)?,
        // of the offer and of what the product is told
        "claimed" | "offer_set" | "released" | "band_changed" | "band_told" => {}
        _ => return None,
    }
    Some(())
}
