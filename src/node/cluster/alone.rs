//! A node without a link cannot share the slots with another: it serves its store alone, or not at all.
//!
//! A node-local store has a lock file against a second process; a shared one has its node list. A process that
//! starts watches those who still own slots: one whose counter moves is alive, and the store is in use; one
//! whose counter stands still for the whole lease is gone, and its slots may be claimed. A node with a link does the same about
//! those that have none.
//!
//! Several may start at once, or come back when somebody is about to take over. So who serves alone is decided by one
//! compare-and-set, on one slot, the [`GATE`]: it is claimed before all others, by the epoch that was seen while
//! nobody served. The one whose claim holds is the node; whoever fails begins to watch again, and sees it live.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::Instant;

use crate::node::patience::Patience;
use crate::persistence::membership::{NodeRow, NodeState, Store};
use crate::persistence::{Epoch, Refusal, Slot, SlotHead, StoreError};

/// The slot that decides who serves alone.
pub const GATE: Slot = 0;
/// How often the tables are read.
const WATCH_EVERY: Duration = Duration::from_millis(500);
const AGAIN: Duration = Duration::from_millis(250);
/// How long a start watches. A store that answers too slowly is never watched without a break.
const WATCH_MAX: Duration = Duration::from_secs(60);

/// Another node serves the store.
#[derive(Debug, thiserror::Error)]
#[error("the store is in use by node {name} ({id}): stop it first")]
pub struct InUse {
    name: String,
    id: String,
}

/// Whether the gate was at this epoch, and is this node's now.
pub async fn take_gate(store: &dyn Store, id: &str, epoch: Epoch) -> Result<bool, StoreError> {
    match store.claim(id, &[(GATE, epoch)]).await?.pop() {
        Some(Ok(_)) => Ok(true),
        Some(Err(Refusal::Fenced { .. })) => Ok(false),
        Some(Err(Refusal::Unavailable(why))) => Err(StoreError::Unavailable(why)),
        Some(Err(Refusal::Unknown(why))) => Err(StoreError::Unknown(why)),
        Some(Err(refusal)) => Err(StoreError::Fatal(format!("slot {GATE} cannot be claimed: {refusal}"))),
        None => Err(StoreError::Unavailable("the store gave no answer to a claim".into())),
    }
}

fn gate(heads: Vec<SlotHead>) -> SlotHead {
    heads.into_iter().nth(usize::from(GATE)).unwrap_or_default()
}

/// Waits until every such node that owns slots has left, or its counter was seen to stand still for the lease: by two
/// readings and all between them, from the end of the first to the beginning of the last. The answer is the gate's
/// epoch as it was then. Errors: [`InUse`]; the store does not answer, or too slowly; the node is told to stop.
pub async fn alone(
    store: &dyn Store,
    lease: Duration,
    is_rival: impl Fn(&NodeRow) -> bool,
    patience: &mut Patience,
) -> anyhow::Result<Epoch> {
    let mut seen: HashMap<String, (u64, Instant)> = HashMap::new();
    let mut answered = Instant::now();
    let began = answered;
    loop {
        let asked = Instant::now();
        let (heads, nodes) = match patience.unless_told(read(store)).await? {
            Ok(found) => found,
            Err(error) => {
                patience.bear(error).await.context("the store cannot be entered")?;
                continue;
            }
        };
        patience.answered();
        // Who could not be asked could not renew either: that he stood still says nothing.
        if answered.elapsed() > lease / 2 {
            seen.clear();
        }
        answered = Instant::now();
        let owns = |row: &&NodeRow| heads.iter().any(|head| head.owner.as_deref() == Some(row.id.as_str()));
        let mut watched = None;
        for row in nodes.iter().filter(|row| row.state != NodeState::Left && is_rival(row)).filter(owns) {
            let (counter, since) = *seen.entry(row.id.clone()).or_insert((row.lease, answered));
            if counter != row.lease {
                return Err(InUse { name: row.name.clone(), id: row.id.clone() }.into());
            }
            let left = lease.saturating_sub(asked.saturating_duration_since(since));
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
        patience.pause(left.min(WATCH_EVERY.saturating_sub(asked.elapsed()).max(AGAIN))).await?;
    }
}

async fn read(store: &dyn Store) -> Result<(Vec<SlotHead>, Vec<NodeRow>), StoreError> {
    Ok((store.heads().await?, store.nodes().await?))
}
