//! The cluster's protocol: who is there, who should own which slot, how slots change hands, and where requests go. It is
//! sans-I/O: an input and the time go in, outputs come out, and nothing else happens. So whole clusters run in one test.
//!
//! **The store arbitrates, the nodes reconcile.** There is no coordinator. The store has a list of nodes, a table of slots
//! (owner, epoch) and the wishes of operators. Each node renews its lease, reads all three, computes the same [`plan`], and
//! does its own part of the difference: it *claims* free slots that the plan gives to it, and *moves* slots of its own that the
//! plan gives to others. Both are a compare-and-set on the slot's epoch. Nodes that see things differently for a moment collide
//! there, and nothing worse.
//!
//! Safety needs no message. Messages make planned moves fast; whatever is lost is found in the tables.
//!
//! ## Rules
//!
//! 1. A slot is served only at an epoch that was gained in the present *term* of the node's lease. A term ends when the lease
//!    lapses: then every slot is suspended, and claimed again by the epoch that is known before it serves anything.
//! 2. A lease counts from the *sending* of its renewal. Others wait for the whole lease from the *answer* that showed its
//!    counter first to the *asking* of the last; a gap in their own reads or renewals begins the count anew.
//! 3. A read shows the slots as they were *before* the nodes. A node that is back renews before it claims, so whoever sees the
//!    epoch that it raised also sees that it lives. And a slot is only claimed from a node that is lost where the same read has shown
//!    both.
//! 4. What the store has answered, or shown in a read that began after the last news of a slot, is certain; what a peer says is
//!    good for finding the way. Only what is certain is claimed.
//! 5. After an unknown outcome the slot serves nothing, whatever a peer says. The next read says whose it is; where it is this
//!    node's, it is claimed, so that what was unknown can never happen afterwards.
//!
//! ## Messages
//!
//! | message | from, to | what follows |
//! | --- | --- | --- |
//! | `Offer {slot, epoch}` | owner to receiver | `Accept` or `Decline`; the owner goes on serving |
//! | `Accept {slot, epoch, term}` | receiver to owner | the owner stops the slot, and transfers it |
//! | `Decline {slot, epoch}` | receiver to owner | the owner goes on, and tries again later |
//! | `Transferred {slot, epoch, term}` | former owner to owner | it starts the slot: at once in that term if the epoch is news, else by a claim |
//! | `Look` | anybody to all | each reads the tables soon |
//!
//! Requests and `NotOwner` travel on the link, and are judged by [`routing::judge`].
//!
//! ## Scenarios
//!
//! Each is a transcript in `tests/scripts/`.
//!
//! 1. *Unknown owner.* A request for a slot without a route is parked, bounded, until its deadline. The node reads the tables. A
//!    request that carries a higher epoch than the node knows waits for a read too. A wrong guess is passed on once, or answered
//!    `NotOwner`, which corrects the sender's map.
//! 2. *Hand-off.* Offer, accept; the owner stops the slot (its commits in flight settle, requests wait at the router), then
//!    transfers it by one compare-and-set, tells the receiver, and forwards what waited and what still comes. It is given up
//!    after a bound: the old owner goes on.
//! 3. *Node lost.* Its counter stands still. Each of the others that has watched it for the whole lease claims its own part, at
//!    once. Requests wait meanwhile.
//! 4. *Node paused.* When it goes on, the first thing that it sees is that its lease has lapsed. It suspends all, renews, and
//!    claims its slots by the epochs that it knows: what nobody took goes on in memory, the rest is dropped.
//! 5. *Store lost.* Nobody can renew, so all suspend; nobody can watch without a gap, so nobody is lost. When the store is back,
//!    each claims its own.
//! 6. *Node back, or new.* It may claim what is free at once. It is given slots for balance only when it has been alive for a while
//!    (`settle`), and a few at a time: a node that comes and goes costs claims, and no hand-offs.
//! 7. *Drain.* An operator's drain makes the plan give the node nothing; it gives all away and stays. A node that is told to stop
//!    does the same, and stops what nobody took by the time it is given. Then it has drained: it goes on as a member that owns
//!    nothing, for as long as it forwards for its clients. It leaves last: what is still in its name is free at once.
//! 8. *Link down.* Requests go by a third node, or wait. A node that most others cannot reach gives its slots away by transfers
//!    alone: the receivers find them in the table. Where it reaches none that is well it is cut off, and says so.
//!
//! ## Absent on purpose
//!
//! No election and no quorum: the store is the quorum. No gossip of the node list: the tables are read. No state of operators' wishes
//! in any node: they lie in the store. No memory of a slot that moves: its new owner loads what it is asked for. No clock, and no
//! request: the router has those.
//!
//! What a crash leaves: nothing of this is kept. The tables say what was done, and whoever reads them next goes on from there.
//!
//! Architecture invariant: nothing here waits, reads a clock, draws a number or knows the shop; `tests/tidy` holds it.

mod bytes;
mod claims;
pub mod commands;
pub mod handoff;
pub mod inspect;
pub mod leases;
pub mod membership;
pub mod messages;
mod moves;
pub mod node;
pub mod parking;
pub mod plan;
mod reads;
pub mod routing;
pub mod settings;
pub mod shares;
#[cfg(test)]
mod tests;
pub mod types;
