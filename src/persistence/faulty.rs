//! A journal that fails as told: a decorator around any other, for tests and the simulation. Faults are
//! set for the n-th call of a sort, or drawn from a seed; what went wrong, and when, is the same in every
//! run with the same seed and the same calls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::decorator::{Appended, Decorator, Handed};
use super::{
    Batch, EntityKey, Epoch, History, NodeRow, OwedRow, Record, Refusal, Slot, Store, StoreError, Subject, WakeRow,
    WishRow,
};

/// Sorts of calls, counted apart, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Append,
    /// A claim or a transfer.
    Claim,
    /// A change of the node list, or of a wish.
    Member,
    /// Every other call that asks the store.
    Read,
}

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written, and the caller is told so: [`StoreError::Unavailable`].
    FailBefore,
    /// An append is written, and the caller is told that it is not, against the contract. (Other calls: as `FailBefore`.)
    Denied,
    /// It is written, and the caller is told [`StoreError::Unknown`]. (A read: [`StoreError::Unavailable`].)
    FailAfter,
    /// It is not written, and the caller is told [`StoreError::Unknown`]. (A read as above.)
    Lost,
    /// Not written yet: the caller is told [`StoreError::Unknown`], and the append arrives when
    /// [`Faulty::deliver_late`] says so. (Other calls: as `Lost`.)
    Late,
    /// The answer takes its time: before the work is done, and after.
    Slow { before_ms: u64, after_ms: u64 },
    /// An append reaches the store twice; the caller gets the first answer. A store that takes any of it
    /// twice has failed: [`StoreError::Fatal`]. (Other calls: no fault.)
    Duplicate,
    /// Every slot of an append is refused as fenced, or every slot of a claim; nothing is written. (Other
    /// calls: no fault.)
    Fenced,
    /// [`StoreError::Damaged`]; nothing is written.
    Damaged,
    /// [`StoreError::Fatal`], for this call and all later ones.
    Fatal,
}

/// What of a slot's stored data may be damaged: every call that needs it fails with [`StoreError::Damaged`], and writes
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// What a claim needs.
    Head,
    /// What an append needs.
    Records,
    OwedIndex,
    WakeIndex,
}

/// How often a seeded journal fails, in thousandths of all calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    pub fail_before: u16,
    pub fail_after: u16,
    pub lost: u16,
    pub slow: u16,
    pub duplicate: u16,
    pub fenced: u16,
    /// The longest delay of a slow call, before and after the work each.
    pub slow_ms_max: u64,
}

/// The decorator.
pub struct Faulty<J> {
    inner: J,
    program: Mutex<Program>,
}

#[derive(Default)]
struct Program {
    planned: BTreeMap<(Call, u64), Fault>,
    random: Option<(u64, Rates)>,
    calls: BTreeMap<Call, u64>,
    /// What was injected: call, its number, fault.
    injected: Vec<(Call, u64, Fault)>,
    /// Appends that are still on their way.
    late: Vec<Batch>,
    damaged: BTreeSet<(Slot, Part)>,
    /// Loads that are on their way, and the most that were at once.
    loads: (usize, usize),
    dead: bool,
}

impl<J: Store> Faulty<J> {
    /// Without faults, until some are set.
    pub fn new(inner: J) -> Faulty<J> {
        Faulty { inner, program: Mutex::default() }
    }

    /// With faults drawn from a seed.
    pub fn seeded(inner: J, seed: u64, rates: Rates) -> Faulty<J> {
        let program = Program { random: Some((seed, rates)), ..Program::default() };
        Faulty { inner, program: Mutex::new(program) }
    }

    pub fn inner(&self) -> &J {
        &self.inner
    }

    /// Sets the fault of the `number`-th call of a sort, counted from 1 since the beginning.
    pub fn fail_at(&self, call: Call, number: u64, fault: Fault) {
        self.program.lock().planned.insert((call, number), fault);
    }

    /// Sets the fault of the next call of a sort.
    pub fn fail_next(&self, call: Call, fault: Fault) {
        let mut program = self.program.lock();
        let next = program.calls.get(&call).copied().unwrap_or_default() + 1;
        program.planned.insert((call, next), fault);
    }

    /// Damages what is stored of a slot.
    pub fn damage(&self, slot: Slot, part: Part) {
        self.program.lock().damaged.insert((slot, part));
    }

    /// Repairs everything.
    pub fn repair(&self) {
        self.program.lock().damaged.clear();
    }

