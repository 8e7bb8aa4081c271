//! What the simulated clients do all day. Each is a script that asks, waits for the answer, and goes on;
//! what it meets is up to the scheduler. They share their carts and orders, so that they race each other.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use souk::actors::cart::types::{self as cart, Cart, CartStatus, Completing, MergeStrategy};
use souk::actors::customer::types::Customer;
use souk::actors::mock_charge::types::{TOKEN_DECLINED, TOKEN_FLAKY};
use souk::actors::order::types::{self as order, Order};
use souk::actors::payment::types::{PaymentIntent, PaymentMethod};
use souk::actors::product::types::{self as product, NewProduct, NewVariant, Patch, Product, ProductStatus};
use souk::actors::runtime::envelope::{AskError, Wait};
use souk::actors::session::types::{self as session, Session};
use souk::actors::sku::types::{self as sku, Offer, StockUnit};
use souk::actors::user::types::{self as user, User};
use souk::actors::values::{
    Address, CartId, Contact, Currency, LineId, Money, OrderId, ProductId, Quantity, RefundId, Role, Secret, SessionId,
    Sku, UserId, VariantId,
};

use crate::handle::Handle;
use crate::provider::{TOKEN_LATE, TOKEN_NEVER};
use crate::task::yield_once;

/// SKUs that the merchants sell. Few: everybody wants the same.
const SKUS: [&str; 4] = ["TEE-S", "TEE-M", "MUG", "CAP"];
const NAMES: [&str; 3] = ["ada@example.com", "eve@example.com", "bob@example.com"];

type Did = Result<(), AskError>;

/// A merchant opens his shop, and then changes prices and stock.
pub async fn merchant(me: Handle) {
    let mine: Vec<Sku> = SKUS.iter().skip(me.number % 2).step_by(2).filter_map(|sku| sku.parse().ok()).collect();
    let request = me.request();
    let id = ProductId::derived(&request, 0);
    let create = product::Command::Create { product: Box::new(new_product(&me, id, &mine)) };
    if me.keyed::<Product>(&id, create, request, Wait::Settled).await.is_ok() {
        me.town.lock().products.push(id);
    }
    for sku in &mine {
        let on_hand = 1 + me.below(12) as u64;
        let set = sku::Command::SetStock { on_hand, expected: None, item: None };
        let request = me.request();
        let _gone_wrong = me.keyed::<StockUnit>(sku, set, request, Wait::Durable).await;
        me.town.lock().skus.push(sku.clone());
    }
    while !me.is_draining() {
        let _refused = match me.below(4) {
            0 => change_product(&me, id, &mine).await,
            1 => count_stock(&me, &mine).await,
            2 => me.read::<Product>(&id, Wait::Durable).await.map(drop),
            _ => pause(&me).await,
        };
        yield_once().await;
    }
}

fn new_product(me: &Handle, id: ProductId, skus: &[Sku]) -> NewProduct {
    NewProduct {
        id,
        title: "Blue Tee".into(),
        slug: None,
        description: "It is blue.".into(),
        category_ids: Vec::new(),
        attributes: BTreeMap::new(),
        status: ProductStatus::Published,
        seller: None,
        variants: variants(me, skus),
    }
}

fn variants(me: &Handle, skus: &[Sku]) -> Vec<NewVariant> {
    let variant = |sku: &Sku| {
        let id = VariantId::derived(&me.request(), 0);
        let price = Money::new(100 + me.below(3) as i64, Currency::GBP);
        NewVariant { id, sku: sku.clone(), options: BTreeMap::new(), price }
    };
    skus.iter().map(variant).collect()
}

