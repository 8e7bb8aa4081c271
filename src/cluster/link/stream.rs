//! A connection to another node, plain or encrypted.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use ractor_cluster::{BoxRead, BoxWrite};
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// Frames are read by 8 KiB: a buffer makes of that fewer calls of the system.
const READ_BUFFER: usize = 64 * 1024;

/// What identifies a TLS connection to both of its ends; empty for a plain one.
#[derive(Default)]
pub struct Channel(Vec<u8>);

impl Channel {
    pub fn of(exported: [u8; 32]) -> Channel {
        Channel(exported.to_vec())
    }
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub fn tls(stream: TlsStream<TcpStream>) -> Stream {
        Stream::Tls(Box::new(stream))
    }

    /// Both directions. `heard` counts the bytes that come.
    pub fn halves(self, heard: Arc<AtomicU64>) -> (BoxRead, BoxWrite) {
        match self {
            Stream::Plain(stream) => {
                let (read, write) = stream.into_split();
                (metered(read, heard), Box::new(write))
            }
            Stream::Tls(stream) => {
                let (read, write) = tokio::io::split(*stream);
                (metered(read, heard), Box::new(write))
            }
        }
    }
}

fn metered(read: impl AsyncRead + Unpin + Send + 'static, heard: Arc<AtomicU64>) -> BoxRead {
    Box::new(BufReader::with_capacity(READ_BUFFER, Metered { read, heard }))
}

/// Counts what is read: a peer whose frame is under way for long is not silent.
struct Metered<R> {
    read: R,
    heard: Arc<AtomicU64>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Metered<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.read).poll_read(cx, buf);
        self.heard.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        polled
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
