//! Starts the consumers' actors and what watches the heads, and starts again what fails, with a backoff.

use std::collections::HashMap;
use std::sync::Arc;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::Feed;
use super::follow::Follow;
use crate::actors::runtime::pauses::Failures;

pub(super) struct Supervisor;

pub(super) struct SupervisorState {
    feed: Arc<Feed>,
    children: HashMap<ActorId, Task>,
    failures: Failures<Task>,
}

pub(super) enum SupervisorMessage {
    Start(Task),
}

impl ractor::Message for SupervisorMessage {}

/// What an actor of the feed does all its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Task {
    WatchHeads,
    /// The consumer with this number.
    Follow(usize),
}

#[async_trait::async_trait]
impl Actor for Supervisor {
    type Msg = SupervisorMessage;
    type State = SupervisorState;
    type Arguments = Arc<Feed>;

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMessage>,
        feed: Arc<Feed>,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        let mut state = SupervisorState { feed, children: HashMap::new(), failures: Failures::new() };
        state.start(&myself, Task::WatchHeads).await?;
        for consumer in 0..state.feed.consumers.len() {
            state.start(&myself, Task::Follow(consumer)).await?;
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<SupervisorMessage>,
        SupervisorMessage::Start(task): SupervisorMessage,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        if let Err(error) = state.start(&myself, task).await {
            state.failed(&myself, task, &error.to_string());
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMessage>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, why) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell, error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, why) => (cell, why.unwrap_or_else(|| "it ended".to_owned())),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
            #[allow(unreachable_patterns)]
            _ => return Ok(()),
        };
        if let Some(task) = state.children.remove(&cell.get_id())
            && !state.feed.stopped.is_cancelled()
        {
            state.failed(&myself, task, &why);
        }
        Ok(())
    }
}

impl SupervisorState {
    async fn start(&mut self, myself: &ActorRef<SupervisorMessage>, task: Task) -> Result<(), ActorProcessingErr> {
        let arguments = (self.feed.clone(), task);
        let (actor, _) = Actor::spawn_linked(None, Runner, arguments, myself.get_cell()).await?;
        self.children.insert(actor.get_id(), task);
        Ok(())
    }

    fn failed(&mut self, myself: &ActorRef<SupervisorMessage>, task: Task, error: &str) {
        let pause = self.failures.pause(task);
        let consumer = match task {
            Task::WatchHeads => None,
            Task::Follow(consumer) => self.feed.consumers.get(consumer),
        };
        if let Some(progress) = consumer {
            self.feed.metrics.consumer_failures.with_label_values(&[progress.name()]).inc();
            progress.failed(error.into());
        }
        let consumer = consumer.map(|progress| progress.name());
        tracing::error!(?task, consumer, error, restart_after_ms = pause.as_millis(), "an actor of the feed failed");
        myself.send_after(pause, move || SupervisorMessage::Start(task));
    }
}

/// The actor of one task.
struct Runner;

struct Run;

impl ractor::Message for Run {}

#[async_trait::async_trait]
impl Actor for Runner {
    type Msg = Run;
    type State = (Arc<Feed>, Task);
    type Arguments = (Arc<Feed>, Task);

    async fn pre_start(
        &self,
        myself: ActorRef<Run>,
        arguments: (Arc<Feed>, Task),
    ) -> Result<(Arc<Feed>, Task), ActorProcessingErr> {
        myself.cast(Run)?;
        Ok(arguments)
    }

    async fn handle(
        &self,
        myself: ActorRef<Run>,
        Run: Run,
        (feed, task): &mut (Arc<Feed>, Task),
    ) -> Result<(), ActorProcessingErr> {
        match *task {
            Task::WatchHeads => feed.watch_heads().await,
            Task::Follow(consumer) => {
                if let Some(progress) = feed.consumers.get(consumer) {
                    Follow::new(feed.clone(), progress.clone()).run().await;
                }
            }
        }
        myself.stop(None);
        Ok(())
    }
}
