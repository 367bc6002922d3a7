"""Members, claims and rounds, in the order in which the ledger spells them (LEDGER.md §10)."""

from __future__ import annotations

from dataclasses import dataclass, field

from .calibration import Calibration, SpeedClass
from .genesis import Quorum, Recipe
from .measurement import Measurement
from .spelling import Map, Octets
from .standing import Account
from .verdict import Verdict


@dataclass
class Admission:
    """How a member that is not of the genesis came in."""

    by: bytes
    vouch: bytes
    joined_at: int
    full_at: int | None


@dataclass
class Member:
    """A member, present or past."""

    name: str
    operator: str
    vrf: bytes
    account: Account
    status: str = "full"
    agreements: int = 0
    admission: Admission | None = None
    vouched: set[bytes] = field(default_factory=set)
    vouched_epoch: int = 0

    def is_active(self) -> bool:
        """Whether it may say anything."""
        return self.status in ("full", "probation")

    def joined_at(self) -> int:
        """Height of the block that let it in; 0 for founders."""
        return self.admission.joined_at if self.admission else 0

    def spelt(self) -> dict[str, object]:
        """The member as the ledger spells it."""
        status: dict[str, object] = {"status": self.status}
        if self.status == "probation":
            status["agreements"] = self.agreements
        return {
            "name": self.name,
            "operator": self.operator,
            "vrf": self.vrf,
            "standing": self.account.standing(),
            **status,
            "admission": self.admission,
            "account": self.account,
            "vouched": sorted(self.vouched),
            "vouched_epoch": self.vouched_epoch,
        }


@dataclass(frozen=True)
class PendingVouch:
    """A vouch that its newcomer has not accepted yet."""

    by: bytes
    record: bytes
    operator: str
    name: str
    epoch: int


@dataclass(frozen=True)
class Purpose:
    """Why a round is held."""

    kind: str
    by: bytes = b""
    record: bytes = b""

    def spelt(self) -> dict[str, object]:
        """The keys that a round has for it."""
        challenger = {"by": self.by, "record": self.record} if self.kind == "challenge" else {}
        return {"purpose": self.kind, **challenger}


@dataclass(frozen=True)
class Phase:
    """Where a round is in its life."""

    name: str = "docketed"
    until_ms: int = 0
    reserves_at_ms: int = 0

    def spelt(self) -> dict[str, object]:
        """The keys that a round has for it."""
        keys: dict[str, object] = {"phase": self.name}
        if self.name == "sealing":
            keys["reserves_at_ms"] = self.reserves_at_ms
        if self.name in ("sealing", "revealing"):
            keys["until_ms"] = self.until_ms
        return keys


@dataclass(frozen=True)
class Committee:
    """The peers drawn for a round."""

    seats: list[bytes] = field(default_factory=list)
    reserves: list[bytes] = field(default_factory=list)


@dataclass(frozen=True)
class Candidate:
    """Someone who may be drawn for a seat."""

    peer: bytes
    operator: str
    weight: int
    tier: int


@dataclass
class Shadow:
    """What a newcomer said beside the seats."""

    seal: bytes | None = None
    measurement: Measurement | None = None
    agreed: bool | None = None

    def spelt(self) -> dict[str, object]:
        """The shadow as the ledger spells it: its seal binds what it measured."""
        return {
            "seal": self.seal,
            "revealed": self.measurement is not None,
            "agreed": self.agreed,
        }


@dataclass
class Round:
    """One measurement of a claim by one committee."""

    number: int
    purpose: Purpose
    opened_at: int
    called_at: int | None = None
    candidates: list[Candidate] = field(default_factory=list)
    newcomers: list[Candidate] = field(default_factory=list)
    beacon: bytes | None = None
    phase: Phase = field(default_factory=Phase)
    size: Quorum | None = None
    pairs: int = 0
    calibration: Calibration = field(default_factory=Calibration)
    drawn_at_ms: int | None = None
    committee: Committee = field(default_factory=Committee)
    reserves_called: int = 0
    seals: Map[bytes, bytes] = field(default_factory=Map)
    reveals: Map[bytes, Measurement] = field(default_factory=Map)
    shadows: Map[bytes, Shadow] = field(default_factory=Map)
    verdict: Verdict | None = None
    settled_at: int | None = None
    caught: list[bytes] = field(default_factory=list)
    finding: str | None = None

    def is_open(self) -> bool:
        """Whether it waits for anything."""
        return self.phase.name != "settled"

    def is_measured(self) -> bool:
        """Whether it holds a measuring place."""
        return self.phase.name in ("sealing", "revealing")

    def outcome(self) -> str | None:
        """What it decided."""
        return self.verdict.outcome if self.verdict else None

    def is_contested_for(self, purpose: Purpose) -> bool:
        """Whether it was held for a purpose and divided its seats."""
        return self.outcome() == "contested" and self.purpose == purpose

    def active_seats(self) -> list[bytes]:
        """The seats and the reserves called so far."""
        return self.committee.seats + self.committee.reserves[: self.reserves_called]

    def seal_of(self, peer: bytes) -> bytes | None:
        """What a peer sealed, as a seat or as a shadow."""
        shadow = self.shadows.get(peer)
        return self.seals.get(peer) or (shadow.seal if shadow else None)

    def has_revealed(self, peer: bytes) -> bool:
        """Whether a peer has shown its measurement."""
        shadow = self.shadows.get(peer)
        return peer in self.reveals or (shadow is not None and shadow.measurement is not None)

    def all_revealed(self) -> bool:
        """Whether everyone who sealed has revealed."""
        shadows = [peer for peer, shadow in self.shadows.items() if shadow.seal is not None]
        return all(self.has_revealed(peer) for peer in [*self.seals, *shadows])

    def spelt(self) -> dict[str, object]:
        """The round as the ledger spells it: purpose and phase are keys of its own, samples are not in it."""
        keys: dict[str, object] = {}
        for name, value in self.__dict__.items():
            keys.update(value.spelt() if name in ("purpose", "phase") else {name: value})
        keys["reveals"] = sorted(self.reveals)
        return keys


