//! Two sessions and the wire between them, without network and clock: what is sent when, what is kept back, what an end means.

use std::time::Duration;

use bytes::Bytes;

use super::super::frame::{Header, Writer};
use super::super::limits::Limits;
use super::super::outcome::{AskFailure, EndWhy, NotTaken};

mod schedules;
mod support;

use support::*;

#[test]
fn a_lone_request_leaves_at_once_and_its_reply_comes_back() {
    let mut pair = Pair::new(Limits::DEFAULT);
    pair.a.ask(1, b"question").expect("taken");
    assert_eq!(pair.a.frames.len(), 1);
    pair.run();
    assert_eq!(pair.b.asked.len(), 1);
    pair.b.answer_all();
    pair.run();
    assert_eq!(pair.a.outcomes, [(1, Ok(Bytes::from("question")))]);
}

#[test]
fn two_frames_are_under_way_at_most_and_the_third_gathers_what_comes() {
    let mut pair = Pair::new(Limits::DEFAULT);
    for asker in 0..100 {
        pair.a.ask(asker, b"question").expect("taken");
    }
    assert_eq!(pair.a.frames.len(), 2, "the rest waits");
    assert_eq!(pair.a.session.vitals().credit, 0);
    assert_eq!(pair.a.counters.credit_waits.get(), 1);
    let first = pair.a.frames.pop_front().expect("a frame");
    pair.b.take(first);
    assert_eq!(pair.b.frames.len(), 0, "one of two leaves credit, so nothing has to be said at once");
    let second = pair.a.frames.pop_front().expect("a frame");
    pair.b.take(second);
    assert_eq!(pair.b.frames.len(), 1, "the credit is used up: it is given back at once");
    let credit = pair.b.frames.pop_front().expect("a frame");
    pair.a.take(credit);
    assert_eq!(pair.a.frames.len(), 1, "all 98 leave together");
    pair.run();
    assert_eq!(pair.b.asked.len(), 100);
    let ids: Vec<u64> = pair.b.asked.iter().map(|(id, _)| *id).collect();
    assert!(ids.is_sorted(), "in their order");
}

/// Both ends are full of requests and out of credit, and nobody answers: credit comes back all the same.
#[test]
fn credit_depends_on_no_queue() {
    let mut pair = Pair::new(Limits::DEFAULT);
    for asker in 0..1_000 {
        pair.a.ask(asker, &[1; 1_000]).expect("taken");
        pair.b.ask(asker, &[2; 1_000]).expect("taken");
    }
    pair.run();
    assert_eq!((pair.a.asked.len(), pair.b.asked.len()), (1_000, 1_000));
    pair.a.answer_all();
    pair.b.answer_all();
    pair.run();
    assert_eq!((pair.a.outcomes.len(), pair.b.outcomes.len()), (1_000, 1_000));
}

#[test]
fn credit_that_is_not_urgent_comes_with_the_next_tick() {
    let mut pair = Pair::new(Limits::DEFAULT);
    pair.a.ask(1, b"question").expect("taken");
    pair.run();
    assert_eq!(pair.a.session.vitals().credit, 1);
    pair.b.tick(Duration::from_millis(25), 1);
    pair.run();
    assert_eq!(pair.a.session.vitals().credit, 2);
}

#[test]
fn what_is_answered_at_once_leaves_in_one_frame() {
    let mut pair = Pair::new(Limits::DEFAULT);
    for asker in 0..50 {
        pair.a.ask(asker, b"question").expect("taken");
    }
    pair.b.act(|session, _| session.cork());
    pair.run();
    pair.b.answer_all();
    assert_eq!(numbered(&pair.b.frames), 0);
    pair.b.act(|session, outputs| session.uncork(outputs));
    assert_eq!(numbered(&pair.b.frames), 1);
    pair.run();
    pair.b.act(|session, outputs| session.uncork(outputs));
    pair.run();
    pair.b.answer_all();
    pair.run();
    assert_eq!(pair.a.outcomes.len(), 50);
}

