//! How a cart is answered: whole or as a summary, with what its shopper should be warned of.

use serde::Serialize;

use super::refusals::refusal;
use super::view::{CartAnswer, CartSummary, CartView};
use crate::actors::cart::types::{Cart, CartStatus, Line};
use crate::actors::projections::stock::SkuRow;
use crate::actors::runtime::client::{Answered, View};
use crate::actors::sku::types::StockUnit;
use crate::actors::values::{LineId, Sku};
use crate::http::answer::problem::{Code, Result};
use crate::http::request::idempotency::Rule;
use crate::http::{Edge, Reply, Write};

/// SKUs as a request has read them. They are at least as fresh as what warnings are made of.
pub struct ReadSkus(Vec<(Sku, View<StockUnit>)>);

impl ReadSkus {
    /// `read`: in the order of the SKUs, each once.
    pub fn new(read: Vec<(Sku, View<StockUnit>)>) -> ReadSkus {
        ReadSkus(read)
    }

    pub fn of(&self, sku: &Sku) -> Option<&View<StockUnit>> {
        let place = self.0.binary_search_by(|(read, _)| read.cmp(sku)).ok()?;
        self.0.get(place).map(|(_, view)| view)
    }

    fn skus(&self) -> impl Iterator<Item = &Sku> {
        self.0.iter().map(|(sku, _)| sku)
    }
}

/// Which lines a write has touched. A short answer warns about these lines only, so it costs the same however long the
/// cart is.
#[derive(Clone, Copy)]
pub enum Touched<'a> {
    Nothing,
    Everything,
    Line(LineId),
    /// As they were just read.
    Skus(&'a ReadSkus),
}

/// In a cart of up to so many lines all are checked for warnings.
const WARNED_WHOLE_MAX: usize = 100;

/// The cart after an accepted command, as the caller prefers it.
pub fn accepted<B, R: Rule>(
    edge: &Edge,
    write: &Write<B, R>,
    answered: &Answered<Cart>,
    touched: Touched<'_>,
) -> Result<CartAnswer> {
    match &answered.outcome {
        Ok(_) if write.minimal => summary(edge, &answered.view, touched).map(CartAnswer::Minimal),
        Ok(_) => shown_after(edge, &answered.view, touched).map(|view| CartAnswer::Whole(Box::new(view))),
        Err(rejection) => Err(refusal(rejection).replayed(answered.replayed)),
    }
}

fn summary(edge: &Edge, View { state, version, .. }: &View<Cart>, touched: Touched<'_>) -> Result<CartSummary> {
    let lines: Vec<&Line> = match touched {
        _ if state.status != CartStatus::Open => Vec::new(),
        _ if state.lines.len() <= WARNED_WHOLE_MAX => state.lines.iter().collect(),
        Touched::Everything => state.lines.iter().collect(),
        Touched::Nothing => Vec::new(),
        Touched::Line(id) => state.lines.by_id(id).into_iter().collect(),
        Touched::Skus(read) => read.skus().filter_map(|sku| state.lines.by_sku(sku)).collect(),
    };
    let skus = known(edge, lines.iter().copied(), touched);
    CartSummary::of(state, *version, lines, &skus).ok_or_else(|| Code::NotFound.into())
}

/// The SKUs of lines: from the read model, or as they were just read where that is newer.
fn known<'a>(edge: &Edge, lines: impl Iterator<Item = &'a Line> + Clone, touched: Touched<'_>) -> Vec<Option<SkuRow>> {
    let mut known = edge.projections.stock.skus(lines.clone().map(|line| &line.sku));
    if let Touched::Skus(read) = touched {
        for (line, row) in lines.zip(&mut known) {
            let fresh = read.of(&line.sku).map(SkuRow::of);
            *row = fresh.into_iter().chain(*row).max_by_key(|row| row.version);
        }
    }
    known
}

/// The cart with its warnings. Errors: 404 when nobody has created it.
pub fn shown(edge: &Edge, view: &View<Cart>) -> Result<CartView> {
    shown_after(edge, view, Touched::Nothing)
}

/// The same after a write.
fn shown_after(edge: &Edge, view: &View<Cart>, touched: Touched<'_>) -> Result<CartView> {
    let skus = match view.state.status {
        CartStatus::Open => known(edge, view.state.lines.iter(), touched),
        CartStatus::Completing | CartStatus::Completed | CartStatus::Merged | CartStatus::Expired => Vec::new(),
    };
    CartView::of(&view.state, view.version, &skus).ok_or_else(|| Code::NotFound.into())
}

pub fn whole(view: CartView) -> Reply<CartView> {
    let (version, warns) = (view.version, !view.warnings.is_empty());
    tagged(Reply::ok(view), version, warns)
}

pub fn reply(answer: CartAnswer) -> Reply<CartAnswer> {
    let (version, warns, minimal) = match &answer {
        CartAnswer::Whole(view) => (view.version, !view.warnings.is_empty(), false),
        CartAnswer::Minimal(summary) => (summary.version, !summary.warnings.is_empty(), true),
    };
    tagged(Reply::ok(answer), version, warns).minimal(minimal)
}

/// Warnings show data of the catalogue, so the tag of a cart with warnings is a hash of the whole body.
fn tagged<T: Serialize>(reply: Reply<T>, version: u64, warns: bool) -> Reply<T> {
    if warns { reply.version_of_whole(version) } else { reply.version(version) }
}
