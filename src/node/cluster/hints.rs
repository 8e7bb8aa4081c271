//! What requests have met at other nodes: the protocol is to look soon. None of it is needed, for the tables say it too.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::cluster::NodeId;
use crate::cluster::protocol::messages::Input;
use crate::persistence::{Epoch, Slot};

/// Of each slot the newest is kept. So however many requests meet something, there are no more than slots.
#[derive(Default)]
pub struct Hints {
    newest: Mutex<BTreeMap<Slot, (Epoch, Option<NodeId>)>>,
    news: Notify,
}

impl Hints {
    /// A peer says, or knows, that the slot is at this epoch; and whose it is, where it has said so.
    pub fn saw(&self, slot: Slot, epoch: Epoch, owner: Option<NodeId>) {
        let mut newest = self.newest.lock();
        let known = newest.entry(slot).or_insert((0, None));
        if (epoch, owner.is_some()) > (known.0, known.1.is_some()) {
            *known = (epoch, owner);
        }
        drop(newest);
        self.news.notify_one();
    }

    /// All that there are, once there are any. Given up, it loses none.
    pub async fn next(&self) -> Vec<Input> {
        loop {
            let newest = std::mem::take(&mut *self.newest.lock());
            if !newest.is_empty() {
                let input = |(slot, (epoch, owner))| match owner {
                    Some(owner) => Input::SawOwner { slot, owner, epoch },
                    None => Input::SawEpoch { slot, epoch },
                };
                return newest.into_iter().map(input).collect();
            }
            self.news.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn of_each_slot_the_newest_is_told_once() {
        let hints = Hints::default();
        assert!(hints.next().now_or_never().is_none());
        for epoch in [4, 6, 5] {
            hints.saw(1, epoch, None);
        }
        hints.saw(2, 3, None);
        hints.saw(2, 3, Some(NodeId::of("b")));
        hints.saw(2, 3, None);
        let told =
            vec![Input::SawEpoch { slot: 1, epoch: 6 }, Input::SawOwner { slot: 2, owner: NodeId::of("b"), epoch: 3 }];
        assert_eq!(hints.next().await, told);
        assert!(hints.next().now_or_never().is_none());
    }
}
