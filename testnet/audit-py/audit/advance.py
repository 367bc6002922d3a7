"""What time and randomness change at the end of every block (LEDGER_RULES.md §8)."""

from __future__ import annotations

from dataclasses import replace

from . import doubt, gates
from .draws import fill_places, payer
from .evidence import Evidence
from .genesis import Quorum
from .membership import lapse_vouches
from .model import ClaimState, Phase, Purpose, Round
from .numbers import M64
from .posts import credit_cited
from .proposals import advance_proposals
from .ranking import promote, set_ratio, would_lead
from .rulings import advance_rulings
from .state import State
from .verdict import Middle, Verdict, broken_gate, decide, dissenters

BEACON_DELAY = 2
PENDING_ROUNDS_MAX = 3


def is_due(state: State, time_ms: int) -> bool:
    """Whether the ledger needs a block although nobody says anything."""
    for _, round in state.open_rounds():
        if round.called_at is not None and round.beacon is None:
            return True
        if round.is_measured() and time_ms >= round.phase.until_ms:
            return True
        calls = round.reserves_called == 0 and bool(round.committee.reserves)
        if round.phase.name == "sealing" and calls and time_ms >= round.phase.reserves_at_ms:
            return True
    return state.rulings.is_due(time_ms) or state.proposals.is_due(time_ms)


def advance(state: State, height: int, time_ms: int) -> None:
    """Moves every open round on to the block at this height and time, whose beacon is set."""
    state.settled = []
    lapse_vouches(state, height)
    for id in list(state.docket):
        claim = state.claims[id]
        round = claim.open_round()
        if round is not None:
            _move(state, claim, round, height, time_ms)
    _resume_pending(state, height)
    state.docket = [id for id in state.docket if state.claims[id].open_round() is not None]
    for id, _ in list(state.settled):
        if state.claims[id].settled_at == height:
            doubt.draw_audit(state, id, height)
    fill_places(state, height, time_ms)
    advance_rulings(state, height, time_ms)
    advance_proposals(state, height, time_ms)


def _move(state: State, claim: ClaimState, round: Round, height: int, time_ms: int) -> None:
    called = round.called_at
    if round.beacon is None and called is not None and height >= called + BEACON_DELAY:
        round.beacon = state.beacon
    overdue = round.is_measured() and time_ms >= round.phase.until_ms
    if round.phase.name == "revealing" and (overdue or round.all_revealed()):
        _settle(state, claim, round, height, time_ms)
    elif round.phase.name == "sealing":
        sealed, seats = len(round.seals), len(round.committee.seats)
        if sealed >= seats or (overdue and sealed >= state.size(claim, round).quorum):
            until_ms = time_ms + state.parameters_of(round).committee.reveal_ms
            round.phase = Phase("revealing", until_ms)
        elif overdue:
            _settle(state, claim, round, height, time_ms)
        elif time_ms >= round.phase.reserves_at_ms and round.reserves_called == 0:
            round.reserves_called = min(seats - sealed, len(round.committee.reserves))


def _settle(state: State, claim: ClaimState, round: Round, height: int, time_ms: int) -> None:
    round.verdict = _verdict(state, claim, round)
    round.settled_at, round.phase = height, Phase("settled")
    state.settled.append((claim.id, round.number))
    _learn_classes(state, claim, round)
    if round.drawn_at_ms is not None:
        spent = (time_ms - round.drawn_at_ms) * len(round.committee.seats)
        state.shares.ended(payer(state, claim, round), spent)
    _account_for_seats(state, claim, round)
    _account_for_dissent(state, claim, round)
    _account_for_shadows(state, claim, round)
    _next_step(state, claim, round, height)
    state.remember("settled", claim.id)


def _refutes(claim: ClaimState, verdict: Verdict) -> bool:
    if claim.is_entry():
        return doubt.finding(claim, verdict) == "debunked"
    return verdict.outcome == "refuted"


