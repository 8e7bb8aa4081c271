//! The cluster's protocol, without I/O.

pub mod plan;
pub mod shares;
pub mod types;
