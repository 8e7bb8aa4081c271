//! What a slot tells of itself, for whoever decides where slots live.

use crate::persistence::Epoch;

/// What a slot tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It takes messages.
    Opened,
    /// It serves at this epoch.
    Serves(Epoch),
    /// It is another node's. It takes nothing any more, and waits to be told to leave.
    IsAnothers { owner: String, epoch: Epoch },
}
