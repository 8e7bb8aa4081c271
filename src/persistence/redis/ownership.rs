//! Who owns what: claims, transfers and the node list.
//!
//! The node list has a hash tag of its own, so that in a Redis Cluster no script sees both it and a slot.
//! So a claim reads the list first and compares the slot then: it sees every leave that was answered before
//! it was asked for, which is all that is promised. What keeps a slot safe is its epoch, not the list.

use async_trait::async_trait;
use redis::{Cmd, Value};

use super::RedisStore;
use super::connection::Trouble;
use super::keys;
use super::scripts::{self, Name};
use super::values::{bytes, list, number, text, time_of};
use crate::persistence::membership::NodeList;
use crate::persistence::{Epoch, Membership, NodeRow, Refusal, Slot, SlotHead, StoreError, Subject, Tables, WishRow};

/// How often a change of a node's row is tried while others change it too.
pub(super) const TRIES: usize = 64;

impl RedisStore {
    /// Gives slots that are at an epoch (and `from`'s) to `to`; each is one call of a script.
    pub(super) async fn hand(
        &self,
        from: Option<&str>,
        to: &str,
        slots: &[(Slot, Epoch)],
        may_have: Result<(), Refusal>,
    ) -> Result<Vec<Result<SlotHead, Refusal>>, StoreError> {
        let judged = |slot: Slot| {
            if slot < self.slots {
                may_have.clone()
            } else {
                Err(Refusal::Rejected(format!("the store has no slot {slot}")))
            }
        };
        let call = |(slot, epoch): &(Slot, Epoch)| {
            let mut hand = scripts::call(Name::Hand, 1);
            hand.arg(self.keys.group(keys::group_of(*slot))).arg(*slot).arg(*epoch).arg(to).arg(from.as_slice());
            hand
        };
        let calls: Vec<Cmd> = slots.iter().filter(|(slot, _)| judged(*slot).is_ok()).map(call).collect();
        let answers = if calls.is_empty() {
            Vec::new()
        } else {
            self.members.ask_all(&calls).await.map_err(Trouble::of_write)?
        };
        // One machine of several does not answer: that is no concern of the others' slots. Whoever claims one that is not
        // known claims it once more; whoever has given one away must look first.
        let is_partial = answers.iter().any(Result::is_ok);
        let mut answers = answers.into_iter();
        let mut handed = Vec::with_capacity(slots.len());
        for (slot, _) in slots {
            handed.push(match (judged(*slot), answers.as_slice().is_empty()) {
                (Err(refusal), _) => Err(refusal),
                (Ok(()), true) => return Err(StoreError::Unknown("an answer is missing".to_owned())),
                (Ok(()), false) => match answers.next() {
                    Some(Ok(answer)) => answer_of(*slot, to, answer)?,
                    Some(Err(Trouble::Refused(why))) if is_partial => Err(Refusal::Unavailable(why)),
                    Some(Err(Trouble::Lost(why))) if is_partial && from.is_none() => Err(Refusal::Unknown(why)),
                    // Others may have been taken.
                    Some(Err(trouble)) if slots.len() > 1 => return Err(StoreError::Unknown(format!("{trouble:?}"))),
                    Some(Err(trouble)) => return Err(trouble.of_write()),
                    None => return Err(StoreError::Unknown("an answer is missing".to_owned())),
                },
            });
        }
        Ok(handed)
    }

    /// What the list says of one node.
    pub(super) async fn known(&self, id: &str) -> Result<(NodeList, Vec<u8>), StoreError> {
        let (list, stored, _) = self.known_among(id).await?;
        Ok((list, stored))
    }

    /// The same, and how many rows the list has.
    pub(super) async fn known_among(&self, id: &str) -> Result<(NodeList, Vec<u8>, u64), StoreError> {
        let of_list = |name: &str| redis::cmd(name).arg(self.keys.nodes()).to_owned();
        let mut answers =
            self.members.read_all(&[of_list("HGET").arg(id).to_owned(), of_list("HLEN")]).await?.into_iter();
        let (row, count) = (answers.next().unwrap_or(Value::Nil), number(answers.next().unwrap_or(Value::Nil))?);
        match row {
            Value::Nil => Ok((NodeList::default(), Vec::new(), count)),
            row => {
                let stored = bytes(row)?;
                Ok((NodeList::of([decoded(&stored)?]), stored, count))
            }
        }
    }

