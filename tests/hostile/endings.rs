//! A server that stops waits for work, and for nothing else.

use super::server::Server;

#[test]
fn nobody_who_does_nothing_holds_up_the_end() {
    let never = "600000";
    let server = Server::start(&[
        ("HTTP__HEADER_TIMEOUT_MS", never),
        ("HTTP__WRITE_STALL_MS", never),
        ("HTTP__DRAIN_MS", never),
        ("HTTP__BODY_TIMEOUT_MS", "2000"),
    ]);
    let mut idle = server.wire();
    assert_eq!(idle.ask("GET /livez HTTP/1.1\r\nHost: souk\r\n\r\n").status, 200);
    let _silent = server.wire();
    let mut half = server.wire();
    half.send("GET /livez HTTP/1.1\r\nHost:").expect("it is taken");
    let mut deaf = server.wire().take_little();
    deaf.stuff(&b"GET /openapi.json HTTP/1.1\r\nHost: souk\r\n\r\n".repeat(2_000));
    let mut gone = server.wire();
    gone.send("GET /livez HTTP/1.1\r\n").expect("it is taken");
    gone.half_close();
    let mut slow = server.wire();
    slow.send("POST /v1/carts HTTP/1.1\r\nHost: souk\r\nContent-Length: 9\r\n\r\n{").expect("it is taken");
    server.until("souk_http_running", |running| running == 2);
    assert!(server.stop().success());
    assert_eq!(slow.answer().expect("it was told").status, 408);
}
