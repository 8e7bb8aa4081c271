//! `souk import FILE...`: catalogues, through the public API, as an administrator.
//!
//! What the shop has is read first; then every product of the file is left alone (it is there and the same),
//! updated, or created. So a second run changes nothing, and a run that was interrupted is gone on with
//! by running it again. Creations carry idempotency keys made from the file's content: a repeat whose
//! first answer was lost makes nothing twice. Rows in error are listed and left out; the rest is imported.

mod apply;
mod csv_catalogue;
mod json_catalogue;
mod retail_catalogue;
#[cfg(test)]
mod tests;
mod wanted;

use std::fmt::Write;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};

use super::args::{ImportArgs, ImportStock};
use super::client::As;
use super::output;
use super::retail;
use super::source::Source;
pub use apply::{Applied, Importer};
pub use retail_catalogue::wanted as retail_wanted;
use wanted::{Parsed, RowError};
pub use wanted::{Wanted, WantedVariant};

/// Rows in error that the terminal shows; all are in the file of `--errors`.
const ERRORS_SHOWN: usize = 20;

pub async fn run(args: ImportArgs) -> anyhow::Result<()> {
    let mut products = Vec::new();
    let mut errors = Vec::new();
    for path in &args.files {
        let parsed = parse(path, args.stock).with_context(|| format!("reading {}", path.display()))?;
        products.extend(parsed.products);
        errors.extend(parsed.errors.into_iter().map(|error| (path.display().to_string(), error)));
    }
    let api = args.server.api(usize::from(args.clients))?;
    let session = args.server.session()?;
    let importer = Importer::new(&api, As::User(&session), usize::from(args.clients)).await?;
    let bar = output::progress(products.len() as u64, "products").with_message("importing");
    let applied = importer.apply(products, &bar).await?;
    bar.finish_and_clear();

    errors.extend(applied.errors.iter().map(|(file, error)| (file.clone(), error.clone())));
    if let Some(path) = &args.errors {
        write_errors(path, &errors).with_context(|| format!("writing {}", path.display()))?;
    }
    output::print(&summary(&applied, &errors))?;
    if errors.is_empty() { Ok(()) } else { bail!("{} rows were not imported", errors.len()) }
}

/// The products of one file, whose format its first bytes and header tell.
fn parse(path: &Path, stock: ImportStock) -> anyhow::Result<Parsed> {
    let source = Source::open(path)?;
    let mut head = Vec::new();
    source.reader()?.take(64 << 10).read_to_end(&mut head)?;
    let file = path.display().to_string();
    if head.trim_ascii_start().starts_with(b"{") {
        return json_catalogue::parse(&file, source.reader()?);
    }
    let mut csv = csv::Reader::from_reader(head.as_slice());
    let header = csv.headers().context("not a catalogue: neither JSON lines nor CSV with a header")?;
    if retail::is_header(header.iter()) {
        let retail = retail::Retail::read(path)?;
        return Ok(Parsed {
            products: retail_catalogue::wanted(&file, &retail, stock, usize::MAX),
            errors: Vec::new(),
        });
    }
    if header.iter().any(|column| column.trim() == "sku") {
        return csv_catalogue::parse(&file, source.reader()?);
    }
    bail!("not a catalogue: its columns are {:?}, and none of them is sku", header.iter().collect::<Vec<_>>())
}

fn summary(applied: &Applied, errors: &[(String, RowError)]) -> String {
    let mut text = String::new();
    for (file, error) in errors.iter().take(ERRORS_SHOWN) {
        writeln!(text, "{file}:{}: {}: {}", error.line, error.what, error.reason).expect("a string takes everything");
    }
    if errors.len() > ERRORS_SHOWN {
        writeln!(text, "... and {} more (--errors FILE has all)", errors.len() - ERRORS_SHOWN)
            .expect("a string takes everything");
    }
    let Applied { created, updated, unchanged, stocked, categories, .. } = applied;
    writeln!(
        text,
        "products: {created} created, {updated} updated, {unchanged} unchanged, {} in error; \
         stock set: {stocked}; categories created: {categories}",
        errors.len()
    )
    .expect("a string takes everything");
    text
}

fn write_errors(path: &Path, errors: &[(String, RowError)]) -> anyhow::Result<()> {
    let mut csv = csv::Writer::from_path(path)?;
    csv.write_record(["file", "line", "what", "reason"])?;
    for (file, error) in errors {
        csv.write_record([file.as_str(), &error.line.to_string(), &error.what, &error.reason])?;
    }
    Ok(csv.flush()?)
}
