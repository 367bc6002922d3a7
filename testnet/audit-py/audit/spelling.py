"""The one JSON spelling that hashes cover (LEDGER.md §4, §10)."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import Any, Generic, TypeVar

K = TypeVar("K", bytes, str)
V = TypeVar("V")


class Octets(bytes):
    """Bytes that are spelt as a list of numbers; all others are spelt as hex."""


class Map(dict[K, V], Generic[K, V]):
    """A map that is walked and spelt by rising key."""

    def rising(self) -> list[tuple[K, V]]:
        """Keys and values by rising key."""
        return sorted(self.items(), key=lambda item: item[0])


def plain(value: Any) -> Any:
    """A value as what `json` can write; structures keep the order of their fields."""
    if isinstance(value, Octets):
        return list(value)
    if isinstance(value, bytes):
        return value.hex()
    if hasattr(value, "spelt"):
        return plain(value.spelt())
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Map):
        return {
            key.hex() if isinstance(key, bytes) else key: plain(element)
            for key, element in value.rising()
        }
    if isinstance(value, dict):
        return {key: plain(element) for key, element in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(element) for element in value]
    return value


def spell(value: Any) -> bytes:
    """The one JSON spelling of a value."""
    return json.dumps(plain(value), ensure_ascii=False, separators=(",", ":")).encode()
