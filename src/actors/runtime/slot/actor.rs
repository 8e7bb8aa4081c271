//! The ractor actor around a slot: it hands messages to the slot's [shell](super::shell) and carries out what that wants
//! done, in tasks of their own where they wait for something. It decides nothing.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::asking::Asking;
use super::message::SlotMessage;
use super::output::{Output, Outputs};
use super::shell::{Now, SlotContext, SlotShell};
use crate::actors::runtime::writer::{EffectSink, Gathering};
use crate::actors::values::Time;

/// What a slot needs around it.
pub struct SlotSeat {
    pub context: SlotContext,
    pub asking: Arc<Asking>,
    pub gathering: Arc<Gathering>,
    pub sink: Arc<dyn EffectSink>,
}

pub struct SlotActor;

pub struct SlotActorState {
    shell: SlotShell,
    asking: Arc<Asking>,
    gathering: Arc<Gathering>,
    sink: Arc<dyn EffectSink>,
    ticking: Option<JoinHandle<()>>,
}

/// The time of day, in milliseconds.
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl ractor::Message for SlotMessage {}

#[async_trait::async_trait]
impl Actor for SlotActor {
    type Msg = SlotMessage;
    type State = SlotActorState;
    type Arguments = SlotSeat;

    async fn pre_start(&self, _: ActorRef<SlotMessage>, seat: SlotSeat) -> Result<SlotActorState, ActorProcessingErr> {
        let SlotSeat { context, asking, gathering, sink } = seat;
        Ok(SlotActorState { shell: SlotShell::new(context), asking, gathering, sink, ticking: None })
    }

    async fn handle(
        &self,
        myself: ActorRef<SlotMessage>,
        message: SlotMessage,
        state: &mut SlotActorState,
    ) -> Result<(), ActorProcessingErr> {
        let now = Now { time: now(), instant: Instant::now() };
        let outputs = state.shell.handle(message, now);
        state.carry_out(&myself, outputs, now.time);
        Ok(())
    }
}

impl Drop for SlotActorState {
    fn drop(&mut self) {
        if let Some(ticking) = self.ticking.take() {
            ticking.abort();
        }
    }
}

impl SlotActorState {
    fn carry_out(&mut self, myself: &ActorRef<SlotMessage>, outputs: Outputs, now: Time) {
        let Outputs { submissions, others } = outputs;
        self.gathering.submit(submissions);
        for output in others {
            match output {
                Output::Answer(reply, answer) => reply.send(answer),
                Output::Ask { generation, question } => {
                    let (asking, myself) = (self.asking.clone(), myself.clone());
                    tokio::spawn(async move {
                        if let Some(what) = asking.ask(generation, question).await {
                            // gone: nobody waits
                            let _ = myself.cast(SlotMessage::Back { generation, what: Box::new(what) });
                        }
                    });
                }
                Output::After { generation, after_ms, what } => {
                    let back = move || SlotMessage::Back { generation, what: Box::new(what) };
                    drop(myself.send_after(Duration::from_millis(after_ms), back));
                }
                Output::Resend { dispatch, after_ms } => {
                    let sink = self.sink.clone();
                    tokio::spawn(async move {
                        sleep(Duration::from_millis(after_ms)).await;
                        sink.dispatch(dispatch);
                    });
                }
                Output::TickAt(at) => self.tick_at(myself, at, now),
                Output::Poke => drop(myself.cast(SlotMessage::Poke)), // to oneself: it can fail only while stopping
                Output::EndGeneration { slot, generation, why } => self.gathering.end_generation(slot, generation, why),
                Output::Reroute(envelope) => self.sink.reroute(envelope),
                Output::News(news) => self.sink.news(self.asking.shared.slot, news),
                Output::StoreFailed(error) => self.sink.store_failed(error),
                Output::Left => myself.stop(None),
            }
        }
    }

    fn tick_at(&mut self, myself: &ActorRef<SlotMessage>, at: Time, now: Time) {
        const LONGEST_MS: u64 = 24 * 3_600_000;
        let after = Duration::from_millis(at.since_ms(now).clamp(1, LONGEST_MS));
        let myself = myself.clone();
        let ticking = tokio::spawn(async move {
            sleep(after).await;
            let _ = myself.cast(SlotMessage::Tick); // gone: its successor reads the index
        });
        if let Some(before) = self.ticking.replace(ticking) {
            before.abort();
        }
    }
}
