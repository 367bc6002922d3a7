"""Signed checkpoints: what the specifications give, and ledgers held against them."""

from __future__ import annotations

import base64
import io
import json
import tempfile
import unittest
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from audit.__main__ import main
from audit.checkpoint import NODE, WITNESS, Checkpoint, CheckpointError, Held, Key, Tree
from audit.hashing import tagged

from .forger import sample
from .world import Peer, World

GO_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
GO_NOTE = (
    "go.sum database tree\n13485\n/ZWur4obeiqK+ASdnPK+/Rmz6LPQMUeSmHh0+UkL54Y=\n\n"
    "\u2014 sum.golang.org Az3grnQReYTvpCrRxT+w50vixbqBlB/aPS8bL8f8KW4HHP+UjLSXOJgCh4f54n8hO6"
    "lrESglzyRXMXnhaWzaeY3zqw8=\n"
)
"""A tree head of the public log of Go modules, with its key."""
TIME = (1_700_000_000).to_bytes(8, "big")


def line(key: Key, signature: bytes) -> str:
    """A signature under a note."""
    return f"\u2014 {key.name} {base64.b64encode(key.id() + signature).decode()}\n"


class Checkpoints(unittest.TestCase):
    """Notes, trees and ledgers."""

    def setUp(self) -> None:
        self.world = sample()
        self.witness = self.world.peers[3]
        self.key = Key("witness.example/1", WITNESS, self.witness.key)

    def note(self, size: int, signer: Peer, changed: bool = False) -> str:
        """The checkpoint of the first blocks, signed and cosigned."""
        tree = Tree()
        for state in self.world.states[1 : size + 1]:
            tree.push(state.head)
        if changed:
            tree.push(tagged("another block"))
        origin = f"assay/{self.world.state.network.hex()}"
        text = f"{origin}\n{size}\n{base64.b64encode(tree.root()).decode()}\n"
        node = Key(origin, NODE, signer.key)
        cosigned = f"cosignature/v1\ntime 1700000000\n{text}".encode()
        cosignature = TIME + self.witness.secret.sign(cosigned)
        signed = line(node, signer.secret.sign(text.encode()))
        return f"{text}\n{signed}{line(self.key, cosignature)}"

    def run_on(self, world: World, note: str, *more: str) -> tuple[int, str]:
        """Exit code and output of an audit."""
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / name for name in ("ledger", "genesis", "note")]
            files[0].write_bytes(world.export())
            files[1].write_text(json.dumps(world.genesis))
            files[2].write_text(note, encoding="utf-8")
            out = io.StringIO()
            arguments = [str(files[0]), "--genesis", str(files[1]), "--checkpoint", str(files[2])]
            with redirect_stdout(out), redirect_stderr(out):
                return main([*arguments, *more, "--format", "json"]), out.getvalue()

    def vkey(self, key: Key) -> str:
        """A key as text."""
        code = base64.b64encode(bytes([key.kind]) + key.public).decode()
        return f"{key.name}+{key.id().hex()}+{code}"

    def test_a_note_of_others_verifies(self) -> None:
        """The log of Go modules signs as nodes do."""
        note, key = Checkpoint.read(GO_NOTE.encode()), Key.read(GO_KEY)
        with self.assertRaises(CheckpointError):
            Held(note, [key])
        self.assertTrue(note.signed_by(key))
        self.assertEqual((note.origin, note.size), ("go.sum database tree", 13485))
        changed = Checkpoint.read(GO_NOTE.replace("13485", "13486").encode())
        self.assertFalse(changed.signed_by(key))
        self.assertFalse(note.signed_by(Key("sum.golang.com", key.kind, key.public)))

    def test_a_ledger_is_held_against_its_checkpoint(self) -> None:
        """The blocks are the checkpoint's, or the fault is K03."""
        last, signer = len(self.world.items), self.world.peers[0]
        code, text = self.run_on(
            self.world, self.note(last, signer), "--witness", self.vkey(self.key)
        )
        self.assertEqual(code, 0, text)
        names = json.loads(text)["checkpoint_signed_by"]
        self.assertEqual(names[-1], "witness witness.example/1")
        self.assertEqual(len(names), 2)
        self.assertEqual(self.run_on(self.world, self.note(last - 2, signer))[0], 0)
        stranger = Key("elsewhere.example", WITNESS, self.world.peers[1].key)
        foreign = self.note(last, signer).replace("assay/", "other/")
        for note, more, says in (
            (self.note(last - 1, signer, changed=True), [], "have the root"),
            (self.note(last, signer).replace(f"\n{last}\n", f"\n{last + 1}\n"), [], "no member"),
            (foreign, [], "the ledger is of"),
            (self.note(last, signer), ["--witness", self.vkey(stranger)], "did not cosign"),
        ):
            code, text = self.run_on(self.world, note, *more)
            fault = json.loads(text)["first_fault"]
            self.assertEqual((code, fault["code"]), (1, "K03"), text)
            self.assertIn(says, fault["message"])

    def test_what_is_no_checkpoint_or_key_is_refused(self) -> None:
        """Files and keys that are something else."""
        good = GO_NOTE
        for bad in (
            "",
            "\n\n",
            good.replace("13485", "013485"),
            good.replace("13485", "-1"),
            good.replace("13485", str(1 << 64)),
            good.replace("13485\n", ""),
            good.replace("=\n\n", "\n\n"),
            good.replace("\u2014 ", "- "),
            good.replace("\n", "\r\n"),
            good[:-1],
            good.replace("Az3grnQ", "!!!!!!!"),
        ):
            with self.subTest(bad), self.assertRaises(CheckpointError):
                Checkpoint.read(bad.encode())
        with self.assertRaises(CheckpointError):
            Checkpoint.read(b"\xff" * 9)
        for text in ("", "a+b", GO_KEY.replace("033d", "033e"), GO_KEY[:-4], " " + GO_KEY):
            with self.subTest(text), self.assertRaises(CheckpointError):
                Key.read(text)
        self.assertEqual(self.run_on(self.world, "garbage")[0], 2)


if __name__ == "__main__":
    unittest.main()
