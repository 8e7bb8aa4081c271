//! Where requests go while their slots move, against a carrier that the test plays.

use std::sync::atomic::AtomicBool;

use tokio::sync::oneshot;

use super::carrier::Outcome;
use super::*;
use crate::actors::entity::Caller;
use crate::actors::kinds;
use crate::actors::runtime::counting::Counting;
use crate::actors::runtime::envelope::{Body, Reply, ReplyTo, Wait, key};
use crate::actors::runtime::slot::SlotShared;
use crate::actors::runtime::wire::{NodeQuestion, encode_response};
use crate::actors::values::{RequestId, Time};
use crate::cluster::{Ownership, SoleOwner, slot_of};
use crate::persistence::Journal;
use crate::persistence::memory::Memory;

const CART: u8 = 10;
const ID: &str = "cart_00000000000000000000000000";
const SLOTS: Slot = 4;

struct Sent {
    to: NodeId,
    request: Vec<u8>,
    outcome: Outcome,
}

#[derive(Default)]
struct Wire {
    sent: Mutex<Vec<Sent>>,
    is_down: AtomicBool,
}

impl Carrier for Wire {
    fn reaches(&self, _: &NodeId) -> bool {
        !self.is_down.load(Ordering::Acquire)
    }

    fn ask(&self, to: &NodeId, request: Vec<u8>, _: Duration, outcome: Outcome) {
        self.sent.lock().push(Sent { to: to.clone(), request, outcome });
    }
}

struct Bench {
    forwarder: Arc<Forwarder>,
    wire: Arc<Wire>,
    router: Arc<Router>,
    notices: Arc<Mutex<Vec<Notice>>>,
}

impl Bench {
    fn new() -> Bench {
        let (wire, notices): (Arc<Wire>, Arc<Mutex<Vec<Notice>>>) = Default::default();
        let told = notices.clone();
        let (me, metrics) = (NodeId::of("me"), Arc::new(Metrics::new()));
        let tell = Box::new(move |notice| told.lock().push(notice));
        let forwarder = Forwarder::new(me.clone(), SLOTS, kinds::all(), wire.clone(), tell, metrics.clone());
        let journal: Arc<dyn Journal> = Arc::new(Memory::new(SLOTS));
        let slots: Vec<_> = (0..SLOTS).map(|slot| SlotShared::new(slot, 16)).collect();
        slots.iter().for_each(|slot| drop(slot.close()));
        let ownership = Arc::new(Ownership::new(me, SLOTS));
        let router = Arc::new(Router::new(slots, kinds::all(), journal, ownership, Arc::new(SoleOwner), metrics));
        forwarder.serve_with(&router);
        router.connect(forwarder.clone());
        Bench { forwarder, wire, router, notices }
    }

    fn slot() -> Slot {
        slot_of(CART, ID, SLOTS)
    }

    fn ask(&self, within: Duration) -> oneshot::Receiver<Result<Reply, AskError>> {
        let (reply, answer) = ReplyTo::channel();
        self.router.send(Envelope { reply, ..read(within) });
        answer
    }

    fn sent(&self) -> Option<Sent> {
        self.wire.sent.lock().pop()
    }

    fn to_peer(&self, peer: &str, epoch: Epoch) {
        let peer = NodeId::of(peer);
        self.forwarder.set_route(Bench::slot(), Route::Peer { to: peer.clone(), owner: peer, epoch });
    }
}

fn read(within: Duration) -> Envelope {
    Envelope {
        key: key(CART, ID),
        slot: Bench::slot(),
        request: RequestId::default(),
        caller: Caller::System,
        deadline: Instant::now() + within,
        want_state: false,
        body: Body::Read { wait: Wait::Durable },
        reply: ReplyTo::nobody(),
    }
}

fn reply(version: u64) -> Result<Reply, AskError> {
    let (outcome, state, residence) = (None, None, None);
    Ok(Reply { outcome, version, seq: 5, epoch: 0, at: Time(7), state, replayed: false, residence })
}

