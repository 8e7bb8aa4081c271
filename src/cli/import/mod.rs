//! `souk import FILE...`: catalogues, through the public API, as an administrator.
//!
//! What the shop has is read first; then every product of the file is left alone (it is there and the same),
//! updated, or created. So a second run changes nothing, and a run that was interrupted is gone on with
//! by running it again. Rows in error are listed and left out; the rest is imported, and the exit code is 1. A file
//! whose rows cannot be told apart (quotes that do not close) is refused before anything is changed.

mod apply;
mod csv_catalogue;
mod json_catalogue;
mod quotes;
mod retail_catalogue;
mod shop;
#[cfg(test)]
mod tests;
mod wanted;

use std::collections::HashMap;
use std::fmt::Write;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};

use super::args::{ImportArgs, ImportStock};
use super::client::As;
use super::output;
use super::retail;
use super::source::Source;
use crate::actors::values::Sku;
pub use apply::{Applied, Importer};
use csv_catalogue::Format;
pub use retail_catalogue::wanted as retail_wanted;
use wanted::{Parsed, RowError, Wanted};

/// Rows in error that the terminal shows; all are in the file of `--errors`. Of a dry run's intentions too.
const ROWS_SHOWN: usize = 20;

pub async fn run(args: ImportArgs) -> anyhow::Result<()> {
    let format = Format { delimiter: args.delimiter, decimal_comma: args.decimal_comma };
    let mut products = Vec::new();
    let mut errors = Vec::new();
    for path in &args.files {
        let parsed = parse(path, format, args.stock).with_context(|| format!("reading {}", path.display()))?;
        products.extend(parsed.products);
        errors.extend(parsed.errors.into_iter().map(|error| (path.display().to_string(), error)));
    }
    let (products, repeated) = distinct(products);
    errors.extend(repeated);
    let api = args.server.api(usize::from(args.clients))?;
    let session = args.server.session()?;
    let importer = Importer::new(&api, As::User(&session), usize::from(args.clients)).await?.dry_run(args.dry_run);
    let bar = output::progress(products.len() as u64, "products").with_message("importing");
    let applied = importer.apply(products, &bar).await?;
    bar.finish_and_clear();

    errors.extend(applied.errors.iter().map(|(file, error)| (file.clone(), error.clone())));
    if let Some(path) = &args.errors {
        write_errors(path, &errors).with_context(|| format!("writing {}", path.display()))?;
    }
    output::print(&summary(&applied, &errors, args.dry_run))?;
    match (errors.len(), args.dry_run) {
        (0, _) => Ok(()),
        (count, false) => bail!("{count} rows were not imported"),
        (count, true) => bail!("{count} rows would not be imported"),
    }
}

/// Every SKU once: a product is in error that names one which an earlier file had. (Within a file its reader sees to
/// that.)
fn distinct(products: Vec<Wanted>) -> (Vec<Wanted>, Vec<(String, RowError)>) {
    let mut seen: HashMap<Sku, String> = HashMap::new();
    let mut kept = Vec::with_capacity(products.len());
    let mut repeated = Vec::new();
    for product in products {
        let earlier = product.variants.iter().find_map(|variant| Some((variant, seen.get(&variant.sku)?)));
        if let Some((variant, file)) = earlier {
            let reason = format!("this SKU was there before in {file}");
            let what = variant.sku.to_string();
            repeated.push((product.file.clone(), RowError { line: variant.line, what, reason }));
            continue;
        }
        seen.extend(product.variants.iter().map(|variant| (variant.sku.clone(), product.file.clone())));
        kept.push(product);
    }
    (kept, repeated)
}

/// The products of one file, whose format its first bytes and header tell.
fn parse(path: &Path, format: Format, stock: ImportStock) -> anyhow::Result<Parsed> {
    let source = Source::open(path)?;
    let mut head = Vec::new();
    source.reader()?.take(64 << 10).read_to_end(&mut head)?;
    let file = path.display().to_string();
    let text = head.strip_prefix(json_catalogue::BOM).unwrap_or(&head);
    if text.trim_ascii_start().starts_with(b"{") {
        return json_catalogue::parse(&file, source.reader()?);
    }
    let mut csv = format.reader(source.reader()?);
    let header = csv.headers().context("not a catalogue: neither JSON lines nor CSV with a header")?;
    if retail::is_header(header.iter()) {
        if format != Format::default() {
            bail!("an online retail file has commas between its cells and points in its prices");
        }
        let retail = retail::Retail::read(path)?;
        return Ok(Parsed {
            products: retail_catalogue::wanted(&file, &retail, stock, usize::MAX),
            errors: Vec::new(),
        });
    }
    if header.iter().any(|column| column.trim() == "sku") {
        return csv_catalogue::parse(&file, source.reader()?, format);
    }
    let hint = if header.len() == 1 { "; is another --delimiter meant?" } else { "" };
    bail!("not a catalogue: its columns are {:?}, and none of them is sku{hint}", header.iter().collect::<Vec<_>>())
}

fn summary(applied: &Applied, errors: &[(String, RowError)], dry_run: bool) -> String {
    let mut text = String::new();
    if dry_run {
        rows(&mut text, &applied.intended, "");
        text.push_str("dry run: nothing was changed; this would come to:\n");
    }
    rows(&mut text, errors, " (--errors FILE has all)");
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

fn rows(text: &mut String, rows: &[(String, RowError)], hint: &str) {
    for (file, row) in rows.iter().take(ROWS_SHOWN) {
        writeln!(text, "{file}:{}: {}: {}", row.line, row.what, row.reason).expect("a string takes everything");
    }
    if rows.len() > ROWS_SHOWN {
        writeln!(text, "... and {} more{hint}", rows.len() - ROWS_SHOWN).expect("a string takes everything");
    }
}

fn write_errors(path: &Path, errors: &[(String, RowError)]) -> anyhow::Result<()> {
    let mut csv = csv::Writer::from_path(path)?;
    csv.write_record(["file", "line", "what", "reason"])?;
    for (file, error) in errors {
        csv.write_record([file.as_str(), &error.line.to_string(), &error.what, &error.reason])?;
    }
    Ok(csv.flush()?)
}
