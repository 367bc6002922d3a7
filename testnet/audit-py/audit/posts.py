"""Posts: how many a peer may have ordered, specs, and whom claims credit (LEDGER_RULES.md §9.5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .hashing import le64, tagged
from .measurement import require
from .records import POST_DIAGNOSIS
from .relay import Link, credit_relay, keep_relay, note_link
from .rulings import check_charge, open_ruling

if TYPE_CHECKING:
    from .bodies import Post, Record
    from .model import ClaimState
    from .state import State

PER_BLOCK_MAX = 64
PER_PEER_PER_BLOCK_MAX = 4
PER_EPOCH_EXTRA = 64
UNCITED_SPECS_PER_AUTHOR_MAX = 32


@dataclass
class Spec:
    """A spec on the ledger."""

    author: bytes
    height: int
    ratio_ppm: int
    hardware_class: str
    is_cited: bool = False
    credited: bytes | None = None


@dataclass
class Recent:
    """One peer's posts of the last two epochs."""

    said: dict[bytes, int] = field(default_factory=dict)
    epoch: int = 0
    ordered: int = 0


@dataclass
class Posts:
    """Everything that the ledger keeps of posts."""

    total: int = 0
    height: int = 0
    in_block: dict[bytes, int] = field(default_factory=dict)
    recent: dict[bytes, Recent] = field(default_factory=dict)
    specs: dict[bytes, Spec] = field(default_factory=dict)
    links: dict[bytes, Link] = field(default_factory=dict)
    citations: dict[bytes, list[bytes]] = field(default_factory=dict)

    def digest(self) -> bytes:
        """Hash of what decides which posts may come next."""
        parts = [le64(self.total)]
        for peer, recent in sorted(self.recent.items()):
            parts += [peer, le64(recent.epoch), le64(recent.ordered), le64(len(recent.said))]
            parts += [id + le64(epoch) for id, epoch in sorted(recent.said.items())]
        return tagged("assay posts v1", b"".join(parts))


def apply_post(state: State, record: Record, post: Post, height: int) -> None:
    """Something said on the board."""
    posts, author, epoch = state.posts, record.author, state.epoch_of(height)
    require(epoch - 1 <= post.epoch <= epoch, f"a post of epoch {post.epoch}")
    recent = posts.recent.get(author)
    most = state.parameters.membership.epoch_blocks + PER_EPOCH_EXTRA
    if recent is not None:
        require(record.id not in recent.said, "said before")
        require(recent.epoch != epoch or recent.ordered < most, "has had its posts of this epoch")
    if posts.height != height:
        posts.height, posts.in_block = height, {}
    full = sum(posts.in_block.values()) >= PER_BLOCK_MAX
    own = posts.in_block.get(author, 0)
    require(not full and own < PER_PEER_PER_BLOCK_MAX, "the block has all the posts it may have")
    charge = post.charge
    accused = None if charge is None else check_charge(state, author, charge, height)
    posts.in_block[author] = own + 1
    recent = posts.recent.setdefault(author, Recent())
    if recent.epoch != epoch:
        recent.epoch, recent.ordered = epoch, 0
        recent.said = {id: said for id, said in recent.said.items() if said + 1 >= epoch}
    recent.ordered += 1
    recent.said[record.id] = epoch
    posts.total += 1
    if post.forecast is not None:
        uncited = sorted(
            (spec.height, id)
            for id, spec in posts.specs.items()
            if spec.author == author and not spec.is_cited
        )
        for _, oldest in uncited[: max(0, len(uncited) + 1 - UNCITED_SPECS_PER_AUTHOR_MAX)]:
            del posts.specs[oldest]
        posts.specs[record.id] = Spec(author, height, *post.forecast)
        state.history = tagged("assay history v1", state.history, b"spec", record.id, le64(height))
    note_link(state, record, post, height)
    if charge is not None and accused is not None:
        open_ruling(state, record.id, author, charge, accused)
    if post.is_limit:
        state.history = tagged("assay history v1", state.history, b"limit", record.id, le64(height))


def check_citations(state: State, cites: list[bytes]) -> None:
    """What a claim cites are specs or diagnoses on the ledger."""
    links = state.posts.links
    diagnoses = {id for id in cites if id in links and links[id].kind == POST_DIAGNOSIS}
    fits = all(id in state.posts.specs or id in diagnoses for id in cites)
    require(fits, "cites what is neither a spec nor a diagnosis")


def note_citations(state: State, claim: bytes, cites: list[bytes]) -> None:
    """Remembers what a claim cites."""
    if cites:
        ids = b"".join(cites)
        state.history = tagged("assay history v1", state.history, b"cites", claim, ids)
        state.posts.citations[claim] = cites
        for id in cites:
            if id in state.posts.specs:
                state.posts.specs[id].is_cited = True
            keep_relay(state, id)


def bears_out(forecast_ppm: int, measured_ppm: int) -> bool:
    """Whether both are gains and neither is more than twice the other."""
    forecast, measured = max(0, forecast_ppm - 10**6), max(0, measured_ppm - 10**6)
    return measured > 0 and forecast <= 2 * measured and measured <= 2 * forecast


def credit_cited(state: State, claim: ClaimState) -> None:
    """Credits those whom a confirmed and opened claim says it follows."""
    verdict = claim.verdict()
    ratio = verdict.ratio if verdict else None
    if ratio is None or not claim.is_confirmed() or not claim.stands():
        return
    if claim.opening is None or claim.opening.null:
        return
    credit_specs(state, claim, ratio.ppm)
    credit_relay(state, claim)


def credit_specs(state: State, claim: ClaimState, ratio_ppm: int) -> None:
    """Credits the first spec of another operator that the claim bore out."""
    for id in state.posts.citations.get(claim.id, []):
        spec = state.posts.specs.get(id)
        if (
            spec is not None
            and spec.credited is None
            and spec.height < claim.docketed_at
            and state.operator(spec.author) != state.operator(claim.author)
            and spec.hardware_class == claim.hardware_class
            and bears_out(spec.ratio_ppm, ratio_ppm)
        ):
            spec.credited = claim.id
            state.history = tagged("assay history v1", state.history, b"credit", id, claim.id)
            state.book(spec.author, "cited_spec", (state.height, claim.id, None))
            return
