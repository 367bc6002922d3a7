"""Relays: whom the ledger credits for a claim's checkpoint (LEDGER_RULES.md §9.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .hashing import le64, tagged
from .records import POST_ATTEMPT, POST_CHECKPOINT, POST_DIAGNOSIS

if TYPE_CHECKING:
    from .bodies import Post, Record
    from .genesis import Recipe
    from .model import ClaimState
    from .state import State

UNCITED_LINKS_PER_AUTHOR_MAX = 32


@dataclass
class Link:
    """A checkpoint, a failed attempt or a diagnosis on the ledger."""

    author: bytes
    height: int
    kind: int
    manifest: bytes
    previous: bytes | None
    is_cited: bool = False
    credited: bytes | None = None


def note_link(state: State, record: Record, post: Post, height: int) -> None:
    """Keeps the link of a post just ordered."""
    if post.link is None:
        return
    links = state.posts.links
    uncited = sorted(
        (link.height, id)
        for id, link in links.items()
        if link.author == record.author and not link.is_cited
    )
    for _, oldest in uncited[: max(0, len(uncited) + 1 - UNCITED_LINKS_PER_AUTHOR_MAX)]:
        del links[oldest]
    links[record.id] = Link(record.author, height, post.kind, *post.link)
    state.history = tagged("assay history v1", state.history, b"link", record.id, le64(height))


def relay_behind(state: State, diagnosis: bytes) -> list[bytes]:
    """The ids of checkpoint, attempt and diagnosis; empty where there is a gap."""
    links, id = state.posts.links, diagnosis
    chain: list[bytes] = []
    for kind in (POST_DIAGNOSIS, POST_ATTEMPT, POST_CHECKPOINT):
        link = links.get(id)
        if link is None or link.kind != kind:
            return []
        chain.insert(0, id)
        id = link.previous or b""
    built, tried, diagnosed = (links[id].manifest for id in chain)
    return chain if built == tried != diagnosed else []


def keep_relay(state: State, cited: bytes) -> None:
    """Keeps a cited diagnosis, and the relay behind it, for good."""
    for id in {cited, *relay_behind(state, cited)} & state.posts.links.keys():
        state.posts.links[id].is_cited = True


def _manifests(recipe: Recipe) -> set[bytes]:
    """The checkpoint and the drafter of a recipe."""
    return {recipe.checkpoint} | ({recipe.drafter.checkpoint} if recipe.drafter else set())


def relay_of(state: State, claim: ClaimState) -> list[bytes]:
    """The relay of the first cited diagnosis whose correction the claim runs; empty without one."""
    links, base = state.posts.links, state.genesis.challenge.base
    parent = state.claims.get(claim.parent)
    runs = _manifests(claim.recipe) - _manifests(base)
    runs -= _manifests(parent.recipe) if parent else set()
    for cited in state.posts.citations.get(claim.id, []):
        chain = relay_behind(state, cited)
        before = all(links[id].height < claim.docketed_at for id in chain)
        if chain and before and links[cited].manifest in runs:
            return chain
    return []


def credit_relay(state: State, claim: ClaimState) -> None:
    """Credits each other operator behind a claim that is due to, once, and then the claim's author."""
    operators, earning = {state.operator(claim.author)}, []
    for id in relay_of(state, claim):
        link = state.posts.links[id]
        if link.credited is None and state.operator(link.author) not in operators:
            operators.add(state.operator(link.author))
            earning.append(id)
    occasion = (state.height, claim.id, None)
    for id in earning:
        link = state.posts.links[id]
        link.credited = claim.id
        state.history = tagged("assay history v1", state.history, b"credit", id, claim.id)
        state.book(link.author, "relayed", occasion)
    if earning:
        state.book(claim.author, "relayed", occasion)
