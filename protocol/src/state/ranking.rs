//! Which entries lead their tracks, and which claims must be measured again before they may.

use super::{ClaimState, Purpose, Round, State};
use crate::frontier::{Point, Track, advances, front, product_ppm};
use crate::ids::ClaimId;
use crate::verdict::{Outcome, Verdict};

/// Frontier rounds that a claim gets before its number stays unconfirmed.
pub const FRONTIER_ROUNDS_MAX: usize = 2;

impl State {
    /// Speed over the base recipe's: the product of the ledger's ratios along the lineage, in
    /// millionths, rounded down at every step. `None` for what is no accepted entry, and beyond 64
    /// bits.
    #[must_use]
    pub fn ratio_to_base_ppm(&self, id: ClaimId) -> Option<u64> {
        if id == self.base_claim {
            return Some(Point::BASE.ratio_ppm);
        }
        match self.claims.put_away_brief(id) {
            Some(brief) => brief.ratio_to_base_ppm,
            None => self.claim(id).and_then(|claim| claim.ratio_to_base_ppm),
        }
    }

    /// The track in which a claim with this verdict competes. A recipe is lossless in its track
    /// only if it decodes the base's own checkpoint: an exact decode of another one is not what
    /// the base recipe emits.
    #[must_use]
    pub fn track(&self, claim: &ClaimState, verdict: &Verdict) -> Track {
        let base = self.genesis.challenge.base.checkpoint;
        match verdict.lossless && claim.recipe.checkpoint == base {
            true => Track::Lossless,
            false => Track::Lossy,
        }
    }

    /// Where a verdict puts a claim; `None` when a figure is missing.
    pub(super) fn point(&self, claim: &ClaimState, verdict: &Verdict) -> Option<(Track, Point)> {
        let parent_ppm = self.ratio_to_base_ppm(claim.parent)?;
        let ratio_ppm = product_ppm(parent_ppm, verdict.ratio?.ppm)?;
        let track = self.track(claim, verdict);
        let point = match track {
            Track::Lossless => Point::lossless(ratio_ppm),
            Track::Lossy => Point {
                ratio_ppm,
                perplexity_ppm: verdict.perplexity_ratio_ppm?,
                kl_micronats: verdict.kl_micronats?,
            },
        };
        Some((track, point))
    }

    /// An entry's place in its track; `None` for what was not accepted.
    #[must_use]
    pub fn standing_of(&self, claim: &ClaimState) -> Option<(Track, Point)> {
        let verdict = claim.verdict()?;
        (verdict.outcome == Outcome::Accepted).then(|| self.point(claim, verdict)).flatten()
    }

    /// The entries that lead a track of a hardware class, in the order in which they got there: the
    /// published best of the lossless track, the Pareto front of the lossy one. Only numbers that an independent
    /// committee confirmed, and that nobody refuted since, can lead.
    #[must_use]
    pub fn frontier(&self, track: Track, class: &str) -> Vec<(ClaimId, Point)> {
        let confirmed = self.confirmed.iter().filter_map(|place| self.entries.get(*place));
        let briefs = confirmed.filter_map(|id| self.brief(*id).map(|brief| (*id, brief)));
        let entries = briefs.filter(|(_, brief)| brief.class == class && brief.stands);
        let points = entries.filter_map(|(id, brief)| match brief.standing {
            Some((found, point)) if found == track => Some((id, point)),
            _ => None,
        });
        front(points, self.parameters().significance.eta_ppm)
    }

    /// Whether an entry leads a track of its hardware class.
    #[must_use]
    pub fn leads(&self, id: ClaimId, track: Track) -> bool {
        let class = self.claim(id).map(|claim| claim.hardware_class.as_str());
        class.is_some_and(|class| self.frontier(track, class).iter().any(|(other, _)| *other == id))
    }

    /// Whether an accepting verdict would make the claim lead its track.
    pub(super) fn would_lead(&self, claim: &ClaimState, verdict: &Verdict) -> bool {
        if claim.descends_from_debunked.is_some() {
            return false;
        }
        let point = self.point(claim, verdict);
        point.is_some_and(|(track, point)| self.advances(track, &claim.hardware_class, &point))
    }

