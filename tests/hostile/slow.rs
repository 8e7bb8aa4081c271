//! Heads and bodies byte by byte.

use std::time::{Duration, Instant};

use super::server::{PATIENCE, Server};
use super::wire::Wire;

/// Sends a byte on each connection again and again, until the server has ended all of them.
fn trickle(wires: &mut [Wire]) {
    let started = Instant::now();
    while wires.iter_mut().filter_map(|wire| (!wire.has_ended()).then(|| wire.send("x"))).count() > 0 {
        assert!(started.elapsed() < PATIENCE, "they are still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn heads_that_trickle_in_are_cut_off_however_often_a_byte_comes() {
    let server = Server::start(&[("HTTP__HEADER_TIMEOUT_MS", "1000")]);
    let mut wires: Vec<Wire> = (0..300).map(|_| server.wire()).collect();
    for wire in &mut wires {
        wire.send("GET /livez HTTP/1.1\r\nHost: souk\r\nX-Long: ").expect("it is taken");
    }
    server.serves_others();
    trickle(&mut wires);
    server.serves_others();
}

/// Who has begun a head and waits is told why the connection ends, behind earlier answers too.
#[test]
fn a_head_that_does_not_come_is_answered_408() {
    let server = Server::start(&[("HTTP__HEADER_TIMEOUT_MS", "500")]);
    let (mut fresh, mut asked, mut silent) = (server.wire(), server.wire(), server.wire());
    assert_eq!(asked.ask("GET /livez HTTP/1.1\r\nHost: souk\r\n\r\n").status, 200);
    for wire in [&mut fresh, &mut asked] {
        wire.send("GET /livez HTTP/1.1\r\nHost: so").expect("it is taken");
    }
    for wire in [&mut fresh, &mut asked] {
        let answer = wire.answer().expect("it is told");
        assert_eq!(answer.status, 408);
        assert!(answer.head.contains("content-type: application/problem+json"), "{}", answer.head);
        let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(body["code"], "request_timeout");
        wire.until_ended();
    }
    assert!(silent.answer().is_none(), "who has asked nothing is told nothing");
}

#[test]
fn an_idle_connection_is_ended_in_its_time() {
    let server = Server::start(&[("HTTP__HEADER_TIMEOUT_MS", "500")]);
    let (mut silent, mut asked, mut half) = (server.wire(), server.wire(), server.wire());
    assert_eq!(asked.ask("GET /livez HTTP/1.1\r\nHost: souk\r\n\r\n").status, 200);
    half.half_close();
    silent.until_ended();
    asked.until_ended();
    half.until_ended();
}

const BEGINNING: &str = "POST /v1/carts HTTP/1.1\r\nHost: souk\r\nContent-Type: application/json\r\n\
                         Content-Length: 5000\r\n\r\n{";

#[test]
fn bodies_that_trickle_in_take_nobody_s_place() {
    let server = Server::start(&[("HTTP__BODY_TIMEOUT_MS", "600000"), ("HTTP__QUEUE_MAX", "16")]);
    let mut wires: Vec<Wire> = (0..400).map(|_| server.wire()).collect();
    for wire in &mut wires {
        wire.send(BEGINNING).expect("it is taken");
    }
    server.until("souk_http_running", |running| running > 400);
    server.serves_others();
}

#[test]
fn bodies_that_trickle_in_are_answered_408_and_cut_off() {
    let server = Server::start(&[("HTTP__BODY_TIMEOUT_MS", "1000")]);
    let mut wires: Vec<Wire> = (0..100).map(|_| server.wire()).collect();
    for wire in &mut wires {
        wire.send(BEGINNING).expect("it is taken");
    }
    server.serves_others();
    trickle(&mut wires);
    let told = wires.iter_mut().filter_map(Wire::answer).filter(|answer| answer.status == 408).count();
    // One that was sent a byte after its end may be told by a reset instead.
    assert!(told > 0, "nobody was told");
    server.until("souk_http_running", |running| running == 1);
}
