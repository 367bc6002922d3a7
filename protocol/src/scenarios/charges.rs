//! Charges at the door, and those that a measurement decides.

use super::posts::{said, with};
use super::rulings::{flag, world};
use super::world::World;
use crate::error::Reject;
use crate::fixtures::{self, child_recipe, key, peer};
use crate::ids::{ClaimId, RecordId};
use crate::peer::Heard;
use crate::post::{Detail, Flag, Post, PostBody};
use crate::record::{Body, Challenge};
use crate::ruling::{Appeal, Charge, Decision, Measured, Offence};
use crate::sighting::{Divergence, Excess, Sighting};
use crate::standing::Rule;
use crate::state::{Finding, Purpose};
use crate::wire;
use assay_proto::v1;
use prost::Message;

fn seen(rule: &str, subject: ClaimId, sighting: Sighting) -> PostBody {
    let (rule, subject) = (rule.to_owned(), RecordId(subject.0));
    with(Detail::Flag(Flag { rule, subject, evidence: None, sighting: Some(sighting) }))
}

fn parted(claim: ClaimId) -> PostBody {
    parted_as("path", claim)
}

fn parted_as(rule: &str, claim: ClaimId) -> PostBody {
    let found = Divergence { prompt: 7, position: 3, expected: 20, seen: 21 };
    seen(rule, claim, Sighting::Divergence(found))
}

fn beyond(claim: ClaimId, round: u32) -> PostBody {
    let found = Excess { round, bandwidth_mb_s: 10_000, share_ppm: 1_100_000 };
    seen("physics", claim, Sighting::Excess(found))
}

/// Nine peers whose entries are 30 % faster, and in their third round `later` times as fast with so many
/// broken positions on each machine.
fn changing(later: f64, breaks: u64) -> World {
    let mut genesis = fixtures::genesis_of(9);
    genesis.committee.audit_ppm = 0;
    World::of(genesis, move |_, plan| {
        if plan.round.number < 3 {
            return Some(fixtures::measurement(plan, 1.3));
        }
        let mut measured = fixtures::measurement(plan, later);
        fixtures::child(plan, &mut measured).path_breaks = breaks;
        Some(measured)
    })
}

impl World {
    /// An entry of peer 0 and a flag of peer 3 that says it breaks its path, both ordered.
    fn doubt_path(&mut self) -> (ClaimId, RecordId) {
        let claim = self.claim(0, child_recipe(1));
        self.run(60);
        let id = self.publish(3, &parted(claim));
        assert!(self.order_block());
        (claim, id)
    }

    fn refused(&self, author: u8, body: &PostBody) -> Option<Reject> {
        crate::pool::applies(self.state(), &self.post(author, body, None)).err()
    }
}

#[test]
fn a_broken_path_is_a_challenge_whose_finding_is_the_ruling() {
    let mut world = changing(1.3, 1);
    let (claim, id) = world.doubt_path();
    let ruling = world.ruling(id);
    assert_eq!((ruling.word(), ruling.accused, ruling.hearings.len()), ("open", peer(0), 0));
    assert_eq!(world.state().open_rulings().count(), 1);
    let round = world.state().claim(claim).unwrap().latest().unwrap();
    assert_eq!(round.purpose, Purpose::Challenge { by: peer(3), record: id });
    assert_eq!(ruling.measured.map(|measured| measured.round), Some(round.number));
    let again = world.refused(4, &parted(claim));
    assert_eq!(again, Some(Reject::Charged { ruling: id, word: "open" }));
    let (accused, flagger) = (world.points(0), world.points(3));
    world.run(60);
    let ruling = world.ruling(id);
    assert_eq!((ruling.decision(), ruling.word()), (Some(Decision::Upheld), "upheld"));
    assert_eq!(world.state().open_rulings().count(), 0);
    assert!(world.state().claim(claim).unwrap().debunked.is_some());
    // The challenge's own rules take what is taken, once.
    assert_eq!(world.count(0, Rule::Debunked), 1);
    assert_eq!(world.count(0, Rule::RuledAgainst), 0);
    assert!(world.points(0) < accused && world.points(3) >= flagger);
    for author in [0, 3] {
        let appeal = world.refusal(author, Body::Appeal(Appeal { charge: id }));
        assert!(matches!(appeal, Some(Reject::Unappealable { .. })), "{appeal:?}");
    }
    world.replays();
}