    fn check(&self, slots: impl IntoIterator<Item = Slot>, part: Part) -> Result<(), StoreError> {
        let program = self.program.lock();
        match slots.into_iter().find(|slot| program.damaged.contains(&(*slot, part))) {
            Some(slot) => Err(StoreError::Damaged(format!("injected: slot {slot}"))),
            None => Ok(()),
        }
    }

    /// How many calls of a sort there were.
    pub fn calls(&self, call: Call) -> u64 {
        self.program.lock().calls.get(&call).copied().unwrap_or_default()
    }

    /// The most loads that were on their way at once.
    pub fn loads_at_once_max(&self) -> usize {
        self.program.lock().loads.1
    }

    /// What was injected so far: call, its number, fault.
    pub fn injected(&self) -> Vec<(Call, u64, Fault)> {
        self.program.lock().injected.clone()
    }

    /// The appends that were late arrive now, in their order; the answers that nobody waits for any more.
    pub async fn deliver_late(&self) -> Result<Vec<Vec<(Slot, Refusal)>>, StoreError> {
        let late = std::mem::take(&mut self.program.lock().late);
        let mut answers = Vec::with_capacity(late.len());
        for batch in late {
            answers.push(self.inner.append(batch).await?);
        }
        Ok(answers)
    }

    fn next_fault(&self, call: Call) -> Option<Fault> {
        self.program.lock().next(call)
    }

    /// A change of owner, with its fault.
    async fn hand(&self, slots: &[(Slot, Epoch)], work: impl Future<Output = Handed>) -> Handed {
        match self.next_fault(Call::Claim) {
            Some(Fault::Fenced) => {
                Ok(slots.iter().map(|(_, epoch)| Err(Refusal::Fenced { current: epoch + 1 })).collect())
            }
            fault => write(fault, work).await,
        }
    }
}

impl Program {
    fn next(&mut self, call: Call) -> Option<Fault> {
        if self.dead {
            return Some(Fault::Fatal);
        }
        let number = self.calls.entry(call).or_default();
        *number += 1;
        let number = *number;
        let fault = self.planned.remove(&(call, number)).or_else(|| self.draw())?;
        self.dead = fault == Fault::Fatal;
        self.injected.push((call, number, fault));
        Some(fault)
    }

    fn draw(&mut self) -> Option<Fault> {
        let (state, rates) = self.random.as_mut()?;
        let drawn = splitmix(state) % 1_000;
        let slow_ms = splitmix(state) % (rates.slow_ms_max + 1);
        let mut below = 0;
        for (rate, fault) in [
            (rates.fail_before, Fault::FailBefore),
            (rates.fail_after, Fault::FailAfter),
            (rates.lost, Fault::Lost),
            (rates.slow, Fault::Slow { before_ms: slow_ms, after_ms: rates.slow_ms_max - slow_ms }),
            (rates.duplicate, Fault::Duplicate),
            (rates.fenced, Fault::Fenced),
        ] {
            below += u64::from(rate);
            if drawn < below {
                return Some(fault);
            }
        }
        None
    }
}

/// The next number of a seeded sequence, the same on every machine.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("injected: nothing was done".to_owned())
}
fn unknown() -> StoreError {
    StoreError::Unknown("injected: the answer was lost".to_owned())
}
fn damaged() -> StoreError {
    StoreError::Damaged("injected".to_owned())
}
fn fatal() -> StoreError {
    StoreError::Fatal("injected: the store is gone".to_owned())
}

async fn pause(ms: u64) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

/// A write that is not delivered twice, with its fault.
async fn write<T>(fault: Option<Fault>, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match fault {
        None | Some(Fault::Duplicate | Fault::Fenced) => work.await,
        Some(Fault::FailBefore | Fault::Denied) => Err(unavailable()),
        Some(Fault::FailAfter) => work.await.and_then(|_| Err(unknown())),
        Some(Fault::Lost | Fault::Late) => Err(unknown()),
        Some(Fault::Slow { before_ms, after_ms }) => slowly(before_ms, after_ms, work).await,
        Some(Fault::Damaged) => Err(damaged()),
        Some(Fault::Fatal) => Err(fatal()),
    }
}

async fn slowly<T>(before_ms: u64, after_ms: u64, work: impl Future<Output = T>) -> T {
    pause(before_ms).await;
    let done = work.await;
    pause(after_ms).await;
    done
}

impl<J: Store> Decorator for Faulty<J> {
    type Inner = J;

    fn inner(&self) -> &J {
        &self.inner
    }

