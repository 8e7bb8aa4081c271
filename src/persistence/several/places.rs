//! Which slots lie on which of the servers that are named: the map of the first server, as this process has read it last.
//!
//! Slots may be moved to other servers meanwhile ([`super::moving`]). Nobody is told: the number of the map comes with the
//! tables that a node reads all the time, and a server that has a slot no more says so. An old map is never wrong in what
//! it lets happen, only in whom it asks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use super::super::postgres::PlaceMap;
use super::super::{Slot, StoreError};

/// How often the map is read at most because a server has not what was asked for.
const READ_EVERY: Duration = Duration::from_millis(100);

pub struct Places {
    /// Of each server its number.
    numbers: Vec<i32>,
    map: RwLock<Arc<Map>>,
    /// A server has not what was asked of it.
    is_doubted: AtomicBool,
    /// When the map was last read because of that.
    doubted: Mutex<Option<Instant>>,
}

/// As it was read.
pub struct Map {
    version: u64,
    /// Of each slot the server, by its place in the list.
    servers: Vec<Result<usize, Unnamed>>,
    unnamed: usize,
}

/// The number of a server that this process does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unnamed(i32);

impl Map {
    fn new(numbers: &[i32], map: &PlaceMap) -> Map {
        let place = |number: &i32| numbers.iter().position(|known| known == number).ok_or(Unnamed(*number));
        let servers: Vec<_> = map.servers.iter().map(place).collect();
        let unnamed = servers.iter().filter(|server| server.is_err()).count();
        Map { version: map.version, servers, unnamed }
    }

    /// How many slots lie on servers that are not named.
    pub fn unnamed(&self) -> usize {
        self.unnamed
    }

    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// Which server has the slot. What no server has the first one refuses as any store would.
    pub fn server(&self, slot: Slot) -> Result<usize, StoreError> {
        self.servers.get(usize::from(slot)).copied().unwrap_or(Ok(0)).map_err(|unnamed| unnamed.of(slot))
    }

    pub fn is_on(&self, slot: usize, server: usize) -> bool {
        self.servers.get(slot) == Some(&Ok(server))
    }

    /// The slots of servers that are not named.
    pub fn first_unnamed(&self) -> Option<StoreError> {
        (0..).zip(&self.servers).find_map(|(slot, server)| server.err().map(|unnamed| unnamed.of(slot)))
    }

    fn tell(&self) {
        let mut missing: BTreeMap<Unnamed, usize> = BTreeMap::new();
        self.servers.iter().filter_map(|server| server.err()).for_each(|one| *missing.entry(one).or_default() += 1);
        for (Unnamed(server), slots) in missing {
            // Add it to store.urls, and restart.
            tracing::error!(server, slots, "slots lie on a server of the store that is not named here");
        }
    }
}

impl Unnamed {
    fn of(self, slot: Slot) -> StoreError {
        let Unnamed(server) = self;
        StoreError::Unavailable(format!(
            "slot {slot} lies on server {server} of the store, not named here (store.urls)"
        ))
    }
}

impl Places {
    pub fn new(numbers: Vec<i32>, map: &PlaceMap) -> Places {
        let map = RwLock::new(Arc::new(Map::new(&numbers, map)));
        Places { numbers, map, is_doubted: AtomicBool::default(), doubted: Mutex::default() }
    }

    pub fn now(&self) -> Arc<Map> {
        self.map.read().clone()
    }

    /// Whether another map than this one is known to the first server.
    pub fn is_behind(&self, version: u64) -> bool {
        self.now().version < version
    }

    /// The map may be an old one.
    pub fn doubt(&self) {
        self.is_doubted.store(true, Ordering::Relaxed);
    }

    /// Whether the map is to be read again because of a doubt; whoever is told so reads it.
    pub fn is_to_be_read(&self) -> bool {
        if !self.is_doubted.load(Ordering::Relaxed) {
            return false;
        }
        let mut doubted = self.doubted.lock();
        let may = doubted.is_none_or(|at| at.elapsed() >= READ_EVERY);
        if may {
            self.is_doubted.store(false, Ordering::Relaxed);
            *doubted = Some(Instant::now());
        }
        may
    }

    /// Takes a map that was read, unless a later one was taken meanwhile.
    pub fn take(&self, read: &PlaceMap) {
        let map = Arc::new(Map::new(&self.numbers, read));
        let mut now = self.map.write();
        if map.version > now.version {
            tracing::info!(map.version, "slots of the store lie on other servers than before");
            map.tell();
            *now = map;
        }
    }
}
