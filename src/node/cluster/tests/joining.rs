//! A node that does not come in.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::world::{SLOTS, join};
use crate::node::patience::{Patience, ToldToStop};
use crate::persistence::decorator::Decorator;
use crate::persistence::membership::{Membership, NodeRow, NodeState, Store};
use crate::persistence::memory::Memory;
use crate::persistence::{Refusal, StoreError};

/// It is told to stop just when it has entered the list.
struct StopsAtTheDoor(Memory, CancellationToken);

impl Decorator for StopsAtTheDoor {
    type Inner = Memory;

    fn inner(&self) -> &Memory {
        &self.0
    }
    async fn join(&self, node: &NodeRow) -> Result<Result<(), Refusal>, StoreError> {
        let joined = self.0.join(node).await;
        self.1.cancel();
        joined
    }
}

#[tokio::test]
async fn nobody_has_to_watch_a_node_that_is_told_to_stop_while_it_joins() {
    let stop = CancellationToken::new();
    let store: Arc<dyn Store> = Arc::new(StopsAtTheDoor(Memory::new(SLOTS), stop.clone()));
    let joined = join("a", &store, &Arc::default(), &mut Patience::until(stop)).await;
    assert!(joined.is_err_and(|why| why.is::<ToldToStop>()));
    let states: Vec<_> = Membership::nodes(&*store).await.expect("nodes").into_iter().map(|row| row.state).collect();
    assert_eq!(states, [NodeState::Left]);
}
