//! Frames: the bytes of every layout ever written, and that nothing but them is read.

use proptest::prelude::*;

use super::*;
use crate::fuzz::{Verdict, decoder};
use crate::persistence::record::{OwedItem, OwedRow, Payload};

fn payload(type_number: u16, version: u16, bytes: &[u8]) -> Payload {
    Payload { type_number, version, bytes: bytes.to_vec() }
}

fn key(kind: u8, id: &str) -> EntityKey {
    EntityKey { kind, id: id.into() }
}

fn owed_receipt() -> Receipt {
    let origin = Origin::Owed { slot: 7, number: 0x0102, watermark: 0x0100 };
    Receipt { origin, fingerprint: [0xf0; 16], outcome: payload(0x0a81, 1, &[]) }
}

fn full_record() -> Record {
    Record {
        slot: 513,
        seq: 0x0807_0605_0403_0201,
        epoch: 3,
        key: key(10, "cart_a"),
        version: 42,
        at_ms: 1_795_351_979_000,
        request: [0xab; 16],
        receipt: Some(Receipt {
            origin: Origin::Client { expires_ms: 1_795_438_379_000 },
            fingerprint: [0xcd; 16],
            outcome: payload(0x0a80, 1, &[1, 2]),
        }),
        events: vec![payload(0x0a01, 2, &[9, 8, 7]), payload(0x0a02, 1, &[])],
        owed: Some(OwedChange {
            before_due_ms: Some(-1),
            after: Some(OwedRow { due_ms: 5, items: vec![OwedItem { number: 256, key: "told".into() }] }),
        }),
        wake: Some(WakeChange { before_ms: Some(1), after_ms: Some(2) }),
    }
}

fn bare_record() -> Record {
    Record {
        slot: 0,
        seq: 1,
        epoch: 1,
        key: key(1, "x"),
        version: 1,
        at_ms: -1,
        request: [0; 16],
        receipt: None,
        events: Vec::new(),
        owed: None,
        wake: None,
    }
}

