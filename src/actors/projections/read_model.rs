//! A read model as a consumer of the feed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::left_out::LeftOut;
use crate::actors::feed::{Batch, Consumer, ConsumerError, Position};
use crate::actors::runtime::client::{AskError, Client};
use crate::metrics::Metrics;
use crate::persistence::{EntityKey, Journal};

/// Entities that are read at once.
const READS_AT_ONCE: usize = 64;
/// How long one read may take. A slow one is tried again.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Ids of one page of a scan.
const SCAN_PAGE: usize = 1_024;

/// What a read model shows: rows made of entities.
#[async_trait]
pub(super) trait Rows: Default + Send + Sync + 'static {
    /// Of its consumer.
    const NAME: &'static str;
    /// The kinds that rows are made of, in the order in which they are first read.
    const KINDS: &'static [u8];

    /// Reads an entity and writes its row. The answer is the version that was read.
    async fn read(&self, client: &Client, key: &EntityKey, deadline: Instant) -> Result<u64, AskError>;

    /// Shows these rows, and none of those before.
    fn replace(&self, rows: Self);
}

pub(super) struct ReadModel<R> {
    pub rows: Arc<R>,
    client: Client,
    journal: Arc<dyn Journal>,
    metrics: Arc<Metrics>,
    kept: Mutex<Kept>,
    complete: watch::Sender<bool>,
}

#[derive(Default)]
struct Kept {
    positions: Option<Vec<Position>>,
    left_out: LeftOut,
    /// What was left out and is being read again.
    trying: Vec<(EntityKey, u64)>,
}

impl<R: Rows> ReadModel<R> {
    pub fn new(client: &Client, journal: &Arc<dyn Journal>, metrics: &Arc<Metrics>) -> ReadModel<R> {
        ReadModel {
            rows: Arc::default(),
            client: client.clone(),
            journal: journal.clone(),
            metrics: metrics.clone(),
            kept: Mutex::default(),
            complete: watch::Sender::new(false),
        }
    }

    /// Whether it has been built.
    pub fn is_complete(&self) -> watch::Receiver<bool> {
        self.complete.subscribe()
    }

    /// Reads entities into rows; each at this version at least. Those that cannot be read are left out.
    async fn refresh(
        &self,
        rows: &R,
        entities: impl IntoIterator<Item = (EntityKey, u64)>,
        left_out: impl Fn(EntityKey, u64, bool),
    ) {
        let reads = entities.into_iter().map(|(key, version)| async move {
            let outcome = rows.read(&self.client, &key, Instant::now() + READ_TIMEOUT).await;
            (key, version, outcome)
        });
        let mut reads = futures::stream::iter(reads).buffer_unordered(READS_AT_ONCE);
        while let Some((key, version, outcome)) = reads.next().await {
            match outcome {
                Ok(read) if read >= version => self.metrics.projection_reads.inc(),
                // Whoever answered does not know of the record yet.
                Ok(_older) => left_out(key, version, true),
                Err(error) if may_pass(&error) => left_out(key, version, true),
                Err(error) => {
                    tracing::warn!(kind = key.kind, id = %key.id, %error, "a read model has to leave an entity out");
                    left_out(key, version, false);
                }
            }
        }
    }

