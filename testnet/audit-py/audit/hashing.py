"""Hashes, draws and Merkle trees (LEDGER.md §3)."""

from __future__ import annotations

from blake3 import blake3

M64 = (1 << 64) - 1


def le64(value: int) -> bytes:
    """Eight bytes, least significant first."""
    return value.to_bytes(8, "little")


def le32(value: int) -> bytes:
    """Four bytes, least significant first."""
    return value.to_bytes(4, "little")


def round_bytes(claim: bytes, number: int) -> bytes:
    """A round as a part of a hash."""
    return claim + le32(number)


def _hasher(domain: str, parts: tuple[bytes, ...]) -> blake3:
    hasher = blake3(derive_key_context=domain)
    for part in parts:
        hasher.update(le64(len(part)))
        hasher.update(part)
    return hasher


def tagged(domain: str, *parts: bytes) -> bytes:
    """H(domain, parts…): 32 bytes."""
    return _hasher(domain, parts).digest()


class Draw:
    """Random integers from a hash's extendable output."""

    _CHUNK = 1024

    def __init__(self, domain: str, *parts: bytes) -> None:
        self._hasher = _hasher(domain, parts)
        self._seek = 0
        self._buffer = b""

    def next_u64(self) -> int:
        """The next 64 bits."""
        if not self._buffer:
            self._buffer = self._hasher.digest(length=self._CHUNK, seek=self._seek)
            self._seek += self._CHUNK
        value, self._buffer = self._buffer[:8], self._buffer[8:]
        return int.from_bytes(value, "little")

    def below(self, bound: int) -> int:
        """A number below `bound`, each equally likely; 0 when that is 0."""
        if bound == 0:
            return 0
        limit = M64 - M64 % bound
        while True:
            value = self.next_u64()
            if value < limit:
                return value % bound

    def distinct(self, count: int, bound: int) -> list[int]:
        """Different numbers below `bound`, in the order drawn."""
        drawn: dict[int, None] = {}
        while len(drawn) < min(count, bound):
            drawn.setdefault(self.below(bound))
        return list(drawn)


class Merkle:
    """The right edge of a growing tree."""

    def __init__(self) -> None:
        self.leaves = 0
        self._peaks: list[bytes] = []

    def push(self, data: bytes) -> None:
        """Appends a leaf."""
        node = tagged("assay merkle leaf v1", data)
        size = self.leaves
        while size & 1:
            node = tagged("assay merkle node v1", self._peaks.pop(), node)
            size >>= 1
        self._peaks.append(node)
        self.leaves += 1

    def root(self) -> bytes:
        """The root; a constant for the empty tree."""
        if not self._peaks:
            return tagged("assay merkle empty v1")
        node = self._peaks[-1]
        for left in reversed(self._peaks[:-1]):
            node = tagged("assay merkle node v1", left, node)
        return node
