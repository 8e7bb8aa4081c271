//! Composes a node, and owns the order of start and drain: store, runtime, gateways, read models, edge;
//! and back again. Nothing else starts or stops anything.

use std::future::Future;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::actors::feed::ConsumerStatus;
use crate::actors::gateways::payments::MockPayments;
use crate::actors::kinds;
use crate::actors::projections::Projections;
use crate::actors::runtime::history::{self, StateAt, Until};
use crate::actors::runtime::marks::Marks;
use crate::actors::runtime::slot;
use crate::actors::runtime::{Prepared, Runtime};
use crate::actors::values::Email;
use crate::cluster::{Lease, NodeId, SoleOwner, slot_of};
use crate::config::Config;
use crate::http::{self, Edge, Health};
use crate::metrics::Metrics;
use crate::persistence::open;
use crate::persistence::{EntityKey, Journal, Store, StoreError};
use crate::telemetry;
use member::Member;

/// How long one step of starting may wait for an entity.
const STEP: Duration = Duration::from_secs(30);

mod administrator;
pub mod member;
pub mod sample;
mod view;

pub use administrator::Bootstrap;
use administrator::{administered, make_administrator, no_administrator, program};
use view::OneNode;

/// What `souk serve` was told beside the configuration.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Fill the store with the sample catalogue, where it is not there yet.
    pub sample: bool,
    /// The first administrator, made when there is none.
    pub bootstrap: Option<Bootstrap>,
}

/// What is asked about an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Everything about it now: where it is, its version, its state, what it owes.
    Present,
    /// All its records.
    Journal,
    /// Its state as it was.
    StateAt { version: u64 },
}

/// Serves until it is told to stop (SIGINT, SIGTERM), then finishes what it has admitted.
pub async fn run(config: Config, options: ServeOptions) -> anyhow::Result<()> {
    telemetry::start(&config.log)?;
    let mut stop = Box::pin(stop_signal()?);
    let listener =
        TcpListener::bind(config.http.addr).await.with_context(|| format!("cannot listen on {}", config.http.addr))?;
    let address = listener.local_addr()?;
    let metrics = Arc::new(Metrics::new());
    let opening = async {
        let store = open_store(&config).await?;
        let follow = |prepared: Prepared| {
            let journal: Arc<dyn Journal> = store.clone();
            let projections = Arc::new(Projections::new(&prepared.client(), &journal, &metrics));
            (prepared.with_follower(projections.feed.clone()), projections)
        };
        serve(&config, store.clone(), &address.to_string(), metrics.clone(), follow).await
    };
    // A shared store may be waited for, and so may a node that was killed.
    let (Served { runtime, membership }, projections) = tokio::select! {
        opened = opening => opened?,
        () = &mut stop => {
            tracing::info!("told to stop before it served");
            return Ok(());
        }
    };
    projections.feed.start().await?;
    let health = Arc::new(Health::default());
    let edge = Edge::start(http::Given {
        client: runtime.client.clone(),
        config: config.clone(),
        limiter: http::limits::chosen(&config.limits.redis_url, &metrics).await?,
        metrics,
        health: health.clone(),
        cluster: Arc::new(OneNode { ownership: runtime.ownership.clone(), name: node_name(&config) }),
        projections: projections.clone(),
    })
    .await?;
    let failed = runtime.failed();
    let shutdown = CancellationToken::new();
    let administered = administered(&edge, options.bootstrap, &shutdown).await?;
    let hint = (administered == Some(false)).then(|| no_administrator(&program(), &config));
    if options.sample
        && let Err(error) = sample::load(&runtime.client).await
    {
        tracing::error!(%error, "the sample catalogue is not whole: the next start adds the rest");
    }
    tokio::spawn(cancel_on(stop, failed.clone(), shutdown.clone()));
    println!("listening on http://{address}");
    greet(&format!("http://{address}"), options.sample, hint);
    let follows = projections.clone();
    let complete: http::operations::health::Check =
        Box::new(move || if follows.is_complete() { Ok(()) } else { Err("reading the catalogue".into()) });
    health.check("read_models", complete);
    let follows = projections.clone();
    health.note(Box::new(move || follows.feed.statuses().iter().map(lag_of).collect()));
    health.started();
    http::serve(listener, edge, shutdown).await;
    tracing::info!("draining");
    projections.feed.stop();
    let failure = failed.borrow().clone();
    let stopped = Served { runtime, membership }.stop().await;
    match failure {
        Some(error) => bail!("the store has failed: {error}"),
        None => Ok(stopped?),
    }
}

