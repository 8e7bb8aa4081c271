//! Why a cart refuses, as problems.

use super::view::RequirementView;
use crate::actors::cart::types::{CartStatus, LineFault, LineFaultCode, MergeRefusal, Rejection};
use crate::actors::values::{Quantity, Sku};
use crate::http::answer::problem::{Code, Fault, Problem};

/// What a cart's rejection means to a client.
pub fn refusal(rejection: &Rejection) -> Problem {
    match rejection {
        Rejection::NotFound | Rejection::LineNotFound => Code::NotFound.into(),
        Rejection::Closed { status: CartStatus::Expired } => Code::CartExpired.into(),
        Rejection::Closed {
            status: status @ (CartStatus::Open | CartStatus::Completing | CartStatus::Completed | CartStatus::Merged),
        } => Problem::new(Code::CartClosed).detail(format!("It is {status}.")).with("cart_status", status),
        Rejection::CompletionInProgress { order } => Problem::new(Code::CompletionInProgress).with("order_id", order),
        Rejection::MergeInProgress => Code::ChangeInProgress.into(),
        Rejection::UnknownSku { sku } => of_sku(Code::UnknownSku, sku),
        Rejection::Unpublished { sku } => of_sku(Code::UnpublishedSku, sku),
        Rejection::OtherCurrency { sku, currency } => {
            of_sku(Code::OtherCurrency, sku).detail(format!("SKU {sku} is priced in {currency}."))
        }
        Rejection::TooManyLines { limit } => too_many_lines(*limit),
        Rejection::QuantityTooLarge { .. } => Problem::of_field(too_many_pieces("/quantity")),
        Rejection::SelfMerge => {
            let fault = Fault::new(Code::InvalidValue, "/from_cart_id");
            Problem::of_field(fault.detail("A cart cannot be merged into itself."))
        }
        Rejection::NotReady { requirements } => {
            let missing: Vec<_> = requirements.iter().copied().map(RequirementView::from).collect();
            Problem::new(Code::CartNotReady).with("requirements", missing)
        }
        Rejection::SkuGone { line, sku } => Problem::new(Code::SkuUnavailable)
            .detail(format!("SKU {sku} is no longer for sale."))
            .fault(Fault::new(Code::SkuUnavailable, format!("/lines/{line}/sku")).with("sku", sku)),
        // The cart changed between two reads, again and again.
        Rejection::OfferMissing { .. } => Code::ChangeInProgress.into(),
        Rejection::LinesNotAdded { faults } => lines_not_added(faults),
        // Answers a cart, which is not a client.
        Rejection::NotMerging => Code::Internal.into(),
    }
}

/// A 422 about the SKU that the body names.
fn of_sku(code: Code, sku: &Sku) -> Problem {
    Problem::new(code).fault(Fault::new(code, "/sku").with("sku", sku))
}

/// A 422 about the lines of a list, with the code that they share, if they do.
fn lines_not_added(faults: &[LineFault]) -> Problem {
    let faults: Vec<Fault> = faults.iter().map(of_listed_line).collect();
    let shared = faults.first().map(|first| first.code).filter(|code| faults.iter().all(|fault| fault.code == *code));
    // A quantity over the limit is a fault of the body, as it is for a single line.
    let code = shared.filter(|code| *code != Code::OutOfRange).unwrap_or(Code::ValidationFailed);
    Problem::new(code).faults(faults)
}

fn of_listed_line(LineFault { place, sku, code, currency }: &LineFault) -> Fault {
    let of_sku = |code| Fault::new(code, format!("/lines/{place}/sku")).with("sku", sku);
    match code {
        LineFaultCode::UnknownSku => of_sku(Code::UnknownSku),
        LineFaultCode::Unpublished => of_sku(Code::UnpublishedSku),
        LineFaultCode::OtherCurrency => {
            let fault = of_sku(Code::OtherCurrency);
            match currency {
                Some(currency) => fault.detail(format!("SKU {sku} is priced in {currency}.")),
                None => fault,
            }
        }
        LineFaultCode::QuantityTooLarge => too_many_pieces(&format!("/lines/{place}/quantity")).with("sku", sku),
    }
}

fn too_many_pieces(pointer: &str) -> Fault {
    Fault::new(Code::OutOfRange, pointer).detail(format!("A line has at most {} pieces.", Quantity::MAX))
}

fn too_many_lines(limit: impl std::fmt::Display) -> Problem {
    Problem::new(Code::TooManyLines).detail(format!("A cart has at most {limit} lines."))
}

/// Why a merge did not come about. Both carts are as they were.
pub fn merge_refused(refusal: MergeRefusal) -> Problem {
    match refusal {
        MergeRefusal::SourceNotFound => Code::NotFound.into(),
        MergeRefusal::SourceClosed => Problem::new(Code::MergeNotPossible).detail("The other cart is no longer open."),
        // The merge is tried again before this is answered.
        MergeRefusal::SourceCompleting | MergeRefusal::SourceMerging => Code::ChangeInProgress.into(),
        MergeRefusal::OtherCurrency => {
            Problem::new(Code::OtherCurrency).fault(Fault::new(Code::OtherCurrency, "/from_cart_id"))
        }
        MergeRefusal::TooManyLines => too_many_lines(crate::actors::cart::types::LINES_MAX),
        MergeRefusal::QuantityTooLarge => Problem::of_field(too_many_pieces("/from_cart_id")),
    }
}
