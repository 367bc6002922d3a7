"""The rules that a ledger can break, with the codes of `assay audit` (LEDGER.md §5)."""

from __future__ import annotations

CODES = {
    "format": "F01",
    "commit certificate": "C01",
    "header": "H01",
    "hash chain": "H02",
    "time": "H03",
    "proposer": "H04",
    "random output": "H05",
    "block size": "B01",
    "record form": "S01",
    "record signature": "S02",
    "record author": "S03",
    "body root": "T01",
    "state root": "T02",
    "index root": "T03",
    "validators": "T04",
    "claim": "R01",
    "seal": "R02",
    "reveal": "R03",
    "opening": "R04",
    "challenge": "R05",
    "vouch": "R20",
    "join": "R21",
    "leave": "R22",
    "equivocation": "R23",
    "double vote": "R24",
    "disclosure": "R25",
    "return": "R26",
    "ruling ballot": "R27",
    "appeal": "R28",
    "proposal": "R29",
    "voice": "R30",
    "post": "R40",
}
"""Each rule of a block by its name; that of a kind of record has the kind's number in `Record`."""

OTHER_CODES = {"signed checkpoint": "K03"}
"""Rules about what an auditor is given beside the ledger (LEDGER.md §12)."""
