//! The ledger explorer: the blocks, and one of them with everything in it.

use super::format::{count, moment, quoted};
use super::listed::{Listed, downloads};
use super::plot::Mark;
use super::witnesses::witnesses;
use super::{Place, Snapshot, badge, document, peer};
use crate::api::blocks::{BlockRow, BlockView, TALLIED_BLOCKS, ValidatorRow};
use crate::api::records::{About, RecordRow};
use crate::checkpoints::CheckpointRow;
use crate::text::cut;
use indicatif::HumanBytes;
use maud::{Markup, html};

/// Longest line that a record says here, in characters.
const SAYS_CHARS_MAX: usize = 120;

/// The list of blocks, newest first, with the validators and the witnesses.
pub(in crate::api) fn ledger(
    snapshot: &Snapshot,
    blocks: &[BlockRow],
    validators: &[ValidatorRow],
    checkpoint: Option<&CheckpointRow>,
) -> Markup {
    let witnesses = html! {
        @if let Some(checkpoint) = checkpoint { (witnesses(snapshot.now_ms, checkpoint)) }
    };
    // What a witness says against this ledger comes before the ledger.
    let warned = checkpoint.is_some_and(CheckpointRow::is_contested);
    let main = html! {
        h1.visually-hidden { "The ledger" }
        (search())
        @if warned { (witnesses) }
        (list(snapshot, blocks))
        (committee(validators))
        @if !warned { (witnesses) }
    };
    document(snapshot, Place::Ledger, "Ledger · Assay", &main)
}

fn search() -> Markup {
    html! {
        section #find aria-label="Search" {
            form.search role="search" action="/ledger" method="get" {
                label.visually-hidden for="q" { "Height, hash, claim, record or peer to look for" }
                input #q name="q" type="search" maxlength="100"
                    placeholder="Height, hash, claim, record or peer";
                button type="submit" { "Search" }
            }
        }
    }
}

fn list(snapshot: &Snapshot, blocks: &[BlockRow]) -> Markup {
    let height = snapshot.state.height();
    let (first, last) = (blocks.first().map(|b| b.height), blocks.last().map(|b| b.height));
    html! {
        section #blocks data-live aria-labelledby="blocks-title" {
            h2 #blocks-title { "Blocks " span.muted { (height) } }
            @match (first, last) {
                (Some(newest), Some(oldest)) => {
                    div.scroll tabindex="0" role="region" aria-labelledby="blocks-title" {
                        (table(snapshot, blocks))
                    }
                    nav.pager aria-label="More blocks" {
                        @if newest < height { a href="/ledger" { "newest" } }
                        span { (oldest) "–" (newest) " of " (height) }
                        @if oldest > 1 { a href={ "/ledger?from=" (oldest - 1) } { "older" } }
                    }
                    (downloads(&format!("/api/ledger/blocks?from={newest}"), "Blocks"))
                },
                _ if height == 0 => p.empty {
                    "No block yet. The network makes the first one when somebody has something to say and "
                    "more than two thirds of the validators are here; " a href="/peers" { "Peers" }
                    " says who is."
                },
                _ => p.empty { "There are no blocks this far back. " a href="/ledger" { "The newest" } },
            }
        }
    }
}

fn table(snapshot: &Snapshot, blocks: &[BlockRow]) -> Markup {
    html! {
        table.blocks {
            thead { tr {
                th.number scope="col" { "Height" }
                th scope="col" { "Block" }
                th scope="col" { "When" }
                th scope="col" { "Proposed by" }
                th.number scope="col" { "Records" }
                th scope="col" { "What" }
                th.number scope="col" { "Signed by" }
                th.number scope="col" { "Size" }
            } }
            tbody {
                @for block in blocks {
                    tr {
                        th.number scope="row" { a href={ "/ledger/" (block.height) } { (block.height) } }
                        td { code title=(block.hash) { (block.hash.short()) } }
                        td { (moment(snapshot.now_ms, block.time_ms)) }
                        td { (peer(&block.proposer)) }
                        td.number { (block.records) }
                        td { @if block.kinds.is_empty() { span.muted { "a turn of the beacon or a deadline" } } (block.kinds.join(", ")) }
                        td.number { (block.signed) @if block.round > 0 { span.sub { "round " (block.round) } } }
                        td.number { (HumanBytes(block.bytes as u64)) }
                    }
                }
            }
        }
    }
}

fn committee(validators: &[ValidatorRow]) -> Markup {
    let of = validators.first().map_or(0, |row| row.of);
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "Validator" }
                th scope="col" { "Operator" }
                th.number scope="col" { "Votes" }
                th.number scope="col" { "Standing" }
                th.number scope="col" { "Proposed last" }
                th.number scope="col" { "Proposed" }
                th.number scope="col" { "Signed" }
            } }
            tbody {
                @for row in validators {
                    tr {
                        th scope="row" { (peer(&row.validator)) }
                        td { (quoted(&row.operator)) }
                        td.number { (row.power) }
                        td.number { (row.standing) }
                        td.number { @match row.heard_at {
                            Some(0) | None => span.muted { "–" },
                            Some(height) => a href={ "/ledger/" (height) } { (height) },
                        } }
                        td.number { (row.proposed) span.muted { " of " (row.of) } }
                        td.number { (row.signed) span.muted { " of " (row.of) } }
                    }
                }
            }
        }
        p.key {
            "Proposed and signed: of the latest " (count(of, "block", "blocks")) " (at most "
            (TALLIED_BLOCKS) "). A certificate needs more than two thirds of the votes and is closed when it "
            "has them, so that a signature missing from it says little."
        }
    };
    Listed {
        id: "validators",
        title: "Validators",
        rows: validators.len(),
        empty: html! { "Nobody may vote on blocks." },
        table,
        json: "/api/ledger/validators",
    }
    .section()
}

