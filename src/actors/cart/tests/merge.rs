use super::*;
use crate::actors::cart::types::MergeOut;
use crate::actors::testing::kit::request;

fn merge(strategy: MergeStrategy) -> Command {
    Command::Merge { from: OTHER, strategy }
}

pub(super) fn take(merge: RequestId, lines: Vec<Line>) -> Command {
    Command::TakeLines { merge, currency: Currency::GBP, lines }
}

fn key(step: &str, merge: RequestId) -> String {
    format!("{step}:{merge}")
}

/// A target with 2 A at 100 and 5 B at 50 that was asked to merge (request 2) and awaits the lines.
pub(super) fn target(strategy: MergeStrategy) -> Given<State> {
    with(&[("A", 2, 100), ("B", 5, 50)])
        .when(merge(strategy))
        .then(Reply::Merging)
        .again()
        .unchanged()
        .when_answered::<Cart>(&key("surrender", request(2)), Ok(Reply::Surrendering))
        .events([Event::SurrenderAccepted])
        .owes([])
        .settled(false)
}

#[test]
fn the_strategy_decides_on_what_both_have() {
    let theirs = || vec![line(11, "B", 3, 40), line(12, "C", 1, 10)];
    for (strategy, b) in [
        (MergeStrategy::Sum, line(2, "B", 8, 50)),
        (MergeStrategy::Max, line(2, "B", 5, 50)),
        (MergeStrategy::Replace, line(2, "B", 3, 40)),
        (MergeStrategy::Keep, line(2, "B", 5, 50)),
    ] {
        target(strategy).when(take(request(2), theirs())).then(Reply::Taken).state(|cart| {
            assert_eq!(cart.lines.as_slice(), [line(1, "A", 2, 100), b, line(12, "C", 1, 10)], "{strategy}");
        });
    }
}

#[test]
fn the_target_is_settled_when_the_source_knows() {
    target(MergeStrategy::Sum)
        .when(take(request(2), vec![line(11, "C", 1, 10)]))
        .again()
        .then(Reply::Taken)
        .unchanged()
        .settled(false)
        .when_answered::<Cart>(&key("conclude", request(2)), Ok(Reply::Noted))
        .events([Event::MergeEnded])
        .settled(true)
        .state(|cart| {
            assert_eq!(cart.merge_refused(&request(2)), None);
            assert_eq!(cart.last_merge.as_ref().map(|last| last.from), Some(OTHER));
        })
        .when(take(request(2), vec![line(11, "C", 1, 10)]))
        .then(Reply::Taken)
        .unchanged()
        .when(take(request(77), vec![]))
        .refused(Rejection::NotMerging);
}

#[test]
fn lines_that_do_not_fit_stay_where_they_are() {
    let too_many = (0..LINES_MAX as u128).map(|n| line(100 + n, &format!("S-{n}"), 1, 1)).collect();
    let too_large = vec![line(11, "A", 999_999, 100)];
    for (lines, refusal) in [(too_many, MergeRefusal::TooManyLines), (too_large, MergeRefusal::QuantityTooLarge)] {
        let given = target(MergeStrategy::Sum)
            .when(take(request(2), lines))
            .then(Reply::NotTaken { refusal })
            .events([Event::LinesRefused { refusal }])
            .again()
            .then(Reply::NotTaken { refusal })
            .unchanged();
        let (to, told) = given.owed::<Cart>(&key("conclude", request(2)));
        assert_eq!(to, OTHER.to_string());
        assert!(matches!(told, Command::Conclude { taken: false, .. }));
        given
            .when_answered::<Cart>(&key("conclude", request(2)), Ok(Reply::Noted))
            .settled(true)
            .state(|cart| assert_eq!((cart.lines.len(), cart.merge_refused(&request(2))), (2, Some(refusal))));
    }
    let euros = Command::TakeLines { merge: request(2), currency: "EUR".parse().expect("a currency"), lines: vec![] };
    target(MergeStrategy::Sum).when(euros).then(Reply::NotTaken { refusal: MergeRefusal::OtherCurrency });
}

