//! How a start waits: for a store that does not answer yet, and no longer once the node is told to stop.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::persistence::StoreError;

/// How long a start bears a store that does not answer.
const FAILING_MAX: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(250);

/// The node was told to stop before it served. That is no failure.
#[derive(Debug, thiserror::Error)]
#[error("told to stop before it served")]
pub struct ToldToStop;

pub struct Patience {
    /// When the store has answered last, or the start began.
    answered: Instant,
    stop: CancellationToken,
}

impl Patience {
    pub fn until(stop: CancellationToken) -> Patience {
        Patience { answered: Instant::now(), stop }
    }

    /// Of a command: who has given it ends its process.
    pub fn of_a_command() -> Patience {
        Patience::until(CancellationToken::new())
    }

    /// The store has answered.
    pub fn answered(&mut self) {
        self.answered = Instant::now();
    }

    /// Waits a little for a store that may answer soon. Errors: it cannot, has not for long, or [`ToldToStop`].
    pub async fn bear(&self, error: StoreError) -> anyhow::Result<()> {
        match error {
            StoreError::Unavailable(_) | StoreError::Unknown(_) if self.answered.elapsed() < FAILING_MAX => {
                tracing::warn!(%error, "waiting for the store");
                Ok(self.pause(AGAIN).await?)
            }
            error => Err(error.into()),
        }
    }

    pub async fn pause(&self, time: Duration) -> Result<(), ToldToStop> {
        self.unless_told(sleep(time)).await
    }

    /// Does what may be given up at any moment.
    pub async fn unless_told<T>(&self, work: impl Future<Output = T>) -> Result<T, ToldToStop> {
        self.stop.run_until_cancelled(work).await.ok_or(ToldToStop)
    }

    pub fn check(&self) -> Result<(), ToldToStop> {
        if self.stop.is_cancelled() { Err(ToldToStop) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> StoreError {
        StoreError::Unavailable("it is away".into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_does_not_answer_is_borne_for_so_long_and_anew_once_it_has() {
        let mut patience = Patience::of_a_command();
        for _ in 0..2 {
            let began = Instant::now();
            while patience.bear(away()).await.is_ok() {}
            assert_eq!(began.elapsed(), FAILING_MAX);
            patience.answered();
        }
        assert!(patience.bear(StoreError::Fatal("no more".into())).await.is_err(), "of no use");
        assert!(patience.bear(away()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_who_is_told_to_stop() {
        let stop = CancellationToken::new();
        let patience = Patience::until(stop.clone());
        let (borne, ()) = tokio::join!(patience.bear(away()), async { stop.cancel() });
        assert!(borne.is_err_and(|why| why.is::<ToldToStop>()));
        assert!(patience.unless_told(std::future::pending::<()>()).await.is_err() && patience.check().is_err());
    }
}