async fn change_product(me: &Handle, id: ProductId, mine: &[Sku]) -> Did {
    // Now and then a merchant drops a SKU, or wants one that is somebody else's.
    let skus = match me.below(6) {
        0 => mine[..1].to_vec(),
        1 => SKUS.iter().filter_map(|sku| sku.parse().ok()).collect(),
        _ => mine.to_vec(),
    };
    let patch = Patch { variants: Some(variants(me, &skus)), title: Some("Tee".into()), ..Patch::default() };
    let update = product::Command::Update { if_version: None, patch: Box::new(patch) };
    let request = me.request();
    me.keyed::<Product>(&id, update, request, Wait::Settled).await.map(drop)
}

async fn count_stock(me: &Handle, mine: &[Sku]) -> Did {
    let sku = &mine[me.below(mine.len())];
    let command = match me.below(3) {
        0 => sku::Command::SetStock { on_hand: me.below(12) as u64, expected: None, item: None },
        1 => {
            let (_, state) = me.read::<StockUnit>(sku, Wait::Durable).await?;
            sku::Command::SetStock { on_hand: state.on_hand + 2, expected: Some(state.on_hand), item: None }
        }
        _ => sku::Command::Adjust { delta: me.below(7) as i64 - 2, reason: "found".into(), item: None },
    };
    let request = me.request();
    me.keyed::<StockUnit>(sku, command, request, Wait::Durable).await.map(drop)
}

/// A customer: sometimes a guest, sometimes with an account.
pub async fn shopper(me: Handle) {
    let user = if me.chance(600) { register(&me).await.ok().flatten() } else { None };
    while !me.is_draining() {
        let _refused = match me.below(10) {
            0..=4 => shop(&me, user).await,
            5 => after_sales(&me).await,
            6 => after_sales(&me).await,
            7 => account(&me, user).await,
            8 => look_around(&me, user).await,
            _ => pause(&me).await,
        };
        yield_once().await;
    }
}

async fn pause(me: &Handle) -> Did {
    let until = me.now().plus_ms(me.below(200) as u64);
    while me.now() < until && !me.is_draining() {
        yield_once().await;
    }
    Ok(())
}

async fn register(me: &Handle) -> Result<Option<UserId>, AskError> {
    let request = me.request();
    let id = UserId::derived(&request, 0);
    let email = NAMES[me.below(NAMES.len())].parse().expect("an address");
    let roles = BTreeSet::from([if me.chance(200) { Role::Admin } else { Role::Customer }]);
    let password_hash = Secret("hash".into());
    let register = user::Command::Register { id, email, name: None, password_hash, roles };
    let answered = me.keyed::<User>(&id, register, request, Wait::Settled).await?;
    let active = answered.state.is_some_and(|state| state.active().is_some());
    if active {
        me.town.lock().users.push(id);
    }
    Ok(active.then_some(id))
}

async fn account(me: &Handle, user: Option<UserId>) -> Did {
    let Some(user) = user.or_else(|| me.any(|town| &town.users)) else { return Ok(()) };
    match me.below(5) {
        0 => {
            let (id, refresh_hash) = (SessionId::derived(&me.request(), 0), new_token(me));
            let start = session::Command::Start { id, user, refresh_hash, user_agent: "sim".into() };
            me.plain::<Session>(&id, start, None, Wait::Settled).await?;
            me.town.lock().sessions.push((id, refresh_hash));
        }
        1 => {
            // Tokens are found again and again: of several clients, some come too late with theirs. And some guess.
            let Some((id, held)) = me.any(|town| &town.sessions) else { return Ok(()) };
            let genuine = !me.chance(100);
            let presented = if genuine { held } else { new_token(me) };
            let next = successor(presented);
            let refresh = session::Command::Refresh { presented, next, genuine };
            me.plain::<Session>(&id, refresh, None, Wait::Durable).await?;
            if genuine {
                me.town.lock().sessions.push((id, next));
            }
        }
        2 => {
            let Some((id, _)) = me.any(|town| &town.sessions) else { return Ok(()) };
            let request = me.request();
            me.keyed::<Session>(&id, session::Command::Revoke {}, request, Wait::Settled).await?;
        }
        3 => {
            let (version, _) = me.read::<User>(&user, Wait::Durable).await?;
            let rename = user::Command::UpdateProfile { name: Some(Some(format!("name {}", me.below(9)))) };
            me.plain::<User>(&user, rename, Some(version), Wait::Durable).await?;
        }
        _ => {
            let keep = SessionId::default();
            let (_, known) = me.read::<User>(&user, Wait::Durable).await?;
            let proven = known.active().map_or_else(|| Secret("none".into()), |account| account.password_hash.clone());
            let change = user::Command::ChangePassword { password_hash: Secret("other".into()), proven, keep };
            let request = me.request();
            me.keyed::<User>(&user, change, request, Wait::Settled).await?;
        }
    }
    Ok(())
}

