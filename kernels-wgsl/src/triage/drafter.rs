//! A drafter by itself and against its target.

use super::Code;
use super::config::{Config, Family};
use super::folder::{CONFIG, Named};
use super::inventory::{DrafterGeometry, Geometry};
use super::report::Findings;

const ORDERING: &str = "masked_embedding.token_ordering";
const MEND: &str = "use the drafter that was published with this checkpoint";

/// What a drafter's own files show.
pub(super) fn check(
    geometry: &Geometry,
    config: &Config,
    named: &Named<'_>,
    findings: &mut Findings,
) {
    let Some(drafter) = &geometry.drafter else { return };
    if drafter.backbone == 0 {
        let place = format!("{CONFIG}: backbone_hidden_size");
        let shape = named.text.get("post_projection.weight").map(|t| t.shape.clone());
        let message = "is missing; it is the width of the target's residual";
        let fix =
            findings.error(Code::MissingKey, place, message, "write the target's hidden_size");
        if let Some([rows, _]) = shape.as_deref() {
            fix.push(super::ConfigEdit {
                file: CONFIG,
                path: vec!["backbone_hidden_size".into()],
                value: Some((*rows).into()),
            });
        }
    }
    let has_centroids = named.text.contains_key("masked_embedding.centroids.weight");
    if has_centroids && drafter.centroids == 0 {
        let place = format!("{CONFIG}: use_ordered_embeddings");
        let message = "is false or missing, and the file holds centroids: the dense head reads far more bytes";
        let mend = "write true, unless the dense head is meant";
        let fix = findings.warning(Code::DrafterOrdering, place, message, mend);
        fix.push(super::ConfigEdit {
            file: CONFIG,
            path: vec!["use_ordered_embeddings".into()],
            value: Some(true.into()),
        });
    }
    check_ordering(geometry, drafter, config, named, findings);
}

fn check_ordering(
    geometry: &Geometry,
    drafter: &DrafterGeometry,
    config: &Config,
    named: &Named<'_>,
    findings: &mut Findings,
) {
    if config.family != Family::Assistant || drafter.centroids == 0 {
        return;
    }
    if !geometry.vocab.is_multiple_of(drafter.centroids) {
        let message = format!(
            "is {}, which does not divide the {} tokens of the vocabulary",
            drafter.centroids, geometry.vocab
        );
        let place = format!("{CONFIG}: num_centroids");
        findings.error(Code::DrafterOrdering, place, message, "write the rows of centroids.weight");
    }
    let Some(tensor) = named.text.get(ORDERING) else { return };
    let place = format!("{}: {ORDERING}", tensor.file);
    let Some(ids) = tensor.whole_numbers() else { return };
    // The tensor's own bytes bound this list; an id past them cannot be part of a permutation.
    let mut seen = vec![false; ids.len()];
    let (mut outside, mut twice) = (0usize, 0usize);
    for id in &ids {
        match usize::try_from(*id).ok().and_then(|id| seen.get_mut(id)) {
            Some(slot) if !*slot => *slot = true,
            Some(_) => twice += 1,
            None => outside += 1,
        }
    }
    if outside + twice > 0 {
        let message = format!(
            "is no permutation of {} ids: {twice} stand twice, {outside} are out of range",
            ids.len()
        );
        findings.error(Code::DrafterOrdering, place, message, "fetch the drafter again");
    }
}

/// Whether a drafter can read the cache of `target`.
pub(super) fn against(own: Option<&Geometry>, target: Option<&Geometry>, findings: &mut Findings) {
    let Some(own) = own else { return };
    let Some(drafter) = &own.drafter else {
        let message = "is not a drafter: its model_type is a target's";
        findings.error(Code::DrafterUnreadable, CONFIG, message, MEND);
        return;
    };
    let Some(target) = target else { return };
    if target.family != Family::Gemma4 {
        let message = "only Gemma 4 targets have drafters";
        findings.error(Code::DrafterTarget, CONFIG, message, "leave the drafter out");
        return;
    }
    if drafter.backbone != target.hidden {
        let message = format!("is {}; the target is {} wide", drafter.backbone, target.hidden);
        let place = format!("{CONFIG}: backbone_hidden_size");
        findings.error(Code::DrafterBackbone, place, message, MEND);
    }
    let mut differs = |key: &str, own: usize, other: usize| {
        if own != other {
            let message = format!("is {own}; the target's is {other}");
            findings.error(Code::DrafterTarget, format!("{CONFIG}: {key}"), message, MEND);
        }
    };
    differs("vocab_size", own.vocab, target.vocab);
    differs("sliding_window", own.window, target.window);
    for full in [false, true] {
        let of = |g: &Geometry, owners: bool| {
            let layers = g.layers.iter().zip(&g.kinds);
            layers
                .filter(|(l, kind)| **kind == full && (!owners || !l.shared))
                .map(|(l, _)| (l.head_dim, l.kv_heads))
                .next_back()
        };
        let (Some((dim, _)), source) = (of(own, false), of(target, true)) else { continue };
        let key = if full { "global_head_dim" } else { "head_dim" };
        let Some((target_dim, kv_heads)) = source else {
            differs(if full { "full layers" } else { "sliding layers" }, 1, 0);
            continue;
        };
        differs(key, dim, target_dim);
        if kv_heads > 0 && !own.heads.is_multiple_of(kv_heads) {
            differs("num_attention_heads modulo the target's K/V heads", own.heads % kv_heads, 0);
        }
    }
}
