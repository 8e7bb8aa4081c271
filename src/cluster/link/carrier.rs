//! How frames travel: over ractor_cluster, between one remotable actor of each node.
//!
//! Each connection that has passed our handshake becomes a `NodeSession` of ractor_cluster. It announces this node's only
//! remotable actor, [`Post`], to the peer and makes a local stand-in for the peer's; a frame is a cast to that. Its
//! `NodeServer` is not used: that listens by itself, takes any number of connections, waits without an end for a TLS
//! handshake, and tells its name to whoever asks. [`Registrar`] stands in its place, and answers what sessions ask theirs.
//!
//! Mailboxes of sessions are unbounded; what bounds them is the credit of [`super::session`]. A session neither notices that
//! a peer is dead nor connects anew: the pulse and the dialer do.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use ractor::message::{BoxedDowncastErr, SerializedMessage};
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, Message, SupervisionEvent};
use ractor_cluster::node::{NodeConnectionMode, SessionCheckReply};
use ractor_cluster::{BoxRead, BoxWrite, NetworkStream, NodeServerMessage, NodeSession, NodeSessionMessage};
use tokio::sync::watch;

use super::frame::FRAME_MAX;

/// What a frame has around it on the wire is far less.
const ENVELOPE_MAX: usize = 1_024;

/// The numbers of sessions are part of the ids of remote actors, which are the process's.
static SESSIONS: AtomicU64 = AtomicU64::new(1);

/// A frame, as the message that one node's [`Post`] casts to another's.
pub struct Frame(Vec<u8>);

impl Message for Frame {
    fn serializable() -> bool {
        true
    }
    fn serialize(self) -> Result<SerializedMessage, BoxedDowncastErr> {
        Ok(SerializedMessage::Cast { variant: String::new(), args: self.0, metadata: None })
    }
    fn deserialize(message: SerializedMessage) -> Result<Frame, BoxedDowncastErr> {
        match message {
            SerializedMessage::Cast { args, .. } => Ok(Frame(args)),
            SerializedMessage::Call { .. } | SerializedMessage::CallReply(..) => Err(BoxedDowncastErr),
        }
    }
}

/// Takes the frames of all peers, one after the other.
struct Post(Box<dyn Fn(Bytes) + Send + Sync>);

#[async_trait::async_trait]
impl Actor for Post {
    type Msg = Frame;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Frame>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
    async fn handle(&self, _: ActorRef<Frame>, frame: Frame, (): &mut ()) -> Result<(), ActorProcessingErr> {
        (self.0)(Bytes::from(frame.0));
        Ok(())
    }
}

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Begun,
    /// Both ends know each other's actors.
    Ready,
    Ended,
}

#[derive(Default)]
struct Phases(Mutex<HashMap<ActorId, watch::Sender<Phase>>>);

/// A session may be ready, or have ended, before the task that spawned it asks. So whoever comes first makes the entry; it
/// leaves with the end of the session, or when that has been heard of.
impl Phases {
    fn ready(&self, session: ActorId) {
        self.0.lock().entry(session).or_insert_with(|| watch::Sender::new(Phase::Begun)).send_replace(Phase::Ready);
    }
    fn ended(&self, session: ActorId) {
        let mut phases = self.0.lock();
        match phases.remove(&session) {
            Some(phase) => {
                phase.send_replace(Phase::Ended);
            }
            None => {
                phases.insert(session, watch::Sender::new(Phase::Ended));
            }
        }
    }
    fn of(&self, session: ActorId) -> watch::Receiver<Phase> {
        self.0.lock().entry(session).or_insert_with(|| watch::Sender::new(Phase::Begun)).subscribe()
    }
    fn forget(&self, session: ActorId) {
        self.0.lock().remove(&session);
    }
}

/// What sessions take for their server.
struct Registrar(Arc<Phases>);

#[async_trait::async_trait]
impl Actor for Registrar {
    type Msg = NodeServerMessage;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<NodeServerMessage>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<NodeServerMessage>,
        message: NodeServerMessage,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match message {
            // Which connection of a pair stays was decided before there was a session.
            NodeServerMessage::CheckSession { reply, .. } => {
                let _ = reply.send(SessionCheckReply::NoOtherConnection); // a session that has ended does not wait for it
            }
            NodeServerMessage::ConnectionReady(session) => self.0.ready(session),
            NodeServerMessage::GetSessions(reply) => {
                let _ = reply.send(HashMap::new()); // nodes find each other through the store
            }
            NodeServerMessage::ConnectionOpened { .. }
            | NodeServerMessage::ConnectionOpenedExternal { .. }
            | NodeServerMessage::ConnectionAuthenticated(_)
            | NodeServerMessage::UpdateSession { .. }
            | NodeServerMessage::SubscribeToEvents { .. }
            | NodeServerMessage::UnsubscribeToEvents(_)
            | NodeServerMessage::PortChanged { .. } => {}
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<NodeServerMessage>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorTerminated(session, ..) | SupervisionEvent::ActorFailed(session, _) = event {
            self.0.ended(session.get_id());
        }
        Ok(())
    }
}

