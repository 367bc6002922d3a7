"""Curve arithmetic: Ed25519 signatures and Ristretto255 random outputs (LEDGER.md §3)."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .hashing import le64
from .merlin import Transcript

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]
"""Extended coordinates X, Y, Z, T of a twisted Edwards point."""
IDENTITY: Point = (0, 1, 1, 0)


def add(p: Point, q: Point) -> Point:
    """The sum of two points."""
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * D * p[3] * q[3] % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(scalar: int, point: Point) -> Point:
    """`scalar` times a point."""
    total = IDENTITY
    for bit in bin(scalar)[2:]:
        total = add(total, total)
        if bit == "1":
            total = add(total, point)
    return total


def _sqrt_ratio(u: int, v: int) -> tuple[bool, int]:
    """Whether u/v is a square, and √(u/v) or √(i·u/v), not negative."""
    r = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    check = v * r * r % P
    correct, flipped = check == u % P, check == -u % P
    if flipped or check == -u * ROOT % P:
        r = r * ROOT % P
    return correct or flipped, -r % P if r & 1 else r


def decode_edwards(data: bytes) -> Point | None:
    """An Ed25519 point; `None` when no x belongs to the y."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, (number & (1 << 255) - 1) % P
    square, x = _sqrt_ratio(y * y - 1, D * y * y + 1)
    if not square:
        return None
    if x & 1 != sign:
        x = -x % P
    return (x, y, 1, x * y % P)


def small_order(data: bytes) -> bool:
    """Whether these bytes are no point, or one whose order divides 8."""
    point = decode_edwards(data)
    if point is None:
        return True
    for _ in range(3):
        point = add(point, point)
    return point[0] % P == 0 and (point[1] - point[2]) % P == 0


_weak: dict[bytes, bool] = {}


def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    """Strict Ed25519 without the cofactor; neither key nor R of small order."""
    if key not in _weak:
        _weak[key] = small_order(key)
    if _weak[key] or len(signature) != 64:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return not small_order(signature[:32])


_INVSQRT_A_MINUS_D = _sqrt_ratio(1, -1 - D)[1]
# RFC 9496 fixes the odd root.
_SQRT_AD_MINUS_ONE = P - _sqrt_ratio(-D - 1, 1)[1]


def _magnitude(value: int) -> int:
    value %= P
    return -value % P if value & 1 else value


def decode_ristretto(data: bytes) -> Point | None:
    """A Ristretto255 point; `None` when the encoding is not canonical."""
    s = int.from_bytes(data, "little")
    if len(data) != 32 or s >= P or s & 1:
        return None
    ss = s * s % P
    u1, u2 = 1 - ss, 1 + ss
    v = (-D * u1 * u1 - u2 * u2) % P
    square, inverse = _sqrt_ratio(1, v * u2 * u2 % P)
    dx = inverse * u2 % P
    x = _magnitude(2 * s * dx)
    y = u1 * inverse * dx * v % P
    t = x * y % P
    if not square or t & 1 or y == 0:
        return None
    return (x, y, 1, t)


def encode_ristretto(point: Point) -> bytes:
    """The canonical encoding."""
    x0, y0, z0, t0 = point
    u1, u2 = (z0 + y0) * (z0 - y0) % P, x0 * y0 % P
    _, inverse = _sqrt_ratio(1, u1 * u2 * u2 % P)
    d1, d2 = inverse * u1 % P, inverse * u2 % P
    z_inverse = d1 * d2 * t0 % P
    if t0 * z_inverse % P & 1:
        x, y, d = y0 * ROOT % P, x0 * ROOT % P, d1 * _INVSQRT_A_MINUS_D % P
    else:
        x, y, d = x0, y0, d2
    if x * z_inverse % P & 1:
        y = -y % P
    return _magnitude(d * (z0 - y)).to_bytes(32, "little")


def _elligator(t: int) -> Point:
    r = ROOT * t * t % P
    u = (r + 1) * (1 - D * D) % P
    v = (-1 - r * D) * (r + D) % P
    square, s = _sqrt_ratio(u, v)
    c = -1
    if not square:
        s, c = -_magnitude(s * t) % P, r
    n = (c * (r - 1) * (D - 1) ** 2 - v) % P
    w0, w1 = 2 * s * v % P, n * _SQRT_AD_MINUS_ONE % P
    w2, w3 = (1 - s * s) % P, (1 + s * s) % P
    return (w0 * w3 % P, w2 * w1 % P, w1 * w3 % P, w0 * w2 % P)


def ristretto_from_uniform(data: bytes) -> Point:
    """The point that 64 uniform bytes stand for."""
    halves = [int.from_bytes(part, "little") & (1 << 255) - 1 for part in (data[:32], data[32:])]
    return add(_elligator(halves[0] % P), _elligator(halves[1] % P))


BASE = decode_edwards(bytes.fromhex("58" + "66" * 31)) or IDENTITY


def verify_output(key: bytes, network: bytes, height: int, output: bytes, proof: bytes) -> bool:
    """Whether a proposer's random output on (network, height) and its proof are right."""
    public, out = decode_ristretto(key), decode_ristretto(output)
    if public is None or out is None or len(proof) != 64 or output == bytes(32):
        return False
    c, s = (int.from_bytes(part, "little") for part in (proof[:32], proof[32:]))
    if c >= ORDER or s >= ORDER:
        return False
    slot = Transcript(b"SigningContext")
    slot.append(b"", b"assay vrf v1")
    slot.append(b"sign-bytes", network + le64(height))
    slot.append(b"vrf-nm-pk", key)
    point = ristretto_from_uniform(slot.challenge(b"VRFHash", 64))
    proving = Transcript(b"VRF")
    proving.append(b"proto-name", b"DLEQProof")
    proving.append(b"vrf:h", encode_ristretto(point))
    for label, left, right in (
        (b"vrf:R=g^r", public, BASE),
        (b"vrf:h^r", out, point),
    ):
        total = add(multiply(c, left), multiply(s, right))
        proving.append(label, encode_ristretto(total))
    proving.append(b"vrf:pk", key)
    proving.append(b"vrf:h^sk", output)
    return int.from_bytes(proving.challenge(b"prove", 64), "little") % ORDER == c
