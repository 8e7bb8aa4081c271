//! Carrying an append through. What holds is written by one call of a script; where something does not hold the
//! store is asked why, in the words of all stores, and what is left is sent again without it.

use std::collections::{BTreeMap, HashMap};

use redis::{Cmd, Value};
use tokio::time::Instant;

use super::connection::Trouble;
use super::keys::{self, Keys};
use super::link::Link;
use super::parts::{Call, Part, calls, parts};
use super::values::{bytes, head_of, list, number};
use crate::persistence::admission::{self, Held, Present};
use crate::persistence::{Batch, EntityKey, Refusal, Slot, SlotHead, StoreError};

/// How often something may have changed between asking why and sending what is left.
const TRIES: usize = 16;

/// What an append needs. It has a connection of its own.
pub(super) struct Appending {
    pub slots: Slot,
    pub keys: Keys,
    pub link: Link,
}

/// What became of a call. Of each, all or nothing is written.
enum Outcome {
    Written,
    /// Something is not as it must be.
    Otherwise,
    /// The server that has it would not.
    Refused(String),
}

/// A slot, as far as a part of a batch is concerned.
struct Known {
    slot: Slot,
    head: SlotHead,
    versions: HashMap<EntityKey, u64>,
}

impl Present for Known {
    fn slot(&self, slot: Slot) -> Option<Held<'_>> {
        let SlotHead { owner, epoch, seq, .. } = &self.head;
        (slot == self.slot).then_some(Held { owner: owner.as_deref(), epoch: *epoch, seq: *seq })
    }
    fn version(&mut self, key: &EntityKey) -> Result<u64, StoreError> {
        Ok(self.versions.get(key).copied().unwrap_or_default())
    }
}

impl Appending {
    pub async fn append(&self, batch: Batch) -> Result<Vec<(Slot, Refusal)>, StoreError> {
        let owner = batch.owner.clone();
        let mut refused: BTreeMap<Slot, Refusal> = BTreeMap::new();
        let mut has_written = false;
        let mut left = parts(batch);
        left.retain(|part| {
            if part.slot >= self.slots && !part.records.is_empty() {
                refused.insert(part.slot, Refusal::Rejected(format!("the store has no slot {}", part.slot)));
            }
            part.slot < self.slots
        });
        for _ in 0..TRIES {
            if left.is_empty() {
                return Ok(refused.into_iter().collect());
            }
            let is_cluster = self.link.is_cluster().await.map_err(Trouble::of_write).map_err(so_far(has_written))?;
            let calls = calls(std::mem::take(&mut left), is_cluster);
            let outcomes = self.send(&owner, &calls, is_cluster).await.map_err(so_far(has_written))?;
            let mut unavailable = None;
            for (call, outcome) in calls.into_iter().zip(outcomes) {
                match outcome {
                    Outcome::Written => has_written = true,
                    Outcome::Otherwise => left.extend(call.parts),
                    // One machine of several would not: its slots are refused, and the others' are written.
                    Outcome::Refused(why) => {
                        let refusal = Refusal::Unavailable(why.clone());
                        refused.extend(call.slots().map(|slot| (slot, refusal.clone())));
                        unavailable = Some(why);
                    }
                }
            }
            if let Some(why) = unavailable.filter(|_| !has_written && left.is_empty()) {
                return Err(StoreError::Unavailable(why));
            }
            left = self.admitted(&owner, left, &mut refused).await.map_err(so_far(has_written))?;
        }
        Err(so_far(has_written)(StoreError::Unavailable("the slots do not stand still".to_owned())))
    }

