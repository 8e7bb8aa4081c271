//! Whether the clocks of nodes agree. The cluster compares none, but the shop goes by the time of day: tokens, deadlines and
//! what clients are shown.
//!
//! There is one moment at which the clocks of two nodes can be compared: a node says in its row when it started, and whoever
//! sees the row for the first time soon after reads its own. A clock that is set later is not noticed, and neither is that of
//! the store, which keeps none for the cluster.

use std::time::Duration;

/// A greater difference is told. A start may wait for its store for half of it before the row is seen.
const DIFFERENCE_MAX: Duration = Duration::from_secs(60);
/// A row that is seen for the first time may be so old, where the list was read so long ago.
const GAP_MAX: Duration = Duration::from_secs(10);

/// By how many seconds the clock of a node that has just joined is ahead of this one's (or behind, below 0), where that is too
/// much. `started_at_ms`: what its row says, 0 for nothing. `gap`: how long ago the list was read last, without that row.
pub fn ahead_s(started_at_ms: i64, now_ms: i64, gap: Duration) -> Option<i64> {
    let ahead_ms = started_at_ms.saturating_sub(now_ms);
    let is_off = ahead_ms.unsigned_abs() > DIFFERENCE_MAX.as_millis() as u64;
    (started_at_ms != 0 && gap <= GAP_MAX && is_off).then_some(ahead_ms / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_of_more_than_a_minute_is_told_where_it_can_be() {
        let soon = Duration::from_millis(250);
        let ahead_s = |started_at_ms, gap| ahead_s(started_at_ms, 1_000_000, gap);
        assert_eq!(ahead_s(1_600_000, soon), Some(600));
        assert_eq!(ahead_s(400_000, soon), Some(-600));
        assert_eq!((ahead_s(1_060_000, soon), ahead_s(940_000, soon)), (None, None), "a minute");
        assert_eq!(ahead_s(400_000, Duration::from_secs(11)), None, "it may have started long ago");
        assert_eq!(ahead_s(0, soon), None, "it does not say when");
    }
}