fn full_snapshot() -> Snapshot {
    Snapshot {
        slot: 513,
        key: key(9, "TEE-M"),
        seq: 77,
        version: 12,
        at_ms: 1_795_351_979_000,
        state: payload(0x0900, 4, &[5, 5, 5]),
        receipts: vec![([1; 16], 11, owed_receipt())],
        receipts_elsewhere_until_ms: None,
        watermarks: vec![(7, 0x0100)],
        owed: Some(OwedRow { due_ms: 6, items: vec![] }),
        wake_ms: Some(9),
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// Bytes that some souk has written. They are never changed; a new layout adds new ones.
mod golden {
    pub const RECORD_V1_FULL: &str = "\
        010101000100fd000300000000000000f8235103a2010000abababababababababababababababab820000007a614837\
        010201020304050607082a000000000000000a0600636172745f61f87f7708a2010000cdcdcdcdcdcdcdcdcdcdcdcdcd\
        cdcdcd800a01000200000001020200010a020003000000090807020a010000000000ffffffffffffffff050000000000\
        0000010000010000000000000400746f6c6401000000000000000200000000000000";
    pub const RECORD_V1_BARE: &str = "\
        01010100010000000100000000000000ffffffffffffffff000000000000000000000000000000001800000001ebefd5\
        000001000000000000000100000000000000010100780000";
    pub const RECORD_V1_OWED: &str = "\
        01010100010003000100000000000000ffffffffffffffff0000000000000000000000000000000042000000d2405233\
        00000100000000000000010000000000000001010078070002010000000000000001000000000000f0f0f0f0f0f0f0f0\
        f0f0f0f0f0f0f0f0810a0100000000000000";
    pub const SNAPSHOT_V1_FULL: &str = "\
        01010200010007000000000000000000f8235103a2010000000000000000000000000000000000008c00000028eb2893\
        01024d000000000000000c000000000000000905005445452d4d00090400030000000505050100000001010101010101\
        0101010101010101010b0000000000000001070002010000000000000001000000000000f0f0f0f0f0f0f0f0f0f0f0f0\
        f0f0f0f0810a0100000000000100000007000001000000000000060000000000000000000900000000000000";
    pub const SNAPSHOT_V1_INCOMPLETE: &str = "\
        01010200010006000000000000000000f8235103a2010000000000000000000000000000000000008c0000009ec4be61\
        01024d000000000000000c000000000000000905005445452d4d00090400030000000505050100000001010101010101\
        0101010101010101010b0000000000000001070002010000000000000001000000000000f0f0f0f0f0f0f0f0f0f0f0f0\
        f0f0f0f0810a0100000000000100000007000001000000000000060000000000000000000900000000000000";
    pub const SNAPSHOT_V2_INCOMPLETE: &str = "\
        0101020002000e000000000000000000f8235103a20100000000000000000000000000000000000094000000a512623c\
        01024d000000000000000c000000000000000905005445452d4d00090400030000000505050100000001010101010101\
        0101010101010101010b0000000000000001070002010000000000000001000000000000f0f0f0f0f0f0f0f0f0f0f0f0\
        f0f0f0f0810a0100000000000100000007000001000000000000060000000000000000000900000000000000f87f7708\
        a2010000";
}

#[test]
fn golden_bytes_are_written_and_read() {
    let owed = Record { receipt: Some(owed_receipt()), ..bare_record() };
    for (record, bytes) in [
        (full_record(), golden::RECORD_V1_FULL),
        (bare_record(), golden::RECORD_V1_BARE),
        (owed, golden::RECORD_V1_OWED),
    ] {
        assert_eq!(hex(&record.encode()), bytes);
        let stored = data_encoding::HEXLOWER.decode(bytes.as_bytes()).expect("golden bytes are hex");
        assert_eq!(Record::decode(&stored), Ok(record));
    }
    let lacking = |until_ms| Snapshot { receipts_elsewhere_until_ms: Some(until_ms), ..full_snapshot() };
    for (snapshot, bytes) in [
        (full_snapshot(), golden::SNAPSHOT_V1_FULL),
        (lacking(i64::MAX), golden::SNAPSHOT_V1_INCOMPLETE),
        (lacking(1_795_438_379_000), golden::SNAPSHOT_V2_INCOMPLETE),
    ] {
        assert_eq!(hex(&snapshot.encode()), bytes);
        let stored = data_encoding::HEXLOWER.decode(bytes.as_bytes()).expect("golden bytes are hex");
        assert_eq!(Snapshot::decode(&stored), Ok(snapshot));
    }
}

#[test]
fn lengths_are_exact() {
    for record in [full_record(), bare_record()] {
        assert_eq!(record.encoded_len(), record.encode().len());
        assert_eq!(frame_len(&record.encode()), Ok(record.encoded_len()));
    }
    for receipts_elsewhere_until_ms in [None, Some(i64::MAX), Some(5)] {
        let snapshot = Snapshot { receipts_elsewhere_until_ms, ..full_snapshot() };
        assert_eq!(snapshot.encoded_len(), snapshot.encode().len());
    }
}

#[test]
fn every_flipped_bit_is_detected() {
    let record = full_record().encode();
    let snapshot = full_snapshot().encode();
    for bit in 0..record.len() * 8 {
        let mut torn = record.clone();
        torn[bit / 8] ^= 1 << (bit % 8);
        assert!(Record::decode(&torn).is_err(), "bit {bit} of the record");
    }
    for bit in 0..snapshot.len() * 8 {
        let mut torn = snapshot.clone();
        torn[bit / 8] ^= 1 << (bit % 8);
        assert!(Snapshot::decode(&torn).is_err(), "bit {bit} of the snapshot");
    }
}

#[test]
fn every_shorter_or_longer_frame_is_refused() {
    let whole = full_record().encode();
    for len in 0..whole.len() {
        assert!(matches!(Record::decode(&whole[..len]), Err(FrameError::Short { .. })), "cut at {len}");
    }
    let longer = [whole.as_slice(), &[0]].concat();
    assert_eq!(Record::decode(&longer), Err(FrameError::LeftOver { at: whole.len(), left: 1 }));
    assert_eq!(Record::decode_first(&longer), Ok((full_record(), whole.len())));
}

/// A frame whose checksum is right and whose contents lie: what an enemy or a bug could write.
fn resealed(mut frame: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut frame);
    seal(&mut frame, 0);
    frame
}

#[test]
fn lies_with_a_right_checksum_are_refused_by_name_and_place() {
    let events_at = HEADER_BYTES + 2 + 8 + 8 + 1 + 2 + 1;
    let many = resealed(bare_record().encode(), |frame| frame[events_at..].copy_from_slice(&[0xff, 0xff]));
    let short = FrameError::Short { what: "payload type", at: events_at + 2, needed: 2, left: 0 };
    assert_eq!(Record::decode(&many), Err(short));

    let flags = resealed(bare_record().encode(), |frame| frame[7] = 0x80);
    assert_eq!(Record::decode(&flags), Err(FrameError::Unknown { what: "flags", at: 6, found: 0x8000 }));

    let text = resealed(bare_record().encode(), |frame| frame[events_at - 1] = 0xff);
    assert_eq!(Record::decode(&text), Err(FrameError::Invalid { what: "entity id", at: events_at - 1, found: 0xff }));

    let newer = resealed(bare_record().encode(), |frame| frame[4] = 9);
    assert_eq!(Record::decode(&newer), Err(FrameError::Unknown { what: "version", at: 4, found: 9 }));

    let more = resealed(bare_record().encode(), |frame| frame.push(0));
    assert_eq!(Record::decode(&more), Err(FrameError::LeftOver { at: events_at + 2, left: 1 }));

    let mut huge = bare_record().encode();
    huge[LENGTH_AT..CHECKSUM_AT].copy_from_slice(&u32::MAX.to_le_bytes());
    let length = FrameError::Invalid { what: "length", at: LENGTH_AT, found: u64::from(u32::MAX) };
    assert_eq!(Record::decode(&huge), Err(length.clone()));
    assert_eq!(frame_len(&huge), Err(length));

    assert_eq!(
        Snapshot::decode(&bare_record().encode()),
        Err(FrameError::Unknown { what: "type number", at: 2, found: 1 })
    );
}

#[test]
fn what_cannot_be_stored_is_said() {
    assert_eq!(full_record().check(), Ok(()));
    assert_eq!(full_snapshot().check(), Ok(()));
    let long = "x".repeat(ID_BYTES_MAX + 1);
    for id in ["", "a\0b", &long] {
        assert!(Record { key: key(1, id), ..bare_record() }.check().is_err());
    }
    let fat = Record { events: vec![payload(1, 1, &vec![0; RECORD_BYTES_MAX])], ..bare_record() };
    assert!(fat.check().is_err());
}

prop_compose! {
    fn payloads()(type_number: u16, version: u16, bytes in prop::collection::vec(any::<u8>(), 0..64)) -> Payload {
        Payload { type_number, version, bytes }
    }
}

fn origins() -> impl Strategy<Value = Origin> {
    prop_oneof![
        any::<i64>().prop_map(|expires_ms| Origin::Client { expires_ms }),
        any::<(u16, u64, u64)>().prop_map(|(slot, number, watermark)| Origin::Owed { slot, number, watermark }),
    ]
}

prop_compose! {
    fn receipts()(origin in origins(), fingerprint: [u8; 16], outcome in payloads()) -> Receipt {
        Receipt { origin, fingerprint, outcome }
    }
}

prop_compose! {
    fn owed_rows()(due_ms: i64, items in prop::collection::vec((any::<u64>(), ".{0,12}"), 0..4)) -> OwedRow {
        OwedRow { due_ms, items: items.into_iter().map(|(number, key)| OwedItem { number, key }).collect() }
    }
}

prop_compose! {
    fn records()(
        (slot, seq, epoch, version, at_ms) in any::<(u16, u64, u64, u64, i64)>(),
        kind: u8,
        id in ".{1,40}",
        request: [u8; 16],
        receipt in prop::option::of(receipts()),
        events in prop::collection::vec(payloads(), 0..4),
        owed in prop::option::of((any::<Option<i64>>(), prop::option::of(owed_rows()))),
        wake: Option<(Option<i64>, Option<i64>)>,
    ) -> Record {
        Record {
            slot, seq, epoch, key: key(kind, &id), version, at_ms, request, receipt, events,
            owed: owed.map(|(before_due_ms, after)| OwedChange { before_due_ms, after }),
            wake: wake.map(|(before_ms, after_ms)| WakeChange { before_ms, after_ms }),
        }
    }
}

prop_compose! {
    fn snapshots()(
        (slot, seq, version, at_ms) in any::<(u16, u64, u64, i64)>(),
        kind: u8,
        id in ".{1,40}",
        state in payloads(),
        receipts in prop::collection::vec((any::<[u8; 16]>(), any::<u64>(), receipts()), 0..4),
        receipts_elsewhere_until_ms: Option<i64>,
        watermarks in prop::collection::vec(any::<(u16, u64)>(), 0..4),
        owed in prop::option::of(owed_rows()),
        wake_ms: Option<i64>,
    ) -> Snapshot {
        let key = key(kind, &id);
        Snapshot {
            slot, key, seq, version, at_ms, state, receipts, receipts_elsewhere_until_ms, watermarks, owed, wake_ms,
        }
    }
}

proptest! {
    #[test]
    fn every_record_reads_back(record in records()) {
        let bytes = record.encode();
        prop_assert_eq!(bytes.len(), record.encoded_len());
        prop_assert_eq!(Record::decode(&bytes), Ok(record));
    }

    #[test]
    fn every_snapshot_reads_back(snapshot in snapshots()) {
        let bytes = snapshot.encode();
        prop_assert_eq!(bytes.len(), snapshot.encoded_len());
        prop_assert_eq!(Snapshot::decode(&bytes), Ok(snapshot));
    }

    #[test]
    fn any_flipped_bit_of_any_record_is_detected(record in records(), bit: prop::sample::Index) {
        let mut bytes = record.encode();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Record::decode(&bytes).is_err());
    }

    #[test]
    fn noise_is_never_read_and_never_panics(
        noise in prop::collection::vec(any::<u8>(), 0..300),
        body_at in 8usize..200,
        record in records(),
    ) {
        prop_assert!(Record::decode(&noise).is_err());
        prop_assert!(Snapshot::decode(&noise).is_err());
        // And noise inside a frame that is sealed again may be read as something, or refused; no more.
        let mut frame = record.encode();
        for (byte, noise) in frame.iter_mut().skip(body_at).zip(&noise) {
            *byte = *noise;
        }
        seal(&mut frame, 0);
        let _ = Record::decode(&frame);
    }
}

