//! What every request passes before its handler, and its connection before that: the accept loop, limits, admission.
//! Architecture invariant: nothing here knows a resource.

pub mod admission;
pub mod arrival;
pub mod connection;
pub mod descriptors;
pub mod pipeline;
pub mod serve;
pub mod spelling;
pub mod unparsed;
pub mod waiting;
