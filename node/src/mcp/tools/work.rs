//! Measuring and claiming in this node's name.

use super::{Caller, Definition};
use crate::api::ClaimAccepted;
use crate::cli::board::posted;
use crate::cli::claim::{MEASURE_TIMEOUT, NewArgs, blobs_of, measured};
use crate::cli::client::Client;
use crate::cli::recipe::RecipeArgs;
use crate::mcp::permissions::Permission::{self, Claim, Measure};
use assay_kernels::Bundle;
use assay_protocol::ids::BlobHash;
use assay_protocol::manifest::Kind;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// Most files of a bundle.
const FILES_MAX: usize = 64;
/// Most bytes of a bundle's files together.
const FILES_BYTES_MAX: usize = 1024 * 1024;
/// Seconds that measuring may take unless the client says otherwise.
const DEADLINE_S: u64 = 900;

#[derive(Debug, Deserialize, JsonSchema)]
struct Files {
    /// The files by name: bundle.toml, which says what op each file implements, and WGSL files.
    files: BTreeMap<String, String>,
}

/// A recipe and what it is compared with.
#[derive(Debug, Deserialize, JsonSchema)]
struct RecipeArguments {
    /// The checkpoint: nano, or the hash of its manifest; nano without it.
    checkpoint: Option<String>,
    /// The kernel bundle: the hash of its manifest, as bundle_put returns it; the built-in kernels
    /// without it.
    bundle: Option<String>,
    /// The drafter of speculative decoding: nano, or the hash of its manifest.
    drafter: Option<String>,
    /// Drafts per step; needs a drafter.
    draft_len: Option<u32>,
    /// The claim that it is compared with, by its id or the first digits; the base recipe without
    /// it.
    parent: Option<String>,
    /// Seconds that this may take, at most 3600; 900 without it.
    deadline_s: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct ClaimArguments {
    #[serde(flatten)]
    recipe: RecipeArguments,
    /// One line that says what was done, at most 200 bytes; without it, one that lists what the
    /// recipe brings.
    summary: Option<String>,
    /// Specs that the claim follows, by their ids or the first digits.
    #[serde(default)]
    cites: Vec<String>,
    /// Publish although the own measurement says that a committee would refute the claim.
    #[serde(default)]
    insist: bool,
}

pub(super) fn tools() -> Vec<Definition> {
    vec![
        Definition::new(
            Measure,
            "bundle_put",
            "Put a kernel bundle (bundle.toml and WGSL files, data only) into this node's store. \
             Returns the hash of its manifest, for claim_measure and claim_new.",
            |caller, Files { files }| bundle_put(caller, &files),
        ),
        Definition::new(
            Measure,
            "claim_measure",
            "Measure a recipe against its parent on this machine as a seat would, and publish \
             nothing. Takes minutes; one measurement at a time runs on a host. Returns what a \
             committee of this machine alone would decide, with every gate.",
            |caller, arguments: RecipeArguments| {
                let deadline = arguments.deadline();
                let verdict = measured(&caller.home, &arguments.args(caller)?, deadline)?;
                Ok(serde_json::to_string(&verdict)?)
            },
        ),
        Definition::new(
            Claim,
            "claim_new",
            "Measure a recipe against its parent and claim in this node's name that it is faster. \
             Takes minutes, then costs a committee its time: measure and ask ledger_cost first. \
             The verdict follows later, in board_digest and ledger_claim.",
            claim_new,
        ),
    ]
}

impl RecipeArguments {
    /// How long measuring may take.
    fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline_s.unwrap_or(DEADLINE_S)).min(MEASURE_TIMEOUT)
    }

    /// What the commands take, with nothing in it that this client may not name.
    fn args(&self, caller: &Caller) -> anyhow::Result<RecipeArgs> {
        let given = [
            ("checkpoint", &self.checkpoint),
            ("bundle", &self.bundle),
            ("drafter", &self.drafter),
        ];
        for (name, text) in
            given.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?)))
        {
            let named = text == "nano" || text.parse::<BlobHash>().is_ok();
            anyhow::ensure!(
                named || caller.grant.allows(Permission::Files),
                "{name} {:?}: this client may not name folders; give nano, or the hash of a manifest, \
                 as bundle_put and the recipes of claims have it",
                crate::text::cut(text, 80)
            );
        }
        anyhow::ensure!(
            self.drafter.is_some() == self.draft_len.is_some(),
            "drafter and draft_len go together: give both or none"
        );
        Ok(RecipeArgs {
            checkpoint: self.checkpoint.clone().unwrap_or_else(|| "nano".to_owned()),
            bundle: self.bundle.clone(),
            drafter: self.drafter.clone(),
            draft_len: self.draft_len,
            parent: caller.optional_claim(self.parent.as_ref())?,
        })
    }
}

fn bundle_put(caller: &Caller, files: &BTreeMap<String, String>) -> anyhow::Result<String> {
    let bytes: usize = files.values().map(String::len).sum();
    anyhow::ensure!(
        files.len() <= FILES_MAX && bytes <= FILES_BYTES_MAX,
        "a bundle has at most {FILES_MAX} files and {FILES_BYTES_MAX} bytes, not {} and {bytes}",
        files.len()
    );
    let own = files.iter().map(|(name, text)| (name.clone(), text.clone().into_bytes()));
    let bundle = Bundle::from_files(own.collect())?;
    let stored = files.iter().map(|(name, text)| (name.as_str(), text.as_bytes()));
    let hash = blobs_of(&caller.home)?.import(Kind::Bundle, stored.clone().collect::<Vec<_>>())?;
    let ops: Vec<&str> = bundle.replaced_ops().collect();
    let fusions: Vec<&str> = bundle.fusions().iter().map(|fusion| fusion.name()).collect();
    let (name, replaces) = (bundle.name(), ops);
    let stored = json!({ "bundle": hash, "name": name, "replaces": replaces, "fusions": fusions });
    Ok(stored.to_string())
}

fn claim_new(caller: &Caller, arguments: ClaimArguments) -> anyhow::Result<String> {
    let ClaimArguments { recipe, summary, cites, insist } = arguments;
    let deadline = recipe.deadline();
    let recipe = recipe.args(caller)?;
    let node = caller.node()?;
    let cites = cites.iter().map(|id| posted(&node, id)).collect::<anyhow::Result<Vec<_>>>()?;
    let args = NewArgs { recipe, summary, cites, ratio: None, insist };
    let request = args.request(&caller.home)?;
    let patient = Client::find(&caller.home, deadline)?;
    let accepted: ClaimAccepted = patient.post("/api/claims", &request)?;
    Ok(serde_json::to_string(&accepted)?)
}
