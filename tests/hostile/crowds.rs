//! Connections by the thousand.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::server::Server;
use super::wire::Wire;

const MANY: usize = 10_000;
const ASK: &str = "GET /livez HTTP/1.1\r\nHost: souk\r\n\r\n";

/// Takes as many file descriptors as this process may, and answers how many connections that is good for.
fn connections_of_our_own() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit is always allowed");
    limit.maximum.map_or(usize::MAX, |most| (most as usize).saturating_sub(512))
}

#[test]
fn ten_thousand_connections_are_served_and_cost_little() {
    let many = MANY.min(connections_of_our_own());
    if many < MANY {
        println!("only {many} connections: the hard limit of open files allows no more");
    }
    let server = Server::start(&[("HTTP__HEADER_TIMEOUT_MS", "600000")]);
    server.serves_others();
    let before = server.resident_kib();
    let mut wires: Vec<Wire> = Vec::new();
    for _ in 0..many {
        // Asked before the next one comes: the kernel lets a backlog that overflows wait for seconds.
        let mut wire = server.wire();
        assert_eq!(wire.ask(ASK).status, 200);
        wires.push(wire);
    }
    assert!(server.metric("souk_http_connections") >= many as i64);
    let each = server.resident_kib().saturating_sub(before) as f64 / many as f64;
    assert!(each < 40.0, "{each:.1} KiB for a connection");
    server.serves_others();
    // And again: they were let be.
    for wire in &mut wires {
        assert_eq!(wire.ask(ASK).status, 200);
    }
}

#[test]
fn when_all_places_are_taken_the_idle_go() {
    let server = Server::start(&[("HTTP__CONNECTIONS_MAX", "64"), ("HTTP__HEADER_TIMEOUT_MS", "600000")]);
    let mut silent: Vec<Wire> = (0..200).map(|_| server.wire()).collect();
    let mut trickling: Vec<Wire> = (0..64).map(|_| server.wire()).collect();
    for wire in &mut trickling {
        wire.send("GET /livez HTTP/1.1\r\n").expect("it is taken");
    }
    server.serves_others();
    silent.iter_mut().take(100).for_each(Wire::until_ended);
}

#[test]
fn few_file_descriptors_are_made_more_where_that_is_allowed() {
    let server = Server::start_after("ulimit -S -n 300", &[("HTTP__HEADER_TIMEOUT_MS", "600000")]);
    let mut wires: Vec<Wire> = (0..600).map(|_| server.wire()).collect();
    for wire in &mut wires {
        assert_eq!(wire.ask(ASK).status, 200);
    }
    assert!(server.metric("souk_http_connections") >= 600);
}

#[test]
fn where_it_is_not_the_store_keeps_its_own() {
    let server = Server::start_after("ulimit -n 400", &[("HTTP__HEADER_TIMEOUT_MS", "600000")]);
    let _silent: Vec<Wire> = (0..900).map(|_| server.wire()).collect();
    server.serves_others();
}
