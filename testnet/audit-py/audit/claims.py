"""Claims, seals, reveals and openings (LEDGER_RULES.md §8.1, §8.4, §9.2)."""

from __future__ import annotations

from .bodies import Claim, Opening, Record, Reveal, Seal
from .doubt import spring_trap
from .hashing import le64, round_bytes, tagged
from .measurement import Measurement, require
from .model import ClaimState, Opened, Purpose, Round, Shadow
from .posts import check_citations, credit_cited, note_citations
from .spelling import Octets
from .state import State


def apply_claim(state: State, record: Record, claim: Claim, height: int) -> None:
    """A claim for the docket."""
    recipe, rules = claim.recipe.id(), state.parameters.committee
    docketed = state.recipes.get(recipe)
    if docketed is not None:
        known = state.claims.get(docketed)
        undecided = known is not None and known.outcome() in ("inconclusive", "pending")
        require(undecided, "the recipe is on the docket already")
    if claim.parent != state.base_claim:
        parent = state.claims.get(claim.parent)
        stands = parent is not None and parent.stands()
        require(stands, "the parent is neither the base recipe nor an accepted claim that stands")
        of_class = parent is not None and parent.hardware_class == claim.hardware_class
        require(of_class, "the parent was measured on another class")
    open_or_waiting = state.docketed() + [state.claims[id] for id in state.pending]
    waiting = [open for open in open_or_waiting if not open.is_entry()]
    same = (o for o in waiting if o.author == record.author and o.parent == claim.parent)
    require(next(same, None) is None, "the author has an open claim on this parent")
    operator = state.operator(record.author)
    own = sum(state.operator(open.author) == operator for open in waiting)
    require(own < rules.open_per_operator, "the author's operator has too many unsettled claims")
    require(len(waiting) < rules.docket_max, "the docket is full")
    check_citations(state, claim.cites)
    state.claims[record.id] = ClaimState(
        record.id,
        record.author,
        claim.recipe,
        claim.parent,
        claim.result_seal,
        claim.summary,
        claim.hardware_class,
        height,
        rounds=[Round(1, Purpose("first"), height)],
    )
    state.recipes[recipe] = record.id
    state.docket.append(record.id)
    note_citations(state, record.id, claim.cites)


def _open_round(state: State, id: bytes, number: int) -> tuple[ClaimState, Round]:
    claim = state.claims.get(id)
    round = claim.round(number) if claim else None
    require(round is not None and round.is_open(), "there is no such round, or it is over")
    assert claim is not None and round is not None
    return claim, round


def apply_seal(state: State, author: bytes, seal: Seal) -> None:
    """A seat's promise of one measurement."""
    _, round = _open_round(state, seal.claim, seal.round)
    require(round.seal_of(author) is None, "said before")
    require(round.phase.name == "sealing", "the round does not accept a seal at this point")
    seated = author in round.active_seats() or author in round.shadows
    require(seated, "holds no seat on this claim's committee")
    if author in round.shadows:
        round.shadows[author].seal = seal.commitment
    else:
        round.seals[author] = seal.commitment


def apply_reveal(state: State, author: bytes, reveal: Reveal) -> None:
    """The measurement behind a seal."""
    claim, round = _open_round(state, reveal.claim, reveal.round)
    require(not round.has_revealed(author), "said before")
    require(round.phase.name == "revealing", "the round does not accept a reveal at this point")
    sealed = round.seal_of(author)
    require(sealed is not None, "holds no seat on this claim's committee")
    found = tagged(
        "assay measurement seal v2",
        round_bytes(reveal.claim, reveal.round),
        author,
        reveal.salt,
        reveal.packed,
    )
    require(found == sealed, "revealed something else than it sealed")
    _check_plan(state, claim, round, author, reveal.measurement)
    shadow: Shadow | None = round.shadows.get(author)
    if shadow is not None:
        shadow.measurement = reveal.measurement
    else:
        round.reveals[author] = reveal.measurement


def _check_plan(
    state: State, claim: ClaimState, round: Round, seat: bytes, measurement: Measurement
) -> None:
    plan, rules = state.plan(claim, round, seat), state.parameters_of(round).measurement
    if plan is None:
        require(False, "no plan was drawn")
        return
    prompts = [pair.prompt for pair in measurement.pairs]
    require(prompts == plan.prompts, "other prompts than those drawn")
    pairs, decode = len(prompts), rules.decode_tokens
    scored = state.genesis.challenge.pool.scored_tokens
    for arm in (measurement.x, measurement.y):
        for what, found, drawn in (
            ("decoded tokens", arm.decoded_tokens, pairs * decode),
            ("scored tokens", arm.scored_tokens, pairs * scored),
            ("reach positions", arm.reach_positions, rules.reach_tokens),
            ("path positions", arm.path_positions, pairs * decode),
            ("repeat positions", arm.repeat_positions, decode + 1),
        ):
            require(found == drawn, f"{found} {what} instead of {drawn}")
        breaks, generated = arm.identity_breaks, pairs * (decode + 1)
        require(breaks <= generated, f"{breaks} identity breaks of {generated} tokens")
    for pair in measurement.pairs:
        for score in (pair.x_score, pair.y_score):
            agreements = score.agreements
            require(agreements <= decode, f"{agreements} agreements of {decode} tokens")


def apply_opening(state: State, record: Record, opening: Opening) -> None:
    """The author's own result."""
    claim = state.claims.get(opening.claim)
    if claim is None:
        require(False, "the claim is not on the ledger")
        return
    require(claim.author == record.author, "not the claim's author")
    require(claim.is_entry(), "the claim does not accept an opening at this point")
    require(claim.opening is None, "said before")
    found = tagged(
        "assay author result seal v2",
        record.author,
        claim.recipe.id(),
        opening.salt,
        le64(opening.ratio_ppm),
        bytes([opening.null]),
    )
    require(found == claim.result_seal, "opened something else than it sealed")
    claim.opening = Opened(claim.id, Octets(opening.salt), opening.ratio_ppm, opening.null)
    if opening.null:
        spring_trap(state, claim)
    else:
        credit_cited(state, claim)
    state.remember("opening", claim.id)
