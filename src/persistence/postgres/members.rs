//! The node list. A row's state and counter are columns, to be compared; the rest of it is our own bytes.

use super::super::membership::NodeList;
use super::super::{NodeRow, NodeState, Refusal, Slot, StoreError};
use super::connect::Pools;
use super::failure::Failure;

const JOIN: &str = "insert into souk_nodes (id, state, lease, data) values ($1, $2, $3, $4)
    on conflict do nothing returning id";
const RENEW: &str = "update souk_nodes set state = $2, lease = $3, data = $4
    where id = $1 and lease = $5 and state <> $6 returning id";
const LEAVE: &str = "update souk_nodes set state = $2 where id = $1 returning id";
/// The row that is to stay is held meanwhile: of two that are forgotten at once neither counts on the other. The wishes go
/// with the row, by reference.
const FORGET: &str = "with other as (
        select id from souk_nodes where id <> $1 order by id limit 1 for key share
    )
    delete from souk_nodes n where id = $1 and (state = $3 or lease = $2) and exists (select 1 from other)
        and not exists (select 1 from souk_slots where owner = $1)
    returning id";
const OWNED: &str = "select slot from souk_slots where owner = $1 order by slot limit 1";
const NODES: &str = "select id, state, lease, data from souk_nodes order by id";
const NODE: &str = "select id, state, lease, data from souk_nodes where id = $1";

fn left() -> i16 {
    i16::from(NodeState::Left.code())
}

/// Whether a statement did anything.
pub async fn change(
    pools: &Pools,
    sql: &'static str,
    parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<bool, StoreError> {
    for _ in 0..10 {
        match pools.members.query(sql, parameters).await {
            Err(Failure::Retry(_)) => tokio::task::yield_now().await,
            other => return other.map(|rows| !rows.is_empty()).map_err(Failure::of_a_write),
        }
    }
    Err(StoreError::Unavailable("others change the same row all the time".into()))
}

pub async fn join(pools: &Pools, node: &NodeRow) -> Result<Result<(), Refusal>, StoreError> {
    if let Err(refusal) = NodeList::default().joined(node) {
        return Ok(Err(refusal));
    }
    let state = i16::from(node.state.code());
    if change(pools, JOIN, &[&node.id, &state, &node.lease.cast_signed(), &node.encode()]).await? {
        Ok(Ok(()))
    } else {
        Ok(one(pools, &node.id).await?.joined(node).map(drop))
    }
}

pub async fn renew(pools: &Pools, node: &NodeRow) -> Result<Result<u64, Refusal>, StoreError> {
    if let Err(why) = node.check() {
        return Ok(Err(Refusal::Rejected(why)));
    }
    let next = node.lease.wrapping_add(1);
    let state = i16::from(node.state.code());
    let (was, is) = (node.lease.cast_signed(), next.cast_signed());
    if change(pools, RENEW, &[&node.id, &state, &is, &node.encode(), &was, &left()]).await? {
        Ok(Ok(next))
    } else {
        match one(pools, &node.id).await?.renewed(node) {
            Err(refusal) => Ok(Err(refusal)),
            Ok(_) => Err(StoreError::Unavailable("the node list changes under our hands".into())),
        }
    }
}

pub async fn leave(pools: &Pools, id: &str) -> Result<Result<(), Refusal>, StoreError> {
    if !id.contains('\0') && change(pools, LEAVE, &[&id, &left()]).await? {
        Ok(Ok(()))
    } else {
        Ok(Err(Refusal::NotMember(id.to_owned())))
    }
}

pub async fn forget(pools: &Pools, id: &str, lease: u64) -> Result<Result<(), Refusal>, StoreError> {
    if id.contains('\0') || change(pools, FORGET, &[&id, &lease.cast_signed(), &left()]).await? {
        return Ok(Ok(()));
    }
    let owned = pools.members.read(OWNED, &[&id]).await?;
    let owned = owned.first().and_then(|row| Slot::try_from(row.get::<_, i32>(0)).ok());
    // Where nothing else is the reason, there was no other row.
    Ok(one(pools, id).await?.may_forget(id, lease, owned, true).map(drop))
}

pub async fn nodes(pools: &Pools) -> Result<Vec<NodeRow>, StoreError> {
    rows(pools.members.read(NODES, &[]).await?)
}

/// The list as far as it knows one node, for saying why something was refused.
async fn one(pools: &Pools, id: &str) -> Result<NodeList, StoreError> {
    Ok(NodeList::of(rows(pools.members.read(NODE, &[&id]).await?)?))
}

fn rows(rows: Vec<tokio_postgres::Row>) -> Result<Vec<NodeRow>, StoreError> {
    rows.iter().map(|it| row(it.get(0), it.get(1), it.get(2), it.get(3))).collect()
}

/// A row from its columns.
pub fn row(id: &str, state: i16, lease: i64, data: &[u8]) -> Result<NodeRow, StoreError> {
    let kept = NodeRow::decode(data).map_err(|error| error.damaged_at(format!("node {id}")))?;
    let state = u8::try_from(state).ok().and_then(NodeState::of_code);
    let state = state.ok_or_else(|| StoreError::Damaged(format!("node {id}: no such state")))?;
    Ok(NodeRow { state, lease: lease.cast_unsigned(), ..kept })
}
