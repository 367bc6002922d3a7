//! What an auditor finds, and what a proposer cannot do.

use super::world::honest;
use crate::audit::{Auditor, export_header};
use crate::fixtures;
use crate::ids::PeerId;
use assay_proto::v1;
use prost::Message;

#[test]
fn the_audit_agrees_and_every_flipped_byte_is_found() {
    let mut world = honest(1.3);
    world.claim(0, fixtures::child_recipe(9));
    world.run(20);
    let items: Vec<Vec<u8>> = world.items.iter().map(Message::encode_to_vec).collect();
    let auditor = world.audit(&items).unwrap();
    assert_eq!(auditor.head(), world.peers[0].state().head());
    let checked = auditor.checked();
    assert_eq!((checked.entries, checked.rounds, checked.verdicts), (1, 2, 2));
    assert_eq!((checked.seals, checked.committees), (6, 2));
    assert_eq!(checked.blocks, items.len() as u64);

    for (index, item) in items.iter().enumerate() {
        // A stride that is coprime to every field length visits all kinds of bytes; the first and
        // last ones are where framing lives.
        let positions = (0..item.len()).step_by(37).chain([0, 1, item.len() - 1]);
        for position in positions {
            let mut damaged = items.clone();
            damaged[index][position] ^= 1 << (position % 8);
            let fault = world.audit(&damaged).err();
            let fault = fault.unwrap_or_else(|| panic!("item {index}, byte {position}"));
            assert_eq!(fault.place, format!("entry at height {}", index + 1));
        }
    }
}

#[test]
fn dropped_reordered_and_foreign_items_are_found() {
    let mut world = honest(1.3);
    world.claim(0, fixtures::child_recipe(9));
    world.run(20);
    let items: Vec<Vec<u8>> = world.items.iter().map(Message::encode_to_vec).collect();
    let mut dropped = items.clone();
    dropped.remove(1);
    assert_eq!(world.audit(&dropped).err().unwrap().place, "entry at height 2");
    let mut swapped = items.clone();
    swapped.swap(1, 2);
    assert_eq!(world.audit(&swapped).err().unwrap().rule, "hash chain");
    let auditor = Auditor::new(fixtures::genesis());
    assert!(auditor.open(&export_header(crate::ids::NetworkId([0; 32]), 1)).is_err());
    assert!(auditor.open(b"short").is_err());
}

#[test]
fn a_proposer_cannot_sneak_anything_into_a_block() {
    let mut world = honest(1.3);
    world.claim(0, fixtures::child_recipe(9));
    world.settle_effects();
    world.order_block();
    world.order_block();
    let state = world.peers[0].state().clone();
    let good = world.items.last().unwrap().block.clone().unwrap();
    let before = {
        let mut auditor = Auditor::new(fixtures::genesis());
        auditor.feed(&world.items[0].encode_to_vec()).unwrap();
        auditor.state().clone()
    };
    assert_eq!(before.extended(&good.encode_to_vec(), None).unwrap(), state);
    type Change = fn(&mut v1::Header);
    let changes: [Change; 8] = [
        |h| h.time_ms = 0,
        |h| h.state_root = vec![0; 32],
        |h| h.index_root = vec![0; 31],
        |h| h.vrf_output = vec![1; 32],
        |h| h.proposer = PeerId([1; 32]).to_vec(),
        |h| h.era = 1,
        |h| h.next_validators = vec![2; 32],
        |h| h.parent = vec![0; 32],
    ];
    for change in changes {
        let mut bad = good.clone();
        change(bad.header.as_mut().unwrap());
        assert!(before.extended(&bad.encode_to_vec(), None).is_err());
    }
    assert!(before.extended(&good.encode_to_vec(), Some(0)).is_err(), "time ahead of the clock");
}
