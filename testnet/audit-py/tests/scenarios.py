"""Ledgers that together touch every rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from audit.model import ClaimState
from audit.records import open_signed, vote_bytes

from .world import Peer, World


def relay() -> World:
    """A claim leads its track, another builds on it, a third shows no gain."""
    world = World.of(8)
    first = world.claim(world.peers[0], 1.3)
    world.run(14)
    world.claim(world.peers[1], 1.2, parent=first)
    world.claim(world.peers[2], 1.0)
    world.claim(world.peers[3], 1.5, lossless=False)
    world.run(30)
    return world


def trap() -> World:
    """A null claim catches the seat that finds a gain where there is none."""

    def spoil(
        seat: bytes, claim: ClaimState, values: dict[str, Any], child: dict[str, Any]
    ) -> None:
        if seat == liar and world.authors[claim.id].null:
            fast = "x_ns" if child is values["x"] else "y_ns"
            for pair in values["pairs"]:
                pair[fast] = int(pair[fast] / 1.5)

    world = World.of(6, committee={"seats": 5, "quorum": 3})
    liar = world.peers[3].key
    world.spoil = spoil
    world.claim(world.peers[0], 1.0, null=True)
    world.run(12)
    world.claim(world.peers[1], 1.4)
    world.run(14)
    return world


def doubt() -> World:
    """An entry is challenged and stands; another is debunked with its descendant."""
    world = World.of(9, committee={"audit_ppm": 1_000_000})
    first = world.claim(world.peers[0], 1.3)
    world.run(14)
    world.claim(world.peers[1], 1.2, parent=first)
    world.claim(world.peers[2], 1.25)
    world.run(30)
    for index, speed in ((3, 1.3), (4, 1.02)):
        world.authors[first].speed = speed
        doubted = world.sign(world.peers[index], "challenge", {"claim": first, "reason": "no gain"})
        world.block([doubted])
        world.run(14)
    return world


def newcomers() -> World:
    """Newcomers are vouched for, one passes probation; one leaves and returns, a vouch lapses."""
    world = World.of(6, committee={"measuring_max": 4})
    rising, leaving, late = (Peer(number) for number in (21, 22, 23))
    world.newcomers = [rising, leaving, late]
    for voucher, peer in zip(world.peers, world.newcomers, strict=False):
        name = f"newcomer-{peer.key[:2].hex()}"
        word = {"peer": peer.key, "operator": name, "name": name, "epoch": 0}
        vouch = world.sign(voucher, "vouch", word)
        world.block([vouch])
        if peer is not late:
            id = open_signed(world.state.network, vouch).id
            world.block([world.sign(peer, "join", {"vouch": id, "vrf": peer.vrf})])
    joined = world.state.members[leaving.key].joined_at()
    world.block([world.sign(leaving, "leave", {"joined_at": joined})])
    for index, speed in enumerate((1.3, 1.1, 1.2, 1.4)):
        world.claim(world.peers[index], speed)
        world.run(12)
    told = {"claim": world.state.entries[0], "text": "how\nit works", "evidence": bytes([9]) * 32}
    world.block([world.sign(world.peers[4], "disclosure", told)])
    world.block([world.sign(world.peers[4], "disclosure", {"text": "another trick"})])
    founder = world.sign(world.peers[5], "leave", {"joined_at": 0})
    world.block([founder])
    world.claim(world.peers[0], 1.6)
    world.run(16)
    return world


def silence() -> World:
    """Seats stay silent: reserves are called, rounds come to nothing, deadlines pass."""
    world = World.of(6)
    world.silent = {world.peers[1].key, world.peers[2].key}
    world.claim(world.peers[0], 1.3)
    world.run(20, 12_000)
    world.silent |= {world.peers[3].key, world.peers[4].key}
    world.claim(world.peers[5], 1.2)
    world.run(20, 12_000)
    return world


def classes() -> World:
    """Too few machines of the class: the speed is pending until more are known to be of it."""
    world = World.of(7)
    world.classes = {peer.key: "other-class" for peer in world.peers[1:6]}
    world.claim(world.peers[0], 1.3)
    world.run(30)
    world.claim(world.peers[6], 1.2)
    world.run(30)
    return world


def dissent() -> World:
    """One seat's counts stand against all others': contested, measured again, contradicted."""

    def spoil(
        seat: bytes, claim: ClaimState, values: dict[str, Any], child: dict[str, Any]
    ) -> None:
        if seat in broken:
            child["path_breaks"] = 1
        if seat in lossy:
            child["identity_breaks"], child["near_ties"] = 5, 1
        if seat in slow:
            arm = "x_ns" if child is values["x"] else "y_ns"
            for pair in values["pairs"]:
                pair[arm] *= 2

    world = World.of(9, committee={"seats": 4, "quorum": 3, "frontier": {"seats": 4, "quorum": 3}})
    world.spoil = spoil
    broken, lossy, slow = {world.peers[3].key}, {world.peers[4].key}, {world.peers[5].key}
    for index, speed in ((0, 1.3), (1, 1.2), (2, 1.15), (6, 1.4)):
        world.claim(world.peers[index], speed)
        world.run(40)
    return world


def proofs() -> World:
    """A key says two things and ends; so does a validator that votes twice."""
    world = World.of(7)
    claim = world.claim(world.peers[0], 1.3)
    world.run(3)
    culprit = world.find(world.state.claims[claim].rounds[0].active_seats()[0])
    said = [
        world.sign(culprit, "seal", {"claim": claim, "round": 1, "commitment": bytes([n]) * 32})
        for n in (1, 2)
    ]
    said.sort(key=lambda signed: open_signed(world.state.network, signed).id)
    accuser = next(peer for peer in world.peers if peer is not culprit)
    proof = {"first": said[0].raw, "second": said[1].raw}
    world.block([world.sign(accuser, "equivocation", proof)])
    world.run(20)
    voter = next(p for p in world.peers if p is not culprit and p is not accuser)
    ballots = []
    for block in (b"", bytes([5]) * 32):
        message = vote_bytes(world.state.network, (0, 3, 1), 1, block)
        ballots.append({"kind": 1, "block": block, "signature": voter.secret.sign(message)})
    twice = {"validator": voter.key, "height": 3, "round": 1}
    twice |= {"first": ballots[0], "second": ballots[1]}
    world.block([world.sign(accuser, "double_vote", twice)])
    world.claim(accuser, 1.4)
    world.run(16)
    return world


SCENARIOS: dict[str, Callable[[], World]] = {
    scenario.__name__: scenario
    for scenario in (relay, trap, doubt, newcomers, silence, classes, dissent, proofs)
}
