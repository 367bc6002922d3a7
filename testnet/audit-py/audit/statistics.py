"""Distributions, pooling and ranks (STATISTICS.md §2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from .fdlibm import erfc, exp, lgamma, log, log1p
from .numbers import divide

_TINY = 1e-300
_EXACT_RANKS = 256


def total(values: list[float]) -> float:
    """A sum from left to right; the built-in `sum` compensates for rounding since Python 3.12."""
    result = 0.0
    for value in values:
        result += value
    return result


def _away_from_zero(value: float) -> float:
    return _TINY if math.fabs(value) < _TINY else value


def _beta_fraction(a: float, b: float, x: float) -> float:
    c = 1.0
    d = 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    fraction = d
    for step in range(1, 20_001):
        m = float(step)
        even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        change = 1.0
        for coefficient in (even, odd):
            d = 1.0 / _away_from_zero(1.0 + coefficient * d)
            c = _away_from_zero(1.0 + coefficient / c)
            change = c * d
            fraction *= change
        if math.fabs(change - 1.0) < 1e-16:
            break
    return fraction


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I(a, b, x)."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _beta_fraction(a, b, x) / a
    return 1.0 - front * _beta_fraction(b, a, 1.0 - x) / b


def _upper_tail(t: float, df: float) -> float:
    return 0.5 * incomplete_beta(0.5 * df, 0.5, divide(df, df + t * t))


def student_cdf(t: float, df: float) -> float:
    """P(T ≤ t)."""
    tail = _upper_tail(t, df)
    return 1.0 - tail if t >= 0.0 else tail


@lru_cache(maxsize=1024)
def student_quantile(alpha: float, df: float) -> float:
    """The t with P(T > t) = alpha; infinite where there is none."""
    if not (df > 0.0 and 0.0 < alpha <= 0.5):
        return math.inf
    high = 1.0
    while _upper_tail(high, df) > alpha and high < 1e300:
        high *= 2.0
    low = 0.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            # The remaining halvings would leave both ends where they are.
            break
        if _upper_tail(middle, df) > alpha:
            low = middle
        else:
            high = middle
    return high


def binomial_at_least(trials: int, successes: int, p: float) -> float:
    """P(X ≥ successes) of so many trials with probability p each."""
    if successes == 0 or p >= 1.0:
        return 1.0
    if successes > trials or p <= 0.0:
        return 0.0
    n, k = float(trials), float(successes)
    return incomplete_beta(k, n - k + 1.0, p)


@dataclass(frozen=True)
class BetweenSeats:
    """What is known beforehand of how far seats of a class differ."""

    tau: float
    df: float


@dataclass(frozen=True)
class Pooled:
    """A pooled mean with its uncertainty."""

    mean: float
    error: float
    sigma: float
    df: float
    within_df: float
    own_tau_squared: float
    own_tau_df: float

    def bounds(self, alpha: float) -> tuple[float, float]:
        """Bounds with the one-sided error alpha each."""
        reach = student_quantile(alpha, self.df) * self.error
        return self.mean - reach, self.mean + reach


def _between_variance(means: list[float], counts: list[float], variance: float) -> float:
    k = float(len(means))
    if k < 2.0 or variance <= 0.0:
        grand = total(means) / k
        squares = total([(m - grand) * (m - grand) for m in means])
        return 0.0 if k < 2.0 else squares / (k - 1.0)
    weights = [divide(n, variance) for n in counts]
    weight_sum = total(weights)
    squared = total([w * w for w in weights])
    mean = divide(total([w * m for w, m in zip(weights, means)]), weight_sum)
    q = total([w * (m - mean) * (m - mean) for w, m in zip(weights, means)])
    excess = divide(q - (k - 1.0), weight_sum - divide(squared, weight_sum))
    return excess if excess > 0.0 else 0.0


def pool(seats: list[list[float]], known: BetweenSeats) -> Pooled | None:
    """Pools one list of values per seat; `None` where there is too little."""
    counts = [float(len(values)) for values in seats]
    seat_count = float(len(seats))
    within_df = total(counts) - seat_count
    if any(not values for values in seats) or within_df < 1.0:
        return None
    means = [total(values) / n for values, n in zip(seats, counts)]
    squares = total([(v - m) * (v - m) for values, m in zip(seats, means) for v in values])
    variance = squares / within_df
    seat_df = seat_count - 1.0
    df = known.df + seat_df
    estimated = _between_variance(means, counts, variance)
    tau_squared = (known.df * known.tau * known.tau + seat_df * estimated) / df
    weights = [divide(1.0, tau_squared + variance / n) for n in counts]
    weight_sum = total(weights)
    mean = divide(total([w * m for w, m in zip(weights, means)]), weight_sum)
    error = _sqrt(divide(1.0, weight_sum))
    if not (math.isfinite(mean) and math.isfinite(error)):
        return None
    return Pooled(mean, error, _sqrt(variance), df, within_df, estimated, seat_df)


def _sqrt(x: float) -> float:
    return math.sqrt(x) if x >= 0.0 else math.nan


def median(values: list[float]) -> float | None:
    """The middle of the values; of two the mean."""
    if not values:
        return None
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2.0


def _doubled_ranks(values: list[float]) -> list[int]:
    ranks: list[int] = []
    while len(ranks) < len(values):
        first = len(ranks)
        size = math.fabs(values[first])
        ties = first
        while ties < len(values) and math.fabs(values[ties]) == size:
            ties += 1
        ranks += [2 * (first + 1) + (ties - first) - 1] * (ties - first)
    return ranks


def _exact_tail(ranks: list[int], least: int) -> float:
    chances = [1.0] + [0.0] * sum(ranks)
    for rank in ranks:
        shifted = [0.0] * rank + chances[: len(chances) - rank]
        chances = [0.5 * (without + with_it) for without, with_it in zip(chances, shifted)]
    return total(chances[: least - 1 if least else None : -1])


def signed_rank_p(values: list[float]) -> float:
    """Wilcoxon's signed-rank test, one-sided: small when the values lie above zero."""
    if any(not math.isfinite(v) for v in values):
        return 1.0
    nonzero = sorted((v for v in values if v != 0.0), key=math.fabs)
    ranks = _doubled_ranks(nonzero)
    positive = sum(rank for v, rank in zip(nonzero, ranks) if v > 0.0)
    if positive == 0:
        return 1.0
    if len(nonzero) <= _EXACT_RANKS:
        return _exact_tail(ranks, positive)
    mean = total([float(r) for r in ranks]) / 2.0
    variance = total([float(r) * float(r) for r in ranks]) / 4.0
    z = (float(positive) - 1.0 - mean) / math.sqrt(variance)
    return 0.5 * erfc(z / 1.4142135623730951)


def power(
    seats: int,
    pairs: int,
    sigma: float,
    between: BetweenSeats,
    alpha: float,
    eta: float,
    gain: float,
) -> float:
    """The probability that so many seats of so many pairs find a true gain."""
    k = float(seats)
    df = between.df + k - 1.0
    variance = (between.tau * between.tau + sigma * sigma / float(pairs)) / k
    distance = log1p(gain) - log1p(eta)
    reach = student_quantile(alpha, df)
    found = student_cdf(divide(distance, math.sqrt(variance)) - reach, df)
    return found if math.isfinite(found) else 0.0
