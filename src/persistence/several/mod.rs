//! A store made of stores: the slots are divided among several servers, for more than one can carry. Each slot's records,
//! receipts, indexes, owner and epoch lie on one of them; the node list and the wishes on the first. Which slot lies where
//! the first server says ([`super::postgres`] has that map). It is read when the store is opened, and again when it has
//! changed ([`places`]), for slots are moved between servers while they are served ([`moving`]).
//!
//! A batch is split by server, and what each says of its slots is put together. One that does not answer is its own slots'
//! concern: they are [`Refusal::Unavailable`] or [`Refusal::Unknown`], and everybody else's are written. Only where none of
//! the servers takes anything is it the store that is unavailable. A slot that is not where it is looked for, because it is
//! on its way or was moved, is like one whose server does not answer, until the map has been read again.
//!
//! Nothing is atomic over two servers, and nothing need be: the contract promises it of one slot only. A claim is judged
//! by the list on the first server and then made on the slots' own, so it sees every leave and every forgetting that was
//! answered before it was asked for, which is all that is promised. What keeps a slot safe is its epoch.
//!
//! While the first server is away no lease can be renewed, so it must be as safe as a store of one server is.

mod looks;
#[cfg(test)]
mod moved_tests;
pub mod moving;
mod opening;
mod places;
mod server;
mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;

use looks::{Looks, Seen};
pub use opening::{SeveralOptions, open};
use places::Places;
pub use server::Part;
use server::Server;

use super::decorator::{Appended, Handed};
use super::membership::SlotOwner;
use super::postgres::PlaceMap;
use super::{Batch, Epoch, Refusal, Slot, SlotHead, StoreError};

/// How long a server may take for its part of what several are asked for: the others' slots wait for it. Less than the lease.
const PATIENCE: Duration = Duration::from_secs(3);

/// The store. The first server is the head.
pub struct SeveralStore {
    servers: Vec<Server>,
    places: Places,
    /// Who owned each slot when it was read last: what is shown of those whose server does not answer.
    known: Mutex<Option<Vec<SlotOwner>>>,
    looks: Looks,
}

/// What a server says of the part of a batch that it was given.
struct Told<T> {
    server: usize,
    answer: Result<T, StoreError>,
}

impl SeveralStore {
    /// `numbers`: of each part; the map says by them which slots each has.
    pub fn new(parts: Vec<Arc<dyn Part>>, numbers: Vec<i32>, map: &PlaceMap) -> Result<SeveralStore, StoreError> {
        if map.servers.iter().any(|server| !numbers.contains(server)) {
            return Err(StoreError::Fatal("a slot lies on a server that is not named".to_owned()));
        }
        if parts.iter().any(|part| usize::from(part.slots()) != map.servers.len()) {
            return Err(StoreError::Fatal("the servers have not the same number of slots".to_owned()));
        }
        let servers: Vec<Server> = parts.into_iter().map(Server::new).collect();
        let (looks, places) = (Looks::new(servers.len()), Places::new(numbers, map));
        Ok(SeveralStore { servers, places, known: Mutex::new(None), looks })
    }

    fn head_server(&self) -> &Server {
        &self.servers[0]
    }

    fn server(&self, slot: Slot) -> Result<usize, StoreError> {
        let found = self.places.now().server(slot);
        if found.is_err() {
            self.places.doubt();
        }
        found
    }

    /// Where the slot is now, if that is elsewhere than where it was not.
    async fn elsewhere(&self, slot: Slot, before: Option<usize>) -> Option<&Server> {
        self.places.doubt();
        self.settle_doubts().await;
        let now = self.places.now().server(slot).ok().filter(|now| Some(*now) != before)?;
        self.servers.get(now)
    }

    /// Reads the map again, if a server has had no slot where the map says that it has.
    async fn settle_doubts(&self) {
        if self.places.is_to_be_read() {
            self.read_map().await;
        }
    }

    async fn read_map(&self) {
        let head = self.head_server();
        match head.read(head.part.map()).await {
            Ok(map) => self.places.take(&map),
            Err(error) => tracing::debug!(%error, "the map of the store's servers cannot be read now"),
        }
    }

