//! This process as the one node of a shared store: entered before it serves a slot, renewed while it serves, left at
//! the end.
//!
//! A node-local store has a lock file against a second process; a shared one has its node list. A process that
//! starts watches those who still own slots: one whose counter moves is alive, and the store is in use; one
//! whose counter stands still for the whole lease is gone, and its slots may be claimed. (Several nodes at once
//! are the cluster's affair.)
//!
//! Several may start at once, or come back when somebody is about to take over. So who serves is decided by one
//! compare-and-set, on one slot, the [`GATE`]: it is claimed before all others, by the epoch that was seen while
//! nobody served. The one whose claim holds is the node; whoever fails begins to watch again, and sees it live.
//!
//! What a crash leaves: a row that says `serving` and does not move. The next start waits the lease out.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use futures::FutureExt;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::{LEASE, Lease, Moment, NodeId, Renewed};
use crate::persistence::membership::{NodeRow, NodeState, Store};
use crate::persistence::{Epoch, Refusal, Slot, SlotHead, StoreError};

#[cfg(test)]
mod tests;

const RENEW_EVERY: Duration = Duration::from_secs(1);
/// A renewal takes no longer, so that one that hangs does not cost the lease: another fits into it. (And no less: a store
/// that takes its time with each is no reason to stop.)
const RENEW_WITHIN: Duration = Duration::from_millis(1_500);
const AGAIN: Duration = Duration::from_millis(250);
/// A store that cannot be asked for so long is not watched without a break: the count begins anew.
const BREAK: Duration = Duration::from_millis(2_500);
/// How long a start bears a store that does not answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a start watches. A store that answers too slowly is never watched without a break.
const WATCH_MAX: Duration = Duration::from_secs(60);
/// The slot that decides who serves.
const GATE: Slot = 0;
/// The version of events and messages that this program reads and writes.
const VERSION: u16 = 1;

pub struct Member {
    pub node: NodeId,
    pub lease: Arc<Renewed>,
    store: Arc<dyn Store>,
    row: NodeRow,
}

impl Member {
    /// Waits until nobody else serves the store, enters the node list, and takes the gate.
    ///
    /// Errors: another node is alive; the store does not answer.
    pub async fn enter(store: Arc<dyn Store>, name: &str, http: &str) -> anyhow::Result<Member> {
        let mut failing_since = None;
        loop {
            let gate = alone(&*store).await?;
            match Member::try_enter(&store, name, http, gate).await {
                Ok(Some(member)) => return Ok(member),
                // Somebody was faster, and is seen alive in a moment.
                Ok(None) => failing_since = None,
                Err(error) => bear(error, *failing_since.get_or_insert_with(Instant::now))?,
            }
            sleep(AGAIN).await;
        }
    }

    async fn try_enter(
        store: &Arc<dyn Store>,
        name: &str,
        http: &str,
        gate: Epoch,
    ) -> Result<Option<Member>, StoreError> {
        let node = NodeId::incarnate(name);
        let row = NodeRow {
            id: node.as_str().to_owned(),
            name: name.to_owned(),
            http: http.to_owned(),
            link: String::new(),
            reads: (VERSION, VERSION),
            writes: VERSION,
            lease: 0,
            state: NodeState::Serving,
            unreachable: Vec::new(),
        };
        let sent = Moment::now();
        if let Err(refusal) = store.join(&row).await? {
            return Err(StoreError::Fatal(format!("the store does not let this node in: {refusal}")));
        }
        let member = Member { node, lease: Arc::new(Renewed::new(sent)), store: store.clone(), row };
        match member.take_gate(gate).await {
            Ok(true) => Ok(Some(member)),
            // Nobody is to watch a node that has given up.
            Ok(false) => {
                member.leave().await;
                Ok(None)
            }
            Err(error) => {
                member.leave().await;
                Err(error)
            }
        }
    }

    /// Whether the gate was at this epoch, and is this node's now.
    async fn take_gate(&self, epoch: Epoch) -> Result<bool, StoreError> {
        match self.store.claim(&self.row.id, &[(GATE, epoch)]).await?.pop() {
            Some(Ok(_)) => Ok(true),
            Some(Err(Refusal::Fenced { .. })) => Ok(false),
            Some(Err(refusal)) => Err(StoreError::Fatal(format!("slot {GATE} cannot be claimed: {refusal}"))),
            None => Err(StoreError::Unavailable("the store gave no answer to a claim".into())),
        }
    }

    /// Renews the lease while something is done that may take long.
    pub async fn meanwhile<T, E: From<StoreError>>(
        &mut self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::select! {
            done = work => done,
            why = self.stay(|| true) => Err(why.into()),
        }
    }

    /// Renews the lease for as long as it is polled and the node makes progress. It ends with the reason why this node
    /// must stop: somebody else has taken over.
    pub async fn stay(&mut self, makes_progress: impl Fn() -> bool) -> StoreError {
        let renewing = AssertUnwindSafe(self.renew_for_ever(makes_progress)).catch_unwind();
        renewing.await.unwrap_or_else(|_| StoreError::Fatal("what renews the lease has panicked".into()))
    }

