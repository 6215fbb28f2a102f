"""Saved chats: one readable JSON file each, written whole and in one step after every turn.

Knows no model and no terminal; a file that it cannot read is named, left alone and never written over.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from baco_cli.chat.session import Chat, DialMove, Reply, Turn
from baco_local.engine.answer import Token
from baco_local.errors import BacoError, UsageError
from baco_local.types import FinishReason, Rival, Role, SideRecord, Spoken

__all__ = ["ChatFileError", "ChatStore", "Slot", "from_json", "to_json"]

FORMAT, VERSION = "baco chat", 1
NAME = re.compile(r"[\w][\w.-]{0,99}")


class ChatFileError(BacoError):
    """A saved chat that cannot be read."""


@dataclass(slots=True)
class Slot:
    """The file that a running chat is saved in, and how it looked when we last touched it."""

    path: Path
    stamp_ns: int | None = None  # None: not there yet

    @property
    def name(self) -> str:
        """Return the name that ``--cid`` and ``/load`` take."""
        return self.path.stem


class ChatStore:
    """A folder of chats."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def slot(self, name: str) -> Slot:
        """Return the file of a name, or refuse a name that is no plain file name."""
        if not NAME.fullmatch(name):
            raise UsageError(f"{name!r} cannot name a chat; use letters, digits, dots, hyphens and underscores")
        return Slot(self.folder / f"{name}.json")

    def free_slot(self) -> Slot:
        """Return a file for a chat that was given no name."""
        slot = self.slot(datetime.now().strftime("%Y%m%d-%H%M%S"))
        return self._beside(slot) if slot.path.exists() else slot

    def names(self) -> list[str]:
        """Return every saved chat, the last one written first."""
        found = sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        return [path.stem for path in found]

    def load(self, name: str) -> tuple[Slot, Chat]:
        """Read a chat, or say what is wrong with its file."""
        slot = self.slot(name)
        try:
            text = slot.path.read_text("utf-8")
            slot.stamp_ns = slot.path.stat().st_mtime_ns
        except FileNotFoundError:
            known = ", ".join(self.names()[:5]) or "none yet"
            raise UsageError(f"there is no chat {name!r} in {self.folder}; the last ones: {known}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise _damaged(slot.path, error) from error
        try:
            return slot, from_json(json.loads(text))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise _damaged(slot.path, error) from error

    def save(self, slot: Slot, chat: Chat, pair: str) -> Slot:
        """Write a chat and return its file: another one if somebody else wrote to this one meanwhile."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if _stamp(slot.path) != slot.stamp_ns:
            slot = self._beside(slot)
        text = "".join(_pretty(to_json(chat, pair, datetime.now().astimezone().isoformat("T", "seconds"))))
        handle, draft = tempfile.mkstemp(prefix=f".{slot.name}-", dir=self.folder)  # readable by its owner alone
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text + "\n")
            Path(draft).replace(slot.path)
        finally:
            with suppress(FileNotFoundError):
                Path(draft).unlink()
        return Slot(slot.path, _stamp(slot.path))

    def _beside(self, slot: Slot) -> Slot:
        n = 2
        while (path := self.folder / f"{slot.name}-{n}.json").exists():
            n += 1
        return Slot(path)


def to_json(chat: Chat, pair: str = "", saved: str = "") -> dict[str, Any]:
    """Return a chat as an object that ``json`` can write."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "pair": pair,
        "saved": saved,
        "system": chat.system,
        "settings": dict(chat.knobs),
        "turns": [
            {"user": turn.user, "current": turn.current, "replies": [_reply_to_json(reply) for reply in turn.replies]}
            for turn in chat.turns
        ],
    }


