"""Spells GGUF files byte by byte, broken ones too; shares nothing with the reader under test."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Entry: TypeAlias = str | bool | int | float | list[str] | list[int]


def text(value: str) -> bytes:
    """Return a length and the bytes of a text."""
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def typed(value: Entry) -> bytes:
    """Return a type and a value."""
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<Iq", 11, value)
        case float():
            return struct.pack("<Id", 12, value)
        case str():
            return struct.pack("<I", 8) + text(value)
        case [str(), *_]:
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(text(str(one)) for one in value)
        case _:
            return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *map(int, value))


def gguf_bytes(
    entries: Mapping[str, Entry],
    tensors: Mapping[str, Sequence[int]] | None = None,
    *,
    version: int = 3,
    data: bytes | None = None,
) -> bytes:
    """Return a file of metadata and F32 tensors given as name -> shape; ``data`` None = zeros for all of them."""
    table, offset = b"", 0
    for name, shape in (tensors or {}).items():
        table += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset)
        size = 4
        for length in shape:
            size *= length
        offset += -(-size // 32) * 32
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors or {}), len(entries))
    head += b"".join(text(key) + typed(value) for key, value in entries.items()) + table
    if tensors:
        head += bytes(-len(head) % 32)
    return head + (bytes(offset) if data is None else data)
