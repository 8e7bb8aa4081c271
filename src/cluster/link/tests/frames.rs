//! The bytes of frames and hellos. What an older node wrote is read for as long as its version is.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::super::frame::{FRAME_MAX, Header, Lane, Malformed, Nack, Part, Reader, Writer, link_of};
use super::super::hello::{Hello, NotHello};
use crate::cluster::NodeId;

fn read(frame: &[u8]) -> Result<(Header, Vec<Part>), Malformed> {
    let mut reader = Reader::new(Bytes::copy_from_slice(frame))?;
    let mut parts = Vec::new();
    while let Some(part) = reader.next_part()? {
        parts.push(part);
    }
    Ok((reader.header, parts))
}

fn write(header: Header, parts: &[Part]) -> Vec<u8> {
    let mut frame = Writer::new(header, 100);
    for part in parts {
        match part {
            Part::Beat(number) => frame.beat(*number),
            Part::Echo(number) => frame.echo(*number),
            Part::Bye => frame.bye(),
            Part::Tell { total, page } => frame.tell(*total, page),
            Part::Request { id, total, page } => frame.request(*id, *total, page),
            Part::Reply { id, total, page } => frame.reply(*id, *total, page),
            Part::Nack { id, why } => frame.nack(*id, *why),
            Part::More { lane, page } => frame.more(*lane, page),
        }
    }
    frame.finish()
}

fn every_part() -> Vec<Part> {
    let page = Bytes::from("page");
    vec![
        Part::Beat(1),
        Part::Echo(300),
        Part::Tell { total: 4, page: page.clone() },
        Part::Request { id: 1, total: 1_000, page: page.clone() },
        Part::Reply { id: u64::MAX, total: 4, page: page.clone() },
        Part::Nack { id: 7, why: Nack::Busy },
        Part::Nack { id: 7, why: Nack::Stopping },
        Part::Nack { id: 7, why: Nack::Unanswered },
        Part::Nack { id: 7, why: Nack::ReplyTooLarge },
        Part::Nack { id: 7, why: Nack::Refused },
        Part::More { lane: Lane::Tell, page: page.clone() },
        Part::More { lane: Lane::Request, page: page.clone() },
        Part::More { lane: Lane::Reply, page },
        Part::Bye,
    ]
}

#[test]
fn a_frame_of_format_1_has_these_bytes() {
    let header = Header { link: 0x0102_0304_0506_0708, number: 9, taken: 8 };
    let frame = write(header, &every_part());
    let golden = concat!(
        "0807060504030201",
        "01",
        "0900000000000000",
        "0800000000000000",
        "0101",
        "02ac02",
        "04040470616765",
        "0501e8070470616765",
        "06ffffffffffffffffff01040470616765",
        "070700",
        "070701",
        "070702",
        "070703",
        "070704",
        "08000470616765",
        "08010470616765",
        "08020470616765",
        "03",
    );
    assert_eq!(HEXLOWER.encode(&frame), golden);
    assert_eq!(read(&frame), Ok((header, every_part())));
    assert_eq!(link_of(&frame), Some(header.link));
}

fn hello() -> Hello {
    Hello {
        node: NodeId::of("a#1"),
        name: "a".to_owned(),
        address: "a:1".to_owned(),
        cluster: "c".to_owned(),
        versions: (1, 2),
        number: 3,
        previous: 4,
        actor: 5,
        window: 2,
        message_max_bytes: 6,
    }
}

#[test]
fn a_hello_of_version_1_has_these_bytes() {
    let golden = concat!(
        "010300612331",
        "02010061",
        "030300613a31",
        "04010063",
        "05040001000200",
        "0608000300000000000000",
        "0708000400000000000000",
        "0808000500000000000000",
        "09010002",
        "0a040006000000",
    );
    assert_eq!(HEXLOWER.encode(&hello().encode()), golden);
    assert_eq!(Hello::decode(&hello().encode()), Ok(hello()));
}

#[test]
fn a_hello_may_say_more_than_this_node_understands() {
    let mut bytes = hello().encode();
    bytes.extend_from_slice(&[200, 2, 0, 1, 2]);
    assert_eq!(Hello::decode(&bytes), Ok(hello()));
}

#[test]
fn a_hello_that_says_too_little_is_none() {
    let bytes = hello().encode();
    for length in 0..bytes.len() {
        assert_eq!(Hello::decode(&bytes[..length]), Err(NotHello), "{length}");
    }
    let nobody = Hello { node: NodeId::of(""), ..hello() };
    let in_logs = Hello { name: "a\nfaked line".to_owned(), ..hello() };
    for unusable in [nobody, in_logs, Hello { number: 0, ..hello() }, Hello { window: 0, ..hello() }] {
        assert_eq!(Hello::decode(&unusable.encode()), Err(NotHello), "{unusable:?}");
    }
}

#[test]
fn a_frame_that_is_cut_off_or_too_long_is_none() {
    let frame = write(Header { link: 1, number: 1, taken: 0 }, &every_part());
    let whole: Vec<usize> = (0..=frame.len()).filter(|length| read(&frame[..*length]).is_ok()).collect();
    assert_eq!(whole.len(), every_part().len() + 1, "only where a part ends");
    assert_eq!(read(&vec![0; FRAME_MAX + 1]), Err(Malformed));
}

fn part() -> impl Strategy<Value = Part> {
    let page = || prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    let lane = prop::sample::select(Lane::ALL.to_vec());
    let why =
        prop::sample::select(vec![Nack::Busy, Nack::Stopping, Nack::Unanswered, Nack::ReplyTooLarge, Nack::Refused]);
    prop_oneof![
        any::<u64>().prop_map(Part::Beat),
        any::<u64>().prop_map(Part::Echo),
        Just(Part::Bye),
        (0_usize..1 << 40, page()).prop_map(|(more, page)| Part::Tell { total: page.len() + more, page }),
        (any::<u64>(), 0_usize..9, page()).prop_map(|(id, more, page)| Part::Request {
            id,
            total: page.len() + more,
            page
        }),
        (any::<u64>(), 0_usize..9, page()).prop_map(|(id, more, page)| Part::Reply {
            id,
            total: page.len() + more,
            page
        }),
        (any::<u64>(), why).prop_map(|(id, why)| Part::Nack { id, why }),
        (lane, page())
            .prop_filter("a page has bytes", |(_, page)| !page.is_empty())
            .prop_map(|(lane, page)| Part::More { lane, page }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        parts in prop::collection::vec(part(), 0..40),
        (link, number, taken) in any::<(u64, u64, u64)>(),
    ) {
        let header = Header { link, number, taken };
        prop_assert_eq!(read(&write(header, &parts)), Ok((header, parts)));
    }

    /// Whatever comes: an error or parts, and never more bytes than came.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600), start in any::<bool>()) {
        let mut frame = if start { write(Header { link: 1, number: 1, taken: 0 }, &[]) } else { Vec::new() };
        frame.extend_from_slice(&bytes);
        if let Ok((_, parts)) = read(&frame) {
            let pages = parts.iter().map(|part| match part {
                Part::Tell { page, .. } | Part::Request { page, .. } | Part::Reply { page, .. } => page.len(),
                Part::More { page, .. } => page.len(),
                Part::Beat(_) | Part::Echo(_) | Part::Bye | Part::Nack { .. } => 0,
            });
            prop_assert!(pages.sum::<usize>() <= frame.len());
        }
        let _ = Hello::decode(&bytes); // says yes or no
    }
}
