"""The gates (STATISTICS.md §3)."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

from .calibration import SpeedClass
from .evidence import Evidence, Resolved, count
from .fdlibm import exp, log, log1p
from .genesis import Genesis, SignificanceRules
from .numbers import M32, M64, PPM, divide, ppm
from .statistics import (
    BetweenSeats,
    Pooled,
    binomial_at_least,
    median,
    pool,
    signed_rank_p,
    student_quantile,
    total,
)

_PREFILL_RATIO, _PREFILL_ALPHA, _BANDWIDTH_FACTOR_MAX = 2.0, 0.001, 1.5


@dataclass(frozen=True)
class GateResult:
    """What a gate found."""

    gate: str
    pass_: bool

    def spelt(self) -> dict[str, object]:
        """The gate as the ledger spells it: sentences for people are left empty."""
        return {"gate": self.gate, "pass": self.pass_, "detail": ""}


@dataclass(frozen=True)
class Flag:
    """What looks impossible or evasive on one seat."""

    kind: str
    seat: bytes
    ppm: int


def identity(seats: list[Evidence]) -> GateResult:
    """The built-in bundle decodes the same tokens, near-ties excused."""
    tokens = count(seats, lambda arm: arm.decoded_tokens)
    breaks = count(seats, lambda arm: max(0, arm.identity_breaks - arm.near_ties))
    return GateResult("identity", tokens > 0 and breaks == 0)


def path(seats: list[Evidence]) -> GateResult:
    """Prefill and decode agree, and what is emitted is the recipe's own choice."""
    positions = count(seats, lambda arm: arm.path_positions)
    breaks = count(seats, lambda arm: arm.path_breaks)
    choices = count(seats, lambda arm: arm.choice_breaks)
    return GateResult("path", positions > 0 and breaks == 0 and choices == 0)


def reach(seats: list[Evidence]) -> GateResult:
    """The whole vocabulary and the whole context are there."""
    positions = count(seats, lambda arm: arm.reach_positions)
    breaks = count(seats, lambda arm: arm.reach_breaks)
    return GateResult("reach", positions > 0 and breaks == 0)


def shape(seats: list[Evidence]) -> GateResult:
    """Every seat loaded the same shape for the child as for the parent."""
    differing = sum(seat.child.shape != seat.parent.shape for seat in seats)
    return GateResult("shape", bool(seats) and differing == 0)


def repeat(seats: list[Evidence]) -> GateResult:
    """The same prompt decodes to the same tokens again."""
    positions = count(seats, lambda arm: arm.repeat_positions)
    breaks = count(seats, lambda arm: arm.repeat_breaks)
    return GateResult("repeat", positions > 0 and breaks == 0)


def _class_bandwidth(
    speed_class: SpeedClass, seat: Evidence, seats: list[Evidence]
) -> float | None:
    """What machines of the seat's class deliver, in MB/s, as far as is known."""
    own = seat.measurement.environment
    if own.hardware_class == speed_class.name:
        ledgered = speed_class.calibration.bandwidth_mb_s.known()
        if ledgered is not None:
            return ledgered
    others = [other.measurement.environment for other in seats if other.seat != seat.seat]
    return median(
        [
            float(other.bandwidth_mb_s)
            for other in others
            if other.hardware_class == own.hardware_class and other.bandwidth_mb_s > 0
        ]
    )


def _bandwidth(speed_class: SpeedClass, seat: Evidence, seats: list[Evidence]) -> float:
    """What the seat's memory is believed to deliver, in MB/s."""
    known = _class_bandwidth(speed_class, seat, seats)
    claimed = float(seat.measurement.environment.bandwidth_mb_s)
    return claimed if known is None else min(claimed, known * _BANDWIDTH_FACTOR_MAX)


def _roofline_share(
    speed_class: SpeedClass, seat: Evidence, seats: list[Evidence], child: bool = True
) -> float:
    times = [pair.child_ns if child else pair.parent_ns for pair in seat.pairs]
    arm, arm_ns = seat.child if child else seat.parent, float(min(sum(times), M64))
    weights = float(arm.bytes_per_token) * float(arm.decoded_tokens)
    floor_us = divide(weights, _bandwidth(speed_class, seat, seats))
    return divide(floor_us * 1_000.0, arm_ns)


def excess(speed_class: SpeedClass, seats: list[Evidence]) -> bool:
    """Whether a child is faster than the memory of a class that is known, and its parent is not."""
    if speed_class.calibration.bandwidth_mb_s.known() is None:
        return False
    timed = [seat for seat in seats if speed_class.fits(seat.measurement)]
    middles = [
        median([_roofline_share(speed_class, seat, timed, child) for seat in timed])
        for child in (True, False)
    ]
    child, parent = (None if share is None else ppm(share) for share in middles)
    return child is not None and parent is not None and child > 10**6 >= parent


def _prefill_excess(seat: Evidence) -> list[float]:
    ratios = (float(pair.child_prefill_us) / float(pair.parent_prefill_us) for pair in seat.pairs)
    return [log(ratio / _PREFILL_RATIO) for ratio in ratios]


def flags(speed_class: SpeedClass, seats: list[Evidence]) -> list[Flag]:
    """Every flag that the raw data of a round raise whose claim is about this class."""
    excesses = [_prefill_excess(seat) for seat in seats]
    together = signed_rank_p([v for excess in excesses for v in excess]) <= _PREFILL_ALPHA
    found = []
    for seat, excess in zip(seats, excesses, strict=True):
        share = _roofline_share(speed_class, seat, seats)
        if share > 1.0:
            found.append(Flag("roofline", seat.seat, ppm(share)))
        typical = median(excess)
        slower = together or signed_rank_p(excess) <= _PREFILL_ALPHA
        if slower and typical is not None and typical > 0.0:
            found.append(Flag("prefill", seat.seat, ppm(exp(typical) * _PREFILL_RATIO)))
    # Within a seat, roofline is found before prefill, and sorting keeps that.
    return sorted(found, key=lambda flag: flag.seat)


