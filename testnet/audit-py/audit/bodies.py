"""What records say, once they were read (LEDGER.md §6)."""

from __future__ import annotations

from dataclasses import dataclass

from .codec import Message
from .genesis import Recipe
from .measurement import Measurement


@dataclass(frozen=True)
class Claim:
    """A claim for the docket."""

    recipe: Recipe
    parent: bytes
    result_seal: bytes
    summary: str
    hardware_class: str
    cites: list[bytes]


@dataclass(frozen=True)
class Seal:
    """A seat's promise of one measurement."""

    claim: bytes
    round: int
    commitment: bytes


@dataclass(frozen=True)
class Reveal:
    """The measurement behind a seal; `packed` is its encoding."""

    claim: bytes
    round: int
    salt: bytes
    measurement: Measurement
    packed: bytes


@dataclass(frozen=True)
class Opening:
    """The author's own result."""

    claim: bytes
    salt: bytes
    ratio_ppm: int
    null: bool


@dataclass(frozen=True)
class Challenge:
    """Doubt about an entry."""

    claim: bytes


@dataclass(frozen=True)
class Vouch:
    """A member's word for a newcomer."""

    peer: bytes
    operator: str
    name: str
    epoch: int


@dataclass(frozen=True)
class Join:
    """A newcomer's acceptance of a vouch."""

    vouch: bytes
    vrf: bytes


@dataclass(frozen=True)
class Leave:
    """A member's farewell."""

    joined_at: int


@dataclass(frozen=True)
class Return:
    """A silent validator's word that it is back."""

    silent_since: int


@dataclass(frozen=True)
class Proof:
    """Proof that a key contradicted itself, as a record's author or as a validator."""

    culprit: bytes


@dataclass(frozen=True)
class Disclosure:
    """A trick that its finder or user tells of."""

    claim: bytes | None
    text: str
    evidence: bytes | None


@dataclass(frozen=True)
class Divergence:
    """Where a recipe did not follow its own logits."""

    prompt: int
    position: int
    expected: int
    seen: int

    def spelt(self) -> dict[str, object]:
        """By its kind."""
        return {"divergence": dict(vars(self))}


@dataclass(frozen=True)
class Excess:
    """By how much an entry is faster than its class's memory."""

    round: int
    bandwidth_mb_s: int
    share_ppm: int

    def spelt(self) -> dict[str, object]:
        """By its kind."""
        return {"excess": dict(vars(self))}


@dataclass(frozen=True)
class Charge:
    """Who is accused of what, in the order in which it is spelt."""

    rule: str
    subject: bytes
    evidence: bytes | None
    sighting: Divergence | Excess | None = None


@dataclass(frozen=True)
class Post:
    """Something said on the board.

    `forecast` is a ratio and a class, `link` a manifest and what it follows; a limit has a bound.
    """

    kind: int
    epoch: int
    forecast: tuple[int, str] | None
    link: tuple[bytes, bytes | None] | None
    is_limit: bool
    charge: Charge | None = None


@dataclass(frozen=True)
class Ballot:
    """What a drawn seat found about a charge."""

    charge: bytes
    hearing: int
    finding: str
    digest: bytes


@dataclass(frozen=True)
class Proposal:
    """A change of one of the network's numbers, named by its path."""

    parameter: str
    value: int
    why: str
    epoch: int


@dataclass(frozen=True)
class Voice:
    """An operator's word on a proposal."""

    proposal: bytes
    yes: bool


@dataclass(frozen=True)
class Appeal:
    """The losing side's wish that others look."""

    charge: bytes


Body = (
    Claim
    | Seal
    | Reveal
    | Opening
    | Challenge
    | Vouch
    | Join
    | Leave
    | Return
    | Proof
    | Disclosure
    | Post
    | Ballot
    | Appeal
    | Proposal
    | Voice
)


@dataclass(frozen=True)
class Record:
    """A record whose form and signature were checked."""

    id: bytes
    author: bytes
    body: Body
    message: Message