def _verdict(state: State, claim: ClaimState, round: Round) -> Verdict:
    """Decides, and looks once more at what only a few seats would refute."""
    size, speed_class = state.size(claim, round), claim.speed_class(round)
    seats, numbers = state.evidence(claim, round), state.parameters_of(round)
    all_of_them = decide(numbers, size, speed_class, seats)
    refuted = _refutes(claim, all_of_them)
    if not refuted and (all_of_them.lossless or all_of_them.outcome == "inconclusive"):
        return all_of_them
    dissent = dissenters(numbers, speed_class, seats)
    against = {found.seat for found in dissent}
    others = [seat for seat in seats if seat.seat not in against]
    if not dissent or len(others) < size.quorum:
        return all_of_them
    rest = decide(numbers, size, speed_class, others)
    heard = rest
    if rest.timed_by < size.quorum <= all_of_them.timed_by:
        # Too few of a class to accept anything can still say whether they too found no gain.
        timed = Quorum(size.seats, rest.timed_by)
        heard = decide(numbers, timed, speed_class, others)
    if _refutes(claim, heard) or not (refuted or rest.lossless):
        return all_of_them
    if claim.contested_before(round):
        return replace(rest, dissent=dissent)
    return replace(all_of_them, outcome="contested", dissent=dissent)


