"""Points, tracks and fronts (LEDGER_RULES.md §8.7)."""

from __future__ import annotations

from dataclasses import dataclass

from .model import ClaimState
from .numbers import M64
from .state import State
from .verdict import Verdict

_ONE = 1_000_000


@dataclass(frozen=True)
class Point:
    """Where an entry stands in its track, relative to the base recipe."""

    ratio: int
    perplexity: int = _ONE
    kl: int = 0

    def _as_good_as(self, other: Point) -> bool:
        return self.perplexity <= other.perplexity and self.kl <= other.kl

    def dominates(self, other: Point) -> bool:
        """Whether nothing speaks for the other."""
        return self != other and self.ratio >= other.ratio and self._as_good_as(other)

    def holds_off(self, other: Point, eta_ppm: int) -> bool:
        """Whether the other is of no better quality and not faster by more than η."""
        return self.ratio * (_ONE + eta_ppm) >= other.ratio * _ONE and self._as_good_as(other)


def point(state: State, claim: ClaimState, verdict: Verdict) -> tuple[str, Point] | None:
    """Track and place of a verdict; `None` when a figure is missing."""
    if claim.parent == state.base_claim:
        parent: int | None = _ONE
    else:
        known = state.claims.get(claim.parent)
        parent = known.ratio_to_base_ppm if known else None
    if parent is None or verdict.ratio is None:
        return None
    ratio = parent * verdict.ratio.ppm // _ONE
    if ratio > M64:
        return None
    if verdict.lossless and claim.recipe.checkpoint == state.genesis.challenge.base.checkpoint:
        return "lossless", Point(ratio)
    if verdict.perplexity_ratio_ppm is None or verdict.kl_micronats is None:
        return None
    return "lossy", Point(ratio, verdict.perplexity_ratio_ppm, verdict.kl_micronats)


def place_of(state: State, claim: ClaimState) -> tuple[str, Point] | None:
    """An entry's place; `None` for what was not accepted."""
    verdict = claim.verdict()
    if verdict is None or verdict.outcome != "accepted":
        return None
    return point(state, claim, verdict)


def _advances(front: list[Point], candidate: Point, eta_ppm: int) -> bool:
    return not any(member.holds_off(candidate, eta_ppm) for member in [Point(_ONE), *front])


def front(state: State, track: str, hardware_class: str) -> list[Point]:
    """The points that lead a track of a class."""
    eta_ppm = state.parameters.significance.eta_ppm
    members: list[Point] = []
    for claim in state.entered():
        if claim.hardware_class != hardware_class or not claim.is_confirmed():
            continue
        place = place_of(state, claim) if claim.stands() else None
        if place is not None and place[0] == track and _advances(members, place[1], eta_ppm):
            members = [m for m in members if not place[1].dominates(m)] + [place[1]]
    return members


def would_lead(state: State, claim: ClaimState, verdict: Verdict) -> bool:
    """Whether an accepting verdict would make the claim lead its track."""
    place = None if claim.descends_from_debunked else point(state, claim, verdict)
    if place is None:
        return False
    leaders = front(state, place[0], claim.hardware_class)
    return _advances(leaders, place[1], state.parameters.significance.eta_ppm)


def set_ratio(state: State, claim: ClaimState) -> None:
    """Computes an entry's speed over the base recipe's."""
    place = place_of(state, claim)
    claim.ratio_to_base_ppm = place[1].ratio if place else None


def promote(state: State, claim: ClaimState, number: int) -> None:
    """Takes an entry's number from a confirming round, and what is built on it along."""
    claim.decided_by = number
    for entry in sorted(state.entered(), key=lambda entry: (entry.docketed_at, entry.id)):
        set_ratio(state, entry)
