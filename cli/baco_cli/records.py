"""Answers and tokens as plain objects for ``--json`` and ``--trace``; each record says its version.

Writes no file and knows no terminal.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import math
import platform
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from baco_local.engine.answer import Answer, Token
from baco_local.pair import Pair
from baco_local.settings import Settings
from baco_local.text.chat import Message
from baco_local.types import Role, SideRecord

__all__ = [
    "answer_record",
    "identity",
    "plain",
    "router_name",
    "settings_record",
    "token_record",
    "trace_header",
    "versions",
]

FORMAT = 1  # raised when a field changes its meaning or goes away; new fields may come at any time
WHOLE_BYTES = 1 << 30  # up to here a model file is hashed as a whole
HEAD_BYTES = 1 << 20  # enough for header, metadata and token table of most files


def answer_record(answer: Answer, pair: Pair, settings: Settings, *, tokens: bool = False) -> dict[str, Any]:
    """Return one answer with everything that made it."""
    usage = answer.usage
    record: dict[str, Any] = {
        "format": FORMAT,
        "text": answer.text,
        "finish": answer.finish.value,
        "stop": answer.stop,
        "seed": answer.seed,
        "sample": answer.sample,
        "base_share": round(answer.base_share, 4),
        "switches": answer.switches,
        "tokens_per_s": round(answer.tokens_per_s, 2),
        "usage": {
            "completion_tokens": len(answer.tokens),
            "prompt_tokens": by_role(usage.n_prompt),
            "cached_tokens": by_role(usage.n_prompt_cached),
            "decoded_tokens": by_role(usage.n_decoded),
            "elapsed_s": round(usage.elapsed_s, 4),
            "first_token_s": None if usage.first_token_s is None else round(usage.first_token_s, 4),
        },
        "guards": [dataclasses.asdict(event) for event in answer.guards],
        "pair": pair.name,
        "router": router_name(settings),
        "diversity": None if settings.decode.threshold is not None else settings.decode.diversity,
        "threshold": settings.decode.threshold,
        "settings": settings_record(settings),
    }
    if tokens:
        record["tokens"] = [token_record(token, pair.pieces) for token in answer.tokens]
    return record


def token_record(token: Token, pieces: Sequence[bytes], *, sample: int | None = None) -> dict[str, Any]:
    """Return one token with what was recorded about it."""
    spoken = token.spoken
    return ({} if sample is None else {"sample": sample}) | {
        "position": token.position,
        "id": token.id,
        "text": token.text,
        "speaker": token.speaker.value,
        "reason": token.reason,
        "boundary": token.boundary,
        "refused": spoken.refused,
        "elapsed_s": round(token.elapsed_s, 6),
        "base": side_record(token.base, pieces),
        "aligned": side_record(token.aligned, pieces),
    }


def side_record(side: SideRecord | None, pieces: Sequence[bytes]) -> dict[str, Any] | None:
    """Return what one model thought; log-probabilities are natural, of raw logits at temperature 1."""
    if side is None:
        return None
    return {
        "top": side.top,
        "top_text": piece(side.top, pieces),
        "max_p": number(side.max_p),
        "entropy": number(side.entropy),
        "logprob": number(side.logprob),
        "rivals": [
            {"id": rival.id, "text": piece(rival.id, pieces), "logprob": number(rival.logprob)} for rival in side.rivals
        ],
    }


def trace_header(pair: Pair, settings: Settings, *, seed: int, messages: Sequence[Message]) -> dict[str, Any]:
    """Return the first line of a trace: all that is needed to make these texts again."""
    return {
        "format": FORMAT,
        "kind": "baco trace",
        "pair": pair.name,
        "files": {role.value: identity(pair, role) for role in Role},
        "messages": [dataclasses.asdict(message) for message in messages],
        "seed": seed,
        "router": router_name(settings),
        "settings": settings_record(settings),
        "versions": versions(),
    }


def identity(pair: Pair, role: Role) -> dict[str, Any]:
    """Return what tells one model file from another; files beyond a gibibyte are hashed by their first mebibyte."""
    info = pair.infos[role]
    record: dict[str, Any] = {
        "path": info.path,
        "name": info.name,
        "description": info.description,
        "size_bytes": info.size_bytes,
        "device": info.device,
    }
    path = Path(info.path)
    if path.is_file():
        with path.open("rb") as file:
            if path.stat().st_size <= WHOLE_BYTES:
                record["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
            else:
                record["sha256_of_first_mib"] = hashlib.sha256(file.read(HEAD_BYTES)).hexdigest()
    if info.adapter is not None:
        record["adapter"] = info.adapter
    return record


def settings_record(settings: Settings) -> dict[str, Any]:
    """Return all settings by name."""
    return {
        "decode": plain(dataclasses.asdict(settings.decode)),
        "base": plain(dataclasses.asdict(settings.base)),
        "aligned": plain(dataclasses.asdict(settings.aligned)),
        "frame": settings.frame,
    }


def router_name(settings: Settings) -> str:
    """Return the name of the router, or of the user's own callable."""
    own = settings.router
    return settings.decode.router if own is None else getattr(own, "__name__", type(own).__name__)


def versions() -> dict[str, str]:
    """Return what decides about the last bits of a number."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("baco-local", "llama-cpp-python", "numpy"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return number(value) if isinstance(value, float) else value


def number(value: float) -> float | None:
    """Return a number with the digits that mean something; JSON has no infinity."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def piece(token: int, pieces: Sequence[bytes]) -> str:
    """Return the text of a token, incomplete characters replaced."""
    return pieces[token].decode("utf-8", "replace") if token < len(pieces) else ""


def by_role(counts: Mapping[Role, int]) -> dict[str, int]:
    """Return counts with plain names."""
    return {role.value: counts.get(role, 0) for role in Role}
