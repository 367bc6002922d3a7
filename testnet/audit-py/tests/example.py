"""Writes `protocol/LEDGER_EXAMPLE.md`: real values of a small ledger, made by `tests.corruptions.sample`.

`python3 -m tests.example` writes the page again; a test compares it.
"""

from __future__ import annotations

from pathlib import Path

from audit.codec import Message, decode
from audit.hashing import le64, round_bytes, tagged
from audit.records import open_signed, vote_bytes
from audit.spelling import spell
from audit.state import State, claim_digest

from .forger import sample
from .world import World

PAGE = Path(__file__).parents[3] / "protocol" / "LEDGER_EXAMPLE.md"


def _block(line: str) -> list[str]:
    return ["```", *(line[at : at + 108] for at in range(0, len(line), 108)), "```", ""]


def _values(*rows: tuple[str, bytes | str]) -> list[str]:
    cells = [(name, value.hex() if isinstance(value, bytes) else value) for name, value in rows]
    return ["| what | value |", "|---|---|", *(f"| {n} | `{v}` |" for n, v in cells), ""]


def _parts(item: bytes) -> tuple[Message, Message, Message]:
    decoded = decode("LedgerItem", item)
    block, certificate = decoded.message("block"), decoded.message("certificate")
    header = block.message("header") if block else None
    assert block is not None and header is not None and certificate is not None
    return block, header, certificate


def _genesis(world: World) -> list[str]:
    state = State(world.states[0].genesis)
    return [
        "## The genesis",
        "",
        "Its one spelling:",
        "",
        *_block(spell(state.genesis).decode()),
        *_values(
            ("network id", state.network),
            ("base recipe id", state.genesis.challenge.base.id()),
            ("base claim", state.base_claim),
            ("first beacon", state.beacon),
            ("validators", state.validators_hash()),
        ),
    ]


def _first_item(world: World) -> list[str]:
    block, header, certificate = _parts(world.items[0])
    signed = block.messages("records")[0]
    record = open_signed(world.state.network, signed)
    head = tagged("assay block v1", header.raw)
    first = certificate.messages("signatures")[0]
    slot = (0, header.number("height"), certificate.number("round"))
    message = vote_bytes(world.state.network, slot, 2, head)
    return [
        "## The file's header and its first item",
        "",
        *_block(world.export()[:56].hex()),
        *_block((len(world.items[0]).to_bytes(4, "little") + world.items[0]).hex()),
        *_values(
            ("block hash", head),
            ("first signer", first.data("validator")),
            ("what it signs", message),
            ("its signature", first.data("signature")),
            ("proposer's VRF key", world.states[0].members[header.data("proposer")].vrf),
            ("record's author", signed.data("author")),
            ("record's payload", signed.data("payload")),
            ("record id, and so claim id", record.id),
            ("body root: leaf of the one record", header.data("body_root")),
            ("index root: leaf of its id", header.data("index_root")),
            ("beacon after it", world.states[1].beacon),
        ),
    ]


def _state_root(world: World) -> list[str]:
    state = world.states[1]
    claim = state.docketed()[0]
    members = b"".join(peer + spell(member) for peer, member in state.members.rising())
    return [
        "## The state root after it",
        "",
        "The claim, spelt:",
        "",
        *_block(spell(claim).decode()),
        "The first member, spelt:",
        "",
        *_block(spell(state.members.rising()[0][1]).decode()),
        *_values(
            ("height, time", (le64(state.height) + le64(state.time_ms)).hex()),
            ("beacon", state.beacon),
            ("members", tagged("assay membership v1", members, spell(state.vouches))),
            ("docket", claim_digest(claim)),
            ("waiting", "(empty)"),
            ("classes", tagged("assay classes v1", spell(state.classes))),
            ("classes, spelt", spell(state.classes).decode()),
            ("posts", state.posts.digest()),
            ("shares, spelt", spell(state.shares).decode()),
            ("history", state.history),
            ("state root", state.root()),
        ),
    ]


def _round(world: World) -> list[str]:
    drawn = next(s for s in world.states if s.docket and s.docketed()[0].rounds[0].is_measured())
    settled = next(s for s in world.states if s.settled)
    claim, round = drawn.docketed()[0], drawn.docketed()[0].rounds[0]
    seat = round.committee.seats[0]
    plan = drawn.plan(claim, round, seat)
    verdict = settled.claims[claim.id].rounds[0].verdict
    salt, packed = world.secrets[seat, claim.id, 1]
    assert plan is not None and round.beacon is not None
    name = round_bytes(claim.id, 1)
    child = "X" if plan.child_is_x else "Y"
    firsts = "".join("X" if first else "Y" for first in plan.first_is_x)
    return [
        f"## The claim's first round, drawn at height {drawn.height}",
        "",
        *_values(
            ("round, as a part of hashes", name),
            ("its beacon", round.beacon),
            *((f"seat {n + 1}", peer) for n, peer in enumerate(round.committee.seats)),
            *((f"reserve {n + 1}", peer) for n, peer in enumerate(round.committee.reserves)),
            ("prompts of seat 1", ", ".join(map(str, plan.prompts))),
            ("its warm-up prompt", str(plan.warm_up)),
            ("its child arm", child),
            ("who goes first on each prompt", firsts),
            ("its reach seed", str(plan.reach_seed)),
            ("its salt", salt),
            ("its seal", tagged("assay measurement seal v2", name, seat, salt, packed)),
        ),
        "Its measurement, encoded:",
        "",
        *_block(packed.hex()),
        f"The verdict, spelt, settled at height {settled.height}:",
        "",
        *_block(spell(verdict).decode()),
    ]


def page() -> str:
    """The page."""
    world = sample()
    lines = [
        "# An example of a ledger",
        "",
        "Values for [the ledger's rules](LEDGER.md), of a ledger that six peers made whose secret keys",
        "are 32 times the byte 1, 2, … 6. Bytes are hex. Long lines are cut at 108 characters. In",
        "`testnet/audit-py/`, `python3 -m tests.example` writes this page, and `python3 -m tests.world",
        "FOLDER` ledgers that touch every rule.",
        "",
        *_genesis(world),
        *_first_item(world),
        *_state_root(world),
        *_round(world),
    ]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
