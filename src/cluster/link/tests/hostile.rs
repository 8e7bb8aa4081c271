//! Strangers at the port of a node: they get nothing, and keep nobody out.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::settings::LinkSettings;
use super::support::{Event, echo, link_all, secret, settings, start};

#[tokio::test]
async fn strangers_fill_the_port_and_a_node_gets_in() {
    let few = LinkSettings { handshakes_max: 8, handshake: Duration::from_secs(20), ..settings("a#1") };
    let mut a = start(few, |request, reply| reply.send(request)).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(a.link.address()).await.expect("it listens"));
    }
    let mut b = echo("b#1").await;
    link_all(&mut [&mut a, &mut b]).await;
    assert_eq!(b.ask(&a, b"question").await.expect("answered"), "question");
    assert!(a.link.counters().handshakes_refused.get() >= 32);
    // The oldest were closed for the newer ones.
    let mut byte = [0; 1];
    assert_eq!(silent[0].read(&mut byte).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn what_is_no_handshake_is_answered_by_nothing() {
    let mut a = echo("a#1").await;
    for hello in [&b"GET / HTTP/1.1\r\nHost: a\r\nAccept: everything there is\r\n\r\n"[..], &[0; 100], &[0xff; 70_000]]
    {
        let mut stranger = TcpStream::connect(a.link.address()).await.expect("it listens");
        let _ = stranger.write_all(hello).await; // it may be closed before it has taken all
        let mut answer = Vec::new();
        let _ = stranger.read_to_end(&mut answer).await; // closed, one way or the other
        assert_eq!(answer, b"");
    }
    let mut b = echo("b#1").await;
    link_all(&mut [&mut a, &mut b]).await;
}

#[tokio::test]
async fn a_silent_stranger_is_closed_in_time() {
    let quick = LinkSettings { handshake: Duration::from_millis(50), ..settings("a#1") };
    let a = start(quick, |request, reply| reply.send(request)).await;
    let mut stranger = TcpStream::connect(a.link.address()).await.expect("it listens");
    let mut answer = Vec::new();
    let _ = stranger.read_to_end(&mut answer).await; // it returns when the connection is closed
    assert_eq!(answer, b"");
}

#[tokio::test]
async fn another_secret_another_store_and_other_versions_are_refused() {
    let strangers = [
        LinkSettings { secret: secret("a secret of another one"), ..settings("b#1") },
        LinkSettings { cluster: "store 2, 16 slots".to_owned(), ..settings("b#1") },
        LinkSettings { versions: (5, 6), ..settings("b#1") },
    ];
    for stranger in strangers {
        let mut a = echo("a#1").await;
        let b = start(stranger, |request, reply| reply.send(request)).await;
        b.link.set_peers(vec![a.peer()]);
        a.link.set_peers(vec![b.peer()]);
        // Both try, and fail.
        let failures = || b.link.counters().dials_failed.get() + a.link.counters().dials_failed.get();
        while failures() < 2 {
            tokio::task::yield_now().await;
        }
        assert!(!a.link.is_up(&b.id) && !b.link.is_up(&a.id));
        let mut c = echo("c#1").await;
        a.link.set_peers(vec![c.peer()]);
        c.link.set_peers(vec![a.peer()]);
        assert_eq!(a.event().await, Event::Up(c.id.clone()), "it is well");
        assert_eq!(c.event().await, Event::Up(a.id.clone()));
    }
}
