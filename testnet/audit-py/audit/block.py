"""Blocks and certificates: one ledger item against the state before it (LEDGER.md §5)."""

from __future__ import annotations

from dataclasses import dataclass

from .advance import advance, is_due
from .bodies import (
    Appeal,
    Ballot,
    Challenge,
    Claim,
    Disclosure,
    Join,
    Leave,
    Opening,
    Post,
    Proof,
    Proposal,
    Record,
    Return,
    Reveal,
    Seal,
    Voice,
    Vouch,
)
from .claims import apply_claim, apply_opening, apply_reveal, apply_seal
from .codec import DecodeError, Message, decode
from .curve import verify, verify_output
from .doubt import apply_challenge
from .hashing import Merkle, tagged
from .measurement import BadSignature, NoMember, Reject
from .membership import (
    apply_disclosure,
    apply_join,
    apply_leave,
    apply_return,
    apply_vouch,
    end_key,
    take_turn,
)
from .posts import apply_post
from .proposals import apply_proposal, apply_voice
from .records import open_signed, vote_bytes
from .rules import CODES, OTHER_CODES
from .rulings import apply_appeal, apply_ballot
from .state import State

BLOCK_RECORDS_MAX = 256


@dataclass
class Fault(Exception):
    """The first thing that is wrong: where, the rule it breaks, what was found."""

    place: str
    rule: str
    message: str

    @property
    def code(self) -> str:
        """The rule's code."""
        return (CODES | OTHER_CODES)[self.rule]


@dataclass
class Checked:
    """What was checked, counted."""

    blocks: int = 0
    records: int = 0
    certificate_signatures: int = 0
    random_outputs: int = 0
    entries: int = 0
    rounds: int = 0
    frontier_rounds: int = 0
    challenges: int = 0
    reaudits: int = 0
    debunked: int = 0
    committees: int = 0
    seals: int = 0
    verdicts: int = 0


