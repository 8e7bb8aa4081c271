//! Real nodes on loopback: what a node that is cut off, restarted, stopped or silent means to the others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::arrivals::ReplyHandle;
use super::super::handle::LinkState;
use super::super::outcome::{AskFailure, NotTaken};
use super::super::settings::{LinkSettings, Peer, TlsFiles};
use super::support::{Event, Node, PATIENCE, echo, link_all, settings, start};
use crate::cluster::NodeId;

#[tokio::test]
async fn three_nodes_ask_and_tell_each_other() {
    let (mut a, mut b, mut c) = (echo("a#1").await, echo("b#1").await, echo("c#1").await);
    link_all(&mut [&mut a, &mut b, &mut c]).await;
    for (from, to) in [(&a, &b), (&b, &a), (&b, &c), (&c, &b), (&a, &c), (&c, &a)] {
        assert_eq!(from.ask(to, b"question").await.expect("answered"), "question");
        from.link.tell(&to.id, Bytes::from_static(b"message"));
    }
    assert!(matches!(a.event().await, Event::Told(..)));
    assert!(matches!(a.event().await, Event::Told(..)));
    let statuses = a.link.statuses();
    let states: Vec<_> = statuses.iter().map(|status| (status.peer.clone(), status.state)).collect();
    assert_eq!(states, [(b.id.clone(), LinkState::Up), (c.id.clone(), LinkState::Up)]);
    assert!(statuses.iter().all(|status| status.frames > 0 && status.asks == 0 && status.open == 0));
}

#[tokio::test]
async fn both_connect_at_once_and_no_link_flaps() {
    for _ in 0..10 {
        let (mut a, mut b) = (echo("a#1").await, echo("b#1").await);
        link_all(&mut [&mut a, &mut b]).await;
        for _ in 0..20 {
            assert_eq!(a.ask(&b, b"question").await.expect("answered"), "question");
            assert_eq!(b.ask(&a, b"question").await.expect("answered"), "question");
        }
        assert_eq!((*a.links.borrow(), *b.links.borrow()), ((1, 0), (1, 0)));
    }
}

#[tokio::test]
async fn large_messages_go_both_ways() {
    let (mut a, mut b) = (echo("a#1").await, echo("b#1").await);
    link_all(&mut [&mut a, &mut b]).await;
    let large = Bytes::from(vec![5; 4 << 20]);
    let asks = (0..4).map(|_| a.link.request(&b.id, large.clone(), PATIENCE));
    for answer in futures::future::join_all(asks).await {
        assert_eq!(answer.expect("answered"), large);
    }
    let larger = Bytes::from(vec![5; (4 << 20) + 1]);
    let answer = a.link.request(&b.id, larger, PATIENCE).await;
    assert_eq!(answer, Err(AskFailure::NotTaken(NotTaken::TooLarge)));
}

#[tokio::test]
async fn a_thousand_requests_at_once_are_answered_in_few_frames() {
    let (mut a, mut b) = (echo("a#1").await, echo("b#1").await);
    link_all(&mut [&mut a, &mut b]).await;
    let asks = (0..5_000_u32).map(|number| {
        let request = Bytes::copy_from_slice(&number.to_le_bytes());
        let answer = a.link.request(&b.id, request.clone(), PATIENCE);
        async move { (request, answer.await) }
    });
    for (request, answer) in futures::future::join_all(asks).await {
        assert_eq!(answer, Ok(request));
    }
    assert!(a.link.counters().frames_sent.get() < 2_500, "{:?}", a.link.counters().each());
    assert_eq!(a.link.counters().requests_dropped.get(), 0);
}

