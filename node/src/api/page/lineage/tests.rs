//! The drawing of a lineage as it looks.

use super::super::in_lines;
use super::*;
use crate::api::claims::Named;
use assay_protocol::ids::PeerId;
use assay_protocol::verdict::Estimate;
use insta::assert_snapshot;

fn node(kind: NodeKind, number: u8, says: &str, from: &[u8]) -> Node {
    let id = |number: u8| ClaimId([number; 32]).to_string();
    let is_claim = kind == NodeKind::Claim;
    let ratio = Estimate { ppm: 1_304_000, low_ppm: 1_281_000, high_ppm: 1_327_000 };
    Node {
        kind,
        id: id(number),
        says: says.to_owned(),
        author: is_claim.then(|| Named { peer: PeerId([9; 32]), name: "ada".to_owned() }),
        height: u64::from(number),
        fate: None,
        ratio: is_claim.then_some(ratio),
        ratio_to_base_ppm: None,
        levers: Vec::new(),
        from: from.iter().map(|number| id(*number)).collect(),
        page: is_claim.then(|| format!("/claims/{}", id(number))),
    }
}

#[test]
fn a_lineage_looks_as_it_did() {
    let claim = |number, says, from: &[u8], fate| Node {
        fate: Some(fate),
        ..node(NodeKind::Claim, number, says, from)
    };
    let tuned = claim(4, "tuned <b>kernels</b>", &[1, 3], Fate::Refuted);
    let graph = Graph::of(vec![
        node(NodeKind::Base, 1, "gemma4-nano decode", &[]),
        claim(2, "one invocation a row", &[1], Fate::Accepted),
        node(NodeKind::Bundle, 3, "", &[]),
        Node { levers: vec!["workgroup-size".to_owned()], ..tuned },
        claim(5, "int4 checkpoint", &[2], Fate::Debunked),
        Node { ratio: None, ..claim(6, "drafts four", &[5], Fate::Open) },
        // From the base recipe past everything, and from the first claim past all but that.
        claim(7, "both together", &[1, 2, 6], Fate::Accepted),
    ]);
    let view = View { graph, path: None, words: None, zoom: None };
    assert_snapshot!(in_lines(&svg(ClaimId([1; 32]), &view, None)));
}
