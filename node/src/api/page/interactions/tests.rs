//! The drawing of interactions as it looks, and where its peers stand.

use super::super::in_lines;
use super::*;
use crate::board::Pairs;
use insta::assert_snapshot;

fn key(index: u8) -> PeerId {
    PeerId([index; 32])
}

fn named(peer: PeerId) -> Named {
    let names = ["ada", "bell", "curie <3", "dirac", "somebody-with-a-long-name"];
    Named { peer, name: names[usize::from(peer.0[0]) % names.len()].to_owned() }
}

fn view(peer: Option<PeerId>) -> InteractionView {
    let none = Interactions::default();
    let pairs: Pairs = [
        ((key(0), key(1)), Interactions { replies: 4, mentions: 1, ..none }),
        ((key(1), key(0)), Interactions { quotes: 2, ..none }),
        ((key(2), key(0)), Interactions { parents: 1, citations: 1, ..none }),
        ((key(3), key(1)), Interactions { attestations: 3, ..none }),
        ((key(3), key(2)), Interactions { flags: 1, ..none }),
        ((key(4), key(0)), Interactions { relays: 1, ..none }),
    ]
    .into();
    InteractionView {
        circle: Circle::new(&pairs, None, peer, named),
        rows: Vec::new(),
        topic: None,
        peer: peer.map(named),
    }
}

#[test]
fn the_drawing_of_interactions_looks_as_it_did() {
    assert_snapshot!("everybody", in_lines(&svg(&view(None), key(1))));
    assert_snapshot!("one", in_lines(&svg(&view(Some(key(3))), key(1))));
}

#[test]
fn peers_stand_apart_and_inside() {
    for peers in 1..=PEERS_MAX {
        let (height, spots) = spots(peers);
        assert_eq!(spots.len(), peers);
        for (index, spot) in spots.iter().enumerate() {
            assert!((EDGE_PX..=height - EDGE_PX).contains(&spot.y), "{peers}: {spot:?}");
            assert!((50.0 - HALF_WIDTH..=50.0 + HALF_WIDTH).contains(&spot.x), "{peers}: {spot:?}");
            for other in &spots[index + 1..] {
                let apart = (spot.y - other.y).abs() >= ROW_PX - 1e-6;
                assert!(apart || spot.is_right != other.is_right, "{peers}: {spot:?} {other:?}");
            }
        }
    }
}
