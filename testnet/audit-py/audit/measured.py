"""Charges that a measurement decides: path and physics (LEDGER_RULES.md §9.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .bodies import Divergence, Excess
from .calibration import Calibration, SpeedClass
from .gates import excess
from .hashing import tagged
from .measurement import require
from .model import Purpose, Round
from .spelling import spell

if TYPE_CHECKING:
    from .bodies import Charge
    from .rulings import Ruling
    from .state import State

ROUNDS_MAX = 64
CHALLENGER_STANDING_MIN = 2


def check_challenge(state: State, by: bytes, id: bytes) -> None:
    """Whether a member may doubt an entry."""
    claim = state.claims.get(id)
    if claim is None:
        require(False, "the claim is not on the ledger")
        return
    operator = state.operator(by)
    asked = [r.purpose for r in claim.rounds if r.purpose.kind == "challenge"]
    require(all(state.operator(p.by) != operator for p in asked), "said before")
    require(state.operator(claim.author) != operator, "a challenger of the author's operator")
    require(state.weight(by) > 0, "its challenger is on probation, or was caught lately")
    require(claim.outcome() == "accepted" and claim.debunked is None, "not an accepted entry")
    require(len(claim.rounds) < ROUNDS_MAX, "it was measured as often as a claim can be")
    standing = state.members[by].account.standing()
    require(standing >= CHALLENGER_STANDING_MIN, "the challenger's standing is too low")
    require(claim.open_round() is None, "it is being measured")
    doubts = [r.purpose for _, r in state.open_rounds() if r.purpose.kind == "challenge"]
    undecided = any(state.operator(p.by) == operator for p in doubts)
    require(not undecided, "the author's challenge of another claim is undecided")


def open_challenge(state: State, id: bytes, by: bytes, record: bytes, height: int) -> None:
    """Opens the round of a challenge that was checked."""
    state.open(id, Purpose("challenge", by, record), height)
    state.remember("challenged", id)


def check_path(state: State, by: bytes, charge: Charge) -> bytes:
    """The author of an entry whose path is said to break."""
    seen, genesis = charge.sighting, state.parameters
    if not isinstance(seen, Divergence):
        require(False, "a broken path needs where it was seen")
        return b""
    exists = seen.prompt < genesis.challenge.pool.prompts
    inside = seen.position <= genesis.measurement.decode_tokens
    require(exists and inside, "no measurement has such a prompt or position")
    check_challenge(state, by, charge.subject)
    return state.claims[charge.subject].author


def check_physics(state: State, charge: Charge) -> bytes:
    """The author of an entry that is beyond what its class delivers."""
    seen, claim = charge.sighting, state.claims.get(charge.subject)
    if claim is None or not isinstance(seen, Excess):
        require(False, "the claim is not on the ledger")
        return b""
    require(claim.outcome() == "accepted" and claim.debunked is None, "not an accepted entry")
    require(claim.open_round() is None, "it is being measured")
    require(len(claim.rounds) < ROUNDS_MAX, "it was measured as often as a claim can be")
    require(claim.decided_by == seen.round, "the figures are of another round")
    round = claim.deciding()
    known = state.classes.calibrations.get(claim.hardware_class, Calibration())
    speed_class = SpeedClass(claim.hardware_class, known)
    beyond = round is not None and excess(speed_class, state.evidence(claim, round))
    require(beyond, "the entry is no faster than memory")
    return claim.author


def measure_for(state: State, charge: Charge, by: bytes, flag: bytes, height: int) -> int:
    """Opens the round that a charge leads to, and says its number."""
    id = charge.subject
    if charge.rule == "path":
        open_challenge(state, id, by, flag, height)
    else:
        state.open(id, Purpose("audit"), height)
        state.remember("audit", id)
    return len(state.claims[id].rounds)


def conclude_charge(state: State, round: Round, height: int) -> None:
    """Decides the charge that a challenge makes, if it is a flag."""
    ruling = state.rulings.all.get(round.purpose.record)
    measured = ruling.measured if ruling else None
    if ruling is None or measured is None or measured.decision is not None:
        return
    breaks = round.verdict is not None and any(
        gate.gate == "path" and not gate.pass_ for gate in round.verdict.gates
    )
    measured.round, measured.decided_at = round.number, height
    if round.finding == "debunked" and breaks:
        measured.decision = "upheld"
    else:
        measured.decision = "dismissed" if round.finding == "upheld" else "undecided"
    remember_ruling(state, ruling)


def ruling_hash(ruling: Ruling) -> bytes:
    """Hash of a ruling, over its one JSON spelling."""
    return tagged("assay ruling state v1", spell(ruling))


def remember_ruling(state: State, ruling: Ruling) -> None:
    """Binds what was decided into the history."""
    state.history = tagged("assay history v1", state.history, b"ruling", ruling_hash(ruling))
