//! SIGINT and SIGTERM: the first has the node stop, and the second ends the process at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What the process answers with that did not stop as it should.
const NOT_STOPPED: i32 = 1;

/// Cancelled when the process is told to stop. Heard from now on.
pub fn told_to_stop() -> anyhow::Result<CancellationToken> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let told = CancellationToken::new();
    let stop = told.clone();
    tokio::spawn(async move {
        for is_first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if is_first {
                stop.cancel();
            }
        }
        // What was acknowledged is durable: this is as a crash.
        tracing::error!("told to stop a second time: the process ends at once, and hands nothing over");
        std::process::exit(NOT_STOPPED);
    });
    Ok(told)
}
