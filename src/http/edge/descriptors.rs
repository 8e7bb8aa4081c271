//! File descriptors: every connection takes one, and the store must always have some. A shell gives a process few of
//! them and lets it take more (often 1,024 of 524,288), so it takes them at start.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the store, the listener and the runtime keep for themselves.
const RESERVED: u64 = 256;

/// Takes as many descriptors as the system allows, and answers how many connections there can be: `wanted`,
/// or fewer.
pub fn connections(wanted: usize) -> usize {
    let allowed = getrlimit(Resource::Nofile);
    let needed = (wanted as u64).saturating_add(RESERVED);
    if allowed.current.is_some_and(|current| current < needed) {
        let most = allowed.maximum.map_or(needed, |maximum| maximum.min(needed));
        let taken = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: allowed.maximum });
        if let Err(error) = taken {
            tracing::warn!(%error, "cannot take more file descriptors");
        }
    }
    let current = getrlimit(Resource::Nofile).current;
    let room = current.map_or(u64::MAX, |current| current.saturating_sub(RESERVED).max(current / 2));
    let connections = wanted.min(usize::try_from(room).unwrap_or(usize::MAX)).max(1);
    if connections < wanted {
        tracing::warn!(wanted, connections, "the limit of open files allows fewer connections (ulimit -n)");
    }
    connections
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_wanted_is_given_and_more_than_the_system_has_is_not() {
        assert_eq!(super::connections(10), 10);
        let most = super::connections(usize::MAX);
        let allowed = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        assert_eq!(allowed.current, allowed.maximum, "it has taken what it may");
        assert!(allowed.current.is_none_or(|current| (most as u64) < current));
    }
}
