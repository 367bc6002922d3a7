"""Plans, and measurements with their labels resolved (LEDGER_RULES.md §8.3, STATISTICS.md §1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from .fdlibm import log
from .genesis import Genesis
from .hashing import Draw, round_bytes
from .measurement import ArmReport, Measurement, Score
from .numbers import M64


@dataclass(frozen=True)
class Plan:
    """What a seat had to measure, as far as its measurement shows it."""

    child_is_x: bool
    prompts: list[int]
    first_is_x: list[bool]
    warm_up: int
    reach_seed: int


def plan(
    genesis: Genesis, beacon: bytes, claim: bytes, number: int, pairs: int, seat: bytes
) -> Plan:
    """Draws the plan of a seat."""
    draw = Draw("assay seat plan v2", beacon, round_bytes(claim, number), seat)
    prompts = draw.distinct(pairs + 1, genesis.challenge.pool.prompts)
    warm_up = prompts.pop() if prompts else 0
    child_is_x = draw.below(2) == 0
    first: list[bool] = []
    while len(first) < len(prompts):
        leads = draw.below(2) == 0
        first += [leads, not leads]
    return Plan(child_is_x, prompts, first[: len(prompts)], warm_up, draw.next_u64())


@dataclass(frozen=True)
class Resolved:
    """One prompt of one seat, parent and child told apart."""

    parent_ns: int
    child_ns: int
    parent_prefill_us: int
    child_prefill_us: int
    parent: Score
    child: Score
    base_nll_micronats: int


@dataclass(frozen=True)
class Evidence:
    """One seat's contribution."""

    seat: bytes
    plan: Plan
    measurement: Measurement

    @property
    def child(self) -> ArmReport:
        """The child's counts."""
        return self.measurement.x if self.plan.child_is_x else self.measurement.y

    @property
    def parent(self) -> ArmReport:
        """The parent's counts."""
        return self.measurement.y if self.plan.child_is_x else self.measurement.x

    @cached_property
    def pairs(self) -> list[Resolved]:
        """The pairs in the order measured."""
        resolved = []
        for pair in self.measurement.pairs:
            x = (pair.x_ns, pair.x_prefill_us, pair.x_score)
            y = (pair.y_ns, pair.y_prefill_us, pair.y_score)
            child, parent = (x, y) if self.plan.child_is_x else (y, x)
            resolved.append(
                Resolved(
                    parent[0],
                    child[0],
                    parent[1],
                    child[1],
                    parent[2],
                    child[2],
                    pair.base_nll_micronats,
                )
            )
        return resolved

    @cached_property
    def log_ratios(self) -> list[float]:
        """Log of parent time over child time, a pair: positive means that the child is faster."""
        return [log(float(pair.parent_ns) / float(pair.child_ns)) for pair in self.pairs]


def count(seats: list[Evidence], field: Callable[[ArmReport], int]) -> int:
    """A count over the children of all seats, which stops at 64 bits."""
    return min(sum(field(seat.child) for seat in seats), M64)