    async fn read<T: Send>(&self, work: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, StoreError> {
        match self.next_fault(Call::Read) {
            None | Some(Fault::Duplicate | Fault::Fenced) => work.await,
            Some(Fault::FailBefore | Fault::Denied | Fault::FailAfter | Fault::Lost | Fault::Late) => {
                Err(unavailable())
            }
            Some(Fault::Slow { before_ms, after_ms }) => slowly(before_ms, after_ms, work).await,
            Some(Fault::Damaged) => Err(damaged()),
            Some(Fault::Fatal) => Err(fatal()),
        }
    }

    async fn append(&self, batch: Batch) -> Appended {
        self.check(batch.records.iter().map(|record| record.slot), Part::Records)?;
        match self.next_fault(Call::Append) {
            None => self.inner.append(batch).await,
            Some(Fault::FailBefore) => Err(unavailable()),
            Some(Fault::Denied) => self.inner.append(batch).await.and_then(|_| Err(unavailable())),
            Some(Fault::FailAfter) => self.inner.append(batch).await.and_then(|_| Err(unknown())),
            Some(Fault::Lost) => Err(unknown()),
            Some(Fault::Late) => {
                self.program.lock().late.push(batch);
                Err(unknown())
            }
            Some(Fault::Slow { before_ms, after_ms }) => slowly(before_ms, after_ms, self.inner.append(batch)).await,
            Some(Fault::Duplicate) => {
                let mut slots: Vec<Slot> = batch.records.iter().map(|record| record.slot).collect();
                slots.sort_unstable();
                slots.dedup();
                let answer = self.inner.append(batch.clone()).await?;
                let again = self.inner.append(batch).await?;
                if again.len() == slots.len() {
                    Ok(answer)
                } else {
                    Err(StoreError::Fatal("the store took an append twice".to_owned()))
                }
            }
            Some(Fault::Fenced) => {
                let fenced = |record: &Arc<Record>| (record.slot, Refusal::Fenced { current: record.epoch + 1 });
                let slots: BTreeMap<Slot, Refusal> = batch.records.iter().map(fenced).collect();
                Ok(slots.into_iter().collect())
            }
            Some(Fault::Damaged) => Err(damaged()),
            Some(Fault::Fatal) => Err(fatal()),
        }
    }

    /// Never: what it knows without being asked cannot fail.
    fn has_nothing(&self, _: Slot, _: &EntityKey) -> bool {
        false
    }

    async fn load(&self, slot: Slot, key: &EntityKey) -> Result<History, StoreError> {
        {
            let (now, most) = &mut self.program.lock().loads;
            *now += 1;
            *most = (*most).max(*now);
        }
        let found = self.read(self.inner.load(slot, key)).await;
        self.program.lock().loads.0 -= 1;
        found
    }

    async fn owed(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<(EntityKey, OwedRow)>, StoreError> {
        self.check([slot], Part::OwedIndex)?;
        self.read(self.inner.owed(slot, after, limit)).await
    }

    async fn wakes(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<WakeRow>, StoreError> {
        self.check([slot], Part::WakeIndex)?;
        self.read(self.inner.wakes(slot, after, limit)).await
    }

    async fn claim(&self, owner: &str, slots: &[(Slot, Epoch)]) -> Handed {
        self.check(slots.iter().map(|(slot, _)| *slot), Part::Head)?;
        self.hand(slots, self.inner.claim(owner, slots)).await
    }

    async fn join(&self, node: &NodeRow) -> Result<Result<(), Refusal>, StoreError> {
        write(self.next_fault(Call::Member), self.inner.join(node)).await
    }

    async fn renew(&self, node: &NodeRow) -> Result<Result<u64, Refusal>, StoreError> {
        write(self.next_fault(Call::Member), self.inner.renew(node)).await
    }

    async fn leave(&self, id: &str) -> Result<Result<(), Refusal>, StoreError> {
        write(self.next_fault(Call::Member), self.inner.leave(id)).await
    }

    async fn forget(&self, id: &str, lease: u64) -> Result<Result<(), Refusal>, StoreError> {
        write(self.next_fault(Call::Member), self.inner.forget(id, lease)).await
    }

    async fn wish(&self, row: &WishRow) -> Result<Result<(), Refusal>, StoreError> {
        write(self.next_fault(Call::Member), self.inner.wish(row)).await
    }

    async fn unwish(&self, of: &Subject) -> Result<(), StoreError> {
        write(self.next_fault(Call::Member), self.inner.unwish(of)).await
    }

    async fn transfer(&self, from: &str, to: &str, slots: &[(Slot, Epoch)]) -> Handed {
        self.hand(slots, self.inner.transfer(from, to, slots)).await
    }
}
