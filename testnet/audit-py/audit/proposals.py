"""Proposals to change the network's numbers, the votes on them, the numbers in force (§9.9)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .genesis import Genesis, GenesisError, check
from .hashing import le64, tagged
from .measurement import require
from .spelling import Map, spell

if TYPE_CHECKING:
    from .bodies import Proposal, Record, Voice
    from .state import State

OPEN_MAX = 16
PER_OPERATOR_MAX = 2
STANDING_MIN = 2
PARAMETERS = (
    "challenge.kl_max_micronats",
    "challenge.agreement_min_ppm",
    "challenge.perplexity_ratio_max_ppm",
    "committee.seats",
    "committee.quorum",
    "committee.reserves",
    "committee.frontier.seats",
    "committee.frontier.quorum",
    "committee.seats_max",
    "committee.seal_ms",
    "committee.reveal_ms",
    "committee.measuring_max",
    "committee.docket_max",
    "committee.open_per_operator",
    "committee.audit_ppm",
    "committee.null_ppm",
    "measurement.pairs",
    "measurement.pairs_min",
    "significance.eta_ppm",
    "significance.gain_ppm",
    "membership.vouches_per_epoch",
    "membership.vouch_standing_min",
    "membership.probation_rounds",
    "membership.gain_per_epoch_max",
    "membership.silent_blocks",
)
"""What may be changed, by its number on the wire, which begins with 1."""


@dataclass(frozen=True)
class Spoken:
    """Who spoke for an operator, and what it said."""

    by: bytes
    yes: bool


@dataclass(frozen=True)
class Count:
    """Weights for, against, and of all who may vote."""

    yes: int
    no: int
    all: int

    def adopts(self) -> bool:
        """Whether so much is enough."""
        cast = self.yes + self.no
        return self.yes > 0 and 3 * self.yes >= 2 * cast and 2 * self.yes >= self.all


@dataclass
class ProposalState:
    """A proposal as the ledger knows it, in the order in which it is spelt."""

    id: bytes
    by: bytes
    parameter: str
    value: int
    before: int
    why: str
    opened_at: int
    until_ms: int | None = None
    voices: Map[str, Spoken] = field(default_factory=Map)
    resolution: str | None = None
    decided_at: int | None = None
    count: Count | None = None
    effective_at: int | None = None


@dataclass
class Proposals:
    """Everything that the ledger keeps of proposals.

    `sets` has the numbers that were adopted, each with the last height before it and the proposal.
    """

    all: dict[bytes, ProposalState] = field(default_factory=dict)
    open: list[bytes] = field(default_factory=list)
    waiting: list[bytes] = field(default_factory=list)
    sets: list[tuple[int, bytes, Genesis]] = field(default_factory=list)

    def digest(self) -> bytes:
        """Hash of what is undone, and of the changes so far."""
        undone = b"".join(_hash(self.all[id]) for id in self.open + self.waiting)
        sets = b"".join(le64(height) + id for height, id, _ in self.sets)
        return tagged("assay proposals v1", undone, sets)

    def is_due(self, time_ms: int) -> bool:
        """Whether a block is wanted for the proposals' sake."""
        ends = [self.all[id].until_ms for id in self.open]
        return bool(self.waiting) or any(end is None or time_ms >= end for end in ends)


def _hash(proposal: ProposalState) -> bytes:
    return tagged("assay proposal state v1", spell(proposal))


def value_of(numbers: Genesis, path: str) -> int:
    """A parameter's value in a set."""
    value: Any = numbers
    for part in path.split("."):
        value = getattr(value, part)
    assert isinstance(value, int)
    return value


def _replaced(numbers: Any, path: list[str], value: int) -> Any:
    first, *rest = path
    part = _replaced(getattr(numbers, first), rest, value) if rest else value
    return replace(numbers, **{first: part})


def changed(numbers: Genesis, path: str, value: int) -> Genesis:
    """A set with a parameter at another value, if all its numbers make a working network."""
    found = _replaced(numbers, path.split("."), value)
    assert isinstance(found, Genesis)
    check(found)
    return found


