"""A ledger on which committees rule on flags."""

from __future__ import annotations

from collections.abc import Callable

from audit.codec import Message
from audit.records import open_signed

from .world import Peer, World


def _flag(
    peer: Peer, world: World, number: int, rule: int, subject: bytes, evidence: bytes = b""
) -> Message:
    charge = {"rule": rule, "subject": subject, "evidence": evidence}
    values = {"kind": 10, "body": bytes([number]) * 32, "body_bytes": 9, "charge": charge}
    values["epoch"] = world.state.epoch_of(world.state.height + 1)
    return world.sign(peer, "post", values)


def _heard(
    world: World, id: bytes, findings: Callable[[int], int], all_of_them: bool = True
) -> None:
    """Lets the seats of the open hearing say what they find: a finding by the seat's place."""
    for _ in range(3):
        world.block([])
    found = world.state.rulings.all[id].open_hearing()
    if found is not None:
        number, hearing = found
        for place, seat in enumerate(hearing.seats[: None if all_of_them else -1]):
            values = {"charge": id, "hearing": number, "finding": findings(place)}
            values["digest"] = bytes([place + 1]) * 32
            world.block([world.sign(world.find(seat), "ruling_ballot", values)])
    for _ in range(2):
        world.block([], 70_000)


def rulings() -> World:
    """Flags upheld, dismissed and undecided, appeals that succeed and fail, a told duplicate."""
    world = World.of(9)

    def said(peer: Peer, number: int) -> bytes:
        values = {"kind": 1, "body": bytes([number]) * 32, "body_bytes": 9}
        values["epoch"] = world.state.epoch_of(world.state.height + 1)
        post = world.sign(peer, "post", values)
        world.block([post])
        return open_signed(world.state.network, post).id

    def charged(flag: Message) -> bytes:
        world.block([flag])
        return open_signed(world.state.network, flag).id

    def appeals(peer: Peer, id: bytes) -> None:
        world.block([world.sign(peer, "appeal", {"charge": id})])

    writer, flagger = world.peers[0], world.peers[1]
    upheld = charged(_flag(flagger, world, 101, 1, said(writer, 1)))
    _heard(world, upheld, lambda place: 1 + (place == 2))
    dismissed = charged(_flag(flagger, world, 102, 1, said(writer, 2)))
    _heard(world, dismissed, lambda _: 2)
    subject = said(writer, 3)
    silent = charged(_flag(flagger, world, 103, 1, subject))
    _heard(world, silent, lambda _: 3)
    again = charged(_flag(world.peers[2], world, 104, 1, subject))
    _heard(world, again, lambda _: 1, all_of_them=False)
    # The first is reversed, the second stands, the third stays as it is for want of a quorum.
    appeals(writer, upheld)
    _heard(world, upheld, lambda _: 2)
    appeals(flagger, dismissed)
    _heard(world, dismissed, lambda _: 2)
    appeals(writer, again)
    _heard(world, again, lambda _: 3)
    first = world.claim(world.peers[3], 1.3)
    world.run(16)
    copies = [world.claim(world.peers[index], 1.2) for index in (4, 5)]
    world.run(30)
    told = {"claim": copies[0], "text": "a copy"}
    world.block([world.sign(world.peers[4], "disclosure", told)])
    for index, copy in enumerate(copies):
        id = charged(_flag(world.peers[6], world, 110 + index, 2, copy, first))
        _heard(world, id, lambda _: 1)
    # One is left open.
    charged(_flag(world.peers[7], world, 120, 1, said(writer, 4)))
    return world