#[test]
fn a_path_that_holds_costs_its_flagger_a_failed_challenge_and_protects_nobody() {
    let mut world = changing(1.3, 0);
    let (claim, id) = world.doubt_path();
    world.run(60);
    assert_eq!(world.ruling(id).word(), "dismissed");
    assert_eq!(world.count(3, Rule::FailedChallenge), 1);
    assert_eq!(world.count(3, Rule::FalseFlag), 0);
    assert!(world.state().claim(claim).unwrap().stands());
    // One operator doubts an entry once, in whatever words; another may find other prompts.
    assert_eq!(world.refused(3, &parted(claim)), Some(Reject::Repeated(peer(3))));
    let doubt = Body::Challenge(Challenge { claim, reason: String::new() });
    assert_eq!(world.refusal(3, doubt), Some(Reject::Repeated(peer(3))));
    assert_eq!(world.refused(4, &parted(claim)), None);
    world.replays();
}

#[test]
fn an_entry_that_falls_for_another_reason_says_nothing_about_its_path() {
    let mut world = changing(1.0, 0);
    let (claim, id) = world.doubt_path();
    world.run(60);
    assert!(world.state().claim(claim).unwrap().debunked.is_some());
    assert_eq!(world.ruling(id).word(), "undecided");
    assert_eq!(world.count(3, Rule::FailedChallenge), 0);
    world.replays();
}

/// Nine peers of a class whose memory was said to be four times as fast as it is when entry 1 was made;
/// it read more than there is time for, and later rounds of it find no gain.
fn overstated() -> World {
    World::of(fixtures::genesis_of(9), |_, plan| {
        let recipes = [plan.x.bundle, plan.y.bundle];
        let is = |number| recipes.contains(&child_recipe(number).bundle);
        let first = is(1) && plan.round.number < 3;
        let ratio = match () {
            () if first => 1.3,
            () if is(1) => 1.0,
            () if is(2) => 1.5,
            () => 1.8,
        };
        let mut measured = fixtures::measurement(plan, ratio);
        measured.environment.bandwidth_mb_s = if first { 20_000 } else { 5_000 };
        if first {
            fixtures::child(plan, &mut measured).bytes_per_token *= 30;
        }
        Some(measured)
    })
}

#[test]
fn an_entry_beyond_its_class_as_known_by_now_is_ruled_on_at_once_and_measured_again() {
    let mut world = overstated();
    let claim = world.claim(0, child_recipe(1));
    world.run(60);
    assert_eq!(world.state().excess(claim), None);
    let early = world.refused(5, &beyond(claim, 2));
    assert!(matches!(early, Some(Reject::Unchargeable(_))), "{early:?}");
    for number in [2, 3] {
        world.claim(number, child_recipe(number));
        world.run(60);
    }
    let found = world.state().excess(claim).unwrap();
    assert_eq!((found.round, found.bandwidth_mb_s), (2, 7_937));
    assert!((1_040_000..1_060_000).contains(&found.share_ppm), "{found:?}");
    let others = world.state().claims().filter(|other| other.id != claim);
    assert!(others.into_iter().all(|other| world.state().excess(other.id).is_none()));
    let wrong = world.refused(5, &beyond(claim, 1));
    assert!(matches!(wrong, Some(Reject::Unchargeable(_))), "{wrong:?}");
    let own = world.refused(0, &beyond(claim, 2));
    assert!(matches!(own, Some(Reject::Unchargeable(_))), "{own:?}");

    let points: Vec<u64> = (0..9).map(|number| world.points(number)).collect();
    let root = world.state().root();
    let id = world.publish(5, &beyond(claim, 2));
    assert!(world.order_block());
    let ruling = world.ruling(id);
    let height = world.state().height();
    let upheld = Some(Decision::Upheld);
    assert_eq!(
        ruling.measured,
        Some(Measured { round: 3, decision: upheld, decided_at: Some(height) })
    );
    assert_eq!((ruling.word(), ruling.accused), ("upheld", peer(0)));
    assert_eq!(world.state().open_rulings().count(), 0);
    assert_ne!(world.state().root(), root);
    let round = world.state().claim(claim).unwrap().latest().unwrap();
    assert_eq!(round.purpose, Purpose::Audit);
    let now: Vec<u64> = (0..9).map(|number| world.points(number)).collect();
    assert_eq!(now, points, "the ruling takes nothing");
    world.run(60);
    let entry = world.state().claim(claim).unwrap();
    assert_eq!(entry.latest().unwrap().finding, Some(Finding::Debunked));
    assert_eq!(world.count(0, Rule::Debunked), 0, "being slower is no fault");
    let again = world.refused(6, &beyond(claim, 2));
    assert_eq!(again, Some(Reject::Charged { ruling: id, word: "upheld" }));
    world.replays();
}

