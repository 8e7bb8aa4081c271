//! Requests and responses of every kind, there and back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::actors::entity::{Caller, Entity, Kind, Outcome};
use crate::actors::kinds::{self, Visitor};
use crate::actors::runtime::envelope::{AskError, Body, Envelope, Keep, Operated, Operation, Reply, ReplyTo, Wait};
use crate::actors::runtime::erased::{Erased, KindSpec, spec};
use crate::actors::runtime::node_load::NodeLoad;
use crate::actors::testing::kit::{START, request};
use crate::actors::testing::source::Source;
use crate::actors::values::{Time, UserId};
use crate::fuzz::{Verdict, decoder};
use crate::persistence::EntityKey;

const ROUTE: Route = Route { epoch: 7, hops: 1 };

/// An id of each kind.
fn id(kind: u8) -> &'static str {
    match kind {
        1 | 6 => "only",
        2 | 5 => "user_00000000000000000000000000",
        3 => "ada@example.com",
        4 => "ses_00000000000000000000000000",
        7 => "blue-tee",
        8 => "prod_00000000000000000000000000",
        9 => "TEE-M",
        10 => "cart_00000000000000000000000000",
        11 => "ord_00000000000000000000000000",
        12 => "ABCD-1234",
        13 => "pay_00000000000000000000000000",
        14 => "2026-11-27",
        other => panic!("kind {other} has an id here"),
    }
}

fn envelope(kind: u8, body: Body, now: Instant) -> Envelope {
    Envelope {
        key: EntityKey { kind, id: id(kind).into() },
        slot: 3,
        request: request(1),
        caller: Caller::User(UserId(5)),
        deadline: now + Duration::from_millis(1_500),
        want_state: true,
        body,
        reply: ReplyTo::nobody(),
    }
}

fn of_command(command: Erased) -> Body {
    let keep = Some(Keep::Client { fingerprint: [9; 16], keep_ms: 86_400_000 });
    Body::Command { command, keep, if_version: Some(4), wait: Wait::Settled }
}

fn answer(outcome: Option<Erased>, state: Option<Erased>) -> Result<Reply, AskError> {
    Ok(Reply { outcome, version: 12, seq: 40, epoch: 0, at: START, state, replayed: true, residence: None })
}

fn sent(envelope: &Envelope, now: Instant) -> Vec<u8> {
    encode_request(envelope, ROUTE, kinds::all(), now, WireVersion::OURS).expect("it may cross")
}

fn answered(answer: &Result<Reply, AskError>, spec: &dyn KindSpec) -> Vec<u8> {
    encode_response(answer, spec, WireVersion::OURS).expect("it may cross")
}

struct EveryKind<F>(F);

impl<F: FnMut(&dyn KindSpec, Samples)> Visitor for EveryKind<F> {
    fn visit<K: Kind>(&mut self) {
        (self.0)(&*spec::<K>(), Samples::of::<K>());
    }
}

/// One value of everything that a kind has.
struct Samples {
    commands: Vec<Erased>,
    outcomes: Vec<Erased>,
    state: Erased,
}

impl Samples {
    fn of<K: Kind>() -> Samples {
        let mut source = Source::new(u64::from(K::NUMBER));
        fn codes<T: Stored>() -> Vec<u8> {
            T::NUMBERS.iter().filter(|number| number.variant.is_some()).map(|number| number.code).collect()
        }
        let commands =
            codes::<K::Command>().into_iter().map(|code| Arc::new(source.variant::<K::Command>(code)) as Erased);
        let commands = commands.collect();
        let mut outcomes: Vec<Outcome<K>> = Vec::new();
        outcomes.extend(codes::<K::Reply>().into_iter().map(|code| Ok(source.variant(code))));
        outcomes.extend(codes::<K::Rejection>().into_iter().map(|code| Err(source.variant(code))));
        let outcomes = outcomes.into_iter().map(|outcome| Arc::new(outcome) as Erased).collect();
        Samples { commands, outcomes, state: Arc::new(source.value::<K::State>()) }
    }
}

