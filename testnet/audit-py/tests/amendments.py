"""A ledger on which members change the network's numbers by vote."""

from __future__ import annotations

from audit.proposals import PARAMETERS
from audit.records import open_signed

from .world import Peer, World


def amendments() -> World:
    """Values adopted, rejected and void, rounds called before and after, one operator with two peers."""
    world = World.of(9, membership={"probation_rounds": 1})
    second = Peer(31)
    world.newcomers = [second]

    def proposed(peer: Peer, path: str, value: int) -> bytes:
        epoch = world.state.epoch_of(world.state.height + 1)
        values = {"parameter": PARAMETERS.index(path) + 1, "value": value, "why": "„so“"}
        signed = world.sign(peer, "proposal", {**values, "epoch": epoch})
        world.block([signed])
        return open_signed(world.state.network, signed).id

    def voted(id: bytes, voices: str) -> None:
        """One letter a peer: y, n, or another for none."""
        said = [
            world.sign(peer, "voice", {"proposal": id, "yes": letter == "y"})
            for peer, letter in zip(world.peers, voices, strict=False)
            if letter in "yn"
        ]
        world.block(said)

    word = {"peer": second.key, "operator": "operator-0", "name": "second", "epoch": 0}
    vouch = world.sign(world.peers[0], "vouch", word)
    world.block([vouch])
    id = open_signed(world.state.network, vouch).id
    world.block([world.sign(second, "join", {"vouch": id, "vrf": second.vrf})])
    for index, speed in enumerate((1.3, 1.2)):
        world.claim(world.peers[index], speed)
        world.run(12)
    voted(proposed(world.peers[1], "significance.eta_ppm", 30_000), "yyyyyynn")
    voted(proposed(world.peers[2], "significance.gain_ppm", 20_000), "yyyyyyyy")
    voted(proposed(world.peers[3], "committee.reserves", 2), "yyyn")
    voted(proposed(world.peers[4], "committee.seal_ms", 50_000), "yyyyy")
    # Here the second member of an operator speaks for it.
    id = proposed(world.peers[5], "membership.gain_per_epoch_max", 1)
    voted(id, "-yyyyy")
    world.block([world.sign(second, "voice", {"proposal": id, "yes": False})])
    # One round is called before the values change and settles after it.
    world.claim(world.peers[3], 1.04)
    world.run(5, 30_000)
    world.run(20)
    world.claim(world.peers[4], 1.04)
    world.run(30)
    # A key that left has no voice when votes are counted.
    voted(proposed(world.peers[6], "committee.quorum", 3), "-yyyyyy")
    world.block([world.sign(world.peers[1], "leave", {"joined_at": 0})])
    world.claim(world.peers[5], 1.5)
    world.run(30)
    world.block([], 50_000)
    world.run(3)
    # One is left open.
    voted(proposed(world.peers[7], "challenge.kl_max_micronats", 40_000), "n-yn")
    return world
