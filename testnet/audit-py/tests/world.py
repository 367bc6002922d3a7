"""A network in one process: peers with keys, who make a ledger that every auditor must accept.

`python3 -m tests.world FOLDER` writes one ledger per scenario, with its genesis file, so that
`assay audit` can be held against them.
"""

from __future__ import annotations

import copy
import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import genesis as genesis_file
from audit.advance import advance, is_due
from audit.block import apply_record
from audit.codec import SCHEMA, Message, bytes_field, decode, int_field, varint
from audit.curve import BASE, ORDER, encode_ristretto, multiply, ristretto_from_uniform
from audit.export import MAGIC
from audit.genesis import Recipe
from audit.hashing import Merkle, le64, round_bytes, tagged
from audit.membership import take_turn
from audit.merlin import Transcript
from audit.model import ClaimState, Round
from audit.records import open_signed, vote_bytes
from audit.spelling import plain
from audit.state import State

CLASS = "test-class"
Spoil = Callable[[bytes, ClaimState, dict[str, Any], dict[str, Any]], None]


def fork(state: State) -> State:
    """A copy that can be changed; what never changes is shared."""
    kept: list[object] = [state.genesis, *(numbers for _, _, numbers in state.proposals.sets)]
    for claim in state.claims.values():
        for round in claim.rounds:
            shown = [shadow.measurement for shadow in round.shadows.values()]
            kept += [*round.reveals.values(), *shown, round.verdict]
    return copy.deepcopy(state, {id(value): value for value in kept if value is not None})


def encode(name: str, values: dict[str, Any]) -> bytes:
    """The canonical encoding of a message given as a dictionary; parts may be encoded already."""
    out = b""
    for number, what in sorted(SCHEMA[name].items()):
        value = values.get(what.name)
        if value is None:
            continue
        if what.packed:
            out += bytes_field(number, b"".join(varint(element) for element in value))
            continue
        for element in value if what.repeated else [value]:
            if what.kind == "message":
                part = element if isinstance(element, bytes) else encode(what.message, element)
                out += varint(number << 3 | 2) + varint(len(part)) + part
            elif what.kind in ("bytes", "string"):
                data = element.encode() if isinstance(element, str) else element
                out += bytes_field(number, data)
            elif what.optional:
                out += varint(number << 3) + varint(int(element))
            else:
                out += int_field(number, int(element))
    return out


class Peer:
    """A key for signatures and one for random outputs, both from a seed."""

    def __init__(self, seed: int) -> None:
        self.secret = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.key = self.secret.public_key().public_bytes_raw()
        self._scalar = int.from_bytes(hashlib.sha512(self.key).digest(), "little") % ORDER
        self.vrf = encode_ristretto(multiply(self._scalar, BASE))

    def evaluate(self, network: bytes, height: int) -> tuple[bytes, bytes]:
        """The random output at a height, with its proof."""
        slot = Transcript(b"SigningContext")
        slot.append(b"", b"assay vrf v1")
        slot.append(b"sign-bytes", network + le64(height))
        slot.append(b"vrf-nm-pk", self.vrf)
        point = ristretto_from_uniform(slot.challenge(b"VRFHash", 64))
        output = encode_ristretto(multiply(self._scalar, point))
        nonce = int.from_bytes(hashlib.sha512(self.key + output).digest(), "little") % ORDER
        proving = Transcript(b"VRF")
        proving.append(b"proto-name", b"DLEQProof")
        proving.append(b"vrf:h", encode_ristretto(point))
        proving.append(b"vrf:R=g^r", encode_ristretto(multiply(nonce, BASE)))
        proving.append(b"vrf:h^r", encode_ristretto(multiply(nonce, point)))
        proving.append(b"vrf:pk", self.vrf)
        proving.append(b"vrf:h^sk", output)
        c = int.from_bytes(proving.challenge(b"prove", 64), "little") % ORDER
        s = (nonce - c * self._scalar) % ORDER
        return output, c.to_bytes(32, "little") + s.to_bytes(32, "little")


def small_genesis(peers: list[Peer], **changes: dict[str, Any]) -> dict[str, Any]:
    """A genesis of these members; `changes` replaces numbers in its parts."""
    members = [
        {
            "name": f"peer-{index}",
            "operator": f"operator-{index}",
            "peer": peer.key.hex(),
            "vrf": peer.vrf.hex(),
            "standing": 10,
        }
        for index, peer in enumerate(peers)
    ]
    value: dict[str, Any] = json.loads((Path(__file__).parent / "genesis.json").read_text())
    value["members"] = members
    for part, numbers in changes.items():
        value[part].update(numbers)
    return value


@dataclass
class Author:
    """What an author keeps about its claim until it opens its result."""

    peer: Peer
    salt: bytes
    ratio_ppm: int
    null: bool
    speed: float


