//! What a node flags by itself, over a ledger made to order.

use super::samples::Truth;
use super::world::{World, peer};
use assay_node::rulings::{Entries, Looks, Notice};
use assay_protocol::ids::{ClaimId, RecordId};
use assay_protocol::post::{Detail, Flag, PostBody};
use assay_protocol::ruling::{Charge, Decision, Offence};
use assay_protocol::sighting::Divergence;
use std::collections::BTreeMap;
use std::sync::Arc;

const SEEN: Divergence = Divergence { prompt: 7, position: 3, expected: 20, seen: 21 };

pub(super) fn said(charge: &Charge) -> PostBody {
    let Charge { rule, subject, evidence, sighting } = *charge;
    let flag = Flag { rule: rule.word().to_owned(), subject, evidence, sighting };
    PostBody {
        channel: "flags".to_owned(),
        thread: None,
        refs: vec![subject],
        title: String::new(),
        text: "seen by this node".to_owned(),
        detail: Some(Detail::Flag(flag)),
    }
}

/// An entry of the first member's, 30 % faster.
fn entry(world: &mut World) -> ClaimId {
    let claim = world.docket(0, world.base_with_bundle(1), None, "faster", 1_300_000);
    world.settle(claim, Truth::faster(1.3));
    claim
}

#[test]
fn one_node_after_the_other_flags_an_entry_beyond_its_class() {
    let mut world = World::new(1_000_000);
    world.tamper = Arc::new(|_, measured| {
        let first = &measured.pairs[0];
        let child = if first.x_ns < first.y_ns { &mut measured.x } else { &mut measured.y };
        child.bytes_per_token *= 30;
    });
    let claim = entry(&mut world);
    let mut watches: Vec<(usize, Entries)> =
        (0..7).map(|index| (index, Entries::new(peer(index)))).collect();
    let mut due_at = |state: &assay_protocol::state::State, now_ms: u64| -> Vec<(usize, Charge)> {
        let due = |(index, watch): &mut (usize, Entries)| {
            watch.due(state, now_ms).into_iter().map(|charge| (*index, charge)).collect::<Vec<_>>()
        };
        watches.iter_mut().flat_map(due).collect()
    };
    let first = due_at(&world.state, 5_000);
    let [(flagger, charge)] = first.as_slice() else { panic!("{first:?}") };
    assert_eq!((charge.rule, charge.subject), (Offence::Physics, RecordId(claim.0)));
    // The next one's turn comes later, and the author's operator's never.
    assert_eq!(due_at(&world.state, 24_999).len(), 1);
    assert_eq!(due_at(&world.state, 25_000).len(), 2);
    let all = due_at(&world.state, 1_000_000);
    assert_eq!(all.len(), 6);
    assert!(all.iter().all(|(index, _)| *index != 0));
    // Once it is ruled on nobody flags it again.
    let id = world.post(*flagger, &said(charge));
    assert_eq!(world.state.ruling(id).unwrap().decision(), Some(Decision::Upheld));
    assert_eq!(due_at(&world.state, 1_000_000), []);
}

#[test]
fn whoever_sees_a_path_break_challenges_the_entry_once() {
    let mut world = World::new(1_000_000);
    let recipe = world.base_with_bundle(1);
    let notice = Notice { recipe, seen: SEEN };
    let mut watch = Entries::new(peer(3));
    watch.notice(notice);
    assert_eq!(watch.due(&world.state, 0), [], "nobody claims it");
    let claim = world.docket(0, recipe, None, "faster", 1_300_000);
    assert_eq!(watch.due(&world.state, 0), [], "it is no entry");
    world.settle(claim, Truth::faster(1.3));
    let due = watch.due(&world.state, 0);
    let [charge] = due.as_slice() else { panic!("{due:?}") };
    assert_eq!((charge.rule, charge.subject), (Offence::Path, RecordId(claim.0)));
    // What it raised it does not raise again, even before the ledger orders it.
    watch.raised(charge);
    assert_eq!(watch.due(&world.state, 0), []);
    // The author's own node does not flag it, nor does one that never saw it break.
    let mut own = Entries::new(peer(0));
    own.notice(notice);
    assert_eq!(own.due(&world.state, 0), []);
    assert_eq!(Entries::new(peer(4)).due(&world.state, 0), []);
    let id = world.post(3, &said(charge));
    assert_eq!(world.state.ruling(id).unwrap().word(), "open");
    let mut other = Entries::new(peer(4));
    other.notice(notice);
    assert_eq!(other.due(&world.state, 0), [], "it is being measured");
}

#[test]
fn a_seat_that_two_committees_contradicted_does_not_ask_a_third() {
    let mut world = World::new(1_000_000);
    let recipe = world.base_with_bundle(1);
    let claim = world.docket(0, recipe, None, "faster", 1_300_000);
    let mut alone = 0;
    for _ in 0..2 {
        world.draw(claim);
        alone = world.seated(claim)[0];
        world.tamper = Arc::new(move |index, measured| {
            if index == alone {
                measured.x.path_breaks = 3;
                measured.y.path_breaks = 3;
            }
        });
        world.seal(claim, Truth::faster(1.3), 5);
        world.reveal(claim, Truth::faster(1.3), 5);
    }
    world.tamper = Arc::new(|_, _| {});
    world.settle(claim, Truth::faster(1.3));
    let state = &world.state;
    let heard =
        state.claim(claim).unwrap().rounds.iter().any(|round| round.has_dissent_of(peer(alone)));
    assert!(heard);
    let due = |index: usize| {
        let mut watch = Entries::new(peer(index));
        watch.notice(Notice { recipe, seen: SEEN });
        watch.due(state, 0).len()
    };
    assert_eq!(due(alone), 0);
    let another = (1..7).find(|index| *index != alone).unwrap();
    assert_eq!(due(another), 1);
}

