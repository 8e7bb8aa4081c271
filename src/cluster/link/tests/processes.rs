//! Two processes: one is killed, or stands still and goes on.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::super::arrivals::ReplyHandle;
use super::super::outcome::AskFailure;
use super::super::settings::Peer;
use super::support::{Event, Node, echo, settings, start};
use crate::cluster::NodeId;

const TEST: &str = "cluster::link::tests::processes::as_the_other_process";
const PEER: &str = "SOUK_TEST_LINK_PEER";

/// Not a test: what the tests below start as their peer. It lives as long as its standard input is open.
#[tokio::test]
#[ignore = "the other process of the tests in this file"]
async fn as_the_other_process() {
    let address = std::env::var(PEER).expect("the tests say where they are");
    let silent = |request: bytes::Bytes, reply: ReplyHandle| match &request[..] {
        b"never" => std::mem::forget(reply),
        _ => reply.send(request),
    };
    let node = start(settings("b#1"), silent).await;
    node.link.set_peers(vec![Peer { id: NodeId::of("a#1"), address }]);
    let mut end = Vec::new();
    tokio::io::stdin().read_to_end(&mut end).await.expect("the test ends");
}

/// A node here and one in a process of its own, linked.
async fn linked() -> (Node, NodeId, Child) {
    let mut a = echo("a#1").await;
    let child = Command::new(std::env::current_exe().expect("the test's own binary"))
        .args(["--exact", TEST, "--ignored"])
        .env(PEER, a.link.advertise())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("a process");
    let peer = NodeId::of("b#1");
    assert_eq!(a.event().await, Event::Up(peer.clone()));
    (a, peer, child)
}

fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("it runs");
    kill_process(pid, signal).expect("it is this test's own child");
}

#[tokio::test]
async fn a_process_that_is_killed_is_gone_at_once() {
    let (mut a, peer, child) = linked().await;
    let answered = a.link.request(&peer, "question".into(), super::support::PATIENCE).await;
    assert_eq!(answered.expect("answered"), "question");
    let asked = a.link.request(&peer, "never".into(), super::support::PATIENCE);
    let killed = async {
        // Until the request has left.
        while a.link.counters().requests_sent.get() < 2 {
            tokio::task::yield_now().await;
        }
        signal(&child, Signal::KILL);
    };
    assert_eq!(tokio::join!(asked, killed).0, Err(AskFailure::Lost));
    assert_eq!(a.event().await, Event::Down(peer));
    assert_eq!(a.link.counters().links_silent.get(), 0, "its connection is closed: nobody has to wait for silence");
}

#[tokio::test]
async fn a_process_that_stands_still_is_gone_and_comes_back() {
    let (mut a, peer, child) = linked().await;
    signal(&child, Signal::STOP);
    assert_eq!(a.event().await, Event::Down(peer.clone()));
    assert_eq!(a.link.counters().links_silent.get(), 1);
    signal(&child, Signal::CONT);
    assert_eq!(a.event().await, Event::Up(peer.clone()));
    let answered = a.link.request(&peer, "question".into(), super::support::PATIENCE).await;
    assert_eq!(answered.expect("answered"), "question");
}
