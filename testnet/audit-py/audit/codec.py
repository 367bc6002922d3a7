"""Protobuf messages in their one valid encoding (LEDGER.md §2).

The general protobuf runtimes accept many spellings of a message and keep what they do not know. A
ledger has one spelling, so this reads the wire format itself and refuses every other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["bytes", "string", "uint32", "uint64", "bool", "message"]


class DecodeError(Exception):
    """Bytes that are not the canonical encoding of a message."""


@dataclass(frozen=True)
class Field:
    """One field of a message."""

    name: str
    kind: Kind
    message: str = ""
    repeated: bool = False
    optional: bool = False
    packed: bool = False


def _fields(text: str) -> dict[int, Field]:
    """Reads `number:name type` separated by commas; a type that is no scalar names a message."""
    fields: dict[int, Field] = {}
    for part in text.split(","):
        number, rest = part.strip().split(":")
        name, *words = rest.split()
        repeated, optional, packed = (flag in words for flag in ("repeated", "optional", "packed"))
        kind = words[-1]
        if kind in ("bytes", "string", "uint32", "uint64", "bool"):
            fields[int(number)] = Field(name, kind, "", repeated, optional, packed)  # type: ignore[arg-type]
        else:
            fields[int(number)] = Field(name, "message", kind, repeated, optional)
    return fields


SCHEMA: dict[str, dict[int, Field]] = {
    name: _fields(text)
    for name, text in {
        "LedgerItem": "1:block Block, 2:certificate CommitCertificate",
        "Block": "1:header Header, 2:records repeated SignedRecord",
        "Header": "1:network bytes, 2:era uint64, 3:height uint64, 4:parent bytes, 5:time_ms uint64,"
        "6:body_root bytes, 7:state_root bytes, 8:index_root bytes, 9:next_validators bytes,"
        "10:vrf_output bytes, 11:vrf_proof bytes, 12:proposer bytes",
        "CommitCertificate": "1:height uint64, 2:round uint32, 3:block bytes,"
        "4:signatures repeated CommitSignature",
        "CommitSignature": "1:validator bytes, 2:signature bytes",
        "SignedRecord": "1:author bytes, 2:payload bytes, 3:signature bytes, 4:attachment bytes",
        "Record": "1:claim Claim, 2:seal Seal, 3:reveal Reveal, 4:opening Opening,"
        "5:challenge Challenge, 20:vouch Vouch, 21:join Join, 22:leave Leave,"
        "23:equivocation Equivocation, 24:double_vote DoubleVote, 25:disclosure Disclosure,"
        "26:return Return, 27:ruling_ballot RulingBallot, 28:appeal Appeal,"
        "29:proposal Proposal, 30:voice Voice, 40:post Post",
        "Proposal": "1:parameter uint32, 2:value uint64, 3:why string, 4:epoch uint64",
        "Voice": "1:proposal bytes, 2:yes bool",
        "Recipe": "1:checkpoint bytes, 2:bundle bytes, 3:drafter bytes, 4:draft_len uint32",
        "Claim": "1:recipe Recipe, 2:parent bytes, 3:result_seal bytes, 4:summary string,"
        "5:hardware_class string, 6:cites repeated bytes",
        "Post": "1:kind uint32, 2:body bytes, 3:body_bytes uint32, 4:epoch uint64,"
        "5:forecast Forecast, 7:link Link, 8:charge Charge, 9:bound Bound",
        "Charge": "1:rule uint32, 2:subject bytes, 3:evidence bytes, 4:sighting Sighting",
        "Sighting": "1:divergence Divergence, 2:excess Excess",
        "Divergence": "1:prompt uint32, 2:position uint32, 3:expected uint32, 4:seen uint32",
        "Excess": "1:round uint32, 2:bandwidth_mb_s uint64, 3:share_ppm uint64",
        "RulingBallot": "1:charge bytes, 2:hearing uint32, 3:finding uint32, 4:digest bytes",
        "Appeal": "1:charge bytes",
        "Forecast": "1:ratio_ppm uint64, 2:hardware_class string",
        "Link": "1:manifest bytes, 2:previous bytes",
        "Bound": "1:hardware_class string, 2:checkpoint bytes, 3:ratio_to_base_ppm uint64,"
        "4:decode_speed_mtps uint64",
        "Seal": "1:claim bytes, 2:commitment bytes, 3:round uint32",
        "Reveal": "1:claim bytes, 2:salt bytes, 3:measurement Measurement, 4:round uint32",
        "Opening": "1:claim bytes, 2:salt bytes, 3:ratio_ppm uint64, 4:null bool",
        "Challenge": "1:claim bytes, 2:reason string",
        "Vouch": "1:peer bytes, 2:operator string, 3:name string, 4:epoch uint64",
        "Join": "1:vouch bytes, 2:vrf bytes",
        "Leave": "1:joined_at uint64",
        "Return": "1:silent_since uint64",
        "Disclosure": "1:claim bytes, 2:text string, 3:evidence bytes",
        "Equivocation": "1:first SignedRecord, 2:second SignedRecord",
        "DoubleVote": "1:validator bytes, 2:era uint64, 3:height uint64, 4:round uint32,"
        "5:first Ballot, 6:second Ballot",
        "Ballot": "1:kind uint32, 2:block bytes, 3:valid_round optional uint32, 4:signature bytes",
        "Measurement": "1:pairs repeated Pair, 2:x ArmReport, 3:y ArmReport,"
        "4:environment Environment, 5:x_prefill_us packed uint32, 6:y_prefill_us packed uint32",
        "Pair": "1:prompt uint32, 2:x_ns uint64, 3:y_ns uint64, 4:x_tokens bytes, 5:y_tokens bytes,"
        "6:x_score Score, 7:y_score Score, 8:base_nll_micronats uint64",
        "Score": "1:kl_micronats uint64, 2:agreements uint32, 3:nll_micronats uint64",
        "ArmReport": "1:decoded_tokens uint64, 3:scored_tokens uint64,"
        "4:choice_breaks uint64, 5:repeat_positions uint64, 7:identity_breaks uint64,"
        "8:near_ties uint64, 9:path_breaks uint64, 10:path_positions uint64,"
        "11:repeat_breaks uint64, 12:nonfinite_logits uint64, 13:shape bytes,"
        "14:bytes_per_token uint64, 15:reach_positions uint64, 16:reach_breaks uint64",
        "Environment": "1:adapter string, 2:backend string, 3:driver string,"
        "4:hardware_class string, 5:bandwidth_mb_s uint64, 6:load_before_milli uint32,"
        "7:load_after_milli uint32, 8:repeats uint32, 9:engine string, 10:compute_mflop_s uint64,"
        "11:clock_before_mhz uint32, 12:clock_after_mhz uint32,"
        "13:temperature_before_celsius uint32, 14:temperature_after_celsius uint32",
    }.items()
}
ONEOFS = {"Record"}
"""Messages of which at most one field may be set."""


class Message:
    """A decoded message; `raw` is its encoding."""

    __slots__ = ("_values", "name", "raw")

    def __init__(self, name: str, raw: bytes, values: dict[str, object]) -> None:
        self.name, self.raw, self._values = name, raw, values

    def number(self, field: str) -> int:
        """An integer, 0 when it is absent."""
        value = self._values.get(field, 0)
        assert isinstance(value, int)
        return value

    def optional_number(self, field: str) -> int | None:
        """An integer, if it is there."""
        return self.number(field) if field in self._values else None

    def data(self, field: str) -> bytes:
        """Bytes, empty when they are absent."""
        value = self._values.get(field, b"")
        assert isinstance(value, bytes)
        return value

    def text(self, field: str) -> str:
        """A text, empty when it is absent."""
        value = self._values.get(field, "")
        assert isinstance(value, str)
        return value

    def elements(self, field: str) -> list[bytes]:
        """The elements of a repeated field of bytes."""
        value = self._values.get(field, [])
        assert isinstance(value, list)
        return value

    def message(self, field: str) -> Message | None:
        """A message, if it is there."""
        value = self._values.get(field)
        assert value is None or isinstance(value, Message)
        return value

    def messages(self, field: str) -> list[Message]:
        """The elements of a repeated message."""
        value = self._values.get(field, [])
        assert isinstance(value, list)
        return value

    def numbers(self, field: str) -> list[int]:
        """The elements of a packed field."""
        value = self._values.get(field, [])
        assert isinstance(value, list)
        return value

    def present(self) -> list[str]:
        """The names of the fields that are there, in order."""
        return list(self._values)


def varint(value: int) -> bytes:
    """A number in its shortest form."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def bytes_field(number: int, data: bytes) -> bytes:
    """One field of bytes, left out when they are empty."""
    return varint(number << 3 | 2) + varint(len(data)) + data if data else b""


