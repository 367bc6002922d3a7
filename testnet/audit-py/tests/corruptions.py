"""Ways to damage a ledger, each with the rule that must be named.

Where validators would have to sign, they do: these are the ledgers of a colluding majority, which only
an auditor's own arithmetic can refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from audit.codec import SCHEMA, decode
from audit.hashing import tagged
from audit.records import vote_bytes

from .forger import Corruption, Forger, unpack
from .misplaced import misplaced
from .world import Peer, World, encode

HEADER = "header of the export"


def _framing(world: World) -> Iterator[Corruption]:
    file, end = world.export(), f"entry at height {len(world.items)}"
    count, more = len(world.items), (len(world.items) + 1).to_bytes(8, "little")
    fewer = (count - 1).to_bytes(8, "little")
    missing = f"entry at height {count + 1}"
    yield Corruption("magic", "format", HEADER, file=b"assay-ledger-2" + file[14:])
    yield Corruption("empty file", "format", HEADER, file=b"")
    yield Corruption("cut header", "format", HEADER, file=file[:40])
    yield Corruption("network id", "format", HEADER, file=file[:16] + bytes(32) + file[48:])
    yield Corruption("count too large", "format", missing, file=file[:48] + more + file[56:])
    trailing = "end of the export"
    yield Corruption("count too small", "format", trailing, file=file[:48] + fewer + file[56:])
    yield Corruption("trailing byte", "format", trailing, file=file + b"\0")
    yield Corruption("cut entry", "format", end, file=file[:-1])
    huge = file[:56] + (540_673).to_bytes(4, "little") + file[60:]
    yield Corruption("entry too long", "format", "entry at height 1", file=huge)


def _certificates(forger: Forger) -> Iterator[Corruption]:
    world, height = forger.world, 3
    place, rule = f"entry at height {height}", "commit certificate"
    header, records = forger.parts(height)
    item = unpack("LedgerItem", world.items[height - 1])
    whole = unpack("CommitCertificate", item["certificate"])
    signatures = [unpack("CommitSignature", part) for part in whole["signatures"]]
    head = tagged("assay block v1", encode("Header", header))

    def with_(**changes: Any) -> list[bytes]:
        certificate = encode("CommitCertificate", {**whole, **changes})
        return [
            *world.items[: height - 1],
            encode("LedgerItem", {**item, "certificate": certificate}),
        ]

    def spoilt(**changes: Any) -> list[bytes]:
        return with_(signatures=[{**signatures[0], **changes}, *signatures[1:]])

    prevote = vote_bytes(world.state.network, (0, height, 0), 1, head)
    outsider = Peer(99)
    ours = vote_bytes(world.state.network, (0, height, 0), 2, head)
    flipped = bytes([signatures[0]["signature"][0] ^ 1]) + signatures[0]["signature"][1:]
    by_prevote = world.find(signatures[0]["validator"]).secret.sign(prevote)
    cases = {
        "too few signatures": with_(signatures=signatures[:4]),
        "no signature": with_(signatures=[]),
        "a signer twice": with_(signatures=[*signatures, signatures[0]]),
        "an outsider signs": spoilt(validator=outsider.key, signature=outsider.secret.sign(ours)),
        "a flipped signature": spoilt(signature=flipped),
        "a short signature": spoilt(signature=flipped[:63]),
        "a short key": spoilt(validator=signatures[0]["validator"][:31]),
        "a prevote for a precommit": spoilt(signature=by_prevote),
        "another round": with_(round=1),
        "another height": with_(height=height + 1),
        "another block": with_(block=bytes(32)),
        "another header": [
            *world.items[: height - 1],
            encode(
                "LedgerItem",
                {
                    **item,
                    "block": {
                        "header": {**header, "time_ms": 1},
                        "records": [r.raw for r in records],
                    },
                },
            ),
        ],
    }
    for name, items in cases.items():
        yield Corruption(f"certificate: {name}", rule, place, items)


def _encodings(forger: Forger) -> Iterator[Corruption]:
    items, place = forger.world.items, "entry at height 2"
    good = unpack("LedgerItem", items[1])
    cases = {
        "garbage": b"\xff" * 40,
        "unknown field": items[1] + b"\x7a\x01\x00",
        "no block": encode("LedgerItem", {**good, "block": None}),
        "no certificate": encode("LedgerItem", {**good, "certificate": None}),
        "no header": encode("LedgerItem", {**good, "block": {"records": []}}),
        "cut short": items[1][:-1],
        "a default spelt out": items[1] + b"\x12\x00",
    }
    for name, item in cases.items():
        yield Corruption(f"encoding: {name}", "format", place, [items[0], item])


def _headers(forger: Forger) -> Iterator[Corruption]:
    world, height = forger.world, 3
    header, records = forger.parts(height)
    other, _ = forger.parts(height - 1)
    place = f"entry at height {height}"
    changes: list[tuple[str, str, dict[str, Any]]] = [
        ("network", "header", {"network": bytes(32)}),
        ("era", "header", {"era": 1}),
        ("height", "hash chain", {"height": height + 1}),
        ("parent", "hash chain", {"parent": bytes(32)}),
        ("time", "time", {"time_ms": 1_000}),
        ("proposer", "proposer", {"proposer": Peer(99).key}),
        ("short proposer", "format", {"proposer": header["proposer"][:31]}),
        ("random output", "random output", {"vrf_output": other["vrf_output"]}),
        ("random proof", "random output", {"vrf_proof": other["vrf_proof"]}),
        ("short proof", "random output", {"vrf_proof": header["vrf_proof"][:63]}),
        ("state root", "state root", {"state_root": bytes(32)}),
        ("short state root", "format", {"state_root": bytes(31)}),
        ("index root", "index root", {"index_root": bytes(32)}),
        ("short body root", "format", {"body_root": bytes(31)}),
        ("validators", "validators", {"next_validators": bytes(32)}),
        ("another time", "state root", {"time_ms": header["time_ms"] + 1}),
    ]
    for name, rule, change in changes:
        item = forger.forge({**header, **change}, records)
        yield Corruption(f"header: {name}", rule, place, [*world.items[: height - 1], item])
    item = world.certify({**header, "body_root": bytes(32)}, records, forger.signers)
    yield Corruption("header: body root", "body root", place, [*world.items[: height - 1], item])
    later = [*world.items[:1], *world.items[2:]]
    yield Corruption("a block dropped", "hash chain", "entry at height 2", later)
    again = [*world.items[:2], world.items[1]]
    yield Corruption("a block twice", "hash chain", "entry at height 3", again)


Change = Callable[[dict[str, Any]], dict[str, Any]]


def _records(forger: Forger) -> Iterator[Corruption]:
    """One record of a block is replaced, signed again by its author."""
    world = forger.world

    def replaced(kind: str, change: Change, author: Peer | None = None) -> tuple[str, list[bytes]]:
        height = forger.height_of(kind)
        header, records = forger.parts(height)
        payload = decode("Record", records[0].data("payload")).message(kind)
        assert payload is not None
        name = SCHEMA["Record"][{"claim": 1, "seal": 2, "reveal": 3, "opening": 4}[kind]].message
        values = change(unpack(name, payload.raw))
        signer = author or world.find(records[0].data("author"))
        signed = [world.sign(signer, kind, values), *records[1:]]
        return f"entry at height {height}", [
            *world.items[: height - 1],
            forger.forge(header, signed),
        ]

    def sample_of(change: Change) -> Change:
        """Changes a revealed measurement."""

        def apply(reveal: dict[str, Any]) -> dict[str, Any]:
            values = unpack("Measurement", reveal["measurement"])
            return {**reveal, "measurement": change(values)}

        return apply

    def faster(values: dict[str, Any]) -> dict[str, Any]:
        first = unpack("Pair", values["pairs"][0])
        return {**values, "pairs": [{**first, "x_ns": first["x_ns"] + 1}, *values["pairs"][1:]]}

    cases: list[tuple[str, str, str, Change]] = [
        ("claim", "unknown parent", "claim", lambda v: {**v, "parent": bytes(32)}),
        ("claim", "short seal", "record form", lambda v: {**v, "result_seal": bytes(31)}),
        ("claim", "control character", "record form", lambda v: {**v, "summary": "a\x07b"}),
        ("claim", "bad class", "record form", lambda v: {**v, "hardware_class": "no class"}),
        ("claim", "no recipe", "record form", lambda v: {**v, "recipe": None}),
        ("claim", "base recipe", "claim", lambda v: {**v, "recipe": {"checkpoint": b"\1" * 32}}),
        (
            "claim",
            "draft length",
            "record form",
            lambda v: {**v, "recipe": {"checkpoint": b"\5" * 32, "draft_len": 3}},
        ),
        ("seal", "unknown claim", "seal", lambda v: {**v, "claim": bytes(32)}),
        ("seal", "unknown round", "seal", lambda v: {**v, "round": 2}),
        ("seal", "round zero", "record form", lambda v: {**v, "round": 0}),
        ("reveal", "another salt", "reveal", lambda v: {**v, "salt": b"\4" * 32}),
        ("reveal", "an altered sample", "reveal", sample_of(faster)),
        (
            "reveal",
            "a pair dropped",
            "record form",
            sample_of(lambda v: {**v, "pairs": v["pairs"][1:]}),
        ),
        (
            "reveal",
            "no environment",
            "record form",
            sample_of(lambda v: {**v, "environment": None}),
        ),
        ("claim", "cites no spec", "claim", lambda v: {**v, "cites": [b"\6" * 32]}),
        ("opening", "another result", "opening", lambda v: {**v, "ratio_ppm": v["ratio_ppm"] + 1}),
        ("opening", "called null", "opening", lambda v: {**v, "null": True}),
        ("opening", "unknown claim", "opening", lambda v: {**v, "claim": bytes(32)}),
    ]
    for kind, name, rule, change in cases:
        place, items = replaced(kind, change)
        yield Corruption(f"{kind}: {name}", rule, place, items)
    seated = world.states[forger.height_of("seal") - 1]
    _, round = next(seated.open_rounds())
    stranger = next(p for p in world.peers if p.key not in round.active_seats())
    for kind, rule, author in (
        ("seal", "seal", stranger),
        ("opening", "opening", world.peers[5]),
        ("claim", "record author", Peer(99)),
    ):
        place, items = replaced(kind, dict, author)
        yield Corruption(f"{kind}: by somebody else", rule, place, items)
    yield from _altered(forger)


def _altered(forger: Forger) -> Iterator[Corruption]:
    """What a record says stays; its envelope or its place is changed."""
    world, height = forger.world, forger.height_of("seal")
    header, records = forger.parts(height)
    before, place = world.items[: height - 1], f"entry at height {height}"
    first = unpack("SignedRecord", records[0].raw)

    def envelope(**changes: Any) -> bytes:
        spoilt = decode("SignedRecord", encode("SignedRecord", {**first, **changes}))
        return forger.forge(header, [spoilt, *records[1:]])

    flipped = bytes([first["signature"][0] ^ 1]) + first["signature"][1:]
    author = world.find(first["author"])
    elsewhere = author.secret.sign(b"assay/record/v1\0" + bytes(32) + first["payload"])
    other = next(peer for peer in world.peers if peer is not author)
    unknown = b"\xba\x02\x00"
    signed = author.secret.sign(b"assay/record/v1\0" + world.state.network + unknown)
    cases = {
        "a flipped signature": ("record signature", envelope(signature=flipped)),
        "a short signature": ("record form", envelope(signature=flipped[:63])),
        "a short author": ("record form", envelope(author=first["author"][:31])),
        "another author": ("record signature", envelope(author=other.key)),
        "another network": ("record signature", envelope(signature=elsewhere)),
        "an attachment": ("record form", envelope(attachment=b"body")),
        "an unknown kind": ("record form", envelope(payload=unknown, signature=signed)),
        "an empty payload": ("record signature", envelope(payload=b"")),
        "said twice": ("seal", forger.forge(header, [*records, records[0]])),
    }
    for name, (rule, item) in cases.items():
        yield Corruption(f"record: {name}", rule, place, [*before, item])
    fewer = forger.forge(header, records[1:])
    yield Corruption("record: left out", "state root", place, [*before, fewer])
    kept = world.certify(header, records[1:], forger.signers)
    yield Corruption("record: taken out afterwards", "body root", place, [*before, kept])
    swapped = forger.forge(header, records[::-1])
    yield Corruption("record: reordered", "index root", place, [*before, swapped])
    crowd = forger.forge(header, [records[0]] * 257)
    yield Corruption("block: too many records", "block size", place, [*before, crowd])
    first_height = forger.height_of("reveal")
    sealed, reveals = forger.parts(first_height)
    early = [*before, forger.forge(header, reveals)]
    yield Corruption("reveal: before its time", "reveal", place, early)
    empty = [*world.items[: first_height - 1], forger.forge(sealed, [])]
    yield Corruption(
        "block: orders nothing", "block size", f"entry at height {first_height}", empty
    )


def corruptions(world: World) -> Iterator[Corruption]:
    """All of them."""
    forger = Forger(world)
    yield from _framing(world)
    for family in (_certificates, _encodings, _headers, _records, misplaced):
        yield from family(forger)
