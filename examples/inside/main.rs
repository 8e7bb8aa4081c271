//! What `scripts/bench` measures below the API: reservations at one SKU through the runtime, the journal
//! beside a plain append-only file, and the link between two nodes. One line of JSON on standard output.
//!
//! `inside hot-sku|journal|file|gathered|filled|feed --data DIR [--tasks N] [--seconds S] [--bytes B] [--records N]
//! [--page N] [--store sled|fjall|URL]`
//!
//! `inside link [--seconds S] [--bytes B]` starts itself a second time, as the other node.

mod appending;
mod feed;
mod hot_sku;
mod link;
mod stores;
mod tally;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use souk::persistence::embedded::EngineKind;

#[derive(Debug, Clone)]
pub struct Options {
    data: PathBuf,
    tasks: usize,
    time: Duration,
    /// What a record takes.
    bytes: usize,
    /// How many there are to be followed.
    records: usize,
    /// Records of one read.
    page: usize,
    engine: EngineKind,
    /// Of a shared store, whose database is new.
    url: Option<String>,
    /// Where the node listens that started this process.
    peer: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().context("hot-sku, journal, file, gathered, filled, feed or link")?;
    let (data, engine) = (PathBuf::new(), EngineKind::default());
    let time = Duration::from_secs(5);
    let mut options =
        Options { data, tasks: 64, time, bytes: 256, records: 1_000_000, page: 64, engine, url: None, peer: None };
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{name} takes a value"))?;
        match name.as_str() {
            "--data" => options.data = value.into(),
            "--tasks" => options.tasks = value.parse()?,
            "--seconds" => options.time = Duration::from_secs_f64(value.parse()?),
            "--records" => options.records = value.parse()?,
            "--page" => options.page = value.parse()?,
            "--bytes" => options.bytes = value.parse()?,
            "--peer" => options.peer = Some(value),
            "--store" if value.contains("://") => options.url = Some(value),
            "--store" => options.engine = EngineKind::named(&value).context("--store is sled, fjall or a URL")?,
            _ => bail!("unknown option {name}"),
        }
    }
    if options.data.as_os_str().is_empty() && !what.starts_with("link") {
        bail!("--data is needed");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let told = match what.as_str() {
        "hot-sku" => runtime.block_on(hot_sku::measure(options))?,
        "journal" => runtime.block_on(appending::journal(options))?,
        "gathered" => runtime.block_on(stores::gathered(options))?,
        "filled" => runtime.block_on(stores::filled(options))?,
        "feed" => runtime.block_on(feed::feed(options))?,
        "file" => runtime.block_on(appending::file(options))?,
        "link" => runtime.block_on(link::measure(options))?,
        "link-peer" => runtime.block_on(link::peer(options))?,
        _ => bail!("there is no {what}"),
    };
    println!("{told}");
    Ok(())
}
