//! The other half of the test kit: several entities and the messages between them, in any order.
//!
//! [`World`] is what the runtime promises and nothing more: what an entity owes is sent until it is
//! answered, in any order; an answer may be lost (the sender crashed before it had it), and then the same
//! request comes again and meets its receipt; an old answer may come once more. A process that ends well
//! under every schedule of a world ends well under every crash between two records.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::kit::Given;
use crate::actors::entity::{Answer, AnyCommand, Decision, Entity, Kind, Outcome, Owed, Target};
use crate::actors::values::RequestId;

type Address = (u8, Arc<str>);
/// Makes an entity that nobody has touched; its request ids begin at the number.
type Birth = fn(u32) -> Box<dyn Node>;

/// What happens next: one of the owed requests is sent, and then this becomes of its answer.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub pick: usize,
    pub fate: Fate,
}

#[derive(Debug, Clone, Copy)]
pub enum Fate {
    Answered,
    AnswerLost,
    /// Nothing is sent; an answer from before comes once more.
    OldAnswer,
}

/// Any step.
pub fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let fate = prop_oneof![4 => Just(Fate::Answered), 2 => Just(Fate::AnswerLost), 1 => Just(Fate::OldAnswer)];
    prop::collection::vec((0..64_usize, fate).prop_map(|(pick, fate)| Step { pick, fate }), 0..most)
}

/// An entity of any kind.
trait Node: Send {
    fn owed(&self) -> Vec<Owed>;
    fn ask(&mut self, command: &AnyCommand) -> Answer;
    fn take_answer(&mut self, key: &str, answer: &Answer);
    fn settled(&self) -> bool;
    fn as_any(&mut self) -> &mut dyn Any;
}

impl<S: Entity> Node for Given<S> {
    fn owed(&self) -> Vec<Owed> {
        self.state.owed()
    }

    fn ask(&mut self, command: &AnyCommand) -> Answer {
        let command = command.get::<S::Kind>().expect("a command of this kind").clone();
        *self = std::mem::take(self).when(command);
        Answer::of_entity::<S::Kind>(outcome(self))
    }

    fn take_answer(&mut self, key: &str, answer: &Answer) {
        if let Some(command) = self.state.answered(key, answer) {
            *self = std::mem::take(self).when(command);
            self.accepted();
        }
    }

    fn settled(&self) -> bool {
        self.state.settled()
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

fn outcome<S: Entity>(given: &Given<S>) -> Outcome<S::Kind> {
    match given.last_outcome() {
        Ok(Decision { reply, .. }) => Ok(reply.clone()),
        Err(rejection) => Err(rejection.clone()),
    }
}

/// Entities by address. Those of kinds that were not named do not exist: nothing gets there.
#[derive(Default)]
pub struct World {
    kinds: BTreeMap<u8, Birth>,
    nodes: BTreeMap<Address, Box<dyn Node>>,
    /// The outcome of each owed request that was ever decided, by sender and key.
    receipts: BTreeMap<(Address, String), Answer>,
    /// Answers that have been given, for giving them again.
    given: Vec<(Address, String)>,
}

impl World {
    pub fn new() -> World {
        World::default()
    }

    pub fn with<K: Kind>(mut self) -> World {
        self.kinds.insert(K::NUMBER, |first| Box::new(Given::<K::State>::new().requests_from(first)));
        self
    }

    /// A client's command, and what it came to at once.
    pub fn send<K: Kind>(&mut self, id: &K::Id, command: K::Command) -> Outcome<K> {
        let given = self.entity::<K>(id);
        *given = std::mem::take(given).when(command);
        outcome(given)
    }

    /// The request id of the last command to this entity.
    pub fn last_request<K: Kind>(&mut self, id: &K::Id) -> RequestId {
        self.entity::<K>(id).ctx().request
    }

    pub fn state<K: Kind>(&mut self, id: &K::Id) -> &K::State {
        &self.entity::<K>(id).state
    }

    pub fn step(&mut self, Step { pick, fate }: Step) {
        if let Fate::OldAnswer = fate {
            if !self.given.is_empty() {
                let (to, key) = self.given[pick % self.given.len()].clone();
                self.answer(&to, &key);
            }
            return;
        }
        let owed = self.owed();
        if owed.is_empty() {
            return;
        }
        let (from, key, command) = owed[pick % owed.len()].clone();
        self.deliver(&from, &key, &command);
        if let Fate::Answered = fate {
            self.answer(&from, &key);
        }
    }

    /// Sends and answers until nothing is owed, and expects every entity to be settled then.
    #[track_caller]
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            let Some((from, key, command)) = self.owed().into_iter().next() else {
                let open: Vec<_> = self.nodes.iter().filter(|(_, node)| !node.settled()).map(|(at, _)| at).collect();
                assert!(open.is_empty(), "owe nothing and are not settled: {open:?}");
                return;
            };
            self.deliver(&from, &key, &command);
            self.answer(&from, &key);
        }
        panic!("does not come to rest; owed: {:?}", self.owed());
    }

    fn owed(&self) -> Vec<(Address, String, AnyCommand)> {
        let mut owed = Vec::new();
        for (from, node) in &self.nodes {
            for Owed { key, to } in node.owed() {
                match to {
                    Target::Entity(command) if self.kinds.contains_key(&command.kind) => {
                        owed.push((from.clone(), key, command));
                    }
                    Target::Entity(_) | Target::Gateway { .. } => {}
                }
            }
        }
        owed
    }

    /// A request that was decided before has its receipt.
    fn deliver(&mut self, from: &Address, key: &str, command: &AnyCommand) {
        let name = (from.clone(), key.to_owned());
        if !self.receipts.contains_key(&name) {
            let answer = self.node((command.kind, command.id.clone())).ask(command);
            self.receipts.insert(name, answer);
        }
    }

    fn answer(&mut self, to: &Address, key: &str) {
        let name = (to.clone(), key.to_owned());
        let Some(answer) = self.receipts.get(&name).cloned() else { return };
        self.given.push(name);
        self.node(to.clone()).take_answer(key, &answer);
    }

    fn entity<K: Kind>(&mut self, id: &K::Id) -> &mut Given<K::State> {
        let node = self.node((K::NUMBER, id.to_string().into()));
        node.as_any().downcast_mut().expect("nodes are under their own kind")
    }

    fn node(&mut self, at: Address) -> &mut dyn Node {
        let first = u32::try_from(self.nodes.len()).expect("a small world") * 100_000;
        let new = self.kinds[&at.0];
        self.nodes.entry(at).or_insert_with(|| new(first)).as_mut()
    }
}
