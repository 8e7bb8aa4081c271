//! Connections: bounded pools, and a time limit on everything.
//!
//! There are four pools, so that no kind of work waits for another: appends, changes of owner, the node list (a
//! lease that is renewed late is lost, and waits for no read of the list either), reads. What a session is set to ([`SESSION`]) is set on each connection as it is made.

use std::str::FromStr;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row, SimpleQueryMessage};

use super::super::StoreError;
use super::super::tls::Files;
use super::failure::{Failure, classify, in_full};
use super::settings::PostgresSettings;
use super::tls::{self, Tls};

/// How much longer than the server the client waits: the network's part.
const MARGIN: Duration = Duration::from_secs(1);

/// How long a statement that appends waits for a lock, while the slots beside the locked one wait with it. Then it
/// is sent in a way that leaves out what is locked.
const APPEND_LOCK_MS: u64 = 50;

/// Without these the store is not what it promises: what is acknowledged is on disk (and on a synchronous
/// standby), and each statement sees what was committed before it.
const SESSION: &str = "set default_transaction_isolation = 'read committed';
    select set_config('synchronous_commit', 'on', false)
    where current_setting('synchronous_commit') in ('off', 'local', 'remote_write')";

/// What is set where the server knows it: other engines, and older versions, may not.
fn optional(settings: &PostgresSettings, statement: Duration) -> Vec<(&'static str, String)> {
    let write_ms = settings.write_ms.max(1_000);
    let mut optional = PLANNER.map(|(name, value)| (name, value.to_owned())).to_vec();
    // What ends a session whose client is gone without a word (its machine, or the network between), so that its locks
    // are gone before another node may take its slots. Within a statement each has its limits; between a statement's
    // end and the commit, for which the server waits, none of them counts, and by default only TCP would notice, after
    // two hours.
    optional.extend([
        ("tcp_keepalives_idle", write_ms.div_ceil(1_000).to_string()),
        ("tcp_keepalives_interval", "1".to_owned()),
        ("tcp_keepalives_count", "2".to_owned()),
        ("tcp_user_timeout", write_ms.to_string()),
        ("client_connection_check_interval", "1000".to_owned()),
        ("transaction_timeout", (statement + MARGIN).as_millis().to_string()), // from version 17 on
    ]);
    optional
}

/// Made for PostgreSQL's planner: every statement names the leading columns of an index, whatever the tables'
/// statistics say of tables that were empty a minute ago.
const PLANNER: [(&str, &str); 3] =
    [("enable_seqscan", "off"), ("plan_cache_mode", "force_generic_plan"), ("jit", "off")];

fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

pub struct Pools {
    pub appends: Lender,
    pub owners: Lender,
    pub members: Lender,
    pub reads: Lender,
}

/// A pool, and how long a statement on its connections may take in all.
pub struct Lender {
    pool: Pool,
    limit: Duration,
}

/// A connection for a while. One that has failed is not given back.
pub struct Lent {
    object: Option<Object>,
    limit: Duration,
}

/// Where the server is, and whether and how TLS is spoken to it.
pub struct Address {
    pub config: Config,
    pub tls: Option<Files>,
}

