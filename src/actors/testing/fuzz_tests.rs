//! Stored payloads of every kind, almost right: events, outcomes and states.

use crate::actors::entity::Payload;
use crate::actors::kinds;
use crate::actors::values::{CartId, Currency, Email, LoginName, OrderId, ProductId, Sku, Slug, Time, UserId};
use crate::fuzz::{Verdict, decoder};

/// Kind, what it is (reply, rejection, state or the code of an event), version, and the bytes.
#[test]
fn fuzz_stored_payloads() {
    let states = (1..=13).filter_map(|kind| {
        let state = kinds::all().by_number(kind)?.fresh().snapshot();
        Some([&[kind, 255, state.version as u8], &state.bytes[..]].concat())
    });
    let events = (1..=13).flat_map(|kind| (1..=40).map(move |code| [&[kind, code, 1][..], &[0; 40]].concat()));
    let outcomes = (1..=13).flat_map(|kind| [250, 251].map(|end| [&[kind, end, 1][..], &[1; 40]].concat()));
    decoder("payload", states.chain(events).chain(outcomes), |bytes| {
        let Some(([kind, code, version], bytes)) = bytes.split_first_chunk() else { return Verdict::Refused };
        let Some(spec) = kinds::all().by_number(*kind) else { return Verdict::Refused };
        let payload = Payload {
            type_number: u16::from_be_bytes([*kind, *code]),
            version: u16::from(*version),
            bytes: bytes.to_vec(),
        };
        match code {
            250 | 251 => spec.outcome(&payload).map_or(Verdict::Refused, |_| Verdict::Accepted),
            255 => match spec.restore(&payload) {
                Some(state) => {
                    let again = spec.restore(&state.snapshot());
                    let same = again.is_some_and(|again| again.snapshot() == state.snapshot());
                    Verdict::accepted(same, "a state reads back")
                }
                None => Verdict::Refused,
            },
            _ => spec.event_json(&payload).map_or(Verdict::Refused, |_| Verdict::Accepted),
        }
    });
}

/// Whether a text is a `T`, and then the same one when it is shown.
fn shows_itself<T: std::str::FromStr + std::fmt::Display + PartialEq>(text: &str) -> Option<bool> {
    let value: T = text.parse().ok()?;
    Some(value.to_string().parse().is_ok_and(|again: T| again == value))
}

#[test]
fn fuzz_values() {
    let ids = [CartId(u128::MAX).to_string(), OrderId(1).to_string(), ProductId(1 << 64).to_string()];
    let texts = ["TEE-M", "blue-tee", "ada@example.com", "GBP", "JPY", "2026-11-22T12:00:00.123Z"].map(str::to_owned);
    let seeds = ids.into_iter().chain(texts).chain([UserId(7).to_string()]);
    decoder("value", seeds.map(String::into_bytes), |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Verdict::Refused };
        let read = [
            shows_itself::<CartId>(text),
            shows_itself::<OrderId>(text),
            shows_itself::<ProductId>(text),
            shows_itself::<UserId>(text),
            shows_itself::<Sku>(text),
            shows_itself::<Slug>(text),
            shows_itself::<Email>(text),
            text.parse::<Email>().ok().and_then(|email| shows_itself::<LoginName>(email.as_str())),
            shows_itself::<Currency>(text),
            shows_itself::<Time>(text),
        ];
        match read.iter().flatten().count() {
            0 => Verdict::Refused,
            _ => Verdict::accepted(!read.contains(&Some(false)), "it shows itself"),
        }
    });
}
