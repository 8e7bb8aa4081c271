//! The ways between nodes and to the store: relays that can be cut. What is cut silently is held, as packets are that find no
//! way: neither end is told, and what was sent arrives if the way is open again while the connection still stands.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nothing arrives, and nobody is told.
    Silent,
    /// Connections are ended, and new ones lead nowhere.
    Reset,
}

/// Which nodes are cut off, by their numbers. A connection is cut when one of its ends is.
#[derive(Clone)]
pub struct Gate(watch::Sender<BTreeMap<usize, Cut>>);

impl Gate {
    pub fn open() -> Gate {
        Gate(watch::Sender::default())
    }

    pub fn cut(&self, node: usize, how: Cut) {
        self.0.send_modify(|cut| {
            cut.insert(node, how);
        });
    }

    pub fn mend(&self, node: usize) {
        self.0.send_modify(|cut| {
            cut.remove(&node);
        });
    }
}

/// A name stands within so many bytes, or nowhere.
const HELLO_MAX: usize = 2_048;

/// Who a connection is between, as far as is known.
type Ends = watch::Sender<Vec<usize>>;

/// A relay in front of a port of this machine.
pub struct Way {
    pub address: SocketAddr,
}

impl Way {
    /// From this node to the store.
    pub async fn to_store(gate: &Gate, node: usize, port: u16) -> Way {
        Way::before(gate, node, port, false).await
    }

    /// From the other nodes to this one. Who connects says its name in its hello.
    pub async fn to_node(gate: &Gate, node: usize, port: u16) -> Way {
        Way::before(gate, node, port, true).await
    }

    async fn before(gate: &Gate, node: usize, port: u16, reads_names: bool) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let gate = gate.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let gate = gate.clone();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let _ = client.set_nodelay(true).and(server.set_nodelay(true)); // it ends soon anyway
                    let ends = watch::Sender::new(vec![node]);
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::select! {
                        () = reset(&gate, &ends) => {}
                        () = pass(from_client, to_server, &gate, &ends, reads_names) => {}
                        () = pass(from_server, to_client, &gate, &ends, false) => {}
                    }
                });
            }
        });
        Way { address }
    }
}

fn state(gate: &BTreeMap<usize, Cut>, ends: &[usize]) -> Option<Cut> {
    ends.iter().find_map(|end| gate.get(end).copied())
}

/// Until the connection is to be ended.
async fn reset(gate: &Gate, ends: &Ends) {
    let (mut gates, mut names) = (gate.0.subscribe(), ends.subscribe());
    while state(&gates.borrow_and_update(), &names.borrow_and_update()) != Some(Cut::Reset) {
        tokio::select! { _ = gates.changed() => {}, _ = names.changed() => {} }
    }
}

/// Until one side has nothing more to say. Both directions end then: no protocol here ends only one.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, gate: &Gate, ends: &Ends, reads_names: bool) {
    let (mut gates, mut buffer) = (gate.0.subscribe(), vec![0; 1 << 16]);
    let mut hello = reads_names.then(Vec::new);
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        if let Some(said) = &mut hello {
            said.extend_from_slice(&buffer[..read]);
            let number = number_in(said);
            if let Some(number) = number {
                ends.send_modify(|ends| ends.push(number));
            }
            if number.is_some() || said.len() > HELLO_MAX {
                hello = None;
            }
        }
        if gates.wait_for(|cut| state(cut, &ends.borrow()).is_none()).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// The name that a node of these tests has by its number.
pub fn name(number: usize) -> String {
    format!("node-{number}")
}

/// The number of the node whose id (`node-1#...`) stands in the first bytes of a connection.
fn number_in(said: &[u8]) -> Option<usize> {
    (0..=9).find(|number| {
        let id = format!("{}#", name(*number));
        said.windows(id.len()).any(|bytes| bytes == id.as_bytes())
    })
}

#[test]
fn a_node_is_known_by_its_hello() {
    assert_eq!(number_in(b"souklink\0\x01\x09\x00node-3#abc node-4#"), Some(3));
    assert_eq!(number_in(b"souklink\0\x01\x09\x00node-"), None);
}
