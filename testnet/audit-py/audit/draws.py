"""Whose round is measured next, and by whom (LEDGER_RULES.md §8.3, §8.6)."""

from __future__ import annotations

from .hashing import round_bytes
from .model import Candidate, ClaimState, Phase, Round, Shadow
from .seats import draw_committee
from .spelling import Map
from .state import State

SHADOWS_MAX = 2


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


def _newcomers(state: State, claim: ClaimState, round: Round) -> list[Candidate]:
    author = state.operator(claim.author)
    return [
        Candidate(peer, member.operator, 1, 0)
        for peer, member in state.members.rising()
        if round.number == 1 and member.status == "probation" and member.operator != author
    ]


def _draw_shadows(round: Round, beacon: bytes, name: bytes) -> Map[bytes, Shadow]:
    drawn = round.committee.seats + round.committee.reserves
    near = {candidate.operator for candidate in round.candidates if candidate.peer in drawn}
    far = [candidate for candidate in round.newcomers if candidate.operator not in near]
    committee = draw_committee(beacon, name, far, SHADOWS_MAX, 0)
    return Map((peer, Shadow()) for peer in committee.seats)


def payer(state: State, claim: ClaimState, round: Round) -> str | None:
    """Whose share of the committees' time a round is taken from."""
    if round.purpose.kind == "audit":
        return None
    challenged = round.purpose.kind == "challenge"
    return state.operator(round.purpose.by if challenged else claim.author)


def _next_waiting(state: State) -> tuple[ClaimState, Round] | None:
    running = [payer(state, c, r) for c, r in state.open_rounds() if r.called_at is not None]
    ready = [(claim, round) for claim, round in state.open_rounds() if round.called_at is None]
    payers = [payer(state, claim, round) for claim, round in ready]
    waiting = [(who, 0 if who is None else running.count(who)) for who in payers]
    index = state.shares.next(waiting)
    return None if index is None else ready[index]


def fill_places(state: State, height: int, time_ms: int) -> None:
    """Calls waiting rounds while there are free places, and draws those whose beacon is known."""
    places = state.parameters.committee.measuring_max
    while sum(r.called_at is not None for _, r in state.open_rounds()) < places:
        found = _next_waiting(state)
        if found is None:
            break
        _call(state, *found, height)
    for claim, round in list(state.open_rounds()):
        if round.phase.name == "docketed" and round.called_at is not None and round.beacon:
            _seat(state, claim, round, round.beacon, time_ms)


def _call(state: State, claim: ClaimState, round: Round, height: int) -> None:
    """Fixes what a round is drawn from, when its turn has come."""
    challenged = round.purpose.kind == "challenge"
    excluded = [claim.author, round.purpose.by] if challenged else [claim.author]
    candidates = _candidates(state, claim, excluded)
    hardware_class = claim.hardware_class
    operators = {c.operator for c in candidates if state.may_time(c.peer, hardware_class)}
    smallest = state.smallest(claim, round.purpose)
    most = max(smallest.seats, min(state.parameters.committee.seats_max, len(operators)))
    calibration = state.classes.calibrations.get(hardware_class, round.calibration)
    effort = calibration.effort(state.parameters, smallest, most)
    state.shares.started(payer(state, claim, round))
    round.called_at, round.candidates = height, candidates
    round.newcomers = _newcomers(state, claim, round)
    round.size, round.pairs, round.calibration = effort.size, effort.pairs, calibration


def _seat(state: State, claim: ClaimState, round: Round, beacon: bytes, time_ms: int) -> None:
    """Draws a called round's committee, which begins to measure."""
    rules, name = state.parameters_of(round).committee, round_bytes(claim.id, round.number)
    seats = state.size(claim, round).seats
    round.committee = draw_committee(beacon, name, round.candidates, seats, rules.reserves)
    round.shadows = _draw_shadows(round, beacon, name)
    round.candidates, round.newcomers, round.drawn_at_ms = [], [], time_ms
    round.phase = Phase("sealing", time_ms + rules.seal_ms, time_ms + rules.seal_ms // 2)
