//! Composes a node, and owns the order of start and drain: store, runtime, gateways, read models, edge;
//! and back again. Nothing else starts or stops anything.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
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
use crate::http::{self, ClusterView, Edge, Health};
use crate::metrics::Metrics;
use crate::persistence::open;
use crate::persistence::{EntityKey, Journal, Slot, Store, StoreError};
use crate::telemetry;
use cluster::link::LinkNetwork;
use cluster::network::{Network, NoNetwork};
use cluster::{InUse, Joining, Member, Membership, nobody_serves};
use patience::{Patience, ToldToStop};

/// How long a node that stops waits for others to take its slots.
pub const HAND_OVER: Duration = Duration::from_secs(15);

/// How long one step of starting may wait for an entity.
const STEP: Duration = Duration::from_secs(30);

mod administrator;
pub mod cluster;
mod patience;
pub mod sample;
mod signals;
mod view;

pub use administrator::Bootstrap;
use administrator::{administered, make_administrator, no_administrator, program};
use view::{ManyNodes, OneNode, Own, Rates};

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

/// Serves until it is told to stop (SIGINT, SIGTERM), then finishes what it has admitted. Told a second time, it ends at once.
pub async fn run(config: Config, options: ServeOptions) -> anyhow::Result<()> {
    telemetry::start(&config.log)?;
    let stop = signals::told_to_stop()?;
    let listener =
        TcpListener::bind(config.http.addr).await.with_context(|| format!("cannot listen on {}", config.http.addr))?;
    let address = listener.local_addr()?;
    let metrics = Arc::new(Metrics::new());
    let mut patience = Patience::until(stop.clone());
    let opening = async {
        let store = open_store(&config, &mut patience).await?;
        let follow = |prepared: Prepared| {
            let journal: Arc<dyn Journal> = store.clone();
            let projections = Arc::new(Projections::new(&prepared.client(), &journal, &metrics));
            (prepared.with_follower(projections.feed.clone()), projections)
        };
        serve(&config, store.clone(), &address.to_string(), metrics.clone(), &mut patience, follow).await
    };
    let (served, projections) = match opening.await {
        Err(error) if error.is::<ToldToStop>() => {
            tracing::info!("told to stop before it served");
            return Ok(());
        }
        opened => opened?,
    };
    let failed = served.runtime.failed();
    tokio::spawn(cancel_when_failed(failed.clone(), stop.clone()));
    let ended = answer_clients(&config, options, listener, &served, &projections, metrics, stop).await;
    projections.feed.stop();
    let failure = failed.borrow().clone();
    let stopped = served.stop().await;
    ended?;
    match failure {
        Some(error) => bail!("the store has failed: {error}"),
        None => Ok(stopped?),
    }
}

/// Takes the last steps of a start, and answers clients until the node is told to stop.
async fn answer_clients(
    config: &Config,
    options: ServeOptions,
    listener: TcpListener,
    served: &Served,
    projections: &Arc<Projections>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Served { runtime, membership, .. } = served;
    let (address, health, shutdown) = (listener.local_addr()?, Arc::new(Health::default()), CancellationToken::new());
    let last_steps = async {
        projections.feed.start().await?;
        let edge = Edge::start(http::Given {
            client: runtime.client.clone(),
            config: config.clone(),
            limiter: http::limits::chosen(&config.limits.redis_url, &runtime.client, &metrics).await?,
            metrics: metrics.clone(),
            health: health.clone(),
            cluster: cluster_view(config, runtime, membership.as_ref(), &address.to_string(), &metrics),
            projections: projections.clone(),
        })
        .await?;
        let administered = administered(&edge, options.bootstrap, &shutdown).await?;
        if options.sample
            && let Err(error) = sample::load(&runtime.client).await
        {
            tracing::error!(%error, "the sample catalogue is not whole: the next start adds the rest");
        }
        anyhow::Ok((edge, administered))
    };
    let Some(started) = stop.run_until_cancelled(last_steps).await else {
        tracing::info!("told to stop before it served");
        shutdown.cancel();
        return Ok(());
    };
    let (edge, administered) = started?;
    let hint = (administered == Some(false)).then(|| no_administrator(&program(), config));
    tokio::spawn(hand_over(membership.clone(), health.clone(), stop, shutdown.clone()));
    println!("listening on http://{address}");
    greet(&format!("http://{address}"), options.sample, hint);
    check_health(&health, projections, membership.as_ref());
    http::serve(listener, edge, shutdown).await;
    tracing::info!("draining");
    Ok(())
}

