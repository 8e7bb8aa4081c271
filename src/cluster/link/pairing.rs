//! Which connection between two nodes counts, without I/O. Both may connect at once, and one may connect anew because it has
//! lost what the other still believes in.
//!
//! Rules, by which both ends decide alike:
//!
//! 1. Of two connections that are being made at the same time, the one counts that the node with the lower id makes. (The
//!    other one waits a little before it connects, so that this is rare.)
//! 2. A node connects only when it has no link. So whoever connects although there is one has lost it, if it has known it: it
//!    names the number of the last link that it has lost. Where it names another, its connection was begun before the link was
//!    made, and the link stays.
//! 3. What a node has accepted and is not up yet gives way to a new connection of the same peer.

use std::collections::BTreeMap;

use super::super::ownership::NodeId;
use super::hello::Refusal;

/// A link, or a connection that becomes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What this node calls the connection.
    pub number: u64,
    /// What the peer calls it.
    pub theirs: u64,
    /// This node made the connection.
    pub is_dialed: bool,
    pub is_up: bool,
}

/// What a node knows of its connections.
pub struct Pairs {
    me: NodeId,
    standing: BTreeMap<NodeId, Standing>,
    /// Peers that this node is connecting to, and whether one has answered: it has not agreed to be linked yet.
    dialing: BTreeMap<NodeId, bool>,
    /// What each peer called the last link with it that this node has lost.
    lost: BTreeMap<NodeId, u64>,
}

/// So many peers that have gone are remembered at most.
const LOST_MAX: usize = 1_024;

impl Pairs {
    pub fn new(me: NodeId) -> Pairs {
        Pairs { me, standing: BTreeMap::new(), dialing: BTreeMap::new(), lost: BTreeMap::new() }
    }

    pub fn standing(&self, peer: &NodeId) -> Option<Standing> {
        self.standing.get(peer).copied()
    }

    /// This node begins to connect to the peer; false where there is no need.
    pub fn begin_dial(&mut self, peer: &NodeId) -> bool {
        if self.standing.contains_key(peer) {
            return false;
        }
        self.dialing.insert(peer.clone(), false);
        true
    }
    /// The peer has answered. What this node is to name as lost; nothing where its connection does not count any more.
    pub fn dial_answered(&mut self, peer: &NodeId) -> Result<u64, Refusal> {
        if self.standing.contains_key(peer) {
            return Err(Refusal::AlreadyLinked);
        }
        let answered = self.dialing.get_mut(peer).ok_or(Refusal::Yield)?;
        *answered = true;
        Ok(self.lost.get(peer).copied().unwrap_or(0))
    }
    /// The peer has agreed.
    pub fn dialed(&mut self, peer: &NodeId, number: u64, theirs: u64) -> Result<(), Refusal> {
        if self.dialing.remove(peer).is_none() || self.standing.contains_key(peer) {
            return Err(Refusal::Yield);
        }
        self.standing.insert(peer.clone(), Standing { number, theirs, is_dialed: true, is_up: false });
        Ok(())
    }
    pub fn end_dial(&mut self, peer: &NodeId) {
        self.dialing.remove(peer);
    }

    /// The peer has connected. Says which connection is to end for it, where one is.
    pub fn accept(
        &mut self,
        peer: &NodeId,
        number: u64,
        theirs: u64,
        previous: u64,
    ) -> Result<Option<Standing>, Refusal> {
        let replaced = match self.standing.get(peer) {
            Some(link) if link.is_up && previous != link.number => return Err(Refusal::AlreadyLinked),
            Some(link) if !link.is_up && link.is_dialed && previous != link.number => {
                return Err(Refusal::AlreadyLinked);
            }
            Some(link) => Some(*link),
            None => None,
        };
        if self.dialing.get(peer) == Some(&true) && self.me < *peer {
            return Err(Refusal::Yield);
        }
        self.dialing.remove(peer);
        self.standing.insert(peer.clone(), Standing { number, theirs, is_dialed: false, is_up: false });
        Ok(replaced)
    }

    /// Frames can be sent. False where the connection does not count any more.
    pub fn up(&mut self, peer: &NodeId, number: u64) -> bool {
        match self.standing.get_mut(peer).filter(|link| link.number == number) {
            Some(link) => {
                link.is_up = true;
                true
            }
            None => false,
        }
    }

    /// The connection has ended.
    pub fn ended(&mut self, peer: &NodeId, number: u64) {
        let Some(link) = self.standing.get(peer).copied().filter(|link| link.number == number) else { return };
        self.standing.remove(peer);
        while self.lost.len() >= LOST_MAX {
            self.lost.pop_first();
        }
        self.lost.insert(peer.clone(), link.theirs);
    }
}
