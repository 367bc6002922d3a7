"""Records that do not apply, in a block of their own, each with the rule that must be named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from audit.codec import decode
from audit.records import open_signed

from .forger import Corruption, Forger, unpack
from .world import Peer


def misplaced(forger: Forger) -> Iterator[Corruption]:
    """Records about membership and doubt that do not apply, in a block of their own."""
    world, newcomer = forger.world, Peer(21)
    height = len(world.items)
    header, _ = forger.parts(height)
    place, before = f"entry at height {height}", world.items[:-1]
    claim = world.state.entries[0]
    word = {"peer": newcomer.key, "operator": "new", "name": "new", "epoch": 0}
    member, author = world.peers[5], world.peers[0]
    said = {"kind": 1, "body": bytes([1]) * 32, "body_bytes": 9}
    forecast = {"ratio_ppm": 1_200_000, "hardware_class": "test-class"}
    link = {"manifest": bytes([1]) * 32}
    neither = {"hardware_class": "test-class"}
    one = {**neither, "ratio_to_base_ppm": 1_200_000}
    both = {**one, "decode_speed_mtps": 127_000}
    seals = [
        world.sign(member, "seal", {"claim": claim, "round": 1, "commitment": bytes([n]) * 32})
        for n in (1, 2)
    ]
    seals.sort(key=lambda signed: open_signed(world.state.network, signed).id, reverse=True)
    ballot = {"kind": 1, "block": bytes([1]) * 32, "signature": bytes(64)}
    twice = {"validator": member.key, "height": 1, "second": ballot}
    backwards = {"first": seals[0].raw, "second": seals[1].raw}
    same = {"first": seals[0].raw, "second": seals[0].raw}
    ballot_about = {"charge": bytes(32), "hearing": 1, "finding": 1, "digest": bytes(32)}
    docketed = forger.parts(forger.height_of("claim"))[1][0]
    payload = decode("Record", docketed.data("payload")).message("claim")
    assert payload is not None
    again = unpack("Claim", payload.raw)
    cases: list[tuple[str, str, Peer, str, dict[str, Any]]] = [
        ("vouch of another epoch", "vouch", member, "vouch", {**word, "epoch": 7}),
        ("vouch for a member", "vouch", member, "vouch", {**word, "peer": author.key}),
        ("vouch with a taken name", "vouch", member, "vouch", {**word, "name": "peer-1"}),
        ("vouch with an outer space", "record form", member, "vouch", {**word, "name": " new"}),
        (
            "join without a vouch",
            "join",
            newcomer,
            "join",
            {"vouch": bytes(32), "vrf": newcomer.vrf},
        ),
        ("leave of another stay", "leave", member, "leave", {"joined_at": 5}),
        ("challenge by the author", "challenge", author, "challenge", {"claim": claim}),
        ("challenge of nothing", "challenge", member, "challenge", {"claim": bytes(32)}),
        ("post of a later epoch", "post", member, "post", {**said, "epoch": 7}),
        ("post of no kind", "record form", member, "post", {**said, "kind": 13}),
        (
            "post with a forecast that is no spec",
            "record form",
            member,
            "post",
            {**said, "forecast": forecast},
        ),
        ("limit without a bound", "record form", member, "post", {**said, "kind": 12}),
        (
            "limit of both figures",
            "record form",
            member,
            "post",
            {**said, "kind": 12, "bound": both},
        ),
        (
            "limit of no figure",
            "record form",
            member,
            "post",
            {**said, "kind": 12, "bound": neither},
        ),
        (
            "post with a bound that is no limit",
            "record form",
            member,
            "post",
            {**said, "bound": one},
        ),
        ("post of nothing", "record form", member, "post", {**said, "body_bytes": 0}),
        ("message with a link", "record form", member, "post", {**said, "link": link}),
        ("attempt of nothing", "record form", member, "post", {**said, "kind": 6, "link": link}),
        (
            "checkpoint that follows something",
            "record form",
            member,
            "post",
            {**said, "kind": 5, "link": {**link, "previous": bytes(32)}},
        ),
        (
            "link of no manifest",
            "record form",
            member,
            "post",
            {**said, "kind": 5, "link": {"manifest": b"x"}},
        ),
        ("disclosure without words", "record form", member, "disclosure", {"text": " \n"}),
        (
            "disclosure of nothing",
            "disclosure",
            member,
            "disclosure",
            {"claim": bytes(32), "text": "how"},
        ),
        ("equivocation in the wrong order", "record form", author, "equivocation", backwards),
        ("equivocation of one record", "record form", author, "equivocation", same),
        (
            "double vote unsigned",
            "record signature",
            author,
            "double_vote",
            {**twice, "first": {**ballot, "block": b""}},
        ),
        (
            "double vote for one block",
            "record form",
            author,
            "double_vote",
            {**twice, "first": ballot},
        ),
        ("ballot about nothing", "ruling ballot", member, "ruling_ballot", ballot_about),
        (
            "ballot of no finding",
            "record form",
            member,
            "ruling_ballot",
            {**ballot_about, "finding": 4},
        ),
        (
            "ballot in a third hearing",
            "record form",
            member,
            "ruling_ballot",
            {**ballot_about, "hearing": 3},
        ),
        ("appeal against nothing", "appeal", member, "appeal", {"charge": bytes(32)}),
        ("return of nobody silent", "return", member, "return", {"silent_since": 3}),
        (
            "seal of a round that is over",
            "seal",
            member,
            "seal",
            {"claim": claim, "round": 1, "commitment": bytes(32)},
        ),
        (
            "opening a second time",
            "opening",
            author,
            "opening",
            {"claim": claim, "salt": bytes(32)},
        ),
        ("claim of a recipe on the docket", "claim", author, "claim", again),
        (
            "proposal of another epoch",
            "proposal",
            member,
            "proposal",
            {"parameter": 1, "value": 1, "why": "so", "epoch": 7},
        ),
        (
            "proposal about nothing",
            "record form",
            member,
            "proposal",
            {"parameter": 99, "value": 1, "why": "so"},
        ),
        ("voice about nothing", "voice", member, "voice", {"proposal": bytes(32), "yes": True}),
        ("post by a stranger", "record author", newcomer, "post", said),
    ]
    for name, rule, peer, kind, values in cases:
        item = forger.forge(header, [world.sign(peer, kind, values)])
        yield Corruption(name, rule, place, [*before, item])
