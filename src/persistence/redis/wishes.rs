//! The wishes of operators, the forgetting of nodes, and the one read of all that a node of a cluster plans with.
//!
//! The node list and the wishes lie on one machine, the slots on others. So a node is forgotten in two steps: its row is
//! read, then the slots, and the row goes if it is still the same. A node that left before owns no more than the slots
//! say; one that claims meanwhile, without renewing first, is in no list and owns a slot.

use redis::{Cmd, Value};

use super::RedisStore;
use super::connection::Trouble;
use super::keys::{self, GROUPS};
use super::ownership::{TRIES, nodes_of};
use super::scripts::{self, Name};
use super::values::{bytes, head_of, list, number};
use crate::persistence::membership::{Names, SlotOwner, WishList};
use crate::persistence::{Refusal, StoreError, Subject, Tables, WishRow};

impl RedisStore {
    pub(super) async fn forget_node(&self, id: &str, lease: u64) -> Result<Result<(), Refusal>, StoreError> {
        for _ in 0..TRIES {
            let (node, stored, count) = self.known_among(id).await?;
            let owns = |owner: &SlotOwner| owner.owner.as_deref() == Some(id);
            let owned = (0..).zip(self.owners().await?).find(|(_, owner)| owns(owner)).map(|(slot, _)| slot);
            match node.may_forget(id, lease, owned, count == 1) {
                Ok(true) => {}
                Ok(false) => return Ok(Ok(())),
                Err(refusal) => return Ok(Err(refusal)),
            }
            let mut forget = scripts::call(Name::Forget, 2);
            forget.arg(self.keys.nodes()).arg(self.keys.wishes()).arg(id).arg(stored);
            if number::<u8>(self.members.ask(forget).await.map_err(Trouble::of_write)?)? == 1 {
                return Ok(Ok(()));
            }
        }
        Err(StoreError::Unavailable(format!("the row of {id} does not stand still")))
    }

    pub(super) async fn put_wish(&self, row: &WishRow) -> Result<Result<(), Refusal>, StoreError> {
        if let Err(why) = row.check(self.slots) {
            return Ok(Err(Refusal::Rejected(why)));
        }
        let id = row.wish.node().unwrap_or_default();
        let mut wish = scripts::call(Name::Wish, 2);
        wish.arg(self.keys.nodes()).arg(self.keys.wishes()).arg(row.wish.subject().key()).arg(row.encode()).arg(id);
        let is_written = number::<u8>(self.members.ask(wish).await.map_err(Trouble::of_write)?)? == 1;
        Ok(if is_written { Ok(()) } else { Err(Refusal::NotMember(id.to_owned())) })
    }

    pub(super) async fn remove_wish(&self, of: &Subject) -> Result<(), StoreError> {
        let remove = redis::cmd("HDEL").arg(self.keys.wishes()).arg(of.key()).to_owned();
        self.members.ask(remove).await.map(drop).map_err(Trouble::of_write)
    }

    pub(super) async fn all_wishes(&self) -> Result<Vec<WishRow>, StoreError> {
        wishes_of(self.members.read(redis::cmd("HVALS").arg(self.keys.wishes()).to_owned()).await?)
    }

    /// Who owns each slot: one command for each group.
    async fn owners(&self) -> Result<Vec<SlotOwner>, StoreError> {
        let of = |group| (group..self.slots).step_by(usize::from(GROUPS));
        let ask = |group| {
            let mut heads = redis::cmd("HMGET");
            heads.arg(self.keys.group(group)).arg(of(group).map(keys::head_field).collect::<Vec<_>>());
            heads
        };
        let groups = GROUPS.min(self.slots);
        let commands: Vec<Cmd> = (0..groups).map(ask).collect();
        let mut owners = vec![SlotOwner::default(); usize::from(self.slots)];
        let mut names = Names::default();
        for (group, answer) in (0..groups).zip(self.members.read_all(&commands).await?) {
            for (slot, head) in of(group).zip(list(answer)?) {
                if head != Value::Nil {
                    let head = head_of(&bytes(head)?, &[])?;
                    let owner = head.owner.as_deref().map(|owner| names.of(owner));
                    owners[usize::from(slot)] = SlotOwner { owner, epoch: head.epoch };
                }
            }
        }
        Ok(owners)
    }

    /// In two steps, for the slots may lie on other machines: they are read first.
    pub(super) async fn all_tables(&self) -> Result<Tables, StoreError> {
        let slots = self.owners().await?;
        let ask = |key: String| redis::cmd("HVALS").arg(key).to_owned();
        let answers = self.members.read_all(&[ask(self.keys.nodes()), ask(self.keys.wishes())]).await?;
        let [nodes, wishes] =
            <[Value; 2]>::try_from(answers).map_err(|_| StoreError::Unavailable("an answer is missing".to_owned()))?;
        Ok(Tables { slots, nodes: nodes_of(nodes)?, wishes: wishes_of(wishes)? })
    }
}

fn wishes_of(rows: Value) -> Result<Vec<WishRow>, StoreError> {
    let read = |row: Value| WishRow::decode(&bytes(row)?).map_err(|error| error.damaged_at("the wishes"));
    Ok(WishList::of(list(rows)?.into_iter().map(read).collect::<Result<Vec<_>, _>>()?).rows())
}
