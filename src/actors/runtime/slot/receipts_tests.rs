use super::*;
use crate::actors::values::RequestId;
use crate::persistence::Payload;

const LIMITS: ReceiptLimits =
    ReceiptLimits { clients_max: 1_024, owed_max: 200, swept_from: 64, filters_max: 8, lookups_max: 256 };
const FOR_EVER: i64 = i64::MAX;

fn receipt(origin: Origin) -> Receipt {
    let outcome = Payload { type_number: 1, version: 1, bytes: vec![7; 3] };
    Receipt { origin, fingerprint: [0; 16], outcome }
}
fn owed(number: u64) -> Receipt {
    receipt(Origin::Owed { slot: 3, number, watermark: 0 })
}
fn client(expires_ms: i64) -> Receipt {
    receipt(Origin::Client { expires_ms })
}
fn id(n: u64) -> RequestBytes {
    RequestId::of("test", &[&n.to_be_bytes()]).0
}

/// Inserts as the slot does; the answer is how often it swept.
fn insert(receipts: &mut Receipts, numbers: std::ops::Range<u64>, expires_ms: i64, now_ms: i64) -> usize {
    let mut sweeps = 0;
    for n in numbers {
        receipts.insert(id(n), 1, client(expires_ms));
        if receipts.wants_sweep(&LIMITS) {
            receipts.sweep(&LIMITS, now_ms, |_| 0);
            sweeps += 1;
        }
    }
    sweeps
}

/// What the running sum must be.
fn measured(receipts: &Receipts) -> usize {
    let kept = receipts.kept.iter().flat_map(|kept| kept.values());
    kept.map(|numbered| numbered.kept.size_bytes()).sum()
}

#[test]
fn owed_receipts_go_when_the_watermark_passes_them() {
    let mut receipts = Receipts::default();
    for n in 0..100 {
        receipts.insert(id(n), 1, owed(n));
    }
    assert!(receipts.wants_sweep(&LIMITS));
    receipts.sweep(&LIMITS, 0, |_| 90);
    assert_eq!((receipts.len(), receipts.elsewhere_until_ms(0), receipts.dropped_below(3)), (10, None, 90));
    assert!(receipts.get(&id(89), 0).is_none() && receipts.get(&id(90), 0).is_some());
    assert_eq!(receipts.kept_bytes, measured(&receipts));
}

#[test]
fn clients_receipts_go_when_they_expire_and_the_oldest_excess_is_left_to_the_index() {
    let mut receipts = Receipts::default();
    for n in 0..100 {
        receipts.insert(id(n), 1, client(n as i64));
    }
    receipts.sweep(&LIMITS, 50, |_| 0);
    assert_eq!((receipts.len(), receipts.elsewhere_until_ms(0)), (49, None));
    for n in 1_000..3_000 {
        receipts.insert(id(n), 1, client(FOR_EVER));
    }
    receipts.sweep(&LIMITS, 200, |_| 0);
    assert_eq!((receipts.len(), receipts.elsewhere_until_ms(200)), (LIMITS.clients_max, Some(FOR_EVER)));
    let oldest_kept = 3_000 - LIMITS.clients_max as u64;
    assert!((oldest_kept..3_000).all(|n| receipts.get(&id(n), 200).is_some()), "the oldest are pushed out");
    assert!((1_000..oldest_kept).all(|n| receipts.may_be_elsewhere(&id(n), 200)), "and can be looked up");
    assert_eq!(receipts.kept_bytes, measured(&receipts));
}

/// However few there are, and whether or not a sweep has come by.
#[test]
fn a_receipt_that_has_expired_answers_no_repeat() {
    let mut receipts = Receipts::default();
    receipts.insert(id(1), 1, client(1_000));
    assert!(receipts.get(&id(1), 999).is_some());
    assert!(receipts.get(&id(1), 1_000).is_none());
    receipts.insert(id(1), 2, client(2_000));
    assert_eq!(receipts.get(&id(1), 1_000).map(|kept| kept.version), Some(2), "the key is used anew");
    assert_eq!((receipts.len(), receipts.kept_bytes), (1, measured(&receipts)));
}

#[test]
fn the_window_is_complete_again_when_all_that_was_pushed_out_has_expired() {
    for limits in [LIMITS, ReceiptLimits { filters_max: 0, ..LIMITS }] {
        let mut receipts = Receipts::default();
        for n in 0..3_000 {
            receipts.insert(id(n), 1, client(1_000 + n as i64));
        }
        receipts.sweep(&limits, 0, |_| 0);
        let last_pushed_out = 3_000 - limits.clients_max as i64 - 1;
        assert_eq!(receipts.elsewhere_until_ms(0), Some(1_000 + last_pushed_out));
        assert!(receipts.may_be_elsewhere(&id(0), 999));
        assert!(!receipts.may_be_elsewhere(&id(0), 1_000 + last_pushed_out));
        receipts.sweep(&limits, 1_000 + last_pushed_out, |_| 0);
        assert_eq!((receipts.elsewhere_until_ms(0), receipts.pushed_out.size_bytes()), (None, 0));
    }
}