#[test]
fn large_messages_are_paged_and_small_ones_of_other_lanes_pass_them() {
    let mut pair = Pair::new(Limits::DEFAULT);
    let large: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
    pair.a.ask(1, &large).expect("taken");
    pair.a.ask(2, b"behind it").expect("taken");
    pair.a.tell(b"ahead of it");
    let mut frames = 0;
    while pair.b.told.is_empty() {
        let frame = pair.a.frames.pop_front().expect("it is under way");
        frames += 1;
        pair.b.take(frame);
        pair.b.frames.drain(..).collect::<Vec<_>>().into_iter().for_each(|frame| pair.a.take(frame));
    }
    assert!(frames <= 3, "a tell waits for the frames under way only");
    pair.run();
    let requests: Vec<&Bytes> = pair.b.asked.iter().map(|(_, request)| request).collect();
    assert_eq!(requests, [&Bytes::from(large), &Bytes::from("behind it")], "in their order");
    pair.b.answer_all();
    pair.run();
    assert_eq!(pair.a.outcomes.len(), 2);
}

#[test]
fn replies_get_through_while_requests_flood() {
    let limits = Limits { asks_max: 100_000, open_max: 100_000, queue_max_bytes: 1 << 30, ..Limits::DEFAULT };
    let mut pair = Pair::new(limits);
    pair.b.ask(7, b"question").expect("taken");
    pair.run();
    for asker in 0..20_000 {
        pair.a.ask(asker, &[0; 1_000]).expect("taken");
    }
    pair.a.answer_all();
    let mut frames = 0;
    while pair.b.outcomes.is_empty() {
        let frame = pair.a.frames.pop_front().expect("it is under way");
        frames += 1;
        pair.b.take(frame);
        pair.b.frames.drain(..).collect::<Vec<_>>().into_iter().for_each(|frame| pair.a.take(frame));
    }
    assert!(frames <= 3);
}

#[test]
fn too_much_is_refused_at_once() {
    let limits = Limits { asks_max: 10, ..Limits::DEFAULT };
    let mut pair = Pair::new(limits);
    let refused: Vec<_> = (0..12).map(|asker| pair.a.ask(asker, b"question")).collect();
    assert!(refused[..10].iter().all(Result::is_ok));
    assert_eq!(refused[10..], [Err(NotTaken::Busy), Err(NotTaken::Busy)]);
    pair.run();
    pair.b.answer_all();
    pair.run();
    assert_eq!(pair.a.ask(12, b"question"), Ok(()), "answers make room");
    assert_eq!(pair.a.ask(13, &vec![0; limits.message_max_bytes + 1]), Err(NotTaken::TooLarge));
}

#[test]
fn bytes_that_wait_are_bounded() {
    let limits = Limits { queue_max_bytes: 2_000_000, ..Limits::DEFAULT };
    let mut pair = Pair::new(limits);
    let mut taken = 0;
    while pair.a.ask(taken, &[0; 100_000]).is_ok() {
        taken += 1;
    }
    assert!((20..30).contains(&taken), "{taken}");
    assert_eq!(pair.a.counters.asks_busy.get(), 1);
}

#[test]
fn a_receiver_that_is_full_says_so_and_a_reply_is_never_refused() {
    let limits = Limits { open_max: 5, ..Limits::DEFAULT };
    let mut pair = Pair::new(limits);
    for asker in 0..8 {
        pair.a.ask(asker, b"question").expect("taken");
    }
    pair.run();
    let busy: Vec<Outcome> = (5..8).map(|asker| (asker, Err(AskFailure::NotTaken(NotTaken::PeerBusy)))).collect();
    assert_eq!(pair.a.outcomes, busy);
    pair.b.answer_all();
    pair.run();
    assert_eq!(pair.a.outcomes.len(), 8);
    assert_eq!(pair.b.counters.requests_refused.get(), 3);
}

#[test]
fn no_request_is_taken_while_too_many_bytes_of_replies_wait() {
    let limits = Limits { replies_max_bytes: 1_000_000, ..Limits::DEFAULT };
    let mut pair = Pair::new(limits);
    for asker in 0..3 {
        pair.a.ask(asker, b"question").expect("taken");
    }
    pair.run();
    for (id, _) in std::mem::take(&mut pair.b.asked) {
        pair.b.reply(id, &[9; 900_000]); // each is taken, though none can leave whole
    }
    pair.b.frames.clear(); // they are lost on the way, so that the queue stays as it is
    pair.a.ask(3, b"question").expect("taken");
    let frame = pair.a.frames.pop_front().expect("a frame");
    pair.b.take(frame);
    assert_eq!(pair.b.asked, []);
    assert_eq!(pair.b.counters.requests_refused.get(), 1);
}

