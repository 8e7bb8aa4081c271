//! The HTTP client of the tests. Each request has a bound: what is never answered fails its test, and says so, where
//! it would otherwise hold up the whole run.

use std::time::Duration;

/// Longer than anything may take on a slow machine, a start or a stop of the server included.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(120);

pub fn client() -> reqwest::Client {
    crate::watchdog::watch();
    reqwest::Client::builder().timeout(ANSWER_WITHIN).build().expect("a client")
}
