"""Charges, the committees that decide them, and what that costs (LEDGER_RULES.md §9.7)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .genesis import Quorum
from .hashing import Draw, le32, tagged
from .measured import check_path, check_physics, measure_for, remember_ruling, ruling_hash
from .measurement import require
from .model import Candidate, ClaimState
from .seats import draw_seats
from .spelling import Map

if TYPE_CHECKING:
    from .bodies import Appeal, Ballot, Charge
    from .state import State

BEACON_DELAY = 2
CHARGES_PER_EPOCH_MAX = 8
OPEN_MAX = 64
APPEAL_BLOCKS = 100
OPENING_BLOCKS = 32
FLAGGER_STANDING_MIN = 2


@dataclass(frozen=True)
class Vote:
    """What a seat found."""

    finding: str
    digest: bytes


@dataclass
class Hearing:
    """One committee's look at a charge."""

    called_at: int
    appellant: bytes | None
    candidates: list[Candidate]
    size: Quorum
    beacon: bytes | None = None
    seats: list[bytes] = field(default_factory=list)
    until_ms: int | None = None
    ballots: Map[bytes, Vote] = field(default_factory=Map)
    decision: str | None = None
    decided_at: int | None = None
    lost: int = 0
    seats_lost: Map[bytes, int] = field(default_factory=Map)

    def is_over(self, time_ms: int) -> bool:
        """Whether nothing said later can change what it decides."""
        if self.until_ms is None:
            return False
        short = len(self.seats) < self.size.quorum
        return short or len(self.ballots) >= len(self.seats) or time_ms >= self.until_ms

    def outcome(self) -> str:
        """What its ballots decide."""
        votes = [vote.finding for vote in self.ballots.values()]
        reached = [w for w in ("upheld", "dismissed") if votes.count(w) >= self.size.quorum]
        return reached[0] if len(reached) == 1 else "undecided"


@dataclass
class Measured:
    """The measurement that decides a charge instead of hearings."""

    round: int
    decision: str | None
    decided_at: int | None


@dataclass
class Ruling:
    """A charge and everything that the ledger knows about it."""

    id: bytes
    by: bytes
    charge: Charge
    accused: bytes
    opened_at: int
    hearings: list[Hearing]
    measured: Measured | None = None

    def is_open(self) -> bool:
        """Whether it waits for anything."""
        measuring = self.measured is not None and self.measured.decision is None
        return measuring or self.open_hearing() is not None

    def open_hearing(self) -> tuple[int, Hearing] | None:
        """The hearing that waits for something, with its number."""
        numbered = enumerate(self.hearings, 1)
        return next(((n, hearing) for n, hearing in numbered if hearing.decision is None), None)

    def decision(self) -> str | None:
        """What stands."""
        last = self.measured.decision if self.measured else None
        for hearing in self.hearings:
            if hearing.decision is not None and (last is None or hearing.decision != "undecided"):
                last = hearing.decision
        return last

    def loser(self, decision: str) -> bytes | None:
        """Who loses by a decision."""
        if self.measured is not None:
            return None
        return {"upheld": self.accused, "dismissed": self.by}.get(decision)

    def bars(self, charge: Charge) -> bool:
        """Whether it stands in the way of another charge about its subject."""
        if self.is_open() or self.decision() in (None, "upheld"):
            return True
        copies = charge.rule == "duplicate" and charge.evidence != self.charge.evidence
        another = copies or charge.rule == "path"
        return not another and self.decision() == "dismissed"

    def claim(self) -> bytes | None:
        """The claim that it is about."""
        return self.charge.subject if self.charge.rule != "off-channel" else None


@dataclass
class Rulings:
    """Everything that the ledger keeps of rulings."""

    all: dict[bytes, Ruling] = field(default_factory=dict)
    about: dict[tuple[str, bytes], bytes] = field(default_factory=dict)
    open: list[bytes] = field(default_factory=list)
    charged: dict[bytes, tuple[int, int]] = field(default_factory=dict)

    def digest(self) -> bytes:
        """Hash of the open rulings."""
        return tagged("assay rulings v1", b"".join(ruling_hash(self.all[id]) for id in self.open))

    def open_hearings(self) -> list[tuple[Ruling, int, Hearing]]:
        """The open hearings in the order in which they were called."""
        found = [(self.all[id], self.all[id].open_hearing()) for id in self.open]
        return [(ruling, *hearing) for ruling, hearing in found if hearing is not None]

    def is_due(self, time_ms: int) -> bool:
        """Whether a block is wanted for the rulings' sake."""
        waits = [hearing.until_ms for _, _, hearing in self.open_hearings()]
        return any(until is None or time_ms >= until for until in waits)

    def withdraw(self, peer: bytes) -> None:
        """Takes back what an ended key said in open hearings."""
        for _, _, hearing in self.open_hearings():
            hearing.ballots.pop(peer, None)