/// Long after every node's turn came.
const LATE_MS: u64 = 1_000_000_000;

/// Everything that a member is to look at now, each claim with the earlier ones.
fn looked_at(looks: &mut Looks, world: &World) -> BTreeMap<ClaimId, Vec<ClaimId>> {
    // The first call only begins to wait for its turn.
    let first = looks.next(&world.state, 0);
    let rest = std::iter::from_fn(|| looks.next(&world.state, LATE_MS));
    first.into_iter().chain(rest).collect()
}

#[test]
fn a_claim_is_held_against_older_ones_of_others_that_it_does_not_build_on() {
    let mut world = World::new(1_000_000);
    let mut claim = |author: usize, bundle: u8, parent: Option<ClaimId>, opens: bool| {
        let recipe = world.base_with_bundle(bundle);
        let id = world.docket(author, recipe, parent, "faster", 1_300_000);
        world.settle(id, Truth::faster(1.3));
        if opens {
            world.open(author, id, 1_300_000);
        }
        id
    };
    let first = claim(0, 1, None, true);
    let own = claim(1, 2, None, true);
    // The only other author's claim before this one is its parent.
    claim(1, 3, Some(first), true);
    let last = claim(1, 4, None, true);
    // What is not opened may be a null claim.
    claim(2, 5, None, false);
    let looks = |index| looked_at(&mut Looks::new(peer(index)), &world);
    assert_eq!(looks(5), BTreeMap::from([(own, vec![first]), (last, vec![first])]));
    assert_eq!(looks(1), BTreeMap::new(), "nobody charges itself");
}

#[test]
fn a_copy_that_was_accepted_first_is_looked_at_again_once_its_original_is_opened() {
    let mut world = World::new(1_000_000);
    let docket = |world: &mut World, author: usize, bundle: u8| {
        world.docket(author, world.base_with_bundle(bundle), None, "faster", 1_300_000)
    };
    let settle_and_open = |world: &mut World, author: usize, claim: ClaimId| {
        world.settle(claim, Truth::faster(1.3));
        world.open(author, claim, 1_300_000);
    };
    let first = docket(&mut world, 1, 1);
    settle_and_open(&mut world, 1, first);
    // The three wait together; who had a committee already has the next one last.
    let (other, original, copy) =
        (docket(&mut world, 0, 2), docket(&mut world, 1, 3), docket(&mut world, 2, 4));
    settle_and_open(&mut world, 0, other);
    settle_and_open(&mut world, 2, copy);
    assert!(world.state.claim(original).unwrap().is_open());
    let mut looks = Looks::new(peer(5));
    let expected = BTreeMap::from([(other, vec![first]), (copy, vec![other, first])]);
    assert_eq!(looked_at(&mut looks, &world), expected);
    world.settle(original, Truth::faster(1.3));
    assert_eq!(looked_at(&mut looks, &world), BTreeMap::new(), "it may be a null claim");
    world.open(1, original, 1_300_000);
    let expected = BTreeMap::from([(original, vec![other]), (copy, vec![original])]);
    assert_eq!(looked_at(&mut looks, &world), expected);
    assert_eq!(looked_at(&mut looks, &world), BTreeMap::new(), "once is enough");
}

#[test]
fn a_claim_whose_files_were_missing_is_looked_at_again_but_not_for_ever() {
    let mut world = World::new(1_000_000);
    let mut claim = |author: usize, bundle: u8| {
        let id = world.docket(author, world.base_with_bundle(bundle), None, "faster", 1_300_000);
        world.settle(id, Truth::faster(1.3));
        world.open(author, id, 1_300_000);
        id
    };
    let (first, second, third) = (claim(0, 1), claim(1, 2), claim(2, 3));
    let mut looks = Looks::new(peer(5));
    let expected = BTreeMap::from([(second, vec![first]), (third, vec![second, first])]);
    assert_eq!(looked_at(&mut looks, &world), expected);
    let mut now_ms = LATE_MS;
    for wait_ms in [60_000, 120_000, 240_000, 480_000] {
        looks.missed(third, &[first], now_ms);
        assert_eq!(looks.next(&world.state, now_ms + wait_ms - 1), None, "{wait_ms}");
        now_ms += wait_ms;
        let mut at = |now_ms| looks.next(&world.state, now_ms);
        // The first call may only begin to wait for its turn.
        let again = at(now_ms).or_else(|| at(now_ms + LATE_MS));
        assert_eq!(again, Some((third, vec![first])), "{wait_ms}");
        now_ms += LATE_MS;
    }
    looks.missed(third, &[first], now_ms);
    assert_eq!(looked_at(&mut looks, &world), BTreeMap::new());
}
