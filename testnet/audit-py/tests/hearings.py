"""Ledgers on which committees and measurements rule on flags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from audit.codec import Message
from audit.model import ClaimState
from audit.records import open_signed

from .world import Peer, World


def _flag(
    peer: Peer,
    world: World,
    number: int,
    rule: int,
    subject: bytes,
    evidence: bytes = b"",
    sighting: dict[str, Any] | None = None,
) -> Message:
    charge = {"rule": rule, "subject": subject, "evidence": evidence, "sighting": sighting}
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


def sightings() -> World:
    """Paths said to break, of which one does; an entry beyond what its class is known to deliver."""
    world = World.of(9)

    def spoil(_: bytes, claim: ClaimState, values: dict[str, Any], child: dict[str, Any]) -> None:
        fast, again = claim.author == world.peers[1].key, len(claim.rounds) > 2
        overstated = fast and not again
        values["environment"]["bandwidth_mb_s"] = 30_000 if overstated else 8_000
        if overstated:
            child["bytes_per_token"] = 20_000_000
        if claim.author == world.peers[0].key and again:
            child["path_breaks"] = 1

    world.spoil = spoil
    broken, fast, whole = (
        _settled(world, number, speed) for number, speed in ((0, 1.2), (1, 1.3), (2, 1.4))
    )
    parted = {"divergence": {"prompt": 3, "position": 2, "expected": 7}}
    beyond = {"excess": {"round": 2, "bandwidth_mb_s": 12_000, "share_ppm": 1_100_000}}
    world.block([_flag(world.peers[7], world, 130, 4, fast, sighting=beyond)])
    flags = ((3, broken), (4, whole))
    for number, claim in flags:
        world.block([_flag(world.peers[number], world, 130 + number, 3, claim, sighting=parted)])
    world.run(40)
    # Another operator may find other prompts. This one is left open.
    world.block([_flag(world.peers[5], world, 140, 3, whole, sighting=parted)])
    world.run(2)
    return world


def _settled(world: World, number: int, speed: float) -> bytes:
    """A claim of a peer, settled."""
    claim = world.claim(world.peers[number], speed)
    world.run(16)
    return claim
