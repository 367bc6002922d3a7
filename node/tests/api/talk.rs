//! A ledger with a claim of every kind and a board with a post of every kind: what pages are looked at with.

use super::board::{answer, flag, forecast, spec, titled, with};
use super::limits::limit;
use super::world::World;
use assay_protocol::ids::{BlobHash, ClaimId, RecordId};
use assay_protocol::post::{
    Attempt, BuiltCheckpoint, DeadEnd, Detail, Diagnosis, Endorsement, Plan, Playbook, PostBody,
    Quantity, Trial,
};
use assay_protocol::record::Recipe;

/// A ledger that everybody used.
pub(super) struct Talk {
    pub(super) world: World,
    /// The claims in the order docketed; the last came out of a relay.
    pub(super) claims: Vec<ClaimId>,
    /// A thread with answers, a flag among them.
    pub(super) thread: RecordId,
}

fn levers(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl Talk {
    pub(super) fn new(time_ms: u64) -> Self {
        let (mut world, mut claims) = World::lively(time_ms);
        let thread =
            world.post(1, &titled("Int4 on this class", "Who has numbers?\n\nMine: 1.31×."));
        world.post(2, &answer(thread, "@bell mine are a little lower, see the claim"));
        let rude = world.post(4, &answer(thread, "come to my private group on telegram"));
        world.post(3, &PostBody { thread: Some(thread), ..flag(rude) });
        let plan = Plan { parent: None, levers: levers(&["rmsnorm-fusion", "workgroup-size"]) };
        let plan = world.post(0, &with(Detail::Plan(plan), "about to try"));
        let class = super::world::CLASS.to_owned();
        let result = Trial { claim: Some(claims[0]), ratio_ppm: 1_320_000, hardware_class: class };
        world.post(0, &PostBody { refs: vec![plan], ..with(Detail::Result(result), "it pays") });
        let end = DeadEnd { levers: levers(&["softmax-width"]), claim: Some(claims[1]) };
        world.post(1, &with(Detail::DeadEnd(end), "wider is not faster here"));
        world.post(5, &limit(Quantity::RatioToBase, 1_250_000, None));
        world.post(6, &limit(Quantity::RatioToBase, 9_000_000, None));
        let book =
            with(Detail::Playbook(Playbook { revises: None, table: None }), "1. read\n2. measure");
        let book = world.post(2, &PostBody { title: "How to read a roofline".to_owned(), ..book });
        world.post(3, &with(Detail::Endorsement(Endorsement { playbook: book }), "it works"));
        let id = world.relay();
        claims.push(id);
        Self { world, claims, thread }
    }
}

impl World {
    /// A claim that four peers had a part in, and that follows a spec.
    pub(super) fn relay(&mut self) -> ClaimId {
        let (broken, mended) = (BlobHash([0xa1; 32]), BlobHash([0xa2; 32]));
        let foretold = self.foretell(6, &spec(), forecast(1_900_000));
        let scheme = "int4-g32, head int8".to_owned();
        let built = BuiltCheckpoint { manifest: broken, made_from: None, scheme };
        let built = self.post(1, &with(Detail::Checkpoint(built), "a smaller one"));
        let error = "layers.3.mlp: tensor missing".to_owned();
        let tried = Attempt { checkpoint: broken, ran: false, error, built: Some(built) };
        let tried = self.post(2, &with(Detail::Attempt(tried), "does not load"));
        let codes = vec!["CK004".to_owned()];
        let found = Diagnosis { attempt: tried, codes, corrected: Some(mended) };
        let found = self.post(3, &with(Detail::Diagnosis(found), "a name was wrong"));
        self.cites = vec![foretold, found];
        let base = self.state.genesis().challenge.base;
        let recipe = Recipe { checkpoint: mended, ..base };
        let text = "int4 checkpoint of the relay";
        let id = self.docket(4, recipe, None, text, 1_900_000);
        self.cites.clear();
        id
    }
}
