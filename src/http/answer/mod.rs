//! What goes out: bodies with their tags, problems and their codes, and the document that describes both.

pub mod codes;
pub mod openapi;
pub mod outcomes;
pub mod problem;
pub mod reply;
pub mod schema;
