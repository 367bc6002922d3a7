//! A table as a section of a page, with its downloads.

use maud::{Markup, html};

/// A section around a table.
pub(super) struct Listed<'a> {
    /// Id of the section.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// Rows that there are, the ones left out included.
    pub(super) rows: usize,
    /// What stands in the table's place when there are none, and what to do about it.
    pub(super) empty: Markup,
    pub(super) table: Markup,
    /// The JSON address of the same rows.
    pub(super) json: &'a str,
}

impl Listed<'_> {
    /// The section, brought up to date by the script.
    pub(super) fn section(&self) -> Markup {
        let heading = format!("{}-title", self.id);
        html! {
            section id=(self.id) data-live aria-labelledby=(heading) {
                h2 id=(heading) { (self.title) " " span.muted { (self.rows) } }
                @if self.rows == 0 { p.empty { (self.empty) } } @else {
                    div.scroll tabindex="0" role="region" aria-labelledby=(heading) { (self.table) }
                    (downloads(self.json, self.title))
                }
            }
        }
    }
}

/// Links to a table's rows as CSV and JSON. `json` is the JSON address, with or without a query.
pub(super) fn downloads(json: &str, title: &str) -> Markup {
    let csv = match json.split_once('?') {
        Some((path, query)) => format!("{path}.csv?{query}"),
        None => format!("{json}.csv"),
    };
    html! {
        p.downloads {
            a href=(csv) aria-label={ (title) " as CSV" } { "CSV" } " "
            a href=(json) aria-label={ (title) " as JSON" } { "JSON" }
        }
    }
}