class Auditor:
    """Replays ledger items one by one."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.checked = Checked()

    def feed(self, data: bytes) -> None:
        """Checks the next item."""
        try:
            item = decode("LedgerItem", data)
        except DecodeError as error:
            raise self._fault("format", str(error)) from error
        block, certificate = item.message("block"), item.message("certificate")
        header = block.message("header") if block else None
        if block is None or header is None or certificate is None:
            raise self._fault("format", "block, header or certificate is missing")
        head = tagged("assay block v1", header.raw)
        self._check_certificate(certificate, header, head)
        self._check_header(header)
        self._apply_records(block, header)
        self._finish(block, header)
        self.state.head = head
        self._count(block, certificate)

    def _fault(self, rule: str, message: str) -> Fault:
        return Fault(f"entry at height {self.state.height + 1}", rule, message)

    def _require(self, holds: bool, rule: str, message: str) -> None:
        if not holds:
            raise self._fault(rule, message)

    def _check_certificate(self, certificate: Message, header: Message, head: bytes) -> None:
        rule, height = "commit certificate", header.number("height")
        same = certificate.number("height") == height and certificate.data("block") == head
        self._require(same, rule, "certificate is for another block")
        slot = (header.number("era"), height, certificate.number("round"))
        message = vote_bytes(self.state.network, slot, 2, head)
        validators = self.state.validators()
        left = set(validators)
        for entry in certificate.messages("signatures"):
            signer, signature = entry.data("validator"), entry.data("signature")
            known = signer in left
            self._require(known, rule, f"{signer.hex()} is no validator, or signed twice")
            left.discard(signer)
            valid = verify(signer, message, signature)
            self._require(valid, rule, f"signature of {signer.hex()} does not verify")
        power = len(validators) - len(left)
        enough = power * 3 > len(validators) * 2
        self._require(enough, rule, f"{power} of {len(validators)} votes")

    def _check_header(self, header: Message) -> None:
        state = self.state
        self._require(header.data("network") == state.network, "header", "another network")
        self._require(header.number("era") == 0, "header", f"era {header.number('era')}")
        height = header.number("height")
        self._require(height == state.height + 1, "hash chain", f"height {height}")
        self._require(header.data("parent") == state.head, "hash chain", "another parent")
        time_ms = header.number("time_ms")
        self._require(time_ms >= state.time_ms, "time", f"{time_ms} is before {state.time_ms}")
        proposer = header.data("proposer")
        self._require(len(proposer) == 32, "format", f"proposer has {len(proposer)} bytes")
        named = proposer in state.validators()
        self._require(named, "proposer", f"{proposer.hex()} is not a validator of this height")
        output, proof = header.data("vrf_output"), header.data("vrf_proof")
        key = state.members[proposer].vrf
        valid = verify_output(key, state.network, height, output, proof)
        self._require(valid, "random output", f"of {proposer.hex()} does not verify")

    def _apply_records(self, block: Message, header: Message) -> None:
        records, time_ms = block.messages("records"), header.number("time_ms")
        fits = len(records) <= BLOCK_RECORDS_MAX
        self._require(fits, "block size", f"{len(records)} records")
        wanted = bool(records) or is_due(self.state, time_ms)
        self._require(wanted, "block size", "block orders nothing and nothing is due")
        for index, signed in enumerate(records):
            try:
                record = open_signed(self.state.network, signed)
            except Reject as reject:
                rule = "record signature" if isinstance(reject, BadSignature) else "record form"
                raise self._fault(rule, f"record {index}: {reject}") from reject
            try:
                apply_record(self.state, record, header.number("height"))
            except Reject as reject:
                kind = decode("Record", signed.data("payload")).present()[0].replace("_", " ")
                rule = "record author" if isinstance(reject, NoMember) else kind
                raise self._fault(rule, f"record {index}: {reject}") from reject
            self.state.index.push(record.id)

    def _finish(self, block: Message, header: Message) -> None:
        state, height = self.state, header.number("height")
        place = f"entry at height {height}"
        state.height, state.time_ms = height, header.number("time_ms")
        state.beacon = tagged("assay beacon v1", state.beacon, header.data("vrf_output"))
        advance(state, height, state.time_ms)
        take_turn(state, header.data("proposer"), height)
        body = Merkle()
        for signed in block.messages("records"):
            body.push(signed.raw)
        for rule, field, expected in (
            ("body root", "body_root", body.root()),
            ("state root", "state_root", state.root()),
            ("index root", "index_root", state.index.root()),
            ("validators", "next_validators", state.validators_hash()),
        ):
            found = header.data(field)
            if len(found) != 32:
                raise Fault(place, "format", f"header field {field} has {len(found)} bytes")
            if found != expected:
                message = f"header field {field} is {found.hex()}, expected {expected.hex()}"
                raise Fault(place, rule, message)

    def _count(self, block: Message, certificate: Message) -> None:
        checked = self.checked
        checked.blocks += 1
        checked.random_outputs += 1
        checked.records += len(block.messages("records"))
        checked.certificate_signatures += len(certificate.messages("signatures"))
        for id, number in self.state.settled:
            claim = self.state.claims[id]
            round = claim.rounds[number - 1]
            checked.rounds += 1
            checked.verdicts += 1
            checked.frontier_rounds += round.purpose.kind == "frontier"
            checked.challenges += round.purpose.kind == "challenge"
            checked.reaudits += round.purpose.kind == "audit"
            checked.debunked += round.finding == "debunked"
            checked.entries += claim.settled_at == round.settled_at
            checked.committees += bool(round.committee.seats)
            checked.seals += len(round.reveals)


def apply_record(state: State, record: Record, height: int) -> None:
    """Applies one record of the block at a height."""
    body, author = record.body, record.author
    if state.active(author) is None and not isinstance(body, Join):
        raise NoMember(f"{author.hex()} is not a member of this network")
    match body:
        case Claim():
            apply_claim(state, record, body, height)
        case Seal():
            apply_seal(state, author, body)
        case Reveal():
            apply_reveal(state, author, body)
        case Opening():
            apply_opening(state, record, body)
        case Challenge():
            apply_challenge(state, record, body, height)
        case Vouch():
            apply_vouch(state, record, body, height)
        case Join():
            apply_join(state, record, body, height)
        case Leave():
            apply_leave(state, record, body)
        case Return():
            apply_return(state, record, body)
        case Proof():
            end_key(state, body, height)
        case Disclosure():
            apply_disclosure(state, record, body, height)
        case Post():
            apply_post(state, record, body, height)
        case Ballot():
            apply_ballot(state, author, body)
        case Appeal():
            apply_appeal(state, author, body, height)
        case Proposal():
            apply_proposal(state, record, body, height)
        case Voice():
            apply_voice(state, author, body)