#[tokio::test]
async fn nobody_is_there_and_nobody_answers() {
    let dropped = |_: Bytes, reply: ReplyHandle| drop(reply);
    let (mut a, mut b) = (echo("a#1").await, start(settings("b#1"), dropped).await);
    let nobody = a.link.request(&NodeId::of("x#1"), Bytes::from_static(b"?"), PATIENCE).await;
    assert_eq!(nobody, Err(AskFailure::NotTaken(NotTaken::Down)));
    link_all(&mut [&mut a, &mut b]).await;
    assert_eq!(a.ask(&b, b"question").await, Err(AskFailure::Lost));
    assert_eq!(b.link.counters().requests_unanswered.get(), 1);
}

#[tokio::test]
async fn an_asker_waits_no_longer_than_it_said() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = kept.clone();
    let keeping = move |_: Bytes, reply: ReplyHandle| keep.lock().push(reply);
    let (mut a, mut b) = (echo("a#1").await, start(settings("b#1"), keeping).await);
    link_all(&mut [&mut a, &mut b]).await;
    let answer = a.link.request(&b.id, Bytes::from_static(b"?"), Duration::from_millis(30)).await;
    assert_eq!(answer, Err(AskFailure::Lost));
    // The late answer goes nowhere, and the next one to whom it belongs.
    let asked = a.ask(&b, b"next");
    let answers = async {
        while kept.lock().len() < 2 {
            tokio::task::yield_now().await;
        }
        for (number, reply) in kept.lock().drain(..).enumerate() {
            reply.send(Bytes::from(number.to_string()));
        }
    };
    assert_eq!(tokio::join!(asked, answers).0, Ok(Bytes::from("1")));
}

#[tokio::test]
async fn who_panics_over_one_request_loses_only_that() {
    let picky = |request: Bytes, reply: ReplyHandle| {
        assert!(request != "panic", "that is meant");
        reply.send(request);
    };
    let (mut a, mut b) = (echo("a#1").await, start(settings("b#1"), picky).await);
    link_all(&mut [&mut a, &mut b]).await;
    assert_eq!(a.ask(&b, b"panic").await, Err(AskFailure::Lost));
    assert_eq!(a.ask(&b, b"question").await.expect("answered"), "question");
    assert_eq!(a.links.borrow().1, 0, "the link lives");
}

#[tokio::test]
async fn a_node_that_stops_answers_what_is_open_and_is_known_to_be_gone_at_once() {
    let (held, mut holds) = tokio::sync::mpsc::unbounded_channel();
    let holding = move |request: Bytes, reply: ReplyHandle| held.send((request, reply)).expect("it is waited for");
    let (mut a, mut b) = (echo("a#1").await, start(settings("b#1"), holding).await);
    link_all(&mut [&mut a, &mut b]).await;
    let asked = a.ask(&b, b"question");
    let stop = async {
        let (request, reply) = holds.recv().await.expect("it arrives");
        let stopping = b.link.stop();
        tokio::join!(stopping, async { reply.send(request) });
    };
    assert_eq!(tokio::join!(asked, stop).0.expect("answered"), "question");
    assert_eq!(a.event().await, Event::Down(b.id.clone()));
    assert_eq!(b.event().await, Event::Down(a.id.clone()));
    assert_eq!(a.ask(&b, b"question").await, Err(AskFailure::NotTaken(NotTaken::Down)));
    assert_eq!(b.ask(&a, b"question").await, Err(AskFailure::NotTaken(NotTaken::Stopping)));
}

#[tokio::test]
async fn a_restarted_node_is_another_one_at_the_same_address() {
    let (mut a, mut b) = (echo("a#1").await, echo("b#1").await);
    link_all(&mut [&mut a, &mut b]).await;
    let listen = b.link.address();
    b.link.stop().await;
    assert_eq!(a.event().await, Event::Down(b.id.clone()));
    let again = LinkSettings { listen, ..settings("b#2") };
    let mut again = start(again, |request, reply| reply.send(request)).await;
    again.link.set_peers(vec![a.peer()]);
    assert_eq!(a.event().await, Event::Up(again.id.clone()), "before it is listed");
    a.link.set_peers(vec![again.peer()]);
    assert_eq!(again.event().await, Event::Up(a.id.clone()));
    assert_eq!(a.ask(&again, b"question").await.expect("answered"), "question");
    assert_eq!(a.ask(&b, b"question").await, Err(AskFailure::NotTaken(NotTaken::Down)));
}