fn answer(version: u64, epoch: Epoch) -> Vec<u8> {
    let spec = kinds::all().by_number(CART).expect("carts");
    let response = encode_response(&reply(version), spec, WireVersion::OURS).expect("it may cross");
    Routed::Answer { epoch, response: &response }.encode()
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_request_waits_for_an_owner_and_goes_to_it() {
    let bench = Bench::new();
    let mut asked = bench.ask(LONG);
    bench.forwarder.tick();
    assert!(asked.try_recv().is_err() && bench.sent().is_none() && bench.forwarder.waiting(Bench::slot()) == 1);
    bench.to_peer("b", 3);
    let Sent { to, request, outcome } = bench.sent().expect("it goes");
    let arrived = wire::decode_request(&request, kinds::all()).expect("a request");
    assert_eq!((to.as_str(), arrived.route), ("b", wire::Route { epoch: 3, hops: 1 }));
    outcome(Ok(answer(9, 4)));
    let reply = asked.await.expect("an answer").expect("a reply");
    assert_eq!((reply.version, reply.epoch), (9, 4), "the epoch is the owner's");
}

#[tokio::test]
async fn what_has_not_left_goes_another_way_and_what_may_have_arrived_is_unknown() {
    let bench = Bench::new();
    bench.to_peer("b", 3);
    let mut asked = bench.ask(LONG);
    (bench.sent().expect("it goes").outcome)(Err(NotAnswered::NotSent));
    assert!(asked.try_recv().is_err(), "it waits");
    bench.to_peer("c", 4);
    let sent = bench.sent().expect("it goes again");
    assert_eq!(sent.to.as_str(), "c");
    (sent.outcome)(Err(NotAnswered::Lost));
    assert_eq!(asked.await.expect("an answer").err(), Some(AskError::Unknown));
    let asked = bench.ask(LONG);
    (bench.sent().expect("it goes").outcome)(Ok(vec![1, 2, 3]));
    assert_eq!(asked.await.expect("an answer").err(), Some(AskError::Unknown), "bytes that are no answer");
}

/// To ask again is of no use, so the caller is told so at once.
#[tokio::test]
async fn what_the_owner_will_never_take_is_unsupported_also_by_way_of_a_third_node() {
    let bench = Bench::new();
    bench.to_peer("b", 3);
    let unreadable =
        Routed::Answer { epoch: 0, response: &wire::encode_unsupported(WireVersion::OURS).expect("bytes") };
    for answer in [Err(NotAnswered::TooLarge), Ok(unreadable.encode())] {
        let asked = bench.ask(LONG);
        (bench.sent().expect("it goes").outcome)(answer.clone());
        assert_eq!(asked.await.expect("an answer").err(), Some(AskError::Unsupported));
        let passed_on = arrive(&bench, 3, 1);
        (bench.sent().expect("it goes on").outcome)(answer);
        assert_eq!(passed_on.lock().take(), Some(unreadable.encode()), "what every version reads");
    }
}

fn busy() -> Vec<u8> {
    let spec = kinds::all().by_number(CART).expect("carts");
    let busy = Err(AskError::Busy { retry_after_ms: 100 });
    let response = encode_response(&busy, spec, WireVersion::OURS).expect("it may cross");
    Routed::Answer { epoch: 3, response: &response }.encode()
}

#[tokio::test(start_paused = true)]
async fn what_a_peer_is_too_busy_for_comes_again_in_a_moment() {
    let bench = Bench::new();
    bench.to_peer("b", 3);
    let mut asked = bench.ask(LONG);
    for refused in [Err(NotAnswered::Busy), Ok(busy()), Ok(busy())] {
        (bench.sent().expect("it goes").outcome)(refused);
        bench.forwarder.tick();
        assert!(bench.sent().is_none() && asked.try_recv().is_err(), "not at once");
        tokio::time::advance(Duration::from_millis(80)).await;
        bench.forwarder.tick();
    }
    bench.to_peer("c", 4);
    let sent = bench.sent().expect("it goes again");
    (sent.outcome)(Ok(answer(9, 4)));
    assert_eq!(asked.await.expect("an answer").expect("a reply").version, 9);
    let put_off = |bench: &Bench| bench.forwarder.metrics.requests_too_many.with_label_values(&["put_off"]).get();
    assert_eq!(put_off(&bench), 3);

    let no_time = bench.ask(Duration::from_millis(5));
    (bench.sent().expect("it goes").outcome)(Ok(busy()));
    assert_eq!(no_time.await.expect("an answer").err(), Some(AskError::Busy { retry_after_ms: 100 }));
    let of_another_node = arrive(&bench, 4, 1);
    (bench.sent().expect("it goes on").outcome)(Ok(busy()));
    assert!(of_another_node.lock().is_some(), "that one decides");
    assert_eq!(put_off(&bench), 3);

    // Nobody waits for it any more.
    drop(bench.ask(LONG));
    (bench.sent().expect("it goes").outcome)(Ok(busy()));
    tokio::time::advance(Duration::from_secs(1)).await;
    bench.forwarder.tick();
    assert!(bench.sent().is_none());
}

/// A peer that refuses everything gets a tenth more than it is asked for.
#[tokio::test(start_paused = true)]
async fn most_of_what_a_peer_is_too_busy_for_is_refused() {
    const ASKED: u64 = 5_000;
    let bench = Bench::new();
    bench.to_peer("b", 3);
    let (mut sent, mut all) = (0, Vec::new());
    for _ in 0..ASKED {
        all.push(bench.ask(LONG));
        tokio::time::advance(Duration::from_millis(20)).await;
        bench.forwarder.tick();
        while let Some(one) = bench.sent() {
            sent += 1;
            (one.outcome)(Ok(busy()));
        }
    }
    assert!((ASKED + 1..=ASKED + ASKED / 10 + 128).contains(&sent), "{sent} were sent");
    let is_refused = |asked: &mut oneshot::Receiver<_>| matches!(asked.try_recv(), Ok(Err(AskError::Busy { .. })));
    let refused = all.iter_mut().filter_map(|asked| is_refused(asked).then_some(())).count() as u64;
    assert!(refused >= ASKED - 128, "{refused} were refused");
}

#[tokio::test]
async fn who_waits_for_a_link_is_not_sent_again_and_again() {
    let bench = Bench::new();
    bench.to_peer("b", 3);
    let mut asked = bench.ask(LONG);
    bench.wire.is_down.store(true, Ordering::Release);
    (bench.sent().expect("it goes").outcome)(Err(NotAnswered::NotSent));
    (0..100).for_each(|_| bench.forwarder.tick());
    assert!(bench.sent().is_none() && asked.try_recv().is_err());
    bench.wire.is_down.store(false, Ordering::Release);
    (0..TICKS_PER_RELEASE).for_each(|_| bench.forwarder.tick());
    assert_eq!(bench.sent().expect("it goes").to.as_str(), "b");
}

/// A node that counted what is another's would let everybody through as often as there are nodes.
#[tokio::test]
async fn a_counter_is_counted_by_the_node_that_has_its_slot() {
    struct Ones;
    impl Counters for Ones {
        fn count(&self, _: &Count) -> Counted {
            Counted { allowed: true, remaining: 1, reset_ms: 1 }
        }
    }
    let bench = Bench::new();
    let count = || Count { policy: "p".into(), key: "k".into(), quota: 2, window_ms: 1_000, counting: Counting::Take };
    let everywhere = |route: &Route| (0..SLOTS).for_each(|slot| bench.forwarder.set_route(slot, route.clone()));
    let peer = |name: &str| Route::Peer { to: NodeId::of(name), owner: NodeId::of(name), epoch: 3 };
    bench.forwarder.count_with(Arc::new(Ones));
    everywhere(&peer("b"));
    let elsewhere = Routed::NotOwner { owner: "b", epoch: 3 }.encode();
    assert_eq!(bench.forwarder.answer_node(NodeQuestion::Count(count())), Some(elsewhere));

    let asked = tokio::spawn(bench.forwarder.count(count(), LONG));
    tokio::task::yield_now().await;
    let sent = bench.sent().expect("it is asked");
    assert_eq!(sent.to.as_str(), "b");
    (sent.outcome)(Ok(Routed::NotOwner { owner: "c", epoch: 5 }.encode()));
    tokio::task::yield_now().await;
    let sent = bench.sent().expect("so is the one that has it now");
    assert_eq!(sent.to.as_str(), "c");
    assert!(matches!(bench.notices.lock()[..], [Notice::SawOwner { epoch: 5, .. }]));
    everywhere(&Route::Local { epoch: 5 });
    (sent.outcome)(Ok(bench.forwarder.answer_node(NodeQuestion::Count(count())).expect("it counts")));
    assert_eq!(asked.await.expect("no panic"), Some(Counted { allowed: true, remaining: 1, reset_ms: 1 }));
}

#[tokio::test]
async fn nodes_are_asked_how_busy_they_are_once_all_of_them_know_the_question() {
    let bench = Bench::new();
    let loads = |names: &[&str], within| {
        let nodes = names.iter().map(|name| NodeId::of(name)).collect();
        tokio::spawn(bench.forwarder.loads(nodes, within))
    };
    let told = loads(&["b"], LONG).await.expect("no panic");
    assert!(told.is_empty() && bench.sent().is_none(), "somebody reads only the first version");

    bench.forwarder.write_in(WireVersion(2));
    assert_eq!(bench.forwarder.answer_node(NodeQuestion::Load), None, "it is not that far");
    let load = NodeLoad { residents: 7, margin_ms: 900, ..NodeLoad::default() };
    let mine = load.clone();
    bench.forwarder.tell_load(Box::new(move || Some(mine.clone())));
    let answer = bench.forwarder.answer_node(NodeQuestion::Load).expect("it tells");
    let asked = loads(&["b", "c", "d"], LONG);
    tokio::task::yield_now().await;
    let sent: Vec<Sent> = std::mem::take(&mut *bench.wire.sent.lock());
    let answers = [Ok(answer), Err(NotAnswered::Lost), Ok(vec![1, 2, 3])];
    for (Sent { request, outcome, .. }, answer) in sent.into_iter().zip(answers) {
        assert_eq!(wire::decode_node_question(&request), Some(NodeQuestion::Load));
        outcome(answer);
    }
    let told = asked.await.expect("no panic");
    assert_eq!(told, [(NodeId::of("b"), load)].into(), "who gives no answer is left out");
}

/// A page that shows all nodes takes no longer than this, whoever is halted.
#[tokio::test(start_paused = true)]
async fn a_node_that_is_silent_is_not_waited_for() {
    let bench = Bench::new();
    bench.forwarder.write_in(WireVersion(2));
    let began = Instant::now();
    let told = bench.forwarder.loads(vec![NodeId::of("b"), NodeId::of("c")], Duration::from_millis(500)).await;
    assert!(told.is_empty() && bench.wire.sent.lock().len() == 2, "both were asked");
    assert_eq!(began.elapsed().as_millis() / 10, 50, "at the same time");
}

#[tokio::test]
async fn a_wrong_guess_is_corrected() {
    let bench = Bench::new();
    bench.to_peer("b", 3);
    let mut asked = bench.ask(LONG);
    let corrected = Routed::NotOwner { owner: "c", epoch: 5 }.encode();
    (bench.sent().expect("it goes").outcome)(Ok(corrected));
    let seen = Notice::SawOwner { slot: Bench::slot(), owner: NodeId::of("c"), epoch: 5 };
    assert_eq!(*bench.notices.lock(), [seen]);
    assert!(asked.try_recv().is_err());
    bench.to_peer("c", 5);
    assert_eq!(bench.sent().expect("it goes there").to.as_str(), "c");
}

#[tokio::test]
async fn who_waits_too_long_is_told_so_and_who_does_not_wait_any_more_is_forgotten() {
    let bench = Bench::new();
    let late = bench.ask(Duration::ZERO);
    drop(bench.ask(LONG));
    while bench.forwarder.waiting(Bench::slot()) > 1 {
        bench.forwarder.tick(); // the clock counts milliseconds
    }
    assert_eq!(late.await.expect("an answer").err(), Some(AskError::DeadlinePassed));
    bench.to_peer("b", 1);
    assert!(bench.sent().is_none() && bench.forwarder.waiting(Bench::slot()) == 0);
}

#[tokio::test]
async fn a_request_for_a_slot_that_is_about_to_open_here_goes_into_it() {
    let bench = Bench::new();
    bench.forwarder.set_route(Bench::slot(), Route::Local { epoch: 2 });
    let _asked = bench.ask(LONG);
    let shared = &bench.router.slots[usize::from(Bench::slot())];
    assert!(shared.inbox.is_empty() && bench.forwarder.waiting(Bench::slot()) == 1);
    shared.inbox.open();
    bench.forwarder.news(Bench::slot(), News::Opened);
    assert!(!shared.inbox.is_empty() && bench.forwarder.waiting(Bench::slot()) == 0);
}

/// What came back to the node that sent this.
fn arrive(bench: &Bench, epoch: Epoch, hops: u8) -> Arc<Mutex<Option<Vec<u8>>>> {
    let route = wire::Route { epoch, hops };
    let request = encode_request(&read(LONG), route, kinds::all(), Instant::now(), WireVersion::OURS);
    let back: Arc<Mutex<Option<Vec<u8>>>> = Arc::default();
    let to = back.clone();
    bench.forwarder.arrived(&request.expect("it may cross"), Box::new(move |bytes| *to.lock() = Some(bytes)));
    back
}

#[tokio::test]
async fn what_a_peer_asks_is_served_passed_on_once_or_corrected() {
    let bench = Bench::new();
    bench.to_peer("c", 4);
    let passed_on = arrive(&bench, 3, 1);
    let Sent { request, outcome, .. } = bench.sent().expect("it goes on");
    assert_eq!(
        wire::decode_request(&request, kinds::all()).expect("a request").route,
        wire::Route { epoch: 4, hops: 2 }
    );
    outcome(Ok(answer(9, 4)));
    assert_eq!(*passed_on.lock(), Some(answer(9, 4)));
    let too_far = arrive(&bench, 3, 2).lock().take();
    assert_eq!(too_far, Some(Routed::NotOwner { owner: "c", epoch: 4 }.encode()));
    assert!(arrive(&bench, 9, 1).lock().is_none(), "the sender knows more");
    (0..20).for_each(|_| bench.forwarder.tick());
    assert!(bench.sent().is_none(), "it waits for the tables, and they are asked for once");
    assert_eq!(*bench.notices.lock(), [Notice::SawEpoch { slot: Bench::slot(), epoch: 9 }]);

    let slot = usize::from(Bench::slot());
    bench.router.slots[slot].inbox.open();
    bench.forwarder.set_route(Bench::slot(), Route::Local { epoch: 9 });
    let served = arrive(&bench, 9, 1);
    let envelopes = bench.router.slots[slot].inbox.drain(9).0;
    assert_eq!(envelopes.len(), 2, "and the one that waited");
    envelopes.into_iter().for_each(|envelope| envelope.reply.send(reply(2)));
    assert_eq!(*served.lock(), Some(answer(2, 0)));
    let unreadable: Arc<Mutex<Option<Vec<u8>>>> = Arc::default();
    let to = unreadable.clone();
    bench.forwarder.arrived(b"what is this", Box::new(move |bytes| *to.lock() = Some(bytes)));
    assert!(matches!(Routed::decode(&unreadable.lock().take().expect("an answer")), Ok(Routed::Answer { .. })));
}

/// Each node that has slots is asked. That one does not answer is told, and not taken for nothing owed.
#[tokio::test]
async fn what_is_owed_elsewhere_is_asked_of_the_nodes_that_have_slots() {
    let (here, there) = (Bench::new(), Bench::new());
    let soon = || Instant::now() + Duration::from_secs(5);
    assert_eq!(here.forwarder.overdue_there(Time(5), None, 10, soon()).await.map(|lists| lists.len()), Ok(0));
    here.to_peer("b", 3);
    for is_answered in [true, false] {
        let asked = here.forwarder.overdue_there(Time(5), None, 10, soon());
        let Sent { to, request, outcome } = here.sent().expect("the peer is asked");
        assert_eq!(to, NodeId::of("b"));
        if is_answered {
            let (tell, told) = oneshot::channel();
            there.forwarder.arrived(&request, Box::new(|bytes| drop(tell.send(bytes))));
            outcome(Ok(told.await.expect("an answer")));
        } else {
            outcome(Err(NotAnswered::NotSent));
        }
        let lists = asked.await.map(|lists| lists.iter().map(|list| list.total).collect::<Vec<_>>());
        assert_eq!(lists, if is_answered { Ok(vec![0]) } else { Err(AskError::Unavailable) });
    }
}
