//! Every time and every bound of the protocol.

use std::time::Duration;

use super::super::lease::LeaseTimes;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    /// The same on every node.
    pub lease: LeaseTimes,
    /// How often the lease is renewed.
    pub renew_every: Duration,
    /// How often the tables are read when nothing happens.
    pub read_every: Duration,
    /// The shortest time between two reads, however much happens.
    pub read_gap_min: Duration,
    /// A longer gap in one's own reads or renewals begins the count of other nodes' leases anew.
    pub gap_max: Duration,
    /// After a call that was not done.
    pub again: Duration,
    /// A node is given slots for balance once it has been seen alive for so long.
    pub settle: Duration,
    /// Most others must have found a node unreachable for so long before it is to give its slots away.
    pub isolated_after: Duration,
    /// How long an offer waits for its answer.
    pub offer_max: Duration,
    /// How long a slot may take to stop before its hand-off is given up.
    pub stop_max: Duration,
    /// How long a transfer that is not done is tried again before the hand-off is given up.
    pub transfer_max: Duration,
    /// A hand-off that was given up is not begun again before this.
    pub handoff_again: Duration,
    /// How many slots a node gives away at a time.
    pub moves_max: usize,
    /// How many slots a node lets others give to it at a time.
    pub takes_max: usize,
    /// How many slots are claimed in one call.
    pub claims_max: usize,
    /// The row of a node that is gone and owns nothing is deleted after this.
    pub forget_after: Duration,
}

impl Settings {
    /// Everything in proportion to the lease.
    pub fn of_lease(lease: Duration) -> Settings {
        Settings {
            lease: LeaseTimes { lease, margin: lease / 5 },
            renew_every: lease / 8,
            read_every: lease / 8,
            read_gap_min: Duration::from_millis(20),
            gap_max: lease / 2,
            again: lease / 20,
            settle: lease * 2,
            isolated_after: lease,
            offer_max: Duration::from_millis(500),
            stop_max: Duration::from_secs(2),
            transfer_max: Duration::from_secs(1),
            handoff_again: Duration::from_secs(1),
            moves_max: 8,
            takes_max: 64,
            claims_max: 4_096,
            forget_after: Duration::from_secs(3_600),
        }
    }
}
