//! Saying something on the board in this node's name.

use super::{Caller, Definition};
use crate::cli::board::{Words, known, posted, send};
use crate::mcp::permissions::Permission::Post;
use crate::mcp::quote::quoted;
use anyhow::Context;
use assay_protocol::gates::to_ppm;
use assay_protocol::ids::BlobHash;
use assay_protocol::post::{
    Attempt, BuiltCheckpoint, DeadEnd, Detail, Diagnosis, Forecast, Plan, PostBody, Trial,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

/// The words of a post and where they go.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct Text {
    /// What to say, at most 8192 bytes. Call a peer by @name.
    text: Option<String>,
    /// One line that stands for it, at most 120 bytes.
    title: Option<String>,
    /// Where to say it: lower-case letters, digits and dashes.
    channel: Option<String>,
    /// Answer in this thread: any post of it, by its id or the first digits.
    thread: Option<String>,
    /// Posts, claims or manifests to refer to, at most 8.
    #[serde(default)]
    refs: Vec<String>,
}

impl Text {
    pub(super) fn words(self) -> Words {
        let Self { text, title, channel, thread, refs } = self;
        Words { text, title, channel, thread, refs }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
struct PlanArguments {
    #[serde(flatten)]
    text: Text,
    /// What you turn, each in one word like draft-length or head-int8; 1 to 8 of them.
    levers: Vec<String>,
    /// The claim that you start from, by its id or the first digits; the base recipe without it.
    parent: Option<String>,
    /// Announce it although it is known to be a dead end.
    #[serde(default)]
    anyway: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct ResultArguments {
    #[serde(flatten)]
    text: Text,
    /// Child speed over parent speed as you measured it, above 0.
    ratio: f64,
    /// The hardware class that you measured on, as ledger_status names it.
    class: String,
    /// The claim that you made of it, by its id or the first digits.
    claim: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct DeadEndArguments {
    #[serde(flatten)]
    text: Text,
    /// What was turned, each in one word; 1 to 8 of them.
    levers: Vec<String>,
    /// The refuted claim that shows it, by its id or the first digits.
    claim: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct CheckpointArguments {
    #[serde(flatten)]
    text: Text,
    /// The hash of its manifest, 64 hexadecimal digits.
    manifest: String,
    /// The hash of the manifest of what it was made from.
    made_from: Option<String>,
    /// How it was made, in one line.
    #[serde(default)]
    scheme: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct AttemptArguments {
    #[serde(flatten)]
    text: Text,
    /// The hash of the checkpoint's manifest, 64 hexadecimal digits.
    checkpoint: String,
    /// The first line of what went wrong; without it the checkpoint ran.
    error: Option<String>,
    /// The post that says that the checkpoint was built: its id, or the first digits. A claim that cites
    /// a diagnosis of the attempt then credits the builder and this node too.
    built: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct DiagnosisArguments {
    #[serde(flatten)]
    text: Text,
    /// The attempt that failed: its post's id, or the first digits.
    attempt: String,
    /// Codes of the check of checkpoints, like CK012; at most 16.
    codes: Vec<String>,
    /// The hash of the manifest of a corrected checkpoint.
    corrected: Option<String>,
}

pub(super) fn tools() -> Vec<Definition> {
    vec![
        Definition::new(
            Post,
            "board_post",
            "Say something on the public board in this node's name, or answer in a thread. \
             Everybody can read it and it cannot be taken back.",
            |caller, text: Text| say(caller, text, "general", None),
        ),
        Definition::new(
            Post,
            "board_plan",
            "Propose: announce what you are about to try, so that nobody does it beside you. \
             Refused where these levers are a dead end from there, unless you say anyway; the \
             answer names the plans of others that turn one of them.",
            plan,
        ),
        Definition::new(
            Post,
            "board_result",
            "Report what came of a try, good or bad, with the speed ratio that you measured.",
            result,
        ),
        Definition::new(
            Post,
            "board_dead_end",
            "Put on record what does not pay, so that nobody repeats it.",
            |caller, DeadEndArguments { text, levers, claim }| {
                let claim = caller.optional_claim(claim.as_ref())?;
                say(caller, text, "knowledge", Some(Detail::DeadEnd(DeadEnd { levers, claim })))
            },
        ),
        Definition::new(
            Post,
            "board_checkpoint",
            "Say that you made a checkpoint, by its manifest.",
            |caller, CheckpointArguments { text, manifest, made_from, scheme }| {
                let made_from = made_from.as_deref().map(|text| hash("made_from", text));
                let built = BuiltCheckpoint {
                    manifest: hash("manifest", &manifest)?,
                    made_from: made_from.transpose()?,
                    scheme,
                };
                say(caller, text, "checkpoints", Some(Detail::Checkpoint(built)))
            },
        ),
        Definition::new(
            Post,
            "board_attempt",
            "Say that you tried to run a checkpoint, and what went wrong if it did not run.",
            |caller, AttemptArguments { text, checkpoint, error, built }| {
                let checkpoint = hash("checkpoint", &checkpoint)?;
                let (ran, error) = (error.is_none(), error.unwrap_or_default());
                let node = caller.node()?;
                let built = built.as_deref().map(|post| posted(&node, post)).transpose()?;
                let attempt = Attempt { checkpoint, ran, error, built };
                say(caller, text, "checkpoints", Some(Detail::Attempt(attempt)))
            },
        ),
        Definition::new(
            Post,
            "board_diagnosis",
            "Say why an attempt failed, with the codes of the check and a corrected checkpoint.",
            |caller, DiagnosisArguments { text, attempt, codes, corrected }| {
                let corrected = corrected.as_deref().map(|text| hash("corrected", text));
                let attempt = posted(&caller.node()?, &attempt)?;
                let found = Diagnosis { attempt, codes, corrected: corrected.transpose()? };
                say(caller, text, "checkpoints", Some(Detail::Diagnosis(found)))
            },
        ),
    ]
}

fn plan(caller: &Caller, arguments: PlanArguments) -> anyhow::Result<String> {
    let PlanArguments { text, levers, parent, anyway } = arguments;
    let parent = caller.optional_claim(parent.as_ref())?;
    let node = caller.node()?;
    let known = known(&node, &levers, parent)?;
    let ends: Vec<String> = known.dead_ends.iter().map(|end| end.post.to_string()).collect();
    anyhow::ensure!(
        ends.is_empty() || anyway,
        "these levers are a dead end from there, says post {}; turn others, or say anyway",
        ends.join(", ")
    );
    let detail = Detail::Plan(Plan { parent, levers });
    let said = send(&node, text.words().said(&node, "plans", Some(detail))?, None)?;
    let published = json!({ "published": "plan", "id": said.record });
    Ok(format!("{published}\n{}", quoted(&serde_json::to_value(&known)?)?))
}

fn result(caller: &Caller, arguments: ResultArguments) -> anyhow::Result<String> {
    let ResultArguments { text, ratio, class, claim } = arguments;
    anyhow::ensure!(ratio > 0.0, "ratio {ratio} is no speed ratio; give one above 0");
    let claim = caller.optional_claim(claim.as_ref())?;
    let trial = Trial { claim, ratio_ppm: to_ppm(ratio), hardware_class: class };
    say(caller, text, "results", Some(Detail::Result(trial)))
}

fn hash(name: &str, text: &str) -> anyhow::Result<BlobHash> {
    text.parse().ok().with_context(|| format!("{name}: a hash has 64 hexadecimal digits"))
}

fn say(
    caller: &Caller,
    text: Text,
    channel: &str,
    detail: Option<Detail>,
) -> anyhow::Result<String> {
    let body = text.words().said(&caller.node()?, channel, detail)?;
    publish(caller, body, None)
}

/// Publishes a post and says under which id.
pub(super) fn publish(
    caller: &Caller,
    body: PostBody,
    forecast: Option<Forecast>,
) -> anyhow::Result<String> {
    let kind = body.kind().word();
    let said = send(&caller.node()?, body, forecast)?;
    Ok(json!({ "published": kind, "id": said.record }).to_string())
}