/// A refresh token's hash, unlike any other.
fn new_token(me: &Handle) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(&me.request().0);
    hash
}

/// The one token that follows another.
fn successor(token: [u8; 32]) -> [u8; 32] {
    Sha256::digest(token).into()
}

async fn look_around(me: &Handle, user: Option<UserId>) -> Did {
    if let Some(user) = user {
        me.read::<Customer>(&user, Wait::Durable).await?;
    }
    if let Some(order) = me.any(|town| &town.orders) {
        let wait = if me.chance(500) { Wait::Settled } else { Wait::Durable };
        me.read::<Order>(&order, wait).await?;
    }
    if let Some(asked) = me.any(|town| &town.asked).filter(|asked| asked.key.kind == 10)
        && let Ok(id) = asked.key.id.parse::<CartId>()
    {
        me.repeat::<Cart>(&id, asked.request).await?;
    }
    if let Some(cart) = me.any(|town| &town.carts) {
        me.read::<Cart>(&cart, Wait::Durable).await?;
    }
    Ok(())
}

/// From an empty cart to an order, with detours.
async fn shop(me: &Handle, user: Option<UserId>) -> Did {
    let cart = match me.any(|town| &town.carts).filter(|_| me.chance(300)) {
        Some(cart) => cart,
        None => open_cart(me, user).await?,
    };
    for _ in 0..1 + me.below(3) {
        fill(me, &cart).await?;
    }
    if me.chance(150) {
        let other = open_cart(me, user).await?;
        fill(me, &other).await?;
        merge(me, &cart, other).await?;
    }
    if me.chance(900) {
        let contact = cart::Command::SetContact { contact: Box::new(contact()) };
        let request = me.request();
        me.keyed::<Cart>(&cart, contact, request, Wait::Durable).await?;
    }
    if me.chance(850) {
        complete(me, &cart).await?;
    }
    Ok(())
}

async fn open_cart(me: &Handle, user: Option<UserId>) -> Result<CartId, AskError> {
    let request = me.request();
    let id = CartId::derived(&request, 0);
    let create =
        cart::Command::Create { id, user, currency: Currency::GBP, reference: None, metadata: BTreeMap::new() };
    me.keyed::<Cart>(&id, create, request, Wait::Settled).await?;
    me.town.lock().carts.push(id);
    Ok(id)
}

async fn offer(me: &Handle, sku: &Sku) -> Result<Option<Offer>, AskError> {
    Ok(me.read::<StockUnit>(sku, Wait::Durable).await?.1.offer.clone())
}

async fn fill(me: &Handle, cart: &CartId) -> Did {
    let Some(sku) = me.any(|town| &town.skus) else { return pause(me).await };
    if me.chance(150) {
        let (_, state) = me.read::<Cart>(cart, Wait::Durable).await?;
        let Some(line) = state.lines.iter().next().map(|line| line.id) else { return Ok(()) };
        let quantity = Quantity::new(me.below(4) as u64).ok();
        me.plain::<Cart>(cart, cart::Command::SetQuantity { line, quantity }, None, Wait::Durable).await?;
        return Ok(());
    }
    let offer = offer(me, &sku).await?;
    let quantity = Quantity::new(1 + me.below(3) as u64).expect("a few");
    let request = me.request();
    me.keyed::<Cart>(cart, cart::Command::AddLine { sku, quantity, offer }, request, Wait::Durable).await?;
    Ok(())
}

