//! Which clients' receipts were left to the index, so that a new key need not be looked up there.
//!
//! A filter (Bloom, 1970) never denies what was added to it, and errs the other way with one key in 400:
//! then the index is asked in vain. Request ids are hashes, so their own bits serve as the filter's. When a
//! filter is full the next one begins; each goes when the last receipt in it has expired.

use crate::persistence::RequestBytes;

/// Keys of one filter, of 16 bits each.
const FILTER_KEYS: usize = 8_192;
const FILTER_BITS: usize = FILTER_KEYS * 16;

#[derive(Default)]
pub struct PushedOut {
    filters: Vec<Filter>,
    /// Until this time any request may be among them: some were added to no filter.
    any_until_ms: Option<i64>,
}

struct Filter {
    bits: Box<[u64]>,
    keys: usize,
    /// When the last of its receipts has expired.
    until_ms: i64,
}

impl PushedOut {
    /// Receipts of which only is known until when the last of them counts.
    pub const fn unknown(until_ms: Option<i64>) -> PushedOut {
        PushedOut { filters: Vec::new(), any_until_ms: until_ms }
    }

    /// Whether the receipt of this request may be among them, and count at this time.
    pub fn may_have(&self, request: &RequestBytes, now_ms: i64) -> bool {
        self.any_until_ms.is_some_and(|until| until > now_ms)
            || self.filters.iter().any(|filter| filter.until_ms > now_ms && filter.may_have(request))
    }

    /// With `filters_max` full filters it only remembers until when anything may be among them.
    pub fn add(&mut self, request: &RequestBytes, expires_ms: i64, filters_max: usize) {
        let last_is_full = self.filters.last().is_none_or(|filter| filter.keys >= FILTER_KEYS);
        if last_is_full && self.filters.len() < filters_max {
            self.filters.push(Filter { bits: vec![0; FILTER_BITS / 64].into(), keys: 0, until_ms: i64::MIN });
        }
        match self.filters.last_mut().filter(|filter| filter.keys < FILTER_KEYS) {
            Some(filter) => filter.add(request, expires_ms),
            None => self.any_until_ms = self.any_until_ms.max(Some(expires_ms)),
        }
    }

    pub fn forget_expired(&mut self, now_ms: i64) {
        self.filters.retain(|filter| filter.until_ms > now_ms);
        self.any_until_ms = self.any_until_ms.filter(|until| *until > now_ms);
    }

    /// When the last of them has expired; `None`: there are none that count at this time.
    pub fn until_ms(&self, now_ms: i64) -> Option<i64> {
        let filters = self.filters.iter().map(|filter| filter.until_ms).max();
        filters.max(self.any_until_ms).filter(|until| *until > now_ms)
    }

    pub fn size_bytes(&self) -> usize {
        self.filters.len() * (FILTER_BITS / 8 + size_of::<Filter>())
    }
}

impl Filter {
    fn may_have(&self, request: &RequestBytes) -> bool {
        places(request).all(|bit| self.bits[bit / 64] & 1 << (bit % 64) != 0)
    }
    fn add(&mut self, request: &RequestBytes, expires_ms: i64) {
        for bit in places(request) {
            self.bits[bit / 64] |= 1 << (bit % 64);
        }
        self.keys += 1;
        self.until_ms = expires_ms.max(self.until_ms);
    }
}

/// Four places in a filter.
fn places(request: &RequestBytes) -> impl Iterator<Item = usize> {
    let (words, _) = request.as_chunks::<4>();
    words.iter().map(|word| u32::from_be_bytes(*word) as usize % FILTER_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::values::RequestId;

    fn id(n: u64) -> RequestBytes {
        RequestId::of("test", &[&n.to_be_bytes()]).0
    }

    #[test]
    fn what_was_added_is_known_until_it_expires_and_little_else_is() {
        let mut pushed_out = PushedOut::default();
        let added = 3 * FILTER_KEYS as u64 / 2;
        for n in 0..added {
            pushed_out.add(&id(n), n as i64, 2);
        }
        assert!((1..added).all(|n| pushed_out.may_have(&id(n), n as i64 - 1)));
        let wrong = (added..2 * added).filter(|n| pushed_out.may_have(&id(*n), 0)).count();
        assert!(wrong < added as usize / 50, "{wrong} of {added} others are taken for known");
        assert_eq!(pushed_out.until_ms(0), Some(added as i64 - 1));
        pushed_out.forget_expired(FILTER_KEYS as i64);
        assert_eq!(pushed_out.filters.len(), 1, "the first one's receipts have expired");
        assert!(!pushed_out.may_have(&id(added - 1), added as i64), "and now the last");
        assert_eq!(pushed_out.until_ms(added as i64), None);
    }

    #[test]
    fn beyond_its_filters_anything_may_be_among_them_until_the_last_has_expired() {
        let mut pushed_out = PushedOut::default();
        pushed_out.add(&id(1), 10, 0);
        pushed_out.add(&id(2), 5, 0);
        assert!(pushed_out.may_have(&id(3), 9) && !pushed_out.may_have(&id(1), 10));
        pushed_out.forget_expired(10);
        assert_eq!((pushed_out.until_ms(0), pushed_out.size_bytes()), (None, 0));
    }
}
