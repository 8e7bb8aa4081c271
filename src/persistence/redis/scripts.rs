//! The scripts: each is one atomic step (see the head of each file). They are loaded into the
//! server with every connection, and again when it has forgotten them.

use std::sync::LazyLock;

use redis::{Cmd, Script};

/// A script by its place in [`ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Append,
    Hand,
    Read,
    Feed,
    Heads,
    Receipt,
    Owed,
    Prune,
    Node,
    Found,
}

static ALL: LazyLock<[(Script, &str); 10]> = LazyLock::new(|| {
    [
        include_str!("scripts/append.lua"),
        include_str!("scripts/hand.lua"),
        include_str!("scripts/read.lua"),
        include_str!("scripts/feed.lua"),
        include_str!("scripts/heads.lua"),
        include_str!("scripts/receipt.lua"),
        include_str!("scripts/owed.lua"),
        include_str!("scripts/prune.lua"),
        include_str!("scripts/node.lua"),
        include_str!("scripts/found.lua"),
    ]
    .map(|text| (Script::new(text), text))
});

/// The beginning of a call, to which keys and arguments are added.
pub(super) fn call(name: Name, keys: usize) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(ALL[name as usize].0.get_hash()).arg(keys);
    command
}

/// The commands that load them all.
pub(super) fn load() -> Vec<Cmd> {
    let load = |text: &str| redis::cmd("SCRIPT").arg("LOAD").arg(text).to_owned();
    ALL.iter().map(|(_, text)| load(text)).collect()
}
