//! Challenges and re-audits: who may doubt, what it costs, and what a refutation does.

use super::world::World;
use crate::error::Reject;
use crate::fixtures;
use crate::frontier::Track;
use crate::ids::ClaimId;
use crate::plan::Arm;
use crate::record::{Body, Challenge, Claim};
use crate::state::{Finding, Purpose};
use crate::verdict::Outcome;
use prost::Message;

fn challenge(claim: ClaimId) -> Body {
    Body::Challenge(Challenge { claim, reason: "I find no gain".to_owned() })
}

/// Nine peers to whom every claim looks 30 % faster in its first `rounds` rounds and equal later;
/// bundle 3 is faster in truth.
fn fading(rounds: u32) -> World {
    World::of(fixtures::genesis_of(9), move |_, plan| {
        let child = if plan.child == Arm::X { plan.x } else { plan.y };
        let real = child.bundle == fixtures::child_recipe(3).bundle;
        let ratio = if real || plan.round.number <= rounds { 1.3 } else { 1.0 };
        Some(fixtures::measurement(plan, ratio))
    })
}

#[test]
fn a_refuting_round_debunks_the_entry_and_marks_what_descends_from_it() {
    let mut world = fading(2);
    let root = world.claim(0, fixtures::child_recipe(1));
    world.run(60);
    let child = world.claim_on(root, 1, fixtures::child_recipe(2));
    world.run(60);
    let other = world.claim(2, fixtures::child_recipe(3));
    world.run(60);
    assert_eq!(world.outcome(child), Some(Outcome::Accepted));

    world.say(3, challenge(root));
    let grandchild = world.claim_on(child, 4, fixtures::child_recipe(4));
    world.run(120);
    let state = world.state();
    let claim = |id| state.claim(id).unwrap();
    let entry = claim(root);
    let last = entry.latest().unwrap();
    assert!(matches!(last.purpose, Purpose::Challenge { by, .. } if by == fixtures::peer(3)));
    assert_eq!(last.finding, Some(Finding::Debunked));
    for party in [0, 3] {
        assert!(!last.committee.seats.contains(&fixtures::peer(party)), "no side sits");
    }
    let debunked = entry.debunked.unwrap();
    assert_eq!((Some(debunked.height), debunked.round), (last.settled_at, 3));
    assert_eq!(entry.outcome(), Some(Outcome::Accepted), "the entry stays as it was made");
    assert!(!entry.stands());
    // Descendants are marked, open ones too; other lineages are not.
    assert_eq!(claim(child).descends_from_debunked, Some(root));
    assert_eq!(claim(grandchild).descends_from_debunked, Some(root));
    assert!(claim(grandchild).is_entry() && !claim(grandchild).stands());
    assert!(claim(other).stands());
    // The runner-up takes the lead once an independent committee has confirmed it.
    assert!(claim(other).is_confirmed() && claim(other).rounds.len() == 2);
    let leaders = state.frontier(Track::Lossless, fixtures::CLASS);
    assert_eq!(leaders.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [other]);
    assert_eq!(state.rank(claim(child)), None);
    // Nothing is built on a debunked entry or on what descends from it.
    for parent in [root, child] {
        let body = Body::Claim(Claim {
            hardware_class: fixtures::CLASS.to_owned(),
            cites: Vec::new(),
            recipe: fixtures::child_recipe(50),
            parent,
            result_seal: [0; 32],
            summary: String::new(),
        });
        assert_eq!(world.refusal(5, body), Some(Reject::DebunkedParent { parent, entry: root }));
    }
    let again = world.refusal(6, challenge(root));
    assert!(matches!(again, Some(Reject::Unchallengeable { .. })));
    // An auditor comes to the same end.
    let items: Vec<Vec<u8>> = world.items.iter().map(Message::encode_to_vec).collect();
    let auditor = world.audit(&items).unwrap();
    assert_eq!(auditor.state(), world.state());
    let checked = auditor.checked();
    assert_eq!((checked.challenges, checked.debunked, checked.entries), (1, 1, 4));
    assert_eq!(checked.frontier_rounds, 4, "the runner-up once, each of the others once");
    // A challenge that was right costs nothing.
    assert!(world.state().members()[&fixtures::peer(3)].standing >= 10);
}

#[test]
fn a_challenge_that_fails_costs_its_challenger() {
    let mut world = fading(u32::MAX);
    let id = world.claim(0, fixtures::child_recipe(1));
    world.run(60);
    let before = world.state().members()[&fixtures::peer(3)].standing;
    world.say(3, challenge(id));
    world.run(60);
    let claim = world.state().claim(id).unwrap();
    assert_eq!(claim.latest().unwrap().finding, Some(Finding::Upheld));
    assert!(claim.stands() && world.state().leads(id, Track::Lossless));
    assert_eq!(world.state().members()[&fixtures::peer(3)].standing, before - 1);
    // The number stays the second committee's: a challenge is no new draw of it.
    assert_eq!(claim.deciding().unwrap().purpose, Purpose::Frontier);
    assert_eq!(world.refusal(3, challenge(id)), Some(Reject::Repeated(fixtures::peer(3))));
}

#[test]
fn who_may_not_challenge_what_is_told_why() {
    let mut world = fading(u32::MAX);
    let first = world.claim(0, fixtures::child_recipe(1));
    let network = world.state().base_claim();
    assert_eq!(world.refusal(3, challenge(network)), Some(Reject::UnknownClaim(network)));
    world.settle_effects();
    world.order_block();
    let phase = |claim| Some(Reject::Phase { claim, what: "challenge" });
    assert_eq!(world.refusal(3, challenge(first)), phase(first), "no entry yet");
    world.run(60);
    assert!(matches!(world.refusal(0, challenge(first)), Some(Reject::Unchallengeable { .. })));
    let second = world.claim(1, fixtures::child_recipe(2));
    world.run(60);
    world.say(3, challenge(first));
    world.settle_effects();
    world.order_block();
    assert_eq!(world.refusal(3, challenge(second)), Some(Reject::OpenChallenge(first)));
    assert_eq!(world.refusal(4, challenge(first)), phase(first), "it is being measured");
    assert_eq!(world.refusal(4, challenge(second)), None);
}

#[test]
fn a_peer_with_nothing_to_lose_may_not_challenge() {
    let mut genesis = fixtures::genesis_of(9);
    genesis.members[3].standing = 1;
    let mut world =
        World::of(genesis, |number, plan| (number != 3).then(|| fixtures::measurement(plan, 1.3)));
    let id = world.claim(0, fixtures::child_recipe(1));
    world.run(80);
    let refusal = world.refusal(3, challenge(id));
    assert_eq!(refusal, Some(Reject::Standing { peer: fixtures::peer(3), needed: 2 }));
}

#[test]
fn entries_are_looked_at_again_by_lot() {
    let mut genesis = fixtures::genesis_of(9);
    genesis.committee.audit_ppm = 1_000_000;
    let mut world = World::of(genesis, |_, plan| {
        let audited = plan.round.number > 2;
        Some(fixtures::measurement(plan, if audited { 1.0 } else { 1.3 }))
    });
    let first = world.claim(0, fixtures::child_recipe(1));
    world.run(60);
    assert_eq!(world.state().claim(first).unwrap().rounds.len(), 2, "there is no older entry");
    world.claim(1, fixtures::child_recipe(2));
    world.run(80);
    let claim = world.state().claim(first).unwrap();
    assert_eq!(claim.latest().unwrap().purpose, Purpose::Audit);
    assert_eq!(claim.latest().unwrap().finding, Some(Finding::Debunked));
    assert!(claim.debunked.is_some());
}
