//! The cluster's protocol, without I/O.

pub mod handoff;
pub mod leases;
pub mod messages;
pub mod parking;
pub mod plan;
pub mod routing;
pub mod settings;
pub mod shares;
pub mod types;
