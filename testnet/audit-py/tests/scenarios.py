"""Ledgers that together touch every rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from audit.codec import Message
from audit.model import ClaimState
from audit.records import open_signed, vote_bytes

from .amendments import amendments
from .hearings import rulings, sightings
from .world import CLASS, Peer, World


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
    # A founder that vouched leaves and comes back, and its vouches come back with it.
    gone = world.peers[2]
    world.block([world.sign(gone, "leave", {"joined_at": 0})])
    word = {"peer": gone.key, "operator": "operator-2", "name": "peer-2"}
    word["epoch"] = world.state.epoch_of(world.state.height + 1)
    vouch = world.sign(world.peers[1], "vouch", word)
    world.block([vouch])
    id = open_signed(world.state.network, vouch).id
    world.block([world.sign(gone, "join", {"vouch": id, "vrf": gone.vrf})])
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


def turns() -> World:
    """A validator lets its turns to propose pass, loses its place and takes it again."""
    world = World.of(5, membership={"silent_blocks": 40})
    away = world.peers[4].key
    world.absent = {away}
    for index in range(8):
        world.claim(world.peers[index % 3], 1.0)
        world.run(12)
    since = world.state.turns.silent[away]
    world.absent = set()
    world.block([world.sign(world.peers[4], "return", {"silent_since": since})])
    world.claim(world.peers[3], 1.2)
    world.run(14)
    return world


def classes() -> World:
    """Too few machines of a class: a claim waits until more are of it, another until it waited enough."""
    world = World.of(7)
    world.classes = {peer.key: "other-class" for peer in world.peers[1:6]}
    world.claim(world.peers[0], 1.3)
    world.claim(world.peers[6], 1.2)
    world.run(30)
    for speed in (1.1, 1.2, 1.3):
        world.claim(world.peers[1], speed, hardware_class="other-class")
        world.run(16)
    world.claim(world.peers[0], 1.5)
    world.run(20)
    world.classes = {}
    world.claim(world.peers[1], 1.4, hardware_class="other-class")
    world.run(30)
    return world


def _slower(values: dict[str, Any], child: dict[str, Any], factor: float) -> None:
    arm = "x_ns" if child is values["x"] else "y_ns"
    for pair in values["pairs"]:
        pair[arm] = int(pair[arm] * factor)


def dissent() -> World:
    """Few seats stand against all others in one way each: contested, measured again, decided."""

    def spoil(
        seat: bytes, claim: ClaimState, values: dict[str, Any], child: dict[str, Any]
    ) -> None:
        if seat == lossy:
            child["identity_breaks"], child["near_ties"] = 5, 1
        if seat == slow:
            _slower(values, child, 2.0)

    world = World.of(9, committee={"seats": 4, "quorum": 3, "frontier": {"seats": 4, "quorum": 3}})
    world.spoil = spoil
    lossy, slow = world.peers[4].key, world.peers[5].key
    for index, speed in ((0, 1.3), (1, 1.2), (2, 1.15), (6, 1.4)):
        world.claim(world.peers[index], speed)
        world.run(40)
    return world


def division() -> World:
    """A committee that is short of its class settles no division: the next one's quorum does."""

    def spoil(
        seat: bytes, claim: ClaimState, values: dict[str, Any], child: dict[str, Any]
    ) -> None:
        round = claim.rounds[-1]
        if round.number == 2:
            values["environment"]["hardware_class"] = "other-class"
        elif round.number % 2 == 1 and seat == round.active_seats()[0]:
            child["path_breaks"] = 1

    world = World.of(9, committee={"seats": 4, "quorum": 3, "frontier": {"seats": 4, "quorum": 3}})
    world.spoil = spoil
    world.claim(world.peers[0], 1.3)
    world.run(50)
    return world


def contradiction() -> World:
    """A seat counts breaks that nobody else finds, in two rounds running."""

    def spoil(
        seat: bytes, claim: ClaimState, values: dict[str, Any], child: dict[str, Any]
    ) -> None:
        if seat == world.peers[3].key:
            child["path_breaks"] = 1

    world = World.of(6, committee={"seats": 4, "quorum": 3, "frontier": {"seats": 4, "quorum": 3}})
    world.spoil = spoil
    for index, speed in ((0, 1.3), (1, 1.0), (2, 1.4)):
        world.claim(world.peers[index], speed)
        world.run(40)
    return world


def short_of_class() -> World:
    """Just a quorum of every committee is of the class, and one seat lies: what the others found decides."""

    def spoil(
        seat: bytes, claim: ClaimState, values: dict[str, Any], child: dict[str, Any]
    ) -> None:
        round, speed = claim.rounds[-1], world.authors[claim.id].speed
        seats = round.active_seats()
        if seat in seats[5:]:
            values["environment"]["hardware_class"] = "other-class"
        liar = seats[6 if speed == 1.2 else 0]
        if seat == liar and round.number == 1 and speed > 1.0:
            child["path_breaks"] = 1
        elif seat == liar and speed == 1.0:
            _slower(values, child, 2.0)

    size = {"seats": 7, "quorum": 5}
    world = World.of(20, committee={**size, "frontier": size, "seats_max": 7})
    world.spoil = spoil
    entry = world.claim(world.peers[0], 1.3)
    world.run(24)
    world.claim(world.peers[1], 1.0)
    world.claim(world.peers[2], 1.2)
    world.run(24)
    world.authors[entry].speed = 1.0
    doubted = {"claim": entry, "reason": "no gain any more"}
    world.block([world.sign(world.peers[3], "challenge", doubted)])
    world.run(16)
    return world


