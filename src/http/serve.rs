//! The accept loop: connections from the listener to the router, with a limit on everything that a
//! client could do slowly or too often, and an orderly end.
//!
//! Architecture invariant: HTTP/1.1 only; TLS and HTTP/2 end at the proxy in front.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::context::Peer;
use super::{Edge, routes};

/// Heads this many times over the limit are not even read.
const CUT_OFF_FACTOR: usize = 4;
/// How long the loop rests when the system has no more file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// Serves until `shutdown`, then takes no more connections, finishes the requests that are running (for
/// the configured time at most) and returns.
pub async fn serve(listener: TcpListener, edge: Edge, shutdown: CancellationToken) {
    let router = routes::router(edge.clone());
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(edge.config.connection_limit));
    let http = builder(&edge);
    tokio::spawn(follow(edge.clone(), shutdown.clone()));
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        let stall = Duration::from_millis(edge.config.write_stall_ms);
        let io = TokioIo::new(Patient { stream, stall, stalled: None });
        let router = router.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            router.clone().call(request)
        });
        let connection = graceful.watch(http.serve_connection(io, service));
        let metrics = edge.metrics.clone();
        tokio::spawn(async move {
            metrics.http_connections.inc();
            if let Err(error) = connection.await {
                // A client that vanished, was too slow, or spoke no HTTP: its own affair.
                tracing::debug!(%error, "connection ended");
            }
            metrics.http_connections.dec();
            drop(place);
        });
    }
    edge.health.drain();
    drop(listener);
    let patience = Duration::from_millis(edge.config.drain_ms);
    if tokio::time::timeout(patience, graceful.shutdown()).await.is_err() {
        tracing::warn!(drain_ms = edge.config.drain_ms, "stopped with requests still running");
    }
}

/// Adapts how many requests run at once to how the node keeps up.
async fn follow(edge: Edge, shutdown: CancellationToken) {
    let limit = &edge.metrics.http_limit;
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = edge.admission.follow(|most| limit.set(i64::try_from(most).unwrap_or(i64::MAX))) => {}
    }
}

fn builder(edge: &Edge) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(edge.config.header_timeout_ms))
        // What is a little too large is read and refused with a problem; what is far too large is cut off.
        .max_header_size(CUT_OFF_FACTOR * edge.config.header_limit_bytes)
        // A head must fit into the buffer, and hyper wants it to have 8 KiB at least.
        .max_buf_size((CUT_OFF_FACTOR * edge.config.header_limit_bytes).max(64 * 1024))
        .pipeline_flush(true);
    http
}

/// The next connection, when there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, Peer, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => {
            // Answers are small and written at once: waiting to fill a packet would only delay them.
            let _ = stream.set_nodelay(true);
            Some((stream, Peer(address), place))
        }
        Err(error) => {
            tracing::warn!(%error, "cannot accept connections");
            tokio::time::sleep(ACCEPT_REST).await;
            None
        }
    }
}

/// A connection whose other end must take what is written to it: no byte for the whole of `stall` ends
/// it. Reading needs no such thing: heads and bodies have their own times.
struct Patient<S> {
    stream: S,
    stall: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncWrite + Unpin> Patient<S> {
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match write(Pin::new(&mut self.stream), context) {
            Poll::Ready(done) => {
                self.stalled = None;
                Poll::Ready(done)
            }
            Poll::Pending => {
                let stall = self.stall;
                let timer =
                    self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + stall)));
                timer.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.watch(context, |stream, context| stream.poll_write(context, bytes))
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.watch(context, |stream, context| stream.poll_write_vectored(context, slices))
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch(context, |stream, context| stream.poll_flush(context))
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch(context, |stream, context| stream.poll_shutdown(context))
    }
}