@dataclass(frozen=True)
class Quality:
    """Figures of the quality gate."""

    kl: float
    kl_high: float
    agreement: float
    agreement_p: float
    perplexity_ratio: float
    perplexity_ratio_high: float


def _upper(values: list[float], alpha: float) -> tuple[float, float] | None:
    """A mean and its upper bound."""
    if len(values) < 2:
        return None
    ordered, n = sorted(values), float(len(values))
    squares = total([v * v for v in ordered])
    mean = total(ordered) / n
    error = math.sqrt(squares / (n - 1.0) / n)
    return mean, mean + student_quantile(alpha, n - 1.0) * error if error > 0.0 else mean


def quality_figures(genesis: Genesis, seats: list[Evidence]) -> Quality | None:
    """Closeness to the base checkpoint; `None` with too few prompts."""
    alpha = float(genesis.significance.alpha_ppm) / PPM
    decoded = float(genesis.measurement.decode_tokens)
    scored = float(genesis.challenge.pool.scored_tokens)
    pairs = [pair for seat in seats for pair in seat.pairs]
    kl = _upper([float(pair.child.kl_micronats) / PPM / decoded for pair in pairs], alpha)
    differences = [
        float(max(0, pair.child.nll_micronats - pair.base_nll_micronats)) / PPM / scored
        for pair in pairs
    ]
    worse = _upper(differences, alpha)
    possible = genesis.measurement.decode_tokens
    agreements = min(sum(min(pair.child.agreements, possible) for pair in pairs), M32)
    tokens = min(count(seats, lambda arm: arm.decoded_tokens), M32)
    if kl is None or worse is None or tokens == 0:
        return None
    least = float(genesis.challenge.agreement_min_ppm) / PPM
    return Quality(
        kl[0],
        kl[1],
        float(agreements) / float(tokens),
        binomial_at_least(tokens, min(agreements, tokens), least),
        exp(worse[0]),
        exp(worse[1]),
    )


def quality(genesis: Genesis, seats: list[Evidence]) -> GateResult:
    """Close to the base checkpoint, by one-sided bounds."""
    found = quality_figures(genesis, seats)
    if found is None:
        return GateResult("quality", False)
    nonfinite = count(seats, lambda arm: arm.nonfinite_logits)
    bounds = genesis.challenge
    passes = (
        nonfinite == 0
        and found.kl_high <= float(bounds.kl_max_micronats) / PPM
        and found.agreement_p <= float(genesis.significance.alpha_ppm) / PPM
        and found.perplexity_ratio_high <= float(bounds.perplexity_ratio_max_ppm) / PPM
    )
    return GateResult("quality", passes)


def within_bounds(genesis: Genesis, seat: Evidence) -> bool:
    """Whether a seat's own figures, not their bounds, are close enough to the base."""
    found, bounds = quality_figures(genesis, [seat]), genesis.challenge
    return (
        found is not None
        and seat.child.nonfinite_logits == 0
        and found.kl <= float(bounds.kl_max_micronats) / PPM
        and found.agreement >= float(bounds.agreement_min_ppm) / PPM
        and found.perplexity_ratio <= float(bounds.perplexity_ratio_max_ppm) / PPM
    )


@dataclass(frozen=True)
class Gain:
    """The seats' gain, and the rank test's opinion of it."""

    pooled: Pooled
    rank_p: float


def gain(rules: SignificanceRules, known: BetweenSeats, seats: list[Evidence]) -> Gain | None:
    """Pools the seats in one order, whatever theirs was."""
    lists = sorted(
        (seat.log_ratios for seat in seats),
        key=lambda values: [struct.unpack("<Q", struct.pack("<d", v))[0] for v in values],
    )
    pooled = pool(lists, known)
    if pooled is None:
        return None
    threshold = log1p(float(rules.eta_ppm) / PPM)
    return Gain(pooled, signed_rank_p([v - threshold for values in lists for v in values]))


def speed(rules: SignificanceRules, found: Gain | None) -> GateResult:
    """Faster than the parent by more than noise."""
    if found is None:
        return GateResult("speed", False)
    needed, alpha = 1.0 + float(rules.eta_ppm) / PPM, float(rules.alpha_ppm) / PPM
    low, _ = found.pooled.bounds(alpha)
    return GateResult("speed", exp(low) > needed and found.rank_p <= alpha)


def _perplexity(seat: Evidence, nll: Callable[[Resolved], int]) -> float | None:
    nats, tokens = min(sum(map(nll, seat.pairs)), M64), seat.child.scored_tokens
    return exp(float(nats) / PPM / float(tokens)) if tokens else None


def perplexities(seats: list[Evidence]) -> tuple[float | None, float | None, float | None]:
    """Of the parent, of the child, and of the child over the base's: of the seat in the middle."""
    parents, children, ratios = list[float](), list[float](), list[float]()
    for seat in seats:
        parent = _perplexity(seat, lambda pair: pair.parent.nll_micronats)
        child = _perplexity(seat, lambda pair: pair.child.nll_micronats)
        base = _perplexity(seat, lambda pair: pair.base_nll_micronats)
        if parent is not None and child is not None and base is not None:
            parents.append(parent)
            children.append(child)
            ratios.append(divide(child, base))
    return median(parents), median(children), median(ratios)
