//! What is asked of another node itself, and not of an entity: what it alone has in memory.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::actors::kinds::Kinds;
use crate::actors::runtime::counting::{Count, Counted};
use crate::actors::runtime::envelope::OwedStep;
use crate::actors::runtime::node_load::NodeLoad;
use crate::actors::runtime::overdue::{Overdue, OverdueList, Place};
use crate::actors::values::Time;
use crate::stored_enum;

stored_enum! {
    /// From a node, to the one that has it. A [`NodeAnswer`] follows.
    pub enum NodeQuestion {
        /// What its entities have owed since before a time, behind a place, the oldest first.
        (1, 1) => Overdue { before: Time, after: Option<Place>, limit: u32 },
        /// A counter that the asking node takes to be there.
        (2, 1) => Count(count: Count),
        /// How busy it is.
        (3, 1) since 2 => Load,
    }
}

stored_enum! {
    /// From the node that was asked. Nothing follows.
    pub enum NodeAnswer {
        /// The first of these steps, and how many there are in all.
        (1, 1) => Overdue { steps: Vec<StepThere>, total: u64 },
        (2, 1) => Counted(counted: Counted),
        (3, 1) since 2 => Load(load: NodeLoad),
    }
}

/// An [`Overdue`] between nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepThere {
    place: Place,
    kind: u8,
    id: Arc<str>,
    owed: OwedStep,
}

impl NodeAnswer {
    pub fn overdue(list: OverdueList, kinds: &Kinds) -> NodeAnswer {
        let step = |Overdue { place, kind, id, owed }| {
            Some(StepThere { place, kind: kinds.by_name(kind)?.number(), id, owed })
        };
        NodeAnswer::Overdue { steps: list.steps.into_iter().filter_map(step).collect(), total: list.total as u64 }
    }

    /// `None`: it answers something else. Steps of kinds that this node does not know are left out.
    pub fn into_overdue(self, kinds: &'static Kinds) -> Option<OverdueList> {
        let NodeAnswer::Overdue { steps, total } = self else { return None };
        let step = |StepThere { place, kind, id, owed }| {
            Some(Overdue { place, kind: kinds.by_number(kind)?.name(), id, owed })
        };
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        Some(OverdueList { steps: steps.into_iter().filter_map(step).collect(), total })
    }
}