def _cap(weights: list[int]) -> int:
    """The greatest weight that is no more than a third of what then counts for all; at least 1."""
    low, high = 0, max(weights, default=0)
    while low < high:
        middle = low + (high - low + 1) // 2
        if 3 * middle <= sum(min(middle, weight) for weight in weights):
            low = middle
        else:
            high = middle - 1
    return max(1, low)


def weights(state: State) -> dict[str, int]:
    """The weight of every operator's voice at present."""
    best = dict[str, int]()
    for peer, member in state.members.items():
        weight = state.weight(peer)
        if weight > 0:
            best[member.operator] = max(weight, best.get(member.operator, 0))
    cap = _cap(list(best.values()))
    return {operator: min(cap, weight) for operator, weight in best.items()}


def _count(state: State, proposal: ProposalState) -> Count:
    of = weights(state)
    sides = {True: 0, False: 0}
    for operator, spoken in proposal.voices.items():
        if state.weight(spoken.by) > 0:
            sides[spoken.yes] += of.get(operator, 0)
    return Count(sides[True], sides[False], sum(of.values()))


def apply_proposal(state: State, record: Record, proposal: Proposal, height: int) -> None:
    """A change that somebody wants."""
    proposals, by = state.proposals, record.author
    require(record.id not in proposals.all, "said before")
    require(proposal.epoch == state.epoch_of(height), f"a proposal of epoch {proposal.epoch}")
    require(state.weight(by) > 0, "has no weight")
    require(state.members[by].account.standing() >= STANDING_MIN, "standing is too low")
    undone = [proposals.all[id] for id in proposals.open + proposals.waiting]
    path, value = proposal.parameter, proposal.value
    same = any(other.parameter == path and other.value == value for other in undone)
    require(not same, "the same is proposed already")
    operator = state.operator(by)
    own = [id for id in proposals.open if state.operator(proposals.all[id].by) == operator]
    require(len(own) < PER_OPERATOR_MAX, "its operator has as many open proposals as may be")
    require(len(proposals.open) < OPEN_MAX, "as many proposals are open as may be")
    before = value_of(state.parameters, path)
    require(before != value, f"{path} is {value} already")
    try:
        changed(state.parameters, path, value)
    except GenesisError as error:
        require(False, str(error))
    made = ProposalState(record.id, by, path, value, before, proposal.why, height)
    proposals.all[record.id] = made
    proposals.open.append(record.id)


def apply_voice(state: State, author: bytes, voice: Voice) -> None:
    """An operator's word on a proposal."""
    proposal, operator = state.proposals.all.get(voice.proposal), state.operator(author)
    if proposal is None or operator is None:
        require(False, "there is no such proposal")
        return
    require(proposal.resolution is None, "the proposal is decided")
    require(state.weight(author) > 0, "has no weight")
    require(operator not in proposal.voices, "the operator has spoken")
    proposal.voices[operator] = Spoken(author, voice.yes)


def advance_proposals(state: State, height: int, time_ms: int) -> None:
    """Opens votes, counts those that are over, and puts adopted values in force."""
    proposals, rules = state.proposals, state.genesis.voting
    for id in list(proposals.open):
        proposal = proposals.all[id]
        if proposal.until_ms is None:
            proposal.until_ms = time_ms + rules.window_ms
        elif time_ms >= proposal.until_ms:
            proposal.count, proposal.decided_at = _count(state, proposal), height
            proposal.resolution = "rejected"
            proposals.open.remove(id)
            if proposal.count.adopts():
                proposal.resolution = "adopted"
                proposal.effective_at = height + rules.delay_blocks
                proposals.waiting.append(id)
            _remember(state, proposal)
    waiting, proposals.waiting = proposals.waiting, []
    for id in waiting:
        proposal = proposals.all[id]
        if proposal.effective_at is not None and proposal.effective_at > height:
            proposals.waiting.append(id)
            continue
        try:
            numbers = changed(state.parameters, proposal.parameter, proposal.value)
            proposals.sets.append((height, id, numbers))
        except GenesisError:
            proposal.resolution = "void"
        _remember(state, proposal)


def _remember(state: State, proposal: ProposalState) -> None:
    state.history = tagged("assay history v1", state.history, b"proposal", _hash(proposal))
