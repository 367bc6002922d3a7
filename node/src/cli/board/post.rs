//! Saying something: every kind of post but specs, playbooks and flags, which have commands of their
//! own.

use super::{TIMEOUT, checked_id};
use crate::api::{PostRequest, ProposalRow, Said, escaped};
use crate::board::{Known, PostView};
use crate::cli::claim::blobs_of;
use crate::cli::client::Client;
use crate::cli::output::{Format, fields, print};
use crate::cli::recipe::source;
use crate::text::line;
use anyhow::Context;
use assay_protocol::gates::to_ppm;
use assay_protocol::ids::{BlobHash, ClaimId, RecordId};
use assay_protocol::manifest::Kind;
use assay_protocol::post::{
    Attempt, BuiltCheckpoint, DeadEnd, Detail, Diagnosis, Forecast, Plan, PostBody, TEXT_BYTES_MAX,
    Trial,
};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

/// The words of a post and where they go.
#[derive(Debug, Clone, clap::Args)]
pub struct Words {
    /// What to say, at most 8 KiB; `-` reads it from stdin
    pub(crate) text: Option<String>,
    /// One line that stands for it
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    /// Where to say it: lower-case letters, digits and dashes
    #[arg(long, value_name = "NAME")]
    pub(crate) channel: Option<String>,
    /// Answer in this thread: any post of it, or the proposal that it is about, by its id or the first digits
    #[arg(long, value_name = "POST")]
    pub(crate) thread: Option<String>,
    /// Refer to a post, claim or manifest; up to 8 times. A post may be abbreviated
    #[arg(long = "ref", value_name = "ID")]
    pub(crate) refs: Vec<String>,
}

/// Arguments of `assay board post`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Call a peer by @name or by @ and eight digits of its key.

Examples:
  assay board post 'Does anybody have int4 numbers for the A10G?' --title 'int4 on A10G'
  assay board post '@node-2 yes, 1.31×' --thread 3fa9c0d1
  assay board post - --channel triage < notes.txt")]
pub struct PostArgs {
    #[command(flatten)]
    words: Words,
}

/// Arguments of `assay board plan`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Plans of others that turn the same levers are told of. Where the same levers are known to
be a dead end from the same parent, the plan is refused unless --anyway is given.

Example:
  assay board plan --lever draft-length --parent 3fa9c0d1… 'draft 3 instead of 5 tokens'"
)]
pub struct PlanArgs {
    #[command(flatten)]
    words: Words,
    /// What you turn, in one word; up to 8 times
    #[arg(long = "lever", value_name = "WORD", required = true)]
    levers: Vec<String>,
    /// The claim that you start from; the base recipe without this
    #[arg(long, value_name = "CLAIM")]
    parent: Option<ClaimId>,
    /// Announce it although it is known to be a dead end
    #[arg(long)]
    anyway: bool,
}

/// Arguments of `assay board result`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  assay board result --ratio 0.97 --class cpu-llvmpipe-8wide 'drafting more does not pay here'")]
pub struct ResultArgs {
    #[command(flatten)]
    words: Words,
    /// Child speed over parent speed as you measured it
    #[arg(long)]
    ratio: f64,
    /// The hardware class that you measured on
    #[arg(long)]
    class: String,
    /// The claim that you made of it
    #[arg(long, value_name = "CLAIM")]
    claim: Option<ClaimId>,
}

/// Arguments of `assay board checkpoint`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  assay board checkpoint --manifest ./int4 --made-from nano --scheme int4-g32 'head in int4 too'

A folder goes into the node's store, where peers fetch it: assay model fetch HASH --out DIR")]
pub struct CheckpointArgs {
    #[command(flatten)]
    words: Words,
    /// Its folder, or its manifest as `assay model import` prints it
    #[arg(long, value_name = "DIR|HASH")]
    manifest: String,
    /// What it was made from
    #[arg(long, value_name = "DIR|HASH|nano")]
    made_from: Option<String>,
    /// How it was made, in one line
    #[arg(long, value_name = "TEXT", default_value = "")]
    scheme: String,
}

/// Arguments of `assay board attempt`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  assay board attempt --built 3fa9c0d1 --error 'tensor lm_head.weight is missing'

An attempt that failed and names the post of the checkpoint's builder begins a relay: a claim that
cites a diagnosis of it credits its author too.")]
pub struct AttemptArgs {
    #[command(flatten)]
    words: Words,
    /// The post that says that the checkpoint was built: its id, or the first digits
    #[arg(long, value_name = "POST", required_unless_present = "checkpoint")]
    built: Option<String>,
    /// The checkpoint's manifest, where no post tells of it
    #[arg(long, value_name = "HASH", conflicts_with = "built")]
    checkpoint: Option<BlobHash>,
    /// It did not run: the first line of what went wrong. Without this it ran
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
}

/// Arguments of `assay board diagnosis`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  assay model check ./int4 --fix
  assay board diagnosis --attempt 3fa9c0d1 --code CK001 --corrected ./int4 'the head is untied'")]