#[test]
fn only_entries_are_charged_with_what_machines_find() {
    let mut world = world();
    let claim = world.claim(0, child_recipe(1));
    world.settle_effects();
    world.order_block();
    let nothing = ClaimId([9; 32]);
    for body in [parted(nothing), beyond(nothing, 1)] {
        assert_eq!(world.refused(3, &body), Some(Reject::UnknownClaim(nothing)));
    }
    let open = world.refused(3, &parted(claim));
    assert!(matches!(open, Some(Reject::Phase { .. })), "{open:?}");
    let open = world.refused(3, &beyond(claim, 1));
    assert!(matches!(open, Some(Reject::Unchargeable(_))), "{open:?}");
    world.run(60);
    let found = Divergence { prompt: 400, position: 0, expected: 0, seen: 1 };
    for found in [found, Divergence { prompt: 0, position: 33, ..found }] {
        let refused = world.refused(3, &seen("path", claim, Sighting::Divergence(found)));
        assert!(matches!(refused, Some(Reject::Unchargeable(_))), "{refused:?}");
    }
    let own = world.refused(0, &parted(claim));
    assert!(matches!(own, Some(Reject::Unchallengeable { .. })), "{own:?}");
}

#[test]
fn sightings_fit_their_rule_and_have_bounds() {
    use v1::sighting::Seen;
    let mut world = world();
    let network = world.state().network();
    let divergence = v1::Divergence { prompt: 1, position: 2, expected: 3, seen: 4 };
    let excess = v1::Excess { round: 1, bandwidth_mb_s: 1, share_ppm: 1_000_001 };
    let hear = |world: &mut World, rule: u32, seen: Option<Option<Seen>>| {
        let header = Post::of(&flag("off-channel", RecordId([1; 32]), None), 0, None).to_proto();
        let sighting = seen.map(|seen| v1::Sighting { seen });
        let charge = v1::Charge { rule, subject: vec![1; 32], evidence: Vec::new(), sighting };
        let post = v1::Post { charge: Some(charge), ..header };
        let body = Some(v1::record::Body::Post(post));
        let payload = v1::Record { body }.encode_to_vec();
        let signed = wire::sign_payload(network, &key(1), payload);
        world.peers[0].hear(&signed.encode_to_vec(), &mut Vec::new())
    };
    let parted = |found| Some(Some(Seen::Divergence(found)));
    let beyond = |found| Some(Some(Seen::Excess(found)));
    for (rule, seen) in [
        (1, parted(divergence)),
        (2, beyond(excess)),
        (1, Some(None)),
        (3, None),
        (3, Some(None)),
        (3, beyond(excess)),
        (3, parted(v1::Divergence { seen: 1 << 24, ..divergence })),
        (3, parted(v1::Divergence { prompt: u32::MAX, ..divergence })),
        (4, None),
        (4, parted(divergence)),
        (4, beyond(v1::Excess { round: 0, ..excess })),
        (4, beyond(v1::Excess { bandwidth_mb_s: 0, ..excess })),
        (4, beyond(v1::Excess { share_ppm: 1_000_000, ..excess })),
    ] {
        let heard = hear(&mut world, rule, seen);
        let is_field = matches!(heard, Heard::Misbehaviour(Reject::Field { .. }));
        assert!(is_field, "{rule} {seen:?}: {heard:?}");
    }
    // What a body says under another rule is no sighting either.
    let claim = ClaimId([1; 32]);
    for body in [parted_as("rudeness", claim), parted_as("physics", claim)] {
        assert!(matches!(PostBody::read(&body.to_bytes()), Err(Reject::Field { .. })));
    }
}

