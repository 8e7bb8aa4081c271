//! One address for several nodes, as a load balancer gives them: each connection goes to the next node that takes it.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;

/// Lives as long as the process.
pub struct Entrance {
    pub url: String,
    behind: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Entrance {
    /// In front of the nodes at these URLs.
    pub fn before<'a>(urls: impl IntoIterator<Item = &'a str>) -> Entrance {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let behind = Arc::new(Mutex::new(addresses(urls)));
        let nodes = behind.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if let Some(node) = next(&nodes) {
                    thread::spawn(move || pass_on(client, node));
                }
            }
        });
        Entrance { url, behind }
    }

    /// Connections that are made from now on go to these. Those that there are stay.
    pub fn leads_to<'a>(&self, urls: impl IntoIterator<Item = &'a str>) {
        *self.behind.lock() = addresses(urls);
    }
}

fn addresses<'a>(urls: impl IntoIterator<Item = &'a str>) -> Vec<SocketAddr> {
    let address = |url: &str| url.strip_prefix("http://").and_then(|address| address.parse().ok());
    urls.into_iter().map(|url| address(url).unwrap_or_else(|| panic!("no address: {url:?}"))).collect()
}

/// A connection to the next node that takes one.
fn next(nodes: &Mutex<Vec<SocketAddr>>) -> Option<TcpStream> {
    let count = nodes.lock().len();
    (0..count).find_map(|_| {
        let address = {
            let mut nodes = nodes.lock();
            if !nodes.is_empty() {
                nodes.rotate_left(1);
            }
            *nodes.last()?
        };
        TcpStream::connect(address).ok()
    })
}

/// Until both sides have said all. Whoever ends its side ends that of the other.
fn pass_on(client: TcpStream, node: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    node.set_nodelay(true)?;
    let (mut asks, mut asked) = (client.try_clone()?, node.try_clone()?);
    let asking = thread::spawn(move || {
        let _ = io::copy(&mut asks, &mut asked); // it was cut off
        asked.shutdown(Shutdown::Write)
    });
    let (mut answers, mut answered) = (node, client);
    let _ = io::copy(&mut answers, &mut answered); // it was cut off
    let _ = answered.shutdown(Shutdown::Both);
    let _ = answers.shutdown(Shutdown::Both);
    drop(asking.join());
    Ok(())
}
