"""Draws of committees (LEDGER_RULES.md §8.3)."""

from __future__ import annotations

from .hashing import Draw
from .model import Candidate, Committee


def draw_committee(
    beacon: bytes, round: bytes, candidates: list[Candidate], seats: int, reserves: int
) -> Committee:
    """Draws seats and reserves: by weight, one peer per operator, tier by tier."""
    return draw_seats(Draw("assay committee draw v2", beacon, round), candidates, seats, reserves)


def draw_seats(draw: Draw, candidates: list[Candidate], seats: int, reserves: int) -> Committee:
    """As `draw_committee`, from a stream of the caller's."""
    left, drawn = list(candidates), list[bytes]()
    while len(drawn) < seats + reserves and left:
        tier = min(candidate.tier for candidate in left)
        eligible = [candidate for candidate in left if candidate.tier == tier]
        ticket = draw.below(sum(candidate.weight for candidate in eligible))
        for chosen in eligible:
            if ticket < chosen.weight:
                break
            ticket -= chosen.weight
        drawn.append(chosen.peer)
        left = [candidate for candidate in left if candidate.operator != chosen.operator]
    return Committee(drawn[:seats], drawn[seats:])
