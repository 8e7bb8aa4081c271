//! What is wrong with a parameter of a query string.

use crate::http::answer::problem::{Code, Problem};

pub(in crate::http) fn unknown(name: &str) -> Problem {
    Problem::new(Code::UnknownParameter).detail(format!("Unknown parameter: {name}."))
}

pub(in crate::http) fn invalid(name: &str, why: &str) -> Problem {
    Problem::new(Code::InvalidParameter).detail(format!("{name}: {why}."))
}
