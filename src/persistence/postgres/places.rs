//! The map of a store on several servers: which servers are its, and which slots each has.
//!
//! Every server says itself which one it is, of which store (`souk_server`): addresses may change, and be given in another
//! order. The first has the list of them and the map. It is number 0; each of the others is given the next number when it is
//! first named. A new store is divided evenly among those that are named then. One that was on a single server stays there
//! until slots are moved.
//!
//! Everything here is done while a store is opened, by every node that opens it: each step is a transaction that finds done
//! what another node has done.

use tokio_postgres::{Row, Transaction};

use super::super::{Slot, StoreError};
use super::connect::Pools;
use super::failure::{Failure, classify};

/// A server's part in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name of the whole store.
    pub store: String,
    /// The first server is 0.
    pub number: i32,
}

/// Which slot lies where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceMap {
    /// How often it has changed.
    pub version: u64,
    /// Of each slot the number of its server.
    pub servers: Vec<i32>,
}

/// Most servers of one store: each costs every node its connections.
pub const SERVERS_MAX: usize = 64;

const IDENTITY: &str = "select store, number from souk_server where one";
const ENTER: &str = "insert into souk_server (one, store, number) values (true, $1, $2)";
const MAP: &str = "select s.map, p.slot, p.server from souk_server s cross join souk_places p order by p.slot";
const IS_NEW: &str = "select not exists (select 1 from souk_slots where epoch > 0 or seq > 0)";

fn fatal<T>(why: impl Into<String>) -> Result<T, StoreError> {
    Err(StoreError::Fatal(why.into()))
}

/// Runs a step with the store's row locked, so that one node does it and the others find it done.
macro_rules! locked {
    ($pools:expr, $transaction:ident, $work:block) => {{
        let mut lent = $pools.reads.lend().await.map_err(Failure::of_a_read)?;
        let client = lent.client().map_err(Failure::of_a_read)?;
        let $transaction = client.transaction().await.map_err(told)?;
        $transaction.query_one("select 1 from souk_meta where one for update", &[]).await.map_err(told)?;
        let done = $work;
        $transaction.commit().await.map_err(told)?;
        done
    }};
}

fn told(error: tokio_postgres::Error) -> StoreError {
    classify(&error).of_a_read()
}

async fn identity_in(transaction: &Transaction<'_>) -> Result<Option<Identity>, StoreError> {
    let row = transaction.query_opt(IDENTITY, &[]).await.map_err(told)?;
    Ok(row.map(|row| Identity { store: row.get(0), number: row.get(1) }))
}

/// Which server this is; `None`: it has a store to itself.
pub async fn identity(pools: &Pools) -> Result<Option<Identity>, StoreError> {
    let rows = pools.reads.read(IDENTITY, &[]).await?;
    Ok(rows.first().map(|row| Identity { store: row.get(0), number: row.get(1) }))
}

/// Makes the server the first one, if it is none yet. `name`: a new one, for a store that has none.
pub async fn found(pools: &Pools, name: &str, address: &str) -> Result<Identity, StoreError> {
    let found = locked!(pools, transaction, {
        match identity_in(&transaction).await? {
            Some(found) => found,
            None => {
                transaction.execute(ENTER, &[&name, &0]).await.map_err(told)?;
                transaction.execute("insert into souk_servers values (0, $1)", &[&address]).await.map_err(told)?;
                Identity { store: name.to_owned(), number: 0 }
            }
        }
    });
    match found.number {
        0 => Ok(found),
        number => fatal(format!("{address} is server {number} of its store: name the first one first (store.urls)")),
    }
}