@dataclass(frozen=True)
class Debunked:
    """When and by what an entry was refuted."""

    height: int
    round: int


@dataclass(frozen=True)
class Opened:
    """The author's own result."""

    claim: bytes
    salt: Octets
    ratio_ppm: int
    null: bool


@dataclass
class ClaimState:
    """A claim and everything that the ledger knows about it."""

    id: bytes
    author: bytes
    recipe: Recipe
    parent: bytes
    result_seal: bytes
    summary: str
    hardware_class: str
    docketed_at: int
    settled_at: int | None = None
    rounds: list[Round] = field(default_factory=list)
    decided_by: int | None = None
    ratio_to_base_ppm: int | None = None
    debunked: Debunked | None = None
    descends_from_debunked: bytes | None = None
    opening: Opened | None = None

    def round(self, number: int) -> Round | None:
        """One round by its number, from 1."""
        return self.rounds[number - 1] if 1 <= number <= len(self.rounds) else None

    def open_round(self) -> Round | None:
        """The round that waits for something."""
        return self.rounds[-1] if self.rounds[-1].is_open() else None

    def is_entry(self) -> bool:
        """Whether it is an entry, whatever its outcome."""
        return self.settled_at is not None

    def deciding(self) -> Round | None:
        """The round whose verdict is the entry's."""
        return None if self.decided_by is None else self.round(self.decided_by)

    def verdict(self) -> Verdict | None:
        """The ledger's word, once it is an entry."""
        deciding = self.deciding()
        return deciding.verdict if deciding else None

    def outcome(self) -> str | None:
        """What became of it, once it is an entry."""
        verdict = self.verdict()
        return verdict.outcome if verdict else None

    def is_confirmed(self) -> bool:
        """Whether an independent committee supplied the number."""
        deciding = self.deciding()
        return deciding is not None and deciding.purpose.kind == "frontier"

    def is_debunked_or_descends(self) -> bool:
        """Whether nothing may be built on it."""
        return self.debunked is not None or self.descends_from_debunked is not None

    def stands(self) -> bool:
        """Whether it is an accepted entry that nobody refuted."""
        return self.outcome() == "accepted" and not self.is_debunked_or_descends()

    def frontier_rounds(self) -> int:
        """How many confirming rounds it has had, but for contested ones."""
        return sum(
            round.purpose.kind == "frontier" and round.outcome() != "contested"
            for round in self.rounds
        )

    def first_word(self) -> int | None:
        """The round in which a first committee accepted it."""
        accepted = (
            round.number
            for round in self.rounds
            if round.purpose.kind == "first" and round.outcome() == "accepted"
        )
        return next(accepted, None)

    def contested_right_before(self, this: Round) -> Round | None:
        """The round right before, if it was held for the same purpose and divided its seats."""
        earlier = self.round(this.number - 1)
        return earlier if earlier and earlier.is_contested_for(this.purpose) else None

    def contested_before(self, this: Round) -> bool:
        """Whether the last committee before that spoke about the speed was divided."""
        earlier = self.rounds[: this.number - 1]
        spoke = [round for round in earlier if round.outcome() != "pending"]
        return bool(spoke) and spoke[-1].is_contested_for(this.purpose)

    def speed_class(self, of: Round) -> SpeedClass:
        """The claim's class as one of its rounds sees it."""
        return SpeedClass(self.hardware_class, of.calibration)


@dataclass
class Classes:
    """What the ledger knows of hardware classes."""

    calibrations: Map[str, Calibration] = field(default_factory=Map)
    of_member: Map[bytes, str] = field(default_factory=Map)


@dataclass
class Turns:
    """Who let its turns to propose pass (LEDGER.md §7.3)."""

    heard_at: Map[bytes, int] = field(default_factory=Map)
    silent: Map[bytes, int] = field(default_factory=Map)


@dataclass
class Shares:
    """How much of the committees' time each operator had (LEDGER_RULES.md §8.6)."""

    spent_ms: Map[str, int] = field(default_factory=Map)
    clock_ms: int = 0
    paid_in_a_row: int = 0

    def start_of(self, operator: str) -> int:
        """Where an operator stands in the queue."""
        return max(self.spent_ms.get(operator, 0), self.clock_ms)

    def next(self, waiting: list[tuple[str | None, int]]) -> int | None:
        """The index of the round to draw next, of (payer, rounds in flight)."""
        paid = [
            (in_flight, self.start_of(payer), index)
            for index, (payer, in_flight) in enumerate(waiting)
            if payer is not None
        ]
        unpaid = next((i for i, (payer, _) in enumerate(waiting) if payer is None), None)
        if paid and (unpaid is None or self.paid_in_a_row < 8):
            return min(paid)[2]
        return unpaid

    def started(self, payer: str | None) -> None:
        """A round begins to be measured."""
        if payer is None:
            self.paid_in_a_row = 0
            return
        self.paid_in_a_row += 1
        self.clock_ms = self.spent_ms[payer] = self.start_of(payer)

    def ended(self, payer: str | None, seat_ms: int) -> None:
        """A round is over."""
        if payer is not None:
            self.spent_ms[payer] = self.spent_ms.get(payer, 0) + max(1, seat_ms)


@dataclass(frozen=True)
class Disclosed:
    """A disclosure on the ledger."""

    by: bytes
    height: int
    claim: bytes | None
