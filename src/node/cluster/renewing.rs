//! Whether this node may renew its lease: while it does its work, or nobody could do it better.
//!
//! Where what it writes does not settle, another node may have a better way to the store. Where one of its slots is stuck,
//! another node can begin that slot anew: the node gives up all of them, for a slot that is stuck cannot be handed over. But
//! what a slot is stuck in may come with it, and then one node after the other would be lost. So a slot that came from a lost
//! node is no reason to be lost again for a while.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::actors::runtime::Progress;
use crate::persistence::Slot;

/// For so long a slot counts as one that came from a lost node.
const INHERITED_FOR: Duration = Duration::from_secs(600);

pub(super) struct Renewing {
    progress: Box<dyn FnMut() -> Progress + Send>,
    /// Slots that came from a lost node, and when.
    inherited: HashMap<Slot, Instant>,
    was_well: bool,
}

impl Renewing {
    pub fn new(progress: impl FnMut() -> Progress + Send + 'static) -> Renewing {
        Renewing { progress: Box::new(progress), inherited: HashMap::new(), was_well: true }
    }

    /// The slot comes from a node that is lost.
    pub fn inherit(&mut self, slot: Slot) {
        self.inherited.retain(|_, at| at.elapsed() < INHERITED_FOR);
        self.inherited.insert(slot, Instant::now());
    }

    /// `has_heirs`: whether another node could take this one's slots.
    pub fn may_renew(&mut self, has_heirs: impl FnOnce() -> bool) -> bool {
        let Progress { settles, stuck } = (self.progress)();
        let is_own = |slot: &&Slot| self.inherited.get(*slot).is_none_or(|at| at.elapsed() >= INHERITED_FOR);
        let stuck: Vec<&Slot> = stuck.iter().filter(is_own).collect();
        let is_well = settles && (stuck.is_empty() || !has_heirs());
        if std::mem::replace(&mut self.was_well, is_well) && !is_well {
            if settles {
                tracing::error!(?stuck, "the lease is not renewed: slots of this node are stuck");
            } else {
                tracing::error!("the lease is not renewed: what this node writes does not settle");
            }
        }
        is_well
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    struct Node {
        progress: Arc<Mutex<Progress>>,
        renewing: Renewing,
    }

    impl Node {
        fn new() -> Node {
            let progress = Arc::new(Mutex::new(Progress { settles: true, stuck: Vec::new() }));
            let told = progress.clone();
            Node { progress, renewing: Renewing::new(move || told.lock().clone()) }
        }

        fn may_renew(&mut self, settles: bool, stuck: &[Slot], has_heirs: bool) -> bool {
            *self.progress.lock() = Progress { settles, stuck: stuck.to_vec() };
            self.renewing.may_renew(|| has_heirs)
        }
    }

    #[test]
    fn a_node_that_does_not_do_its_work_lets_others_do_it() {
        let mut node = Node::new();
        assert!(node.may_renew(true, &[], true));
        assert!(!node.may_renew(false, &[], true) && !node.may_renew(false, &[], false), "nothing is done here");
        assert!(!node.may_renew(true, &[3], true), "a slot is stuck");
        assert!(node.may_renew(true, &[3], false), "nobody could take it, and the other slots are well");
        assert!(node.may_renew(true, &[], true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_that_cost_one_node_costs_no_second_one() {
        let mut node = Node::new();
        node.renewing.inherit(3);
        assert!(node.may_renew(true, &[3], true));
        assert!(!node.may_renew(true, &[3, 4], true), "another one");
        tokio::time::advance(INHERITED_FOR).await;
        assert!(!node.may_renew(true, &[3], true), "it has been well here for long");
    }
}
