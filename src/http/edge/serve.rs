//! The accept loop: connections from the listener to the router, with a limit on everything that a
//! client could do slowly or too often, and an orderly end.
//!
//! An idle connection (see [`super::connection`]) stays open until its time is over. It is closed earlier when nearly
//! all places are taken or the server stops.
//!
//! Architecture invariant: HTTP/1.1 only; TLS and HTTP/2 end at the proxy in front.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
use axum::response::Response;
use futures::future::Either;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::connection::{Activity, Pressure, StallGuard};
use super::unparsed::RefusalWriter;
use super::{descriptors, spelling};
use crate::http::request::context::Peer;
use crate::http::{Edge, routes};

/// A head that is this many times over the limit is not read to its end: this is what a connection may keep in memory.
const CUT_OFF_FACTOR: usize = 2;
/// When less than this part of the places is free, idle connections must go.
const CROWDED_BELOW: usize = 16;
/// How long the loop rests when the system has no more file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// The bytes of unread answers that the kernel may keep for each connection. By default it keeps megabytes.
const SEND_BUFFER_BYTES: usize = 256 * 1024;

type Stream = TokioIo<RefusalWriter<StallGuard<TcpStream>>>;

/// Serves until `shutdown`, then takes no more connections, finishes the requests that are running (for
/// the configured time at most) and returns.
pub async fn serve(listener: TcpListener, edge: Edge, shutdown: CancellationToken) {
    let router = routes::router(edge.clone());
    // Accepted connections inherit the size from their listener.
    if let Err(error) = rustix::net::sockopt::set_socket_send_buffer_size(&listener, SEND_BUFFER_BYTES) {
        tracing::warn!(%error, "the kernel keeps as much of unread answers as it likes");
    }
    let limit = descriptors::connections(edge.config.http.connections_max);
    let places = Arc::new(Semaphore::new(limit));
    let (pressure, pressed) = watch::channel(Pressure::None);
    let http = builder(&edge);
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        let crowded = places.available_permits() <= limit / CROWDED_BELOW;
        press(&pressure, if crowded { Pressure::Crowded } else { Pressure::None });
        let activity = Arc::new(Activity::default());
        let stall = Duration::from_millis(edge.config.http.write_stall_ms);
        let stream = StallGuard::new(stream, stall, activity.clone());
        let io = TokioIo::new(RefusalWriter::new(stream, edge.metrics.clone()));
        let (router, health) = (router.clone(), edge.health.clone());
        let running = activity.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            if let Some(uri) = spelling::respelt(request.uri()) {
                *request.uri_mut() = uri;
            }
            let (activity, mut router, health) = (running.clone(), router.clone(), health.clone());
            async move {
                activity.until_taken().await;
                let running = activity.begin();
                let mut answer = router.call(request).await;
                drop(running);
                // While the node gives its slots away it serves on. Its clients go elsewhere meanwhile, each behind an answer:
                // so none of them asks something on a connection that is just being closed.
                if let Ok(answer) = &mut answer
                    && health.is_draining()
                {
                    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                answer
            }
        });
        let connection = http.serve_connection(io, service);
        let (metrics, pressed) = (edge.metrics.clone(), pressed.clone());
        tokio::spawn(async move {
            metrics.http_connections.inc();
            attend(connection, &activity, pressed).await;
            metrics.http_connections.dec();
            drop(place);
        });
    }
    edge.health.drain();
    edge.event_streams.end();
    drop(listener);
    press(&pressure, Pressure::Stopping);
    let patience = Duration::from_millis(edge.config.http.drain_ms);
    // Every connection has a place until it ends.
    let ended = places.acquire_many(u32::try_from(limit).unwrap_or(u32::MAX));
    if tokio::time::timeout(patience, ended).await.is_err() {
        tracing::warn!(drain_ms = edge.config.http.drain_ms, "stopped with requests still running");
    }
}

/// What is wanted of a connection while it runs.
enum Wanted {
    /// No request after the one that runs: the server stops.
    NoMore,
    /// Its place: nothing is going on.
    Place,
}

/// Runs a connection to its end; when the server stops, to the end of the request that runs.
async fn attend<S, F>(
    mut connection: http1::Connection<Stream, S>,
    activity: &Activity,
    mut pressed: watch::Receiver<Pressure>,
) where
    S: HttpService<Incoming, ResBody = Body, Error = Infallible, Future = F> + Unpin,
    F: Future<Output = Result<Response, Infallible>>,
{
    let place = activity.must_go(pressed.clone()).map(|()| Wanted::Place);
    let stopping = async move {
        if pressed.wait_for(|pressure| *pressure == Pressure::Stopping).await.is_err() {
            std::future::pending::<()>().await;
        }
        Wanted::NoMore
    };
    // These are looked at when they have something to say, and not with every byte that comes or goes.
    let mut wanted = FuturesUnordered::from_iter([Either::Left(place), Either::Right(stopping)]);
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut connection => break ended,
            Some(wanted) = wanted.next() => match wanted {
                Wanted::NoMore => std::pin::Pin::new(&mut connection).graceful_shutdown(),
                Wanted::Place => {
                    tracing::debug!("idle connection cut off");
                    return;
                }
            },
        }
    };
    let Err(error) = ended else { return };
    // The client vanished, was too slow, or did not speak HTTP.
    tracing::debug!(%error, "connection ended");
    // A client that has begun a head waits for an answer and gets one. A client that is idle has asked nothing.
    if error.is_timeout() && activity.is_taken() {
        let parts = connection.into_parts();
        if !parts.read_buf.is_empty() {
            let _ = parts.io.into_inner().too_late().await;
        }
    }
}

fn press(pressure: &watch::Sender<Pressure>, new: Pressure) {
    pressure.send_if_modified(|old| std::mem::replace(old, new) != new);
}

fn builder(edge: &Edge) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(edge.config.http.header_timeout_ms))
        // What is a little too large is read and refused with a problem; what is far too large is cut off.
        .max_header_size(CUT_OFF_FACTOR * edge.config.http.header_max_bytes)
        // A head must fit into the buffer, and hyper wants it to have 8 KiB at least.
        .max_buf_size((CUT_OFF_FACTOR * edge.config.http.header_max_bytes).max(64 * 1024))
        // Flushing what is pipelined in one go would gather all of the answers in memory before a byte is sent.
        .pipeline_flush(false);
    http
}

/// The next connection, when there is a place for it.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<(TcpStream, Peer, OwnedSemaphorePermit)> {
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
