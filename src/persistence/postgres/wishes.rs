//! The wishes of operators, and the one read of all that a node of a cluster plans with.

use std::sync::Arc;

use super::super::membership::{Names, NodeList, SlotOwner, Tables, WishList};
use super::super::{NodeState, Refusal, Slot, StoreError, Subject, WishRow};
use super::connect::Pools;
use super::members;

/// The node's row is held until the wish is there, so that neither goes without the other. (The statement looks, so that
/// a node that is gone is no error; the reference holds.) A cordon, which is a 1 in the second byte of its row, leaves a
/// drain, a 2, as it is.
const WISH: &str = "with member as (
        select id from souk_nodes where id = $2 and state <> $4 for key share
    )
    insert into souk_wishes (subject, node, data)
    select $1, $2, $3 where $2::text is null or exists (select 1 from member)
    on conflict (subject) do update set node = excluded.node, data = case
        when get_byte(excluded.data, 1) = 1 and get_byte(souk_wishes.data, 1) = 2 then souk_wishes.data
        else excluded.data
    end
    returning subject";
const UNWISH: &str = "delete from souk_wishes where subject = $1 returning subject";
const WISHES: &str = "select subject, data from souk_wishes order by subject";

/// One statement, so all of it is of one moment. Of the slots there is a row for each owner, with two arrays.
const TABLES: &str = "select 's', owner, null::int2, null::int8, null::bytea, array_agg(slot), array_agg(epoch)
    from souk_slots group by owner
    union all select 'n', id, state, lease, data, null, null from souk_nodes
    union all select 'w', subject, null, null, data, null, null from souk_wishes
    union all select 'm', null, null, map, null, null, null from souk_server";

const OWNERS: &str = "select owner, array_agg(slot), array_agg(epoch) from souk_slots group by owner";

pub async fn wish(pools: &Pools, slots: Slot, row: &WishRow) -> Result<Result<(), Refusal>, StoreError> {
    if let Err(why) = row.check(slots) {
        return Ok(Err(Refusal::Rejected(why)));
    }
    let (subject, node) = (row.wish.subject().key(), row.wish.node());
    let left = i16::from(NodeState::Left.code());
    if members::change(pools, WISH, &[&subject, &node, &row.encode(), &left]).await? {
        return Ok(Ok(()));
    }
    let id = node.unwrap_or_default().to_owned();
    Ok(Err(Refusal::NotMember(id)))
}

pub async fn unwish(pools: &Pools, of: &Subject) -> Result<(), StoreError> {
    let subject = of.key();
    // No row has a zero byte, and the server takes none.
    if !subject.contains('\0') {
        members::change(pools, UNWISH, &[&subject]).await?;
    }
    Ok(())
}

pub async fn wishes(pools: &Pools) -> Result<Vec<WishRow>, StoreError> {
    let rows = pools.members.read(WISHES, &[]).await?;
    let read = rows.iter().map(|row| wish_of(row.get(0), row.get(1)));
    Ok(WishList::of(read.collect::<Result<Vec<_>, _>>()?).rows())
}

fn wish_of(subject: &str, data: &[u8]) -> Result<WishRow, StoreError> {
    WishRow::decode(data).map_err(|error| error.damaged_at(format!("wish {subject}")))
}

/// With the number of the map, where the store lies on several servers; else 0.
pub async fn tables(pools: &Pools, slots: Slot) -> Result<(Tables, u64), StoreError> {
    let mut owners = vec![SlotOwner::default(); usize::from(slots)];
    let (mut nodes, mut wishes) = (Vec::new(), Vec::new());
    let mut map = 0;
    let mut names = Names::default();
    for row in pools.members.read(TABLES, &[]).await? {
        let name: Option<&str> = row.get(1);
        match (row.get::<_, &str>(0), name) {
            ("n", Some(id)) => nodes.push(members::row(id, row.get(2), row.get(3), row.get(4))?),
            ("m", _) => map = row.get::<_, i64>(3).cast_unsigned(),
            ("w", Some(subject)) => wishes.push(wish_of(subject, row.get(4))?),
            _ => enter(&mut owners, name.map(|name| names.of(name)), row.get(5), row.get(6))?,
        }
    }
    let tables = Tables { slots: owners, nodes: NodeList::of(nodes).rows(), wishes: WishList::of(wishes).rows() };
    Ok((tables, map))
}

pub async fn owners(pools: &Pools, slots: Slot) -> Result<Vec<SlotOwner>, StoreError> {
    let mut owners = vec![SlotOwner::default(); usize::from(slots)];
    for row in pools.members.read(OWNERS, &[]).await? {
        enter(&mut owners, row.get::<_, Option<&str>>(0).map(Into::into), row.get(1), row.get(2))?;
    }
    Ok(owners)
}

/// The slots of one owner, and their epochs.
fn enter(
    owners: &mut [SlotOwner],
    owner: Option<Arc<str>>,
    slots: Vec<i32>,
    epochs: Vec<i64>,
) -> Result<(), StoreError> {
    for (slot, epoch) in slots.into_iter().zip(epochs) {
        let place = usize::try_from(slot).ok().and_then(|slot| owners.get_mut(slot));
        let place = place.ok_or_else(|| StoreError::Damaged(format!("there is a row for slot {slot}")))?;
        *place = SlotOwner { owner: owner.clone(), epoch: epoch.cast_unsigned() };
    }
    Ok(())
}
