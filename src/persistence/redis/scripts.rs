//! The scripts: each is one atomic step (see the head of each file). They are called by their hash; a server that does
//! not know one, or has forgotten it, is sent the text, and knows it then.

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
    Forget,
    Wish,
    Found,
    Probe,
}

static ALL: LazyLock<[(Script, &str); 13]> = LazyLock::new(|| {
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
        include_str!("scripts/forget.lua"),
        include_str!("scripts/wish.lua"),
        include_str!("scripts/found.lua"),
        include_str!("scripts/probe.lua"),
    ]
    .map(|text| (Script::new(text), text))
});

/// The beginning of a call, to which keys and arguments are added.
pub(super) fn call(name: Name, keys: usize) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(ALL[name as usize].0.get_hash()).arg(keys);
    command
}

/// The same call, with the text in place of the hash.
pub(super) fn in_full(call: &Cmd) -> Cmd {
    let mut arguments = call.args_iter().skip(1).filter_map(|argument| match argument {
        redis::Arg::Simple(argument) => Some(argument),
        _ => None, // there is no cursor in a call
    });
    let hash = arguments.next().unwrap_or_default();
    let text = ALL.iter().find(|(script, _)| script.get_hash().as_bytes() == hash).map(|(_, text)| *text);
    let mut command = redis::cmd("EVAL");
    command.arg(text.unwrap_or_default());
    arguments.for_each(|argument| {
        command.arg(argument);
    });
    command
}

/// A call that tries each command of all scripts on keys of its own.
pub(super) fn probe(prefix: &str) -> Cmd {
    let mut command = call(Name::Probe, 4);
    for of in ["hash", "text", "list", "set"] {
        command.arg(format!("{prefix}:{{probe}}:{of}"));
    }
    command
}