def divided_front() -> World:
    """The committee that confirms a leader is divided, the next one silent; a third one decides."""

    def spoil(
        seat: bytes, claim: ClaimState, values: dict[str, Any], child: dict[str, Any]
    ) -> None:
        if claim.rounds[-1].number == 2 and seat == claim.rounds[-1].active_seats()[0]:
            child["path_breaks"] = 1

    world = World.of(12, committee={"seats": 4, "quorum": 3, "frontier": {"seats": 4, "quorum": 3}})
    world.spoil = spoil
    claim = world.claim(world.peers[0], 1.3)
    while len(world.state.claims[claim].rounds) < 3:
        world.run(1)
    world.silent = {peer.key for peer in world.peers}
    while len(world.state.claims[claim].rounds) < 4:
        world.run(1, 30_000)
    world.silent = set()
    world.run(14)
    return world


def fraud() -> World:
    """Entries turn out to be other recipes: one author had told of it, one not, one once it was doubted."""

    def spoil(
        seat: bytes, claim: ClaimState, values: dict[str, Any], child: dict[str, Any]
    ) -> None:
        divided = claim.id == claims[-1] and len(claim.rounds) == 3
        if claim.is_entry() and not (divided and seat != claim.rounds[-1].active_seats()[0]):
            child["reach_breaks"] = 1

    world = World.of(12, committee={"seats": 4, "quorum": 3, "frontier": {"seats": 4, "quorum": 3}})
    claims = []
    for index, speed in ((0, 1.3), (1, 1.4), (2, 1.5)):
        claims.append(world.claim(world.peers[index], speed))
        world.run(14)
    world.spoil = spoil

    def tell(index: int) -> None:
        told = {"claim": claims[index], "text": "it skips the ends of the vocabulary"}
        world.block([world.sign(world.peers[index], "disclosure", told)])

    tell(0)
    for claim, index in zip(claims, (4, 5, 6), strict=True):
        doubted = {"claim": claim, "reason": "reach"}
        world.block([world.sign(world.peers[index], "challenge", doubted)])
        if claim == claims[2]:
            tell(2)
        world.run(20)
    return world


def abandoned() -> World:
    """Nobody confirms a leader: its first word stays. A recipe that nobody measured is claimed again."""
    world = World.of(7)
    first = world.claim(world.peers[0], 1.3)
    while len(world.state.claims[first].rounds) < 2:
        world.run(1)
    world.silent = {peer.key for peer in world.peers[1:]}
    world.run(20, 30_000)
    world.claim(world.peers[1], 1.2, number=9)
    world.run(12, 30_000)
    world.silent = set()
    world.authors = {id: author for id, author in world.authors.items() if id == first}
    world.claim(world.peers[2], 1.2, number=9)
    world.run(20)
    return world


def bad_newcomer() -> World:
    """A newcomer passes probation, is caught, and at last contradicts itself; its voucher answers."""

    def spoil(
        seat: bytes, claim: ClaimState, values: dict[str, Any], child: dict[str, Any]
    ) -> None:
        if seat == bad.key and world.authors[claim.id].null:
            _slower(values, child, 0.5)

    world = World.of(5, committee={"seats": 4, "quorum": 3, "frontier": {"seats": 4, "quorum": 3}})
    bad = Peer(31)
    world.newcomers, world.spoil = [bad], spoil
    word = {"peer": bad.key, "operator": "bad", "name": "bad", "epoch": 0}
    vouch = world.sign(world.peers[4], "vouch", word)
    world.block([vouch])
    id = open_signed(world.state.network, vouch).id
    world.block([world.sign(bad, "join", {"vouch": id, "vrf": bad.vrf})])
    for index, speed in ((0, 1.3), (1, 1.2)):
        world.claim(world.peers[index], speed)
        world.run(16)
    for _ in range(2):
        world.claim(world.peers[2], 1.0, null=True)
        world.run(16)
    openings = [
        world.sign(bad, "opening", {"claim": bytes([1]) * 32, "salt": bytes([n]) * 32})
        for n in (1, 2)
    ]
    openings.sort(key=lambda signed: open_signed(world.state.network, signed).id)
    proof = {"first": openings[0].raw, "second": openings[1].raw}
    world.block([world.sign(world.peers[0], "equivocation", proof)])
    return world


