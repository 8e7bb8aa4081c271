//! The handshake between two ends that know the secret, and with those who do not.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::super::handshake::{HandshakeError, Met, accept, dial};
use super::super::hello::{Hello, MAGIC, NONCE, OPEN, Refusal, TAG};
use super::super::secret::Secret;
use super::support::secret;
use crate::cluster::NodeId;

fn hello(node: &str) -> Hello {
    Hello {
        node: NodeId::of(node),
        name: node.to_owned(),
        address: format!("{node}:1"),
        cluster: "a store".to_owned(),
        versions: (1, 3),
        number: 7,
        previous: 0,
        actor: 1,
        window: 2,
        message_max_bytes: 1_000,
    }
}

type Result<T> = std::result::Result<T, HandshakeError>;

async fn meet(dialer: Secret, acceptor: Secret, channels: [&[u8]; 2]) -> (Result<Met>, Result<Met>) {
    let (mut near, mut far) = duplex(4_096);
    let dialing = async {
        let met = dial(&mut near, dialer, channels[0], |_| Ok(hello("a"))).await;
        drop(near);
        met
    };
    let accepting = async {
        let met = accept(&mut far, acceptor, channels[1], &hello("b"), |_| Ok(())).await;
        drop(far);
        met
    };
    tokio::join!(dialing, accepting)
}

#[tokio::test]
async fn two_that_know_the_secret_meet() {
    let known = || secret("a secret of the cluster");
    let (dialed, accepted) = meet(known(), known(), [b"tls", b"tls"]).await;
    let (dialed, accepted) = (dialed.expect("met"), accepted.expect("met"));
    assert_eq!((dialed.peer, accepted.peer), (hello("b"), hello("a")));
    assert_eq!(dialed.cookie, accepted.cookie);
    let (other, _) = meet(known(), known(), [b"tls", b"tls"]).await;
    assert_ne!(other.expect("met").cookie, dialed.cookie, "of this connection only");
}

#[tokio::test]
async fn another_secret_and_another_connection_are_not_believed() {
    let cases = [
        (secret("a secret of the cluster"), secret("a secret of another one"), [b"tls".as_slice(), b"tls"]),
        (secret("a secret of the cluster"), secret("a secret of the cluster"), [b"tls", b"the relay's"]),
    ];
    for (dialer, acceptor, channels) in cases {
        let (dialed, accepted) = meet(dialer, acceptor, channels).await;
        assert!(matches!(dialed, Err(HandshakeError::NotBelieved)), "{dialed:?}");
        assert!(matches!(accepted, Err(HandshakeError::NotProven)), "{accepted:?}");
    }
}

#[tokio::test]
async fn a_verdict_reaches_the_dialer() {
    let (mut near, mut far) = duplex(4_096);
    let known = || secret("a secret of the cluster");
    let refuse = |_: &Hello| Err(Refusal::AlreadyLinked);
    let ours = hello("b");
    let accepting = accept(&mut far, known(), b"", &ours, refuse);
    let (dialed, accepted) = tokio::join!(dial(&mut near, known(), b"", |_| Ok(hello("a"))), accepting);
    assert!(matches!(dialed, Err(HandshakeError::Refused(Refusal::AlreadyLinked))));
    assert!(matches!(accepted, Err(HandshakeError::Refused(Refusal::AlreadyLinked))));
}

/// Reads what comes until the end of the connection.
async fn all(mut stream: DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("it ends");
    bytes
}

async fn accept_from(mut stream: DuplexStream) -> Result<Met> {
    accept(&mut stream, secret("a secret of the cluster"), b"", &hello("b"), |_| Ok(())).await
}

#[tokio::test]
async fn a_stranger_learns_nothing() {
    let (mut near, far) = duplex(4_096);
    let accepting = tokio::spawn(accept_from(far));
    let mut open = [0; OPEN];
    open[..MAGIC.len()].copy_from_slice(MAGIC);
    open[MAGIC.len()] = 1;
    near.write_all(&open).await.expect("written");
    near.write_all(&[7; TAG]).await.expect("written");
    assert_eq!(all(near).await.len(), NONCE, "random bytes, and the end");
    assert!(matches!(accepting.await.expect("no panic"), Err(HandshakeError::NotProven)));
}

/// Who has no secret sends back what it is sent: to the dialer itself, over another connection.
#[tokio::test]
async fn a_tag_is_good_in_one_direction_of_one_connection() {
    let (mut to_dialer, mut dialer) = duplex(4_096);
    let dialing =
        tokio::spawn(
            async move { dial(&mut dialer, secret("a secret of the cluster"), b"", |_| Ok(hello("a"))).await },
        );
    let mut open = [0; OPEN];
    to_dialer.read_exact(&mut open).await.expect("the dialer begins");
    let (mut to_acceptor, acceptor) = duplex(4_096);
    let accepting = tokio::spawn(accept_from(acceptor));
    to_acceptor.write_all(&open).await.expect("written");
    let mut challenge = [0; NONCE];
    to_acceptor.read_exact(&mut challenge).await.expect("challenged");
    // Its own nonce instead of the acceptor's: the proof that comes is of this connection only.
    to_dialer.write_all(&[9; NONCE]).await.expect("written");
    let mut proof = [0; TAG];
    to_dialer.read_exact(&mut proof).await.expect("the dialer proves itself");
    to_acceptor.write_all(&proof).await.expect("written");
    assert!(matches!(accepting.await.expect("no panic"), Err(HandshakeError::NotProven)));
    // And sent back to the dialer, in place of the acceptor's hello.
    let mine = hello("b").encode();
    to_dialer.write_all(&(mine.len() as u16).to_le_bytes()).await.expect("written");
    to_dialer.write_all(&mine).await.expect("written");
    to_dialer.write_all(&proof).await.expect("written");
    assert!(matches!(dialing.await.expect("no panic"), Err(HandshakeError::NotProven)));
}

#[test]
fn what_keeps_two_nodes_apart_is_said_with_what_to_do() {
    let ours = hello("a");
    let other_store = Hello { cluster: "another store".to_owned(), ..hello("b") };
    let newer = Hello { versions: (4, 5), ..hello("b") };
    let cases = [
        (hello("a"), "check cluster.advertise"),
        (other_store, "give both the same store"),
        (newer, "upgrade by way of a release"),
    ];
    for (theirs, says) in cases {
        let refusal = Refusal::between(&ours, &theirs).expect("refused");
        assert!(refusal.to_string().contains(says), "{refusal}");
        assert!(!refusal.is_ordinary());
    }
    assert_eq!(Refusal::between(&ours, &Hello { versions: (3, 5), ..hello("b") }), None);
}

#[test]
fn a_secret_is_not_shown() {
    let shown = format!("{:?}", super::support::settings("a"));
    assert!(!shown.contains("secret of the tests"), "{shown}");
    assert!(Secret::new(b"too short").is_none());
}

proptest! {
    /// Whatever a stranger sends, the acceptor ends without having believed it.
    #[test]
    fn nobody_gets_in_by_chance(bytes in prop::collection::vec(any::<u8>(), 0..400), begins_well in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let met = runtime.block_on(async {
            let (mut near, far) = duplex(4_096);
            if begins_well {
                near.write_all(MAGIC).await.expect("written");
                near.write_all(&[1, 0]).await.expect("written");
            }
            near.write_all(&bytes).await.expect("written");
            near.shutdown().await.expect("the end");
            accept_from(far).await
        });
        prop_assert!(met.is_err());
    }
}