/// How a consumer of the journal stands, for `/readyz?verbose`.
fn lag_of(status: &ConsumerStatus) -> (String, String) {
    let ConsumerStatus { name, state, lag_records, lag_ms, .. } = status;
    (format!("consumer {name}"), format!("{}, {lag_records} records and {lag_ms} ms behind", state.word()))
}

async fn cancel_on(
    stop: impl Future<Output = ()>,
    mut failed: watch::Receiver<Option<StoreError>>,
    shutdown: CancellationToken,
) {
    tokio::select! {
        () = stop => {}
        _ = failed.wait_for(Option::is_some) => {}
    }
    shutdown.cancel();
}

/// Tells a person at a terminal what to try next. Standard output belongs to programs after its first line.
fn greet(url: &str, sample: bool, hint: Option<String>) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    eprintln!("\nsouk serves {url}\n");
    if sample {
        eprintln!("  curl {url}/v1/products          the sample catalogue");
    }
    eprintln!("  {url}/docs                      every route, to read and to try");
    eprintln!("  curl '{url}/readyz?verbose'     how it is doing");
    eprintln!("\nStop it with Ctrl-C: what was acknowledged is on disk.\n");
    if let Some(hint) = hint {
        eprintln!("{hint}\n");
    }
}

/// The node's name for operators: as configured, or the machine's.
fn node_name(config: &Config) -> String {
    let machine = || std::fs::read_to_string("/etc/hostname").map_or("node".into(), |name| name.trim().to_owned());
    if config.node.name.is_empty() { machine() } else { config.node.name.clone() }
}

/// Looks into an entity of a store that no server holds; `None`: it does not exist. The answer has the shape
/// of the API's inspection routes (for a journal: the list of entries).
pub async fn inspect_at_rest(
    config: Config,
    kind: &str,
    id: &str,
    question: Question,
) -> anyhow::Result<Option<Value>> {
    let spec = kinds::all().by_name(kind).with_context(|| {
        format!("there is no kind {kind:?}: it is one of {}", kinds::all().names().collect::<Vec<_>>().join(", "))
    })?;
    if !spec.accepts(id) {
        bail!("{id:?} is not an id of kind {kind}");
    }
    let journal = open_store(&config).await?;
    let key = EntityKey { kind: spec.number(), id: id.into() };
    let slot = slot_of(key.kind, &key.id, journal.slots());
    let answer = match question {
        Question::Journal => {
            let entries = history::entries(&*journal, spec, slot, &key, 0, usize::MAX, &Marks::alone()).await?;
            (!entries.is_empty()).then(|| json!(entries))
        }
        Question::StateAt { version } => {
            let past = history::replay(&*journal, spec, slot, &key, Until::Version(version), &Marks::alone()).await?;
            match StateAt::of(&past, Some(version)) {
                StateAt::Found { version, state } => Some(json!({"version": version, "state": state})),
                StateAt::Absent => None,
                StateAt::Beyond { last } => {
                    journal.close().await?;
                    bail!("{kind} {id} has no version {version}: its journal ends at version {last}");
                }
            }
        }
        Question::Present => {
            let heads = journal.heads().await?;
            let head = heads.get(usize::from(slot)).cloned().unwrap_or_default();
            let residence =
                slot::at_rest(&*journal, kinds::all(), slot, &key, head.epoch, &config.slots.receipts).await?;
            (residence.version > 0)
                .then(|| json!({"kind": kind, "id": id, "node": head.owner, "slot": slot, "at_rest": residence}))
        }
    };
    journal.close().await?;
    Ok(answer)
}

