"""Signed checkpoints: whether a ledger's first blocks are those that were signed (LEDGER.md §12)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from .block import Fault
from .curve import verify
from .state import State

RULE = "signed checkpoint"
NOTE_BYTES_MAX = 128 * 1024
NODE, WITNESS = 1, 4
"""Types of keys."""


class CheckpointError(Exception):
    """Bytes that are no signed checkpoint, or text that is no verifier key."""


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CheckpointError(f"{text[:80]!r} is not base64") from error


@dataclass(frozen=True)
class Key:
    """A key that lines are verified with."""

    name: str
    kind: int
    public: bytes

    def id(self) -> bytes:
        """Its first four bytes on a line."""
        named = self.name.encode() + b"\n" + bytes([self.kind]) + self.public
        return hashlib.sha256(named).digest()[:4]

    @staticmethod
    def read(text: str) -> Key:
        """A verifier key."""
        parts = text.split("+", 2)
        if len(parts) != 3 or not parts[0] or any(c.isspace() for c in parts[0]):
            raise CheckpointError(f"{text[:200]!r} is no verifier key")
        raw = _base64(parts[2])
        if len(raw) != 33 or raw[0] not in (NODE, WITNESS):
            raise CheckpointError(f"{text[:200]!r} is no key of a node or witness")
        key = Key(parts[0], raw[0], raw[1:])
        if key.id().hex() != parts[1]:
            raise CheckpointError(f"the id of {text[:200]!r} is not that of its key")
        return key


@dataclass(frozen=True)
class Checkpoint:
    """What a note says, and the lines under it, none of which is believed yet."""

    text: str
    origin: str
    size: int
    root: bytes
    lines: list[tuple[str, bytes]]

    @staticmethod
    def read(data: bytes) -> Checkpoint:
        """A file's bytes."""
        try:
            note = data.decode()
        except UnicodeDecodeError as error:
            raise CheckpointError("the checkpoint is not UTF-8") from error
        if len(data) > NOTE_BYTES_MAX or any(c < " " and c != "\n" for c in note):
            raise CheckpointError("the checkpoint is too long or has control characters")
        text, blank, signed = note.rpartition("\n\n")
        if not blank or not signed.endswith("\n"):
            raise CheckpointError("the checkpoint has no signatures after an empty line")
        rows = text.split("\n")
        if len(rows) < 3 or not all(rows) or not rows[1].isascii() or not rows[1].isdigit():
            raise CheckpointError("the checkpoint has not three lines of origin, size and root")
        size, root = int(rows[1]), _base64(rows[2])
        if str(size) != rows[1] or size >> 64 or len(root) != 32:
            raise CheckpointError("the checkpoint's size or root is malformed")
        lines = []
        for line in signed[:-1].split("\n"):
            dash, _, rest = line.partition(" ")
            name, _, code = rest.partition(" ")
            raw = _base64(code)
            if dash != "\u2014" or not name or len(raw) < 5:
                raise CheckpointError("the checkpoint has a line that is no signature")
            lines.append((name, raw))
        return Checkpoint(text + "\n", rows[0], size, root, lines)

    def signed_by(self, key: Key) -> bool:
        """Whether one of the lines is this key's and verifies."""
        for name, raw in self.lines:
            if name != key.name or raw[:4] != key.id():
                continue
            signature, message = raw[4:], self.text
            if key.kind == WITNESS:
                seconds = int.from_bytes(signature[:8], "big")
                message = f"cosignature/v1\ntime {seconds}\n{message}"
                signature = signature[8:]
            if verify(key.public, message.encode(), signature):
                return True
        return False


class Tree:
    """The Merkle tree of RFC 6962 with SHA-256."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def push(self, block: bytes) -> None:
        """Appends a block's hash."""
        node, size = hashlib.sha256(b"\0" + block).digest(), self.size
        while size & 1:
            node = hashlib.sha256(b"\1" + self._peaks.pop() + node).digest()
            size >>= 1
        self._peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The root."""
        if not self._peaks:
            return hashlib.sha256(b"").digest()
        node = self._peaks[-1]
        for left in reversed(self._peaks[:-1]):
            node = hashlib.sha256(b"\1" + left + node).digest()
        return node


class Held:
    """A ledger that is held against a checkpoint."""

    def __init__(self, checkpoint: Checkpoint, witnesses: list[Key]) -> None:
        for key in witnesses:
            # A node that signs its own ledger is no witness of it.
            if key.kind != WITNESS:
                raise CheckpointError(f"{key.name} is the key of a node, not of a witness")
        self.checkpoint = checkpoint
        self._witnesses = witnesses
        self._tree = Tree()

    def observe(self, head: bytes) -> None:
        """Takes in the next block."""
        if self._tree.size < self.checkpoint.size:
            self._tree.push(head)

    def compare(self, state: State) -> list[str]:
        """Who signed it, by name; the fault K03 if the ledger does not bear it out."""
        note = self.checkpoint
        place = f"checkpoint of {note.size} blocks"
        origin = f"assay/{state.network.hex()}"
        if note.origin != origin:
            raise Fault(place, RULE, f"it is of {note.origin}, the ledger is of {origin}")
        members = state.members.rising()
        nodes = [m.name for peer, m in members if note.signed_by(Key(origin, NODE, peer))]
        witnesses = [key.name for key in self._witnesses if note.signed_by(key)]
        if not nodes and not witnesses:
            raise Fault(place, RULE, "no member signed it, and no witness that was named")
        for key in self._witnesses:
            if not note.signed_by(key):
                raise Fault(place, RULE, f"the witness {key.name} did not cosign it")
        if self._tree.size < note.size:
            raise Fault(place, RULE, f"the ledger ends after {self._tree.size} blocks")
        if self._tree.root() != note.root:
            found, signed = self._tree.root().hex(), note.root.hex()
            message = f"the ledger's first blocks have the root {found}, the checkpoint {signed}"
            raise Fault(place, RULE, message)
        return nodes + [f"witness {name}" for name in witnesses]
