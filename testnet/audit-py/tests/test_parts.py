"""The parts by themselves, against published values and by their bad inputs."""

from __future__ import annotations

import json
import math
import random
import struct
import unittest
from pathlib import Path

from audit import codec, curve, fdlibm, genesis, merlin, numbers, statistics
from audit.hashing import Draw, Merkle, tagged
from audit.measurement import Reject
from audit.records import open_signed

from .world import Peer, World, encode, small_genesis


def bits(x: float) -> str:
    """A double as 16 hexadecimal digits."""
    return struct.pack(">d", x).hex()


class Cryptography(unittest.TestCase):
    """Hashes, transcripts and curves."""

    def test_keccak_and_merlin(self) -> None:
        """The permutation of zeros, and the test vector of the Merlin crate."""
        self.assertEqual(merlin.keccak_f1600(bytes(200)).hex()[:16], "e7dde140798f25f1")
        transcript = merlin.Transcript(b"test protocol")
        transcript.append(b"some label", b"some data")
        expected = "d5a21972d0d5fe320c0d263fac7fffb8145aa640af6e9bca177c03c7efcf0615"
        self.assertEqual(transcript.challenge(b"challenge", 32).hex(), expected)

    def test_ristretto(self) -> None:
        """RFC 9496, appendix A: multiples of the base, bad encodings, the map from bytes."""
        multiples = [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76",
            "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
            "94741f5d5d52755ece4f23f044ee27d5d1ea1e2bd196b462166b16152a9d0259",
        ]
        for scalar, expected in enumerate(multiples):
            point = curve.multiply(scalar, curve.BASE)
            self.assertEqual(curve.encode_ristretto(point).hex(), expected)
            self.assertIsNotNone(curve.decode_ristretto(bytes.fromhex(expected)))
        for bad in (
            "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
            "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d",
        ):
            self.assertIsNone(curve.decode_ristretto(bytes.fromhex(bad)), bad)
        uniform = bytes.fromhex(
            "5d1be09e3d0c82fc538112490e35701979d99e06ca3e2b5b54bffe8b4dc772c1"
            "4d98b696a1bbfb5ca32c436cc61c16563790306c79eaca7705668b47dffe5bb6"
        )
        expected = "3066f82a1a747d45120d1740f14358531a8f04bbffe6a819f86dfe50f44a0a46"
        found = curve.encode_ristretto(curve.ristretto_from_uniform(uniform))
        self.assertEqual(found.hex(), expected)

    def test_signatures_are_strict(self) -> None:
        """Keys and nonces of small order are refused, as is any other message."""
        peer = Peer(1)
        signature = peer.secret.sign(b"message")
        self.assertTrue(curve.verify(peer.key, b"message", signature))
        self.assertFalse(curve.verify(peer.key, b"another", signature))
        self.assertFalse(curve.verify(peer.key, b"message", signature[:63]))
        identity = bytes([1]) + bytes(31)
        self.assertFalse(curve.verify(identity, b"message", identity + bytes(32)))
        self.assertFalse(curve.verify(bytes([2]) + bytes(31), b"message", signature))

    def test_random_outputs(self) -> None:
        """An output verifies for its key, network and height only."""
        peer, network = Peer(1), bytes(32)
        output, proof = peer.evaluate(network, 7)
        self.assertTrue(curve.verify_output(peer.vrf, network, 7, output, proof))
        self.assertFalse(curve.verify_output(peer.vrf, network, 8, output, proof))
        self.assertFalse(curve.verify_output(Peer(2).vrf, network, 7, output, proof))
        self.assertFalse(curve.verify_output(peer.vrf, network, 7, output[:31], proof))
        self.assertFalse(curve.verify_output(peer.vrf, network, 7, bytes(32), proof))
        self.assertFalse(curve.verify_output(peer.vrf, network, 7, output, b"\xff" * 64))

    def test_draws_and_trees(self) -> None:
        """Draws stay below their bound and differ; trees have the shape of RFC 6962."""
        draw = Draw("test", b"seed")
        self.assertEqual(draw.below(0), 0)
        self.assertEqual(sorted(draw.distinct(9, 7)), list(range(7)))
        leaves, tree = [tagged("assay merkle leaf v1", bytes([n])) for n in range(3)], Merkle()
        for n in range(3):
            tree.push(bytes([n]))
        left = tagged("assay merkle node v1", leaves[0], leaves[1])
        self.assertEqual(tree.root(), tagged("assay merkle node v1", left, leaves[2]))


class Encoding(unittest.TestCase):
    """One message, one spelling."""

    def test_other_spellings_are_refused(self) -> None:
        """Everything that the general runtimes would let pass."""
        good = encode("Seal", {"claim": b"\1" * 32, "commitment": b"\2" * 32, "round": 3})
        self.assertEqual(codec.decode("Seal", good).number("round"), 3)
        for bad in (
            good + b"\x18\x03",  # a field twice
            good[:-1] + b"\x83\x00",  # a number not in its shortest form
            good[-2:] + good[:-2],  # fields out of order
            good + b"\x20\x01",  # an unknown field
            good[:-2] + b"\x18\x00",  # a default spelt out
            good[:-2] + b"\x18" + b"\xff" * 4 + b"\x7f",  # more than 32 bits
            good[:-1],  # cut off
            b"\x0a\x00" + good[34:],  # empty bytes spelt out
            b"\x0d\x00\x00\x00\x00",  # another wire type
        ):
            with self.assertRaises(codec.DecodeError):
                codec.decode("Seal", bad)
        with self.assertRaises(codec.DecodeError):
            codec.decode("Challenge", b"\x12\x01\xff")
        both = encode("Record", {"leave": {"joined_at": 1}, "join": {}})
        with self.assertRaises(codec.DecodeError):
            codec.decode("Record", both)

    def test_noise_never_breaks_the_decoder(self) -> None:
        """Random bytes decode or are refused, nothing else."""
        noise = random.Random(1)
        for _ in range(2_000):
            data = noise.randbytes(noise.randrange(40))
            for name in codec.SCHEMA:
                try:
                    codec.decode(name, data)
                except codec.DecodeError:
                    pass

    def test_records_of_noise_are_rejected(self) -> None:
        """What is signed and makes no sense."""
        world = World.of(4)
        for kind, values in (("seal", {}), ("reveal", {"round": 1}), ("vouch", {"name": "x"})):
            with self.assertRaises(Reject):
                open_signed(world.state.network, world.sign(world.peers[0], kind, values))