def from_json(data: Any) -> Chat:
    """Read what ``to_json`` wrote; ValueError, LookupError, TypeError or AttributeError if it did not."""
    if data["format"] != FORMAT:
        raise ValueError(f"its format is {data['format']!r}")
    if data["version"] != VERSION:
        raise ValueError(f"it has version {data['version']!r}, this program reads {VERSION}")
    turns = tuple(
        Turn(_text(turn["user"]), tuple(_reply_from_json(reply) for reply in turn["replies"]), int(turn["current"]))
        for turn in data["turns"]
    )
    for turn in turns:
        if not 0 <= turn.current < max(1, len(turn.replies)):
            raise ValueError(f"version {turn.current} of {len(turn.replies)} is current")
    knobs = {_text(name): _text(value) for name, value in data["settings"].items()}
    return Chat(turns=turns, system=_text(data["system"]), knobs=knobs)


def _reply_to_json(reply: Reply) -> dict[str, Any]:
    return {
        "text": reply.text,
        "finish": str(reply.finish),
        "seed": reply.seed,
        "sample": reply.sample,
        "pair": reply.pair,
        "router": reply.router,
        "dial": [[move.position, move.diversity] for move in reply.dial],
        "tokens_per_s": reply.tokens_per_s,
        "tokens": [_token_to_row(token) for token in reply.tokens],
    }


def _reply_from_json(data: Any) -> Reply:
    return Reply(
        tokens=tuple(_token_from_row(i, row) for i, row in enumerate(data["tokens"])),
        finish=FinishReason(data["finish"]),
        seed=int(data["seed"]),
        sample=int(data["sample"]),
        pair=_text(data["pair"]),
        router=_text(data["router"]),
        dial=tuple(DialMove(int(position), float(diversity)) for position, diversity in data["dial"]),
        tokens_per_s=float(data["tokens_per_s"]),
    )


def _token_to_row(token: Token) -> list[Any]:
    """Return [text, speaker, reason, marks, id, seconds], and both sides where they were recorded."""
    spoken = token.spoken
    marks = "word" * spoken.boundary + " refused" * spoken.refused
    row = [token.text, str(spoken.speaker), spoken.reason, marks, spoken.id, token.elapsed_s]
    sides = [_side_to_row(spoken.base), _side_to_row(spoken.aligned)]
    return row + sides if any(sides) else row


def _token_from_row(position: int, row: list[Any]) -> Token:
    text, speaker, reason, marks, token, elapsed_s, *sides = row
    base, aligned = sides or (None, None)
    spoken = Spoken(
        int(token),
        Role(speaker),
        _text(reason),
        boundary="word" in marks,
        refused="refused" in marks,
        base=_side_from_row(base),
        aligned=_side_from_row(aligned),
    )
    return Token(_text(text), spoken, position, float(elapsed_s))


def _side_to_row(side: SideRecord | None) -> list[Any] | None:
    if side is None:
        return None
    rivals = [[rival.id, rival.logprob] for rival in side.rivals]
    return [side.top, side.max_p, side.entropy, side.logprob, rivals]


def _side_from_row(row: list[Any] | None) -> SideRecord | None:
    if row is None:
        return None
    top, max_p, entropy, logprob, rivals = row
    few = tuple(Rival(int(token), float(chance)) for token, chance in rivals)
    return SideRecord(int(top), float(max_p), float(entropy), float(logprob), few)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} stands where a text is expected")
    return value


def _pretty(value: Any, margin: str = "") -> Iterator[str]:
    """Write objects key by key and lists item by item; the rows of tokens take one line each."""
    inner = margin + " "
    if isinstance(value, dict) and value:
        for i, (key, item) in enumerate(value.items()):
            yield f"{',' if i else '{'}\n{inner}{json.dumps(key)}: "
            yield from _pretty(item, inner)
        yield f"\n{margin}}}"
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value) and not _is_row(value):
        for i, item in enumerate(value):
            yield f"{',' if i else '['}\n{inner}"
            yield from _pretty(item, inner)
        yield f"\n{margin}]"
    else:
        yield json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _is_row(value: list[Any]) -> bool:
    return not isinstance(value[0], dict | list)


def _damaged(path: Path, error: Exception) -> ChatFileError:
    what = f"{type(error).__name__}: {error}" if not isinstance(error, ValueError | OSError) else str(error)
    return ChatFileError(
        f"the saved chat {path} cannot be read ({what}); it was left as it is: repair or move it, or give another --cid"
    )


def _stamp(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
