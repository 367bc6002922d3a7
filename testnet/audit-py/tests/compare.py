"""Holds `assay audit` against this auditor: `python3 -m tests.compare ASSAY [LEDGER GENESIS]`.

Both are given the ledger of every scenario, every corruption of one, and random damage to it, and to a
ledger from elsewhere if one is named. They must find the same fault at the same place.
"""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from audit import genesis
from audit.block import Auditor
from audit.export import audit
from audit.state import State

from .chaos import Chaos
from .corruptions import corruptions
from .forger import sample
from .scenarios import SCENARIOS

Verdict = tuple[str, str, str] | str
"""Where a fault is, the rule it breaks and its code, or what was counted in a ledger that checks, and its head."""


def ours(file: bytes, network: str) -> Verdict:
    """What this auditor finds."""
    auditor = Auditor(State(genesis.read(network)))
    fault = audit(io.BytesIO(file), auditor)
    if fault:
        return fault.place, fault.rule, fault.code
    return json.dumps(asdict(auditor.checked)) + auditor.state.head.hex()


def theirs(assay: str, file: bytes, network: str) -> Verdict:
    """What `assay audit` finds."""
    with tempfile.TemporaryDirectory() as folder:
        ledger, rules = Path(folder) / "ledger.assay", Path(folder) / "genesis.json"
        ledger.write_bytes(file)
        rules.write_text(network)
        command = [assay, "audit", str(ledger), "--genesis", str(rules), "--format", "json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        return done.stderr
    report = json.loads(done.stdout)
    fault = report["first_fault"]
    if fault:
        return fault["where"], fault["rule"], fault["code"]
    return json.dumps(report["checked"]) + str(report["head"])


def damaged(file: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """A file with one byte changed, one removed, or one added, at random places."""
    noise = random.Random(7)
    for _ in range(count):
        at, kind = noise.randrange(len(file)), noise.choice(("changed", "removed", "added"))
        byte = bytes([noise.randrange(256)])
        middle = {"changed": byte, "removed": b"", "added": byte + file[at : at + 1]}[kind]
        yield f"byte {at} {kind}", file[:at] + middle + file[at + 1 :]


def cases(arguments: list[str]) -> Iterator[tuple[str, bytes, str]]:
    """Every ledger to compare, with its name and genesis."""
    for name, scenario in SCENARIOS.items():
        world = scenario()
        yield name, world.export(), json.dumps(world.genesis)
    world = sample()
    rules = json.dumps(world.genesis)
    for corruption in corruptions(world):
        file = corruption.file
        yield corruption.name, world.export(corruption.items) if file is None else file, rules
    yield from ((name, file, rules) for name, file in damaged(world.export(), 60))
    for seed in (1, 2):
        chaos = Chaos(seed)
        chaos.run(80)
        rules = json.dumps(chaos.world.genesis)
        yield f"chaos {seed}", chaos.world.export(), rules
        yield from ((f"chaos {seed}, {name}", bad, rules) for name, bad in chaos.refused)
    if arguments:
        file, rules = Path(arguments[0]).read_bytes(), Path(arguments[1]).read_text()
        yield arguments[0], file, rules
        yield from ((f"{arguments[0]}, {name}", bad, rules) for name, bad in damaged(file, 60))


def main(assay: str, arguments: list[str]) -> int:
    """Compares; 0 only if both agree on everything."""
    agreed = differed = 0
    # The other auditor is a process of its own, so that both work at a time.
    with ThreadPoolExecutor(max_workers=1) as beside:
        for name, file, network in cases(arguments):
            waiting = beside.submit(theirs, assay, file, network)
            mine, other = ours(file, network), waiting.result()
            if mine == other:
                agreed += 1
            else:
                differed += 1
                print(f"{name}: {mine}, but assay: {other}", flush=True)
    print(f"{agreed + differed} ledgers: the auditors agree on {agreed} and differ on {differed}")
    return 1 if differed else 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 4):
        sys.exit(
            "usage: python3 -m tests.compare ASSAY [LEDGER GENESIS]; ASSAY is the program `assay`"
        )
    sys.exit(main(sys.argv[1], sys.argv[2:]))
