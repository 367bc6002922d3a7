"""Standing: a peer's account (LEDGER_RULES.md §7.2)."""

from __future__ import annotations

from dataclasses import dataclass, field

RULES: dict[str, int | None] = {
    "in_range": 1,
    "outlier": -2,
    "contradicted": -3,
    "no_show": -1,
    "null_trap": -10,
    "failed_challenge": -1,
    "debunked": -5,
    "vouchee_caught": -5,
    "vouchee_ended": -10,
    "ended": None,
    "cited_spec": 1,
    "relayed": 1,
    "judged": 1,
    "misjudged": -2,
    "ruled_against": -3,
    "false_flag": -2,
    "vain_appeal": -2,
    "ruling_reversed": 0,
}
"""What an event is worth, in the order in which the rules are spelt; `None` takes everything."""
MISBEHAVIOUR = {"null_trap", "vouchee_caught", "vouchee_ended", "ended"}
ANSWERS = {"null_trap": "vouchee_caught", "ended": "vouchee_ended"}
"""What a voucher is booked for when a key that it vouched for is booked."""
EVENTS_MAX = 16


@dataclass(frozen=True)
class Event:
    """One change of standing."""

    height: int
    claim: bytes | None
    round: int | None
    rule: str
    delta: int


@dataclass
class Tally:
    """Events of one rule, and the points that counted."""

    count: int = 0
    points: int = 0


@dataclass
class Account:
    """One peer's standing with everything that it is derived from."""

    start: int
    tallies: dict[str, Tally] = field(default_factory=dict)
    recent: list[Event] = field(default_factory=list)
    epoch: int = 0
    gained: int = 0
    frozen_until: int = 0
    suspended_until: int = 0
    ended: bool = False

    def standing(self) -> int:
        """Start plus points."""
        return max(0, self.start + sum(tally.points for tally in self.tallies.values()))

    def is_suspended(self, height: int) -> bool:
        """Whether the peer is kept from being drawn."""
        return self.ended or height < self.suspended_until

    def book(
        self,
        rule: str,
        occasion: tuple[int, bytes | None, int | None],
        epoch_blocks: int,
        gain_max: int,
    ) -> None:
        """Books one event; the occasion is height, claim and round."""
        height = occasion[0]
        if height // epoch_blocks != self.epoch:
            self.epoch, self.gained = height // epoch_blocks, 0
        worth, standing = RULES[rule], self.standing()
        if self.ended:
            delta = 0
        elif worth is None:
            delta = -standing
        elif worth < 0:
            delta = max(worth, 1 - standing)
        elif height < self.frozen_until:
            delta = 0
        else:
            delta = min(worth, max(0, gain_max - self.gained))
        self.gained += max(0, delta)
        if rule in MISBEHAVIOUR:
            self.frozen_until = height + epoch_blocks
            if rule == "null_trap":
                self.suspended_until = self.frozen_until
        self.ended = self.ended or rule == "ended"
        self._note(rule, delta, occasion)

    def give_back(self, points: int, occasion: tuple[int, bytes | None, int | None]) -> None:
        """Gives back what a ruling took that was reversed."""
        self._note("ruling_reversed", 0 if self.ended else points, occasion)

    def _note(self, rule: str, delta: int, occasion: tuple[int, bytes | None, int | None]) -> None:
        height, claim, number = occasion
        tally = self.tallies.setdefault(rule, Tally())
        tally.count += 1
        tally.points += delta
        self.recent = [*self.recent, Event(height, claim, number, rule, delta)][-EVENTS_MAX:]

    def spelt(self) -> dict[str, object]:
        """The account as the ledger spells it: rules in their order."""
        tallies = {rule: self.tallies[rule] for rule in RULES if rule in self.tallies}
        return {**self.__dict__, "tallies": tallies}