impl Address {
    /// A URL of libpq's kind, and what is configured beside it; where both say something, the URL is right.
    ///
    /// `sslmode=require`, `verify-ca` and `verify-full` all mean the last: encryption that does not look at who
    /// is there protects nobody. Every other mode is no TLS, for trying and falling back protects nobody either.
    pub fn parse(url: &str, configured: &Tls) -> Result<Address, String> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut tls = configured.clone();
        let mut named = Files::default();
        let mut rest = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let path = || Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned().into());
            match (name, value) {
                ("sslrootcert", _) => named.root_cert_file = path(),
                ("sslcert", _) => named.client_cert_file = path(),
                ("sslkey", _) => named.client_key_file = path(),
                ("sslmode", "require" | "verify-ca" | "verify-full") => tls.is_required = Some(true),
                ("sslmode", "disable" | "prefer") => tls.is_required = Some(false),
                _ => rest.push(pair.to_owned()),
            }
        }
        let is_required = tls.is_required.unwrap_or(false);
        // Who names authorities believes that the connection is protected.
        if !is_required && (named != Files::default() || tls.promises_in_vain()) {
            return Err("certificates are named, but TLS is not asked for: say sslmode=verify-full".into());
        }
        rest.push(format!("sslmode={}", if is_required { "require" } else { "disable" }));
        let config = Config::from_str(&format!("{base}?{}", rest.join("&"))).map_err(|error| in_full(&error))?;
        Ok(Address { config, tls: is_required.then(|| named.or(tls.files)) })
    }

    fn with_settings(&self, settings: &PostgresSettings) -> Config {
        let mut config = self.config.clone();
        config.connect_timeout(ms(settings.connect_ms));
        config
            .keepalives(true)
            .keepalives_idle(ms(settings.write_ms).max(Duration::from_secs(1)))
            .keepalives_interval(Duration::from_secs(1));
        config.tcp_user_timeout(ms(settings.write_ms));
        if config.get_application_name().is_none() {
            config.application_name("souk");
        }
        config
    }
}

impl Pools {
    pub fn new(address: &Address, settings: &PostgresSettings) -> Result<Pools, StoreError> {
        let with = |settings: &PostgresSettings, size: usize, statement: Duration| -> Result<Lender, StoreError> {
            Ok(Lender { pool: pool(address, settings, size, statement)?, limit: statement + MARGIN })
        };
        let lender = |size: usize, statement: Duration| with(settings, size, statement);
        let impatient = PostgresSettings { lock_ms: settings.lock_ms.min(APPEND_LOCK_MS), ..settings.clone() };
        let write = ms(settings.write_ms);
        Ok(Pools {
            appends: with(&impatient, 1, write)?,
            owners: lender(1, write)?,
            members: lender(2, write)?,
            reads: lender(settings.readers_max.max(1), ms(settings.read_ms))?,
        })
    }

    pub fn close(&self) {
        for lender in [&self.appends, &self.owners, &self.members, &self.reads] {
            lender.pool.close();
        }
    }
}

fn pool(address: &Address, settings: &PostgresSettings, size: usize, statement: Duration) -> Result<Pool, StoreError> {
    let config = address.with_settings(settings);
    let managing = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = match &address.tls {
        Some(files) => Manager::from_config(config, tls::connector(files)?, managing),
        None => Manager::from_config(config, NoTls, managing),
    };
    let session = session(settings, statement);
    let optional = optional(settings, statement);
    let prepare = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
        let (session, optional) = (session.clone(), optional.clone());
        Box::pin(async move { set_up(client, &session, &optional).await })
    });
    Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(ms(settings.wait_ms)))
        .create_timeout(Some(ms(settings.connect_ms)))
        .recycle_timeout(Some(ms(settings.connect_ms)))
        .post_create(prepare)
        .build()
        .map_err(|error| StoreError::Fatal(in_full(&error)))
}

fn session(settings: &PostgresSettings, statement: Duration) -> String {
    let (lock, statement, idle) = (settings.lock_ms, statement.as_millis(), settings.write_ms);
    format!(
        "set lock_timeout = {lock}; set statement_timeout = {statement}; \
         set idle_in_transaction_session_timeout = {idle}; {SESSION}"
    )
}

/// Asked of every session: a server may come back otherwise than it went. (One that does not know the question is not
/// PostgreSQL, and its own documentation has to be asked.)
const FSYNC: &str = "select coalesce(current_setting('fsync', true), 'on')";

