//! The tables, and how a store comes to have those of this version.
//!
//! Migrations are numbered and only ever added to. They run in one transaction that holds the lock of the
//! one row of `souk_meta`, so of several nodes that start together one migrates and the others find it done. A
//! store that is newer than this binary is refused: an old binary does not know what it would destroy.

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use super::super::{Slot, StoreError};
use super::failure::{Failure, classify};

/// `souk_meta` is never migrated: every version of souk must be able to read the number in it.
const META: &str = "create table if not exists souk_meta (
    one boolean primary key check (one), version int4 not null, slots int4 not null)";

/// What leads from one version to the next; the first one creates everything.
///
/// Keys are compared as bytes (collation C), as everywhere in souk. Whatever is asked for often is asked for by
/// the leading columns of a primary key. Frames are what souk's own envelope makes of a record or a snapshot.
const MIGRATIONS: [&str; 4] = [
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
    include_str!("migrations/3.sql"),
    include_str!("migrations/4.sql"),
];

const VERSION: i32 = MIGRATIONS.len() as i32;

/// Brings the store to this version, or makes it, with so many slots. The answer is how many it has.
pub async fn migrate(client: &mut Client, slots: Option<Slot>) -> Result<Slot, StoreError> {
    for attempt in 0.. {
        match try_migrate(client, slots).await {
            Ok(done) => return done,
            // Two who create the same table at the same moment: the second one finds it.
            Err(error) if attempt < 20 && meets_another(&error) => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            Err(error) => return Err(classify(&error).of_a_read()),
        }
    }
    Err(StoreError::Unavailable("others are migrating the store all the time".into()))
}

fn meets_another(error: &Error) -> bool {
    let again = [
        SqlState::UNIQUE_VIOLATION,
        SqlState::DUPLICATE_TABLE,
        SqlState::DUPLICATE_OBJECT, // the type of the table's rows
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
    ];
    error.code().is_some_and(|code| again.contains(code)) || matches!(classify(error), Failure::Retry(_))
}

async fn try_migrate(client: &mut Client, slots: Option<Slot>) -> Result<Result<Slot, StoreError>, Error> {
    let created = match client.query_opt("select version, slots from souk_meta", &[]).await {
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => None,
        other => other?,
    };
    if let Some(row) = &created
        && row.get::<_, i32>(0) == VERSION
    {
        return Ok(check_slots(row.get(1), slots)); // nothing to do, and no right to change tables needed
    }
    let is_there = created.is_some();
    let Some(new_slots) = slots.or(is_there.then_some(0)) else {
        return Ok(Err(StoreError::Fatal("there is no store in the database".into())));
    };
    if !is_there {
        client.batch_execute(META).await?;
        let enter = "insert into souk_meta values (true, 0, $1) on conflict do nothing";
        client.execute(enter, &[&i32::from(new_slots)]).await?;
    }
    let migration = client.transaction().await?;
    let row = migration.query_one("select version, slots from souk_meta where one for update", &[]).await?;
    let (version, has_slots): (i32, i32) = (row.get(0), row.get(1));
    if version > VERSION {
        return Ok(Err(StoreError::Fatal(format!(
            "the store is of version {version}, and this souk knows none above {VERSION}: use a newer souk"
        ))));
    }
    let found = match check_slots(has_slots, slots) {
        Ok(found) => found,
        Err(other) => return Ok(Err(other)),
    };
    for (number, sql) in (1..).zip(MIGRATIONS).skip(usize::try_from(version).unwrap_or_default()) {
        tracing::info!(version = number, "migrating the store");
        migration.batch_execute(sql).await?;
    }
    if version == 0 {
        let all: Vec<i32> = (0..has_slots).collect();
        migration.execute("insert into souk_slots (slot) select * from unnest($1::int4[])", &[&all]).await?;
    }
    migration.execute("update souk_meta set version = $1 where one", &[&VERSION]).await?;
    migration.commit().await?;
    Ok(Ok(found))
}

fn check_slots(has: i32, wanted: Option<Slot>) -> Result<Slot, StoreError> {
    match (Slot::try_from(has), wanted) {
        (Ok(has), None) => Ok(has),
        (Ok(has), Some(wanted)) if has == wanted => Ok(has),
        (_, Some(wanted)) => {
            Err(StoreError::Fatal(format!("the store has {has} slots, and {wanted} are asked for (store.slots)")))
        }
        (Err(_), None) => Err(StoreError::Damaged(format!("the store says that it has {has} slots"))),
    }
}