    /// By a list of which one row was read.
    pub(super) async fn may_claim(&self, owner: &str) -> Result<Result<(), Refusal>, StoreError> {
        let (list, _, count) = self.known_among(owner).await?;
        Ok(if count == 0 { list.may_claim(owner) } else { list.member(owner).map(drop) })
    }

    /// Replaces a node's row by what `judge` makes of it, if nobody else has changed it meanwhile.
    async fn change(
        &self,
        id: &str,
        judge: impl Fn(&NodeList) -> Result<NodeRow, Refusal> + Send + Sync,
    ) -> Result<Result<NodeRow, Refusal>, StoreError> {
        for _ in 0..TRIES {
            let (list, stored) = self.known(id).await?;
            let row = match judge(&list) {
                Ok(row) => row,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let new = row.encode();
            if new == stored {
                return Ok(Ok(row));
            }
            let mut set = scripts::call(Name::Node, 1);
            set.arg(self.keys.nodes()).arg(id).arg(stored).arg(new);
            let answer = self.members.ask(set).await.map_err(Trouble::of_write)?;
            if number::<u8>(answer)? == 1 {
                return Ok(Ok(row));
            }
        }
        Err(StoreError::Unavailable(format!("the row of {id} does not stand still")))
    }
}

/// The rows of a list, by id.
pub(super) fn nodes_of(rows: Value) -> Result<Vec<NodeRow>, StoreError> {
    let rows = list(rows)?.into_iter().map(|row| decoded(&bytes(row)?)).collect::<Result<Vec<_>, _>>()?;
    Ok(NodeList::of(rows).rows())
}

fn decoded(stored: &[u8]) -> Result<NodeRow, StoreError> {
    NodeRow::decode(stored).map_err(|error| error.damaged_at("the node list"))
}

fn answer_of(slot: Slot, owner: &str, answer: Value) -> Result<Result<SlotHead, Refusal>, StoreError> {
    let mut answer = list(answer)?.into_iter();
    let mut next = || answer.next().unwrap_or(Value::Nil);
    match text(next())?.as_str() {
        "k" => {
            let (epoch, seq, time) = (number(next())?, number(next())?, bytes(next())?);
            let at_ms = time_of(&time)
                .ok_or_else(|| StoreError::Damaged(format!("the last record of slot {slot} has no time")))?;
            Ok(Ok(SlotHead { owner: Some(owner.to_owned()), epoch, seq, at_ms }))
        }
        "f" => Ok(Err(Refusal::Fenced { current: number(next())? })),
        _ => {
            let (head, other) = (number::<u64>(next())?, number::<u64>(next())?);
            let why = if head == other { "is not there" } else { "is too many" };
            Err(StoreError::Damaged(format!("slot {slot} should end with record {head}, and record {other} {why}")))
        }
    }
}

#[async_trait]
impl Membership for RedisStore {
    async fn join(&self, node: &NodeRow) -> Result<Result<(), Refusal>, StoreError> {
        Ok(self.change(&node.id, |list| list.joined(node)).await?.map(drop))
    }

    async fn renew(&self, node: &NodeRow) -> Result<Result<u64, Refusal>, StoreError> {
        Ok(self.change(&node.id, |list| list.renewed(node)).await?.map(|row| row.lease))
    }

    async fn leave(&self, id: &str) -> Result<Result<(), Refusal>, StoreError> {
        Ok(self.change(id, |list| list.left(id)).await?.map(drop))
    }

    async fn forget(&self, id: &str, lease: u64) -> Result<Result<(), Refusal>, StoreError> {
        self.forget_node(id, lease).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        nodes_of(self.members.read(redis::cmd("HVALS").arg(self.keys.nodes()).to_owned()).await?)
    }

    async fn wish(&self, row: &WishRow) -> Result<Result<(), Refusal>, StoreError> {
        self.put_wish(row).await
    }

    async fn unwish(&self, of: &Subject) -> Result<(), StoreError> {
        self.remove_wish(of).await
    }

    async fn wishes(&self) -> Result<Vec<WishRow>, StoreError> {
        self.all_wishes().await
    }

    async fn tables(&self) -> Result<Tables, StoreError> {
        self.all_tables().await
    }

    async fn transfer(
        &self,
        from: &str,
        to: &str,
        slots: &[(Slot, Epoch)],
    ) -> Result<Vec<Result<SlotHead, Refusal>>, StoreError> {
        let is_member = self.known(to).await?.0.member(to).map(drop);
        self.hand(Some(from), to, slots, is_member).await
    }
}
