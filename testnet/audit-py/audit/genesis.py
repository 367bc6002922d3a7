"""The genesis file (LEDGER.md §4)."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from .codec import bytes_field, int_field
from .hashing import M64, tagged
from .spelling import spell
from .statistics import binomial_at_least


class GenesisError(Exception):
    """A genesis that no network can start from."""


@dataclass(frozen=True)
class Drafter:
    """Drafting, when a recipe uses it."""

    checkpoint: bytes
    draft_len: int


@dataclass(frozen=True)
class Recipe:
    """All that decides tokens and speed."""

    checkpoint: bytes
    bundle: bytes | None = None
    drafter: Drafter | None = None

    def id(self) -> bytes:
        """The hash of its encoding."""
        encoded = bytes_field(1, self.checkpoint) + bytes_field(2, self.bundle or b"")
        if self.drafter:
            encoded += bytes_field(3, self.drafter.checkpoint)
            encoded += int_field(4, self.drafter.draft_len)
        return tagged("assay recipe v1", encoded)


@dataclass(frozen=True)
class Founder:
    """A founding member."""

    name: str
    operator: str
    peer: bytes
    vrf: bytes
    standing: int


@dataclass(frozen=True)
class PromptPool:
    """Where prompts come from."""

    text: bytes
    prompts: int
    prompt_tokens: int
    scored_tokens: int


@dataclass(frozen=True)
class Challenge:
    """What is measured."""

    name: str
    base: Recipe
    pool: PromptPool
    kl_max_micronats: int
    agreement_min_ppm: int
    perplexity_ratio_max_ppm: int


@dataclass(frozen=True)
class Quorum:
    """How many measure, and how many of them a verdict needs."""

    seats: int
    quorum: int


@dataclass(frozen=True)
class CommitteeRules:
    """How seats are drawn and how long they have."""

    seats: int
    reserves: int
    quorum: int
    frontier: Quorum
    seats_max: int
    seal_ms: int
    reveal_ms: int
    measuring_max: int
    docket_max: int
    open_per_operator: int
    audit_ppm: int
    null_ppm: int
    assumed_dishonest_ppm: int


@dataclass(frozen=True)
class MeasurementRules:
    """How much a seat measures."""

    pairs: int
    pairs_min: int
    decode_tokens: int
    reach_tokens: int
    context_tokens: int


@dataclass(frozen=True)
class SignificanceRules:
    """When a difference counts."""

    alpha_ppm: int
    eta_ppm: int
    gain_ppm: int
    tau_ppm: int
    tau_df: int


@dataclass(frozen=True)
class MembershipRules:
    """How members come in."""

    epoch_blocks: int
    vouches_per_epoch: int
    vouch_standing_min: int
    probation_rounds: int
    gain_per_epoch_max: int
    silent_blocks: int


@dataclass(frozen=True)
class VotingRules:
    """How members change the numbers above."""

    window_ms: int
    delay_blocks: int


@dataclass(frozen=True)
class Genesis:
    """Everything that a network starts from."""

    name: str
    time_ms: int
    members: list[Founder]
    challenge: Challenge
    committee: CommitteeRules
    measurement: MeasurementRules
    significance: SignificanceRules
    membership: MembershipRules
    voting: VotingRules

    def network(self) -> bytes:
        """The network's id."""
        return tagged("assay network id v1", spell(self))


def is_control(character: str) -> bool:
    """Whether a character is of the Unicode category Cc."""
    code = ord(character)
    return code < 0x20 or 0x7F <= code < 0xA0


def is_name(text: str) -> bool:
    """Whether a text may name a peer or an operator."""
    return 1 <= len(text.encode()) <= 64 and not any(map(is_control, text)) and text.strip() == text


def _parse(kind: Any, value: Any, path: str) -> Any:
    """Reads a value of a type; structures must have exactly their keys."""
    arguments = get_args(kind)
    if type(None) in arguments:
        if value is None:
            return None
        return _parse(next(a for a in arguments if a is not type(None)), value, path)
    if get_origin(kind) is list and isinstance(value, list):
        return [_parse(arguments[0], element, f"{path}[]") for element in value]
    if is_dataclass(kind) and isinstance(kind, type) and isinstance(value, dict):
        hints = get_type_hints(kind)
        names = [field.name for field in fields(kind)]
        unknown = set(value) - set(names)
        if unknown:
            raise GenesisError(f"{path} has unknown fields {sorted(unknown)}")
        known: dict[str, Any] = {}
        for name in names:
            if name in value:
                known[name] = _parse(hints[name], value[name], f"{path}.{name}")
            elif type(None) not in get_args(hints[name]):
                raise GenesisError(f"{path} has no field {name}")
        return kind(**known)
    if kind is int and type(value) is int and 0 <= value <= M64:
        return value
    if kind is str and isinstance(value, str):
        return value
    if kind is bytes and isinstance(value, str) and len(value) == 64:
        try:
            return bytes.fromhex(value)
        except ValueError:
            pass
    raise GenesisError(f"{path} is {value!r}")


