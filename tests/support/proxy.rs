//! A TCP proxy that loses things: what is said through it arrives, and what is answered may not.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to the next thing that is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Cut {
    Nothing,
    /// The next request does not arrive, and its connection is lost.
    Request,
    /// The next request arrives and is done, its answer does not, and its connection is lost.
    Answer,
}

pub struct Proxy {
    pub address: SocketAddr,
    port: Arc<AtomicU16>,
    shears: Arc<Shears>,
}

struct Shears {
    cut: AtomicU8,
    /// So many of what would be cut pass before.
    pass: AtomicUsize,
}

impl Shears {
    fn cut(&self, wanted: Cut) -> bool {
        if self.cut.load(Ordering::SeqCst) != wanted as u8 {
            return false;
        }
        let (set, get) = (Ordering::SeqCst, Ordering::SeqCst);
        if self.pass.fetch_update(set, get, |left| left.checked_sub(1)).is_ok() {
            return false;
        }
        self.cut.compare_exchange(wanted as u8, Cut::Nothing as u8, set, get).is_ok()
    }
}

impl Proxy {
    /// In front of a port of this machine.
    pub async fn before(port: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let shears = Arc::new(Shears { cut: AtomicU8::new(Cut::Nothing as u8), pass: AtomicUsize::new(0) });
        let (shared, port) = (shears.clone(), Arc::new(AtomicU16::new(port)));
        let behind = port.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", behind.load(Ordering::SeqCst))).await else {
                    continue;
                };
                let _ = client.set_nodelay(true).and(server.set_nodelay(true));
                tokio::spawn(forward(client, server, shared.clone()));
            }
        });
        Proxy { address, port, shears }
    }

    /// Connections that are made from now on go to another port. Those that there are stay.
    pub fn turn(&self, port: u16) {
        self.port.store(port, Ordering::SeqCst);
    }

    /// Once, and then nothing more.
    pub fn cut(&self, cut: Cut) {
        self.cut_after(0, cut);
    }

    /// Once, after so many of the same have passed.
    pub fn cut_after(&self, pass: usize, cut: Cut) {
        self.shears.pass.store(pass, Ordering::SeqCst);
        self.shears.cut.store(cut as u8, Ordering::SeqCst);
    }

    pub fn has_cut(&self) -> bool {
        self.shears.cut.load(Ordering::SeqCst) == Cut::Nothing as u8
    }
}

/// Ends when either side has, or something is cut: both connections are dropped then.
async fn forward(mut client: TcpStream, mut server: TcpStream, shears: Arc<Shears>) {
    let (mut said, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut was_said = false;
    loop {
        tokio::select! {
            read = client.read(&mut said) => match read {
                Ok(read) if read > 0 && !shears.cut(Cut::Request) => {
                    was_said = true;
                    if server.write_all(&said[..read]).await.is_err() { return }
                }
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                // The server answers a statement that commits by itself only when it is committed.
                Ok(read) if read > 0 && !(was_said && shears.cut(Cut::Answer)) => {
                    if client.write_all(&answered[..read]).await.is_err() { return }
                }
                _ => return,
            },
        }
    }
}
