//! Structured logs, to standard error: standard output belongs to what a command answers.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Starts logging. The filter's syntax is that of tracing's directives (`info,souk=debug`).
pub fn start(log: &Log) -> anyhow::Result<()> {
    // Below warnings it writes out what the nodes of a cluster send each other: customers' data. And it warns of slow answers of
    // "0.0.0.0:0", which the link knows better.
    let filter = EnvFilter::try_new(&log.filter)?.add_directive("ractor_cluster=error".parse()?);
    let json = match log.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    if json {
        registry.with(layer.json().flatten_event(true)).try_init()?;
    } else {
        registry.with(layer.with_ansi(std::io::stderr().is_terminal())).try_init()?;
    }
    Ok(())
}
