//! What is too large, announced or not, and too deep.

use super::server::Server;
use super::wire::{Answer, Wire};

const MIB: usize = 1024 * 1024;

fn json(body: &str) -> String {
    format!(
        "POST /v1/carts HTTP/1.1\r\nHost: souk\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends `piece` until the server has had enough; 200 MiB are more than it may take.
fn pour(wire: &mut Wire, piece: &[u8]) -> Option<Answer> {
    for _ in 0..200 * MIB / piece.len() {
        if wire.send(piece).is_err() || wire.has_ended() {
            return wire.answer();
        }
    }
    panic!("it takes everything")
}

#[test]
fn bodies_without_measure_are_refused_and_take_no_memory() {
    let server = Server::start(&[]);
    server.serves_others();
    let before = server.resident_kib();
    for length in ["1048577", "10737418240", "9223372036854775807"] {
        let head = format!("POST /v1/carts HTTP/1.1\r\nHost: souk\r\nContent-Length: {length}\r\n\r\n");
        assert_eq!(server.wire().ask(&head).status, 413, "{length}");
    }
    for length in ["18446744073709551615", "18446744073709551616", "-1", "1e3", "5, 6"] {
        let head = format!("POST /v1/carts HTTP/1.1\r\nHost: souk\r\nContent-Length: {length}\r\n\r\n");
        assert!(matches!(server.wire().ask(&head).status, 400 | 431), "{length}");
    }
    let mut endless = server.wire();
    endless.send("POST /v1/carts HTTP/1.1\r\nHost: souk\r\nTransfer-Encoding: chunked\r\n\r\n").expect("it is taken");
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    let told = pour(&mut endless, &chunk);
    assert!(told.is_none_or(|answer| answer.status == 413));
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more");
    server.serves_others();
}

#[test]
fn large_bodies_share_a_bounded_memory_and_small_ones_pass() {
    let server = Server::start(&[("HTTP__BODIES_MAX_BYTES", "8388608"), ("HTTP__BODY_TIMEOUT_MS", "600000")]);
    server.serves_others();
    let before = server.resident_kib();
    let nearly = json(&" ".repeat(MIB))[..MIB].to_owned();
    let mut wires: Vec<Wire> = (0..100).map(|_| server.wire()).collect();
    for wire in &mut wires {
        let _ = wire.send(&nearly); // or it was refused before its end
    }
    // Seven or eight fit; the others are told at once.
    server.until("souk_http_running", |running| running <= 9);
    let refused: Vec<Answer> =
        wires.iter_mut().filter_map(|wire| if wire.has_ended() { wire.answer() } else { None }).collect();
    for answer in &refused {
        assert_eq!(answer.status, 503);
        assert!(answer.head.contains("retry-after:"), "{}", answer.head);
    }
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more");
    server.serves_others();
}

#[test]
fn heads_without_measure_are_refused_and_take_no_memory() {
    let server = Server::start(&[]);
    server.serves_others();
    let before = server.resident_kib();
    let with = |bytes: usize| format!("GET /livez HTTP/1.1\r\nHost: souk\r\nX-Long: {}\r\n\r\n", "x".repeat(bytes));
    assert_eq!(server.wire().ask(&with(30_000)).status, 200);
    assert_eq!(server.wire().ask(&with(40_000)).status, 431);
    for beginning in ["GET /", "GET /livez HTTP/1.1\r\nHost: souk\r\nX-Long: ", "GET /livez?"] {
        let mut endless = server.wire();
        endless.send(beginning).expect("it is taken");
        let told = pour(&mut endless, &[b'x'; 16 * 1024]);
        assert!(told.is_none_or(|answer| matches!(answer.status, 400 | 414 | 431)), "{beginning}");
    }
    let mut many = server.wire();
    many.send("GET /livez HTTP/1.1\r\nHost: souk\r\n").expect("it is taken");
    let told = pour(&mut many, &b"X-Some: header\r\n".repeat(64));
    assert!(told.is_none_or(|answer| matches!(answer.status, 400 | 431)));
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB more");
    server.serves_others();
}

/// Bytes for `GET` of a target and fields, and what is told of them.
fn refusals() -> Vec<(String, u16, &'static str)> {
    let long = "x".repeat(40_000);
    let crowd = "X-A: b\r\n".repeat(150);
    let half = "x".repeat(17_000);
    vec![
        ("NONSENSE\r\n\r\n".into(), 400, "bad_request"),
        ("GET /livez HTTP/9.9\r\n\r\n".into(), 400, "bad_request"),
        ("GET /a b HTTP/1.1\r\nHost: souk\r\n\r\n".into(), 400, "bad_request"),
        ("GET /livez HTTP/1.1\r\nHost: souk\r\nBad Name: x\r\n\r\n".into(), 400, "bad_request"),
        ("GET /livez HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".into(), 400, "bad_request"),
        (format!("GET /livez HTTP/1.1\r\n{crowd}\r\n"), 431, "headers_too_large"),
        (format!("GET /{long} HTTP/1.1\r\nHost: souk\r\n\r\n"), 414, "uri_too_long"),
        (format!("GET /livez?{long} HTTP/1.1\r\nHost: souk\r\n\r\n"), 414, "uri_too_long"),
        (format!("GET /livez?{half} HTTP/1.1\r\nX-Half: {half}\r\n\r\n"), 431, "headers_too_large"),
        ("GET /%zz HTTP/1.1\r\nHost: souk\r\n\r\n".into(), 400, "bad_request"),
    ]
}

#[test]
fn every_refusal_of_a_head_is_a_problem_the_parsers_own_too() {
    let server = Server::start(&[]);
    for (bytes, status, code) in refusals() {
        let answer = server.wire().ask(&bytes);
        let sent = &bytes[..bytes.len().min(80)];
        assert_eq!(answer.status, status, "{sent}: {}", answer.head);
        assert!(answer.head.contains("content-type: application/problem+json"), "{sent}: {}", answer.head);
        let problem: serde_json::Value = serde_json::from_str(&answer.body).expect("a problem is JSON");
        assert_eq!((&problem["code"], &problem["status"]), (&code.into(), &status.into()), "{sent}");
        let id = problem["request_id"].as_str().expect("an id");
        assert!(answer.head.contains(&format!("x-request-id: {id}")), "{sent}: {}", answer.head);
        assert!(answer.head.len() + answer.body.len() < 2_048, "{sent}: it is not told what it sent");
    }
    // One that is no request ends the connection, behind the answers to what came before.
    let mut wire = server.wire();
    wire.send("GET /livez HTTP/1.1\r\nHost: souk\r\n\r\nNONSENSE\r\n\r\n").expect("it is taken");
    assert_eq!(wire.answer().expect("an answer").status, 200);
    let told = wire.answer().expect("another");
    assert!(told.status == 400 && told.head.contains("connection: close"), "{}", told.head);
    wire.until_ended();
    server.serves_others();
}

#[test]
fn depths_without_measure_are_refused() {
    let server = Server::start(&[]);
    for depth in [200, 10_000, 170_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let whole = format!("{{\"metadata\":{}1{}}}", open.repeat(depth), close.repeat(depth));
            let torn = format!("{{\"metadata\":{}", open.repeat(depth));
            let bare = open.repeat(depth);
            for body in [whole, torn, bare] {
                let status = server.wire().ask(&json(&body)).status;
                assert!(matches!(status, 400 | 413 | 422), "{depth} of {open}: {status}");
            }
        }
    }
    assert_eq!(server.metric("souk_http_panics"), 0);
    server.serves_others();
}
