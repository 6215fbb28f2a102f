"""What a batch was made with, beside its output: models, settings, machine, and one entry per run.

Reads and writes one small JSON file, and says whether two runs may share an output; knows no model.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from baco_local.backend.machine import usable_cores
from baco_local.batch.items import digest
from baco_local.config import PairFiles
from baco_local.errors import UsageError

__all__ = ["Manifest", "differences", "file_hash", "hardware", "manifest_path", "model_hashes", "settings_hash"]

KIND = "baco batch"
VERSION = 1
SHOWN = 12  # settings that a message sets side by side


@dataclass(slots=True, kw_only=True)
class Manifest:
    """The file beside an output.

    Attributes:
        kind: which command wrote it.
        made_with: all that decides a text; its hash stands in every row.
        about: everything else that is known, by name.
        runs: what each start of the program did, oldest first.

    """

    path: Path
    kind: str = KIND
    made_with: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, kind: str = KIND) -> Manifest | None:
        """Return what the file says; None where there is none."""
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UsageError(f"{str(path)!r} cannot be read: {error}") from error
        if not isinstance(record, dict) or record.get("kind") != kind or not isinstance(record.get("made_with"), dict):
            raise UsageError(f"{str(path)!r} was not written by {kind}; choose another -o")
        made_with, runs = record["made_with"], record.get("runs", [])
        about = {name: value for name, value in record.items() if name not in OWN}
        return cls(path=path, kind=kind, made_with=made_with, about=about, runs=runs)

    def write(self) -> None:
        """Put the file where a reader finds either the old one or the new one, never a half."""
        record = {
            "kind": self.kind,
            "version": VERSION,
            "settings_hash": settings_hash(self.made_with),
            "made_with": self.made_with,
            **self.about,
            "runs": self.runs,
        }
        new = self.path.with_name(self.path.name + ".new")
        with new.open("w", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)


def manifest_path(output: Path) -> Path:
    """Return ``out.meta.json`` for ``out.jsonl``."""
    return output.with_suffix(".meta.json")


def settings_hash(made_with: Mapping[str, Any]) -> str:
    """Return what stands in every row for the settings that it was made with."""
    return digest(made_with)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Set the settings side by side that differ, one per line."""
    flat_old, flat_new = dict(_leaves(old)), dict(_leaves(new))
    names = [
        name for name in {**flat_old, **flat_new} if flat_old.get(name, "(not set)") != flat_new.get(name, "(not set)")
    ]
    lines = [
        f"    {name}: {_short(flat_old.get(name, '(not set)'))} there, {_short(flat_new.get(name, '(not set)'))} now"
        for name in names[:SHOWN]
    ]
    return "\n".join(lines + ([f"    and {len(names) - SHOWN} more"] if len(names) > SHOWN else []))


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_hashes(files: PairFiles) -> dict[str, str]:
    """Return the SHA-256 of each model file."""
    paths = {"base": files.base, "aligned": files.aligned, "adapter": files.aligned_lora}
    return {name: file_hash(path) for name, path in paths.items() if path is not None}


def hardware() -> dict[str, Any]:
    """Return what the speed of a run depends on."""
    return {
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": usable_cores(),
        "memory_bytes": psutil.virtual_memory().total,
    }


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _leaves(each, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}..."


OWN = {"kind", "version", "settings_hash", "made_with", "runs"}
