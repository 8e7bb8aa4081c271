//! What a caller is told after several attempts.

use super::*;
use crate::actors::kinds;
use crate::actors::runtime::slot::SlotShared;
use crate::actors::user::types::{Command, User};
use crate::actors::values::UserId;
use crate::cluster::{NodeId, Ownership, SoleOwner};
use crate::metrics::Metrics;
use crate::persistence::Journal;
use crate::persistence::memory::Memory;

/// A client of one slot without an actor.
fn client() -> (Client, Arc<SlotShared>) {
    let journal: Arc<dyn Journal> = Arc::new(Memory::new(1));
    let ownership = Arc::new(Ownership::new(NodeId::incarnate("test"), 1));
    let shared = SlotShared::new(0, 16);
    let (slots, lease, metrics) = (vec![shared.clone()], Arc::new(SoleOwner), Arc::new(Metrics::new()));
    (Client::new(Arc::new(Router::new(slots, kinds::all(), journal, ownership, lease, metrics))), shared)
}

/// What has come to the slot.
async fn next(shared: &SlotShared) -> Envelope {
    loop {
        match shared.inbox.drain(1).0.pop() {
            Some(envelope) => break envelope,
            None => tokio::task::yield_now().await,
        }
    }
}

/// Each attempt gets the next answer of the script.
async fn asked(keyed: bool, script: Vec<AskError>) -> Option<AskError> {
    let (client, shared) = client();
    let asking = Asking {
        request: RequestId::of("test", &[]),
        keyed: keyed.then_some(Keyed { fingerprint: [1; 16], keep_ms: 60_000 }),
        caller: Caller::System,
        deadline: Instant::now() + Duration::from_secs(30),
        if_version: None,
        wait: Wait::Durable,
    };
    let asked = client.ask_outcome::<User>(&UserId(1), Command::UpdateProfile { name: None }, asking);
    let answering = async {
        for error in script {
            next(&shared).await.reply.send(Err(error));
        }
    };
    tokio::join!(asked, answering).0.err()
}

fn busy() -> AskError {
    AskError::Busy { retry_after_ms: 100 }
}

#[tokio::test]
async fn what_will_never_be_taken_is_not_asked_again() {
    for keyed in [true, false] {
        assert_eq!(asked(keyed, vec![AskError::Unavailable, AskError::Unsupported]).await, Some(AskError::Unsupported));
    }
    assert_eq!(asked(true, vec![AskError::Unknown, AskError::Unsupported]).await, Some(AskError::Unknown));
}

/// "Nothing was done" would be about the last attempt alone.
#[tokio::test]
async fn after_an_attempt_of_unknown_outcome_nobody_is_told_that_nothing_was_done() {
    for last in [busy(), AskError::Quarantined, AskError::Damaged, AskError::Panicked] {
        assert_eq!(asked(true, vec![AskError::Unknown, last.clone()]).await, Some(AskError::Unknown), "{last}");
    }
    let in_between = vec![AskError::Unknown, AskError::Unavailable, busy()];
    assert_eq!(asked(true, in_between).await, Some(AskError::Unknown));
}

#[tokio::test]
async fn what_the_entity_answers_holds_for_every_attempt() {
    let stale = AskError::StaleVersion { current: 7 };
    assert_eq!(asked(true, vec![AskError::Unknown, stale.clone()]).await, Some(stale));
    assert_eq!(asked(true, vec![AskError::Unknown, AskError::KeyReused]).await, Some(AskError::KeyReused));
    assert_eq!(asked(true, vec![AskError::Unavailable, busy()]).await, Some(busy()), "nothing was done before it");
    assert_eq!(asked(false, vec![AskError::Unknown]).await, Some(AskError::Unknown), "it is not asked again");
}

/// The owner may write states in a version that this node does not read, or one that is too large to send.
#[tokio::test]
async fn a_read_that_brings_no_state_is_answered_from_the_journal() {
    let (client, shared) = client();
    let id = UserId(1);
    let read = client.read::<User>(&id, Instant::now() + Duration::from_secs(30));
    let answering = async {
        let reply = Reply {
            outcome: None,
            version: 0,
            seq: 0,
            epoch: 0,
            at: Time::ZERO,
            state: None,
            replayed: false,
            residence: None,
        };
        next(&shared).await.reply.send(Ok(reply));
    };
    let view = tokio::join!(read, answering).0.expect("the state of version 0");
    assert_eq!((view.version, view.state.status), (0, crate::actors::user::types::Status::Absent));
}