/// Makes an administrator in a store that no server holds. The answer is a line for the terminal.
pub async fn create_admin(config: Config, email: &Email, password: String) -> anyhow::Result<String> {
    let store = open_store(&config).await?;
    let alone = |prepared| (prepared, ());
    let (served, ()) = serve(&config, store, "", Arc::new(Metrics::new()), alone).await?;
    let made = make_administrator(&served.runtime.client, &config.auth, email, password).await;
    served.stop().await?;
    made
}

/// Opens the store that the configuration names.
///
/// A shared store's server may be starting at the same time, so it is waited for.
async fn open_store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    let settings = config.store_settings();
    let deadline = Instant::now() + STEP;
    loop {
        match open::open(&settings).await {
            Err(StoreError::Unavailable(why)) if config.store.kind.is_shared() && Instant::now() < deadline => {
                tracing::warn!(why, "waiting for the store");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            other => return other.with_context(|| format!("cannot open the store {}", settings.choice)),
        }
    }
}

/// A runtime, and the place of this process among those who share the store.
struct Served {
    runtime: Runtime,
    membership: Option<Membership>,
}

/// The task that renews, and what ends it.
struct Membership {
    staying: JoinHandle<Member>,
    drained: CancellationToken,
}

impl Served {
    /// Drains, leaves the node list, and closes the store: in this order, so that the next process finds
    /// everything done.
    async fn stop(self) -> Result<(), StoreError> {
        let journal = self.runtime.drain().await;
        if let Some(Membership { staying, drained }) = self.membership {
            drained.cancel();
            if let Ok(member) = staying.await {
                member.leave().await;
            }
        }
        journal.close().await
    }
}

/// Claims the store for this process, and starts the runtime on it. Whom the runtime tells of changes is given to it
/// by `equip`, before it begins.
async fn serve<T>(
    config: &Config,
    store: Arc<dyn Store>,
    address: &str,
    metrics: Arc<Metrics>,
    equip: impl FnOnce(Prepared) -> (Prepared, T),
) -> anyhow::Result<(Served, T)> {
    let (name, slots) = (node_name(config), 0..store.slots());
    if !config.store.kind.is_shared() {
        let node = NodeId::incarnate(&name);
        let (prepared, equipment) = equip(prepare_runtime(config, node, store, Arc::new(SoleOwner), metrics));
        return Ok((Served { runtime: prepared.start(slots).await?, membership: None }, equipment));
    }
    let mut member = Member::enter(store.clone(), &name, address).await?;
    let prepared = prepare_runtime(config, member.node.clone(), store, member.lease.clone(), metrics);
    let (prepared, equipment) = equip(prepared);
    let runtime = match member.meanwhile(prepared.start(slots)).await {
        Ok(runtime) => runtime,
        Err(error) => {
            member.leave().await;
            return Err(error.into());
        }
    };
    let (fail, makes_progress) = (runtime.fail_handle(), runtime.progress_handle());
    let drained = CancellationToken::new();
    let until = drained.clone();
    let staying = tokio::spawn(async move {
        tokio::select! {
            why = member.stay(makes_progress) => fail(why),
            () = until.cancelled() => {}
        }
        member
    });
    Ok((Served { runtime, membership: Some(Membership { staying, drained }) }, equipment))
}

/// The runtime as it is configured, with every gateway, before it begins.
fn prepare_runtime(
    config: &Config,
    node: NodeId,
    store: Arc<dyn Store>,
    lease: Arc<dyn Lease>,
    metrics: Arc<Metrics>,
) -> Prepared {
    let prepared = Runtime::prepare(config.runtime(node, kinds::all()), store, lease, metrics);
    let payments = MockPayments::new(prepared.client());
    prepared.with_gateway(crate::actors::payment::types::GATEWAY, Arc::new(payments))
}

/// SIGINT or SIGTERM.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
