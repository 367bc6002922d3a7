//! `assay claim`: make a claim, look at claims.

use super::client::Client;
use super::member;
use super::output::{Format, fields, print, table};
use super::recipe::RecipeArgs;
use crate::api::{ClaimAccepted, ClaimRequest, ClaimRow, Claims, MeasureRequest, Statement};
use crate::home::Home;
use crate::nulls::{NULL_RATIO_PPM, null_recipe, summary_of};
use crate::storage::Blobs;
use anyhow::Context;
use assay_protocol::frontier::Track;
use assay_protocol::gates::to_ppm;
use assay_protocol::genesis::Genesis;
use assay_protocol::ids::{ClaimId, RecordId};
use assay_protocol::state::Cost;
use assay_protocol::verdict::{Estimate, Outcome, Verdict};
use indicatif::ProgressBar;
use std::path::Path;
use std::time::Duration;

/// Reading answers at once; making a claim measures first and may wait for other measurements.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const MEASURE_TIMEOUT: Duration = Duration::from_secs(3_600);

/// `assay claim …`
#[derive(Debug, clap::Subcommand)]
pub enum ClaimCommand {
    /// Measure a recipe against its parent and claim that it is faster
    New(NewArgs),
    /// Measure a recipe against its parent as a seat would, and publish nothing
    #[command(
        after_help = "The running node measures, in its confined worker and under the host's \
measuring lock.

Examples:
  assay claim measure --bundle my-kernels/
  assay claim measure --checkpoint nano --drafter nano --draft-len 3 --parent 3fa9c0d1…"
    )]
    Measure(RecipeArgs),
    /// Claim the parent's recipe under other bytes, to see which seats report a gain
    #[command(after_help = "The claim looks like any other until its author opens it after the \
verdict: the kernels are written again in other words. Who normalises both texts, or compares what \
a compiler makes of them, can tell; who compares texts cannot. A node makes such claims by itself, \
by lot, unless it runs with --no-null-claims.

Examples:
  assay claim null
  assay claim null --parent 3fa9c0d1… --summary 'retuned workgroups'")]
    Null(NullArgs),
    /// Have an accepted claim measured again by a fresh committee
    #[command(
        after_help = "If the new measurement refutes the claim it is marked as debunked, with \
all that descends from it. If it does not, the challenge costs a point of standing.

Example:
  assay claim challenge 3fa9c0d1… --reason 'no gain on this machine'"
    )]
    Challenge {
        /// The claim's id
        claim: ClaimId,
        /// One line that says why
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// List the claims on the ledger
    List,
    /// Print everything about one claim
    Show {
        /// The claim's id, or the first digits of it
        claim: String,
    },
}

/// Arguments of `assay claim new`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Checkpoints, bundles and drafters are given as folders or by the hash of \
their manifest; `nano` is the embedded model.

Examples:
  assay claim new --bundle my-kernels/ --summary 'one row per invocation'
  assay claim new --checkpoint nano-int4/ --parent 3fa9c0d1… --summary 'int4 weights'")]
pub struct NewArgs {
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
    /// One line that says what was done; without this, one that lists what the recipe brings
    #[arg(long, value_name = "TEXT")]
    pub(crate) summary: Option<String>,
    /// A spec or diagnosis that the claim follows, by its record id; its author is credited if the claim
    /// leads, and with a diagnosis whoever built and tried the checkpoint that it corrects
    #[arg(long = "cite", value_name = "POST")]
    pub(crate) cites: Vec<RecordId>,
    /// Seal this speed ratio instead of measuring one; everyone will see what it was
    #[arg(long, value_name = "RATIO")]
    pub(crate) ratio: Option<f64>,
    /// Publish although the own measurement says that a committee would refute the claim
    #[arg(long)]
    pub(crate) insist: bool,
}

/// Arguments of `assay claim null`.
#[derive(Debug, clap::Args)]
pub struct NullArgs {
    /// The claim whose recipe to copy; the base recipe without this
    #[arg(long, value_name = "CLAIM")]
    parent: Option<ClaimId>,
    /// One line, as an ordinary claim would have; without this, the line that `claim new` writes
    #[arg(long, value_name = "TEXT")]
    summary: Option<String>,
}

/// Runs `assay claim …`.
///
/// # Errors
///
/// When no node runs in the home folder, files cannot be read, or the claim is refused.
pub fn run(home: &Path, command: ClaimCommand, format: Format) -> anyhow::Result<()> {
    match command {
        ClaimCommand::New(args) => new(home, args, format),
        ClaimCommand::Measure(args) => measure(home, &args, format),
        ClaimCommand::Null(args) => null(home, args, format),
        ClaimCommand::Challenge { claim, reason } => {
            member::say(home, &Statement::Challenge { claim, reason }, format, "challenge")
        }
        ClaimCommand::List => list(home, format),
        ClaimCommand::Show { claim } => show(home, &claim, format),
    }
}