#[test]
fn a_request_of_every_kind_arrives_as_it_was_sent() {
    let now = Instant::now();
    kinds::visit(&mut EveryKind(|spec: &dyn KindSpec, samples: Samples| {
        assert!(!samples.commands.is_empty());
        for command in samples.commands {
            let payload = spec.command_payload(&command, WireVersion::OURS);
            let sent = sent(&envelope(spec.number(), of_command(command), now), now);
            let arrived = decode_request(&sent, kinds::all()).expect("it arrives");
            assert_eq!((arrived.route, arrived.remaining), (ROUTE, Duration::from_millis(1_500)));
            let there = arrived.into_envelope(3, now, ReplyTo::nobody());
            let asked = envelope(spec.number(), Body::Wake, now);
            assert_eq!((&there.key, there.request, there.caller), (&asked.key, asked.request, asked.caller));
            assert_eq!((there.deadline, there.want_state), (asked.deadline, true));
            let Body::Command { command, keep, if_version, wait } = there.body else { panic!("a command") };
            assert_eq!(spec.command_payload(&command, WireVersion::OURS), payload);
            assert_eq!(keep, Some(Keep::Client { fingerprint: [9; 16], keep_ms: 86_400_000 }));
            assert_eq!((if_version, wait), (Some(4), Wait::Settled));
        }
    }));
}

#[test]
fn an_answer_of_every_kind_arrives_as_it_was_given() {
    kinds::visit(&mut EveryKind(|spec: &dyn KindSpec, samples: Samples| {
        let states = [None, Some(samples.state)];
        for (outcome, state) in samples.outcomes.iter().flat_map(|outcome| states.iter().map(move |s| (outcome, s))) {
            let sent = answered(&answer(Some(outcome.clone()), state.clone()), spec);
            let there = decode_response(&sent, spec).expect("it arrives").expect("an answer");
            let payload = |outcome: &Erased| spec.outcome_payload(outcome, WireVersion::OURS);
            assert_eq!(there.outcome.as_ref().map(payload), Some(payload(outcome)));
            let payload = |state: &Erased| spec.state_payload(state).expect("of its kind");
            assert_eq!(there.state.as_ref().map(payload), state.as_ref().map(payload));
            assert_eq!((there.version, there.at, there.replayed), (12, START, true));
        }
    }));
}

#[test]
fn a_read_a_repeat_and_an_inspection_cross_and_messages_of_the_runtime_to_itself_do_not() {
    let now = Instant::now();
    let bytes = |body| encode_request(&envelope(10, body, now), ROUTE, kinds::all(), now, WireVersion::OURS);
    let there = |body| decode_request(&bytes(body).expect("it may cross"), kinds::all()).expect("it arrives").body;
    assert!(matches!(there(Body::Read { wait: Wait::Settled }), Body::Read { wait: Wait::Settled }));
    let repeat = Body::Repeat { fingerprint: [3; 16], wait: Wait::Durable };
    assert!(matches!(there(repeat), Body::Repeat { fingerprint: [3, ..], wait: Wait::Durable }));
    assert!(matches!(there(Body::Inspect), Body::Inspect));
    let operate = Body::Operate(Operation::Quarantine);
    assert!(matches!(there(operate), Body::Operate(Operation::Quarantine)));
    let spec = spec::<crate::actors::cart::types::Cart>();
    let came = answered(&Ok(Reply::operated(Operated::Already, START)), &*spec);
    let came = decode_response(&came, &*spec).expect("it arrives").expect("an answer").outcome;
    assert_eq!(came.and_then(|came| came.downcast_ref().copied()), Some(Operated::Already));
    for internal in [Body::Wake, Body::Resume] {
        assert_eq!(bytes(internal), Err(WireError::Internal));
    }
    let order: Erased = Arc::new(crate::actors::order::types::Command::Wake);
    assert_eq!(bytes(of_command(order)), Err(WireError::OtherKind), "an order's command to a cart");
    let late = encode_request(
        &envelope(10, Body::Inspect, now),
        ROUTE,
        kinds::all(),
        now + Duration::from_secs(9),
        WireVersion::OURS,
    );
    let arrived = decode_request(&late.expect("it may cross"), kinds::all()).expect("it arrives");
    assert_eq!(arrived.remaining, Duration::ZERO, "a deadline that has passed");
}

