//! The link from outside of its parts: bytes, handshake, who keeps which connection, and real nodes on loopback.

mod frames;
mod handshakes;
mod hostile;
mod nodes;
mod pairs;
mod processes;
mod support;
