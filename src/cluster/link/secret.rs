//! What all nodes of a cluster know and nobody else: who knows it is one of them.

use std::fmt;
use std::sync::Arc;

/// Shorter ones can be found by trying.
pub const SECRET_MIN: usize = 16;

/// The cluster's secret. It is shown nowhere: `Debug` hides it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// None where it is too short.
    pub fn new(secret: &[u8]) -> Option<Secret> {
        (secret.len() >= SECRET_MIN).then(|| Secret(secret.into()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