fn null(home: &Path, args: NullArgs, format: Format) -> anyhow::Result<()> {
    let client = Client::find(home, MEASURE_TIMEOUT)?;
    let blobs = blobs_of(home)?;
    let parent = match args.parent {
        None => client.get::<Genesis>("/api/genesis")?.challenge.base,
        Some(parent) => {
            let entry: serde_json::Value = client.get(&format!("/api/claims/{parent}"))?;
            let recipe = entry.pointer("/ledger/recipe").cloned().unwrap_or_default();
            serde_json::from_value(recipe).context("the node's answer has no recipe")?
        }
    };
    let recipe = null_recipe(&blobs, parent)?;
    let request = ClaimRequest {
        recipe,
        parent: args.parent,
        ratio_ppm: Some(NULL_RATIO_PPM),
        null: true,
        insist: true,
        cites: Vec::new(),
        summary: args.summary.unwrap_or_else(|| summary_of(&blobs, &recipe)),
    };
    let accepted: ClaimAccepted = client.post("/api/claims", &request)?;
    print(format, &accepted, |accepted| {
        fields(&[
            ("claim", accepted.claim.to_string()),
            ("own ratio", "null (sealed until the verdict)".to_owned()),
        ])
    })
}

impl NewArgs {
    /// The request to the node, with folders taken into its store.
    ///
    /// # Errors
    ///
    /// When the home folder or something named in the recipe cannot be read.
    pub(crate) fn request(self, home: &Path) -> anyhow::Result<ClaimRequest> {
        let blobs = blobs_of(home)?;
        let recipe = self.recipe.recipe(&blobs)?;
        Ok(ClaimRequest {
            recipe,
            parent: self.recipe.parent,
            ratio_ppm: self.ratio.map(to_ppm),
            null: false,
            insist: self.insist,
            cites: self.cites,
            summary: self.summary.unwrap_or_else(|| summary_of(&blobs, &recipe)),
        })
    }
}

/// The store of the node in a home folder.
pub(crate) fn blobs_of(home: &Path) -> anyhow::Result<Blobs> {
    let home = Home::open(home)?;
    Ok(Blobs::open(&home.path().join("blobs"), u64::MAX)?)
}

/// Has the running node measure a recipe; `timeout` bounds it.
///
/// # Errors
///
/// When the recipe cannot be read, the node does not answer in time, or it refuses.
pub(crate) fn measured(
    home: &Path,
    recipe: &RecipeArgs,
    timeout: Duration,
) -> anyhow::Result<Verdict> {
    let client = Client::find(home, timeout)?;
    let request =
        MeasureRequest { recipe: recipe.recipe(&blobs_of(home)?)?, parent: recipe.parent };
    client.post("/api/measurements", &request)
}

fn measure(home: &Path, args: &RecipeArgs, format: Format) -> anyhow::Result<()> {
    let spinner = measuring("measuring child and parent on this machine");
    let verdict = measured(home, args, MEASURE_TIMEOUT);
    spinner.finish_and_clear();
    print(format, &verdict?, |verdict| {
        let mut rows = vec![
            ("ratio", verdict.ratio.map_or_else(|| "-".to_owned(), ratio_text)),
            ("decodes", if verdict.lossless { "lossless" } else { "lossy" }.to_owned()),
        ];
        let word = |pass: bool| if pass { "passes" } else { "fails" };
        let gates = verdict.gates.iter();
        let gates = gates.map(|g| format!("{:?} {}: {}", g.gate, word(g.pass), g.detail));
        rows.extend(gates.map(|line| ("gate", line.to_lowercase())));
        fields(&rows)
    })
}

fn measuring(what: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(200));
    spinner.set_message(what);
    spinner
}

fn new(home: &Path, args: NewArgs, format: Format) -> anyhow::Result<()> {
    let client = Client::find(home, MEASURE_TIMEOUT)?;
    let request = args.request(home)?;
    tell_cost(&client, request.parent)?;
    let spinner = measuring("measuring child and parent on this machine, then publishing");
    let accepted: anyhow::Result<ClaimAccepted> = client.post("/api/claims", &request);
    spinner.finish_and_clear();
    print(format, &accepted?, |accepted| {
        let measured = accepted.own_verdict.as_ref().and_then(|verdict| verdict.ratio);
        let ratio = match measured {
            Some(ratio) => format!("{} (sealed until the verdict)", ratio_text(ratio)),
            None => format!("{} (sealed, not measured)", times(accepted.ratio_ppm)),
        };
        fields(&[("claim", accepted.claim.to_string()), ("own ratio", ratio)])
    })
}

/// Says on stderr what the claim will cost the network, before anything is measured.
fn tell_cost(client: &Client, parent: Option<ClaimId>) -> anyhow::Result<()> {
    let query = parent.map(|parent| format!("?parent={parent}")).unwrap_or_default();
    let cost: Cost = client.get(&format!("/api/cost{query}"))?;
    let time = match cost.total_ns {
        Some(ns) => format!("about {:.1} s of timed decoding in all", millionths(ns / 1_000)),
        None => "how long is not known before anything of its lineage was measured".to_owned(),
    };
    eprintln!(
        "cost: {} seats, {} pairs each, {} timed tokens a seat; {time}",
        cost.seats, cost.pairs, cost.tokens
    );
    Ok(())
}

