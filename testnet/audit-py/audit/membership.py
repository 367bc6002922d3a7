"""Vouches, joining, leaving, the end of a key, disclosures (LEDGER_RULES.md §7, §9.4)."""

from __future__ import annotations

from .bodies import Disclosure, Join, Leave, Proof, Record, Return, Vouch
from .curve import decode_ristretto
from .hashing import le64, tagged
from .measurement import require
from .model import Admission, Disclosed, Member, PendingVouch
from .spelling import Map
from .standing import Account
from .state import VALIDATORS_MIN, State

MEMBERS_MAX = 64
DISCLOSURES_PER_CLAIM_MAX = 8


def apply_vouch(state: State, record: Record, vouch: Vouch, height: int) -> None:
    """A member's word for a newcomer."""
    rules, voucher = state.parameters.membership, state.members[record.author]
    require(voucher.status == "full", "a member on probation does not vouch")
    standing = voucher.account.standing()
    require(standing >= rules.vouch_standing_min, f"a standing of {standing} is too low to vouch")
    epoch = state.epoch_of(height)
    require(vouch.epoch == epoch, f"the vouch is for epoch {vouch.epoch}, this is {epoch}")
    vouched = voucher.vouched if voucher.vouched_epoch == epoch else set()
    require(vouch.peer not in vouched, "said before")
    require(len(vouched) < rules.vouches_per_epoch, "no vouch left in this epoch")
    _check_newcomer(state, record.author, vouch)
    if voucher.vouched_epoch != epoch:
        voucher.vouched, voucher.vouched_epoch = set(), epoch
    voucher.vouched.add(vouch.peer)
    state.vouches[vouch.peer] = PendingVouch(
        record.author, record.id, vouch.operator, vouch.name, vouch.epoch
    )


def _check_newcomer(state: State, author: bytes, vouch: Vouch) -> None:
    known = state.members.get(vouch.peer)
    require(known is None or known.status == "left", "a member already, or an ended key")
    require(vouch.peer not in state.vouches, "has a vouch that waits for its answer")
    if vouch.operator != state.operator(author):
        named = {member.operator for member in state.members.values() if member.is_active()}
        named |= {pending.operator for pending in state.vouches.values() if pending.by != author}
        require(vouch.operator not in named, "the operator has members, and only they vouch for it")
    active = sum(member.is_active() for member in state.members.values())
    require(active + len(state.vouches) < MEMBERS_MAX, "the network has its most members")
    names = {member.name for peer, member in state.members.items() if peer != vouch.peer}
    names |= {pending.name for pending in state.vouches.values()}
    require(vouch.name not in names, "the name is taken")


def apply_join(state: State, record: Record, join: Join, height: int) -> None:
    """A newcomer accepts a vouch."""
    pending = state.vouches.get(record.author)
    if pending is None or pending.record != join.vouch:
        require(False, "nobody vouches for the author")
        return
    others = {member.vrf for peer, member in state.members.items() if peer != record.author}
    usable = decode_ristretto(join.vrf) is not None and join.vrf not in others
    require(usable, "cannot be this peer's random-function key")
    before = state.members.get(record.author)
    state.members[record.author] = Member(
        pending.name,
        pending.operator,
        join.vrf,
        before.account if before else Account(1),
        "probation",
        0,
        Admission(pending.by, pending.record, height, None),
        before.vouched if before else set(),
        before.vouched_epoch if before else 0,
    )
    del state.vouches[record.author]


def apply_leave(state: State, record: Record, leave: Leave) -> None:
    """A member leaves."""
    member = state.members[record.author]
    require(member.joined_at() == leave.joined_at, "said before")
    validated, before = record.author in state.validators(), member.status
    member.status = "left"
    if validated:
        left = state.present(state.validators())
        member.status = before
        require(left >= VALIDATORS_MIN, "the network cannot spare this validator")
        member.status = "left"
    _vacate(state, record.author, even_revealed=False)


def apply_return(state: State, record: Record, back: Return) -> None:
    """A silent validator is back."""
    since = state.turns.silent.get(record.author)
    require(since == back.silent_since, "was not found silent at that height")
    del state.turns.silent[record.author]


def take_turn(state: State, proposer: bytes, height: int) -> None:
    """Notes who proposed the block at this height, and who has not for too long."""
    turns, limit = state.turns, state.parameters.membership.silent_blocks
    turns.silent = Map((p, since) for p, since in turns.silent.items() if state.active(p))
    overdue = [
        (heard, peer)
        for peer, heard in turns.heard_at.items()
        if peer != proposer and state.present([peer]) and heard + limit <= height
    ]
    if overdue:
        _, longest = min(overdue)
        present = state.present(state.validators())
        turns.silent[longest] = height
        left = state.present(state.validators())
        if left < VALIDATORS_MIN or (left - 1) // 3 < (present - 1) // 3:
            del turns.silent[longest]
    before = turns.heard_at
    turns.heard_at = Map(
        (peer, height if peer == proposer else before.get(peer, height))
        for peer in state.validators()
    )


def end_key(state: State, proof: Proof, height: int) -> None:
    """A key that contradicted itself is ended."""
    member = state.members.get(proof.culprit)
    if member is None or member.status == "ended":
        require(False, "the culprit is no member, or ended already")
        return
    member.status = "ended"
    _vacate(state, proof.culprit, even_revealed=True)
    state.rulings.withdraw(proof.culprit)
    state.book(proof.culprit, "ended", (height, None, None))


def _vacate(state: State, peer: bytes, *, even_revealed: bool) -> None:
    for _, round in state.open_rounds():
        if round.has_revealed(peer) and not even_revealed:
            continue
        for said in (round.seals, round.reveals, round.shadows):
            said.pop(peer, None)


def lapse_vouches(state: State, height: int) -> None:
    """Drops the vouches whose time is over."""
    epoch = state.epoch_of(height)
    for peer in [p for p, pending in state.vouches.items() if pending.epoch + 1 < epoch]:
        del state.vouches[peer]


def apply_disclosure(state: State, record: Record, told: Disclosure, height: int) -> None:
    """A trick that a member tells of."""
    by, epoch = record.author, state.epoch_of(height)
    require(record.id not in state.disclosures, "said before")
    earlier = list(state.disclosures.values())
    for other in earlier:
        again = told.claim is not None or state.epoch_of(other.height) == epoch
        require(not (other.by == by and other.claim == told.claim and again), "said before")
    if told.claim is not None:
        claim = state.claims.get(told.claim)
        require(claim is not None, "the claim is not on the ledger")
        assert claim is not None
        others = sum(d.claim == told.claim and d.by != claim.author for d in earlier)
        full = claim.author != by and others >= DISCLOSURES_PER_CLAIM_MAX
        require(not full, "the claim has all the disclosures that it may have")
    state.history = tagged(
        "assay history v1", state.history, b"disclosure", record.id, le64(height)
    )
    state.disclosures[record.id] = Disclosed(by, height, told.claim)
