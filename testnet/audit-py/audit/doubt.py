"""Challenges, findings, traps and the audit lot (LEDGER_RULES.md §9)."""

from __future__ import annotations

from .bodies import Challenge, Record
from .hashing import Draw
from .measured import ROUNDS_MAX, check_challenge, conclude_charge, open_challenge
from .model import ClaimState, Debunked, Purpose, Round
from .ranking import would_lead
from .state import State
from .verdict import Verdict, caught

FRONTIER_ROUNDS_MAX = 2


def apply_challenge(state: State, record: Record, challenge: Challenge, height: int) -> None:
    """A member doubts an entry."""
    check_challenge(state, record.author, challenge.claim)
    open_challenge(state, challenge.claim, record.author, record.id, height)


def finding(claim: ClaimState, verdict: Verdict) -> str:
    """What a later round says about an entry."""
    if not verdict.has_speed():
        return "undecided"
    entry = claim.verdict()
    if entry is None or entry.ratio is None or verdict.ratio is None:
        slower = True
    else:
        slower = verdict.ratio.high_ppm < entry.ratio.low_ppm
    return "debunked" if slower or _is_another_recipe(claim, verdict) else "upheld"


def _is_another_recipe(claim: ClaimState, verdict: Verdict) -> bool:
    """Whether the recipe is not what it was accepted for, whatever its speed."""
    entry = claim.verdict()
    lost_identity = entry is not None and entry.lossless and not verdict.lossless
    return verdict.failed("speed", "identity") or lost_identity


def conclude(state: State, claim: ClaimState, round: Round, height: int) -> None:
    """Carries out what a challenge or an audit found."""
    if round.verdict is None:
        return
    round.finding = finding(claim, round.verdict)
    if round.finding == "debunked":
        doubted_at = (claim.contested_right_before(round) or round).opened_at
        told = any(
            d.claim == claim.id and d.by == claim.author and d.height < doubted_at
            for d in state.disclosures.values()
        )
        if not told and _is_another_recipe(claim, round.verdict):
            state.book(claim.author, "debunked", (state.height, claim.id, round.number))
        _debunk(state, claim, round.number, height)
    elif round.finding == "upheld" and round.purpose.kind == "challenge":
        occasion = (state.height, claim.id, round.number)
        state.book(round.purpose.by, "failed_challenge", occasion)
    if round.purpose.kind == "challenge":
        conclude_charge(state, round, height)
    _confirm_runner_up(state, height)


def _debunk(state: State, claim: ClaimState, number: int, height: int) -> None:
    claim.debunked = Debunked(height, number)
    marked = {claim.id}
    for other in sorted(state.claims.values(), key=lambda c: (c.docketed_at, c.id)):
        if other.parent in marked:
            marked.add(other.id)
            other.descends_from_debunked = other.descends_from_debunked or claim.id


def _confirm_runner_up(state: State, height: int) -> None:
    best: ClaimState | None = None
    for entry in state.entered():
        verdict = entry.verdict()
        runs = (
            entry.stands()
            and not entry.is_confirmed()
            and entry.open_round() is None
            and len(entry.rounds) < ROUNDS_MAX
            and entry.frontier_rounds() < FRONTIER_ROUNDS_MAX
            and verdict is not None
            and would_lead(state, entry, verdict)
        )
        # Of equals the last.
        if runs and (best is None or _ratio(entry) >= _ratio(best)):
            best = entry
    if best is not None:
        state.open(best.id, Purpose("frontier"), height)
        state.remember("runner-up", best.id)


def _ratio(entry: ClaimState) -> int:
    return -1 if entry.ratio_to_base_ppm is None else entry.ratio_to_base_ppm


def spring_trap(state: State, claim: ClaimState) -> None:
    """Notes in every round of an opened null claim which seats are caught."""
    for round in claim.rounds:
        round.caught = _caught(state, claim, round)
        for seat in round.caught:
            state.book(seat, "null_trap", (state.height, claim.id, round.number))


def _caught(state: State, claim: ClaimState, round: Round) -> list[bytes]:
    verdict = round.verdict
    if verdict is None or not verdict.has_speed():
        return []
    if not any(gate.gate == "speed" and not gate.pass_ for gate in verdict.gates):
        return []
    parent = state.recipe(claim.parent)
    if (parent.checkpoint, parent.drafter) != (claim.recipe.checkpoint, claim.recipe.drafter):
        return []
    return caught(
        state.parameters_of(round), claim.speed_class(round), state.evidence(claim, round)
    )


def draw_audit(state: State, entered: bytes, height: int) -> None:
    """After a claim became an entry, the beacon now and then picks an older one."""
    rules = state.parameters.committee
    if len(list(state.open_rounds())) >= rules.measuring_max:
        return
    draw = Draw("assay audit lot v1", state.beacon, entered)
    if draw.below(1_000_000) >= rules.audit_ppm:
        return
    candidates = [
        claim.id
        for claim in state.entered()
        if claim.id != entered
        and claim.stands()
        and claim.open_round() is None
        and len(claim.rounds) < ROUNDS_MAX
    ]
    ticket = draw.below(len(candidates))
    if candidates:
        state.open(candidates[ticket], Purpose("audit"), height)
        state.remember("audit", candidates[ticket])
