"""Floats as integers (STATISTICS.md §2)."""

from __future__ import annotations

import math

M64 = (1 << 64) - 1
M32 = (1 << 32) - 1
PPM = 1e6


def divide(a: float, b: float) -> float:
    """a / b as IEEE 754 has it: never an exception."""
    if b != 0.0:
        return a / b
    if a == 0.0 or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def to_u64(x: float) -> int:
    """A float as an unsigned integer: fraction dropped, clamped, NaN as 0."""
    if math.isnan(x) or x <= 0.0:
        return 0
    return M64 if x >= 1.8446744073709552e19 else int(x)


def round_half_away(x: float) -> float:
    """To the nearest integer, halves away from zero."""
    if math.isnan(x) or math.isinf(x):
        return x
    moved = x + math.copysign(0.49999999999999994, x)
    return moved if math.isinf(moved) else float(math.trunc(moved))


def ppm(x: float) -> int:
    """Whole millionths."""
    return to_u64(round_half_away(x * PPM))