async fn merge(me: &Handle, into: &CartId, from: CartId) -> Did {
    let (into, from) = if me.chance(500) { (*into, from) } else { (from, *into) };
    let strategy = MergeStrategy::ALL[me.below(MergeStrategy::ALL.len())];
    let request = me.request();
    me.keyed::<Cart>(&into, cart::Command::Merge { from, strategy }, request, Wait::Settled).await?;
    Ok(())
}

fn contact() -> Contact {
    Contact {
        email: "ada@example.com".parse().expect("an address"),
        shipping_address: Address { name: "Ada".into(), country: "GB".into(), ..Address::default() },
        billing_address: None,
    }
}

/// Completes a cart, as often as its prices change, sometimes twice at once.
async fn complete(me: &Handle, cart: &CartId) -> Did {
    for _ in 0..3 {
        let (_, state) = me.read::<Cart>(cart, Wait::Durable).await?;
        if state.status != CartStatus::Open {
            return Ok(());
        }
        let mut offers = Vec::new();
        for line in state.lines.iter() {
            offers.push((line.sku.clone(), offer(me, &line.sku).await?));
        }
        let tokens = ["tok_visa", "tok_visa", "tok_visa", TOKEN_DECLINED, TOKEN_FLAKY, TOKEN_LATE, TOKEN_NEVER];
        let token = Secret(tokens[me.below(tokens.len())].to_owned());
        let request = me.request();
        let order = OrderId::derived(&request, 0);
        let payment = PaymentIntent { method: PaymentMethod::Mock, token };
        me.town.lock().orders.push(order); // others may meddle with it before it is decided
        let completing = Completing { order, payment, expected_total: None, offers };
        let command = cart::Command::Complete(Box::new(completing));
        let answered = if me.chance(200) {
            let first = me.keyed::<Cart>(cart, command.clone(), request, Wait::Settled);
            let second = me.keyed::<Cart>(cart, command, request, Wait::Settled);
            futures::join!(first, second).1?
        } else {
            me.keyed::<Cart>(cart, command, request, Wait::Settled).await?
        };
        match answered.outcome {
            Ok(cart::Reply::Repriced { .. }) => {}
            Ok(_) if answered.state.is_some_and(|state| state.status == CartStatus::Completed) => {
                // Several of them at once want something of it.
                let (a, b) = futures::join!(want(me, order), want(me, order));
                return a.and(b);
            }
            Ok(_) => {}
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

/// Somebody, perhaps several at once, wants something of an order.
async fn after_sales(me: &Handle) -> Did {
    let Some(id) = me.any(|town| &town.orders) else { return Ok(()) };
    want(me, id).await
}

async fn want(me: &Handle, id: OrderId) -> Did {
    let request = me.request();
    let command = match me.below(5) {
        0 => order::Command::Cancel { reason: None },
        1 | 2 => {
            let (_, state) = me.read::<Order>(&id, Wait::Durable).await?;
            let lines: Vec<(LineId, Quantity)> = match &state.placement {
                Some(placement) if me.chance(500) => {
                    placement.lines.iter().take(1).map(|line| (line.id, line.quantity)).collect()
                }
                Some(_) | None => Vec::new(),
            };
            let lines = (!lines.is_empty()).then_some(lines);
            order::Command::Fulfil { lines, tracking: None }
        }
        _ => {
            let amount = me.chance(600).then(|| Money::new(1 + me.below(200) as i64, Currency::GBP));
            order::Command::Refund { refund: RefundId::derived(&request, 0), amount, reason: "sorry".into() }
        }
    };
    me.keyed::<Order>(&id, command, request, Wait::Settled).await?;
    Ok(())
}
