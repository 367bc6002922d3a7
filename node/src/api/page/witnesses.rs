//! The head as witnesses know it: the checkpoint, who cosigned it, and a warning where one saw another ledger.

use super::badge;
use super::format::{moment, quoted};
use super::listed::downloads;
use super::plot::Mark;
use crate::checkpoints::{CheckpointRow, WitnessRow};
use maud::{Markup, html};

/// The section about checkpoints and witnesses.
pub(super) fn witnesses(now_ms: u64, checkpoint: &CheckpointRow) -> Markup {
    let CheckpointRow { size, root, cosigned_by, witnesses, .. } = checkpoint;
    html! {
        section #witnesses data-live aria-labelledby="witnesses-title" {
            h2 #witnesses-title { "Witnesses " span.muted { (witnesses.len()) } }
            @for witness in witnesses {
                @if let Some(size) = witness.conflict { (conflict(witness, size)) }
            }
            p {
                "The first " (size) " blocks have the root " code.id title=(root) { (root.get(..8).unwrap_or(root)) }
                ", signed by this node and cosigned by "
                @if cosigned_by.is_empty() { "nobody" } @else { (quoted(&cosigned_by.join(", "))) } ". "
                a href="/api/checkpoint" { "The checkpoint" }
            }
            @if witnesses.is_empty() {
                p.empty {
                    "This node asks nobody to cosign its ledger. A witness makes it known when somebody is shown "
                    "another one: start one with " code { "assay witness run" } " and name it with "
                    code { "assay run --witness" } "."
                }
            } @else {
                div.scroll tabindex="0" role="region" aria-labelledby="witnesses-title" {
                    (table(now_ms, witnesses))
                }
                (downloads("/api/witnesses", "Witnesses"))
            }
        }
    }
}

fn conflict(witness: &WitnessRow, size: u64) -> Markup {
    html! {
        p role="alert" {
            (badge(Mark::Refuted, "split view")) " "
            (quoted(&witness.name)) " says that it cosigned another ledger of this network: its first "
            (size) " blocks are not those of this node. Compare the checkpoint with other nodes', and export and "
            "audit this ledger. If the witness keeps the other checkpoint, the two prove which keys signed both."
        }
    }
}

fn table(now_ms: u64, witnesses: &[WitnessRow]) -> Markup {
    html! {
        table {
            thead { tr {
                th scope="col" { "Witness" }
                th scope="col" { "Address" }
                th.number scope="col" { "Cosigned" }
                th scope="col" { "When" }
                th scope="col" { "Trouble" }
            } }
            tbody {
                @for witness in witnesses {
                    tr {
                        th scope="row" title=(witness.key) { (quoted(&witness.name)) }
                        td { (quoted(&witness.url)) }
                        td.number { @match witness.size {
                            Some(size) => (size),
                            None => span.muted { "–" },
                        } }
                        td { @match witness.cosigned_at_s {
                            Some(time_s) => (moment(now_ms, time_s.saturating_mul(1_000))),
                            None => span.muted { "–" },
                        } }
                        td { @match &witness.trouble {
                            Some(trouble) => (quoted(trouble)),
                            None => span.muted { "–" },
                        } }
                    }
                }
            }
        }
    }
}
