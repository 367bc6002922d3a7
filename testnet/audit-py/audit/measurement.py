"""One seat's raw data (LEDGER.md §6, §10)."""

from __future__ import annotations

from dataclasses import dataclass

from .codec import Message

PAIRS_MAX = 64
PAIR_NS_MAX = 3_600_000_000_000
PREFILL_US_MAX = (1 << 28) - 1
MICRONATS_MAX = 4_096_000_000_000
TEXT_BYTES_MAX = 120
MEASUREMENT_BYTES_MAX = 8 * 1024


class Reject(Exception):
    """A record that does not apply."""


class BadSignature(Reject):
    """A record with a signature that does not verify."""


class NoMember(Reject):
    """A record of somebody who may say nothing."""


def require(holds: bool, reason: str) -> None:
    """Rejects the record unless something holds."""
    if not holds:
        raise Reject(reason)


def present(message: Message, field: str) -> Message:
    """A part of a message that must be there."""
    part = message.message(field)
    if part is None:
        raise Reject(f"field {field} is missing")
    return part


@dataclass(frozen=True)
class Score:
    """How close one arm came to the base checkpoint on one prompt."""

    kl_micronats: int
    agreements: int
    nll_micronats: int


@dataclass(frozen=True)
class Pair:
    """One prompt decoded by both arms."""

    prompt: int
    x_ns: int
    y_ns: int
    x_prefill_us: int
    y_prefill_us: int
    x_tokens: bytes
    y_tokens: bytes
    x_score: Score
    y_score: Score
    base_nll_micronats: int


@dataclass(frozen=True)
class ArmReport:
    """Counts and sums over everything that an arm decoded."""

    decoded_tokens: int
    scored_tokens: int
    identity_breaks: int
    near_ties: int
    choice_breaks: int
    path_breaks: int
    path_positions: int
    repeat_breaks: int
    repeat_positions: int
    nonfinite_logits: int
    shape: bytes
    bytes_per_token: int
    reach_positions: int
    reach_breaks: int


@dataclass(frozen=True)
class Environment:
    """Where a measurement was taken."""

    adapter: str
    backend: str
    driver: str
    hardware_class: str
    bandwidth_mb_s: int
    load_before_milli: int
    load_after_milli: int
    repeats: int
    engine: str
    compute_mflop_s: int
    clock_before_mhz: int
    clock_after_mhz: int
    temperature_before_celsius: int
    temperature_after_celsius: int


@dataclass(frozen=True)
class Measurement:
    """Everything that one seat reveals about one claim."""

    pairs: list[Pair]
    x: ArmReport
    y: ArmReport
    environment: Environment


def _score(pair: Message, field: str) -> Score:
    score = present(pair, field)
    kl, nll = score.number("kl_micronats"), score.number("nll_micronats")
    require(kl <= MICRONATS_MAX, "too many millionths of a nat in kl_micronats")
    require(nll <= MICRONATS_MAX, "too many millionths of a nat in nll_micronats")
    return Score(kl, score.number("agreements"), nll)


def _pair(pair: Message, x_us: int, y_us: int) -> Pair:
    for us in (x_us, y_us):
        require(1 <= us <= PREFILL_US_MAX, f"a prefill of {us} us")
    for time in ("x_ns", "y_ns"):
        require(1 <= pair.number(time) <= PAIR_NS_MAX, f"{time} is {pair.number(time)}")
    for digest in ("x_tokens", "y_tokens"):
        require(len(pair.data(digest)) == 16, f"{digest} has {len(pair.data(digest))} bytes")
    base = pair.number("base_nll_micronats")
    require(base <= MICRONATS_MAX, "too many millionths of a nat in base_nll_micronats")
    return Pair(
        pair.number("prompt"),
        pair.number("x_ns"),
        pair.number("y_ns"),
        x_us,
        y_us,
        pair.data("x_tokens"),
        pair.data("y_tokens"),
        _score(pair, "x_score"),
        _score(pair, "y_score"),
        base,
    )


def _arm(arm: Message) -> ArmReport:
    require(len(arm.data("shape")) == 32, f"shape has {len(arm.data('shape'))} bytes")
    for part, whole in (
        ("near_ties", "identity_breaks"),
        ("choice_breaks", "decoded_tokens"),
        ("path_breaks", "path_positions"),
        ("repeat_breaks", "repeat_positions"),
        ("reach_breaks", "reach_positions"),
    ):
        require(arm.number(part) <= arm.number(whole), f"{part} exceeds {whole}")
    values = {
        name: arm.data(name) if name == "shape" else arm.number(name)
        for name in ArmReport.__dataclass_fields__
    }
    return ArmReport(**values)  # type: ignore[arg-type]


def _environment(environment: Message) -> Environment:
    values: dict[str, str | int] = {}
    for name, field in Environment.__dataclass_fields__.items():
        if field.type == "str":
            text = environment.text(name)
            require(len(text.encode()) <= TEXT_BYTES_MAX, f"{name} is too long")
            values[name] = text
        else:
            values[name] = environment.number(name)
    return Environment(**values)  # type: ignore[arg-type]


def read(message: Message) -> Measurement:
    """Reads a measurement, checking lengths, counts and that times are positive."""
    require(len(message.raw) <= MEASUREMENT_BYTES_MAX, f"{len(message.raw)} bytes of measurement")
    pairs = message.messages("pairs")
    require(len(pairs) <= PAIRS_MAX, f"{len(pairs)} pairs")
    x_us, y_us = message.numbers("x_prefill_us"), message.numbers("y_prefill_us")
    require(len(x_us) == len(y_us) == len(pairs), "as many prefills as pairs")
    return Measurement(
        [_pair(*measured) for measured in zip(pairs, x_us, y_us, strict=True)],
        _arm(present(message, "x")),
        _arm(present(message, "y")),
        _environment(present(message, "environment")),
    )