#[test]
fn a_reply_that_is_too_large_is_told_as_such() {
    let mut pair = Pair::new(Limits::DEFAULT);
    pair.a.ask(1, b"question").expect("taken");
    pair.run();
    pair.b.reply(1, &vec![0; Limits::DEFAULT.message_max_bytes + 1]);
    pair.run();
    assert_eq!(pair.a.outcomes, [(1, Err(AskFailure::ReplyTooLarge))]);
}

#[test]
fn tells_that_do_not_fit_are_dropped_and_counted() {
    let limits = Limits { tells_max: 3, ..Limits::DEFAULT };
    let mut pair = Pair::new(limits);
    for number in 0..10 {
        pair.a.tell(&[number]);
    }
    assert_eq!(pair.a.counters.tells_dropped.get(), 5, "two have left, three wait");
    pair.run();
    assert_eq!(pair.b.told, [[0], [1], [2], [3], [4]].map(|message| Bytes::copy_from_slice(&message)));
}

#[test]
fn an_asker_gives_up_and_a_late_reply_goes_nowhere() {
    let mut pair = Pair::new(Limits { window: 1, ..Limits::DEFAULT });
    pair.a.ask_within(1, b"leaves", Duration::from_millis(100)).expect("taken");
    pair.a.ask_within(2, b"waits for credit", Duration::from_millis(100)).expect("taken");
    pair.a.ask_within(3, b"waits too", WITHIN).expect("taken");
    pair.a.tick(Duration::from_millis(100), 1);
    let given_up = [(1, Err(AskFailure::Lost)), (2, Err(AskFailure::NotTaken(NotTaken::Deadline)))];
    assert_eq!(pair.a.outcomes, given_up);
    pair.run();
    assert_eq!(pair.b.asked.len(), 2, "what nobody waits for does not leave");
    pair.b.answer_all();
    pair.run();
    assert_eq!(pair.a.outcomes.len(), 3);
    assert_eq!(pair.a.counters.replies_late.get(), 1);
}

#[test]
fn nobody_answers() {
    let mut pair = Pair::new(Limits::DEFAULT);
    pair.a.ask(1, b"question").expect("taken");
    pair.run();
    pair.b.act(|session, outputs| {
        session.leave_unanswered(1, false);
        session.leave_unanswered(1, true);
        session.reply(1, Bytes::from("too late"));
        session.send(outputs);
    });
    pair.run();
    assert_eq!(pair.a.outcomes, [(1, Err(AskFailure::Lost))]);
}

#[test]
fn a_request_that_is_given_back_may_go_elsewhere() {
    let mut pair = Pair::new(Limits::DEFAULT);
    pair.a.ask(1, b"question").expect("taken");
    pair.run();
    pair.b.act(|session, outputs| {
        session.leave_unanswered(1, true);
        session.send(outputs);
    });
    pair.run();
    assert_eq!(pair.a.outcomes, [(1, Err(AskFailure::NotTaken(NotTaken::PeerRefused)))]);
    assert_eq!(pair.b.counters.requests_refused.get(), 1);
}

#[test]
fn who_stops_takes_nothing_new_and_answers_what_is_open() {
    let mut pair = Pair::new(Limits::DEFAULT);
    pair.a.ask(1, b"before").expect("taken");
    pair.run();
    pair.b.act(|session, _| session.stop_taking());
    pair.a.ask(2, b"after").expect("taken");
    pair.run();
    assert!(!pair.b.session.is_drained());
    pair.b.answer_all();
    assert!(pair.b.session.is_drained());
    pair.b.act(|session, outputs| session.say_bye(outputs));
    pair.run();
    let stopping = Err(AskFailure::NotTaken(NotTaken::PeerStopping));
    assert_eq!(pair.a.outcomes, [(2, stopping), (1, Ok(Bytes::from("before")))]);
    assert_eq!(pair.a.ended, Some(EndWhy::Bye));
}

#[test]
fn an_end_tells_certain_from_unknown() {
    let mut pair = Pair::new(Limits { window: 1, ..Limits::DEFAULT });
    pair.a.ask(1, b"has left").expect("taken");
    pair.a.ask(2, b"waits").expect("taken");
    pair.a.act(|session, outputs| session.end(outputs));
    let outcomes = [(1, Err(AskFailure::Lost)), (2, Err(AskFailure::NotTaken(NotTaken::Down)))];
    assert_eq!(pair.a.outcomes, outcomes);
    assert_eq!(pair.a.ask(3, b"after"), Err(NotTaken::Down));
    pair.a.reply(1, b"after the end");
    assert_eq!(pair.a.frames.len(), 1, "nothing is sent any more");
}

