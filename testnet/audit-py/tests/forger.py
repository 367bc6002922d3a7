"""Takes a ledger's items apart and puts them together again, signed by all validators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from audit.codec import SCHEMA, Message, decode
from audit.hashing import Merkle

from .world import World


@dataclass
class Corruption:
    """A damaged ledger: `items` up to and including the damaged one, or a whole file."""

    name: str
    rule: str
    place: str
    items: list[bytes] | None = None
    file: bytes | None = None


def unpack(name: str, data: bytes) -> dict[str, Any]:
    """A message as a dictionary that `encode` takes."""
    message, values = decode(name, data), dict[str, Any]()
    for field in SCHEMA[name].values():
        if field.kind == "message" and field.repeated:
            values[field.name] = [part.raw for part in message.messages(field.name)]
        elif field.kind == "message":
            part = message.message(field.name)
            values[field.name] = None if part is None else part.raw
        elif field.kind == "bytes" and field.repeated:
            values[field.name] = message.elements(field.name)
        elif field.packed:
            values[field.name] = message.numbers(field.name)
        elif field.kind in ("bytes", "string"):
            text = message.data(field.name) if field.kind == "bytes" else message.text(field.name)
            values[field.name] = text
        else:
            number = message.optional_number(field.name)
            values[field.name] = number if field.optional else number or 0
    return values


def sample() -> World:
    """A claim that was measured twice, with everything that a claim leaves behind."""
    world = World.of(6)
    world.claim(world.peers[0], 1.3)
    world.run(12)
    return world


class Forger:
    """Takes items apart and puts them together again, signed by everybody."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.signers = world.state.validators()

    def parts(self, height: int) -> tuple[dict[str, Any], list[Message]]:
        """Header and records of an item."""
        item = decode("LedgerItem", self.world.items[height - 1])
        block = item.message("block")
        header = block.message("header") if block else None
        assert block is not None and header is not None
        return unpack("Header", header.raw), block.messages("records")

    def height_of(self, kind: str) -> int:
        """The first item with a record of a kind."""
        for height in range(1, len(self.world.items) + 1):
            for signed in self.parts(height)[1]:
                if kind in decode("Record", signed.data("payload")).present():
                    return height
        raise AssertionError(kind)

    def forge(self, header: dict[str, Any], records: list[Message]) -> bytes:
        """An item with these parts and a whole certificate; the body root fits."""
        body = Merkle()
        for signed in records:
            body.push(signed.raw)
        if len(header["body_root"]) == 32:
            header = {**header, "body_root": body.root()}
        return self.world.certify(header, records, self.signers)
