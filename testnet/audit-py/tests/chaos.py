"""A world in which members say whatever comes to mind: what applies is ordered, what does not is kept.

Both auditors must accept the ledger, and refuse each of the blocks with what did not apply.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from audit.codec import Message
from audit.measurement import Reject
from audit.model import ClaimState

from .forger import Forger
from .world import CLASS, Peer, World

Said = tuple[Peer, str, dict[str, Any]]
REFUSED_MAX = 20


class Chaos:
    """Random things to say, most of which could apply some time."""

    def __init__(self, seed: int) -> None:
        rules = {"measuring_max": 3, "audit_ppm": 300_000, "seal_ms": 8_000, "reveal_ms": 4_000}
        members = {"epoch_blocks": 12, "vouch_standing_min": 3}
        self.world = World.of(8, committee=rules, membership=members)
        self.world.noise = random.Random(seed)
        self.draw = random.Random(seed)
        self.world.newcomers = [Peer(number) for number in range(41, 47)]
        self.world.spoil = self._spoil
        self.refused: list[tuple[str, bytes]] = []
        """Ledgers that end with what did not apply, named by its kind."""

    def _spoil(
        self, seat: bytes, claim: ClaimState, values: dict[str, Any], child: dict[str, Any]
    ) -> None:
        if self.draw.random() < 0.05:
            child["path_breaks"] = 1
        if self.draw.random() < 0.05:
            child["identity_breaks"] = 2
        for pair in values["pairs"]:
            pair["x_ns"] = pair["x_ns"] * self.draw.randrange(970, 1_030) // 1_000

    def _anybody(self) -> Peer:
        return self.draw.choice([*self.world.peers, *self.world.newcomers])

    def _claimed(self) -> bytes:
        claims = list(self.world.state.claims)
        return self.draw.choice(claims) if claims else bytes(32)

    def _vouch(self) -> Said:
        name = f"name-{self.draw.randrange(9)}"
        epoch = self.world.state.epoch_of(self.world.state.height + 1)
        word = {"peer": self._anybody().key, "operator": name, "name": name}
        return self._anybody(), "vouch", {**word, "epoch": epoch + (self.draw.random() < 0.1)}

    def _join(self) -> Said:
        peer = self._anybody()
        pending = self.world.state.vouches.get(peer.key)
        vouch = pending.record if pending else bytes(32)
        return peer, "join", {"vouch": vouch, "vrf": peer.vrf}

    def _leave(self) -> Said:
        peer = self._anybody()
        member = self.world.state.members.get(peer.key)
        stay = member.joined_at() if member else 0
        return peer, "leave", {"joined_at": stay + (self.draw.random() < 0.2)}

    def _doubt(self) -> Said:
        return self._anybody(), "challenge", {"claim": self._claimed(), "reason": "doubt"}

    def _disclose(self) -> Said:
        told: dict[str, Any] = {"text": f"trick {self.draw.randrange(4)}"}
        if self.draw.random() < 0.7:
            told["claim"] = self._claimed()
        return self._anybody(), "disclosure", told

    def _post(self) -> Said:
        epoch = self.world.state.epoch_of(self.world.state.height + 1)
        said: dict[str, Any] = {"kind": 1, "body": self.draw.randbytes(32), "body_bytes": 5}
        if self.draw.random() < 0.3:
            said |= {"kind": 4, "forecast": {"ratio_ppm": 1_200_000, "hardware_class": CLASS}}
        elif self.draw.random() < 0.5:
            said |= self._link()
        elif self.draw.random() < 0.2:
            said |= {"kind": 12, "bound": {"hardware_class": CLASS, "decode_speed_mtps": 127_000}}
        return self._anybody(), "post", {**said, "epoch": max(0, epoch - self.draw.randrange(3))}

    def _link(self) -> dict[str, Any]:
        """A part of a relay, about the base checkpoint or another."""
        base = self.world.state.genesis.challenge.base.checkpoint
        kind, manifest = self.draw.choice((5, 6, 7)), self.draw.choice((base, bytes([1]) * 32))
        links = list(self.world.state.posts.links)
        if kind == 5 or not links:
            return {"kind": 5, "link": {"manifest": manifest}}
        return {"kind": kind, "link": {"manifest": manifest, "previous": self.draw.choice(links)}}

    def _flag(self) -> Said:
        state = self.world.state
        posts = [id for recent in state.posts.recent.values() for id in recent.said]
        duplicate = self.draw.random() < 0.3
        subject = self._claimed() if duplicate or not posts else self.draw.choice(posts)
        charge: dict[str, Any] = {"rule": 2 if duplicate else 1, "subject": subject}
        if duplicate:
            charge["evidence"] = self._claimed()
        if self.draw.random() < 0.2:
            seen = {"prompt": self.draw.randrange(500), "seen": 7}
            charge = {"rule": 3, "subject": self._claimed(), "sighting": {"divergence": seen}}
        said = {"kind": 10, "body": self.draw.randbytes(32), "body_bytes": 5, "charge": charge}
        return self._anybody(), "post", {**said, "epoch": state.epoch_of(state.height + 1)}

    def _ballot(self) -> Said:
        open_now = self.world.state.rulings.open_hearings()
        found = {"finding": self.draw.randrange(1, 4), "digest": self.draw.randbytes(32)}
        if not open_now:
            return self._anybody(), "ruling_ballot", {"charge": bytes(32), "hearing": 1, **found}
        ruling, number, hearing = self.draw.choice(open_now)
        seats = [self.world.find(seat) for seat in hearing.seats] or [self._anybody()]
        ballot = {"charge": ruling.id, "hearing": number, **found}
        return self.draw.choice(seats), "ruling_ballot", ballot

    def _appeal(self) -> Said:
        rulings = list(self.world.state.rulings.all.values())
        if not rulings:
            return self._anybody(), "appeal", {"charge": bytes(32)}
        ruling = self.draw.choice(rulings)
        side = ruling.accused if self.draw.random() < 0.5 else ruling.by
        return self.world.find(side), "appeal", {"charge": ruling.id}

    def _seal(self) -> Said:
        seal = {"claim": self._claimed(), "round": self.draw.randrange(1, 4)}
        return self._anybody(), "seal", {**seal, "commitment": self.draw.randbytes(32)}

    def _claim(self) -> None:
        parents = [None, *(c.id for c in self.world.state.entered())]
        posts = self.world.state.posts
        diagnoses = [id for id, link in posts.links.items() if link.kind == 7]
        cited = [*list(posts.specs)[:1], *diagnoses[-3:]]
        self.world.claim(
            self._anybody(),
            1.0 + self.draw.randrange(50) / 100,
            parent=self.draw.choice(parents),
            null=self.draw.random() < 0.2,
            lossless=self.draw.random() < 0.8,
            cites=cited if self.draw.random() < 0.5 else [],
        )

    def _try(self, said: Said) -> None:
        """Orders what is said if it applies; keeps a block with it otherwise."""
        signed = self.world.sign(*said)
        try:
            self.world.block([signed])
        except Reject:
            if self.world.items and len(self.refused) < REFUSED_MAX:
                self._keep(said[1], signed)

    def _keep(self, kind: str, signed: Message) -> None:
        forger, height = Forger(self.world), len(self.world.items)
        header, _ = forger.parts(height)
        forger.signers = self.world.states[height - 1].validators()
        # In the place of the last block. Where it would have applied, the roots are wrong.
        items = [*self.world.items[:-1], forger.forge(header, [signed])]
        self.refused.append((f"{kind} that does not apply", self.world.export(items)))

    def run(self, steps: int) -> None:
        """So many things are said, and the peers do their duties in between."""
        kinds: list[Callable[[], Said]] = [
            self._vouch,
            self._join,
            self._join,
            self._leave,
            self._doubt,
            self._disclose,
            self._post,
            self._seal,
            self._flag,
            self._ballot,
            self._ballot,
            self._appeal,
        ]
        for _ in range(steps):
            if self.draw.random() < 0.25:
                try:
                    self._claim()
                except Reject:
                    pass
            else:
                self._try(self.draw.choice(kinds)())
            everybody = [*self.world.peers, *self.world.newcomers]
            self.world.silent = {p.key for p in everybody if self.draw.random() < 0.1}
            self.world.run(self.draw.randrange(4), self.draw.choice((1_000, 3_000)))