pub struct DiagnosisArgs {
    #[command(flatten)]
    words: Words,
    /// The attempt that failed: its post's id, or the first digits
    #[arg(long, value_name = "POST")]
    attempt: String,
    /// A code of `assay model check`; up to 16 times
    #[arg(long = "code", value_name = "CODE")]
    codes: Vec<String>,
    /// A corrected checkpoint: its folder, which goes into the node's store, or its manifest
    #[arg(long, value_name = "DIR|HASH")]
    corrected: Option<String>,
}

/// Arguments of `assay board dead-end`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  assay board dead-end --lever draft-length --claim 3fa9c0d1… 'more than 4 drafts lose here'")]
pub struct DeadEndArgs {
    #[command(flatten)]
    words: Words,
    /// What was turned, in one word; up to 8 times
    #[arg(long = "lever", value_name = "WORD", required = true)]
    levers: Vec<String>,
    /// The refuted claim that shows it
    #[arg(long, value_name = "CLAIM")]
    claim: Option<ClaimId>,
}

impl Words {
    /// The body of a post, said in `channel` unless the caller chose one.
    ///
    /// # Errors
    ///
    /// When stdin cannot be read, is too long, or a post named is not there.
    pub(in crate::cli) fn body(
        self,
        client: &Client,
        channel: &str,
        detail: Option<Detail>,
    ) -> anyhow::Result<PostBody> {
        match self.text.as_deref() {
            Some("-") => Self { text: Some(from_stdin()?), ..self }.said(client, channel, detail),
            _ => self.said(client, channel, detail),
        }
    }

    /// As [`Self::body`], with the text as it stands.
    ///
    /// # Errors
    ///
    /// When a post named is not there.
    pub(crate) fn said(
        self,
        client: &Client,
        channel: &str,
        detail: Option<Detail>,
    ) -> anyhow::Result<PostBody> {
        let refs = self.refs.iter().map(|text| match text.parse() {
            Ok(id) => Ok(id),
            Err(_) => posted(client, text),
        });
        let refs = refs.collect::<anyhow::Result<_>>()?;
        let thread = self.thread.as_deref().map(|text| thread_of(client, text)).transpose()?;
        Ok(PostBody {
            channel: self.channel.unwrap_or_else(|| channel.to_owned()),
            thread,
            refs,
            title: self.title.unwrap_or_default(),
            text: self.text.unwrap_or_default(),
            detail,
        })
    }
}

/// The thread that a post's id, or a proposal's, or the beginning of one, names.
fn thread_of(client: &Client, text: &str) -> anyhow::Result<RecordId> {
    posted(client, text).or_else(|missing| {
        let proposal: anyhow::Result<ProposalRow> =
            client.get(&format!("/api/proposals/{}", checked_id(text)?));
        proposal.map(|row| row.id).map_err(|_| missing)
    })
}

fn from_stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    let limit = TEXT_BYTES_MAX as u64 + 1;
    std::io::stdin().take(limit).read_to_string(&mut text).context("cannot read stdin as text")?;
    anyhow::ensure!(
        text.len() <= TEXT_BYTES_MAX,
        "stdin has more than the {TEXT_BYTES_MAX} bytes that a post may have; say it in parts"
    );
    Ok(text)
}

/// The record id of the post that an id, or the beginning of one, names.
///
/// # Errors
///
/// When there is none, or several.
pub(crate) fn posted(client: &Client, text: &str) -> anyhow::Result<RecordId> {
    let view: PostView = client.get(&format!("/api/board/posts/{}", checked_id(text)?))?;
    Ok(view.post.id)
}

/// The manifest of the checkpoint that a post tells of, and the post's record id.
///
/// # Errors
///
/// When there is no such post, or it tells of none.
pub(crate) fn built_checkpoint(
    client: &Client,
    text: &str,
) -> anyhow::Result<(BlobHash, RecordId)> {
    let view: PostView = client.get(&format!("/api/board/posts/{}", checked_id(text)?))?;
    match view.post.detail {
        Some(Detail::Checkpoint(built)) => Ok((built.manifest, view.post.id)),
        None if !view.post.complete => {
            anyhow::bail!("the words of this post have not arrived yet; try again")
        }
        _ => anyhow::bail!("post {} tells of no checkpoint", view.post.id.short()),
    }
}

/// Publishes a post.
///
/// # Errors
///
/// When the node refuses it.
pub(crate) fn send(
    client: &Client,
    body: PostBody,
    forecast: Option<Forecast>,
) -> anyhow::Result<Said> {
    client.post("/api/board", &PostRequest { body, forecast })
}

/// Publishes a post and prints its id.
///
/// # Errors
///
/// When the node refuses it.
pub(in crate::cli) fn publish(
    client: &Client,
    body: PostBody,
    forecast: Option<Forecast>,
    format: Format,
) -> anyhow::Result<()> {
    let word = body.kind().word();
    let said = send(client, body, forecast)?;
    print(format, &said, |said| fields(&[(word, said.record.to_string())]))
}

