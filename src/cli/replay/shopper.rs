//! One customer with one invoice: opens a cart, fills it, says where it goes, and pays.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::state::{Outcome, Refusal};
use super::{Run, contact};
use crate::cli::client::{Api, ApiError, As, Call, Problem};
use crate::cli::meter::Op;
use crate::cli::retail::{Invoice, Line, Retail};
use crate::cli::session::Session;

/// An order is decided within 60 s of its completion.
const DECIDED_WITHIN: Duration = Duration::from_secs(75);
/// The most lines that a request may have.
const LINES_AT_ONCE_MAX: usize = 500;
const POLL_EVERY: Duration = Duration::from_millis(250);

/// A registered customer. Registers when he first comes.
pub struct Customer {
    number: u32,
    session: Session,
    /// Whether the account is known to exist.
    registered: AtomicBool,
}

impl Customer {
    pub fn new(number: u32, registered: bool) -> Customer {
        let session = Session::new(contact::email_of(number), password_of(number));
        Customer { number, session, registered: AtomicBool::new(registered) }
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    async fn arrive(&self, api: &Api) -> Result<(), ApiError> {
        // his invoices come one after the other, so nobody else registers him meanwhile
        if !self.registered.load(Ordering::Acquire) {
            self.session.register(api, &contact::name_of(self.number)).await?;
            self.registered.store(true, Ordering::Release);
        }
        Ok(())
    }
}

/// The same in every replay, so that a later one can log in.
fn password_of(customer: u32) -> String {
    let hash = Sha256::digest(format!("souk replay, customer {customer}"));
    data_encoding::BASE32_NOPAD.encode(&hash[..15])
}

/// All registered customers of a replay, by their number.
pub type Customers = HashMap<u32, Arc<Customer>>;

#[derive(Deserialize)]
struct NewCart {
    id: String,
    token: Option<String>,
}

#[derive(Deserialize)]
struct Order {
    id: String,
    status: String,
    token: Option<String>,
    rejection: Option<Refusal>,
}

/// Plays an invoice to its outcome. An error means that it has none (yet).
pub async fn shop(run: &Run, invoice: &Invoice, customer: Option<&Customer>) -> Result<Outcome, ApiError> {
    let api = &run.api;
    let key = |step: &str| run.id.key(invoice.number, step);
    if let Some(customer) = customer {
        customer.arrive(api).await?;
    }
    let opener = customer.map_or(As::Nobody, |customer| As::User(customer.session()));
    let body = json!({
        "reference": invoice.number.to_string(),
        "metadata": {"replay": run.id, "invoice_date": invoice.at},
    });
    let open_key = key("open");
    let call = Call::new(Op::CreateCart, Method::POST, "/v1/carts").by(opener).key(&open_key).json(&body);
    let cart: NewCart = api.read(call).await?;
    let owner = cart.token.as_deref().map_or(opener, As::Cart);

    let path = format!("/v1/carts/{}", cart.id);
    let lines_path = format!("{path}/lines");
    for (step, body) in filling(&run.retail, run.retail.lines(invoice), run.bulk) {
        let line_key = key(&step);
        let call = Call::new(Op::AddLine, Method::POST, lines_path.as_str()).by(owner).key(&line_key);
        api.send(call.raw_json(body).minimal(run.bulk).discard()).await?;
    }
    let contact_key = key("contact");
    let call = Call::new(Op::SetContact, Method::PUT, format!("{path}/contact")).by(owner).key(&contact_key);
    api.send(call.json(&contact::of(&run.retail, invoice)).minimal(run.bulk).discard()).await?;
    complete(run, invoice, &path, owner).await
}

/// The requests that fill a cart: the step that each key is made of, and the body.
pub fn filling(retail: &Retail, lines: &[Line], bulk: bool) -> impl Iterator<Item = (String, String)> {
    // a SKU needs no escaping
    let one = |line: &Line| {
        let sku = &retail.items[line.item as usize].sku;
        format!(r#"{{"sku":"{sku}","quantity":{}}}"#, line.quantity)
    };
    let at_once = if bulk { LINES_AT_ONCE_MAX } else { 1 };
    lines.chunks(at_once).enumerate().map(move |(index, lines)| {
        if bulk {
            let lines: Vec<String> = lines.iter().map(one).collect();
            (format!("lines-{index}"), format!(r#"{{"lines":[{}]}}"#, lines.join(",")))
        } else {
            (format!("line-{index}"), lines.iter().map(one).collect())
        }
    })
}

async fn complete(run: &Run, invoice: &Invoice, path: &str, owner: As<'_>) -> Result<Outcome, ApiError> {
    let key = run.id.key(invoice.number, "complete");
    let body = json!({
        "payment": {"method": "mock", "token": "tok_visa"},
        "expected_total": {"amount": run.retail.value(invoice), "currency": "GBP"},
    });
    let call = Call::new(Op::Complete, Method::POST, format!("{path}/complete")).by(owner).key(&key).json(&body);
    match run.api.send(call).await {
        Ok(response) if response.status == StatusCode::ACCEPTED => {
            let order = response.read::<Order>()?;
            decided(run, order, owner).await
        }
        Ok(response) => outcome(response.read::<Order>()?),
        Err(ApiError::Refused(problem)) => refused(*problem),
        Err(error) => Err(error),
    }
}

/// Waits for an order that was not decided at once.
async fn decided(run: &Run, placed: Order, owner: As<'_>) -> Result<Outcome, ApiError> {
    let asker = match owner {
        As::User(session) => As::User(session),
        As::Nobody | As::Cart(_) | As::Order(_) => placed.token.as_deref().map_or(As::Nobody, As::Order),
    };
    let path = format!("/v1/orders/{}", placed.id);
    let since = Instant::now();
    loop {
        tokio::time::sleep(POLL_EVERY).await;
        let order: Order = run.api.read(Call::get(Op::Poll, path.as_str()).by(asker)).await?;
        if order.status != "pending" || since.elapsed() > DECIDED_WITHIN {
            return outcome(order);
        }
    }
}

fn outcome(order: Order) -> Result<Outcome, ApiError> {
    match (order.status.as_str(), order.rejection) {
        ("confirmed", _) => Ok(Outcome::Confirmed { order: order.id }),
        ("rejected", Some(refusal)) => Ok(Outcome::Rejected { order: order.id, refusal }),
        (status, _) => Err(ApiError::Unintelligible(format!("order {} is {status}", order.id))),
    }
}

/// A refusal of the completion that names a rejected order is an outcome; any other is not.
fn refused(problem: Problem) -> Result<Outcome, ApiError> {
    let Some(order) = problem.order_id.clone() else { return Err(ApiError::Refused(Box::new(problem))) };
    let first = problem.errors.first().cloned().unwrap_or_default();
    let refusal =
        Refusal { code: problem.code, sku: first.sku, available: first.available, requested: first.requested };
    Ok(Outcome::Rejected { order, refusal })
}