#[test]
fn what_is_newer_than_this_program_is_told_apart() {
    let now = Instant::now();
    let asked = sent(&envelope(9, Body::Inspect, now), now);
    let newer = [&[1, 2, 0][..], &asked[3..]].concat();
    let unknown = |bytes: &[u8]| decode_request(bytes, kinds::all()).map(drop);
    assert_eq!(unknown(&newer), Err(WireError::Unknown { code: 1, version: 2 }));
    assert!(matches!(unknown(&asked[..2]), Err(WireError::Malformed(_))));
    assert!(matches!(unknown(&[&asked[..], &[0]].concat()), Err(WireError::Malformed(_))), "a byte too many");
    let spec = spec::<crate::actors::sku::types::StockUnit>();
    let unsupported = encode_unsupported(WireVersion::OURS).expect("it may cross");
    let read = decode_response(&unsupported, &*spec).expect("it is read");
    assert_eq!(read.err(), Some(AskError::Unsupported));
    assert_eq!(encode_unsupported(WireVersion(0)), Err(WireError::NeverWritten(0)));
}

/// What lies in a request or an answer is looked at, too.
#[test]
fn what_a_reader_of_the_first_version_does_not_know_is_not_sent_to_it() {
    let first = WireVersion::FIRST;
    let too_new = Some(WireError::TooNew { code: 3, wire: 1 });
    assert_eq!(encode_node_question(NodeQuestion::Load, first).err(), too_new);
    assert_eq!(encode_node_answer(NodeAnswer::Load(NodeLoad::default()), first).err(), too_new);
    let question = NodeQuestion::Overdue { before: Time(3), after: None, limit: 7 };
    let sent = encode_node_question(question.clone(), first).expect("it is known");
    assert_eq!(decode_node_question(&sent), Some(question.clone()));
    assert_eq!(encode_node_question(question, WireVersion::OURS), Ok(sent), "the same bytes");
}

/// Nothing of it is newer, so a cluster that is upgraded serves as before.
#[test]
fn every_request_and_answer_of_a_kind_crosses_to_a_reader_of_the_first_version() {
    let now = Instant::now();
    kinds::visit(&mut EveryKind(|spec: &dyn KindSpec, samples: Samples| {
        for command in samples.commands {
            let envelope = envelope(spec.number(), of_command(command), now);
            let older = encode_request(&envelope, ROUTE, kinds::all(), now, WireVersion::FIRST);
            assert_eq!(older, Ok(sent(&envelope, now)));
        }
        for outcome in samples.outcomes {
            let answer = answer(Some(outcome), Some(samples.state.clone()));
            let older = encode_response(&answer, spec, WireVersion::FIRST);
            assert_eq!(older, Ok(answered(&answer, spec)));
        }
    }));
    let spec = spec::<crate::actors::cart::types::Cart>();
    for number in AskError::NUMBERS {
        let why: AskError = Source::new(1).variant(number.code);
        assert!(encode_response(&Err(why), &*spec, WireVersion::FIRST).is_ok());
    }
}

#[test]
fn a_state_of_another_version_is_left_to_the_journal_and_a_damaged_one_is_refused() {
    type State = crate::actors::sku::types::State;
    let spec = spec::<crate::actors::sku::types::StockUnit>();
    let state = spec.fresh().snapshot();
    let with = |version: u16, bytes: Vec<u8>| {
        let state = Some(Carried { type_number: state.type_number, version, bytes: Bytes(bytes.into()) });
        let answered = Response::Answered {
            outcome: None,
            version: 3,
            seq: 4,
            at: Time(9),
            state,
            replayed: false,
            residence: None,
        };
        decode_response(&put(&answered, WireVersion::OURS).expect("it may cross"), &*spec)
    };
    let read = |answer: Result<Result<Reply, AskError>, WireError>| answer.map(|reply| reply.expect("a reply").state);
    let version = State::STATE_VERSION;
    assert!(read(with(version, state.bytes.clone())).expect("readable").is_some());
    assert!(read(with(version + 1, state.bytes.clone())).expect("readable").is_none());
    assert!(matches!(read(with(version, state.bytes[1..].to_vec())), Err(WireError::Malformed(_))));
}

