use super::types::{Act, Day};
use super::*;
use crate::actors::testing::kit::{Given, START, assert_golden};
use crate::actors::values::{RequestId, UserId};

const WITHIN_MS: u64 = 40_000;

fn act(action: &str) -> Act {
    Act {
        actor: Some(UserId(1)),
        action: action.into(),
        subject: "node-1".into(),
        said: None,
        address: Some("192.0.2.1".into()),
        node: "node-2#0a1b2c3d".into(),
        request: "req_1".into(),
    }
}

fn token(n: u8) -> RequestId {
    RequestId([n; 16])
}

fn begin(n: u8) -> Command {
    Command::Begin { token: token(n), act: act("cluster.node.drain"), within_ms: WITHIN_MS }
}

fn done() -> Ending {
    Ending { outcome: AuditOutcome::Done, status: Some(200), code: None, request: None }
}

fn begun(number: u64, n: u8, at: Time) -> Event {
    let lapses_at = at.plus_ms(WITHIN_MS);
    Event::Begun { number, token: token(n), act: act("cluster.node.drain"), lapses_at }
}

fn ended(number: u64, ending: Ending) -> Event {
    Event::Ended { number, act: act("cluster.node.drain"), asked_at: START, ending }
}

#[test]
fn an_action_is_in_the_log_before_it_is_done_and_its_end_has_everything() {
    Given::<State>::new()
        .when(begin(1))
        .then(Reply::Begun { number: 1 })
        .events([begun(1, 1, START)])
        .again()
        .then(Reply::Begun { number: 1 })
        .unchanged()
        .after_ms(50)
        .when(Command::End { number: 1, ending: done() })
        .then(Reply::Noted)
        .events([ended(1, done())])
        .again()
        .refused(Rejection::NotOpen)
        .state(|day| assert!(day.open.is_empty() && day.last == 1));
}

#[test]
fn what_nobody_ends_is_ended_by_the_log_when_its_time_is_over() {
    Given::<State>::new()
        .when(begin(1))
        .when(begin(2))
        .after_ms(1)
        .when(begin(3))
        .when(Command::Lapse)
        .unchanged()
        .when_woken()
        .events([ended(1, NOBODY_KNOWS), ended(2, NOBODY_KNOWS)])
        .state(|day| assert_eq!(day.wake_at(), Some(START.plus_ms(1 + WITHIN_MS))))
        .when(Command::End { number: 1, ending: done() })
        .refused(Rejection::NotOpen);
}

#[test]
fn what_is_open_is_bounded() {
    let full = (1..=OPEN_MAX as u64).map(|number| {
        let token = RequestId::of("test", &[&number.to_be_bytes()]);
        Event::Begun { number, token, act: act("a"), lapses_at: START.plus_ms(WITHIN_MS) }
    });
    Given::<State>::new()
        .history(full)
        .when(begin(1))
        .refused(Rejection::TooManyOpen { limit: OPEN_MAX as u32 })
        .when(Command::End { number: 7, ending: done() })
        .when(begin(1))
        .then(Reply::Begun { number: OPEN_MAX as u64 + 1 });
}

#[test]
fn a_day_is_written_as_one() {
    let day = Day::of(START);
    assert_eq!((day.to_string().as_str(), "2026-11-22".parse()), ("2026-11-22", Ok(day)));
    assert_eq!(Day::of(Time(i64::MAX)).to_string(), "9999-12-31");
    assert_eq!(Day::of(Time(-1)).to_string(), "1970-01-01");
    for wrong in ["", "2026-11", "2026-11-22T00:00:00Z", "1969-12-31", "2026-02-30", "2026-1-01"] {
        assert!(wrong.parse::<Day>().is_err(), "{wrong}");
    }
}

#[test]
fn stored_bytes_stay_what_they_are() {
    assert_golden(&[
        (
            begun(258, 1, START),
            "1.1 fb020101010101010101010101010101010101010000000000000000000000000000000112636c75737465722e6e6f64652e647261696e066e6f64652d310001093139322e302e322e310f6e6f64652d32233061316232633364057265715f31fd807c420644030000",
        ),
        (
            ended(258, done()),
            "2.1 fb0201010000000000000000000000000000000112636c75737465722e6e6f64652e647261696e066e6f64652d310001093139322e302e322e310f6e6f64652d32233061316232633364057265715f31fd00444106440300000101c80000",
        ),
    ]);
    assert_golden(&[(Reply::Begun { number: 258 }, "1.1 fb0201"), (Reply::Noted, "2.1")]);
    assert_golden(&[(Rejection::TooManyOpen { limit: 258 }, "1.1 fb0201"), (Rejection::NotOpen, "2.1")]);
}
