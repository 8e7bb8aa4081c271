//! Where things live: which slot an entity belongs to, and which slots this node owns.
//!
//! One node is a cluster of one: it owns every slot, but it claims them, carries their epochs and asks
//! its lease like any other, so that more nodes change nothing above this folder.
//!
//! Architecture invariant: nothing here knows the shop, and nothing here imports `persistence`.

mod lease;
pub mod link;
mod ownership;
pub mod protocol;
mod slots;

pub use lease::{LeaseTimes, Moment, Renewed};
pub use ownership::{Lease, NodeId, Ownership, SoleOwner};
pub use slots::slot_of;
