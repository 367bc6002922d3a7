"""The verdict of a round (STATISTICS.md §4, §6)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from . import gates
from .calibration import Calibration, SpeedClass
from .evidence import Evidence
from .fdlibm import exp, log1p
from .gates import Flag, GateResult
from .genesis import Genesis, Quorum
from .numbers import M64, PPM, ppm
from .statistics import binomial_at_least, median, total

_OUTLIER_SIGMAS, _NOISE_FACTOR_MAX, _SIGMA_LEAST = 5.0, 4.0, 0.005


@dataclass(frozen=True)
class Estimate:
    """An estimate with its bounds, in millionths."""

    ppm: int
    low_ppm: int
    high_ppm: int


@dataclass(frozen=True)
class Dissent:
    """A seat at odds with a claim, and the first gate at which it is."""

    seat: bytes
    gate: str

    def is_exact(self) -> bool:
        """Whether noise cannot explain it."""
        return self.gate not in ("speed", "quality")


@dataclass(frozen=True)
class Verdict:
    """The ledger's word on a round, in the order in which it is spelt."""

    outcome: str
    lossless: bool
    ratio: Estimate | None
    perplexity_parent_ppm: int | None
    perplexity_child_ppm: int | None
    perplexity_ratio_ppm: int | None
    kl_micronats: int | None
    gates: list[GateResult]
    timed_by: int
    flags: list[Flag]
    attested_by: list[bytes]
    dissent: list[Dissent] = field(default_factory=list)
    forged_quorum_ppb: int = 0

    def has_speed(self) -> bool:
        """Whether it says something about speed."""
        return self.outcome in ("accepted", "refuted")

    def failed(self, *but: str) -> bool:
        """Whether a gate other than these failed."""
        return any(not found.pass_ and found.gate not in but for found in self.gates)


def _moments(values: list[float]) -> tuple[float, float]:
    """Mean and standard deviation."""
    n = float(len(values))
    mean = total(values) / n
    squares = total([(value - mean) * (value - mean) for value in values])
    return mean, math.sqrt(squares / max(n - 1.0, 1.0))


@dataclass(frozen=True)
class Middle:
    """Where the seats of a round lie together: what each of them is held against."""

    mean: float
    noise: float
    tau: float

    @staticmethod
    def of(genesis: Genesis, known: Calibration, seats: list[Evidence]) -> Middle | None:
        """The middle of the seats that have log ratios, of whose class so much is known."""
        measured = [_moments(seat.log_ratios) for seat in seats if seat.log_ratios]
        mean, noise = median([m for m, _ in measured]), median([s for _, s in measured])
        if mean is None or noise is None:
            return None
        tau = known.between_seats(genesis.significance).tau
        return Middle(mean, max(noise, known.sigma() or _SIGMA_LEAST, _SIGMA_LEAST), tau)

    def holds(self, seat: Evidence) -> bool:
        """Whether a seat's log ratios lie in range."""
        if not seat.log_ratios:
            return False
        mean, sigma = _moments(seat.log_ratios)
        squared = self.tau * self.tau + self.noise * self.noise / float(len(seat.log_ratios))
        near = math.fabs(mean - self.mean) <= _OUTLIER_SIGMAS * math.sqrt(squared)
        return near and sigma <= _NOISE_FACTOR_MAX * self.noise


