//! What is durable, as the simulation itself knows it: every record is replayed, from the first on, into
//! a state of its own, and each of these states is kept. Everything that the node says is compared with it.

use std::collections::{BTreeMap, HashMap};

use souk::actors::entity::{Entity, Kind, Outcome, codec};
use souk::actors::kinds::Kinds;
use souk::actors::runtime::erased::{AnyState, Erased};
use souk::actors::values::Time;
use souk::persistence::{EntityKey, Epoch, OwedRow, Payload, Record, RequestBytes, Slot};

use crate::Broken;

/// An entity's whole past.
pub struct Past {
    state: Box<dyn AnyState>,
    pub version: u64,
    pub at_ms: i64,
    /// The stored form of the state at each version.
    states: Vec<Payload>,
    pub owed: Option<OwedRow>,
    pub wake_ms: Option<i64>,
    pub receipts: HashMap<RequestBytes, (u64, Payload)>,
}

/// The past of everything.
pub struct History {
    kinds: &'static Kinds,
    pasts: BTreeMap<EntityKey, Past>,
    heads: BTreeMap<Slot, u64>,
}

fn ensure(holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken { invariant, detail: detail() }) }
}

impl History {
    pub fn new(kinds: &'static Kinds) -> History {
        History { kinds, pasts: BTreeMap::new(), heads: BTreeMap::new() }
    }

    /// A record has become durable, when its slot was at `epoch`.
    pub fn note(&mut self, record: &Record, epoch: Epoch) -> Result<(), Broken> {
        let what = || format!("slot {} seq {} {}/{}", record.slot, record.seq, record.key.kind, record.key.id);
        let head = self.heads.entry(record.slot).or_default();
        ensure(record.seq == *head + 1, "a slot's sequence has no gaps", what)?;
        ensure(record.epoch == epoch, "no record is written under an epoch that is over", what)?;
        *head = record.seq;
        let Some(spec) = self.kinds.by_number(record.key.kind) else { return Ok(()) };
        let past = self.pasts.entry(record.key.clone()).or_insert_with(|| {
            let state = spec.fresh();
            let states = vec![state.snapshot()];
            Past { state, version: 0, at_ms: 0, states, owed: None, wake_ms: None, receipts: HashMap::new() }
        });
        let next = past.version + u64::from(!record.events.is_empty());
        ensure(record.version == next, "an entity's versions have no gaps", what)?;
        ensure(record.at_ms >= past.at_ms, "an entity's time never runs backwards", what)?;
        past.at_ms = record.at_ms;
        for event in &record.events {
            let replayed = past.state.replay(event, Time(record.at_ms));
            ensure(replayed.is_ok(), "every stored event can be read", || format!("{}: {replayed:?}", what()))?;
        }
        if next > past.version {
            past.version = next;
            past.states.push(past.state.snapshot());
        }
        if let Some(receipt) = &record.receipt {
            let before = past.receipts.insert(record.request, (record.version, receipt.outcome.clone()));
            ensure(before.is_none(), "a request is carried out once", || {
                format!("{}: request {:x?} has a second receipt", what(), record.request)
            })?;
        }
        let owed_from = past.owed.as_ref().map(|row| row.due_ms);
        let from_there = record.owed.as_ref().is_none_or(|change| change.before_due_ms == owed_from)
            && record.wake.is_none_or(|change| change.before_ms == past.wake_ms);
        ensure(from_there, "a change of an index starts from the row that is there", || {
            format!(
                "{}: {:?} and {:?}, there are {owed_from:?} and {:?}",
                what(),
                record.owed,
                record.wake,
                past.wake_ms
            )
        })?;
        if let Some(change) = &record.owed {
            past.owed = change.after.clone();
        }
        if let Some(change) = &record.wake {
            past.wake_ms = change.after_ms;
        }
        past.check(&what)
    }

    pub fn past(&self, key: &EntityKey) -> Option<&Past> {
        self.pasts.get(key)
    }
    pub fn version(&self, key: &EntityKey) -> u64 {
        self.pasts.get(key).map_or(0, |past| past.version)
    }
    pub fn keys(&self) -> impl Iterator<Item = &EntityKey> {
        self.pasts.keys()
    }
    pub fn pasts(&self) -> impl Iterator<Item = (&EntityKey, &Past)> {
        self.pasts.iter()
    }