/// Makes the server one of the store that `head` is the first server of, if it is not yet.
pub async fn enter(head: &Pools, store: &str, pools: &Pools, address: &str) -> Result<Identity, StoreError> {
    let entered = locked!(pools, transaction, {
        match identity_in(&transaction).await? {
            Some(entered) => entered,
            None => {
                let is_new: bool = transaction.query_one(IS_NEW, &[]).await.map_err(told)?.get(0);
                if !is_new {
                    return fatal(format!("{address} holds a store of its own"));
                }
                let number = next_number(head, address).await?;
                transaction.execute(ENTER, &[&store, &number]).await.map_err(told)?;
                Identity { store: store.to_owned(), number }
            }
        }
    });
    if entered.store == store { Ok(entered) } else { fatal(format!("{address} belongs to another store")) }
}

async fn next_number(head: &Pools, address: &str) -> Result<i32, StoreError> {
    let number = locked!(head, transaction, {
        let row = transaction.query_one("select max(number) from souk_servers", &[]).await.map_err(told)?;
        let number = row.get::<_, Option<i32>>(0).unwrap_or(0) + 1;
        transaction.execute("insert into souk_servers values ($1, $2)", &[&number, &address]).await.map_err(told)?;
        number
    });
    Ok(number)
}

/// The map, by number of server. Where there is none it is made: of a new store evenly among these.
pub async fn places(head: &Pools, slots: Slot, numbers: &[i32]) -> Result<PlaceMap, StoreError> {
    let rows = locked!(head, transaction, {
        let rows = transaction.query(MAP, &[]).await.map_err(told)?;
        if rows.is_empty() {
            let is_new: bool = transaction.query_one(IS_NEW, &[]).await.map_err(told)?.get(0);
            let of = if is_new { divided(slots, numbers) } else { vec![0; usize::from(slots)] };
            let all: Vec<i32> = (0..i32::from(slots)).collect();
            let insert = "insert into souk_places select * from unnest($1::int4[], $2::int4[])";
            transaction.execute(insert, &[&all, &of]).await.map_err(told)?;
            transaction.query(MAP, &[]).await.map_err(told)?
        } else {
            rows
        }
    });
    map_of(&rows, slots)
}

/// The map as it is.
pub async fn map(head: &Pools, slots: Slot) -> Result<PlaceMap, StoreError> {
    map_of(&head.members.read(MAP, &[]).await?, slots)
}

fn map_of(rows: &[Row], slots: Slot) -> Result<PlaceMap, StoreError> {
    let servers: Vec<i32> = rows.iter().map(|row| row.get(2)).collect();
    let has_gaps = (0..).zip(rows).any(|(slot, row): (i32, _)| row.get::<_, i32>(1) != slot);
    if has_gaps || servers.len() != usize::from(slots) {
        return Err(StoreError::Damaged("the map of slots and servers has gaps".to_owned()));
    }
    let version = rows.first().map_or(0, |row| row.get::<_, i64>(0).cast_unsigned());
    Ok(PlaceMap { version, servers })
}

/// Ranges of slots, as even as can be.
fn divided(slots: Slot, numbers: &[i32]) -> Vec<i32> {
    let slots = usize::from(slots);
    (0..slots).map(|slot| numbers.get(slot * numbers.len() / slots).copied().unwrap_or(0)).collect()
}

/// Whether the server has a part of a store that lies on others too: it must not be opened by itself.
pub async fn is_part(pools: &Pools) -> Result<bool, StoreError> {
    match identity(pools).await? {
        None => Ok(false),
        Some(Identity { number: 0, .. }) => {
            let elsewhere = "select exists (select 1 from souk_places where server <> 0)";
            let rows = pools.reads.read(elsewhere, &[]).await?;
            Ok(rows.first().is_some_and(|row| row.get(0)))
        }
        Some(_) => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_divided_evenly_and_in_ranges() {
        assert_eq!(divided(8, &[0, 2, 1]), [0, 0, 0, 2, 2, 2, 1, 1]);
        assert_eq!(divided(4, &[0]), [0; 4]);
        assert_eq!(divided(2, &[0, 1, 2]), [0, 1], "more servers than slots");
    }
}