class Genesis(unittest.TestCase):
    """The file that a network starts from."""

    def test_bad_numbers_are_refused(self) -> None:
        """Every number has its bounds, every key its place."""
        peers = [Peer(n) for n in range(1, 6)]
        good = small_genesis(peers)
        genesis.read(json.dumps(good))
        genesis.read(json.dumps({"genesis": good, "bootstrap": []}))
        for part, key, value in (
            ("committee", "quorum", 4),
            ("committee", "seats_max", 2),
            ("measurement", "pairs", 7),
            ("measurement", "pairs", 8.0),
            ("significance", "gain_ppm", 5),
            ("membership", "gain_per_epoch_max", 5),
            ("challenge", "agreement_min_ppm", 1_000_000),
            ("challenge", "unknown", 1),
        ):
            with self.assertRaises(genesis.GenesisError, msg=key):
                genesis.read(json.dumps({**good, part: {**good[part], key: value}}))
        for members in (good["members"][:3], [*good["members"], good["members"][0]]):
            with self.assertRaises(genesis.GenesisError):
                genesis.read(json.dumps({**good, "members": members}))
        for text in ("", "[]", "{}", '{"genesis": 3}'):
            with self.assertRaises(genesis.GenesisError):
                genesis.read(text)


class Arithmetic(unittest.TestCase):
    """Numbers to the bit."""

    def test_functions_have_the_documented_bits(self) -> None:
        """The values of STATISTICS.md §7."""
        page = Path(__file__).parents[3] / "protocol" / "STATISTICS.md"
        found = 0
        for line in page.read_text(encoding="utf-8").splitlines():
            cells = [cell.strip(" `") for cell in line.strip("|").split("|")]
            if len(cells) == 3 and cells[0] in ("exp", "log", "log1p", "lgamma", "erfc"):
                found += 1
                value = getattr(fdlibm, cells[0])(float(cells[1]))
                self.assertEqual(bits(value), cells[2], line)
        self.assertGreaterEqual(found, 10)

    def test_functions_are_close_to_the_platform(self) -> None:
        """No branch is far off."""
        noise = random.Random(2)
        for name, low, high in (
            ("exp", -700.0, 700.0),
            ("log", 1e-300, 1e3),
            ("log1p", -0.99, 1e3),
            ("lgamma", 2.5, 1e5),
            ("erfc", -6.0, 20.0),
        ):
            for _ in range(2_000):
                x = noise.uniform(low, high)
                ours, theirs = getattr(fdlibm, name)(x), getattr(math, name)(x)
                self.assertTrue(math.isclose(ours, theirs, rel_tol=1e-13), (name, x))

    def test_quantiles_agree_with_printed_tables(self) -> None:
        """One-sided 0.1 % points of Student's t."""
        for df, table in ((1.0, 318.309), (2.0, 22.327), (21.0, 3.527), (60.0, 3.232)):
            self.assertAlmostEqual(statistics.student_quantile(0.001, df), table, delta=6e-4)
        self.assertEqual(statistics.student_quantile(0.001, 0.0), math.inf)

    def test_signed_ranks_agree_with_scipy(self) -> None:
        """scipy.stats.wilcoxon(x, alternative="greater", method="exact")."""
        for values, expected in (
            ([1.0, 2.0, 3.0, 4.0, 5.0], 0.03125),
            ([0.3, -0.1, 0.5, 0.9, -0.2, 1.4, 0.8], 0.0390625),
            ([-1.0, -2.0, 3.0], 0.625),
            ([2.0, 2.0, -2.0, 5.0, 7.0, -1.0, 9.0, 9.0], 0.03125),
            ([], 1.0),
            ([0.0, math.nan], 1.0),
        ):
            self.assertAlmostEqual(statistics.signed_rank_p(values), expected, places=12)

    def test_pooling_by_hand(self) -> None:
        """Three seats of two values: equal weights, τ̂² = 0.0099."""
        seats = [[0.09, 0.11], [0.19, 0.21], [0.29, 0.31]]
        pooled = statistics.pool(seats, statistics.BetweenSeats(0.01, 20.0))
        assert pooled is not None
        self.assertAlmostEqual(pooled.mean, 0.2, places=12)
        self.assertAlmostEqual(pooled.own_tau_squared, 0.0099, places=12)
        self.assertAlmostEqual(pooled.error**2, (0.0218 / 22 + 0.0001) / 3, places=12)
        self.assertIsNone(statistics.pool([[1.0], [2.0]], statistics.BetweenSeats(0.01, 20.0)))
        self.assertIsNone(statistics.pool([], statistics.BetweenSeats(0.01, 20.0)))

    def test_numbers_are_clamped(self) -> None:
        """Floats as unsigned integers."""
        self.assertEqual(numbers.ppm(2.5e-6), 3)
        self.assertEqual(numbers.ppm(math.nan), 0)
        self.assertEqual(numbers.ppm(1e30), (1 << 64) - 1)


if __name__ == "__main__":
    unittest.main()
