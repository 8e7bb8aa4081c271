//! What a handler says of its wait. The edge runs the handler and looks here whenever it has run (see `edge/waiting.rs`).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// Written by the handler, read by the edge.
#[derive(Debug, Default)]
pub struct WaitNotice {
    queued: AtomicBool,
    /// Set by a handler that waits for a decision and has an answer without it; cancelled to hear that answer.
    decision: OnceLock<CancellationToken>,
}

impl WaitNotice {
    /// From now on this request waits in a bounded queue of its own, and needs no place.
    pub fn waits_in_own_queue(&self) {
        self.queued.store(true, Ordering::Relaxed);
    }

    /// From now on this request waits for a decision. When the token is cancelled it is to answer with what is known.
    pub fn awaits_decision(&self) -> &CancellationToken {
        self.decision.get_or_init(CancellationToken::new)
    }

    pub fn is_in_own_queue(&self) -> bool {
        self.queued.load(Ordering::Relaxed)
    }

    pub fn is_awaiting_decision(&self) -> bool {
        self.decision.get().is_some()
    }

    /// Asks a handler that awaits a decision to answer with what is known. `false`: no handler awaits one.
    pub fn answer_with_what_is_known(&self) -> bool {
        self.decision.get().inspect(|decision| decision.cancel()).is_some()
    }
}
