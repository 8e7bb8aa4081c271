//! Bodies on their way in. A body is read before its request is admitted: whoever sends slowly holds a
//! connection, and never one of the places for requests that run.
//!
//! Architecture invariant: the memory of bodies is bounded. The first bytes of each body are free, and the limit of
//! connections bounds them; the rest is taken from an allowance that all bodies share.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Http;
use crate::http::Edge;
use crate::http::answer::problem::{Code, Problem, Result};

/// The first bytes of every body are not counted. Nearly all bodies are smaller.
const FREE_BYTES: usize = 16 * 1024;
/// The allowance is given out in such pieces.
const PIECE_BYTES: usize = 4 * 1024;

/// The memory that large bodies share.
#[derive(Debug)]
pub struct Allowance(Arc<Semaphore>);

impl Allowance {
    pub fn new(config: &Http) -> Allowance {
        Allowance(Arc::new(Semaphore::new((config.bodies_max_bytes / PIECE_BYTES).min(Semaphore::MAX_PERMITS))))
    }
}

/// The memory that one body takes, until it is dropped.
#[derive(Debug, Default)]
pub struct BodyMemory(Option<OwnedSemaphorePermit>);

impl BodyMemory {
    fn fit(&mut self, allowance: &Allowance, bytes: usize) -> Result<()> {
        let needed = bytes.saturating_sub(FREE_BYTES).div_ceil(PIECE_BYTES);
        let more = needed.saturating_sub(self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
        let Ok(more @ 1..) = u32::try_from(more) else { return Ok(()) };
        let taken = allowance.0.clone().try_acquire_many_owned(more).map_err(|_| Problem::new(Code::Overloaded))?;
        match &mut self.0 {
            Some(held) => held.merge(taken),
            None => self.0 = Some(taken),
        }
        Ok(())
    }
}

/// The request with its whole body, and the memory that the body takes.
///
/// Errors: 413 for a body that is too large, 408 for one that is too slow, 400 for one that breaks off, 503
/// when there is no memory for it now.
pub async fn whole(edge: &Edge, request: Request) -> Result<(Request, BodyMemory)> {
    let (parts, body) = request.into_parts();
    let limit = edge.config.http.body_max_bytes;
    let announced =
        parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let patience = Duration::from_millis(edge.config.http.body_timeout_ms);
    if announced.is_some_and(|length| length > limit as u64) {
        // A client that sent `Expect` waits for a go-ahead: it gets the refusal instead, and there is no body to read.
        if !parts.headers.contains_key(header::EXPECT) {
            // A body that is too slow or breaks off gets the same answer.
            let _ = tokio::time::timeout(patience, pass_over(body)).await;
        }
        return Err(too_large(limit));
    }
    match tokio::time::timeout(patience, gather(&edge.bodies, body, limit)).await {
        Ok(gathered) => gathered.map(|(bytes, room)| (Request::from_parts(parts, Body::from(bytes)), room)),
        Err(_) => Err(Code::RequestTimeout.into()),
    }
}

/// Reads a body that is too large to its end and keeps nothing of it, because a client that still sends when the
/// connection is closed may never see the answer. A body beyond a second bound is cut off.
async fn pass_over(mut body: Body) {
    const PASSED_OVER_BYTES_MAX: usize = 8 << 20;
    let mut passed = 0;
    while let Some(Ok(frame)) = body.frame().await {
        passed += frame.data_ref().map_or(0, Bytes::len);
        if passed > PASSED_OVER_BYTES_MAX {
            return;
        }
    }
}

/// Gathers a body in one piece. The pieces as they came would each keep the whole buffer that they were read into.
async fn gather(allowance: &Allowance, mut body: Body, limit: usize) -> Result<(Bytes, BodyMemory)> {
    let mut bytes = Vec::new();
    let mut room = BodyMemory::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::new(Code::BadRequest).detail("The body broke off."))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            drop((bytes, room));
            pass_over(body).await;
            return Err(too_large(limit));
        }
        room.fit(allowance, bytes.len() + data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.into(), room))
}

/// Whether there is a body to wait for.
pub fn is_awaited(request: &Request) -> bool {
    !request.body().is_end_stream()
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Code::BodyTooLarge).detail(format!("A body has at most {limit} bytes."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn allowance(bytes: usize) -> Allowance {
        Allowance::new(&Http { bodies_max_bytes: bytes, ..Config::default().http })
    }

    #[tokio::test]
    async fn small_bodies_are_free_and_large_ones_share() {
        let allowance = allowance(64 * 1024);
        let body = |bytes: usize| Body::from(vec![b' '; bytes]);
        let (_, first) = gather(&allowance, body(70 * 1024), 1 << 20).await.expect("54 KiB of 64 are to be had");
        let refused = gather(&allowance, body(70 * 1024), 1 << 20).await.expect_err("not twice");
        assert_eq!(refused.code(), Code::Overloaded);
        for _ in 0..100 {
            gather(&allowance, body(FREE_BYTES), 1 << 20).await.expect("small ones always");
        }
        drop(first);
        gather(&allowance, body(70 * 1024), 1 << 20).await.expect("it was given back, by both");
    }

    #[tokio::test]
    async fn a_body_without_end_is_refused_at_its_limit() {
        let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 1024])));
        let refused = gather(&allowance(1 << 30), Body::from_stream(endless), 100 * 1024).await;
        assert_eq!(refused.expect_err("too large").code(), Code::BodyTooLarge);
    }
}
