//! What comes in, parsed into types that prove themselves: who asks, ids, bodies, query strings, preferences, and the
//! identity of a request.

pub mod address;
pub mod caller;
pub mod conditional;
pub mod context;
pub mod extract;
pub mod fields;
pub mod filters;
pub mod idempotency;
pub mod json;
pub mod lists;
pub mod origin;
pub mod parameters;
pub mod patience;
pub mod position;
pub mod prefer;
pub mod query;
pub mod wait_notice;
pub mod who;
