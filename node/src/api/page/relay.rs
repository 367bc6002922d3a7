//! To whom a claim owes its checkpoint.

use super::super::entry::Entry;
use super::format::quoted;
use maud::{Markup, html};

/// Who built, tried, diagnosed and shipped; nothing where no relay is behind the claim.
pub(super) fn relay(entry: &Entry) -> Markup {
    html! {
        @if !entry.relay.is_empty() {
            p {
                "Its checkpoint: "
                @for (index, part) in entry.relay.iter().enumerate() {
                    @if index > 0 { ", " }
                    (part.role.word()) " by "
                    @match part.post {
                        Some(post) => a href={ "/board/threads/" (post) } { (quoted(&part.by.name)) },
                        None => (quoted(&part.by.name)),
                    }
                    @if part.credited { " " span.muted { "(credited)" } }
                }
                "."
            }
        }
    }
}
