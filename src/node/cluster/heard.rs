//! What comes to the driver, and must not be lost.

use tokio::sync::oneshot;

use super::calls::Stands;
use crate::cluster::protocol::messages::Input;
use crate::cluster::protocol::node::Protocol;
use crate::persistence::Slot;
use crate::persistence::membership::Tables;

/// What somebody wants to know, who brings the answer away himself.
pub type Look = Box<dyn FnOnce(&Protocol, &Tables) + Send>;

pub enum Heard {
    Input(Input),
    /// The store's answer to a claim, with how the slots stand that are this node's now.
    Claimed(Input, Vec<(Slot, Stands)>),
    /// The code of a call to the store has panicked.
    Panicked,
    /// The store's answer to a read, with the tables.
    Read(Input, Tables),
    /// Somebody looks at the protocol, and at the tables as they were read last.
    Look(Look),
    /// The node has drained, and all that it had to forward is done: it leaves the list, and says so.
    Leave(oneshot::Sender<()>),
}