/// The actors of a node's links.
pub struct Carrier {
    registrar: ActorRef<NodeServerMessage>,
    post: ActorRef<Frame>,
    phases: Arc<Phases>,
}

/// What a connection is carried by needs to know.
pub struct Passage {
    pub halves: (BoxRead, BoxWrite),
    pub is_acceptor: bool,
    /// Known to both ends and nobody else.
    pub cookie: String,
    /// This end's number of the connection; the other end has another.
    pub number: u64,
    /// The peer's [`Post`].
    pub actor: u64,
}

impl Carrier {
    /// `take` is called with each frame that comes, in the order of its connection.
    pub async fn start(take: impl Fn(Bytes) + Send + Sync + 'static) -> Result<Carrier, ractor::SpawnErr> {
        let phases = Arc::new(Phases::default());
        let (post, _) = Actor::spawn(None, Post(Box::new(take)), ()).await?;
        let (registrar, _) = Actor::spawn(None, Registrar(phases.clone()), ()).await?;
        Ok(Carrier { registrar, post, phases })
    }

    /// The number of this node's [`Post`].
    pub fn actor(&self) -> u64 {
        self.post.get_id().pid()
    }

    /// Carries frames over the connection from now on. Waits until both ends can; whoever calls it bounds the time.
    pub async fn carry(&self, passage: Passage) -> Option<Carried> {
        let Passage { halves: (reader, writer), is_acceptor, cookie, number, actor } = passage;
        let node = SESSIONS.fetch_add(1, Ordering::Relaxed);
        let session = |name| {
            let server = self.registrar.clone();
            NodeSession::new(node, is_acceptor, cookie, server, name, NodeConnectionMode::Isolated)
        };
        // The type of a session's name is not public. It only has to differ from that of the other end.
        let mut name = default_of(&session);
        name.name = format!("{number:x}");
        name.connection_string.clone_from(&name.name);
        let session = session(name).with_max_inbound_frame_size((FRAME_MAX + ENVELOPE_MAX) as u64);
        let stream = NetworkStream::External { peer_label: None, local_label: None, reader, writer };
        let (session, _) = Actor::spawn_linked(None, session, stream, self.registrar.get_cell()).await.ok()?;
        let id = session.get_id();
        let mut carried = Carried { phase: self.phases.of(id), phases: self.phases.clone(), session, remote: None };
        let phase = *carried.phase.wait_for(|phase| *phase != Phase::Begun).await.ok()?;
        if phase == Phase::Ended {
            return None;
        }
        let remote = ActorId::Remote { node_id: node, pid: actor };
        carried.remote = carried.session.get_cell().get_children().into_iter().find(|cell| cell.get_id() == remote);
        carried.remote.is_some().then_some(carried)
    }

    pub fn stop(&self) {
        self.registrar.stop(None);
        self.post.stop(None);
    }
}

fn default_of<T: Default, R>(_: &impl FnOnce(T) -> R) -> T {
    T::default()
}

/// A connection that carries frames. Dropped, it is closed.
pub struct Carried {
    session: ActorRef<NodeSessionMessage>,
    remote: Option<ActorCell>,
    phase: watch::Receiver<Phase>,
    phases: Arc<Phases>,
}

impl Carried {
    /// Does not wait. What is sent after the end goes nowhere.
    pub fn send(&self, frame: Vec<u8>) {
        let cast = SerializedMessage::Cast { variant: String::new(), args: frame, metadata: None };
        if let Some(remote) = &self.remote {
            let _ = remote.send_serialized(cast); // the end of the session is heard of by `ended`
        }
    }

    /// Waits for the end of the connection, whoever brings it about.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut phase = self.phase.clone();
        async move {
            let _ = phase.wait_for(|phase| *phase == Phase::Ended).await; // an error is an end too
        }
    }

    pub fn close(&self) {
        self.session.stop(None);
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.session.stop(None);
        if *self.phase.borrow() == Phase::Ended {
            self.phases.forget(self.session.get_id());
        }
    }
}
