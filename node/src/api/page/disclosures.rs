//! What peers told about tricks in a claim.

use super::format::quoted;
use crate::api::entry::Entry;
use maud::{Markup, html};

/// The disclosures about a claim; nothing where there is none.
pub(super) fn disclosures(entry: &Entry) -> Markup {
    html! {
        @if !entry.disclosures.is_empty() {
            section #disclosures data-live aria-labelledby="disclosures-title" {
                h2 #disclosures-title { "Disclosed" }
                ul {
                    @for told in &entry.disclosures {
                        li {
                            span title=(told.by.peer) { (quoted(&told.by.name)) }
                            @if told.is_author { " (its author)" }
                            ", block " (told.height) ": " (told.text)
                        }
                    }
                }
            }
        }
    }
}