def check_charge(state: State, by: bytes, charge: Charge, height: int) -> bytes:
    """Checks a charge and says who is accused by it."""
    rulings = state.rulings
    last = rulings.about.get((charge.rule, charge.subject))
    free = last is None or not rulings.all[last].bars(charge)
    require(free, "the same was charged already")
    if charge.rule == "off-channel":
        said = [peer for peer, r in state.posts.recent.items() if charge.subject in r.said]
        require(bool(said), "the subject is no post that is known")
        accused = said[0]
    elif charge.rule == "path":
        accused = check_path(state, by, charge)
    elif charge.rule == "physics":
        accused = check_physics(state, charge)
    else:
        accused = _check_duplicate(state, charge, height)
    require(state.operator(accused) != state.operator(by), "of the flagger's own operator")
    require(state.weight(by) > 0, "its flagger is on probation, or was caught lately")
    standing = state.members[by].account.standing()
    require(standing >= FLAGGER_STANDING_MIN, "the flagger's standing is too low")
    epoch, made = rulings.charged.get(by, (0, 0))
    spent = epoch == state.epoch_of(height) and made >= CHARGES_PER_EPOCH_MAX
    require(not spent, "has made its charges of this epoch")
    require(len(rulings.open) < OPEN_MAX, "as many rulings are open as may be")
    return accused


def _check_duplicate(state: State, charge: Charge, height: int) -> bytes:
    require(charge.evidence is not None, "a duplicate needs the earlier claim")
    claims: list[ClaimState] = []
    for id in (charge.subject, charge.evidence or b""):
        require(id in state.claims, "the claim is not on the ledger")
        claim = state.claims[id]
        opened, settled = claim.opening, claim.settled_at
        require(opened is None or not opened.null, "null claims are not compared")
        ripe = opened is not None or (settled is not None and height > settled + OPENING_BLOCKS)
        require(ripe, "the claim is not opened yet")
        claims.append(claim)
    claim, original = claims
    require(original.docketed_at < claim.docketed_at, "the other claim is no older")
    same = state.operator(original.author) == state.operator(claim.author)
    require(not same, "both claims are of one operator")
    ancestor = claim.parent
    while ancestor in state.claims:
        require(ancestor != original.id, "the claim builds on the other")
        ancestor = state.claims[ancestor].parent
    return claim.author


def open_ruling(state: State, id: bytes, by: bytes, charge: Charge, accused: bytes) -> None:
    """Opens the ruling of a charge that was checked."""
    rulings, height = state.rulings, state.height + 1
    rules = state.parameters.committee
    ruling = rulings.all[id] = Ruling(id, by, charge, accused, height, [])
    rulings.about[charge.rule, charge.subject] = id
    if charge.rule in ("path", "physics"):
        number = measure_for(state, charge, by, id, height)
        at_once = charge.rule == "physics"
        ruling.measured = Measured(
            number, "upheld" if at_once else None, height if at_once else None
        )
    else:
        size = Quorum(rules.seats, rules.quorum)
        judges = _judges(state, _parties(state, by, accused, charge), [])
        ruling.hearings.append(Hearing(height, None, judges, size))
    if ruling.is_open():
        rulings.open.append(id)
    else:
        remember_ruling(state, ruling)
    epoch = state.epoch_of(height)
    before, made = rulings.charged.get(by, (epoch, 0))
    rulings.charged[by] = (epoch, made + 1 if before == epoch else 1)


def _parties(state: State, by: bytes, accused: bytes, charge: Charge) -> list[bytes]:
    """Whose operators do not judge."""
    earlier = state.claims.get(charge.evidence or b"") if charge.rule == "duplicate" else None
    return [by, accused] + ([earlier.author] if earlier is not None else [])


def _judges(state: State, parties: list[bytes], earlier: list[bytes]) -> list[Candidate]:
    out = {state.operator(peer) for peer in parties}
    before = {state.operator(peer) for peer in earlier}
    return [
        Candidate(peer, member.operator, state.weight(peer), int(member.operator in before))
        for peer, member in state.members.rising()
        if member.operator not in out and state.weight(peer) > 0
    ]


