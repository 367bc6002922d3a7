//! The genesis file: who starts a network, what it measures and by which numbers.

use crate::ids::{Beacon, BlobHash, ClaimId, NetworkId, PeerId, RecipeId, hash_parts};
use crate::membership::is_name;
use crate::plan::Scope;
use crate::record::Recipe;
use crate::standing::GAIN_PER_EPOCH_LIMIT;
use crate::statistics::binomial_at_least;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most members at a time, those of the genesis included.
pub const MEMBERS_MAX: usize = 64;
/// Fewest validators that tolerate one fault.
pub const VALIDATORS_MIN: usize = 4;

/// Turns that a validator may let pass at least.
const TURNS_MIN: u64 = 8;

/// Everything a network starts from. Its hash is the network's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// A name for people; the id is what counts.
    pub name: String,
    /// Unix time of the start; no block is older.
    pub time_ms: u64,
    /// The first members, all of them validators with equal power.
    pub members: Vec<Member>,
    /// What is measured.
    pub challenge: Challenge,
    /// How committees are drawn and how long they have.
    pub committee: CommitteeRules,
    /// How much a seat measures.
    pub measurement: MeasurementRules,
    /// When a difference counts.
    pub significance: SignificanceRules,
    /// How members come in and what their standing may gain.
    pub membership: MembershipRules,
    /// How the members change these numbers.
    pub voting: VotingRules,
}

/// One founding member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// A name for people.
    pub name: String,
    /// Who runs the peer; one seat per operator on a committee.
    pub operator: String,
    /// Its key.
    pub peer: PeerId,
    /// Its schnorrkel key for verifiable random outputs.
    pub vrf: PeerId,
    /// Standing at the start.
    pub standing: u32,
}

/// Base model, workload and quality bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// A name for people.
    pub name: String,
    /// What everything is compared with in the end.
    pub base: Recipe,
    /// The text that prompts are cut from.
    pub pool: PromptPool,
    /// Largest mean KL(base || recipe) per timed token, in millionths of a nat.
    pub kl_max_micronats: u64,
    /// Smallest share of timed tokens on which recipe and base agree, in millionths.
    pub agreement_min_ppm: u64,
    /// Largest perplexity ratio of recipe to base, in millionths.
    pub perplexity_ratio_max_ppm: u64,
}

/// Prompts are windows of a text, tokenised by the base checkpoint's tokenizer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptPool {
    /// The text, UTF-8.
    pub text: BlobHash,
    /// How many windows it is cut into.
    pub prompts: u32,
    /// Tokens of a window that make the prompt, after the BOS token.
    pub prompt_tokens: u32,
    /// Tokens after them that score perplexity.
    pub scored_tokens: u32,
}

/// How seats are drawn and how long they have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitteeRules {
    /// Seats that measure.
    pub seats: u32,
    /// Peers that step in for silent seats.
    pub reserves: u32,
    /// Reveals that a verdict needs.
    pub quorum: u32,
    /// Seats and quorum of the independent second committee that measures a claim which would lead
    /// its track.
    pub frontier: Quorum,
    /// Most seats of any committee: committees grow up to it where the seats of a hardware class differ
    /// too much for the seats above to find the gain that is planned for.
    pub seats_max: u32,
    /// Time to seal, from the draw. Reserves are called at half of it.
    pub seal_ms: u64,
    /// Time to reveal, from the last seal.
    pub reveal_ms: u64,
    /// Claims measured at once.
    pub measuring_max: u32,
    /// Claims that may wait, measured ones included.
    pub docket_max: u32,
    /// Claims of one operator that may wait, measured ones included.
    pub open_per_operator: u32,
    /// Probability that a claim which becomes an entry causes another entry to be measured again,
    /// in millionths.
    pub audit_ppm: u64,
    /// Null claims that the members make by lot for every claim that becomes an entry, all members
    /// together, in millionths.
    pub null_ppm: u64,
    /// Share of dishonest seats that the forgery figure of an entry assumes, in millionths.
    pub assumed_dishonest_ppm: u64,
}

/// How many measure, and how many of them a verdict needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quorum {
    /// Seats that measure.
    pub seats: u32,
    /// Reveals that a verdict needs.
    pub quorum: u32,
}

