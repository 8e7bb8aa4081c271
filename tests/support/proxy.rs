//! A TCP proxy that loses things: what is said through it arrives, and what is answered may not.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

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
    cut: Arc<AtomicU8>,
}

impl Proxy {
    /// In front of a port of this machine.
    pub async fn before(port: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let cut = Arc::new(AtomicU8::new(Cut::Nothing as u8));
        let shared = cut.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let _ = client.set_nodelay(true).and(server.set_nodelay(true));
                tokio::spawn(forward(client, server, shared.clone()));
            }
        });
        Proxy { address, cut }
    }

    /// Once, and then nothing more.
    pub fn cut(&self, cut: Cut) {
        self.cut.store(cut as u8, Ordering::SeqCst);
    }

    pub fn has_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst) == Cut::Nothing as u8
    }
}

/// Ends when either side has, or something is cut: both connections are dropped then.
async fn forward(mut client: TcpStream, mut server: TcpStream, cut: Arc<AtomicU8>) {
    let now = |wanted: Cut| {
        cut.compare_exchange(wanted as u8, Cut::Nothing as u8, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    };
    let (mut said, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut was_said = false;
    loop {
        tokio::select! {
            read = client.read(&mut said) => match read {
                Ok(read) if read > 0 && !now(Cut::Request) => {
                    was_said = true;
                    if server.write_all(&said[..read]).await.is_err() { return }
                }
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                // The server answers a statement that commits by itself only when it is committed.
                Ok(read) if read > 0 && !(was_said && now(Cut::Answer)) => {
                    if client.write_all(&answered[..read]).await.is_err() { return }
                }
                _ => return,
            },
        }
    }
}