/// One block.
pub(in crate::api) fn block(snapshot: &Snapshot, block: &BlockView) -> Markup {
    let row = &block.row;
    let main = html! {
        nav.trail aria-label="Where you are" { a href="/ledger" { "Ledger" } " / block " (row.height) }
        (head(snapshot, block))
        (records(block))
        (certificate(block))
    };
    let title = format!("Block {} · Assay", row.height);
    document(snapshot, Place::Ledger, &title, &main)
}

fn head(snapshot: &Snapshot, block: &BlockView) -> Markup {
    let row = &block.row;
    let hash = row.hash.to_string();
    let parent = block.parent.to_string();
    let fields: [(&str, &str); 7] = [
        ("Hash", &hash),
        ("Parent", &parent),
        ("Body root", &block.body_root),
        ("State root", &block.state_root),
        ("Index root", &block.index_root),
        ("Next validators", &block.next_validators),
        ("Random output", &block.vrf_output),
    ];
    html! {
        section #block data-live aria-labelledby="block-title" {
            h1 #block-title { "Block " (row.height) }
            dl.figures.large {
                div { dt { "When" } dd { (moment(snapshot.now_ms, row.time_ms)) } }
                div { dt { "Proposed by" } dd { (peer(&row.proposer)) } }
                div { dt { "Records" } dd { (row.records) } }
                div { dt { "Signed by" } dd { (count(row.signed, "validator", "validators")) } }
                div { dt { "Decided in round" } dd { (row.round) } }
                div { dt { "Size" } dd { (HumanBytes(row.bytes as u64)) } }
            }
            dl.hashes {
                @for (name, value) in fields {
                    div { dt { (name) } dd { code.id { (value) } } }
                }
            }
            nav.pager aria-label="Blocks beside this one" {
                @if row.height > 1 { a href={ "/ledger/" (row.height - 1) } rel="prev" { "block " (row.height - 1) } }
                @if row.height < snapshot.state.height() {
                    a href={ "/ledger/" (row.height + 1) } rel="next" { "block " (row.height + 1) }
                }
            }
        }
    }
}

fn records(block: &BlockView) -> Markup {
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "Record" }
                th scope="col" { "Kind" }
                th scope="col" { "Signed by" }
                th scope="col" { "About" }
                th scope="col" { "Says" }
                th.number scope="col" { "Size" }
            } }
            tbody {
                @for record in &block.ordered {
                    tr {
                        th scope="row" { code title=(record.id) { (record.id.short()) } }
                        td { (record.kind) }
                        td { (peer(&record.author)) }
                        td { (about(record)) }
                        td { (quoted(&cut(&record.says, SAYS_CHARS_MAX))) }
                        td.number { (HumanBytes(record.bytes as u64)) }
                    }
                }
            }
        }
    };
    Listed {
        id: "records",
        title: "Records",
        rows: block.ordered.len(),
        empty: html! {
            "No record. The block was made because a beacon was awaited or a deadline had passed."
        },
        table,
        json: &format!("/api/ledger/blocks/{}", block.row.height),
    }
    .section()
}

fn about(record: &RecordRow) -> Markup {
    match record.about {
        Some(About::Claim(id)) => html! { a.id href={ "/claims/" (id) } { (id.short()) } },
        Some(About::Post(id)) => html! { a.id href={ "/board/threads/" (id) } { (id.short()) } },
        Some(About::Ruling(id)) => html! { a.id href={ "/api/rulings/" (id) } { (id.short()) } },
        Some(About::Peer(id)) => html! { a.id href={ "/peers/" (id) } { (id.short()) } },
        None => html! { span.muted { "–" } },
    }
}

fn certificate(block: &BlockView) -> Markup {
    html! {
        section #certificate data-live aria-labelledby="certificate-title" {
            h2 #certificate-title { "Certificate " span.muted { (block.signers.len()) } }
            @if block.signers.is_empty() {
                p.empty { "This node has no certificate of this block. Audit the ledger." }
            } @else {
                p {
                    "These validators signed that they commit to this block, at this height and in round "
                    (block.row.round) ". The signatures were checked when this page was made."
                }
                ul.signers {
                    @for signer in &block.signers {
                        li {
                            @if signer.verifies { (badge(Mark::Accepted, "verifies")) }
                            @else { (badge(Mark::Refuted, "does not verify")) }
                            " " (peer(&signer.validator))
                        }
                    }
                }
            }
            p.sub {
                "That they were validators then, and enough of them, is what "
                code { "assay audit" } " checks, from the genesis on."
            }
        }
    }
}