impl Quorum {
    /// A committee of more seats whose quorum is no smaller a share of them.
    #[must_use]
    pub fn grown_to(self, seats: u32) -> Self {
        let seats = seats.max(self.seats);
        let product = u64::from(seats).saturating_mul(self.quorum.into());
        let quorum = product.div_ceil(u64::from(self.seats.max(1)));
        Self { seats, quorum: u32::try_from(quorum).unwrap_or(seats) }
    }
}

impl CommitteeRules {
    fn check(&self) -> Result<(), GenesisError> {
        let c = self;
        require((1..=64).contains(&c.seats), "committee.seats", "1 to 64")?;
        require((1..=c.seats).contains(&c.quorum), "committee.quorum", "1 to committee.seats")?;
        require((1..=64).contains(&c.frontier.seats), "committee.frontier.seats", "1 to 64")?;
        require(
            (1..=c.frontier.seats).contains(&c.frontier.quorum),
            "committee.frontier.quorum",
            "1 to committee.frontier.seats",
        )?;
        require(
            (c.seats.max(c.frontier.seats)..=64).contains(&c.seats_max),
            "committee.seats_max",
            "committee.seats and committee.frontier.seats to 64",
        )?;
        require(c.reserves <= 64, "committee.reserves", "at most 64")?;
        require(
            (1_000..=86_400_000).contains(&c.seal_ms)
                && (1_000..=86_400_000).contains(&c.reveal_ms),
            "committee.seal_ms",
            "deadlines must be 1 s to 24 h",
        )?;
        require((1..=64).contains(&c.measuring_max), "committee.measuring_max", "1 to 64")?;
        require((1..=1024).contains(&c.docket_max), "committee.docket_max", "1 to 1024")?;
        require(
            (1..=c.docket_max).contains(&c.open_per_operator),
            "committee.open_per_operator",
            "1 to committee.docket_max",
        )?;
        require(c.audit_ppm <= 1_000_000, "committee.audit_ppm", "at most 1000000")?;
        // Null claims become entries as well: one for each would never end.
        require(c.null_ppm <= 500_000, "committee.null_ppm", "at most half")?;
        require(
            c.assumed_dishonest_ppm <= 500_000,
            "committee.assumed_dishonest_ppm",
            "at most half",
        )
    }

    /// Seats and quorum of a claim's first committee.
    #[must_use]
    pub fn first(&self) -> Quorum {
        Quorum { seats: self.seats, quorum: self.quorum }
    }
}

/// How much a seat measures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasurementRules {
    /// Most pairs a seat, an even number: ABBA blocks hold two. As many are measured on a hardware
    /// class whose noise the ledger does not know yet.
    pub pairs: u32,
    /// Fewest pairs a seat, however quiet the class.
    pub pairs_min: u32,
    /// Tokens decoded per prompt and arm.
    pub decode_tokens: u32,
    /// Positions of the reach probe: half of text, half of random token ids.
    pub reach_tokens: u32,
    /// Tokens of text before them: what the seats check of a long context.
    pub context_tokens: u32,
}

/// When a difference counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignificanceRules {
    /// One-sided error probability of the speed gate, in millionths.
    pub alpha_ppm: u64,
    /// Gain that the lower bound must exceed, in millionths.
    pub eta_ppm: u64,
    /// True gain that nine of ten claims are to be found with, in millionths: pairs are planned for it.
    pub gain_ppm: u64,
    /// Between-seat standard deviation of a log ratio assumed for the class, in millionths.
    pub tau_ppm: u64,
    /// Degrees of freedom that this assumption is worth against the seats' own spread.
    pub tau_df: u32,
}

/// How members come in and what their standing may gain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MembershipRules {
    /// Blocks of an epoch, by which vouches and gains are counted.
    pub epoch_blocks: u64,
    /// Vouches that a member has in an epoch.
    pub vouches_per_epoch: u32,
    /// Standing that vouching needs.
    pub vouch_standing_min: u32,
    /// Measurements in a row that must agree with the verdict before probation ends.
    pub probation_rounds: u32,
    /// Most points of standing that a peer gains in an epoch, at most
    /// [`crate::standing::GAIN_PER_EPOCH_LIMIT`].
    pub gain_per_epoch_max: u32,
    /// Blocks in which a validator proposes none before its place goes to somebody else. The turns
    /// to propose go round, so that this is as many turns times the number of validators.
    pub silent_blocks: u64,
}

