//! What goes out: bodies with their tags, problems and their codes, and how values are described in the OpenAPI document.

pub mod codes;
pub mod outcomes;
pub mod problem;
pub mod reply;
pub mod schema;
