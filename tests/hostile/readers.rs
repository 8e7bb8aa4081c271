//! Clients that ask and never read.

use super::server::Server;
use super::wire::Wire;

#[test]
fn who_never_reads_is_cut_off_and_takes_little_memory() {
    let server = Server::start(&[("HTTP__WRITE_STALL_MS", "1000"), ("HTTP__HEADER_TIMEOUT_MS", "600000")]);
    server.serves_others();
    let large = server.get("/openapi.json").body.len();
    assert!(large > 100_000, "an answer that no socket buffers many of");
    let before = server.resident_kib();
    let request = b"GET /openapi.json HTTP/1.1\r\nHost: souk\r\n\r\n".repeat(500);
    let mut wires: Vec<Wire> = (0..200).map(|_| server.wire().take_little()).collect();
    for wire in &mut wires {
        wire.stuff(&request);
    }
    server.serves_others();
    let most = server.until_measuring("souk_http_connections", |open| open == 1);
    let grown = most.saturating_sub(before);
    assert!(grown < 200 * 1024, "{grown} KiB for 200 of them");
    server.serves_others();
}

/// Who takes a little now and then is slow, not hostile.
#[test]
fn who_reads_slowly_gets_everything() {
    let server = Server::start(&[("HTTP__WRITE_STALL_MS", "30000")]);
    let mut wire = server.wire();
    wire.send(b"GET /openapi.json HTTP/1.1\r\nHost: souk\r\n\r\n".repeat(20)).expect("it is taken");
    for _ in 0..20 {
        let answer = wire.answer().expect("an answer");
        assert_eq!((answer.status, answer.body.ends_with('}')), (200, true));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