#[test]
fn a_source_that_cannot_surrender_ends_the_merge() {
    for (rejection, refusal) in [
        (Rejection::NotFound, MergeRefusal::SourceNotFound),
        (Rejection::Closed { status: CartStatus::Expired }, MergeRefusal::SourceClosed),
        (Rejection::CompletionInProgress { order: OrderId(1) }, MergeRefusal::SourceCompleting),
        (Rejection::MergeInProgress, MergeRefusal::SourceMerging),
    ] {
        with(&[("A", 1, 1)])
            .when(merge(MergeStrategy::Sum))
            .when_answered::<Cart>(&key("surrender", request(2)), Err(rejection))
            .events([Event::MergeRefused { refusal }])
            .settled(true)
            .owes([])
            .state(|cart| assert_eq!(cart.merge_refused(&request(2)), Some(refusal)));
    }
}

#[test]
fn a_target_takes_one_source_at_a_time_and_not_itself_and_does_not_complete_meanwhile() {
    let contact = Box::new(contact());
    target(MergeStrategy::Sum)
        .when(merge(MergeStrategy::Sum))
        .refused(Rejection::MergeInProgress)
        .when(Command::Merge { from: CART, strategy: MergeStrategy::Sum })
        .refused(Rejection::SelfMerge)
        .when(Command::Surrender { merge: request(9), to: OTHER })
        .refused(Rejection::MergeInProgress)
        .when(add("D", 1, 1))
        .then(Reply::Changed)
        .when(Command::SetContact { contact })
        .then(Reply::Changed)
        .after_ms(2 * TTL_MS)
        .when(Command::Expire)
        .unchanged();
}

#[test]
fn a_source_is_frozen_until_it_knows() {
    let surrender = Command::Surrender { merge: request(50), to: OTHER };
    let given = with(&[("A", 2, 100)])
        .when(surrender)
        .then(Reply::Surrendering)
        .again()
        .unchanged()
        .settled(false)
        .wakes_at(None)
        .when(add("A", 1, 1))
        .refused(Rejection::MergeInProgress)
        .when(merge(MergeStrategy::Sum))
        .refused(Rejection::MergeInProgress)
        .when(Command::Surrender { merge: request(51), to: CartId(9) })
        .refused(Rejection::MergeInProgress)
        .state(|cart| assert_eq!(cart.merge_out.as_deref(), Some(&MergeOut { request: request(50), to: OTHER })));
    let (to, taking) = given.owed::<Cart>(&key("take_lines", request(50)));
    assert_eq!(to, OTHER.to_string());
    assert!(matches!(taking, Command::TakeLines { lines, .. } if lines == [line(1, "A", 2, 100)]));
    given
        .when(Command::Conclude { merge: request(51), taken: true })
        .unchanged()
        .when_answered::<Cart>(&key("take_lines", request(50)), Ok(Reply::Taken))
        .events([Event::Surrendered])
        .settled(true)
        .when(Command::Conclude { merge: request(50), taken: true })
        .unchanged()
        .state(|cart| assert_eq!((cart.status, cart.merged_into), (CartStatus::Merged, Some(OTHER))))
        .when(Command::Surrender { merge: request(60), to: OTHER })
        .refused(Rejection::Closed { status: CartStatus::Merged });
}

#[test]
fn a_source_whose_lines_are_not_taken_is_open_again() {
    let refusal = MergeRefusal::TooManyLines;
    with(&[("A", 2, 100)])
        .when(Command::Surrender { merge: request(50), to: OTHER })
        .after_ms(5)
        .when_answered::<Cart>(&key("take_lines", request(50)), Ok(Reply::NotTaken { refusal }))
        .events([Event::Reopened { expires_at: START.plus_ms(TTL_MS + 5) }])
        .settled(true)
        .when(add("A", 1, 100))
        .then(Reply::Changed);
}
