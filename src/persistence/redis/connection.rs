//! A connection, to one server or to a cluster, and what can go wrong on it.

use redis::aio::MultiplexedConnection;
use redis::cluster_async::ClusterConnection;

use crate::persistence::StoreError;

/// Why a command was not answered as hoped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It was not carried out, for certain.
    Refused(String),
    /// It may have been, may be, or not.
    Lost(String),
    /// The server has carried it out and says that it makes no sense.
    Failed(String),
    /// It was not sent: the server is not one that may be used.
    Unfit(String),
}

impl Trouble {
    /// For what changes nothing, or is asked again anyway.
    pub fn of_read(self) -> StoreError {
        match self {
            Trouble::Refused(why) | Trouble::Lost(why) | Trouble::Unfit(why) => StoreError::Unavailable(why),
            Trouble::Failed(why) => StoreError::Damaged(why),
        }
    }
    pub fn of_write(self) -> StoreError {
        match self {
            Trouble::Refused(why) | Trouble::Unfit(why) => StoreError::Unavailable(why),
            Trouble::Lost(why) => StoreError::Unknown(why),
            // A script does not roll back: what it did before, it did.
            Trouble::Failed(why) => StoreError::Fatal(why),
        }
    }
}

#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}