#[tokio::test]
async fn a_node_that_is_not_listed_any_more_is_not_linked() {
    let (mut a, mut b) = (echo("a#1").await, echo("b#1").await);
    link_all(&mut [&mut a, &mut b]).await;
    b.link.set_peers(Vec::new());
    a.link.set_peers(Vec::new());
    assert_eq!(a.event().await, Event::Down(b.id.clone()));
    assert_eq!(b.event().await, Event::Down(a.id.clone()));
    assert_eq!(a.link.statuses(), []);
}

/// Stands between two nodes: cuts their connections, or carries nothing while they stay open.
struct Wire {
    address: String,
    carries: watch::Sender<bool>,
    connections: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Wire {
    async fn to(target: String) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let carries = watch::Sender::new(true);
        let connections: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
        let (watched, made) = (carries.subscribe(), connections.clone());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (target, mut watched) = (target.clone(), watched.clone());
                made.lock().push(tokio::spawn(async move {
                    if watched.wait_for(|carries| *carries).await.is_err() {
                        return;
                    }
                    let Ok(mut far) = TcpStream::connect(target).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => return,
                        _ = watched.wait_for(|carries| !*carries) => {}
                    }
                    // Both stay open, and nothing passes any more.
                    std::future::pending::<()>().await;
                }));
            }
        });
        Wire { address, carries, connections }
    }

    fn cut(&self) {
        self.connections.lock().drain(..).for_each(|connection| connection.abort());
    }
}

/// Two nodes that only reach each other by the wire: `a` connects, `b` knows nobody.
async fn wired() -> (Node, Node, Wire) {
    let (mut a, mut b) = (echo("a#1").await, echo("b#1").await);
    let wire = Wire::to(b.link.advertise().to_owned()).await;
    b.link.set_peers(vec![Peer { id: a.id.clone(), address: "127.0.0.1:1".to_owned() }]);
    a.link.set_peers(vec![Peer { id: b.id.clone(), address: wire.address.clone() }]);
    assert_eq!(a.event().await, Event::Up(b.id.clone()));
    assert_eq!(b.event().await, Event::Up(a.id.clone()));
    (a, b, wire)
}

#[tokio::test]
async fn a_link_that_is_cut_comes_back() {
    let (mut a, mut b, wire) = wired().await;
    for _ in 0..5 {
        assert_eq!(b.ask(&a, b"question").await.expect("answered"), "question");
        wire.cut();
        assert_eq!(a.event().await, Event::Down(b.id.clone()));
        assert_eq!(b.event().await, Event::Down(a.id.clone()));
        assert_eq!(a.event().await, Event::Up(b.id.clone()));
        assert_eq!(b.event().await, Event::Up(a.id.clone()));
        assert_eq!(a.ask(&b, b"question").await.expect("answered"), "question");
    }
}

#[tokio::test]
async fn a_peer_that_is_silent_is_found_dead_though_its_connection_is_open() {
    let (mut a, mut b, wire) = wired().await;
    wire.carries.send_replace(false);
    let asked = a.ask(&b, b"question");
    assert_eq!(asked.await, Err(AskFailure::Lost));
    assert_eq!(a.event().await, Event::Down(b.id.clone()));
    assert_eq!(b.event().await, Event::Down(a.id.clone()));
    assert_eq!(a.link.counters().links_silent.get(), 1);
    wire.cut();
    wire.carries.send_replace(true);
    assert_eq!(a.event().await, Event::Up(b.id.clone()));
    assert_eq!(b.event().await, Event::Up(a.id.clone()));
}

type Outcomes = Vec<(u32, Result<Bytes, AskFailure>)>;