def noise() -> World:
    """Machines that differ in everything, so that every figure has all its digits."""

    def spoil(
        seat: bytes, claim: ClaimState, values: dict[str, Any], child: dict[str, Any]
    ) -> None:
        drawn = world.noise.randrange
        for pair in values["pairs"]:
            for arm in ("x", "y"):
                pair[f"{arm}_ns"] = pair[f"{arm}_ns"] * drawn(940, 1_060) // 1_000
                pair[f"{arm}_score"]["kl_micronats"] = drawn(200_000)
                pair[f"{arm}_score"]["agreements"] = 16 - drawn(12) // 11
                pair[f"{arm}_score"]["nll_micronats"] = 24_000_000 + drawn(100_000)
            pair["base_nll_micronats"] = 24_000_000 + drawn(100_000)
        environment = values["environment"]
        environment["bandwidth_mb_s"] = 10_000 + drawn(50_000)
        environment["compute_mflop_s"] = min(drawn(10), 1) * (50_000 + drawn(50_000))
        for field, chance in (("repeat_breaks", 60), ("near_ties", 5), ("identity_breaks", 12)):
            child[field] = int(drawn(chance) == 0)
        child["identity_breaks"] += child["near_ties"]
        child["bytes_per_token"] = drawn(1_000_000_000)

    world = World.of(10, committee={"measuring_max": 3, "seats_max": 8, "audit_ppm": 500_000})
    world.spoil = spoil
    for number in range(5):
        peer = world.peers[number]
        speed = 0.95 + world.noise.randrange(500) / 1_000
        world.claim(peer, speed, lossless=number % 3 > 0)
        world.run(7)
    world.run(12)
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


def posts() -> World:
    """Peers talk, and a confirmed claim credits the spec that it followed."""
    world = World.of(9)
    speaker, forecaster = world.peers[4], world.peers[5]

    def post(peer: Peer, number: int, **more: object) -> Message:
        values = {"kind": 1, "body": bytes([number + 1]) * 32, "body_bytes": 9, **more}
        return world.sign(peer, "post", values)

    forecast = {"ratio_ppm": 1_250_000, "hardware_class": CLASS}
    spec = post(forecaster, 90, kind=4, forecast=forecast)
    limits = [
        post(forecaster, 92, kind=12, bound={"hardware_class": CLASS, **figure})
        for figure in ({"ratio_to_base_ppm": 1_200_000}, {"decode_speed_mtps": 127_000})
    ]
    world.block([post(speaker, n) for n in range(4)] + [spec, *limits])
    cites = [open_signed(world.state.network, spec).id]
    leader = world.claim(world.peers[0], 1.3, cites=cites)
    world.run(40)
    # The runner-up credits its spec when it is confirmed, long after its opening.
    spec = post(forecaster, 91, kind=4, forecast=forecast)
    world.block([post(speaker, 50), spec])
    cites = [open_signed(world.state.network, spec).id]
    world.claim(world.peers[1], 1.2, cites=cites)
    world.run(20)
    world.authors[leader].speed = 1.0
    doubted = {"claim": leader, "reason": "no gain any more"}
    world.block([world.sign(world.peers[6], "challenge", doubted)])
    world.run(40)
    return world


def relayed() -> World:
    """A checkpoint is built, tried, diagnosed and shipped; twice, with gaps and repeats the second time."""
    world = World.of(9)
    digests = iter(range(1, 250))

    def post(peer: int, kind: int, link: dict[str, bytes] | None) -> bytes:
        epoch = world.state.epoch_of(world.state.height + 1)
        said = {"kind": kind, "body": bytes([next(digests)]) * 32, "body_bytes": 9, "epoch": epoch}
        signed = world.sign(world.peers[peer], "post", {**said, "link": link} if link else said)
        world.block([signed])
        return open_signed(world.state.network, signed).id

    broken, mended = bytes([0xB0]) * 32, bytes([0xC0]) * 32
    built = post(4, 5, {"manifest": broken})
    tried = post(5, 6, {"manifest": broken, "previous": built})
    post(5, 6, None)
    found = post(6, 7, {"manifest": mended, "previous": tried})
    other = post(6, 7, {"manifest": bytes([0xD0]) * 32, "previous": built})
    world.claim(world.peers[0], 1.3, cites=[other, found], checkpoint=mended)
    world.run(40)
    # Built by the claim's author, tried and diagnosed by one peer, and another spelling of the mend.
    built = post(1, 5, {"manifest": broken})
    tried = post(7, 6, {"manifest": broken, "previous": built})
    mended = bytes([0xC1]) * 32
    found = post(7, 7, {"manifest": mended, "previous": tried})
    for number in range(34):
        post(4, 5, {"manifest": bytes([number]) * 32})
    world.claim(world.peers[1], 1.5, cites=[found], checkpoint=mended)
    world.run(40)
    return world


SCENARIOS: dict[str, Callable[[], World]] = {
    scenario.__name__: scenario
    for scenario in (
        relay,
        trap,
        doubt,
        newcomers,
        silence,
        turns,
        classes,
        dissent,
        division,
        contradiction,
        short_of_class,
        divided_front,
        fraud,
        abandoned,
        bad_newcomer,
        noise,
        proofs,
        posts,
        relayed,
        rulings,
        sightings,
        amendments,
    )
}