def int_field(number: int, value: int) -> bytes:
    """One integer field, left out when it is 0."""
    return varint(number << 3) + varint(value) if value else b""


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    start = at
    while True:
        if at >= len(data) or at - start == 10:
            raise DecodeError("a number is cut off or too long")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    if at - start > 1 and data[at - 1] == 0:
        raise DecodeError("a number is not in its shortest form")
    if value >= 1 << 64:
        raise DecodeError("a number has more than 64 bits")
    return value, at


def _packed(field: Field, data: bytes) -> list[int]:
    """The numbers of a packed field, of which there is at least one."""
    numbers, at = list[int](), 0
    while at < len(data) or not numbers:
        number, at = _read_varint(data, at)
        if number >= 1 << 32:
            raise DecodeError(f"{field.name} has {number}")
        numbers.append(number)
    return numbers


def _value(field: Field, data: bytes, at: int, wire: int) -> tuple[object, int]:
    """Reads one value; returns it and where the next field begins."""
    if not field.packed and field.kind in ("uint32", "uint64", "bool"):
        if wire != 0:
            raise DecodeError(f"{field.name} has wire type {wire}")
        number, at = _read_varint(data, at)
        most = {"uint32": (1 << 32) - 1, "uint64": (1 << 64) - 1, "bool": 1}[field.kind]
        if number > most or (number == 0 and not field.optional):
            raise DecodeError(f"{field.name} is {number}")
        return number, at
    if wire != 2:
        raise DecodeError(f"{field.name} has wire type {wire}")
    length, at = _read_varint(data, at)
    if length > len(data) - at:
        raise DecodeError(f"{field.name} is cut off")
    part, at = data[at : at + length], at + length
    if field.kind == "message":
        return decode(field.message, part), at
    if field.packed:
        return _packed(field, part), at
    if not part:
        raise DecodeError(f"{field.name} is empty and should be left out")
    if field.kind == "string":
        try:
            return part.decode("utf-8"), at
        except UnicodeDecodeError as error:
            raise DecodeError(f"{field.name} is no UTF-8") from error
    return part, at


def decode(name: str, data: bytes) -> Message:
    """Decodes the message of this name; every byte must be as the rules write it."""
    schema, values = SCHEMA[name], dict[str, object]()
    at = last = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        number, wire = tag >> 3, tag & 7
        field = schema.get(number)
        if field is None:
            raise DecodeError(f"{name} has no field {number}")
        if number < last or (number == last and not field.repeated):
            raise DecodeError(f"{name}.{field.name} is out of order")
        last = number
        value, at = _value(field, data, at, wire)
        if field.repeated:
            values.setdefault(field.name, [])
            elements = values[field.name]
            assert isinstance(elements, list)
            elements.append(value)
        else:
            values[field.name] = value
    if name in ONEOFS and len(values) > 1:
        raise DecodeError(f"{name} says two things")
    return Message(name, data, values)