/// What the node's health is made of; it has started.
fn check_health(health: &Health, projections: &Arc<Projections>, membership: Option<&Membership>) {
    let follows = projections.clone();
    let complete: http::operations::health::Check =
        Box::new(move || if follows.is_complete() { Ok(()) } else { Err("reading the catalogue".into()) });
    health.check("read_models", complete);
    if let Some(membership) = membership {
        let lease = membership.lease.clone();
        let may_speak = move || lease.is_valid().then_some(()).ok_or("its lease has lapsed".into());
        health.check("cluster", Box::new(may_speak));
        let linked = membership.clone();
        let why = "most other nodes cannot reach it, and it reaches none of them";
        health.check("links", Box::new(move || if linked.is_cut_off() { Err(why.into()) } else { Ok(()) }));
    }
    let follows = projections.clone();
    health.note(Box::new(move || follows.feed.statuses().iter().map(lag_of).collect()));
    health.started();
}

/// What the admin routes show of the cluster.
fn cluster_view(
    config: &Config,
    runtime: &Runtime,
    membership: Option<&Membership>,
    address: &str,
    metrics: &Arc<Metrics>,
) -> Arc<dyn ClusterView> {
    let linked = membership.cloned();
    let frames = move || {
        let links = linked.iter().flat_map(Membership::links);
        links.map(|link| (link.peer.to_string(), link.frames)).collect()
    };
    let (kind, reads, rates) =
        (config.store.kind.word(), config.cluster.reads(), Rates::start(metrics.clone(), frames));
    let own = Own::new(kind, reads, runtime, metrics.clone(), rates);
    match membership {
        Some(membership) => ManyNodes::new(membership.clone(), own),
        None => {
            let (name, started_at) = (node_name(config), slot::actor::now());
            let (http, zone) = (address.to_owned(), config.cluster.zone.clone());
            Arc::new(OneNode { own, name, http, zone, started_at })
        }
    }
}

/// How a consumer of the journal stands, for `/readyz?verbose`.
fn lag_of(status: &ConsumerStatus) -> (String, String) {
    let ConsumerStatus { name, state, lag_records, lag_ms, .. } = status;
    (format!("consumer {name}"), format!("{}, {lag_records} records and {lag_ms} ms behind", state.word()))
}

/// A node that is told to stop is not ready any more, and gives its slots to the others, while it still serves its clients:
/// what they ask goes on to the new owners. Without anybody to give them to, its clients come first.
async fn hand_over(
    membership: Option<Membership>,
    health: Arc<Health>,
    stopping: CancellationToken,
    shutdown: CancellationToken,
) {
    stopping.cancelled().await;
    health.drain();
    if let Some(mut membership) = membership
        && membership.has_heirs().await
    {
        tracing::info!("handing the slots over");
        membership.drain(HAND_OVER).await;
    }
    shutdown.cancel();
}

async fn cancel_when_failed(mut failed: watch::Receiver<Option<StoreError>>, stop: CancellationToken) {
    let _ = failed.wait_for(Option::is_some).await; // the runtime has ended
    stop.cancel();
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
    let journal = open_store(&config, &mut Patience::of_a_command()).await?;
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
    let (mut config, mut patience) = (config, Patience::of_a_command());
    let store = open_store(&config, &mut patience).await?;
    if config.store.kind.is_shared() {
        // Where nodes serve the store already, it goes through them; they need not reach this process to be reached. None of
        // their slots comes here.
        config.cluster.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        config.cluster.advertise = String::new();
        match nobody_serves(&*store, config.cluster.protocol().lease.lease).await {
            Err(error) if error.is::<InUse>() => config.cluster.weight = 0,
            alone => alone?,
        }
    }
    let alone = |prepared| (prepared, ());
    let (served, ()) = serve(&config, store, "", Arc::new(Metrics::new()), &mut patience, alone).await?;
    let made = make_administrator(&served.runtime.client, &config.auth, email, password).await;
    served.stop().await?;
    made
}