    async fn scan(&self, rows: &R, left_out: &Mutex<LeftOut>) -> Result<(), ConsumerError> {
        for kind in R::KINDS.iter().copied() {
            let mut after: Option<Arc<str>> = None;
            loop {
                let page = self.journal.entities(kind, after.as_deref(), SCAN_PAGE).await;
                let page = page.map_err(ConsumerError::of)?;
                after = page.last().filter(|_| page.len() == SCAN_PAGE).cloned();
                let entities = page.into_iter().map(|id| (EntityKey { kind, id }, 0));
                let put = |key, version, passes| left_out.lock().put(key, version, passes, Instant::now());
                self.refresh(rows, entities, put).await;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn leave_out(&self, key: EntityKey, version: u64, passes: bool) {
        self.kept.lock().left_out.put(key, version, passes, Instant::now());
    }
}

#[async_trait]
impl<R: Rows> Consumer for ReadModel<R> {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn follows(&self, kind: u8) -> bool {
        R::KINDS.contains(&kind)
    }

    async fn load(&self) -> Result<Option<Vec<Position>>, ConsumerError> {
        let mut kept = self.kept.lock();
        // The turn that was reading these came to no end.
        for (key, version) in std::mem::take(&mut kept.trying) {
            kept.left_out.put(key, version, true, Instant::now());
        }
        Ok(kept.positions.clone())
    }

    async fn apply(&self, batch: &Batch) -> Result<(), ConsumerError> {
        // A record without events has changed nothing.
        let mut changed: HashMap<EntityKey, u64> = HashMap::new();
        for record in batch.records().filter(|record| !record.events.is_empty()) {
            changed.insert(record.key.clone(), record.version);
        }
        self.refresh(&self.rows, changed, |key, version, passes| self.leave_out(key, version, passes)).await;
        if let Some(positions) = &mut self.kept.lock().positions {
            batch.move_positions(positions);
        }
        Ok(())
    }

    async fn turn(&self) -> Result<(), ConsumerError> {
        let now = Instant::now();
        let (due, is_all_due) = {
            let mut kept = self.kept.lock();
            let due = kept.left_out.take_due(now);
            kept.trying.clone_from(&due);
            (due, kept.left_out.is_all_due(now))
        };
        if is_all_due {
            self.kept.lock().positions = None;
            return Err(ConsumerError::of("too many entities could not be read: all are read again"));
        }
        if !due.is_empty() {
            self.refresh(&self.rows, due, |key, version, passes| self.leave_out(key, version, passes)).await;
            self.kept.lock().trying.clear();
        }
        if !*self.complete.borrow() && !self.kept.lock().left_out.has_passing() {
            self.complete.send_replace(true);
        }
        Ok(())
    }

    async fn rebuild(&self, heads: Vec<Position>) -> Result<Vec<Position>, ConsumerError> {
        let (rows, left_out) = (R::default(), Mutex::default());
        self.scan(&rows, &left_out).await?;
        self.rows.replace(rows);
        *self.kept.lock() =
            Kept { positions: Some(heads.clone()), left_out: left_out.into_inner(), trying: Vec::new() };
        Ok(heads)
    }
}

/// Whether the same read may well succeed soon.
fn may_pass(error: &AskError) -> bool {
    match error {
        AskError::Busy { .. }
        | AskError::Unavailable
        | AskError::DeadlinePassed
        | AskError::Unknown
        | AskError::Unsupported => true,
        AskError::KeyReused
        | AskError::AnsweredLongAgo
        | AskError::StaleVersion { .. }
        | AskError::Panicked
        | AskError::Quarantined
        | AskError::Damaged
        | AskError::UnknownKind => false,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::actors::feed::SlotBatch;
    use crate::actors::kinds;
    use crate::actors::runtime::router::Router;
    use crate::actors::runtime::slot::SlotShared;
    use crate::cluster::{NodeId, Ownership, SoleOwner};
    use crate::persistence::memory::Memory;
    use crate::persistence::{Payload, Record};

    /// Answers a read as it was told to; `None`: it panics.
    #[derive(Default)]
    struct Told(Mutex<Vec<Option<Result<u64, AskError>>>>);

    #[async_trait]
    impl Rows for Told {
        const NAME: &'static str = "told";
        const KINDS: &'static [u8] = &[9];
        async fn read(&self, _: &Client, _: &EntityKey, _: Instant) -> Result<u64, AskError> {
            let told = self.0.lock().pop();
            told.expect("it is read as often as that").expect("injected")
        }
        fn replace(&self, _: Told) {}
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_left_out_is_read_until_its_version_is_there_through_a_panic() {
        let (lease, metrics) = (Arc::new(SoleOwner), Arc::new(Metrics::new()));
        let ownership = Arc::new(Ownership::new(NodeId::incarnate("test"), 1));
        let journal: Arc<dyn Journal> = Arc::new(Memory::new(1));
        let slots = vec![SlotShared::new(0, 16)];
        let router = Router::new(slots, kinds::all(), journal.clone(), ownership, lease, metrics.clone());
        let model = ReadModel::<Told>::new(&Client::new(Arc::new(router)), &journal, &metrics);
        model.rebuild(vec![Position::BEGINNING]).await.expect("there is nothing to read");
        *model.rows.0.lock() = vec![Some(Ok(7)), Some(Ok(6)), None, Some(Err(AskError::Unavailable))];
        let record = Record {
            slot: 0,
            seq: 1,
            epoch: 1,
            key: EntityKey { kind: 9, id: "TEE-M".into() },
            version: 7,
            at_ms: 1,
            request: [7; 16],
            receipt: None,
            events: vec![Payload { type_number: 0x0901, version: 1, bytes: vec![1] }],
            owed: None,
            wake: None,
        };
        let position = Position::behind(&record);
        let slots = vec![SlotBatch { slot: 0, records: vec![Arc::new(record)], position }];
        model.apply(&Batch { slots }).await.expect("it is left out");
        let mut panics = 0;
        for _ in 0..8 {
            tokio::time::advance(Duration::from_secs(1)).await;
            if std::panic::AssertUnwindSafe(model.turn()).catch_unwind().await.is_err() {
                panics += 1;
                assert!(model.load().await.is_ok_and(|positions| positions == Some(vec![position])));
            }
        }
        assert_eq!((panics, model.rows.0.lock().len()), (1, 0), "an older version is not enough");
        assert!(*model.is_complete().borrow());
    }
}
