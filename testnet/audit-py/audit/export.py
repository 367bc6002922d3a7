"""The export file: its framing, item by item (LEDGER.md §1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from .block import Auditor, Fault

MAGIC = b"assay-ledger-1\0\n"
ITEM_BYTES_MAX = 512 * 1024 + 16 * 1024


def audit(
    file: BinaryIO, auditor: Auditor, observe: Callable[[bytes], None] = lambda head: None
) -> Fault | None:
    """Reads a whole export and shows each block's hash; returns the first thing that is wrong."""
    try:
        _audit(file, auditor, observe)
    except Fault as fault:
        return fault
    return None


def _audit(file: BinaryIO, auditor: Auditor, observe: Callable[[bytes], None]) -> None:
    header = file.read(56)
    place = "header of the export"
    if len(header) < 56 or header[:16] != MAGIC:
        raise Fault(place, "format", "the file does not start as an exported ledger does")
    if header[16:48] != auditor.state.network:
        expected = auditor.state.network.hex()
        message = f"the ledger is of network {header[16:48].hex()}, the genesis of {expected}"
        raise Fault(place, "format", message)
    items = int.from_bytes(header[48:56], "little")
    for index in range(items):
        place = f"entry at height {index + 1}"
        prefix = file.read(4)
        length = int.from_bytes(prefix, "little")
        if len(prefix) < 4:
            raise Fault(place, "format", f"the file ends before this entry of {items}")
        if length > ITEM_BYTES_MAX:
            raise Fault(place, "format", f"an entry of {length} bytes is not allowed")
        item = file.read(length)
        if len(item) != length:
            raise Fault(place, "format", f"the file ends within this entry of {items}")
        auditor.feed(item)
        observe(auditor.state.head)
    if file.read(1):
        message = f"more bytes follow the {items} entries that the header announces"
        raise Fault("end of the export", "format", message)