    /// Whether a point advances the front of a track of a hardware class.
    fn advances(&self, track: Track, class: &str, point: &Point) -> bool {
        let front = self.frontier(track, class);
        let members = front.iter().map(|(_, member)| member);
        advances(members, point, self.parameters().significance.eta_ppm)
    }

    /// An entry's place among the entries of its track and class that stand: 1 and the number of those that
    /// are faster by more than η, so that ties share a rank. For lossy entries speed alone says
    /// little; see [`State::frontier`].
    #[must_use]
    pub fn rank(&self, claim: &ClaimState) -> Option<usize> {
        let (track, point) = self.standing_of(claim).filter(|_| claim.stands())?;
        let eta_ppm = self.parameters().significance.eta_ppm;
        let own = Point::lossless(point.ratio_ppm);
        let standing = self
            .entries()
            .filter(|other| other.hardware_class == claim.hardware_class && other.stands());
        let faster = standing.filter(|other| match self.standing_of(other) {
            Some((found, other)) if found == track => {
                !own.holds_off(&Point::lossless(other.ratio_ppm), eta_ppm)
            }
            _ => false,
        });
        Some(faster.count() + 1)
    }

    /// How many seats whose measurements a round's verdict rests on had attested an earlier round
    /// of the same claim: none where the committees were independent.
    #[must_use]
    pub fn sat_before(&self, claim: &ClaimState, number: u32) -> usize {
        let Some(round) = claim.round(number) else { return 0 };
        let before = |peer| {
            let earlier = claim.rounds.iter().filter(|earlier| earlier.number < number);
            earlier.flat_map(|earlier| earlier.reveals.keys()).any(|seat| *seat == peer)
        };
        round.reveals.keys().filter(|peer| before(**peer)).count()
    }

    /// After a leader fell, or the committee of one that should follow it confirmed nothing, the best of
    /// those whose number nobody confirmed because it did not lead is measured again, so that the track
    /// does not stay empty.
    pub(super) fn confirm_runner_up(&mut self, height: u64) {
        let runners_up = self.entry_briefs().filter(|(_, brief)| {
            let place = brief.standing.filter(|_| brief.may_run_up);
            place.is_some_and(|(track, point)| self.advances(track, brief.class, &point))
        });
        let best = runners_up.max_by_key(|(_, brief)| brief.ratio_to_base_ppm);
        if let Some(id) = best.map(|(id, _)| id) {
            self.open_round_of(id, Purpose::Frontier, height);
            self.remember("runner-up", id);
        }
    }

    /// Whether a second committee may still confirm an entry.
    pub(super) fn may_be_confirmed(claim: &ClaimState) -> bool {
        !claim.is_confirmed() && Self::frontier_rounds(claim) < FRONTIER_ROUNDS_MAX
    }

    /// Remembers that an entry's number is an independent committee's, if it is: few are, and the front is
    /// made of these.
    pub(super) fn note_confirmed(&mut self, id: ClaimId) {
        if self.claim(id).is_some_and(ClaimState::is_confirmed) {
            self.confirmed.extend(self.entries.iter().rposition(|entry| *entry == id));
        }
    }

    /// Takes an entry's number from a confirming round, and what is built on it along.
    pub(super) fn promote(&mut self, id: ClaimId, number: u32) {
        if let Some(claim) = self.claims.get_mut(id) {
            claim.decided_by = Some(number);
        }
        self.note_confirmed(id);
        for id in self.with_descendants(id) {
            let ratio = self.claim(id).and_then(|claim| self.standing_of(claim));
            let ratio_ppm = ratio.map(|(_, point)| point.ratio_ppm);
            if self.claim(id).is_some_and(|claim| claim.ratio_to_base_ppm != ratio_ppm)
                && let Some(claim) = self.claims.get_mut(id)
            {
                claim.ratio_to_base_ppm = ratio_ppm;
            }
            self.put_away();
        }
    }

    /// Frontier rounds that a claim has had, but for contested ones, which are measured again by
    /// themselves: otherwise one seat that contests would use up the claim's tries.
    pub(super) fn frontier_rounds(claim: &ClaimState) -> usize {
        let counts = |round: &&Round| {
            round.purpose == Purpose::Frontier && round.outcome() != Some(Outcome::Contested)
        };
        claim.rounds.iter().filter(counts).count()
    }
}