    async fn renew_for_ever(&mut self, makes_progress: impl Fn() -> bool) -> StoreError {
        let slow = || StoreError::Unknown(format!("no answer for {} ms", RENEW_WITHIN.as_millis()));
        loop {
            if !makes_progress() {
                tracing::error!("the lease is not renewed: what this node writes does not settle");
                sleep(RENEW_EVERY).await;
                continue;
            }
            let sent = Moment::now();
            match timeout(RENEW_WITHIN, self.renew(sent)).await.unwrap_or_else(|_| Err(slow())) {
                Ok(()) => sleep(RENEW_EVERY).await,
                Err(error @ StoreError::Fatal(_)) => return error,
                // Nobody can take over either who cannot read the list. Once it is repaired this node goes on.
                Err(error @ StoreError::Damaged(_)) => {
                    tracing::error!(%error, "the lease is not renewed: the node list is damaged");
                    sleep(RENEW_EVERY).await;
                }
                Err(error @ (StoreError::Unavailable(_) | StoreError::Unknown(_))) => {
                    tracing::warn!(%error, "the lease is not renewed");
                    sleep(AGAIN).await;
                }
            }
        }
    }

    async fn renew(&mut self, sent: Moment) -> Result<(), StoreError> {
        match self.store.renew(&self.row).await? {
            Ok(counter) => self.row.lease = counter,
            // An earlier renewal, whose answer was lost, was made.
            Err(Refusal::Conflict(_)) => {
                let nodes = self.store.nodes().await?;
                let ours = nodes.into_iter().find(|row| row.id == self.row.id);
                self.row.lease = ours.ok_or_else(|| taken("the node list has lost this node"))?.lease;
                return Err(StoreError::Unavailable("the lease counter is another one".into()));
            }
            Err(refusal) => return Err(taken(&refusal.to_string())),
        }
        // Our own clock may not tell that the lease has lapsed (it stands still with a virtual machine), and the counter
        // is ours whoever serves: so the gate is looked at each time.
        let gate = self.own_gate().await?;
        if !self.lease.is_valid() {
            self.come_back(gate).await?;
        }
        self.lease.extend(sent);
        Ok(())
    }

    /// The gate's epoch, while it is this node's.
    async fn own_gate(&self) -> Result<Epoch, StoreError> {
        let gate = self.store.head(GATE).await?;
        match gate.owner {
            Some(owner) if owner == self.row.id => Ok(gate.epoch),
            Some(owner) => Err(taken(&format!("slot {GATE} belongs to {owner}"))),
            None => Err(taken(&format!("slot {GATE} belongs to nobody"))),
        }
    }

    /// While the lease had lapsed somebody may have taken over, and what is in memory here may be old. Whoever
    /// does takes the gate first; and raising its epoch undoes what somebody is about to do who has seen it as it
    /// was.
    async fn come_back(&self, gate: Epoch) -> Result<(), StoreError> {
        match self.take_gate(gate).await? {
            true => Ok(()),
            false => {
                Err(StoreError::Unavailable("somebody is taking over, or this node itself raised an epoch".into()))
            }
        }
    }

    /// Leaves the list: the next process need not wait. When it cannot be told, the lease runs out.
    pub async fn leave(self) {
        match self.store.leave(&self.row.id).await {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) => tracing::warn!(%refusal, "this node could not leave the list"),
            Err(error) => tracing::warn!(%error, "this node could not leave the list"),
        }
    }
}

fn taken(why: &str) -> StoreError {
    StoreError::Fatal(format!("another node has taken over: {why}"))
}

fn gate(heads: Vec<SlotHead>) -> SlotHead {
    heads.into_iter().nth(usize::from(GATE)).unwrap_or_default()
}

/// A start waits for a store that may answer soon.
fn bear(error: StoreError, failing_since: Instant) -> anyhow::Result<()> {
    match error {
        StoreError::Unavailable(_) | StoreError::Unknown(_) if failing_since.elapsed() < PATIENCE => {
            tracing::warn!(%error, "waiting for the store");
            Ok(())
        }
        error => Err(error).context("the store cannot be entered"),
    }
}

/// Waits until every node that owns slots has left, or its counter was seen to stand still for the lease: by two
/// readings and all between them, from the end of the first to the beginning of the last. The answer is the gate's
/// epoch as it was then.
pub async fn alone(store: &dyn Store) -> anyhow::Result<Epoch> {
    let mut seen: HashMap<String, (u64, Instant)> = HashMap::new();
    let mut answered = Instant::now();
    let began = answered;
    loop {
        let asked = Instant::now();
        let (heads, nodes) = match read(store).await {
            Ok(found) => found,
            Err(error) => {
                bear(error, answered)?;
                sleep(AGAIN).await;
                continue;
            }
        };
        // Who could not be asked could not renew either: that he stood still says nothing.
        if answered.elapsed() > BREAK {
            seen.clear();
        }
        answered = Instant::now();
        let owns = |row: &&NodeRow| heads.iter().any(|head| head.owner.as_deref() == Some(row.id.as_str()));
        let mut watched = None;
        for row in nodes.iter().filter(|row| row.state != NodeState::Left).filter(owns) {
            let (counter, since) = *seen.entry(row.id.clone()).or_insert((row.lease, answered));
            if counter != row.lease {
                bail!("the store is in use by node {} ({}): stop it first", row.name, row.id);
            }
            let left = LEASE.saturating_sub(asked.saturating_duration_since(since));
            if !left.is_zero() {
                watched = watched.max(Some((left, &row.name, &row.id)));
            }
        }
        let Some((left, name, id)) = watched else { return Ok(gate(heads).epoch) };
        if began.elapsed() > WATCH_MAX {
            bail!("the store answers too slowly to tell whether node {name} ({id}) is alive");
        }
        tracing::info!(node.name = name, node.id = id, "watching whether a node is alive that has not left");
        // From reading to reading no longer than a break, also when a reading takes its time.
        sleep(left.min(RENEW_EVERY.saturating_sub(asked.elapsed()).max(AGAIN))).await;
    }
}

async fn read(store: &dyn Store) -> Result<(Vec<SlotHead>, Vec<NodeRow>), StoreError> {
    Ok((store.heads().await?, store.nodes().await?))
}
