//! What every command shares: the output format, tables and units.

use crate::text::{line, paragraphs};
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::Write;

/// How a command prints its result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON object on stdout and nothing else there.
    Json,
}

/// Prints `value` as one JSON object, or what `table` makes of it.
///
/// # Errors
///
/// When stdout cannot be written or the value not be serialised.
pub fn print<T: Serialize>(
    format: Format,
    value: &T,
    table: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match format {
        Format::Table => writeln!(out, "{}", table(value))?,
        Format::Json => {
            serde_json::to_writer(&mut out, value)?;
            writeln!(out)?;
        }
    }
    Ok(())
}

/// A plain table with a header, without box drawing. Cells may hold strangers' text.
pub fn table<S: AsRef<str>>(header: &[&str], rows: impl IntoIterator<Item = Vec<S>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    for row in rows {
        table.add_row(row.iter().map(|cell| line(cell.as_ref())));
    }
    table.trim_fmt()
}

/// Two columns, for a single object. Values may hold strangers' text.
pub fn fields<S: AsRef<str>>(rows: &[(&str, S)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = rows
        .iter()
        .map(|(name, value)| format!("{name:<width$}  {}", paragraphs(value.as_ref())))
        .collect();
    lines.join("\n")
}
