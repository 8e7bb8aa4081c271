//! What is wrong with the settings: which key, where its value was written, and why it is wrong.

use std::fmt;

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The key in question; empty where a whole source cannot be read.
    pub key: String,
    /// Where its value was written: `souk.toml:12`, `SOUK_CART__TTL_MS`, `--http`.
    pub source: String,
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.source)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with the settings; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", describe(.0))]
pub struct ConfigErrors(pub Vec<ConfigError>);

fn describe(problems: &[ConfigError]) -> String {
    let count = match problems.len() {
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    };
    problems.iter().fold(format!("{count} in the configuration:"), |text, problem| format!("{text}\n  {problem}"))
}
