//! The fixed partition of all entities into slots.

/// The slot of an entity: FNV-1a over kind and id, finished with a mixer, modulo the number of slots
/// that the store was created with. Frozen: every stored record depends on it.
/// (FNV: draft-eastlake-fnv; the finisher is MurmurHash3's fmix64.)
pub fn slot_of(kind: u8, id: &str, slots: u16) -> u16 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    let mut hash = id.bytes().fold(step(OFFSET, kind), step);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    (hash % u64::from(slots.max(1))) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_frozen() {
        let got: Vec<u16> =
            [(1, "only"), (9, "TEE-M"), (10, "cart_0"), (10, "")].iter().map(|(k, id)| slot_of(*k, id, 1024)).collect();
        assert_eq!(got, FROZEN);
    }
    const FROZEN: [u16; 4] = [431, 801, 153, 358];

    #[test]
    fn slots_are_even() {
        let mut counts = [0u32; 64];
        for n in 0..64_000 {
            counts[usize::from(slot_of(9, &format!("SKU-{n}"), 64))] += 1;
        }
        assert!(counts.iter().all(|&n| (800..1200).contains(&n)), "{counts:?}");
    }
}
