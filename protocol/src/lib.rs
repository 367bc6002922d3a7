//! What the network believes: a pure state machine.
//!
//! # Life of a claim
//!
//! ```text
//! author   signs a Claim ──────────────► docket, round 1 (phase Docketed)
//! ledger   beacon two blocks later ────► waits for its turn, then a committee is drawn (Sealing)
//! seat     measures, sends a Seal ─────► all seats sealed, or the deadline (Revealing)
//! seat     sends a Reveal ─────────────► all revealed, or the deadline
//! state    verdict from the raw data ──► would lead its track: round 2, another committee, whose
//!                                        number is the ledger's; otherwise an entry (Settled)
//! author   opens its own sealed result; a null claim catches who reported a gain
//! anyone   challenges the entry, or the beacon picks it: a further round, which may debunk it
//! ```
//!
//! Every measurement is a *round* with its own beacon, committee, prompts and verdict; nothing said
//! in one counts in another.
//!
//! # Map
//!
//! - [`wire`] is the one door: bytes become a [`record::Record`] there or are refused.
//! - [`state::State`] is everything decided so far; [`block`] extends it, nothing else does.
//! - [`randomness`], [`draw`] and [`plan`] turn the beacon into committees and prompts.
//! - [`fair`] decides whose round is measured next, [`frontier`] which entries lead.
//! - [`gates`], [`statistics`] and [`verdict`] turn raw measurements into a decision;
//!   [`calibration`] is what rounds taught about a hardware class.
//! - [`membership`], [`equivocation`] and [`standing`] say who takes part and with what weight.
//! - [`ruling`] is what drawn committees or measurements say about flags, [`sighting`] what flags bring.
//! - [`parameter`] is what members change by vote.
//! - [`post`] is what peers say on the board; the ledger orders its digest and reads none of it.
//! - [`item`] is a final block with its certificate, and how it extends the ledger.
//! - [`peer::Peer`] is one participant: `step(input) → effects`, over a [`pool::Pool`].
//! - [`tlog`] is the ledger as witnesses see it: checkpoints that they cosign.
//! - [`audit`] replays an exported ledger; [`certificate`] is what validators signed.
//!
//! # What is deliberately absent
//!
//! No sockets, clocks, files, threads or keys: time, randomness and signatures come in as values.
//! No `HashMap`, whose order differs from run to run, and no platform maths: what decides anything
//! uses integers, or floats with `+ − × ÷ √` and the `libm` crate only, so that every node and
//! every auditor reach the same bits. Ordering itself is not here either: `node` hosts the
//! consensus engine, and this crate only knows what its certificates say.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod audit;
pub mod block;
pub mod calibration;
pub mod certificate;
pub mod dissent;
pub mod draw;
pub mod equivocation;
pub mod error;
pub mod fair;
#[cfg(test)]
mod fixtures;
pub mod frontier;
pub mod gates;
pub mod genesis;
pub mod ids;
pub mod item;
pub mod manifest;
pub mod measurement;
pub mod membership;
pub mod merkle;
pub mod parameter;
pub mod peer;
pub mod plan;
pub mod pool;
pub mod post;
pub mod randomness;
pub mod record;
pub mod ruling;
#[cfg(test)]
mod scenarios;
pub mod sighting;
pub mod standing;
pub mod state;
pub mod statistics;
pub mod tlog;
pub mod verdict;
pub mod wire;