    /// A batch by server, and the slots that no server has that is named.
    fn split(&self, batch: Batch) -> (BTreeMap<usize, Batch>, BTreeMap<Slot, Refusal>) {
        let Batch { owner, records, snapshots } = batch;
        let mut parts: BTreeMap<usize, Batch> = BTreeMap::new();
        let mut refused = BTreeMap::new();
        let part = || Batch { owner: owner.clone(), ..Batch::default() };
        for record in records {
            match self.server(record.slot) {
                Ok(server) => parts.entry(server).or_insert_with(part).records.push(record),
                Err(why) => drop(refused.insert(record.slot, Refusal::Unavailable(why.to_string()))),
            }
        }
        for snapshot in snapshots {
            if let Ok(server) = self.server(snapshot.slot) {
                parts.entry(server).or_insert_with(part).snapshots.push(snapshot);
            }
        }
        (parts, refused)
    }

    /// Asks several servers at once. Those that have not answered within [`PATIENCE`] are waited for no longer: nobody
    /// knows what becomes of what they were asked.
    async fn ask_each<T, F>(&self, asked: Vec<(usize, F)>) -> Vec<Told<T>>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
        T: Send,
    {
        let mut left: Vec<usize> = asked.iter().map(|(server, _)| *server).collect();
        let mut told = Vec::with_capacity(left.len());
        let mut pending: FuturesUnordered<_> = asked
            .into_iter()
            .map(|(server, work)| async move { Told { server, answer: self.servers[server].ask(work).await } })
            .collect();
        let impatience = tokio::time::sleep(PATIENCE);
        tokio::pin!(impatience);
        loop {
            tokio::select! {
                biased;
                next = pending.next() => match next {
                    Some(one) => {
                        left.retain(|server| *server != one.server);
                        told.push(one);
                    }
                    None => return told,
                },
                () = &mut impatience => break,
            }
        }
        drop(pending);
        for server in left {
            let why = format!("server {server} of the store has not answered for {} ms", PATIENCE.as_millis());
            self.servers[server].is_silent(&why);
            told.push(Told { server, answer: Err(StoreError::Unknown(why)) });
        }
        told
    }

    /// What the trouble of some servers is for their slots. `Err`: it is the store's, for all have it, or it is damage.
    fn troubles<T>(&self, told: &[Told<T>]) -> Result<Vec<(usize, Refusal)>, StoreError> {
        let mut troubles = Vec::new();
        let (mut unknown, mut unavailable) = (None, None);
        for Told { server, answer } in told {
            match answer {
                Ok(_) => {}
                Err(StoreError::Unavailable(why)) => {
                    troubles.push((*server, Refusal::Unavailable(why.clone())));
                    unavailable = Some(StoreError::Unavailable(why.clone()));
                }
                Err(StoreError::Unknown(why)) => {
                    troubles.push((*server, Refusal::Unknown(why.clone())));
                    unknown = Some(StoreError::Unknown(why.clone()));
                }
                Err(error @ (StoreError::Damaged(_) | StoreError::Fatal(_))) => return Err(error.clone()),
            }
        }
        if troubles.len() == self.servers.len()
            && let Some(error) = unknown.or(unavailable)
        {
            return Err(error);
        }
        Ok(troubles)
    }

    async fn append_parts(&self, batch: Batch) -> Appended {
        let (parts, unnamed) = self.split(batch);
        let of = |part: &Batch| part.records.iter().map(|record| record.slot).collect::<BTreeSet<Slot>>();
        let slots: BTreeMap<usize, BTreeSet<Slot>> = parts.iter().map(|(server, part)| (*server, of(part))).collect();
        let asking = parts.into_iter().map(|(server, batch)| {
            let part = self.servers[server].part.clone();
            (server, async move { part.append(batch).await })
        });
        let told = self.ask_each(asking.collect()).await;
        let mut refused: Vec<(Slot, Refusal)> = unnamed.into_iter().collect();
        for (server, refusal) in self.troubles(&told)? {
            refused.extend(slots[&server].iter().map(|slot| (*slot, refusal.clone())));
        }
        let answers = told.into_iter().filter_map(|told| told.answer.ok()).flatten();
        refused.extend(answers.inspect(|(_, refusal)| self.doubt(refusal)));
        refused.sort_by_key(|(slot, _)| *slot);
        Ok(refused)
    }

    /// A server that answers, and has not the slot.
    fn doubt(&self, refusal: &Refusal) {
        if matches!(refusal, Refusal::Unavailable(_)) {
            self.places.doubt();
        }
    }

