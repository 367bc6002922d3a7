"""Merlin transcripts over STROBE-128, as far as the random outputs need them."""

from __future__ import annotations

_RATE = 166
_M64 = (1 << 64) - 1


def _round_constants() -> list[int]:
    constants, register = [], 1
    for _ in range(24):
        value = 0
        for power in range(7):
            if register & 1:
                value |= 1 << ((1 << power) - 1)
            register <<= 1
            if register & 0x100:
                register ^= 0x171
        constants.append(value)
    return constants


_CONSTANTS = _round_constants()


def _rotate(value: int, by: int) -> int:
    by %= 64
    return (value << by | value >> (64 - by)) & _M64


def keccak_f1600(state: bytes) -> bytes:
    """The permutation of FIPS 202 on 200 bytes."""
    lanes = [
        [int.from_bytes(state[8 * (x + 5 * y) :][:8], "little") for y in range(5)] for x in range(5)
    ]
    for constant in _CONSTANTS:
        c = [row[0] ^ row[1] ^ row[2] ^ row[3] ^ row[4] for row in lanes]
        d = [c[(x + 4) % 5] ^ _rotate(c[(x + 1) % 5], 1) for x in range(5)]
        lanes = [[lanes[x][y] ^ d[x] for y in range(5)] for x in range(5)]
        x, y, current = 1, 0, lanes[1][0]
        for step in range(24):
            x, y = y, (2 * x + 3 * y) % 5
            current, lanes[x][y] = lanes[x][y], _rotate(current, (step + 1) * (step + 2) // 2)
        for y in range(5):
            row = [lanes[x][y] for x in range(5)]
            for x in range(5):
                lanes[x][y] = row[x] ^ (~row[(x + 1) % 5] & row[(x + 2) % 5])
        lanes[0][0] ^= constant
    return b"".join(lanes[x][y].to_bytes(8, "little") for y in range(5) for x in range(5))


class Transcript:
    """A Merlin 1.0 transcript."""

    _FLAG_I, _FLAG_A, _FLAG_C, _FLAG_M = 1, 2, 4, 16

    def __init__(self, label: bytes) -> None:
        start = bytes([1, _RATE + 2, 1, 0, 1, 96]) + b"STROBEv1.0.2"
        self._state = bytearray(keccak_f1600(start + bytes(200 - len(start))))
        self._at = self._begin = 0
        self._meta(b"Merlin v1.0")
        self.append(b"dom-sep", label)

    def append(self, label: bytes, message: bytes) -> None:
        """Binds a message."""
        self._meta(label)
        self._absorb(len(message).to_bytes(4, "little"))
        self._operation(self._FLAG_A)
        self._absorb(message)

    def challenge(self, label: bytes, length: int) -> bytes:
        """Bytes that depend on everything so far."""
        self._meta(label)
        self._absorb(length.to_bytes(4, "little"))
        self._operation(self._FLAG_I | self._FLAG_A | self._FLAG_C)
        out = bytearray()
        for _ in range(length):
            out.append(self._state[self._at])
            self._state[self._at] = 0
            self._step()
        return bytes(out)

    def _meta(self, data: bytes) -> None:
        self._operation(self._FLAG_M | self._FLAG_A)
        self._absorb(data)

    def _operation(self, flags: int) -> None:
        begin, self._begin = self._begin, self._at + 1
        self._absorb(bytes([begin, flags]))
        if flags & self._FLAG_C and self._at:
            self._permute()

    def _absorb(self, data: bytes) -> None:
        for byte in data:
            self._state[self._at] ^= byte
            self._step()

    def _step(self) -> None:
        self._at += 1
        if self._at == _RATE:
            self._permute()

    def _permute(self) -> None:
        self._state[self._at] ^= self._begin
        self._state[self._at + 1] ^= 0x04
        self._state[_RATE + 1] ^= 0x80
        self._state = bytearray(keccak_f1600(bytes(self._state)))
        self._at = self._begin = 0
