//! One connection, as the accept loop watches it: whether it is active, and a stream whose other end must take what is
//! written to it.
//!
//! A connection is active while one of its requests runs or an answer is being taken. A head that trickles in and an
//! answer that nobody reads do not count: such connections are closed first when places are needed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, Sleep};

/// A connection without activity for so long may be cut off when its place is needed.
const QUIET: Duration = Duration::from_secs(1);

/// Why idle connections must go, or need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressure {
    None,
    /// Nearly all places are taken.
    Crowded,
    /// The server stops: nobody will ask anything more.
    Stopping,
}

/// What a connection does.
#[derive(Debug, Default)]
pub struct Activity {
    /// Requests that run: one at most, since answers go out in order.
    running: AtomicUsize,
    /// Grows each time the other end takes something.
    steps: AtomicU64,
    /// Whether something that was written waits to be taken.
    full: AtomicBool,
    taken: Notify,
}

/// A request that runs, until it is dropped.
pub struct Running(Arc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.steps.fetch_add(1, Ordering::Relaxed);
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Activity {
    pub fn begin(self: &Arc<Activity>) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(self.clone())
    }

    /// Waits until the other end takes what was written. hyper answers requests that came in one go without
    /// asking whether anybody reads, and would keep all of the answers.
    pub async fn until_taken(&self) {
        while self.full.load(Ordering::Acquire) {
            self.taken.notified().await;
        }
    }

    /// Whether the other end has taken all that was written.
    pub fn is_taken(&self) -> bool {
        !self.full.load(Ordering::Acquire)
    }

    fn is_idle_since(&self, steps: u64) -> bool {
        self.running.load(Ordering::Relaxed) == 0 && self.steps.load(Ordering::Relaxed) == steps
    }

    /// Ends when there is pressure, and nothing has been going on for a moment.
    pub async fn must_go(&self, mut pressed: watch::Receiver<Pressure>) {
        loop {
            if pressed.wait_for(|pressure| *pressure != Pressure::None).await.is_err() {
                // The accept loop has ended: there will be no pressure any more.
                std::future::pending::<()>().await;
            }
            let steps = self.steps.load(Ordering::Relaxed);
            tokio::time::sleep(QUIET).await;
            if self.is_idle_since(steps) && *pressed.borrow() != Pressure::None {
                return;
            }
        }
    }
}

/// A connection whose other end must take what is written to it: no byte for the whole of `stall` ends
/// it. Reading needs no such thing: heads and bodies have their own times.
pub struct StallGuard<S> {
    stream: S,
    stall: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    activity: Arc<Activity>,
}

impl<S: AsyncWrite + Unpin> StallGuard<S> {
    pub fn new(stream: S, stall: Duration, activity: Arc<Activity>) -> StallGuard<S> {
        StallGuard { stream, stall, stalled: None, activity }
    }

    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match write(Pin::new(&mut self.stream), context) {
            Poll::Ready(done) => {
                self.stalled = None;
                self.activity.steps.fetch_add(1, Ordering::Relaxed);
                if self.activity.full.swap(false, Ordering::AcqRel) {
                    // A request may be just about to wait: the permit is kept for it.
                    self.activity.taken.notify_one();
                }
                Poll::Ready(done)
            }
            Poll::Pending => {
                self.activity.full.store(true, Ordering::Release);
                let stall = self.stall;
                let timer =
                    self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + stall)));
                timer.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StallGuard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StallGuard<S> {
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
    /// TCP has nothing to flush. hyper asks all the time, so this does not count as activity.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch(context, |stream, context| stream.poll_shutdown(context))
    }
}
