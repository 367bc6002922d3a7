//! Applying the edits that diagnostics carry.

use super::ordered::Ordered;
use super::{ConfigEdit, Report};
use crate::error::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;

/// A corrected file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// `config.json` or `generation_config.json`.
    pub file: String,
    /// The file with the edits, keys in their order, indented as it was.
    pub corrected: String,
    /// Lines of the original (`-`), of the correction (`+`) and around them (` `).
    pub diff: Vec<String>,
}

/// Applies every edit of `report` to the files, read through `original`. Where two edits set one key, the
/// one of the worse diagnostic holds.
pub fn corrected(
    report: &Report,
    original: impl Fn(&str) -> Result<Option<Vec<u8>>>,
) -> Result<Vec<Fixed>> {
    let mut by_file: BTreeMap<&str, Vec<&ConfigEdit>> = BTreeMap::new();
    for edit in report.diagnostics.iter().flat_map(|d| &d.fix) {
        let edits = by_file.entry(edit.file).or_default();
        if !edits.iter().any(|e| e.path == edit.path) {
            edits.push(edit);
        }
    }
    let mut fixed = Vec::new();
    for (file, edits) in by_file {
        let corrupt = |message: String| Error::Corrupt { file: file.into(), message };
        let bytes = original(file)?.unwrap_or_else(|| b"{}".to_vec());
        let text = String::from_utf8(bytes).map_err(|e| corrupt(e.to_string()))?;
        let mut value: Ordered = serde_json::from_str(&text).map_err(|e| corrupt(e.to_string()))?;
        for edit in edits {
            value.set(&edit.path, edit.value.as_ref());
        }
        let corrected = render(&value, &text).map_err(corrupt)?;
        // The original in the same layout, so that the difference is the correction alone.
        let plain: Ordered = serde_json::from_str(&text).map_err(|e| corrupt(e.to_string()))?;
        let before = render(&plain, &text).map_err(corrupt)?;
        if before != corrected {
            let diff = diff(&before, &corrected);
            fixed.push(Fixed { file: file.into(), corrected, diff });
        }
    }
    Ok(fixed)
}

/// `value` with the indentation of `like`.
fn render(value: &Ordered, like: &str) -> std::result::Result<String, String> {
    let indent =
        like.lines().nth(1).map_or("  ", |line| &line[..line.len() - line.trim_start().len()]);
    let indent = if indent.is_empty() { "  " } else { indent };
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    value.serialize(&mut serializer).map_err(|e| e.to_string())?;
    out.push(b'\n');
    String::from_utf8(out).map_err(|e| e.to_string())
}

/// Lines removed and added, with two lines around each change.
fn diff(before: &str, after: &str) -> Vec<String> {
    let (a, b): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let (mut lines, mut i, mut j) = (Vec::new(), 0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            lines.push((' ', a[i]));
            (i, j) = (i + 1, j + 1);
            continue;
        }
        // The nearest pair of equal lines ahead ends the change.
        let limit = (a.len() - i) + (b.len() - j);
        let meet = (1..=limit).find_map(|sum| {
            (0..=sum).map(|x| (x, sum - x)).find(|&(x, y)| match (a.get(i + x), b.get(j + y)) {
                (Some(one), Some(two)) => one == two,
                (None, None) => true,
                _ => false,
            })
        });
        let (x, y) = meet.unwrap_or((a.len() - i, b.len() - j));
        let (x, y) = (x.min(a.len() - i), y.min(b.len() - j));
        lines.extend(a[i..i + x].iter().map(|line| ('-', *line)));
        lines.extend(b[j..j + y].iter().map(|line| ('+', *line)));
        (i, j) = (i + x, j + y);
    }
    let near = |at: usize| {
        let range = at.saturating_sub(2)..(at + 3).min(lines.len());
        lines[range].iter().any(|(mark, _)| *mark != ' ')
    };
    let shown = (0..lines.len()).filter(|&at| near(at));
    shown.map(|at| format!("{} {}", lines[at].0, lines[at].1)).collect()
}
