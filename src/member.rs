//! This process as the one node of a shared store: entered before it claims a slot, renewed while it serves,
//! left at the end.
//!
//! A node-local store has a lock file against a second process; a shared one has its node list. A process that
//! starts watches those who still own slots: one whose counter moves is alive, and the store is in use; one
//! whose counter stands still for the whole lease is gone, and its slots may be claimed. (Several nodes at once
//! are the cluster's affair.)
//!
//! What a crash leaves: a row that says `serving` and does not move. The next start waits the lease out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

use crate::cluster::{LEASE, Moment, NodeId, Ownership, Renewed};
use crate::persistence::membership::{NodeRow, NodeState, Store};
use crate::persistence::{Refusal, StoreError};

const RENEW_EVERY: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(250);
/// The version of events and messages that this program reads and writes.
const VERSION: u16 = 1;

pub struct Member {
    store: Arc<dyn Store>,
    row: NodeRow,
    pub lease: Arc<Renewed>,
}

impl Member {
    /// Waits until nobody else serves the store, and enters the node list.
    ///
    /// Errors: another node is alive; the store does not answer.
    pub async fn enter(store: Arc<dyn Store>, node: &NodeId, name: &str, http: &str) -> anyhow::Result<Member> {
        alone(&*store).await?;
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
            bail!("the store does not let this node in: {refusal}");
        }
        Ok(Member { store, row, lease: Arc::new(Renewed::new(sent)) })
    }

    /// Renews the lease for as long as it is polled. It ends with the reason why this node must stop: somebody
    /// else has taken its slots.
    pub async fn stay(&mut self, ownership: &Ownership) -> StoreError {
        loop {
            let sent = Moment::now();
            match self.renew(sent, ownership).await {
                Ok(()) => sleep(RENEW_EVERY).await,
                Err(error @ (StoreError::Fatal(_) | StoreError::Damaged(_))) => return error,
                Err(error) => {
                    tracing::warn!(%error, "the lease is not renewed");
                    sleep(AGAIN).await;
                }
            }
        }
    }

    async fn renew(&mut self, sent: Moment, ownership: &Ownership) -> Result<(), StoreError> {
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
        // While it had lapsed somebody may have taken slots, and what is in memory here may be old.
        if !crate::cluster::Lease::is_valid(&*self.lease) {
            self.still_own(ownership).await?;
        }
        self.lease.extend(sent);
        Ok(())
    }

    async fn still_own(&self, ownership: &Ownership) -> Result<(), StoreError> {
        let heads = self.store.heads().await?;
        let lost = heads.iter().enumerate().find(|(slot, head)| {
            ownership.epoch(*slot as u16).is_some() && head.owner.as_deref() != Some(self.row.id.as_str())
        });
        match lost {
            Some((slot, head)) => {
                let owner = head.owner.as_deref().unwrap_or("nobody");
                Err(taken(&format!("slot {slot} belongs to {owner}")))
            }
            None => Ok(()),
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

/// Waits until every node that owns slots has left, or its counter has stood still for the lease. A gap in our
/// own reading restarts the count.
async fn alone(store: &dyn Store) -> anyhow::Result<()> {
    let mut seen: HashMap<String, (u64, Instant)> = HashMap::new();
    loop {
        let reading = Instant::now();
        let heads = store.heads().await?;
        let nodes = store.nodes().await?;
        let owns = |row: &&NodeRow| heads.iter().any(|head| head.owner.as_deref() == Some(row.id.as_str()));
        let mut waits_for = None;
        for row in nodes.iter().filter(|row| row.state != NodeState::Left).filter(owns) {
            let (counter, since) = *seen.entry(row.id.clone()).or_insert((row.lease, reading));
            if counter != row.lease {
                bail!(
                    "the store is in use by node {} ({}): stop it first, one node at a time serves a shared store",
                    row.name,
                    row.id
                );
            }
            if since.elapsed() < LEASE {
                waits_for = Some(row);
            }
        }
        let Some(row) = waits_for else { return Ok(()) };
        tracing::info!(node.name = row.name, node.id = row.id, "watching whether a node is alive that has not left");
        sleep(RENEW_EVERY).await;
        if reading.elapsed() > LEASE {
            seen.clear();
        }
    }
}