/// In as few steps as may be: whoever renews a lease waits for it.
async fn set_up(client: &Client, session: &str, optional: &[(&'static str, String)]) -> Result<(), HookError> {
    let told = client.simple_query(&format!("{session}; {FSYNC}")).await.map_err(HookError::Backend)?;
    let rows = told.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    if rows.last() == Some("off") {
        return Err(HookError::message("the server has fsync = off: it does not keep what it acknowledges"));
    }
    let list: Vec<String> = optional.iter().map(|(name, value)| format!("('{name}', '{value}')")).collect();
    let known = format!(
        "select set_config(s.name, v.value, false) from (values {}) as v(name, value)
            join pg_settings s on s.name = v.name",
        list.join(", ")
    );
    if is_done(client, &known).await? {
        return Ok(());
    }
    for (name, value) in optional {
        if !is_done(client, &format!("set {name} = {value}")).await? {
            tracing::debug!(name, "the server does not know this setting");
        }
    }
    Ok(())
}

async fn is_done(client: &Client, sql: &str) -> Result<bool, HookError> {
    match client.batch_execute(sql).await {
        Ok(()) => Ok(true),
        Err(error) if error.as_db_error().is_some() => Ok(false),
        Err(error) => Err(HookError::Backend(error)),
    }
}

impl Lender {
    /// How long a statement may take in all.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    pub async fn lend(&self) -> Result<Lent, Failure> {
        match self.pool.get().await {
            Ok(object) => Ok(Lent { object: Some(object), limit: self.limit }),
            Err(PoolError::Closed) => Err(Failure::Fatal("the store is closed".into())),
            Err(PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error))) => {
                Err(classify(&error).before_sending())
            }
            Err(PoolError::PostCreateHook(unfit)) => Err(Failure::Unfit(in_full(&unfit))),
            Err(error) => Err(Failure::NotDone(in_full(&error))),
        }
    }

    /// One statement on a connection of its own.
    pub async fn query(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Failure> {
        self.lend().await?.query(sql, parameters).await
    }

    /// A statement that only reads, with patience for an engine that raises serialization failures.
    pub async fn read(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, StoreError> {
        for _ in 0..3 {
            match self.query(sql, parameters).await {
                Err(Failure::Retry(_)) => {}
                other => return other.map_err(Failure::of_a_read),
            }
        }
        self.query(sql, parameters).await.map_err(Failure::of_a_read)
    }
}

impl Lent {
    /// Ends the session, with whatever it holds.
    pub fn close(mut self) {
        drop(self.object.take().map(Object::take));
    }

    /// For what is no single statement.
    pub fn client(&mut self) -> Result<&mut Client, Failure> {
        match &mut self.object {
            Some(object) => Ok(&mut **object),
            None => Err(Failure::NotDone("the connection is lost".into())),
        }
    }

    pub async fn query(&mut self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Failure> {
        let asking = Asking(self.object.take());
        let Some(client) = &asking.0 else { return Err(Failure::NotDone("the connection is lost".into())) };
        let answer = ask(client, self.limit, sql, parameters).await;
        // Whatever has failed may be in a state, or be a server, that the next one should not meet: a primary that
        // became a standby answers, and says no.
        if matches!(answer, Ok(_) | Err(Failure::Retry(_) | Failure::Locked(_))) {
            self.object = asking.done();
        }
        answer
    }
}

async fn ask(
    client: &deadpool_postgres::ClientWrapper,
    limit: Duration,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, Failure> {
    let silent = "the server does not answer";
    let prepared = match tokio::time::timeout(limit, client.prepare_cached(sql)).await {
        Ok(prepared) => prepared.map_err(|error| classify(&error).before_sending())?,
        Err(_) => return Err(Failure::NotDone(silent.into())),
    };
    match tokio::time::timeout(limit, client.query(&prepared, parameters)).await {
        Ok(rows) => rows.map_err(|error| classify(&error)),
        Err(_) => Err(Failure::Unknown(silent.into())),
    }
}

/// A connection that is asked something. Should nobody wait for the answer any longer it is closed: the next one would
/// wait behind it.
struct Asking(Option<Object>);

impl Asking {
    fn done(mut self) -> Option<Object> {
        self.0.take()
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        drop(self.0.take().map(Object::take));
    }
}
