//! How many slots each node should have: by weight, whole slots, and as few moves as can be.

/// What a node has and what it should have, in slots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Share {
    pub has: usize,
    pub wants: usize,
}

/// A node among which slots are shared out.
#[derive(Debug, Clone, Copy)]
pub struct Claimant {
    /// Above 0.
    pub weight: u32,
    pub version: u16,
    /// So many it has or gets whatever its share is.
    pub fixed: usize,
    /// So many it has already, or gets whatever its share is.
    pub has: usize,
}

/// How many of `slots` each claimant should have. The sum is `slots` where there is a claimant. Each gets its exact share
/// rounded down or up, apart from those to whom more is fixed: they get just that, and the others share the rest.
pub fn shares(slots: usize, claimants: &[Claimant]) -> Vec<usize> {
    let mut shares: Vec<Option<usize>> = vec![None; claimants.len()];
    let mut rest = slots;
    let mut weight = claimants.iter().map(|claimant| u128::from(claimant.weight)).sum::<u128>();
    let floor = |rest: usize, weight: u128, claimant: &Claimant| {
        (rest as u128 * u128::from(claimant.weight)).checked_div(weight).unwrap_or(0) as usize
    };
    // Each round settles at least one claimant; taking one out only makes the others' shares smaller, or ends it.
    loop {
        let (rest_now, weight_now) = (rest, weight);
        for (share, claimant) in shares.iter_mut().zip(claimants) {
            if share.is_none() && claimant.fixed > floor(rest_now, weight_now, claimant) {
                *share = Some(claimant.fixed);
                rest = rest.saturating_sub(claimant.fixed);
                weight -= u128::from(claimant.weight);
            }
        }
        if rest_now == rest && weight_now == weight {
            break;
        }
    }
    let open: Vec<usize> = (0..claimants.len()).filter(|index| shares[*index].is_none()).collect();
    let floors: Vec<usize> = open.iter().map(|index| floor(rest, weight, &claimants[*index])).collect();
    let mut extra = rest.saturating_sub(floors.iter().sum());
    // Whoever has one more already keeps it; then the greater fraction, the newer version, the earlier in the list.
    let mut order: Vec<usize> = (0..open.len()).collect();
    order.sort_by_key(|at| {
        let claimant = &claimants[open[*at]];
        let fraction = (rest as u128 * u128::from(claimant.weight)).checked_rem(weight).unwrap_or(0);
        (fraction == 0, claimant.has <= floors[*at], std::cmp::Reverse((fraction, claimant.version)), *at)
    });
    let mut settled: Vec<usize> = shares.into_iter().map(Option::unwrap_or_default).collect();
    for at in order {
        let more = usize::from(extra > 0);
        extra -= more;
        settled[open[at]] = floors[at] + more;
    }
    settled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimant(weight: u32, fixed: usize, has: usize) -> Claimant {
        Claimant { weight, version: 1, fixed, has }
    }

    #[test]
    fn the_slots_are_shared_by_weight_and_who_has_one_more_keeps_it() {
        assert_eq!(shares(16, &[claimant(1, 0, 5), claimant(1, 0, 6), claimant(1, 0, 5)]), [5, 6, 5]);
        assert_eq!(shares(16, &[claimant(1, 0, 16), claimant(1, 0, 0), claimant(2, 0, 0)]), [4, 4, 8]);
        assert_eq!(shares(10, &[claimant(1, 0, 0), claimant(3, 0, 0)]), [3, 7], "2.5 and 7.5");
        assert_eq!(shares(10, &[]), [0usize; 0]);
    }

    #[test]
    fn what_is_fixed_beyond_a_share_is_not_shared() {
        assert_eq!(shares(10, &[claimant(1, 6, 6), claimant(1, 0, 4), claimant(1, 0, 0)]), [6, 2, 2]);
        assert_eq!(
            shares(10, &[claimant(1, 3, 3), claimant(1, 3, 3), claimant(1, 3, 3), claimant(1, 0, 1)]),
            [3, 3, 3, 1]
        );
        assert_eq!(shares(4, &[claimant(1, 4, 4), claimant(1, 0, 0)]), [4, 0]);
    }
}
