//! Futures that are carried on by hand, one step at a time, when the scheduler says so.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A future, and whether it can go on.
pub struct Task<T> {
    future: Pin<Box<dyn Future<Output = T> + Send>>,
    awake: Arc<Flag>,
}

impl<T> Task<T> {
    pub fn new(future: impl Future<Output = T> + Send + 'static) -> Task<T> {
        Task { future: Box::pin(future), awake: Arc::new(Flag(AtomicBool::new(true))) }
    }
    pub fn is_awake(&self) -> bool {
        self.awake.0.load(Ordering::Relaxed)
    }
    /// Carries it on to where it waits next.
    pub fn step(&mut self) -> Option<T> {
        self.awake.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(self.awake.clone());
        match self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }
}

/// Lets others go first.
pub async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
