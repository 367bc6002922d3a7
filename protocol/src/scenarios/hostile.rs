//! Records and blocks of a real ledger, changed at random: nothing may panic, and what is taken in must
//! be orderable.
//!
//! The environment variable `ASSAY_FUZZ_ROUNDS` says how many times the whole ledger is gone over.

use super::world::{World, honest};
use crate::draw::Draw;
use crate::fixtures::{self, key};
use crate::ids::PeerId;
use crate::item::apply_item;
use crate::peer::{Heard, Peer};
use crate::state::State;
use assay_proto::{decode_canonical, limits, v1};
use ed25519_dalek::{Signer, SigningKey};
use prost::Message;

/// Rounds over the whole ledger, where nothing else is asked for.
const ROUNDS: u64 = 100;
/// Numbers that lengths and counts like to break on.
const NUMBERS: [u64; 9] = [0, 1, 31, 33, 127, 128, 1 << 31, 1 << 60, u64::MAX];

fn played() -> World {
    let mut world = honest(1.3);
    world.claim(0, fixtures::child_recipe(9));
    world.run(40);
    world
}

/// Rounds over the whole ledger.
fn rounds() -> std::ops::Range<u64> {
    let wanted = std::env::var("ASSAY_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    0..wanted.unwrap_or(ROUNDS)
}

fn index(draw: &mut Draw, bound: usize) -> usize {
    usize::try_from(draw.below(bound as u64)).unwrap()
}

/// Changes a byte, a few bytes to a varint of ill repute, cuts, or repeats a part.
fn change(bytes: &mut Vec<u8>, draw: &mut Draw) {
    let at = index(draw, bytes.len() + 1);
    let end = (at + 1 + index(draw, 40)).min(bytes.len());
    match draw.below(5) {
        0 if at < bytes.len() => bytes[at] ^= 1 << draw.below(8),
        1 => {
            let mut number = Vec::new();
            prost::encoding::encode_varint(NUMBERS[index(draw, NUMBERS.len())], &mut number);
            let end = (at + number.len()).min(bytes.len());
            bytes.splice(at..end, number);
        }
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        _ => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
    }
}

/// `payload` as a record that `key` signed on the network of `state`.
fn signed(state: &State, key: &SigningKey, payload: Vec<u8>) -> v1::SignedRecord {
    let message = [b"assay/record/v1\0", &state.network().0[..], &payload].concat();
    let signature = key.sign(&message).to_bytes().to_vec();
    v1::SignedRecord {
        author: key.verifying_key().to_bytes().to_vec(),
        payload,
        signature,
        attachment: Vec::new(),
    }
}

fn member_of(author: &[u8]) -> u8 {
    (0..5).find(|i| fixtures::peer(*i).0[..] == *author).unwrap()
}

#[test]
fn changed_records_never_panic_and_what_is_taken_can_be_ordered() {
    let world = played();
    let (mut tried, mut fresh) = (0_u32, 0_u32);
    for round in rounds() {
        let mut draw = Draw::new("assay test records", &[&round.to_le_bytes()]);
        let mut state = State::new(fixtures::genesis());
        for item in &world.items {
            for record in &item.block.as_ref().unwrap().records {
                let mut payload = record.payload.clone();
                for _ in 0..draw.below(4) {
                    change(&mut payload, &mut draw);
                }
                // Mostly the author's own signature, sometimes another member's.
                let author = match draw.below(4) {
                    0 => u8::try_from(draw.below(5)).unwrap(),
                    _ => member_of(&record.author),
                };
                let forged = signed(&state, &key(author), payload);
                tried += 1;
                fresh += u32::from(hear(&state, world.now_ms, &forged));
            }
            apply_item(&mut state, item).unwrap();
        }
    }
    println!("{tried} records, {fresh} of them taken");
    assert!(fresh > 0 && fresh < tried, "{fresh} of {tried}");
}

/// Lets a peer at `state` hear a record; whether it was taken. The block that it builds then must
/// extend the ledger.
fn hear(state: &State, now_ms: u64, record: &v1::SignedRecord) -> bool {
    let mut peer = Peer::new(fixtures::peer(4), state.clone());
    let bytes = record.encode_to_vec();
    let heard = peer.hear(&bytes, &mut Vec::new());
    if heard != Heard::Fresh {
        assert_eq!(peer.state(), state);
        return false;
    }
    assert_eq!(peer.hear(&bytes, &mut Vec::new()), Heard::Known);
    let height = state.height() + 1;
    let proposer = super::world::proposer(0, state.network(), height);
    if let Some(block) = peer.build(now_ms, proposer) {
        state.clone().apply(&block, None).unwrap();
    }
    true
}

#[test]
fn changed_blocks_never_panic_nor_extend_the_ledger() {
    let world = played();
    let items: Vec<Vec<u8>> = world.items.iter().map(Message::encode_to_vec).collect();
    let mut tried = 0_u32;
    for round in rounds() {
        let mut draw = Draw::new("assay test blocks", &[&round.to_le_bytes()]);
        let mut state = State::new(fixtures::genesis());
        for (item, bytes) in world.items.iter().zip(&items) {
            for _ in 0..20 {
                let mut bytes = bytes.clone();
                for _ in 0..=draw.below(3) {
                    change(&mut bytes, &mut draw);
                }
                let decoded = decode_canonical(&bytes, limits::LEDGER_ITEM_BYTES_MAX);
                let Ok(changed) = decoded else { continue };
                tried += 1;
                let extends = apply_item(&mut state.clone(), &changed).is_ok();
                assert!(!extends || same_block(&changed, item), "round {round}");
            }
            apply_item(&mut state, item).unwrap();
        }
    }
    println!("{tried} blocks that could be read");
    assert!(tried > 0);
}

/// Whether two items hold one block; certificates of it may hold different signatures.
fn same_block(one: &v1::LedgerItem, other: &v1::LedgerItem) -> bool {
    one.block == other.block
}

#[test]
fn records_in_nobodys_name_are_refused() {
    let world = played();
    let state = world.state();
    let stranger = SigningKey::from_bytes(&[77; 32]);
    let mut peer = Peer::new(PeerId([1; 32]), State::new(fixtures::genesis()));
    for item in &world.items {
        for record in &item.block.as_ref().unwrap().records {
            let forged = signed(state, &stranger, record.payload.clone());
            let heard = peer.hear(&forged.encode_to_vec(), &mut Vec::new());
            assert!(matches!(heard, Heard::Useless(_)), "{heard:?}");
        }
    }
}
