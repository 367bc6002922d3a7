"""What the ledger has learned about a hardware class (STATISTICS.md §5)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from .fdlibm import exp, log
from .genesis import Genesis, Quorum, SignificanceRules
from .measurement import Environment, Measurement
from .numbers import M64, PPM, divide, to_u64
from .statistics import BetweenSeats, Pooled, median, power

_SQUARES, _LOGS = 1e12, 1e6
_GROWTH_MAX, _DF_MAX, _SEATS_KNOWN_MIN, _FIGURE_FACTOR_MAX = 4.0, 200.0, 5, 4.0
_REMEMBERED, _VARIANCE_LEAST = 1_000, 1e-8
_POWER = 0.9


def _faded(total: int, count: int) -> tuple[int, int]:
    """A sum and its count, of which no more than a thousand are remembered."""
    total, count = min(total, M64), min(count, M64)
    return total * min(count, _REMEMBERED) // max(1, count), min(count, _REMEMBERED)


@dataclass(frozen=True)
class Variance:
    """A sum of squares, in 10⁻¹², with its degrees of freedom."""

    squares: int = 0
    df: int = 0

    def estimate(self) -> float | None:
        """The variance, once anything is known."""
        return float(self.squares) / _SQUARES / float(self.df) if self.df else None

    def plus(self, variance: float, df: float) -> Variance:
        """With more values."""
        squares = self.squares + to_u64(variance * df * _SQUARES)
        return Variance(*_faded(squares, self.df + to_u64(df)))


@dataclass(frozen=True)
class Typical:
    """A geometric mean; logarithms in 10⁻⁶."""

    logs: int = 0
    count: int = 0

    def value(self) -> float | None:
        """The mean, once anything is known."""
        return exp(float(self.logs) / _LOGS / float(self.count)) if self.count else None

    def plus(self, values: list[int]) -> Typical:
        """With what the seats of one round say; 0 says that a probe did not run."""
        figures = [float(value) for value in values if value > 0]
        middle, known = median(figures), self
        if middle is None:
            return self
        least, most = middle / _FIGURE_FACTOR_MAX, middle * _FIGURE_FACTOR_MAX
        for figure in figures:
            clamped = min(max(figure, least), most)
            if clamped >= 1.0:
                logs = known.logs + to_u64(log(clamped) * _LOGS)
                known = Typical(*_faded(logs, known.count + 1))
        return known

    def known(self) -> float | None:
        """The value, once it rests on enough to be held against a seat."""
        return self.value() if self.count >= _SEATS_KNOWN_MIN else None

    def is_far_from(self, value: int) -> bool:
        """Whether a value is another machine's."""
        typical = self.known()
        if typical is None:
            return False
        return not 0.25 <= divide(float(value), typical) <= 4.0


@dataclass(frozen=True)
class Effort:
    """How much a round measures."""

    size: Quorum
    pairs: int


def _grown(size: Quorum, seats: int) -> Quorum:
    seats = max(seats, size.seats)
    return Quorum(seats, -(-seats * size.quorum // size.seats))


@dataclass(frozen=True)
class Calibration:
    """Noise and figures of one hardware class."""

    rounds: int = 0
    within: Variance = field(default_factory=Variance)
    between: Variance = field(default_factory=Variance)
    bandwidth_mb_s: Typical = field(default_factory=Typical)
    compute_mflop_s: Typical = field(default_factory=Typical)
    base_ps_per_token: Typical = field(default_factory=Typical)

    def between_seats(self, rules: SignificanceRules) -> BetweenSeats:
        """How far seats of the class differ, as far as is known."""
        assumed, assumed_df = float(rules.tau_ppm) / PPM, float(rules.tau_df)
        df = assumed_df + float(self.between.df)
        squares = assumed * assumed * assumed_df + float(self.between.squares) / _SQUARES
        return BetweenSeats(math.sqrt(squares / df), min(df, _DF_MAX))

    def sigma(self) -> float | None:
        """Standard deviation of a pair's log ratio within a seat, once anything is known."""
        variance = self.within.estimate()
        return None if variance is None else math.sqrt(variance)

    def effort(self, genesis: Genesis, smallest: Quorum, seats_max: int) -> Effort:
        """Seats and pairs that find the planned gain in nine of ten claims."""
        rules, measured = genesis.significance, genesis.measurement
        sigma, between = self.sigma(), self.between_seats(rules)
        if sigma is None:
            return Effort(smallest, measured.pairs)
        shares = (rules.alpha_ppm / PPM, rules.eta_ppm / PPM, rules.gain_ppm / PPM)

        def finds(seats: int, pairs: int) -> bool:
            return power(seats, pairs, sigma, between, *shares) >= _POWER

        for pairs in range(2, measured.pairs + 1, 2):
            if finds(smallest.seats, pairs):
                return Effort(smallest, min(max(pairs, measured.pairs_min), measured.pairs))
        enough = (k for k in range(1, seats_max + 1) if finds(k, measured.pairs))
        return Effort(_grown(smallest, next(enough, seats_max)), measured.pairs)

    def learn(
        self, rules: SignificanceRules, pooled: Pooled, environments: list[Environment]
    ) -> Calibration:
        """With a settled round added."""
        tau = self.between_seats(rules).tau

        def capped(variance: float, known: float | None) -> float:
            if known is not None and variance > _GROWTH_MAX * known:
                return _GROWTH_MAX * known
            return max(variance, _VARIANCE_LEAST)

        within = capped(pooled.sigma * pooled.sigma, self.within.estimate())
        between = capped(pooled.own_tau_squared, tau * tau)
        bandwidth = self.bandwidth_mb_s.plus([seat.bandwidth_mb_s for seat in environments])
        compute = self.compute_mflop_s.plus([seat.compute_mflop_s for seat in environments])
        return replace(
            self,
            rounds=self.rounds + 1,
            within=self.within.plus(within, pooled.within_df),
            between=self.between.plus(between, pooled.own_tau_df),
            bandwidth_mb_s=bandwidth,
            compute_mflop_s=compute,
        )

    def learn_base(self, ps_per_token: list[int]) -> Calibration:
        """With how fast the seats of a round decoded the base recipe."""
        return replace(self, base_ps_per_token=self.base_ps_per_token.plus(ps_per_token))

    def admits(self, environment: Environment) -> bool:
        """Whether a seat's probes are those of this class."""
        return not (
            self.bandwidth_mb_s.is_far_from(environment.bandwidth_mb_s)
            or self.compute_mflop_s.is_far_from(environment.compute_mflop_s)
        )


@dataclass(frozen=True)
class SpeedClass:
    """The class that a claim is about, with what was known of it at the draw."""

    name: str
    calibration: Calibration

    def fits(self, measurement: Measurement) -> bool:
        """Whether a measurement may speak about the speed."""
        environment = measurement.environment
        return environment.hardware_class == self.name and self.calibration.admits(environment)