#[test]
fn header_and_body_of_a_flag_say_the_same() {
    let mut world = world();
    let subject = world.publish(1, &said("hello"));
    world.order_block();
    let network = world.state().network();
    let body = flag("off-channel", subject, None);
    let honest = Post::of(&body, 0, None);
    let charge = Charge { rule: Offence::Duplicate, ..honest.charge.unwrap() };
    let others = [
        Post { charge: None, ..honest.clone() },
        Post { charge: Some(charge), ..honest.clone() },
        Post { charge: honest.charge, ..Post::of(&said("talk"), 0, None) },
    ];
    for (post, text) in others.into_iter().zip([&body, &body, &said("talk")]) {
        let mut record = wire::sign(network, &key(2), Body::Post(post));
        record.attachment = text.to_bytes();
        let heard = world.peers[0].hear(&record.to_gossip(), &mut Vec::new());
        assert!(matches!(heard, Heard::Misbehaviour(_)), "{heard:?}");
    }
    let mut record = wire::sign(network, &key(2), Body::Post(honest));
    record.attachment = body.to_bytes();
    assert_eq!(world.peers[0].hear(&record.to_gossip(), &mut Vec::new()), Heard::Fresh);
}

#[test]
fn malformed_charges_and_ballots_cost_their_sender() {
    let mut world = world();
    let network = world.state().network();
    let good =
        v1::RulingBallot { charge: vec![1; 32], hearing: 1, finding: 1, digest: vec![2; 32] };
    use v1::record::Body as Wire;
    let ballot = |ballot| Wire::RulingBallot(ballot);
    let post = |charge: v1::Charge| {
        let header = Post::of(&flag("off-channel", RecordId([1; 32]), None), 0, None).to_proto();
        Wire::Post(v1::Post { charge: Some(charge), ..header })
    };
    let charge = v1::Charge { rule: 1, subject: vec![1; 32], evidence: Vec::new(), sighting: None };
    for body in [
        ballot(v1::RulingBallot { charge: vec![1; 31], ..good.clone() }),
        ballot(v1::RulingBallot { hearing: 0, ..good.clone() }),
        ballot(v1::RulingBallot { hearing: 3, ..good.clone() }),
        ballot(v1::RulingBallot { finding: 0, ..good.clone() }),
        ballot(v1::RulingBallot { finding: 4, ..good.clone() }),
        ballot(v1::RulingBallot { digest: Vec::new(), ..good }),
        Wire::Appeal(v1::Appeal { charge: Vec::new() }),
        post(v1::Charge { rule: 0, ..charge.clone() }),
        post(v1::Charge { rule: 5, ..charge.clone() }),
        post(v1::Charge { subject: vec![1; 33], ..charge.clone() }),
        post(v1::Charge { evidence: vec![1], ..charge }),
    ] {
        let payload = v1::Record { body: Some(body.clone()) }.encode_to_vec();
        let signed = wire::sign_payload(network, &key(1), payload);
        let heard = world.peers[0].hear(&signed.encode_to_vec(), &mut Vec::new());
        assert!(matches!(heard, Heard::Misbehaviour(Reject::Field { .. })), "{body:?}: {heard:?}");
    }
}
