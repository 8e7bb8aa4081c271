//! Two ends under any schedule of what may happen to a link.

use proptest::prelude::*;

use super::*;

/// What may happen to a link, with sizes that make pages and full frames.
#[derive(Debug, Clone)]
enum Step {
    Ask { from_a: bool, length: usize },
    Tell { from_a: bool, length: usize },
    Answer { of_a: bool },
    Carry { to_a: bool },
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    let length = || prop_oneof![8 => 0_usize..300, 2 => 20_000_usize..70_000, 1 => 200_000_usize..600_000];
    prop_oneof![
        4 => (any::<bool>(), length()).prop_map(|(from_a, length)| Step::Ask { from_a, length }),
        2 => (any::<bool>(), 0_usize..9_000).prop_map(|(from_a, length)| Step::Tell { from_a, length }),
        3 => any::<bool>().prop_map(|of_a| Step::Answer { of_a }),
        6 => any::<bool>().prop_map(|to_a| Step::Carry { to_a }),
        1 => Just(Step::Tick),
    ]
}

proptest! {
    /// Whatever is said in whatever order: everything arrives once, whole, in the order of its lane, and every request has one
    /// outcome.
    #[test]
    fn everything_arrives_once_and_in_order(steps in prop::collection::vec(step(), 1..200)) {
        let mut pair = Pair::new(Limits::DEFAULT);
        let (mut asked, mut told) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        let mut arrived = [Vec::new(), Vec::new()];
        let mut now = Duration::ZERO;
        for (number, step) in steps.into_iter().enumerate() {
            let byte = number as u8;
            match step {
                Step::Ask { from_a, length } => {
                    let end = if from_a { &mut pair.a } else { &mut pair.b };
                    if end.ask_within(number as u32, &vec![byte; length], WITHIN * 1_000).is_ok() {
                        asked[usize::from(from_a)].push((number as u32, vec![byte; length]));
                    }
                }
                Step::Tell { from_a, length } => {
                    (if from_a { &mut pair.a } else { &mut pair.b }).tell(&vec![byte; length]);
                    told[usize::from(from_a)].push(Bytes::from(vec![byte; length]));
                }
                Step::Answer { of_a } => {
                    let end = if of_a { &mut pair.a } else { &mut pair.b };
                    arrived[usize::from(of_a)].extend(end.asked.iter().map(|(_, request)| request.clone()));
                    end.answer_all();
                }
                Step::Carry { to_a } => {
                    let (from, to) = if to_a { (&mut pair.b, &mut pair.a) } else { (&mut pair.a, &mut pair.b) };
                    from.frames.pop_front().into_iter().for_each(|frame| to.take(frame));
                }
                Step::Tick => {
                    now += Duration::from_millis(25);
                    pair.a.tick(now, now.as_millis() as u64);
                    pair.b.tick(now, now.as_millis() as u64);
                }
            }
            prop_assert!(numbered(&pair.a.frames) <= 2 && numbered(&pair.b.frames) <= 2);
        }
        pair.run();
        while !(pair.a.asked.is_empty() && pair.b.asked.is_empty()) {
            arrived[1].extend(pair.a.asked.iter().map(|(_, request)| request.clone()));
            arrived[0].extend(pair.b.asked.iter().map(|(_, request)| request.clone()));
            pair.a.answer_all();
            pair.b.answer_all();
            pair.run();
        }
        prop_assert_eq!((pair.a.ended, pair.b.ended), (None, None));
        for (from_a, sender, receiver) in [(true, &pair.a, &pair.b), (false, &pair.b, &pair.a)] {
            let sent = &asked[usize::from(from_a)];
            let requests: Vec<Bytes> = sent.iter().map(|(_, request)| Bytes::from(request.clone())).collect();
            prop_assert_eq!(&arrived[usize::from(!from_a)], &requests);
            prop_assert_eq!(&receiver.told, &told[usize::from(from_a)]);
            let mut outcomes = sender.outcomes.clone();
            outcomes.sort_by_key(|(asker, _)| *asker);
            let expected: Vec<Outcome> =
                sent.iter().map(|(asker, request)| (*asker, Ok(Bytes::from(request.clone())))).collect();
            prop_assert_eq!(outcomes, expected);
        }
    }

    /// Bytes that a peer was made to send, changed anywhere: the session ends the link or goes on, and holds no more than came.
    #[test]
    fn changed_frames_do_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut pair = Pair::new(Limits::DEFAULT);
        for asker in 0..30 {
            pair.a.ask(asker, &[asker as u8; 100]).expect("taken");
            pair.a.tell(b"message");
        }
        let mut victim = End::new(Limits::DEFAULT, 11);
        for mut frame in pair.a.frames {
            for (at, to) in &changes {
                let at = at.index(frame.len());
                frame[at] = *to;
            }
            frame.truncate(cut.index(frame.len()) + 1);
            victim.take(frame);
        }
        prop_assert!(victim.asked.len() <= 60);
    }
}
