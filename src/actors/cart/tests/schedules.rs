//! Carts of two users that merge, complete and grow, under any order, loss and repetition of messages.

use proptest::prelude::*;

use super::*;
use crate::actors::cart::types::Completing;
use crate::actors::order::types::RefusalCode;
use crate::actors::payment::types::PaymentMethod;
use crate::actors::testing::world::{Step, World, steps};
use crate::actors::values::Secret;

const CARTS: u128 = 4;
const SKUS: [&str; 3] = ["A", "B", "C"];

#[derive(Debug, Clone)]
enum Act {
    Add { cart: CartId, sku: usize, quantity: u64 },
    Merge { to: CartId, from: CartId },
    Complete { cart: CartId },
    Decide { cart: CartId, confirmed: bool },
    Messages(Vec<Step>),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let cart = (1..=CARTS).prop_map(CartId);
    let act = prop_oneof![
        4 => (cart.clone(), 0..3_usize, 1..9_u64).prop_map(|(cart, sku, quantity)| Act::Add { cart, sku, quantity }),
        3 => (cart.clone(), cart.clone()).prop_map(|(to, from)| Act::Merge { to, from }),
        1 => cart.clone().prop_map(|cart| Act::Complete { cart }),
        1 => (cart, any::<bool>()).prop_map(|(cart, confirmed)| Act::Decide { cart, confirmed }),
        5 => steps(8).prop_map(Act::Messages),
    ];
    prop::collection::vec(act, 1..40)
}

/// The last cart is in another currency: its lines fit nowhere else, and nobody else's fit there.
fn currency(cart: CartId) -> Currency {
    if cart == CartId(CARTS) { "EUR".parse().expect("a currency") } else { Currency::GBP }
}

fn sold(cart: CartId) -> Offer {
    Offer { price: Money::new(10, currency(cart)), ..offer(10) }
}

fn user(cart: CartId) -> UserId {
    UserId(1 + cart.0 % 2)
}

fn decide(world: &mut World, cart: CartId, refusal: Option<OrderRefusal>) {
    if let Some(order) = world.state::<Cart>(&cart).order() {
        let decided = Command::Decided { order, order_version: 3, refusal };
        world.send::<Cart>(&cart, decided).expect("a decision is never refused");
    }
}

/// The answer is how many pieces of which SKU came in.
fn play(world: &mut World, act: Act) -> Option<(usize, u64)> {
    match act {
        Act::Add { cart, sku, quantity } => {
            let offer = Some(sold(cart));
            let add = Command::AddLine { sku: super::sku(SKUS[sku]), quantity: pieces(quantity), offer };
            return world.send::<Cart>(&cart, add).is_ok().then_some((sku, quantity));
        }
        Act::Merge { to, from } => {
            let strategy = MergeStrategy::Sum;
            // Refusals (closed, in progress) are part of the play.
            let _ = world.send::<Cart>(&to, Command::Merge { from, strategy });
        }
        Act::Complete { cart } => {
            let order = OrderId(cart.0);
            let payment = PaymentIntent { method: PaymentMethod::Mock, token: Secret("tok_ok".into()) };
            let offers = SKUS.map(|name| (sku(name), Some(sold(cart)))).into();
            let completing = Completing { order, payment, expected_total: None, offers };
            let _ = world.send::<Cart>(&cart, Command::Complete(Box::new(completing)));
        }
        Act::Decide { cart, confirmed } => {
            let refusal = (!confirmed).then(|| OrderRefusal::of(RefusalCode::PaymentFailed));
            decide(world, cart, refusal);
        }
        Act::Messages(steps) => steps.into_iter().for_each(|step| world.step(step)),
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// However carts merge: in the end no piece is lost and none is there twice, every cart is settled, and
    /// the customers' lists hold exactly the open carts.
    #[test]
    fn no_piece_is_lost_or_doubled_under_every_schedule(acts in acts()) {
        let mut world = World::new().with::<Cart>().with::<Customer>();
        let carts: Vec<_> = (1..=CARTS).map(CartId).collect();
        for cart in &carts {
            let (id, user, currency) = (*cart, Some(user(*cart)), currency(*cart));
            let create = Command::Create { id, user, currency, reference: None, metadata: BTreeMap::new() };
            world.send::<Cart>(cart, create).expect("nothing is there");
            let contact = Box::new(contact());
            world.send::<Cart>(cart, Command::SetContact { contact }).expect("an open cart");
        }
        let mut added = [0; SKUS.len()];
        for act in acts {
            if let Some((sku, quantity)) = play(&mut world, act) {
                added[sku] += quantity;
            }
        }
        for cart in &carts {
            decide(&mut world, *cart, None);
        }
        world.settle();

        let states: Vec<_> = carts.iter().map(|cart| world.state::<Cart>(cart).clone()).collect();
        let present = states.iter().filter(|cart| cart.status != CartStatus::Merged);
        let lines: Vec<_> = present.flat_map(|cart| cart.lines.iter().cloned()).collect();
        for (name, added) in SKUS.iter().zip(added) {
            let of_sku = lines.iter().filter(|line| line.sku == sku(name));
            prop_assert_eq!(of_sku.map(|line| u64::from(line.quantity.get())).sum::<u64>(), added, "{}", name);
        }
        for cart in states.iter().filter(|cart| cart.status == CartStatus::Merged) {
            let into = cart.merged_into.expect("a merged cart says into which");
            prop_assert_ne!(cart.id, Some(into));
        }
        for owner in [UserId(1), UserId(2)] {
            let mut listed: Vec<_> = world.state::<Customer>(&owner).open_carts.iter().map(|(cart, _)| *cart).collect();
            listed.sort();
            let open = |cart: &&CartId| {
                user(**cart) == owner && states[cart.0 as usize - 1].status == CartStatus::Open
            };
            prop_assert_eq!(listed, carts.iter().filter(open).copied().collect::<Vec<_>>());
        }
    }
}
