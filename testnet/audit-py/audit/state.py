"""The ledger's state: what everything else reads and changes (LEDGER.md §4, §7, §10)."""

from __future__ import annotations

from collections.abc import Iterator

from .evidence import Evidence, Plan, plan
from .genesis import Genesis, Quorum, Recipe
from .hashing import Merkle, le64, tagged
from .model import (
    ClaimState,
    Classes,
    Disclosed,
    Member,
    PendingVouch,
    Purpose,
    Round,
    Shares,
    Turns,
)
from .posts import Posts
from .proposals import Proposals
from .rulings import Rulings
from .spelling import Map, spell
from .standing import ANSWERS, Account

VALIDATORS_MIN = 4


class State:
    """Everything that the ledger decided so far."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self.network = genesis.network()
        base = genesis.challenge.base.id()
        self.base_claim = tagged("assay base claim v1", self.network, base)
        self.height = 0
        self.head = bytes(32)
        self.time_ms = genesis.time_ms
        self.beacon = tagged("assay first beacon v1", self.network)
        self.index = Merkle()
        self.members: Map[bytes, Member] = Map(
            (m.peer, Member(m.name, m.operator, m.vrf, Account(max(1, m.standing))))
            for m in genesis.members
        )
        self.vouches: Map[bytes, PendingVouch] = Map()
        self.disclosures: dict[bytes, Disclosed] = {}
        self.posts = Posts()
        self.rulings = Rulings()
        self.proposals = Proposals()
        self.claims: dict[bytes, ClaimState] = {}
        self.recipes: dict[bytes, bytes] = {base: self.base_claim}
        self.docket: list[bytes] = []
        self.settled: list[tuple[bytes, int]] = []
        self.entries: list[bytes] = []
        self.pending: list[bytes] = []
        self.classes = Classes()
        self.shares = Shares()
        self.turns = Turns()
        self.history = tagged("assay history v1")

    def docketed(self) -> list[ClaimState]:
        """The claims with an open round, in the order these were opened."""
        return [self.claims[id] for id in self.docket]

    def open_rounds(self) -> Iterator[tuple[ClaimState, Round]]:
        """The open rounds with their claims, in the order opened."""
        for claim in self.docketed():
            round = claim.open_round()
            if round is not None:
                yield claim, round

    def entered(self) -> list[ClaimState]:
        """The entries in the order in which they were settled."""
        return [self.claims[id] for id in self.entries]

    def open(self, id: bytes, purpose: Purpose, height: int) -> None:
        """Opens the next round of a claim, behind all that wait already."""
        claim = self.claims[id]
        claim.rounds.append(Round(len(claim.rounds) + 1, purpose, height))
        self.docket = [waiting for waiting in self.docket if waiting != id] + [id]

    @property
    def parameters(self) -> Genesis:
        """The numbers in force."""
        sets = self.proposals.sets
        return sets[-1][2] if sets else self.genesis

    def parameters_at(self, height: int) -> Genesis:
        """The numbers by which what was called at a height is finished."""
        later_first = reversed(self.proposals.sets)
        return next((numbers for last, _, numbers in later_first if last < height), self.genesis)

    def parameters_of(self, round: Round) -> Genesis:
        """The numbers that a round goes by."""
        at = round.called_at
        return self.parameters if at is None else self.parameters_at(at)

    def epoch_of(self, height: int) -> int:
        """The epoch that a height belongs to."""
        return height // self.parameters.membership.epoch_blocks

    def active(self, peer: bytes) -> Member | None:
        """A member, if it may say anything at present."""
        member = self.members.get(peer)
        return member if member and member.is_active() else None

    def operator(self, peer: bytes) -> str | None:
        """Who runs a peer."""
        member = self.members.get(peer)
        return member.operator if member else None

    def weight(self, peer: bytes) -> int:
        """The weight with which a peer is drawn; 0 when it is not drawn at all."""
        member = self.members.get(peer)
        if member is None or member.status != "full" or member.account.is_suspended(self.height):
            return 0
        return member.account.standing()

    def recipe(self, id: bytes) -> Recipe:
        """The recipe behind a claim's id, the base's included."""
        return self.genesis.challenge.base if id == self.base_claim else self.claims[id].recipe

    def may_time(self, peer: bytes, hardware_class: str) -> bool:
        """Whether a member attested this class last, or none yet."""
        return self.classes.of_member.get(peer, hardware_class) == hardware_class

    def smallest(self, claim: ClaimState, purpose: Purpose) -> Quorum:
        """The smallest committee for a purpose."""
        rules = self.parameters.committee
        if purpose.kind == "frontier" or (purpose.kind != "first" and claim.is_confirmed()):
            return rules.frontier
        return Quorum(rules.seats, rules.quorum)

    def size(self, claim: ClaimState, round: Round) -> Quorum:
        """Seats and quorum of a round."""
        return round.size or self.smallest(claim, round.purpose)

    def plan(self, claim: ClaimState, round: Round, seat: bytes) -> Plan | None:
        """What a seat has to measure."""
        if round.beacon is None:
            return None
        numbers = self.parameters_of(round)
        return plan(numbers, round.beacon, claim.id, round.number, round.pairs, seat)

    def evidence(self, claim: ClaimState, round: Round) -> list[Evidence]:
        """The revealed measurements of a round, by rising key."""
        seats = []
        for seat, measurement in round.reveals.rising():
            drawn = self.plan(claim, round, seat)
            if drawn is not None:
                seats.append(Evidence(seat, drawn, measurement))
        return seats

    def book(self, peer: bytes, rule: str, occasion: tuple[int, bytes | None, int | None]) -> None:
        """Counts an event for a peer, and for its voucher where that one answers for it."""
        member, rules = self.members.get(peer), self.parameters.membership
        if member is None:
            return
        member.account.book(rule, occasion, rules.epoch_blocks, rules.gain_per_epoch_max)
        if rule in ANSWERS and member.admission is not None:
            self.book(member.admission.by, ANSWERS[rule], occasion)

    def validators(self) -> list[bytes]:
        """The validators of the next height, each with the power 1, by rising key."""
        founders = [(peer, m) for peer, m in self.members.rising() if m.admission is None]
        chosen = [peer for peer, _ in founders if self._full(peer)]
        admitted = sorted(
            (member.joined_at(), peer, member.operator)
            for peer, member in self.members.items()
            if member.admission is not None and self._full(peer)
        )
        for _, peer, operator in admitted:
            seated = any(self.members[other].operator == operator for other in chosen)
            if len(chosen) < len(self.genesis.members) and not seated:
                chosen.append(peer)
        order = {"full": 0, "left": 1, "ended": 2}
        gone = sorted((order[m.status], peer) for peer, m in founders if not self._full(peer))
        missing = max(0, VALIDATORS_MIN - len(chosen))
        return sorted(chosen + [peer for _, peer in gone[:missing]])

    def _full(self, peer: bytes) -> bool:
        return self.members[peer].status == "full" and peer not in self.turns.silent

    def present(self, peers: list[bytes]) -> int:
        """How many of these may say something and were not found silent."""
        return sum(self.active(p) is not None and p not in self.turns.silent for p in peers)

    def validators_hash(self) -> bytes:
        """Hash of the validator set of the next height."""
        return tagged("assay validators v1", b"".join(p + le64(1) for p in self.validators()))

    def remember(self, event: str, id: bytes) -> None:
        """Binds a claim's present state into the history."""
        digest = claim_digest(self.claims[id])
        self.history = tagged("assay history v1", self.history, event.encode(), digest)

    def root(self) -> bytes:
        """Hash of everything that decides what may come next."""
        members = b"".join(peer + spell(member) for peer, member in self.members.rising())
        return tagged(
            "assay state v1",
            le64(self.height),
            le64(self.time_ms),
            self.beacon,
            tagged("assay membership v1", members, spell(self.vouches)),
            b"".join(claim_digest(claim) for claim in self.docketed()),
            b"".join(self.pending),
            tagged("assay classes v1", spell(self.classes)),
            self.posts.digest(),
            self.rulings.digest(),
            self.proposals.digest(),
            spell(self.shares),
            tagged("assay turns v1", spell(self.turns)),
            self.history,
        )


def claim_digest(claim: ClaimState) -> bytes:
    """Hash of a claim's whole state."""
    return tagged("assay claim state v2", spell(claim))
