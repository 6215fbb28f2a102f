"""Pairs that have a name: the bundled one and the user's own, and what is known about each.

Reads and writes small text files at paths that are handed in; opens no model and reads no environment.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from baco_local.config import PairFiles
from baco_local.errors import ModelFileError, ModelNotFoundError, UsageError

__all__ = ["KnownPair", "PairCard", "add_pair", "amend_card", "find_pair", "known_pairs", "models_dir"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCard:
    """What the makers of a pair say about it."""

    name: str
    notice: str = ""  # said when the pair is loaded; empty = nothing
    sampling: Mapping[str, Any] = field(default_factory=dict)  # recommended settings, by the names of their options
    calibration: Mapping[str, Any] | None = None  # what the dial of each router means for this pair
    raw: Mapping[str, Any] = field(default_factory=dict)  # the whole card, with all that is not named here

    @classmethod
    def read(cls, path: Path, *, name: str = "", notice: str = "") -> PairCard:
        """Read a card; name and notice are used where the card is silent."""
        try:
            card = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ModelNotFoundError(f"the card {str(path)!r} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ModelFileError(f"the card {str(path)!r} is not JSON: {error}") from error
        if not isinstance(card, dict):
            raise ModelFileError(f"the card {str(path)!r} holds no JSON object")
        for key, kind in (("name", str), ("notice", str), ("sampling", dict), ("calibration", dict)):
            if not isinstance(card.get(key), kind | None):
                raise ModelFileError(f"the card {str(path)!r} has {key} = {card[key]!r}; that is of the wrong type")
        return cls(
            name=card.get("name") or name,
            notice=card.get("notice") or notice,
            sampling=card.get("sampling") or {},
            calibration=card.get("calibration"),
            raw=card,
        )


def amend_card(path: Path, **changes: object) -> None:
    """Write some keys of a card anew, leaving the others as they are."""
    card = json.loads(path.read_text(encoding="utf-8")) | changes
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPair:
    """One entry of a catalogue, its paths made absolute; none of its files was looked at."""

    files: PairFiles
    description: str = ""
    notice: str = ""
    card_path: Path | None = None
    listed_in: Path

    @property
    def name(self) -> str:
        """Return the alias."""
        return self.files.name

    @property
    def card(self) -> PairCard:
        """Read the card, or return one that holds what the catalogue says."""
        if self.card_path is None:
            return PairCard(name=self.name, notice=self.notice)
        return PairCard.read(self.card_path, name=self.name, notice=self.notice)


def models_dir() -> Path:
    """Return the folder of the bundled models: inside the package in a wheel, beside it in a checkout."""
    inside = Path(__file__).parent / "models"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "models"


def known_pairs(extra: Path | None = None) -> dict[str, KnownPair]:
    """Return all pairs by alias, the bundled ones first; ``extra`` is the user's ``pairs.toml`` and may be absent."""
    pairs = _read_catalog(models_dir() / "catalog.toml")
    if extra is not None and extra.exists():
        pairs |= _read_catalog(extra)
    return pairs


def find_pair(alias: str, extra: Path | None = None) -> KnownPair:
    """Return the pair of this alias; one of the user's own goes before a bundled one."""
    pairs = known_pairs(extra)
    if alias in pairs:
        return pairs[alias]
    near = difflib.get_close_matches(alias, pairs, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ModelNotFoundError(
        f"no pair is called {alias!r}{hint}\n"
        f"    known pairs: {', '.join(sorted(pairs)) or 'none'}\n"
        f"    two files of your own:  baco run --base BASE.gguf --aligned ALIGNED.gguf"
    )


def add_pair(
    catalog: Path, files: PairFiles, *, description: str = "", notice: str = "", card: Path | None = None
) -> None:
    """Append a pair to the user's ``pairs.toml`` under ``files.name``, leaving what stands there as it is."""
    if not _ALIAS.fullmatch(files.name):
        raise UsageError(f"a pair cannot be called {files.name!r}; use letters, digits, '-', '_' and '.'")
    if files.name in known_pairs(catalog):
        raise UsageError(f"a pair called {files.name!r} is known already; choose another name or edit {str(catalog)!r}")
    entry: dict[str, object] = {"base": files.base, "aligned": files.aligned, "aligned_lora": files.aligned_lora}
    if files.aligned_lora is not None:
        entry["lora_scale"] = float(files.lora_scale)
    entry |= {"card": card, "description": description or None, "notice": notice or None}
    lines = [f"{key} = {_toml(value)}" for key, value in entry.items() if value is not None]
    before = catalog.read_text(encoding="utf-8").rstrip("\n") + "\n\n" if catalog.exists() else ""
    catalog.parent.mkdir(parents=True, exist_ok=True)
    unfinished = catalog.with_name(catalog.name + ".new")  # a crash must not cost the user's other pairs
    unfinished.write_text(f"{before.lstrip()}[{_toml(files.name)}]\n" + "\n".join(lines) + "\n", encoding="utf-8")
    unfinished.replace(catalog)


_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_KEYS: Mapping[str, type] = {
    "base": str,
    "aligned": str,
    "aligned_lora": str,
    "lora_scale": float,
    "card": str,
    "description": str,
    "notice": str,
}


def _read_catalog(path: Path) -> dict[str, KnownPair]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelNotFoundError(f"the list of pairs {str(path)!r} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"the list of pairs {str(path)!r} is not TOML: {error}") from error
    return {alias: _read_entry(path, alias, table) for alias, table in tables.items()}


def _read_entry(path: Path, alias: str, table: object) -> KnownPair:
    where = f"the pair {alias!r} in {str(path)!r}"
    if not isinstance(table, dict):
        raise UsageError(f"{where} is not a table; write [{alias}] and its files below")
    for key, value in table.items():
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1)
            raise UsageError(
                f"{where} has the unknown key {key!r}; {f'did you mean {near[0]!r}?' if near else 'remove it'}"
            )
        if not isinstance(value, (int, float) if _KEYS[key] is float else _KEYS[key]) or isinstance(value, bool):
            raise UsageError(f"{where} has {key} = {value!r}; expected a {'number' if _KEYS[key] is float else 'text'}")
    if "base" not in table:
        raise UsageError(f'{where} names no base model; add: base = "PATH.gguf"')

    def located(key: str) -> Path | None:
        return path.parent.absolute() / Path(table[key]).expanduser() if key in table else None

    base = located("base")
    assert base is not None
    try:
        files = PairFiles(
            base=base,
            aligned=located("aligned"),
            aligned_lora=located("aligned_lora"),
            lora_scale=float(table.get("lora_scale", 1.0)),
            name=alias,
        )
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    texts = {key: table.get(key, "") for key in ("description", "notice")}
    return KnownPair(files=files, card_path=located("card"), listed_in=path, **texts)


def _toml(value: object) -> str:
    """Write a text, a path or a number as TOML; its basic strings are JSON's, but for the one control sign at 127."""
    if isinstance(value, float):
        return repr(value)
    text = str(value.expanduser().absolute()) if isinstance(value, Path) else str(value)
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