/// Opens the store that the configuration names.
///
/// A shared store's server may be starting at the same time, so it is waited for.
async fn open_store(config: &Config, patience: &mut Patience) -> anyhow::Result<Arc<dyn Store>> {
    let settings = config.store_settings();
    let context = || format!("cannot open the store {}", settings.choice);
    loop {
        match patience.unless_told(open::open(&settings)).await? {
            Ok(store) => {
                patience.answered();
                return Ok(store);
            }
            Err(error @ StoreError::Unavailable(_)) if config.store.kind.is_shared() => {
                patience.bear(error).await.with_context(context)?;
            }
            Err(error) => return Err(error).with_context(context),
        }
    }
}

/// A runtime, and the place of this process among those who share the store.
struct Served {
    runtime: Runtime,
    membership: Option<Membership>,
    link: Option<Arc<LinkNetwork>>,
}

impl Served {
    /// Drains, leaves the node list, and closes the store: in this order, so that the next process finds
    /// everything done.
    async fn stop(self) -> Result<(), StoreError> {
        let Served { runtime, mut membership, link } = self;
        let failed = runtime.failed().borrow().is_some();
        if let Some(membership) = membership.as_mut().filter(|_| !failed) {
            membership.drain(HAND_OVER).await;
        }
        let journal = runtime.drain().await;
        if let Some(membership) = membership {
            membership.leave().await;
        }
        if let Some(link) = link {
            link.link().stop().await;
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
    patience: &mut Patience,
    equip: impl FnOnce(Prepared) -> (Prepared, T),
) -> anyhow::Result<(Served, T)> {
    let (name, slots) = (node_name(config), 0..store.slots());
    if !config.store.kind.is_shared() {
        let node = NodeId::incarnate(&name);
        let (prepared, equipment) = equip(prepare_runtime(config, node, store, Arc::new(SoleOwner), metrics));
        return Ok((Served { runtime: prepared.start(slots).await?, membership: None, link: None }, equipment));
    }
    let node = NodeId::incarnate(&name);
    let link = start_link(config, &node, &name, store.slots(), &metrics).await?;
    let network = match &link {
        Some(link) => link.clone() as Arc<dyn Network>,
        None => Arc::new(NoNetwork),
    };
    let joining = Joining {
        node,
        name,
        http: address.to_owned(),
        link: link.as_ref().map_or_else(String::new, |link| link.link().advertise().to_owned()),
        weight: config.cluster.weight,
        zone: config.cluster.zone.clone(),
        reads: config.cluster.reads(),
        settings: config.cluster.protocol(),
    };
    let member = Member::join(store.clone(), joining, network, metrics.clone(), patience).await?;
    let prepared = prepare_runtime(config, member.node.clone(), store, member.lease.clone(), metrics);
    let (prepared, equipment) = equip(prepared.with_forwarder(&member.forwarder));
    let runtime = match prepared.start([]).await {
        Ok(runtime) => runtime,
        Err(error) => {
            member.leave().await;
            return Err(error.into());
        }
    };
    let membership = member.take_part(&runtime, runtime.fail_handle());
    Ok((Served { runtime, membership: Some(membership), link }, equipment))
}

/// The link to other nodes, where one is configured. Nodes that are of another store, or of another number of slots, are
/// refused by it.
async fn start_link(
    config: &Config,
    node: &NodeId,
    name: &str,
    slots: Slot,
    metrics: &Metrics,
) -> anyhow::Result<Option<Arc<LinkNetwork>>> {
    let cluster = format!("souk: a store of {slots} slots");
    let Some(settings) = config.link(node.clone(), name, &cluster)? else { return Ok(None) };
    let network = LinkNetwork::start(settings).await.context("the link cannot be started")?;
    let counters = network.link().counters().clone();
    metrics.follow("link", move || counters.each());
    Ok(Some(network))
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