fn list(home: &Path, format: Format) -> anyhow::Result<()> {
    let claims: Claims = Client::find(home, READ_TIMEOUT)?.get("/api/claims")?;
    print(format, &claims, |claims| match claims.claims.as_slice() {
        [] => "No claims yet. Make one: assay claim new --help".to_owned(),
        claims => claims_table(claims),
    })
}

/// The table that `claim list` and the testnet print.
#[must_use]
pub fn claims_table(claims: &[ClaimRow]) -> String {
    let ppl = |ppm: Option<u64>| ppm.map(|ppm| format!("{:.3}", millionths(ppm)));
    table(
        &[
            "claim",
            "summary",
            "author",
            "parent",
            "ratio",
            "× base",
            "rank",
            "ppl",
            "kl, nat",
            "rounds",
            "verdict",
            "attested by",
        ],
        claims.iter().map(|claim| {
            let parent =
                if claim.parent_is_base { "base".to_owned() } else { claim.parent.short() };
            let perplexity =
                match (ppl(claim.perplexity_parent_ppm), ppl(claim.perplexity_child_ppm)) {
                    (Some(parent), Some(child)) => format!("{parent} → {child}"),
                    _ => "-".to_owned(),
                };
            let attested: Vec<&str> = claim.attested_by.iter().map(|n| n.name.as_str()).collect();
            vec![
                claim.id.short(),
                claim.summary.clone(),
                claim.author.name.clone(),
                parent,
                claim.ratio.map_or_else(|| "-".to_owned(), ratio_text),
                claim.ratio_to_base_ppm.map_or_else(|| "-".to_owned(), times),
                rank_text(claim),
                perplexity,
                kl_text(claim),
                rounds_text(claim),
                verdict_text(claim),
                attested.join(", "),
            ]
        }),
    )
}

/// The place in the track; for lossy recipes, among which speed alone says little, the track only.
fn rank_text(claim: &ClaimRow) -> String {
    match (claim.track, claim.rank) {
        (Some(Track::Lossless), Some(rank)) => format!("{rank}, lossless"),
        (Some(Track::Lossy), Some(_)) if claim.leads => "front, lossy".to_owned(),
        (Some(Track::Lossy), Some(_)) => "behind, lossy".to_owned(),
        _ => "-".to_owned(),
    }
}

fn kl_text(claim: &ClaimRow) -> String {
    claim.kl_micronats.map_or_else(|| "-".to_owned(), |kl| format!("{:.4}", millionths(kl)))
}

fn rounds_text(claim: &ClaimRow) -> String {
    let words: Vec<&str> = claim.rounds.iter().map(|round| round.purpose.word()).collect();
    words.join(", ")
}

fn verdict_text(claim: &ClaimRow) -> String {
    let mut text = match (claim.outcome, claim.lossless) {
        (None, _) if claim.is_contested() => "contested, measured again",
        (None, _) => "pending",
        (Some(Outcome::Accepted), Some(true)) => "accepted, lossless",
        (Some(Outcome::Accepted), _) => "accepted, lossy",
        (Some(Outcome::Refuted), _) => "refuted",
        (Some(Outcome::Inconclusive), _) => "inconclusive",
        (Some(Outcome::Pending), _) => "quality attested, speed pending",
        (Some(Outcome::Contested), _) => "contested",
    }
    .to_owned();
    if !claim.dissent.is_empty() {
        text.push_str(", with dissent");
    }
    if claim.leads {
        text.push_str(", leads its track");
    }
    if claim.debunked.is_some() {
        text.push_str(", debunked");
    }
    if claim.descends_from_debunked.is_some() {
        text.push_str(", on a debunked entry");
    }
    if claim.null == Some(true) {
        text.push_str(", null");
    }
    text
}

fn show(home: &Path, claim: &str, format: Format) -> anyhow::Result<()> {
    let client = Client::find(home, READ_TIMEOUT)?;
    let whole: serde_json::Value = client.get(&format!("/api/claims/{claim}"))?;
    print(format, &whole, |whole| {
        serde_json::to_string_pretty(whole).unwrap_or_else(|_| whole.to_string())
    })
}

fn ratio_text(ratio: Estimate) -> String {
    let (low, high) = (millionths(ratio.low_ppm), millionths(ratio.high_ppm));
    format!("{} [{low:.3}, {high:.3}]", times(ratio.ppm))
}

fn times(ppm: u64) -> String {
    format!("{:.3}×", millionths(ppm))
}

#[allow(clippy::cast_precision_loss)]
fn millionths(ppm: u64) -> f64 {
    ppm as f64 / 1e6
}
