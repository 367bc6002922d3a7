"""Whole ledgers: good ones check, damaged ones are named."""

from __future__ import annotations

import io
import json
import re
import tempfile
import unittest
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from audit import genesis
from audit.__main__ import main
from audit.block import Auditor, Fault
from audit.export import audit
from audit.rules import CODES
from audit.standing import RULES
from audit.state import State

from .chaos import Chaos
from .corruptions import corruptions
from .example import PAGE, page
from .forger import sample
from .scenarios import SCENARIOS
from .world import World, fork


def whole(world: World, file: bytes) -> tuple[Auditor, Fault | None]:
    """Audits a file from the genesis."""
    auditor = Auditor(State(genesis.read(json.dumps(world.genesis))))
    return auditor, audit(io.BytesIO(file), auditor)


class Ledgers(unittest.TestCase):
    """Ledgers that the peers of a world made."""

    def test_every_scenario_checks(self) -> None:
        """What the peers agreed on is what an auditor finds."""
        rounds, rules = dict[str, int](), set[str]()
        for name, scenario in SCENARIOS.items():
            with self.subTest(name):
                world = scenario()
                auditor, fault = whole(world, world.export())
                self.assertIsNone(fault)
                self.assertEqual(auditor.state.head, world.state.head)
                self.assertEqual(auditor.checked.blocks, len(world.items))
                for claim in auditor.state.claims.values():
                    for round in claim.rounds:
                        outcome = f"{round.purpose.kind} {round.outcome()}"
                        rounds[outcome] = rounds.get(outcome, 0) + 1
                for member in auditor.state.members.values():
                    rules |= set(member.account.tallies)
        # The scenarios reach what they are there for.
        for outcome in (
            "first accepted",
            "first refuted",
            "first inconclusive",
            "first pending",
            "first contested",
            "frontier accepted",
            "frontier contested",
            "frontier inconclusive",
            "challenge accepted",
            "challenge refuted",
            "audit accepted",
        ):
            self.assertIn(outcome, rounds)
        self.assertEqual(rules, set(RULES))

    def test_every_corruption_is_named(self) -> None:
        """Each damaged ledger breaks the rule that it was made to break, where it was made to."""
        world, found, named = sample(), 0, set[str]()
        for damaged in corruptions(world):
            with self.subTest(damaged.name):
                found += 1
                if damaged.file is not None:
                    _, fault = whole(world, damaged.file)
                else:
                    assert damaged.items is not None
                    # What comes before the last item is as it was.
                    last = len(damaged.items)
                    kept = next(
                        (i for i in range(last) if damaged.items[i] != world.items[i]), last - 1
                    )
                    auditor = Auditor(fork(world.states[kept]))
                    fault = None
                    try:
                        for item in damaged.items[kept:]:
                            auditor.feed(item)
                    except Fault as raised:
                        fault = raised
                assert fault is not None, "nothing found"
                self.assertEqual((fault.rule, fault.place), (damaged.rule, damaged.place))
                named.add(fault.rule)
        self.assertGreaterEqual(found, 110)
        # Proofs of contradiction have no rule beyond their form.
        self.assertEqual(set(CODES) - named, {"equivocation", "double vote"})

    def test_the_rules_are_those_of_the_document(self) -> None:
        """Every rule and code stands in LEDGER.md, and no other."""
        text = PAGE.with_name("LEDGER.md").read_text(encoding="utf-8")
        rows = re.findall(r"^\| ([A-Z]\d\d) \| ([a-z ]+) \|", text, flags=re.MULTILINE)
        self.assertEqual({name: code for code, name in rows}, CODES)

    def test_the_command_reports_and_exits(self) -> None:
        """0 if everything checks, 1 with the first fault, 2 for what cannot be read."""
        world = sample()
        with tempfile.TemporaryDirectory() as folder:
            ledger, rules = Path(folder) / "ledger.assay", Path(folder) / "genesis.json"
            rules.write_text(json.dumps({"genesis": world.genesis, "bootstrap": []}))
            arguments = [str(ledger), "--genesis", str(rules)]

            def run(*more: str) -> tuple[int, str]:
                out = io.StringIO()
                with redirect_stdout(out), redirect_stderr(out):
                    return main([*arguments, *more]), out.getvalue()

            self.assertEqual(run()[0], 2)
            ledger.write_bytes(world.export())
            code, text = run()
            self.assertEqual((code, "Everything else checks." in text), (0, True))
            self.assertIn("Not checked", text)
            code, text = run("--format", "json")
            report = json.loads(text)
            self.assertEqual(
                (code, report["ok"], report["head"]), (0, True, world.state.head.hex())
            )
            self.assertEqual(report["height"], len(world.items))
            self.assertTrue(report["not_checked"])
            ledger.write_bytes(world.export() + b"\0")
            code, text = run("--format", "json")
            fault = json.loads(text)["first_fault"]
            self.assertEqual(
                (code, fault["rule"], fault["where"]), (1, "format", "end of the export")
            )
            code, text = run()
            self.assertIn("FAULT at end of the export", text)
            rules.write_text("{}")
            self.assertEqual(run()[0], 2)

    def test_the_example_is_true(self) -> None:
        """The page of examples has the values that this ledger has."""
        self.assertEqual(PAGE.read_text(encoding="utf-8"), page())

    def test_whatever_members_say(self) -> None:
        """What applied checks; what did not is refused where it was put."""
        chaos = Chaos(3)
        chaos.run(40)
        self.assertIsNone(whole(chaos.world, chaos.world.export())[1])
        self.assertGreater(len(chaos.refused), 5)
        for name, file in chaos.refused[-3:]:
            with self.subTest(name):
                fault = whole(chaos.world, file)[1]
                assert fault is not None
                self.assertTrue(fault.code[0] in "RS" or fault.rule == "state root", fault)

    def test_flipped_bits_are_found(self) -> None:
        """No byte of a ledger is left unchecked."""
        world = sample()
        for index in range(0, len(world.items), 3):
            item = world.items[index]
            for position in range(0, len(item), 97):
                damaged = bytearray(item)
                damaged[position] ^= 1 << position % 8
                auditor = Auditor(fork(world.states[index]))
                with self.assertRaises(Fault):
                    auditor.feed(bytes(damaged))


if __name__ == "__main__":
    unittest.main()
