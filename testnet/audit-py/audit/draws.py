"""Whose round is measured next, and by whom (LEDGER.md §8.3, §8.6)."""

from __future__ import annotations

from dataclasses import dataclass

from .hashing import Draw, round_bytes
from .model import ClaimState, Committee, Phase, Round, Shadow
from .spelling import Map
from .state import State

SHADOWS_MAX = 2


@dataclass(frozen=True)
class Candidate:
    """Someone who may be drawn for a seat."""

    peer: bytes
    operator: str
    weight: int
    tier: int


def draw_committee(
    beacon: bytes, round: bytes, candidates: list[Candidate], seats: int, reserves: int
) -> Committee:
    """Draws seats and reserves: by weight, one peer per operator, tier by tier."""
    draw = Draw("assay committee draw v2", beacon, round)
    left, drawn = list(candidates), list[bytes]()
    while len(drawn) < seats + reserves and left:
        tier = min(candidate.tier for candidate in left)
        eligible = [candidate for candidate in left if candidate.tier == tier]
        ticket = draw.below(sum(candidate.weight for candidate in eligible))
        for chosen in eligible:
            if ticket < chosen.weight:
                break
            ticket -= chosen.weight
        drawn.append(chosen.peer)
        left = [candidate for candidate in left if candidate.operator != chosen.operator]
    return Committee(drawn[:seats], drawn[seats:])


def _candidates(state: State, claim: ClaimState, excluded: list[bytes]) -> list[Candidate]:
    out = {state.operator(peer) for peer in excluded}
    seated = (peer for round in claim.rounds for peer in round.active_seats())
    before = {state.operator(peer) for peer in seated}
    return [
        Candidate(
            peer,
            member.operator,
            state.weight(peer),
            int(member.operator in before) + 2 * (not state.may_time(peer, claim.hardware_class)),
        )
        for peer, member in state.members.rising()
        if member.operator not in out and state.weight(peer) > 0
    ]


def _draw_shadows(state: State, claim: ClaimState, round: Round) -> Map[bytes, Shadow]:
    if round.number != 1 or round.beacon is None:
        return Map()
    drawn = round.committee.seats + round.committee.reserves + [claim.author]
    near = {state.operator(peer) for peer in drawn}
    candidates = [
        Candidate(peer, member.operator, 1, 0)
        for peer, member in state.members.rising()
        if member.status == "probation" and member.operator not in near
    ]
    name = round_bytes(claim.id, round.number)
    committee = draw_committee(round.beacon, name, candidates, SHADOWS_MAX, 0)
    return Map((peer, Shadow()) for peer in committee.seats)


def payer(state: State, claim: ClaimState, round: Round) -> str | None:
    """Whose share of the committees' time a round is taken from."""
    if round.purpose.kind == "audit":
        return None
    challenged = round.purpose.kind == "challenge"
    return state.operator(round.purpose.by if challenged else claim.author)


def _next_waiting(state: State) -> tuple[ClaimState, Round] | None:
    running = [payer(state, c, r) for c, r in state.open_rounds() if r.is_measured()]
    ready = [
        (claim, round)
        for claim, round in state.open_rounds()
        if not round.is_measured() and round.beacon is not None
    ]
    payers = [payer(state, claim, round) for claim, round in ready]
    waiting = [(who, 0 if who is None else running.count(who)) for who in payers]
    index = state.shares.next(waiting)
    return None if index is None else ready[index]


def fill_places(state: State, time_ms: int) -> None:
    """Draws committees for waiting rounds while there are free places."""
    rules = state.genesis.committee
    while sum(r.is_measured() for _, r in state.open_rounds()) < rules.measuring_max:
        found = _next_waiting(state)
        if found is None or found[1].beacon is None:
            return
        claim, round = found
        excluded = [claim.author]
        if round.purpose.kind == "challenge":
            excluded.append(round.purpose.by)
        candidates = _candidates(state, claim, excluded)
        operators = {candidate.operator for candidate in candidates}
        smallest = state.smallest(claim, round.purpose)
        most = max(smallest.seats, min(rules.seats_max, len(operators)))
        calibration = state.classes.calibrations.get(claim.hardware_class, round.calibration)
        effort = calibration.effort(state.genesis, smallest, most)
        name = round_bytes(claim.id, round.number)
        seats = effort.size.seats
        committee = draw_committee(found[1].beacon, name, candidates, seats, rules.reserves)
        state.shares.started(payer(state, claim, round))
        round.committee, round.size, round.pairs = committee, effort.size, effort.pairs
        round.calibration, round.drawn_at_ms = calibration, time_ms
        round.phase = Phase("sealing", time_ms + rules.seal_ms, time_ms + rules.seal_ms // 2)
        round.shadows = _draw_shadows(state, claim, round)