#[test]
fn a_silent_peer_is_dead_after_a_second_and_a_pause_of_this_process_is_no_silence() {
    let mut pair = Pair::new(Limits::DEFAULT);
    let tick = |number: u64| Duration::from_millis(25 * number);
    for number in 1..40 {
        pair.a.tick(tick(number), 7);
    }
    assert_eq!(pair.a.ended, None);
    // It stood still for an hour: what has come meanwhile is still to be read.
    let later = tick(39) + Duration::from_secs(3_600);
    pair.a.act(|session, _| session.silence = Duration::ZERO);
    pair.a.tick(later, 7);
    assert_eq!(pair.a.ended, None);
    for number in 1..50 {
        pair.a.tick(later + tick(number), 7);
        if pair.a.ended.is_some() {
            break;
        }
    }
    assert_eq!(pair.a.ended, Some(EndWhy::Silent));
    assert_eq!(pair.a.counters.links_silent.get(), 1);
}

#[test]
fn any_byte_is_a_sign_of_life_and_a_beat_is_echoed() {
    let mut pair = Pair::new(Limits::DEFAULT);
    for number in 1..400_u64 {
        pair.a.tick(Duration::from_millis(25 * number), number / 30);
    }
    assert_eq!(pair.a.ended, None, "a byte now and then");
    pair.run();
    assert!(pair.a.session.vitals().rtt.is_some());
    assert_eq!(pair.a.session.vitals().credit, 2, "heartbeats use none");
}

#[test]
fn a_peer_that_breaks_the_rules_is_left() {
    let header = |number, taken| Header { link: 22, number, taken };
    let with = |header: Header, fill: &dyn Fn(&mut Writer)| {
        let mut frame = Writer::new(header, 64);
        fill(&mut frame);
        frame.finish()
    };
    let ask = |id: u64| move |frame: &mut Writer| frame.request(id, 1, b"q");
    let cases: [(&str, Vec<Vec<u8>>, EndWhy); 10] = [
        ("a frame is missing", vec![with(header(2, 0), &ask(1))], EndWhy::Gap),
        ("a frame comes twice", vec![with(header(1, 0), &ask(1)), with(header(1, 0), &ask(2))], EndWhy::Gap),
        ("more credit than was sent", vec![with(header(1, 5), &ask(1))], EndWhy::Malformed),
        ("a request without credit", vec![with(header(0, 0), &ask(1))], EndWhy::Malformed),
        ("an id twice", vec![with(header(1, 0), &ask(1)), with(header(2, 0), &ask(1))], EndWhy::Malformed),
        ("a page of nothing", vec![with(header(1, 0), &|f| f.more(super::Lane::Request, b"x"))], EndWhy::Malformed),
        (
            "a message in a message",
            vec![with(header(1, 0), &|f| {
                f.request(1, 9, b"x");
                f.request(2, 9, b"x");
            })],
            EndWhy::Malformed,
        ),
        ("a message that is too large", vec![with(header(1, 0), &|f| f.request(1, 1 << 40, b"x"))], EndWhy::Flood),
        ("a tell that is too large", vec![with(header(1, 0), &|f| f.tell(1 << 20, b"x"))], EndWhy::Flood),
        ("no frame at all", vec![b"GET / HTTP/1.1\r\n\r\n".to_vec()], EndWhy::Malformed),
    ];
    for (what, frames, why) in cases {
        let mut end = End::new(Limits::DEFAULT, 11);
        frames.into_iter().for_each(|frame| end.take(frame));
        assert_eq!(end.ended, Some(why), "{what}");
    }
}

#[test]
fn who_sends_without_credit_is_left() {
    let mut end = End::new(Limits::DEFAULT, 11);
    end.act(|session, _| session.cork()); // so that it gives no credit back
    for number in 1..=3 {
        let mut frame = Writer::new(Header { link: 22, number, taken: 0 }, 64);
        frame.tell(1, b"x");
        end.act(|session, outputs| session.receive(Bytes::from(frame.finish()), Duration::ZERO, outputs));
    }
    assert_eq!(end.ended, Some(EndWhy::Flood));
}