    /// A change of owner, where the node may have the slots.
    async fn hand(
        &self,
        from: Option<&str>,
        to: &str,
        slots: &[(Slot, Epoch)],
        may_have: Result<(), Refusal>,
    ) -> Handed {
        self.settle_doubts().await;
        let count = self.places.now().len();
        let mut outcomes: Vec<Result<SlotHead, Refusal>> = Vec::with_capacity(slots.len());
        let mut asked: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, (slot, _)) in slots.iter().enumerate() {
            // Until it has its answer.
            outcomes.push(may_have.clone().and(Err(Refusal::Unknown("no answer".to_owned()))));
            if usize::from(*slot) >= count {
                outcomes[at] = Err(Refusal::Rejected(format!("the store has no slot {slot}")));
            } else if may_have.is_ok() {
                match self.server(*slot) {
                    Ok(server) => asked.entry(server).or_default().push(at),
                    Err(why) => outcomes[at] = Err(Refusal::Unavailable(why.to_string())),
                }
            }
        }
        let of_server = |places: &[usize]| places.iter().map(|at| slots[*at]).collect::<Vec<_>>();
        let asking = asked.iter().map(|(server, places)| {
            let (part, some) = (self.servers[*server].part.clone(), of_server(places));
            (*server, async move { part.hand(from, to, &some).await })
        });
        let told = self.ask_each(asking.collect()).await;
        let troubles = self.troubles(&told)?;
        for (server, answer) in told.into_iter().filter_map(|told| Some((told.server, told.answer.ok()?))) {
            answer.iter().filter_map(|outcome| outcome.as_ref().err()).for_each(|refusal| self.doubt(refusal));
            asked[&server].iter().zip(answer).for_each(|(at, outcome)| outcomes[*at] = outcome);
        }
        for (server, refusal) in troubles {
            asked[&server].iter().for_each(|at| outcomes[*at] = Err(refusal.clone()));
        }
        self.note(slots, &outcomes);
        Ok(outcomes)
    }

    /// Remembers what a change of owner has come to.
    fn note(&self, slots: &[(Slot, Epoch)], outcomes: &[Result<SlotHead, Refusal>]) {
        let mut known = self.known.lock();
        let Some(known) = &mut *known else { return };
        for ((slot, _), outcome) in slots.iter().zip(outcomes) {
            if let (Ok(head), Some(row)) = (outcome, known.get_mut(usize::from(*slot)))
                && head.epoch > row.epoch
            {
                *row = SlotOwner { owner: head.owner.as_deref().map(Into::into), epoch: head.epoch };
            }
        }
    }

    /// The table of all slots: of each the row of the server that has it, and what was known where that does not answer, or
    /// has no row because the slot is on its way. An error: a server does not answer, and its slots were never known.
    fn together(&self, head: Vec<SlotOwner>, mut seen: Vec<Seen>) -> Result<Vec<SlotOwner>, StoreError> {
        let map = self.places.now();
        let mut known = self.known.lock();
        let mut slots = vec![SlotOwner::default(); map.len()];
        seen.push(Seen { server: 0, owners: Ok(head), is_late: false });
        for Seen { server, owners, is_late } in seen {
            let rows = match (owners, &*known) {
                (Ok(rows), Some(known)) if is_late => newer_of_each(rows, known),
                (Ok(rows), _) => rows,
                (Err(_), Some(known)) => known.clone(),
                (Err(error), None) => return Err(error),
            };
            for (at, (row, slot)) in rows.into_iter().zip(&mut slots).enumerate() {
                if map.is_on(at, server) {
                    *slot = row;
                }
            }
        }
        if let Some(known) = &*known {
            let is_missing = |slot: &SlotOwner| *slot == SlotOwner::default();
            let missing = slots.iter_mut().zip(known).filter(|(slot, _)| is_missing(slot));
            missing.for_each(|(slot, known)| slot.clone_from(known));
        }
        *known = Some(slots.clone());
        Ok(slots)
    }
}

fn newer_of_each(found: Vec<SlotOwner>, known: &[SlotOwner]) -> Vec<SlotOwner> {
    let newer = |(found, known): (SlotOwner, &SlotOwner)| if known.epoch > found.epoch { known.clone() } else { found };
    found.into_iter().zip(known).map(newer).collect()
}