/// Asks all the while the wire is cut again and again: each has one outcome, and what was not taken was not seen.
#[tokio::test]
async fn every_request_has_one_outcome_whatever_the_wire_does() {
    let seen: Arc<Mutex<Vec<u32>>> = Arc::default();
    let sees = seen.clone();
    let answer = move |request: Bytes, reply: ReplyHandle| {
        sees.lock().push(u32::from_le_bytes(request[..].try_into().expect("four bytes")));
        reply.send(request);
    };
    let (mut a, b) = (echo("a#1").await, start(settings("b#1"), answer).await);
    let wire = Wire::to(b.link.advertise().to_owned()).await;
    a.link.set_peers(vec![Peer { id: b.id.clone(), address: wire.address.clone() }]);
    let outcomes: Arc<Mutex<Outcomes>> = Arc::default();
    let mut number = 0_u32;
    for _ in 0..6 {
        assert_eq!(a.event().await, Event::Up(b.id.clone()));
        for _ in 0..800 {
            let (told, this) = (outcomes.clone(), number);
            let request = Bytes::copy_from_slice(&number.to_le_bytes());
            a.link.ask(&b.id, request, PATIENCE, move |outcome| told.lock().push((this, outcome)));
            number += 1;
            if number.is_multiple_of(50) {
                tokio::task::yield_now().await;
            }
        }
        wire.cut();
        assert_eq!(a.event().await, Event::Down(b.id.clone()));
    }
    let mut outcomes = outcomes.lock().clone();
    outcomes.sort_by_key(|(number, _)| *number);
    assert_eq!(outcomes.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (0..number).collect::<Vec<_>>());
    let seen = seen.lock().clone();
    for (number, outcome) in &outcomes {
        let times = seen.iter().filter(|other| *other == number).count();
        match outcome {
            Ok(reply) => assert_eq!((reply[..].to_vec(), times), (number.to_le_bytes().to_vec(), 1)),
            Err(AskFailure::NotTaken(_)) => assert_eq!(times, 0),
            Err(AskFailure::Lost) => assert!(times <= 1),
            Err(AskFailure::ReplyTooLarge) => panic!("it is four bytes"),
        }
    }
    assert_eq!(a.link.counters().requests_dropped.get(), 0);
}

/// An authority, and a node's certificate by it.
fn certificates(folder: &std::path::Path) -> TlsFiles {
    let authority_key = rcgen::KeyPair::generate().expect("a key");
    let mut authority = rcgen::CertificateParams::new(Vec::new()).expect("names");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&authority_key).expect("signed");
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let node = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("names");
    let signed = node.signed_by(&key, &issuer).expect("signed");
    let write = |name: &str, pem: String| {
        let path = folder.join(name);
        std::fs::write(&path, pem).expect("written");
        path
    };
    TlsFiles {
        ca: write("ca.pem", certificate.pem()),
        cert: write("node.pem", signed.pem()),
        key: write("node.key", key.serialize_pem()),
    }
}

#[tokio::test]
async fn with_tls_nodes_of_one_authority_are_linked_and_others_are_not() {
    let (ours, theirs) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let with = |id: &str, files: &TlsFiles| LinkSettings { tls: Some(files.clone()), ..settings(id) };
    let files = certificates(ours.path());
    let answer = |request: Bytes, reply: ReplyHandle| reply.send(request);
    let mut a = start(with("a#1", &files), answer).await;
    let mut b = start(with("b#1", &files), answer).await;
    link_all(&mut [&mut a, &mut b]).await;
    let large = Bytes::from(vec![5; 1 << 20]);
    assert_eq!(a.link.request(&b.id, large.clone(), PATIENCE).await, Ok(large));
    for stranger in [with("c#1", &certificates(theirs.path())), settings("c#1")] {
        let before = a.link.counters().handshakes_refused.get();
        let c = start(stranger, answer).await;
        c.link.set_peers(vec![a.peer()]);
        while a.link.counters().handshakes_refused.get() == before || c.link.counters().dials_failed.get() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(!c.link.is_up(&a.id));
    }
}