fn say(
    home: &Path,
    words: Words,
    channel: &str,
    detail: Option<Detail>,
    format: Format,
) -> anyhow::Result<()> {
    let client = Client::find(home, TIMEOUT)?;
    let body = words.body(&client, channel, detail)?;
    publish(&client, body, None, format)
}

pub(super) fn post(home: &Path, args: PostArgs, format: Format) -> anyhow::Result<()> {
    say(home, args.words, "general", None, format)
}

pub(super) fn plan(home: &Path, args: PlanArgs, format: Format) -> anyhow::Result<()> {
    let client = Client::find(home, TIMEOUT)?;
    let PlanArgs { words, levers, parent, anyway } = args;
    let known = known(&client, &levers, parent)?;
    for line in known_lines(&known) {
        eprintln!("{line}");
    }
    anyhow::ensure!(
        known.dead_ends.is_empty() || anyway,
        "these levers are a dead end from there; turn others, or announce the plan with --anyway"
    );
    let body = words.body(&client, "plans", Some(Detail::Plan(Plan { parent, levers })))?;
    publish(&client, body, None, format)
}

/// What the board knows of levers before they are turned.
///
/// # Errors
///
/// When the node does not answer.
pub(crate) fn known(
    client: &Client,
    levers: &[String],
    parent: Option<ClaimId>,
) -> anyhow::Result<Known> {
    let parent = parent.map(|parent| format!("&parent={parent}")).unwrap_or_default();
    client.get(&format!("/api/board/known?levers={}{parent}", escaped(&levers.join(","))))
}

/// The same for people, a line each.
fn known_lines(known: &Known) -> Vec<String> {
    let listed = |levers: &BTreeSet<String>| {
        levers.iter().map(|lever| line(lever)).collect::<Vec<_>>().join(", ")
    };
    let ends = known.dead_ends.iter().map(|end| {
        let why = match end.shown_by {
            Some(claim) => format!("claim {} was refuted", claim.short()),
            None => "no claim shows it".to_owned(),
        };
        let (levers, author) = (listed(&end.levers), line(&end.author.name));
        format!("dead end: {levers}, says {author} in {} ({why})", end.post.short())
    });
    let plans = known.plans.iter().map(|plan| {
        let (levers, author) = (listed(&plan.levers), line(&plan.author.name));
        format!("planned:  {levers}, by {author} in {}", plan.post.short())
    });
    ends.chain(plans).collect()
}

pub(super) fn result(home: &Path, args: ResultArgs, format: Format) -> anyhow::Result<()> {
    anyhow::ensure!(args.ratio > 0.0, "--ratio {} is no speed ratio; give one above 0", args.ratio);
    let ResultArgs { words, ratio, class, claim } = args;
    let detail = Detail::Result(Trial { claim, ratio_ppm: to_ppm(ratio), hardware_class: class });
    say(home, words, "results", Some(detail), format)
}

pub(super) fn checkpoint(home: &Path, args: CheckpointArgs, format: Format) -> anyhow::Result<()> {
    let CheckpointArgs { words, manifest, made_from, scheme } = args;
    let blobs = blobs_of(home)?;
    let manifest = source(&blobs, Kind::Checkpoint, &manifest)?;
    let made_from = made_from.map(|from| source(&blobs, Kind::Checkpoint, &from)).transpose()?;
    let detail = Detail::Checkpoint(BuiltCheckpoint { manifest, made_from, scheme });
    say(home, words, "checkpoints", Some(detail), format)
}

pub(super) fn attempt(home: &Path, args: AttemptArgs, format: Format) -> anyhow::Result<()> {
    let client = Client::find(home, TIMEOUT)?;
    let AttemptArgs { words, built, checkpoint, error } = args;
    let (ran, error) = (error.is_none(), error.unwrap_or_default());
    let (checkpoint, built) = match (checkpoint, built) {
        (Some(checkpoint), _) => (checkpoint, None),
        (None, built) => {
            let (checkpoint, post) = built_checkpoint(&client, &built.unwrap_or_default())?;
            (checkpoint, Some(post))
        }
    };
    let detail = Detail::Attempt(Attempt { checkpoint, ran, error, built });
    let body = words.body(&client, "checkpoints", Some(detail))?;
    publish(&client, body, None, format)
}

pub(super) fn diagnosis(home: &Path, args: DiagnosisArgs, format: Format) -> anyhow::Result<()> {
    let client = Client::find(home, TIMEOUT)?;
    let DiagnosisArgs { words, attempt, codes, corrected } = args;
    let attempt = posted(&client, &attempt)?;
    let blobs = blobs_of(home)?;
    let corrected = corrected.map(|what| source(&blobs, Kind::Checkpoint, &what)).transpose()?;
    let detail = Detail::Diagnosis(Diagnosis { attempt, codes, corrected });
    let body = words.body(&client, "checkpoints", Some(detail))?;
    publish(&client, body, None, format)
}

pub(super) fn dead_end(home: &Path, args: DeadEndArgs, format: Format) -> anyhow::Result<()> {
    let detail = Detail::DeadEnd(DeadEnd { levers: args.levers, claim: args.claim });
    say(home, args.words, "knowledge", Some(detail), format)
}
