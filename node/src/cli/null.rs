//! `assay claim null`: a recipe that is its parent's with other bytes.

use super::client::Client;
use crate::storage::Blobs;
use anyhow::Context;
use assay_kernels::bundle::tuned_files;
use assay_kernels::registry::entries;
use assay_protocol::genesis::Genesis;
use assay_protocol::ids::{BlobHash, ClaimId};
use assay_protocol::manifest::Kind;
use assay_protocol::record::Recipe;
use std::collections::BTreeMap;

/// The parent's recipe with a comment of random digits at the end of every WGSL file: another hash,
/// the same programs. Where the parent uses the built-in kernels, the bundle holds one of them.
///
/// # Errors
///
/// When the parent is unknown to the node or its bundle is not in this node's store.
pub(super) fn recipe(
    client: &Client,
    blobs: &Blobs,
    parent: Option<ClaimId>,
) -> anyhow::Result<Recipe> {
    let recipe = match parent {
        None => client.get::<Genesis>("/api/genesis")?.challenge.base,
        Some(parent) => {
            let entry: serde_json::Value = client.get(&format!("/api/claims/{parent}"))?;
            let recipe = entry.pointer("/ledger/recipe").cloned().unwrap_or_default();
            serde_json::from_value(recipe).context("the node's answer has no recipe")?
        }
    };
    let mut files = match recipe.bundle {
        Some(bundle) => files_of(blobs, bundle)?,
        None => builtin()?,
    };
    let mut digits = [0; 16];
    getrandom::fill(&mut digits).map_err(|e| anyhow::anyhow!("no randomness: {e}"))?;
    mark(&mut files, digits);
    let files: Vec<(&str, &[u8])> =
        files.iter().map(|(name, data)| (name.as_str(), data.as_slice())).collect();
    let bundle = blobs.import(Kind::Bundle, files).context("cannot store the bundle")?;
    Ok(Recipe { bundle: Some(bundle), ..recipe })
}

/// Adds a comment to every WGSL file.
fn mark(files: &mut BTreeMap<String, Vec<u8>>, digits: [u8; 16]) {
    let comment = format!("\n// {}\n", hex::encode(digits));
    for (_, source) in files.iter_mut().filter(|(name, _)| name.ends_with(".wgsl")) {
        source.extend_from_slice(comment.as_bytes());
    }
}

fn files_of(blobs: &Blobs, bundle: BlobHash) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let manifest = blobs.manifest(bundle).with_context(|| {
        format!("bundle {bundle} is not in this node's store; it comes there with a seat")
    })?;
    let mut files = BTreeMap::new();
    for file in manifest.files {
        let chunks = file.chunks.iter().map(|chunk| blobs.get(*chunk));
        let data: Vec<Vec<u8>> = chunks.collect::<Result<_, _>>()?;
        files.insert(file.name, data.concat());
    }
    Ok(files)
}

/// A built-in kernel as a bundle, with the values that the built-in bundle uses.
fn builtin() -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let tunable = entries().iter().find_map(|entry| Some((entry, entry.tunables.first()?)));
    let (entry, tunable) = tunable.context("no built-in kernel can be copied")?;
    let setting = [(entry.op, tunable.name, tunable.default)];
    Ok(tuned_files("copy", "A kernel as it is.", &setting)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_kernels::Bundle;

    #[test]
    fn a_marked_copy_of_a_built_in_kernel_is_a_bundle_of_its_own() {
        let original = builtin().unwrap();
        let (mut one, mut other) = (original.clone(), original.clone());
        mark(&mut one, [1; 16]);
        mark(&mut other, [2; 16]);
        let digest = |files: &BTreeMap<String, Vec<u8>>| {
            let bundle = Bundle::from_files(files.clone()).unwrap();
            assert_eq!(bundle.replaced_ops().count(), 1);
            bundle.digest()
        };
        assert_ne!(digest(&one), digest(&other));
        assert_ne!(digest(&one), digest(&original));
    }

    #[test]
    fn only_shaders_are_marked() {
        let mut files = builtin().unwrap();
        let manifest = files["bundle.toml"].clone();
        mark(&mut files, [1; 16]);
        assert_eq!(files["bundle.toml"], manifest);
        let shaders = files.iter().filter(|(name, _)| name.ends_with(".wgsl"));
        assert!(shaders.into_iter().all(|(_, source)| source.ends_with(b"0101\n")));
    }
}