/// Look-ups that overlap without end, as two keyed writes in flight make them, lift no limit.
#[test]
fn overlapping_lookups_bound_nothing_but_what_is_newer_than_the_oldest() {
    let mut receipts = Receipts::default();
    assert!(receipts.begin_lookup(0, &LIMITS));
    let mut most = 0;
    for n in 0..20_000 {
        assert!(receipts.begin_lookup(n + 1, &LIMITS));
        insert(&mut receipts, n..n + 1, FOR_EVER, 0);
        assert!(receipts.end_lookup(n) && receipts.is_looked_up());
        most = receipts.len().max(most);
    }
    assert!(most <= 2 * LIMITS.clients_max, "{most} receipts were kept at once");
}

#[test]
fn what_is_newer_than_a_lookup_in_flight_is_not_pushed_out() {
    let mut receipts = Receipts::default();
    insert(&mut receipts, 0..1_000, FOR_EVER, 0);
    assert!(receipts.begin_lookup(7, &LIMITS));
    insert(&mut receipts, 1_000..4_000, FOR_EVER, 0);
    receipts.sweep(&LIMITS, 0, |_| 0);
    assert!((1_000..4_000).all(|n| receipts.get(&id(n), 0).is_some()));
    assert!((0..1_000).all(|n| receipts.get(&id(n), 0).is_none()));
    assert!(!receipts.is_crowded(&LIMITS));
    insert(&mut receipts, 4_000..1_001 + 4 * 1_024, FOR_EVER, 0);
    assert!(receipts.is_crowded(&LIMITS), "who does not end is not waited for with more and more");
    assert!(receipts.end_lookup(7) && !receipts.end_lookup(7));
    receipts.sweep(&LIMITS, 0, |_| 0);
    assert_eq!((receipts.len(), receipts.is_crowded(&LIMITS)), (LIMITS.clients_max, false));
}

#[test]
fn sweeps_are_spread_over_the_inserts() {
    let mut receipts = Receipts::default();
    let sweeps = insert(&mut receipts, 0..100_000, FOR_EVER, 0);
    assert!(sweeps <= 110, "{sweeps} sweeps, each over some 2,000 receipts");
    assert_eq!(receipts.kept_bytes, measured(&receipts));
}

/// A key that was never used is not looked up, however many others were pushed out.
#[test]
fn a_hot_entity_does_not_ask_the_index_for_new_keys() {
    let mut receipts = Receipts::default();
    insert(&mut receipts, 0..50_000, FOR_EVER, 0);
    let asked = (50_000..60_000).filter(|n| receipts.may_be_elsewhere(&id(*n), 0)).count();
    assert!(asked < 500, "{asked} of 10,000");
    let restored = Receipts::restore(receipts.saved(), receipts.elsewhere_until_ms(0), receipts.dropped());
    assert!(restored.may_be_elsewhere(&id(70_000), 0), "what was pushed out in an earlier life is not known");
}

/// A sender whose watermark stands still must not fill the memory.
#[test]
fn owed_receipts_have_a_bound_and_make_place_when_the_watermark_moves_on() {
    let mut receipts = Receipts::default();
    let mut number = 0;
    while !receipts.is_full_of_owed(&LIMITS, 0, |_| 0) {
        receipts.insert(id(number), 1, owed(number));
        number += 1;
        assert!(number <= 200);
    }
    insert(&mut receipts, 1_000..1_100, FOR_EVER, 0);
    assert!(receipts.is_full_of_owed(&LIMITS, 5_000, |_| 0), "and stays full, whatever clients do");
    assert!(receipts.is_full_of_owed(&LIMITS, 5_999, |_| 150), "it is looked at once a second");
    assert!(!receipts.is_full_of_owed(&LIMITS, 6_000, |_| 150));
    assert!(receipts.get(&id(149), 0).is_none() && receipts.get(&id(150), 0).is_some());
}

/// A million guests' carts have no receipts.
#[test]
fn an_entity_without_receipts_takes_a_word_for_them() {
    assert_eq!(size_of::<Receipts>(), size_of::<usize>());
    let none = Receipts::restore(Vec::new(), None, Vec::new());
    assert_eq!((none.len(), none.size_bytes(), none.get(&id(1), 0)), (0, 0, None));
    assert!(!none.may_be_elsewhere(&id(1), 0) && !none.is_looked_up() && !none.wants_sweep(&LIMITS));
    let mut one = Receipts::restore(Vec::new(), Some(5), vec![(3, 7)]);
    assert!(one.may_be_elsewhere(&id(1), 4) && one.dropped_below(3) == 7 && one.size_bytes() > 0);
    one.insert(id(1), 1, client(FOR_EVER));
    assert_eq!(one.len(), 1);
}
