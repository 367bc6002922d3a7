"""The one door: signed records become what they say, or are rejected (LEDGER.md §6)."""

from __future__ import annotations

import string

from .bodies import (
    Appeal,
    Ballot,
    Body,
    Challenge,
    Charge,
    Claim,
    Disclosure,
    Divergence,
    Excess,
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
from .codec import DecodeError, Message, decode
from .curve import verify
from .genesis import Drafter, Recipe, is_control, is_name
from .hashing import le32, le64, tagged
from .measurement import BadSignature, Reject, present, read, require
from .proposals import PARAMETERS

RECORD_BYTES_MAX = 64 * 1024
SUMMARY_BYTES_MAX = 200
DRAFT_LEN_MAX = 16
CITES_MAX = 4
POST_KINDS = 12
POST_SPEC = 4
POST_CHECKPOINT = 5
POST_ATTEMPT = 6
POST_DIAGNOSIS = 7
POST_FLAG = 10
OFFENCES = ("off-channel", "duplicate", "path", "physics")
INDEX_MAX = (1 << 24) - 1
FINDINGS = ("upheld", "dismissed", "unable")
POST_LIMIT = 12
POST_BODY_BYTES_MAX = 12 * 1024
_CLASS_CHARACTERS = set(string.ascii_letters + string.digits + "-")


def bytes32(message: Message, field: str) -> bytes:
    """A field of 32 bytes."""
    value = message.data(field)
    require(len(value) == 32, f"field {field} has {len(value)} bytes instead of 32")
    return value


def _optional32(message: Message, field: str) -> bytes | None:
    return bytes32(message, field) if message.data(field) else None


def _line(message: Message, field: str) -> str:
    text = message.text(field)
    fits = len(text.encode()) <= SUMMARY_BYTES_MAX and not any(map(is_control, text))
    require(fits, f"field {field}: at most {SUMMARY_BYTES_MAX} bytes without control characters")
    return text


def _round(message: Message) -> int:
    require(message.number("round") > 0, "rounds are counted from 1")
    return message.number("round")


def _claim(claim: Message) -> Claim:
    recipe = present(claim, "recipe")
    drafter, draft_len = _optional32(recipe, "drafter"), recipe.number("draft_len")
    matches = 1 <= draft_len <= DRAFT_LEN_MAX if drafter else draft_len == 0
    require(matches, f"draft_len {draft_len} with this drafter field")
    hardware_class = _class(claim)
    cites = claim.elements("cites")
    require(len(cites) <= CITES_MAX, f"{len(cites)} cites")
    require(all(len(id) == 32 for id in cites), "a citation of another length than 32 bytes")
    require(len(set(cites)) == len(cites), "a spec cited twice")
    return Claim(
        Recipe(
            bytes32(recipe, "checkpoint"),
            _optional32(recipe, "bundle"),
            Drafter(drafter, draft_len) if drafter else None,
        ),
        bytes32(claim, "parent"),
        bytes32(claim, "result_seal"),
        _line(claim, "summary"),
        hardware_class,
        cites,
    )


def _class(message: Message) -> str:
    text = message.text("hardware_class")
    named = 1 <= len(text) <= 120 and set(text) <= _CLASS_CHARACTERS
    require(named, "hardware_class: letters, digits and dashes")
    return text


def _post(post: Message) -> Post:
    kind, size = post.number("kind"), post.number("body_bytes")
    require(1 <= kind <= POST_KINDS, f"{kind} is no kind of post")
    require(1 <= size <= POST_BODY_BYTES_MAX, f"{size} bytes of body")
    bytes32(post, "body")
    said, bound = post.message("forecast"), post.message("bound")
    require((said is not None) == (kind == POST_SPEC), "a forecast is for specs, which need one")
    accuses = post.message("charge")
    require(accuses is None or kind == POST_FLAG, "a charge is for flags")
    require((bound is not None) == (kind == POST_LIMIT), "a bound is for limits, which need one")
    if bound is not None:
        _bound(bound)
    forecast = None
    if said is not None:
        ratio = said.number("ratio_ppm")
        require(10**6 < ratio <= 10**9, f"a forecast of {ratio}")
        forecast = (ratio, _class(said))
    found = post.message("link")
    link = _link(kind, found) if found else None
    charge = _charge(accuses) if accuses else None
    return Post(kind, post.number("epoch"), forecast, link, bound is not None, charge)


def _link(kind: int, link: Message) -> tuple[bytes, bytes | None]:
    """A post's place in a relay: a checkpoint follows nothing, the others something."""
    linked = (POST_CHECKPOINT, POST_ATTEMPT, POST_DIAGNOSIS)
    require(kind in linked, f"a link in a post of kind {kind}")
    manifest = bytes32(link, "manifest")
    if kind != POST_CHECKPOINT:
        return manifest, bytes32(link, "previous")
    require(not link.data("previous"), "a checkpoint that follows something")
    return manifest, None


def _bound(bound: Message) -> None:
    figures = (bound.number("ratio_to_base_ppm"), bound.number("decode_speed_mtps"))
    _class(bound)
    _optional32(bound, "checkpoint")
    require(figures.count(0) == 1, "a bound of one figure")


def _charge(charge: Message) -> Charge:
    rule = charge.number("rule")
    require(1 <= rule <= len(OFFENCES), f"a charge of the rule {rule}")
    evidence, seen = _optional32(charge, "evidence"), charge.message("sighting")
    word, subject = OFFENCES[rule - 1], bytes32(charge, "subject")
    return Charge(word, subject, evidence, _sighting(word, seen))


def _sighting(rule: str, sighting: Message | None) -> Divergence | Excess | None:
    """What the flagger saw: of the kind that the rule needs, and nothing where it needs nothing."""
    if rule not in ("path", "physics"):
        require(sighting is None, f"a sighting under the rule {rule}")
        return None
    parted = sighting.message("divergence") if sighting else None
    beyond = sighting.message("excess") if sighting else None
    if rule == "path" and parted is not None and beyond is None:
        numbers = [parted.number(name) for name in ("prompt", "position", "expected", "seen")]
        require(max(numbers) <= INDEX_MAX, "a divergence beyond every prompt and token")
        return Divergence(*numbers)
    if rule == "physics" and beyond is not None and parted is None:
        figures = [beyond.number(name) for name in ("round", "bandwidth_mb_s", "share_ppm")]
        require(figures[0] > 0 and figures[1] > 0 and figures[2] > 10**6, "no excess")
        return Excess(*figures)
    require(False, f"the rule {rule} without its sighting")
    return None


def _ballot(ballot: Message) -> Ballot:
    hearing, finding = ballot.number("hearing"), ballot.number("finding")
    require(1 <= hearing <= 2, f"hearing {hearing}")
    require(1 <= finding <= len(FINDINGS), f"finding {finding}")
    word = FINDINGS[finding - 1]
    return Ballot(bytes32(ballot, "charge"), hearing, word, bytes32(ballot, "digest"))


def _proposal(proposal: Message) -> Proposal:
    number, why = proposal.number("parameter"), proposal.text("why")
    require(1 <= number <= len(PARAMETERS), f"the parameter {number}")
    plain = bool(why.strip()) and not any(map(is_control, why))
    require(plain and len(why.encode()) <= SUMMARY_BYTES_MAX, "why of a proposal")
    path = PARAMETERS[number - 1]
    return Proposal(path, proposal.number("value"), why, proposal.number("epoch"))


def _reveal(reveal: Message) -> Reveal:
    measurement = present(reveal, "measurement")
    return Reveal(
        bytes32(reveal, "claim"),
        _round(reveal),
        bytes32(reveal, "salt"),
        read(measurement),
        measurement.raw,
    )


def _vouch(vouch: Message) -> Vouch:
    operator, name = vouch.text("operator"), vouch.text("name")
    require(is_name(operator) and is_name(name), "operator or name is no name")
    return Vouch(bytes32(vouch, "peer"), operator, name, vouch.number("epoch"))


def _disclosure(told: Message) -> Disclosure:
    text = told.text("text")
    plain = not any(is_control(c) and c != "\n" for c in text)
    require(bool(text.strip()) and len(text.encode()) <= 1024 and plain, "text of a disclosure")
    return Disclosure(_optional32(told, "claim"), text, _optional32(told, "evidence"))


def _slot(body: Body) -> tuple[object, ...] | None:
    """What a peer may say once."""
    if isinstance(body, (Seal, Reveal)):
        return type(body).__name__, body.claim, body.round
    if isinstance(body, Opening):
        return "Opening", body.claim
    if isinstance(body, Join):
        return "Join", body.vouch
    return None


def _equivocation(network: bytes, proof: Message) -> Proof:
    statements = []
    for field in ("first", "second"):
        author, record = _verified(network, present(proof, field))
        nested = record.message("equivocation") or record.message("double_vote")
        require(nested is None, "a proof within a proof")
        body = _body(network, record)
        statements.append((author, _slot(body), tagged_id(network, present(proof, field))))
    (author, slot, first), (other, other_slot, second) = statements
    contradict = slot is not None and slot == other_slot and author == other and first != second
    require(contradict, "second does not contradict the first")
    require(first < second, "first must have the smaller record id")
    return Proof(author)


def vote_bytes(
    network: bytes,
    slot: tuple[int, int, int],
    kind: int,
    block: bytes,
    valid_round: int | None = None,
) -> bytes:
    """What a validator signs: kind 1 prevote, 2 precommit, 3 proposal; slot era, height, round."""
    era, height, number = slot
    message = b"assay/vote/v1\0" + network + le64(era) + le64(height) + le32(number) + bytes([kind])
    if kind == 3:
        return message + block + (b"\0" if valid_round is None else b"\1" + le32(valid_round))
    return message + (b"\1" + block if block else b"\0")


def _double_vote(network: bytes, proof: Message) -> Proof:
    validator = bytes32(proof, "validator")
    slot = (proof.number("era"), proof.number("height"), proof.number("round"))
    ballots = []
    for field in ("first", "second"):
        ballot = present(proof, field)
        kind, valid = ballot.number("kind"), ballot.optional_number("valid_round")
        require(kind == 3 or (kind in (1, 2) and valid is None), f"kind {kind}")
        block = _optional32(ballot, "block") or b""
        signature = ballot.data("signature")
        require(len(signature) == 64, "signature of a ballot")
        # Absent values come first.
        order = (kind, valid is not None, valid or 0, bool(block), block)
        ballots.append((order, signature))
    (first, _), (second, _) = ballots
    require(first[0] == second[0] and first != second, "second does not contradict the first")
    require(ballots[0] <= ballots[1], "first must be the smaller ballot")
    for (kind, has_valid, valid, has_block, block), signature in ballots:
        require(kind != 3 or has_block, "a proposal names a block")
        message = vote_bytes(network, slot, kind, block, valid if has_valid else None)
        if not verify(validator, message, signature):
            raise BadSignature("signature of a ballot does not verify")
    return Proof(validator)


def _body(network: bytes, record: Message) -> Body:
    require(bool(record.present()), "the record says nothing")
    kind = record.present()[0]
    part = present(record, kind)
    match kind:
        case "claim":
            return _claim(part)
        case "seal":
            return Seal(bytes32(part, "claim"), _round(part), bytes32(part, "commitment"))
        case "reveal":
            return _reveal(part)
        case "opening":
            opened = bytes32(part, "claim"), bytes32(part, "salt")
            return Opening(*opened, part.number("ratio_ppm"), bool(part.number("null")))
        case "challenge":
            _line(part, "reason")
            return Challenge(bytes32(part, "claim"))
        case "vouch":
            return _vouch(part)
        case "join":
            return Join(bytes32(part, "vouch"), bytes32(part, "vrf"))
        case "leave":
            return Leave(part.number("joined_at"))
        case "return":
            return Return(part.number("silent_since"))
        case "equivocation":
            return _equivocation(network, part)
        case "double_vote":
            return _double_vote(network, part)
        case "disclosure":
            return _disclosure(part)
        case "post":
            return _post(part)
        case "ruling_ballot":
            return _ballot(part)
        case "appeal":
            return Appeal(bytes32(part, "charge"))
        case "proposal":
            return _proposal(part)
        case "voice":
            return Voice(bytes32(part, "proposal"), bool(part.number("yes")))
        case _:
            raise Reject(f"a record of the kind {kind}")


def tagged_id(network: bytes, signed: Message) -> bytes:
    """The id of a signed record."""
    return tagged("assay record id v1", network, signed.data("author"), signed.data("payload"))


def _verified(network: bytes, signed: Message) -> tuple[bytes, Message]:
    require(not signed.data("attachment"), "an attachment where it is stored apart")
    author, payload = bytes32(signed, "author"), signed.data("payload")
    signature = signed.data("signature")
    require(len(signature) == 64, f"signature of {len(signature)} bytes")
    message = b"assay/record/v1\0" + network + payload
    if not verify(author, message, signature):
        raise BadSignature("signature does not verify on this network")
    require(len(payload) <= RECORD_BYTES_MAX, f"{len(payload)} bytes of payload")
    try:
        return author, decode("Record", payload)
    except DecodeError as error:
        raise Reject(f"cannot be read: {error}") from error


def open_signed(network: bytes, signed: Message) -> Record:
    """Reads a record of a block: form, sizes, signature."""
    author, record = _verified(network, signed)
    return Record(tagged_id(network, signed), author, _body(network, record), signed)