def _learn_classes(state: State, claim: ClaimState, round: Round) -> None:
    for peer, measurement in round.reveals.items():
        state.classes.of_member[peer] = measurement.environment.hardware_class
    for peer, shadow in round.shadows.items():
        if shadow.measurement is not None:
            hardware_class = shadow.measurement.environment.hardware_class
            state.classes.of_member[peer] = hardware_class
    verdict, rules = round.verdict, state.parameters_of(round).significance
    if verdict is None or not verdict.has_speed():
        return
    against = {found.seat for found in verdict.dissent}
    timed = _timed(state, claim, round)
    middle = _middle(state, round, timed)
    seats = [seat for seat in timed if middle and middle.holds(seat) and seat.seat not in against]
    gain = gates.gain(rules, round.calibration.between_seats(rules), seats)
    if gain is None:
        return
    calibrations = state.classes.calibrations
    present = calibrations.get(claim.hardware_class, type(round.calibration)())
    environments = [seat.measurement.environment for seat in seats]
    learned = present.learn(rules, gain.pooled, environments)
    if claim.parent == state.base_claim:
        spent = [sum(pair.parent_ns for pair in seat.pairs) for seat in seats]
        tokens = [max(1, seat.parent.decoded_tokens) for seat in seats]
        per_token = [ns * 1_000 // n for ns, n in zip(spent, tokens, strict=True)]
        learned = learned.learn_base([min(ps, M64) for ps in per_token])
    calibrations[claim.hardware_class] = learned


def _timed(state: State, claim: ClaimState, round: Round) -> list[Evidence]:
    """The seats of the class, if they are a quorum."""
    speed_class = claim.speed_class(round)
    seats = state.evidence(claim, round)
    timed = [seat for seat in seats if speed_class.fits(seat.measurement)]
    return timed if len(timed) >= state.size(claim, round).quorum else []


def _middle(state: State, round: Round, timed: list[Evidence]) -> Middle | None:
    return Middle.of(state.parameters_of(round), round.calibration, timed)


def _account_for_seats(state: State, claim: ClaimState, round: Round) -> None:
    occasion = (state.height, claim.id, round.number)
    if round.outcome() == "inconclusive":
        kept_back = [seat for seat, _ in round.seals.rising() if seat not in round.reveals]
        for seat in kept_back if round.reveals else []:
            state.book(seat, "no_show", occasion)
        return
    timed = _timed(state, claim, round)
    middle = _middle(state, round, timed)
    events = [
        (seat.seat, "in_range" if middle.holds(seat) else "outlier")
        for seat in timed
        if middle and seat.log_ratios
    ]
    silent = [seat for seat in round.active_seats() if seat not in round.reveals]
    events += [(seat, "no_show") for seat in silent]
    for seat, rule in events:
        state.book(seat, rule, occasion)


def _account_for_dissent(state: State, claim: ClaimState, round: Round) -> None:
    verdict = round.verdict
    if verdict is None or verdict.outcome == "contested":
        return
    if claim.is_entry():
        holds = doubt.finding(claim, verdict) == "upheld"
    else:
        holds = verdict.outcome in ("accepted", "pending")
    if not holds:
        return
    wrong = [
        (found.seat, earlier.number)
        for earlier in (claim.contested_right_before(round), round)
        if earlier is not None and earlier.verdict is not None
        for found in earlier.verdict.dissent
        # Kernels may break on another class and nowhere else.
        if found.is_exact() and claim.speed_class(earlier).fits(earlier.reveals[found.seat])
    ]
    for seat, number in wrong:
        state.book(seat, "contradicted", (state.height, claim.id, number))


def _account_for_shadows(state: State, claim: ClaimState, round: Round) -> None:
    middle = _middle(state, round, _timed(state, claim, round))
    if round.outcome() in ("inconclusive", "contested") or middle is None:
        return
    speed_class, verdict = claim.speed_class(round), round.verdict
    counted = ("path", "reach", "shape", "repeat")
    breaks = verdict is not None and any(
        found.gate in counted and not found.pass_ for found in verdict.gates
    )
    for peer, shadow in round.shadows.rising():
        if shadow.seal is None:
            continue
        measurement, plan = shadow.measurement, state.plan(claim, round, peer)
        if measurement is None or plan is None:
            shadow.agreed = False
        elif speed_class.fits(measurement):
            shadow.agreed = middle.holds(Evidence(peer, plan, measurement))
        elif (broken_gate(Evidence(peer, plan, measurement)) is not None) == breaks:
            # Machines of another class have another ratio, and kernels may break on them alone.
            shadow.agreed = True
        if shadow.agreed is not None:
            _count_agreement(state, peer, shadow.agreed)


def _count_agreement(state: State, peer: bytes, agrees: bool) -> None:
    member = state.members.get(peer)
    if member is None or member.status != "probation":
        return
    member.agreements = member.agreements + 1 if agrees else 0
    if member.agreements >= state.parameters.membership.probation_rounds:
        member.status = "full"
        if member.admission is not None:
            member.admission.full_at = state.height


def _next_step(state: State, claim: ClaimState, round: Round, height: int) -> None:
    verdict, purpose = round.verdict, round.purpose.kind
    if verdict is None:
        return
    outcome = verdict.outcome
    pending = sum(earlier.outcome() == "pending" for earlier in claim.rounds)
    confirming = claim.frontier_rounds()
    if outcome == "contested":
        state.open(claim.id, round.purpose, height)
    elif purpose == "frontier" and claim.is_entry():
        if outcome == "accepted":
            promote(state, claim, round.number)
            credit_cited(state, claim)
        else:
            doubt.conclude(state, claim, round, height)
    elif purpose == "first" and outcome == "accepted" and would_lead(state, claim, verdict):
        state.open(claim.id, Purpose("frontier"), height)
    elif purpose in ("first", "frontier") and outcome == "pending" and pending < PENDING_ROUNDS_MAX:
        state.pending.append(claim.id)
    elif (
        purpose == "frontier"
        and outcome == "inconclusive"
        and confirming < doubt.FRONTIER_ROUNDS_MAX
    ):
        state.open(claim.id, Purpose("frontier"), height)
    elif purpose == "frontier" and outcome in ("inconclusive", "pending"):
        _enter(state, claim, claim.first_word() or round.number, height)
    elif purpose in ("challenge", "audit"):
        doubt.conclude(state, claim, round, height)
    else:
        _enter(state, claim, round.number, height)


def _enter(state: State, claim: ClaimState, decided_by: int, height: int) -> None:
    claim.decided_by, claim.settled_at = decided_by, height
    state.entries.append(claim.id)
    set_ratio(state, claim)


def _resume_pending(state: State, height: int) -> None:
    waiting, state.pending = state.pending, []
    for id in waiting:
        claim = state.claims[id]
        last = claim.rounds[-1]
        operators = {
            member.operator
            for peer, member in state.members.items()
            if state.weight(peer) > 0 and state.may_time(peer, claim.hardware_class)
        } - {state.operator(claim.author)}
        since = height if last.settled_at is None else last.settled_at
        if len(operators) >= state.smallest(claim, last.purpose).quorum:
            state.open(id, last.purpose, height)
        elif height >= since + state.parameters.membership.epoch_blocks:
            _enter(state, claim, claim.first_word() or last.number, height)
            state.remember("class stayed short", id)
        else:
            state.pending.append(id)