    /// Every entity of a kind, by its id, as it is now.
    pub fn all<K: Kind>(&self) -> impl Iterator<Item = (K::Id, K::State)> {
        let of_kind = self.pasts.iter().filter(|(key, _)| key.kind == K::NUMBER);
        of_kind.filter_map(|(key, past)| Some((key.id.parse().ok()?, past.now::<K>()?)))
    }
    pub fn now<K: Kind>(&self, id: &K::Id) -> Option<K::State> {
        self.pasts.get(&key_of::<K>(id))?.now::<K>()
    }
}

impl Past {
    pub fn then<K: Kind>(&self, version: u64) -> Option<K::State> {
        codec::decode(&self.states.get(usize::try_from(version).ok()?)?.bytes).ok()
    }
    pub fn now<K: Kind>(&self) -> Option<K::State> {
        self.then::<K>(self.version)
    }
    pub fn stored(&self, version: u64) -> Option<&Payload> {
        self.states.get(usize::try_from(version).ok()?)
    }
    pub fn is_settled(&self) -> bool {
        self.state.settled()
    }
    pub fn json(&self) -> serde_json::Value {
        self.state.json()
    }

    /// What must hold of every state and its rows in the indexes.
    fn check(&self, what: &dyn Fn() -> String) -> Result<(), Broken> {
        if let Some(broken) = self.state.violations().first() {
            return Err(Broken { invariant: broken, detail: format!("{} {}", what(), self.state.json()) });
        }
        let owes: Vec<String> = self.state.owed().into_iter().map(|owed| owed.key).collect();
        let row: Vec<&String> = self.owed.iter().flat_map(|row| &row.items).map(|item| &item.key).collect();
        ensure(owes.iter().eq(row.iter().copied()), "what is owed is in the owed index", || {
            format!("{}: the state owes {owes:?}, the row has {row:?}", what())
        })?;
        let wants = self.state.wake_at().map(|at| at.0);
        let in_time = wants.is_none_or(|wants| self.wake_ms.is_some_and(|row| row <= wants));
        ensure(in_time, "a wake row may be early, never late", || {
            format!("{}: wants {wants:?}, the row says {:?}", what(), self.wake_ms)
        })
    }
}

pub fn key_of<K: Kind>(id: &K::Id) -> EntityKey {
    EntityKey { kind: K::NUMBER, id: id.to_string().into() }
}

/// What can be done with erased values of one kind.
pub struct KindOps {
    pub same_outcome: fn(&Erased, &Erased) -> bool,
    pub show_outcome: fn(&Erased) -> String,
    /// A refusal that is about the moment, of which no receipt is kept for a client.
    pub is_momentary: fn(&Erased) -> bool,
    pub state_bytes: fn(&Erased) -> Option<Vec<u8>>,
}

fn ops<K: Kind>() -> KindOps {
    KindOps {
        same_outcome: |a, b| match (a.downcast_ref::<Outcome<K>>(), b.downcast_ref::<Outcome<K>>()) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        },
        show_outcome: |outcome| format!("{:?}", outcome.downcast_ref::<Outcome<K>>()),
        is_momentary: |outcome| {
            outcome.downcast_ref::<Outcome<K>>().is_some_and(|outcome| outcome.as_ref().is_err_and(K::is_momentary))
        },
        state_bytes: |state| {
            let state = state.downcast_ref::<<K as Kind>::State>()?;
            Some(stored_state::<K>(state))
        },
    }
}

fn stored_state<K: Kind>(state: &K::State) -> Vec<u8> {
    let _: u16 = <K::State as Entity>::STATE_VERSION;
    codec::encode(state)
}

/// The operations of a kind by its number.
pub fn ops_of(kind: u8) -> KindOps {
    use souk::actors::*;
    match kind {
        1 => ops::<keyring::types::Keyring>(),
        2 => ops::<user::types::User>(),
        3 => ops::<login::types::Login>(),
        4 => ops::<session::types::Session>(),
        5 => ops::<customer::types::Customer>(),
        6 => ops::<categories::types::Categories>(),
        7 => ops::<slug::types::ProductSlug>(),
        8 => ops::<product::types::Product>(),
        9 => ops::<sku::types::StockUnit>(),
        10 => ops::<cart::types::Cart>(),
        11 => ops::<order::types::Order>(),
        12 => ops::<order_number::types::OrderNumber>(),
        13 => ops::<mock_charge::types::MockCharge>(),
        14 => ops::<audit::types::Audit>(),
        other => panic!("kind {other} has no operations in the simulation"),
    }
}