#[test]
fn a_state_that_is_too_large_for_a_message_is_left_to_the_journal_and_a_command_is_refused() {
    type Cart = crate::actors::cart::types::State;
    let spec = spec::<crate::actors::cart::types::Cart>();
    let text = "x".repeat(MESSAGE_BYTES_MAX);
    let state = Cart { reference: Some(text.as_str().into()), ..Cart::default() };
    let there = decode_response(&answered(&answer(None, Some(Arc::new(state))), &*spec), &*spec);
    let there = there.expect("it arrives").expect("a reply");
    assert!(there.state.is_none() && there.version == 12);
    let now = Instant::now();
    let cancel: Erased = Arc::new(crate::actors::order::types::Command::Cancel { reason: Some(text) });
    let refused = encode_request(&envelope(11, of_command(cancel), now), ROUTE, kinds::all(), now, WireVersion::OURS);
    assert!(matches!(refused, Err(WireError::TooLarge { bytes }) if bytes > MESSAGE_BYTES_MAX));
}

#[test]
fn every_refusal_crosses() {
    let spec = spec::<crate::actors::cart::types::Cart>();
    for number in AskError::NUMBERS {
        let why: AskError = Source::new(1).variant(number.code);
        let there = decode_response(&answered(&Err(why.clone()), &*spec), &*spec).expect("it arrives");
        assert_eq!(there.err(), Some(why));
    }
}

#[test]
fn fuzz_requests() {
    let now = Instant::now();
    let mut seeds = vec![sent(&envelope(9, Body::Read { wait: Wait::Durable }, now), now)];
    kinds::visit(&mut EveryKind(|spec: &dyn KindSpec, samples: Samples| {
        let envelopes = samples.commands.into_iter().map(|command| envelope(spec.number(), of_command(command), now));
        seeds.extend(envelopes.map(|envelope| sent(&envelope, now)));
    }));
    decoder("wire-request", seeds, |bytes| {
        let Ok(arrived) = decode_request(bytes, kinds::all()) else { return Verdict::Refused };
        let route = arrived.route;
        let again = |envelope: &Envelope| {
            encode_request(envelope, route, kinds::all(), now, WireVersion::OURS).expect("what came may go on")
        };
        let first = again(&arrived.into_envelope(0, now, ReplyTo::nobody()));
        let arrived = decode_request(&first, kinds::all()).expect("what was sent on arrives");
        let second = again(&arrived.into_envelope(0, now, ReplyTo::nobody()));
        Verdict::accepted(first == second, "a request stays as it is")
    });
}

#[test]
fn fuzz_responses() {
    // The first byte says whose answer it is.
    let with_kind = |kind: u8, bytes: Vec<u8>| [&[kind][..], &bytes].concat();
    let mut seeds = Vec::new();
    kinds::visit(&mut EveryKind(|spec: &dyn KindSpec, samples: Samples| {
        let outcomes = samples.outcomes.into_iter().map(|outcome| answer(Some(outcome), None));
        let answers = outcomes.chain([answer(None, Some(samples.state)), Err(AskError::StaleVersion { current: 3 })]);
        seeds.extend(answers.map(|answer| with_kind(spec.number(), answered(&answer, spec))));
    }));
    decoder("wire-response", seeds, |bytes| {
        let Some((kind, bytes)) = bytes.split_first() else { return Verdict::Refused };
        let Some(spec) = kinds::all().by_number(*kind) else { return Verdict::Refused };
        let Ok(answer) = decode_response(bytes, spec) else { return Verdict::Refused };
        let first = answered(&answer, spec);
        let second = answered(&decode_response(&first, spec).expect("what was sent on arrives"), spec);
        Verdict::accepted(first == second, "an answer stays as it is")
    });
}
