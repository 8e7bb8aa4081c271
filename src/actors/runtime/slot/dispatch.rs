//! An owed request on its way.

use crate::actors::entity::Target;
use crate::persistence::{EntityKey, Slot};

#[derive(Clone)]
pub struct Dispatch {
    pub from: EntityKey,
    pub slot: Slot,
    pub generation: u64,
    pub number: u64,
    pub key: String,
    pub to: Target,
    /// How often it was answered without being settled.
    pub attempt: u32,
}