/// What is read is written as something that reads the same.
#[test]
fn fuzz_frames() {
    let owed = Record { receipt: Some(owed_receipt()), ..bare_record() };
    let records = [full_record(), bare_record(), owed].map(|record| record.encode());
    let judge = |bytes: &[u8]| match Record::decode(bytes) {
        Ok(record) => Verdict::accepted(Record::decode(&record.encode()) == Ok(record), "it reads back"),
        Err(_) => Verdict::Refused,
    };
    decoder("record", records.clone(), judge);
    // With the checksum set right, everything behind it is reached.
    decoder("record-sealed", records, |bytes| judge(&sealed(bytes)));
    let judge = |bytes: &[u8]| match Snapshot::decode(bytes) {
        Ok(snapshot) => Verdict::accepted(Snapshot::decode(&snapshot.encode()) == Ok(snapshot), "it reads back"),
        Err(_) => Verdict::Refused,
    };
    decoder("snapshot", [full_snapshot().encode()], judge);
    decoder("snapshot-sealed", [full_snapshot().encode()], |bytes| judge(&sealed(bytes)));
    decoder("frame-length", [full_record().encode()], |bytes| match frame_len(bytes) {
        Ok(len) => Verdict::accepted((HEADER_BYTES..=HEADER_BYTES + SNAPSHOT_BYTES_MAX).contains(&len), "in bounds"),
        Err(_) => Verdict::Refused,
    });
}

fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut frame = bytes.to_vec();
    if frame.len() >= HEADER_BYTES {
        seal(&mut frame, 0);
    }
    frame
}