def apply_ballot(state: State, author: bytes, ballot: Ballot) -> None:
    """What a drawn seat found."""
    ruling = state.rulings.all.get(ballot.charge)
    if ruling is None or ballot.hearing > len(ruling.hearings):
        require(False, "there is no such ruling or hearing")
        return
    hearing = ruling.hearings[ballot.hearing - 1]
    require(author not in hearing.ballots, "said before")
    require(hearing.decision is None, "the hearing is over")
    require(author in hearing.seats, "holds no seat on this committee")
    hearing.ballots[author] = Vote(ballot.finding, ballot.digest)


def apply_appeal(state: State, author: bytes, appeal: Appeal, height: int) -> None:
    """The side that lost wants others to look."""
    rulings = state.rulings
    ruling = rulings.all.get(appeal.charge)
    if ruling is None:
        require(False, "there is no such ruling")
        return
    require(ruling.measured is None, "a measurement decided it")
    first = ruling.hearings[0]
    decision, decided_at = first.decision, first.decided_at
    require(len(ruling.hearings) == 1, "it was appealed against once")
    require(decision is not None and decided_at is not None, "it is not decided yet")
    assert decision is not None and decided_at is not None
    require(ruling.loser(decision) == author, "only the side that lost may appeal")
    require(height <= decided_at + APPEAL_BLOCKS, "the time for it is over")
    parties = _parties(state, ruling.by, ruling.accused, ruling.charge)
    judges = _judges(state, parties, first.seats)
    ruling.hearings.append(Hearing(height, author, judges, state.parameters.committee.frontier))
    rulings.open.append(ruling.id)


def advance_rulings(state: State, height: int, time_ms: int) -> None:
    """Draws the committees whose beacon is there and decides what is ripe."""
    for ruling, number, hearing in state.rulings.open_hearings():
        if hearing.beacon is None and height >= hearing.called_at + BEACON_DELAY:
            draw = Draw("assay ruling draw v1", state.beacon, ruling.id, le32(number))
            committee = draw_seats(draw, hearing.candidates, hearing.size.seats, 0)
            hearing.candidates, hearing.beacon = [], state.beacon
            hearing.seats = committee.seats
            hearing.until_ms = time_ms + state.parameters_at(hearing.called_at).committee.seal_ms
        if hearing.is_over(time_ms):
            _decide(state, ruling, number, hearing, height)
    rulings = state.rulings
    rulings.open = [id for id in rulings.open if rulings.all[id].is_open()]


def _decide(state: State, ruling: Ruling, number: int, hearing: Hearing, height: int) -> None:
    decision, lost = hearing.outcome(), 0
    stood = ruling.hearings[0].decision if number == 2 else None
    loser = ruling.loser(decision)
    if loser is not None and stood == decision:
        lost = _book(state, ruling, loser, "vain_appeal")
    elif loser is not None:
        if stood is not None:
            _reverse(state, ruling, stood)
        told = any(
            d.claim == ruling.claim() and d.by == ruling.accused and d.height < ruling.opened_at
            for d in state.disclosures.values()
        )
        if decision == "dismissed":
            lost = _book(state, ruling, loser, "false_flag")
        elif ruling.claim() is None or not told:
            lost = _book(state, ruling, loser, "ruled_against")
    if decision != "undecided":
        for seat in hearing.seats:
            vote = hearing.ballots.get(seat)
            if vote is None:
                _book(state, ruling, seat, "no_show")
            elif vote.finding not in (decision, "unable"):
                hearing.seats_lost[seat] = _book(state, ruling, seat, "misjudged")
            elif vote.finding == decision and lost > 0:
                _book(state, ruling, seat, "judged")
    hearing.decision, hearing.decided_at, hearing.lost = decision, height, lost
    remember_ruling(state, ruling)


def _reverse(state: State, ruling: Ruling, stood: str) -> None:
    """Gives back what the first hearing took, and charges the seats that decided it so."""
    first, side = ruling.hearings[0], ruling.loser(stood)
    outvoted = sorted(first.seats_lost.items())
    for peer, lost in [(side, first.lost), *outvoted]:
        member = state.members.get(peer) if peer is not None else None
        if member is not None:
            member.account.give_back(lost, (state.height, ruling.claim(), None))
    for seat in first.seats:
        vote = first.ballots.get(seat)
        if vote is not None and vote.finding == stood:
            _book(state, ruling, seat, "misjudged")


def _book(state: State, ruling: Ruling, peer: bytes, rule: str) -> int:
    """Books an event, and says how many points it took."""
    member = state.members.get(peer)
    before = member.account.standing() if member else 0
    state.book(peer, rule, (state.height, ruling.claim(), None))
    return max(0, before - (member.account.standing() if member else 0))
