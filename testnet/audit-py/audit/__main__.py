"""`python3 -m audit FILE --genesis G [--format json]`: exit code 0 only if everything checks."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from . import genesis
from .block import Auditor, Fault
from .checkpoint import NOTE_BYTES_MAX, Checkpoint, CheckpointError, Held, Key
from .export import audit
from .state import State

NOT_CHECKED = (
    "whether the checkpoints, bundles and prompts are what anybody says of them: the file has hashes",
    "whether the seats measured what they signed: only that each number follows from their samples",
    "whether another ledger of this network exists, signed by the same validators",
    "whether block times are those of any clock: only that they never run backwards",
)
"""What no auditor can know from the file."""


def _report(
    auditor: Auditor, fault: Fault | None, signers: list[str], seconds: float
) -> dict[str, object]:
    first = fault and {
        "where": fault.place,
        "rule": fault.rule,
        "code": fault.code,
        "message": fault.message,
    }
    return {
        "ok": fault is None,
        "height": auditor.checked.blocks,
        "head": auditor.state.head.hex(),
        "entries": auditor.checked.entries,
        "checked": asdict(auditor.checked),
        "first_fault": first,
        "checkpoint_signed_by": signers,
        "not_checked": list(NOT_CHECKED),
        "seconds": seconds,
    }


def _table(
    report: dict[str, object], checked: dict[str, int], fault: Fault | None, signers: list[str]
) -> str:
    lines = [f"{name.replace('_', ' '):24}{count}" for name, count in checked.items()]
    lines += [f"{'head':24}{report['head']}", "", "Not checked, because no file can show it:"]
    lines += [f"- {what}" for what in NOT_CHECKED]
    lines.append("")
    if signers:
        names = ", ".join(map(repr, signers))
        lines += [f"The checkpoint's blocks are the ledger's; it is signed by {names}.", ""]
    if fault is None:
        lines.append("Everything else checks.")
    else:
        rule = f"{fault.code} {fault.rule}"
        lines.append(f"FAULT at {fault.place}\n  rule     {rule}\n  message  {fault.message}")
    return "\n".join(lines)


def _held(file: Path | None, witnesses: list[str]) -> Held | None:
    """The checkpoint of a file, read no further than it may be long."""
    if file is None:
        return None
    with file.open("rb") as opened:
        checkpoint = Checkpoint.read(opened.read(NOTE_BYTES_MAX + 1))
    return Held(checkpoint, [Key.read(key) for key in witnesses])


def main(arguments: list[str] | None = None) -> int:
    """Audits a file; 0 if everything checks, 1 for a fault, 2 for files that cannot be read."""
    parser = argparse.ArgumentParser(prog="audit", description="Check an exported Assay ledger.")
    parser.add_argument("file", type=Path, help="an exported ledger")
    parser.add_argument("--genesis", type=Path, required=True, help="the network's genesis file")
    parser.add_argument("--checkpoint", type=Path, help="a signed checkpoint to compare with")
    parser.add_argument("--witness", action="append", default=[], help="a key that cosigned it")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    given = parser.parse_args(arguments)
    if given.witness and given.checkpoint is None:
        parser.error("--witness needs --checkpoint")
    started = time.monotonic()
    try:
        state = State(genesis.read(given.genesis.read_text(encoding="utf-8")))
        auditor = Auditor(state)
        held = _held(given.checkpoint, given.witness)
        with given.file.open("rb") as file:
            fault = audit(file, auditor, held.observe if held else lambda head: None)
    except (OSError, ValueError, genesis.GenesisError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    signers: list[str] = []
    if held and fault is None:
        try:
            signers = held.compare(auditor.state)
        except Fault as differs:
            fault = differs
    report = _report(auditor, fault, signers, time.monotonic() - started)
    if given.format == "json":
        print(json.dumps(report))
    else:
        print(_table(report, asdict(auditor.checked), fault, signers))
    return 0 if fault is None else 1


if __name__ == "__main__":
    sys.exit(main())