@dataclass
class World:
    """The peers and the ledger that they make."""

    peers: list[Peer]
    state: State
    genesis: dict[str, Any]
    items: list[bytes] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    """The state before every item, and at the end the present one."""
    authors: dict[bytes, Author] = field(default_factory=dict)
    newcomers: list[Peer] = field(default_factory=list)
    silent: set[bytes] = field(default_factory=set)
    absent: set[bytes] = field(default_factory=set)
    classes: dict[bytes, str] = field(default_factory=dict)
    spoil: Spoil | None = None
    noise: random.Random = field(default_factory=lambda: random.Random(1))
    secrets: dict[tuple[bytes, bytes, int], tuple[bytes, bytes]] = field(default_factory=dict)

    @staticmethod
    def of(count: int, **changes: dict[str, Any]) -> World:
        """A world of so many founders."""
        peers = [Peer(index + 1) for index in range(count)]
        value = small_genesis(peers, **changes)
        state = State(genesis_file.read(json.dumps(value)))
        return World(peers, state, plain(state.genesis), states=[state])

    def find(self, key: bytes) -> Peer:
        """The peer with this key."""
        return next(peer for peer in [*self.peers, *self.newcomers] if peer.key == key)

    def sign(self, peer: Peer, kind: str, values: dict[str, Any]) -> Message:
        """A record that a peer signs."""
        payload = encode("Record", {kind: values})
        signature = peer.secret.sign(b"assay/record/v1\0" + self.state.network + payload)
        signed = {"author": peer.key, "payload": payload, "signature": signature}
        return decode("SignedRecord", encode("SignedRecord", signed))

    def block(self, records: list[Message], passed_ms: int = 1_000) -> None:
        """Orders records in a block that all validators sign."""
        state = fork(self.state)
        height, time_ms = state.height + 1, state.time_ms + passed_ms
        if not records and not is_due(state, time_ms):
            return
        validators = state.validators()
        live = [key for key in validators if state.members[key].is_active()]
        live = [key for key in live if key not in self.absent]
        proposer = self.find(live[height % len(live)])
        output, proof = proposer.evaluate(state.network, height)
        body = Merkle()
        for signed in records:
            record = open_signed(state.network, signed)
            apply_record(state, record, height)
            state.index.push(record.id)
            body.push(signed.raw)
        state.height, state.time_ms = height, time_ms
        state.beacon = tagged("assay beacon v1", state.beacon, output)
        advance(state, height, time_ms)
        take_turn(state, proposer.key, height)
        header = {
            "network": state.network,
            "height": height,
            "parent": state.head,
            "time_ms": time_ms,
            "body_root": body.root(),
            "state_root": state.root(),
            "index_root": state.index.root(),
            "next_validators": state.validators_hash(),
            "vrf_output": output,
            "vrf_proof": proof,
            "proposer": proposer.key,
        }
        self.items.append(self.certify(header, records, live))
        state.head = tagged("assay block v1", encode("Header", header))
        self.state = state
        self.states.append(state)

    def certify(
        self, header: dict[str, Any], records: list[Message], signers: list[bytes], round: int = 0
    ) -> bytes:
        """A block with the certificate of these signers."""
        head = tagged("assay block v1", encode("Header", header))
        slot = (header.get("era", 0), header["height"], round)
        message = vote_bytes(self.state.network, slot, 2, head)
        signatures = [
            {"validator": key, "signature": self.find(key).secret.sign(message)} for key in signers
        ]
        block = {"header": header, "records": [signed.raw for signed in records]}
        certificate = {
            "height": header["height"],
            "round": round,
            "block": head,
            "signatures": signatures,
        }
        return encode("LedgerItem", {"block": block, "certificate": certificate})

    def claim(
        self,
        peer: Peer,
        speed: float,
        parent: bytes | None = None,
        null: bool = False,
        lossless: bool = True,
        hardware_class: str = CLASS,
        number: int | None = None,
        cites: Sequence[bytes] = (),
        checkpoint: bytes | None = None,
    ) -> bytes:
        """Claims a recipe whose child is so many times as fast; a number names a recipe."""
        number = number or len(self.authors) + 1
        if checkpoint is None:
            base = self.state.genesis.challenge.base.checkpoint
            checkpoint = base if lossless else tagged("test checkpoint", bytes([number]))
        recipe = Recipe(checkpoint, tagged("test bundle", bytes([number])))
        salt, ratio_ppm = bytes([number]) * 32, int(speed * 1e6)
        seal = tagged(
            "assay author result seal v2",
            peer.key,
            recipe.id(),
            salt,
            le64(ratio_ppm),
            bytes([null]),
        )
        values = {
            "recipe": {"checkpoint": checkpoint, "bundle": recipe.bundle},
            "parent": parent or self.state.base_claim,
            "result_seal": seal,
            "summary": f"claim {number}, „faster“",
            "hardware_class": hardware_class,
            "cites": cites,
        }
        signed = self.sign(peer, "claim", values)
        self.block([signed])
        id = open_signed(self.state.network, signed).id
        self.authors[id] = Author(peer, salt, ratio_ppm, null, speed)
        return id

    def measurement(self, seat: bytes, claim: ClaimState, round: Round) -> bytes:
        """What a seat's machine finds, as its plan asks."""
        plan = self.state.plan(claim, round, seat)
        rules = self.state.parameters_of(round).measurement
        assert plan is not None
        speed, pairs = self.authors[claim.id].speed, []
        scored = self.state.genesis.challenge.pool.scored_tokens
        score = {"kl_micronats": 10, "agreements": rules.decode_tokens, "nll_micronats": 24_000_000}
        for prompt in plan.prompts:
            parent_ns = 20_000_000 + self.noise.randrange(-150_000, 150_000)
            child_ns = int(parent_ns / speed) + self.noise.randrange(-100_000, 100_000)
            x_ns, y_ns = (child_ns, parent_ns) if plan.child_is_x else (parent_ns, child_ns)
            pairs.append(
                {
                    "prompt": prompt,
                    "x_ns": x_ns,
                    "y_ns": y_ns,
                    "x_tokens": bytes(range(16)),
                    "y_tokens": bytes(range(16)),
                    "x_score": dict(score),
                    "y_score": dict(score),
                    "base_nll_micronats": 24_000_000,
                }
            )
        decoded = len(pairs) * rules.decode_tokens
        arm = {
            "decoded_tokens": decoded,
            "scored_tokens": len(pairs) * scored,
            "path_positions": decoded,
            "repeat_positions": rules.decode_tokens + 1,
            "shape": bytes([7]) * 32,
            "bytes_per_token": 1_000_000,
            "reach_positions": rules.reach_tokens,
        }
        x, y = dict(arm), dict(arm)
        values = {
            "pairs": pairs,
            "x": x,
            "y": y,
            "x_prefill_us": [5_000] * len(pairs),
            "y_prefill_us": [5_100] * len(pairs),
            "environment": {
                "adapter": "test adapter",
                "hardware_class": self.classes.get(seat, CLASS),
                "bandwidth_mb_s": 10_000,
                "compute_mflop_s": 50_000,
            },
        }
        if self.spoil is not None:
            self.spoil(seat, claim, values, x if plan.child_is_x else y)
        return encode("Measurement", values)

    def _speaks(self, peer: bytes) -> bool:
        return peer not in self.silent and self.state.active(peer) is not None

    def duties(self) -> list[Message]:
        """What the peers owe the ledger: seals, reveals, openings."""
        records = []
        for claim, round in self.state.open_rounds():
            name = round_bytes(claim.id, round.number)
            drawn = filter(self._speaks, [*round.active_seats(), *round.shadows])
            for seat in drawn:
                key = (seat, claim.id, round.number)
                values: dict[str, Any] = {"claim": claim.id, "round": round.number}
                if round.phase.name == "sealing" and round.seal_of(seat) is None:
                    salt, packed = bytes([3]) * 32, self.measurement(seat, claim, round)
                    self.secrets[key] = (salt, packed)
                    seal = tagged("assay measurement seal v2", name, seat, salt, packed)
                    records.append(
                        self.sign(self.find(seat), "seal", {**values, "commitment": seal})
                    )
                elif key in self.secrets and round.phase.name == "revealing":
                    salt, packed = self.secrets[key]
                    shown = {**values, "salt": salt, "measurement": packed}
                    if round.seal_of(seat) is not None and not round.has_revealed(seat):
                        records.append(self.sign(self.find(seat), "reveal", shown))
        for id, author in self.authors.items():
            claim = self.state.claims[id]
            if claim.is_entry() and claim.opening is None and self._speaks(author.peer.key):
                opened = {"claim": id, "salt": author.salt, "ratio_ppm": author.ratio_ppm}
                records.append(self.sign(author.peer, "opening", {**opened, "null": author.null}))
        return records

    def run(self, blocks: int, passed_ms: int = 1_000) -> None:
        """Lets the peers do their duties for so many blocks."""
        for _ in range(blocks):
            self.block(self.duties(), passed_ms)

    def export(self, items: list[bytes] | None = None) -> bytes:
        """The ledger as a file."""
        items = self.items if items is None else items
        framed = b"".join(len(item).to_bytes(4, "little") + item for item in items)
        return MAGIC + self.state.network + le64(len(items)) + framed


def main(folder: Path) -> None:
    """Writes the ledger of every scenario, with its genesis."""
    from .scenarios import SCENARIOS

    folder.mkdir(parents=True, exist_ok=True)
    for name, scenario in SCENARIOS.items():
        world = scenario()
        (folder / f"{name}.assay").write_bytes(world.export())
        (folder / f"{name}.json").write_text(json.dumps(world.genesis))


if __name__ == "__main__":
    import sys

    main(Path(sys.argv[1]))