    /// Sends calls. One whose answer is lost is sent again, once: its first record that is there says that it was
    /// written. Where it is not, it may still come, and nobody knows.
    async fn send(&self, owner: &str, calls: &[Call], is_cluster: bool) -> Result<Vec<Outcome>, StoreError> {
        let commands: Vec<Option<Cmd>> = calls.iter().map(|call| call.command(owner, &self.keys, is_cluster)).collect();
        let sound: Vec<Cmd> = commands.iter().flatten().cloned().collect();
        if sound.is_empty() {
            return Ok(calls.iter().map(|_| Outcome::Otherwise).collect());
        }
        let sent = Instant::now();
        let mut answers = match self.link.ask_all(&sound).await {
            Ok(answers) => answers,
            Err(Trouble::Lost(why)) => vec![Err(Trouble::Lost(why)); sound.len()],
            Err(trouble) => return Err(trouble.of_write()),
        }
        .into_iter();
        let mut outcomes = Vec::with_capacity(calls.len());
        for (call, command) in calls.iter().zip(commands) {
            let Some(command) = command else {
                outcomes.push(Outcome::Otherwise);
                continue;
            };
            outcomes.push(match answers.next() {
                Some(Ok(answer)) if number::<u8>(answer.clone())? == 1 => Outcome::Written,
                // A Cluster's client sends again by itself, without a word: what does not fit any more, or is
                // refused now, may be so because it was written the first time.
                Some(Ok(_) | Err(Trouble::Refused(_))) if is_cluster && self.was_written(call).await? => {
                    Outcome::Written
                }
                Some(Ok(_)) => Outcome::Otherwise,
                Some(Err(Trouble::Refused(why))) => Outcome::Refused(why),
                Some(Err(Trouble::Lost(why))) if sent.elapsed() < self.link.patience() => {
                    self.send_again(call, command).await.then_some(Outcome::Written).ok_or(StoreError::Unknown(why))?
                }
                Some(Err(trouble)) => return Err(trouble.of_write()),
                None => return Err(StoreError::Unknown("an answer is missing".to_owned())),
            });
        }
        Ok(outcomes)
    }

    /// Whether a call is certainly written now.
    async fn send_again(&self, call: &Call, command: Cmd) -> bool {
        match self.link.ask(command).await {
            Ok(answer) if number::<u8>(answer.clone()).is_ok_and(|written| written == 1) => true,
            Ok(_) => self.has(call).await.unwrap_or(false),
            Err(_) => false,
        }
    }

    /// Whether a call that has no good answer was written all the same.
    async fn was_written(&self, call: &Call) -> Result<bool, StoreError> {
        self.has(call).await.map_err(|error| StoreError::Unknown(error.to_string()))
    }

    /// Whether the records of a call are there: as bytes, for others may have the same sequence.
    async fn has(&self, call: &Call) -> Result<bool, StoreError> {
        let first = |part: &Part| {
            let record = part.records.first()?;
            let mut get = redis::cmd("HGET");
            get.arg(self.keys.group(keys::group_of(part.slot))).arg(keys::record_field(part.slot, record.seq));
            Some((get, record.encode()))
        };
        let (commands, records): (Vec<Cmd>, Vec<Vec<u8>>) = call.parts.iter().filter_map(first).unzip();
        if commands.is_empty() {
            return Ok(false); // snapshots alone: to write them again does no harm
        }
        let found = self.link.read_all(&commands).await?;
        Ok(found.into_iter().zip(records).all(|(found, record)| found == Value::BulkString(record)))
    }

    /// Judges what was not written by what the store has now. What is refused goes; the rest is to be sent again.
    async fn admitted(
        &self,
        owner: &std::sync::Arc<str>,
        left: Vec<Part>,
        refused: &mut BTreeMap<Slot, Refusal>,
    ) -> Result<Vec<Part>, StoreError> {
        let ask = |part: &Part| {
            let mut get = redis::cmd("HMGET");
            get.arg(self.keys.group(keys::group_of(part.slot))).arg(keys::head_field(part.slot));
            part.records.iter().for_each(|record| {
                get.arg(keys::version_field(part.slot, &record.key));
            });
            get
        };
        let commands: Vec<Cmd> = left.iter().map(ask).collect();
        let answers = if commands.is_empty() { Vec::new() } else { self.link.read_all(&commands).await? };
        let mut admitted = Vec::with_capacity(left.len());
        for (part, answer) in left.into_iter().zip(answers) {
            let mut values = list(answer)?.into_iter();
            let head = match values.next() {
                None | Some(Value::Nil) => SlotHead::default(),
                Some(head) => head_of(&bytes(head)?, &[])?,
            };
            let mut known = Known { slot: part.slot, head, versions: HashMap::new() };
            for (record, version) in part.records.iter().zip(values) {
                known.versions.insert(record.key.clone(), number(version)?);
            }
            let batch = Batch { owner: owner.clone(), records: part.records, snapshots: part.snapshots };
            let judged = admission::admit(batch, &mut known)?;
            refused.extend(judged.refusals);
            if !judged.records.is_empty() || !judged.snapshots.is_empty() {
                admitted.push(Part { slot: part.slot, records: judged.records, snapshots: judged.snapshots });
            }
        }
        Ok(admitted)
    }
}

/// After something was written, not to get further means that the outcome is unknown.
fn so_far(has_written: bool) -> impl Fn(StoreError) -> StoreError {
    move |error| match error {
        StoreError::Unavailable(why) if has_written => StoreError::Unknown(why),
        other => other,
    }
}
