//! The link: how the nodes of a cluster talk to each other. It carries opaque bytes: requests with their replies, and messages
//! of the cluster's protocol. It knows neither the shop nor what the bytes mean.
//!
//! ```text
//!        ask, tell, reply                                                     asked, told, outcome
//!               │                                                                      ▲
//!   session: lanes, credit, pages, pulse   ── frames ──▶  carrier: ractor_cluster  ──▶ session of the peer
//!               ▲                                                                      │
//!        terms of the handshake ◀── hello, tags ── one TCP (or TLS) connection ── hello, tags ──▶
//! ```
//!
//! - [`frame`] is the bytes, [`session`] one link as a state machine, [`pairing`] which connection of a pair counts, and
//!   [`hello`] what is said before: these do no I/O and read no clock. [`handshake`], [`stream`], [`tls`], [`carrier`],
//!   [`connection`], [`links`] and [`dialing`] are the driver around them. [`Link`] is what a node holds.
//!
//! ## What is promised
//!
//! 1. Each request has exactly one outcome: the reply, or *not taken* (for certain, the peer has not seen it), or *lost* (it
//!    may have). Nothing is dropped silently; `requests_dropped` counts what would be, and stays 0.
//! 2. Between two nodes there is one link, however both connect. Requests keep their order among each other, and so do tells and
//!    replies. Tells go ahead of requests. Nothing of one link appears on the next.
//! 3. Everything is bounded, and full is an immediate no ([`Limits`]): requests waiting and open, bytes, tells, frames under way,
//!    messages that are put together, handshakes. A request is only taken when there is room for its reply.
//! 4. A peer that says nothing for `dead_after` is gone, whatever its connection looks like. A pause of this process itself does
//!    not count.
//! 5. Whoever does not know the cluster's secret gets 32 random bytes, at most two seconds, and a closed connection.
//!
//! ## What ractor_cluster does here, and what it does not
//!
//! Used is its `NodeSession`: the connection with its reader and writer, the announcement of this node's one remotable actor,
//! its stand-in at the peer, and the cast that carries a frame to it. Its own challenge runs too, with a cookie that only this
//! connection has. Read in its source (0.16.5), and why the rest is ours:
//!
//! | what it does | what follows |
//! | --- | --- |
//! | Its server takes connections without a bound, waits for each TLS handshake without an end, and takes nobody else meanwhile | we listen, connect and encrypt, and give it the stream |
//! | It tells its name and address before the challenge, which has 32 bits and answers whoever dials; any name is believed | our handshake comes first: both ends proven, bound to the TLS connection |
//! | Which of two connections stays it decides by name: an old one that is dead may win | [`pairing`] decides, before it sees either |
//! | It announces every remotable actor to every peer | only [`carrier`]'s actor is one: entities and slots are not |
//! | Mailboxes have no bound | credit: at most two frames of 256 KiB are under way in a direction |
//! | A dead peer is not noticed and nobody connects anew; a cast to who is gone is dropped | pulse, dialer, and an outcome for each request |
//! | At log level `debug` it writes messages out | `telemetry` keeps it at `warn`: they hold customers' data |
//!
//! It brings build-time weight: `protoc` comes as a crate (no system package), and tokio-rustls with its default provider. So
//! rustls has two providers, and whoever makes a TLS configuration names `ring`.
//!
//! ## Absent on purpose
//!
//! No discovery: the node list of the store says who lives. No repeats: whoever asks knows whether that is safe. No priorities
//! among requests. No message for a node that is not linked: the router finds another way, or waits.
//!
//! What a crash leaves: nothing. All of it is in memory, and the peers' outcomes become *lost*.

mod arrivals;
mod carrier;
mod connection;
mod counters;
mod dialing;
mod frame;
mod handle;
mod handshake;
mod hello;
mod limits;
mod links;
mod outcome;
mod pairing;
mod secret;
mod session;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

pub use arrivals::{Arrivals, ReplyHandle};
pub use counters::{Counter, Counters};
pub use handle::{Link, LinkState, LinkStatus};
pub use limits::Limits;
pub use outcome::{AskFailure, EndWhy, NotTaken};
pub use secret::{SECRET_MIN, Secret};
pub use session::Pulse;
pub use settings::{LinkError, LinkSettings, Peer, TlsFiles, pulse};
