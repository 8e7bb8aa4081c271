//! Composes a node and owns the order of start and drain.

use serde_json::Value;

use crate::actors::values::Email;
use crate::config::Config;

/// What `souk serve` was told beside the configuration.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Fill an empty store with the sample catalogue.
    pub sample: bool,
    /// The first administrator, made when there is none.
    pub bootstrap: Option<Bootstrap>,
}

/// An administrator to be.
#[derive(Clone)]
pub struct Bootstrap {
    pub email: Email,
    pub password: String,
}

impl std::fmt::Debug for Bootstrap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bootstrap").field("email", &self.email).finish_non_exhaustive()
    }
}

/// What is asked about an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Everything about it now: where it is, its version, its state, what it owes.
    Present,
    /// All its records.
    Journal,
    /// Its state as it was.
    StateAt { version: u64 },
}

/// Serves until it is told to stop.
pub async fn run(_: Config, _: ServeOptions) -> anyhow::Result<()> {
    anyhow::bail!("no node yet")
}

/// Looks into an entity of a store that no server holds; `None`: it does not exist. The answer has the shape
/// of the API's inspection routes (for a journal: the list of entries).
pub async fn inspect_at_rest(_: Config, _kind: &str, _id: &str, _: Question) -> anyhow::Result<Option<Value>> {
    anyhow::bail!("no node yet")
}

/// Makes an administrator in a store that no server holds. The answer is a line for the terminal.
pub async fn create_admin(_: Config, _: &Email, _password: String) -> anyhow::Result<String> {
    anyhow::bail!("no node yet")
}
