//! The checker itself: it passes what may be, and refuses what one copy could not have done.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::checker::{Call, Verdict, check};
use super::models::{Cart, CartOp, Order, OrderOp, Paid, Pieces, Stock, StockOp};

/// A call that began and ended at these times; None: it was never answered.
fn call<Op>(began: u64, ended: impl Into<Option<u64>>, op: Op) -> Call<Op> {
    Call { client: 0, began, ended: ended.into(), after: None, op }
}

fn after<Op>(before: usize, call: Call<Op>) -> Call<Op> {
    Call { after: Some(before), ..call }
}

fn carts(history: &[Call<CartOp>]) -> bool {
    let verdict = check::<Cart>(1, history);
    assert_ne!(verdict, Verdict::Undecided);
    verdict == Verdict::Linearizable
}

fn stock(on_hand: i64, history: &[Call<StockOp>]) -> bool {
    check::<Stock>(Pieces::of(on_hand), history) == Verdict::Linearizable
}

#[test]
fn calls_at_the_same_time_may_have_come_in_any_order() {
    let write = call(0, 10, CartOp::Set(5));
    assert!(carts(&[write.clone(), call(1, 9, CartOp::Shows(1)), call(2, 8, CartOp::Shows(5))]));
    assert!(carts(&[write.clone(), call(1, 2, CartOp::Shows(1)), call(3, 4, CartOp::Shows(5))]));
    assert!(!carts(&[write, call(1, 2, CartOp::Shows(5)), call(3, 4, CartOp::Shows(1))]), "it was seen, and then not");
}

#[test]
fn a_stale_read_is_refused() {
    let history = [call(0, 1, CartOp::Set(5)), call(2, 3, CartOp::Shows(1))];
    assert!(!carts(&history));
    let Verdict::Refused { placed, state } = check::<Cart>(1, &history) else { panic!("it is refused") };
    assert_eq!((placed, state.as_str()), (vec![0], "5"), "the order as far as it goes is told");
}

#[test]
fn a_lost_write_is_refused() {
    let adds = [call(0, 1, CartOp::Add(1)), call(2, 3, CartOp::Add(1))];
    assert!(carts(&[&adds[..], &[call(4, 5, CartOp::Shows(3))]].concat()));
    assert!(!carts(&[&adds[..], &[call(4, 5, CartOp::Shows(2))]].concat()));
}

#[test]
fn a_write_that_was_done_twice_is_refused() {
    assert!(!carts(&[call(0, 1, CartOp::Add(1)), call(2, 3, CartOp::Shows(3))]));
    let sold = [call(0, 9, StockOp::Hold { order: 1, pieces: 2 }), after(0, call(0, 9, StockOp::Sell { order: 1 }))];
    let shows = |on_hand| call(10, 11, StockOp::Shows { on_hand, reserved: 0 });
    assert!(stock(5, &[&sold[..], &[shows(3)]].concat()));
    assert!(!stock(5, &[&sold[..], &[shows(1)]].concat()), "a double decrement");
    assert!(!stock(5, &[&sold[..], &[shows(5)]].concat()), "sold, and still there");
}

#[test]
fn what_was_never_answered_may_have_been_done_at_any_time_or_never() {
    let open = call(0, None, CartOp::Set(7));
    for seen in [[1, 1], [1, 7], [7, 7]] {
        let [first, second] = seen.map(CartOp::Shows);
        assert!(carts(&[open.clone(), call(5, 6, first), call(7, 8, second)]), "{seen:?}");
    }
    assert!(!carts(&[open, call(5, 6, CartOp::Shows(7)), call(7, 8, CartOp::Shows(1))]));
    let late = [call(5, 6, CartOp::Shows(7)), call(7, None, CartOp::Set(7))];
    assert!(!carts(&late), "it had not begun");
}

#[test]
fn what_a_change_shows_has_the_change_in_it() {
    let change = [call(0, 5, CartOp::Set(5)), after(0, call(0, 5, CartOp::Shows(1)))];
    assert!(!carts(&change));
    // Another change may be in it as well: both are in one record.
    let two = [
        call(0, 5, CartOp::Add(1)),
        after(0, call(0, 5, CartOp::Shows(3))),
        call(0, 5, CartOp::Add(1)),
        after(2, call(0, 5, CartOp::Shows(3))),
    ];
    assert!(carts(&two));
}

#[test]
fn a_piece_is_sold_once_and_nobody_is_refused_for_nothing() {
    let hold = |order| call(0, 5, StockOp::Hold { order, pieces: 1 });
    assert!(!stock(1, &[hold(1), hold(2)]), "an oversell");
    assert!(stock(1, &[hold(1), call(0, 5, StockOp::Lacks { pieces: 1 })]));
    assert!(!stock(2, &[hold(1), call(6, 7, StockOp::Lacks { pieces: 1 })]), "a false reject");
    assert!(!stock(1, &[hold(1), call(6, 7, StockOp::Adjust { delta: -1 })]), "what is held is taken away");
    let put = |expected| call(6, 7, StockOp::Put { expected, on_hand: 9 });
    assert!(stock(4, &[put(4)]) && !stock(4, &[put(3)]), "a count of what somebody has not seen");
}

#[test]
fn money_goes_back_once() {
    let paid = Paid { captured: 900, refunded: 0, is_cancelled: false };
    let orders = |history: &[Call<OrderOp>]| check::<Order>(paid.clone(), history) == Verdict::Linearizable;
    let shows = |refunded, is_cancelled| call(4, 5, OrderOp::Shows { refunded, is_cancelled });
    assert!(!orders(&[call(0, 1, OrderOp::Refund(600)), call(2, 3, OrderOp::Refund(600))]));
    assert!(!orders(&[call(0, 1, OrderOp::Refund(300)), shows(600, false)]), "refunded twice");
    assert!(!orders(&[call(0, 1, OrderOp::RefundRefused(900))]), "refused for nothing");
    let cancelled = [call(0, 1, OrderOp::PayBack), after(0, call(0, 1, OrderOp::Cancel))];
    assert!(orders(&[&cancelled[..], &[shows(900, true)]].concat()));
    assert!(!orders(&[&cancelled[..], &[shows(900, false)]].concat()), "an order that is cancelled stays so");
}

/// One copy, asked by several clients whose calls overlap: the order in which it did them is one that fits. Once a number in
/// some answer is changed there is none.
#[test]
fn long_histories_of_one_copy_pass_and_spoilt_ones_do_not() {
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut history, mut pieces) = (Vec::new(), 1);
        for step in 0..200_u64 {
            // Each takes effect at its own moment, and is seen to begin and to end some steps around it.
            let (began, ended) = (step.saturating_sub(random.gen_range(0..5)), step + random.gen_range(0..5));
            let (began, ended) = (2 * began, 2 * ended + 1);
            let lost = random.gen_ratio(1, 100);
            let op = match random.gen_range(0..3) {
                0 => CartOp::Add(1),
                1 => CartOp::Set(random.gen_range(1..100)),
                _ => CartOp::Shows(pieces),
            };
            pieces = match op {
                CartOp::Add(more) => pieces + more,
                CartOp::Set(to) => to,
                CartOp::Shows(seen) => seen,
            };
            history.push(call(began, (!lost).then_some(ended), op));
        }
        assert!(carts(&history), "seed {seed}");
        let read = history.iter_mut().filter(|call| call.ended.is_some()).find_map(|call| match &mut call.op {
            CartOp::Shows(seen) if call.began > 200 => Some(seen),
            _ => None,
        });
        *read.expect("a read") += 1_000;
        assert!(!carts(&history), "seed {seed}: nobody ever wrote such a number");
    }
}