/// How members change the numbers above, those of [`crate::parameter::Parameter`]. These two are not among
/// them: whoever is many today does not decide how long others may take to answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VotingRules {
    /// Time in which a proposal is voted on, from the block that ordered it.
    pub window_ms: u64,
    /// Blocks from the one that decides a proposal to the last one under the old value.
    pub delay_blocks: u64,
}

impl VotingRules {
    fn check(&self) -> Result<(), GenesisError> {
        let window = (1_000..=2_592_000_000).contains(&self.window_ms);
        require(window, "voting.window_ms", "1 s to 30 days")?;
        let delay = (1..=100).contains(&self.delay_blocks);
        require(delay, "voting.delay_blocks", "1 to 100")
    }
}

/// Why a genesis cannot start a network.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// A number or list that no network can work with.
    #[error("genesis field {field}: {reason}")]
    Field {
        /// The field's path.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}

fn require(holds: bool, field: &'static str, reason: &'static str) -> Result<(), GenesisError> {
    match holds {
        true => Ok(()),
        false => Err(GenesisError::Field { field, reason }),
    }
}

impl MembershipRules {
    fn check(&self, founders: usize) -> Result<(), GenesisError> {
        let blocks = (1..=1_000_000).contains(&self.epoch_blocks);
        require(blocks, "membership.epoch_blocks", "1 to 1000000")?;
        require(self.vouches_per_epoch <= 16, "membership.vouches_per_epoch", "at most 16")?;
        let standing = (1..=1_000_000).contains(&self.vouch_standing_min);
        require(standing, "membership.vouch_standing_min", "1 to 1000000")?;
        let rounds = (1..=1_000).contains(&self.probation_rounds);
        require(rounds, "membership.probation_rounds", "1 to 1000")?;
        let gains = (1..=GAIN_PER_EPOCH_LIMIT).contains(&self.gain_per_epoch_max);
        require(gains, "membership.gain_per_epoch_max", "1 to 4")?;
        // A turn is missed now and then by a proposer that has not heard yet what there is to order.
        let turns = TURNS_MIN * founders as u64;
        let silent = (turns..=1_000_000).contains(&self.silent_blocks);
        require(silent, "membership.silent_blocks", "8 times the members to 1000000")
    }
}

impl Genesis {
    fn check_members(&self) -> Result<(), GenesisError> {
        let members = self.members.len();
        require(
            (VALIDATORS_MIN..=MEMBERS_MAX).contains(&members),
            "members",
            "needs 4 to 64 members",
        )?;
        let peers: BTreeSet<_> = self.members.iter().map(|m| m.peer).collect();
        require(peers.len() == members, "members", "the same peer twice")?;
        let names: BTreeSet<_> = self.members.iter().map(|m| &m.name).collect();
        require(names.len() == members, "members.name", "the same name twice")?;
        let named = self.members.iter().all(|m| is_name(&m.name) && is_name(&m.operator));
        require(
            named,
            "members.name",
            "names and operators: 1 to 64 bytes, no control characters",
        )?;
        let standing = self.members.iter().all(|m| (1..=1_000_000).contains(&m.standing));
        require(standing, "members.standing", "must be 1 to 1000000")
    }

    /// Checks that the numbers make a working network.
    ///
    /// # Errors
    ///
    /// [`GenesisError::Field`] for the first that does not.
    pub fn check(&self) -> Result<(), GenesisError> {
        self.check_members()?;
        let pool = &self.challenge.pool;
        let prompts_needed = u64::from(self.measurement.pairs) + 1;
        require(
            u64::from(pool.prompts) >= prompts_needed,
            "challenge.pool.prompts",
            "must exceed measurement.pairs",
        )?;
        require(
            (1..=4096).contains(&pool.prompt_tokens),
            "challenge.pool.prompt_tokens",
            "1 to 4096",
        )?;
        require(
            (1..=4096).contains(&pool.scored_tokens),
            "challenge.pool.scored_tokens",
            "1 to 4096",
        )?;
        let m = &self.measurement;
        require(
            (2..=64).contains(&m.pairs) && m.pairs.is_multiple_of(2),
            "measurement.pairs",
            "even, 2 to 64",
        )?;
        require(
            (2..=m.pairs).contains(&m.pairs_min) && m.pairs_min.is_multiple_of(2),
            "measurement.pairs_min",
            "even, 2 to measurement.pairs",
        )?;
        require((2..=4096).contains(&m.decode_tokens), "measurement.decode_tokens", "2 to 4096")?;
        require((1..=1024).contains(&m.reach_tokens), "measurement.reach_tokens", "1 to 1024")?;
        require(
            (1..=65_536).contains(&m.context_tokens),
            "measurement.context_tokens",
            "1 to 65536",
        )?;
        self.committee.check()?;
        let s = &self.significance;
        require((1..=500_000).contains(&s.alpha_ppm), "significance.alpha_ppm", "1 to 500000")?;
        require(s.eta_ppm <= 1_000_000, "significance.eta_ppm", "at most 1000000")?;
        require(
            (s.eta_ppm..=1_000_000).contains(&s.gain_ppm) && s.gain_ppm > 0,
            "significance.gain_ppm",
            "significance.eta_ppm to 1000000",
        )?;
        require((1..=1_000_000).contains(&s.tau_ppm), "significance.tau_ppm", "1 to 1000000")?;
        require((1..=1000).contains(&s.tau_df), "significance.tau_df", "1 to 1000")?;
        require(
            self.agreement_can_pass(),
            "challenge.agreement_min_ppm",
            "the tokens of the smallest quorum cannot show this much agreement at significance.alpha_ppm; \
             lower it or measure more pairs or tokens",
        )?;
        require(
            self.ranks_can_pass(),
            "measurement.pairs_min",
            "the signed ranks of so few pairs cannot be significant at significance.alpha_ppm; measure \
             more pairs or raise the quorum",
        )?;
        self.membership.check(self.members.len())?;
        self.voting.check()
    }

    /// The fewest pairs that a verdict can rest on.
    fn pairs_of_smallest_quorum(&self) -> u32 {
        let quorum = self.committee.quorum.min(self.committee.frontier.quorum);
        quorum.saturating_mul(self.measurement.pairs_min)
    }

    /// Whether a quorum whose every token agrees with the base passes the exact test on agreement.
    #[allow(clippy::cast_precision_loss)]
    fn agreement_can_pass(&self) -> bool {
        let pairs = self.pairs_of_smallest_quorum();
        let tokens = pairs.saturating_mul(self.measurement.decode_tokens);
        let least = self.challenge.agreement_min_ppm as f64 / 1e6;
        let alpha = self.significance.alpha_ppm as f64 / 1e6;
        binomial_at_least(tokens, tokens, least) <= alpha
    }

    /// Whether the signed-rank test passes where every pair shows a gain.
    #[allow(clippy::cast_precision_loss)]
    fn ranks_can_pass(&self) -> bool {
        // The exact test gives so many pairs of one sign the probability 2⁻ⁿ, and beyond a thousand
        // nothing that a double holds.
        let pairs = f64::from(self.pairs_of_smallest_quorum().min(1_000));
        libm::exp2(-pairs) <= self.significance.alpha_ppm as f64 / 1e6
    }

    /// How much a seat has to look at that drew these prompts.
    #[must_use]
    pub fn scope<'a>(&self, prompts: &'a [u32]) -> Scope<'a> {
        Scope {
            prompts,
            decode_tokens: self.measurement.decode_tokens,
            scored_tokens: self.challenge.pool.scored_tokens,
            reach_tokens: self.measurement.reach_tokens,
        }
    }

    /// The network's id: the hash of this genesis in its one JSON spelling.
    #[must_use]
    pub fn network(&self) -> NetworkId {
        // Serialising plain structs with string keys cannot fail; an empty text would merely name
        // a network that nobody shares.
        let text = serde_json::to_vec(self).unwrap_or_default();
        NetworkId(hash_parts("assay network id v1", &[&text]))
    }

    /// The beacon before the first block.
    #[must_use]
    pub fn first_beacon(&self) -> Beacon {
        Beacon(hash_parts("assay first beacon v1", &[&self.network().0]))
    }

    /// The id that stands for the base recipe at the root of every lineage.
    #[must_use]
    pub fn base_claim(&self) -> ClaimId {
        let RecipeId(recipe) = self.challenge.base.id();
        ClaimId(hash_parts("assay base claim v1", &[&self.network().0, &recipe]))
    }
}