def decide(
    genesis: Genesis, size: Quorum, speed_class: SpeedClass, seats: list[Evidence]
) -> Verdict:
    """Decides on the revealed measurements of a committee."""
    dishonest = float(genesis.committee.assumed_dishonest_ppm) / PPM
    forged = ppm(binomial_at_least(size.seats, size.quorum, dishonest) * 1_000.0)
    attested_by = [seat.seat for seat in seats]
    if len(seats) < size.quorum:
        figures = (None, None, None, None, None)
        return Verdict("inconclusive", False, *figures, [], 0, [], attested_by, [], forged)
    rules = genesis.significance
    timed = [seat for seat in seats if speed_class.fits(seat.measurement)]
    has_speed = len(timed) >= size.quorum
    known = speed_class.calibration.between_seats(rules)
    gain = gates.gain(rules, known, timed) if has_speed else None
    speed = gates.speed(rules, gain)
    results = [
        gates.identity(seats),
        gates.path(seats),
        gates.quality(genesis, seats),
        gates.reach(seats),
        gates.shape(seats),
        # What looks impossible raises a flag and refuses nothing.
        gates.GateResult("physics", True),
        speed,
        gates.repeat(seats),
    ]
    ratio = None
    if gain is not None:
        low, high = gain.pooled.bounds(float(rules.alpha_ppm) / PPM)
        ratio = Estimate(ppm(exp(gain.pooled.mean)), ppm(exp(low)), ppm(exp(high)))
    parent, child, to_base = gates.perplexities(seats)
    verdict = Verdict(
        "accepted",
        results[0].pass_,
        ratio,
        None if parent is None else ppm(parent),
        None if child is None else ppm(child),
        None if to_base is None else ppm(to_base),
        _kl_micronats(seats),
        results,
        len(timed),
        gates.flags(speed_class, seats),
        attested_by,
        [],
        forged,
    )
    return replace(verdict, outcome=_outcome(verdict, speed.pass_, has_speed))


def _outcome(verdict: Verdict, speed_passed: bool, has_speed: bool) -> str:
    if verdict.failed("identity", "speed"):
        return "refuted"
    if speed_passed:
        return "accepted"
    return "refuted" if has_speed else "pending"


def _kl_micronats(seats: list[Evidence]) -> int | None:
    nats = sum(pair.child.kl_micronats for seat in seats for pair in seat.pairs)
    tokens = sum(seat.child.decoded_tokens for seat in seats)
    if tokens == 0:
        return None
    per_token = -(-nats // tokens)
    return per_token if per_token <= M64 else None


def broken_gate(seat: Evidence) -> str | None:
    """The first gate on counts that a seat's own measurement breaks."""
    exact = (gate([seat]) for gate in (gates.path, gates.reach, gates.shape, gates.repeat))
    return next((result.gate for result in exact if not result.pass_), None)


def dissenters(genesis: Genesis, speed_class: SpeedClass, seats: list[Evidence]) -> list[Dissent]:
    """The seats at odds with a claim, each with the first gate at which it is."""
    timed = [seat for seat in seats if speed_class.fits(seat.measurement)]
    middle = Middle.of(genesis, speed_class.calibration, timed)
    outliers = {
        seat.seat for seat in timed if middle and seat.log_ratios and not middle.holds(seat)
    }
    differing = sum(not gates.identity([seat]).pass_ for seat in seats)
    lossless = differing < (len(seats) + 1) // 2
    found = []
    for seat in seats:
        broken = broken_gate(seat)
        if broken is None and not gates.within_bounds(genesis, seat):
            broken = "quality"
        if broken is None and seat.seat in outliers:
            broken = "speed"
        if broken is None and lossless and not gates.identity([seat]).pass_:
            broken = "identity"
        if broken is not None:
            found.append(Dissent(seat.seat, broken))
    return found


def _bounds(
    genesis: Genesis, speed_class: SpeedClass, seats: list[Evidence]
) -> tuple[float, float] | None:
    """What some seats' pairs alone say about the log ratio."""
    rules = genesis.significance
    gain = gates.gain(rules, speed_class.calibration.between_seats(rules), seats)
    return None if gain is None else gain.pooled.bounds(float(rules.alpha_ppm) / PPM)


def caught(genesis: Genesis, speed_class: SpeedClass, seats: list[Evidence]) -> list[bytes]:
    """The seats that report a gain by themselves where the others found none."""
    threshold = log1p(float(genesis.significance.eta_ppm) / PPM)
    reporting, others = list[tuple[bytes, float]](), list[Evidence]()
    for seat in seats:
        if speed_class.fits(seat.measurement):
            alone = _bounds(genesis, speed_class, [seat])
            if alone is not None and alone[0] > threshold:
                reporting.append((seat.seat, alone[0]))
            else:
                others.append(seat)
    bounds = _bounds(genesis, speed_class, others)
    if len(reporting) >= len(others) or bounds is None:
        return []
    return [seat for seat, low in reporting if low > bounds[1]]
