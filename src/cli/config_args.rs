//! Options of several commands that stand for keys of the configuration.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::Sources;

/// The configuration and the options that stand for keys of it.
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    /// Configuration file (TOML): the keys that differ from the defaults.
    #[arg(long, value_name = "FILE", env = "SOUK_CONFIG")]
    pub config: Option<PathBuf>,
    /// Directory of the embedded store [data.dir; default ./data].
    #[arg(long, value_name = "DIR", env = "SOUK_DATA")]
    pub data: Option<String>,
    /// What keeps the journal: sled, fjall, postgres, redis, memory [store.kind; default sled].
    #[arg(long, value_name = "KIND", env = "SOUK_STORE")]
    pub store: Option<String>,
    /// Address of a shared store [store.url].
    #[arg(long, value_name = "URL", env = "SOUK_STORE_URL", hide_env_values = true)]
    pub store_url: Option<String>,
}

impl ConfigArgs {
    pub fn sources(&self, environment: impl Iterator<Item = (OsString, OsString)>) -> Sources<'_> {
        let mut sources = sources_of(self.config.as_deref(), environment);
        lay(&mut sources, "--data or SOUK_DATA", "data.dir", self.data.as_ref());
        lay(&mut sources, "--store or SOUK_STORE", "store.kind", self.store.as_ref());
        lay(&mut sources, "--store-url or SOUK_STORE_URL", "store.url", self.store_url.as_ref());
        sources
    }
}

pub fn sources_of(file: Option<&Path>, environment: impl Iterator<Item = (OsString, OsString)>) -> Sources<'_> {
    // a variable whose name or value is not text cannot be a setting
    let environment =
        environment.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Sources { file, environment: environment.collect(), options: Vec::new() }
}

/// Adds an option that was given.
pub fn lay(sources: &mut Sources<'_>, option: &'static str, key: &'static str, value: Option<&String>) {
    sources.options.extend(value.map(|value| (option, key, value.clone())));
}