def _limits(genesis: Genesis) -> list[tuple[str, int, int, int]]:
    """Every number with the least and the most that it may be."""
    c, m, s, r = genesis.committee, genesis.measurement, genesis.significance, genesis.membership
    pool = genesis.challenge.pool
    return [
        ("members", len(genesis.members), 4, 64),
        *(("members.standing", member.standing, 1, 1_000_000) for member in genesis.members),
        ("challenge.pool.prompts", pool.prompts, m.pairs + 1, (1 << 32) - 1),
        ("challenge.pool.prompt_tokens", pool.prompt_tokens, 1, 4096),
        ("challenge.pool.scored_tokens", pool.scored_tokens, 1, 4096),
        ("measurement.pairs", m.pairs, 2, 64),
        ("measurement.pairs_min", m.pairs_min, 2, m.pairs),
        ("measurement.decode_tokens", m.decode_tokens, 2, 4096),
        ("measurement.reach_tokens", m.reach_tokens, 1, 1024),
        ("measurement.context_tokens", m.context_tokens, 1, 65_536),
        ("committee.seats", c.seats, 1, 64),
        ("committee.quorum", c.quorum, 1, c.seats),
        ("committee.frontier.seats", c.frontier.seats, 1, 64),
        ("committee.frontier.quorum", c.frontier.quorum, 1, c.frontier.seats),
        ("committee.seats_max", c.seats_max, max(c.seats, c.frontier.seats), 64),
        ("committee.reserves", c.reserves, 0, 64),
        ("committee.seal_ms", c.seal_ms, 1_000, 86_400_000),
        ("committee.reveal_ms", c.reveal_ms, 1_000, 86_400_000),
        ("committee.measuring_max", c.measuring_max, 1, 64),
        ("committee.docket_max", c.docket_max, 1, 1024),
        ("committee.open_per_operator", c.open_per_operator, 1, c.docket_max),
        ("committee.audit_ppm", c.audit_ppm, 0, 1_000_000),
        ("committee.null_ppm", c.null_ppm, 0, 500_000),
        ("committee.assumed_dishonest_ppm", c.assumed_dishonest_ppm, 0, 500_000),
        ("significance.alpha_ppm", s.alpha_ppm, 1, 500_000),
        ("significance.eta_ppm", s.eta_ppm, 0, 1_000_000),
        ("significance.gain_ppm", s.gain_ppm, max(1, s.eta_ppm), 1_000_000),
        ("significance.tau_ppm", s.tau_ppm, 1, 1_000_000),
        ("significance.tau_df", s.tau_df, 1, 1000),
        ("membership.epoch_blocks", r.epoch_blocks, 1, 1_000_000),
        ("membership.vouches_per_epoch", r.vouches_per_epoch, 0, 16),
        ("membership.vouch_standing_min", r.vouch_standing_min, 1, 1_000_000),
        ("membership.probation_rounds", r.probation_rounds, 1, 1_000),
        ("membership.gain_per_epoch_max", r.gain_per_epoch_max, 1, 4),
        ("membership.silent_blocks", r.silent_blocks, 8 * len(genesis.members), 1_000_000),
        ("voting.window_ms", genesis.voting.window_ms, 1_000, 2_592_000_000),
        ("voting.delay_blocks", genesis.voting.delay_blocks, 1, 100),
    ]


def check(genesis: Genesis) -> None:
    """Refuses what no network can start from."""
    for name, value, least, most in _limits(genesis):
        if not least <= value <= most:
            raise GenesisError(f"{name} is {value}, not {least} to {most}")
    m = genesis.measurement
    if m.pairs % 2 or m.pairs_min % 2:
        raise GenesisError("measurement.pairs and pairs_min must be even")
    for what in ({member.peer for member in genesis.members}, {m.name for m in genesis.members}):
        if len(what) != len(genesis.members):
            raise GenesisError("the same member twice")
    if not all(is_name(m.name) and is_name(m.operator) for m in genesis.members):
        raise GenesisError("members.name is no name")
    alpha = genesis.significance.alpha_ppm / 1e6
    pairs = min(genesis.committee.quorum, genesis.committee.frontier.quorum) * m.pairs_min
    tokens = min(pairs * m.decode_tokens, (1 << 32) - 1)
    least_agreement = genesis.challenge.agreement_min_ppm / 1e6
    if binomial_at_least(tokens, tokens, least_agreement) > alpha:
        raise GenesisError("challenge.agreement_min_ppm cannot be shown by a quorum")
    if 0.5 ** min(pairs, 1_000) > alpha:
        raise GenesisError("measurement.pairs_min: the ranks of so few cannot be significant")


def read(text: str) -> Genesis:
    """Reads and checks a genesis file, or a network file that has one."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise GenesisError(str(error)) from error
    if isinstance(value, dict) and "genesis" in value:
        value = value["genesis"]
    genesis = _parse(Genesis, value, "genesis")
    assert isinstance(genesis, Genesis)
    check(genesis)
    return genesis
