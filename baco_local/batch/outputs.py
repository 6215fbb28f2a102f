"""How finished answers are written, one line each, and how such lines are recognised when a run goes on.

Makes and reads plain objects; knows no file and no model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from baco_local.batch.items import Endpoint, Failure, Item, Outcome, Row, Written, digest
from baco_local.config import DecodeOptions
from baco_local.settings import Settings
from baco_local.types import FinishReason, Role

__all__ = ["FORMATS", "VERSION", "Entry", "Format", "Stamp", "entry_of"]

VERSION = 1  # raised when a field changes its meaning or goes away; new fields may come at any time


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What all rows of a run have in common."""

    pair: str
    settings: Settings
    settings_hash: str

    def decode(self, row: Row) -> DecodeOptions:
        """Return how a row is decoded, with what it wants of its own."""
        return self.settings.turn(row.knobs).decode if row.knobs else self.settings.decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a line of an output file says it holds."""

    id: str
    samples: tuple[int, ...]
    failed: bool
    mark: str | None  # of the row that it answers; None where the format does not say
    settings_hash: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One way to write answers.

    Attributes:
        name: as it is typed.
        whole_rows: a line holds all samples of a row, and is written when the last of them is there.
        write: finished answers of one row, in the order of their samples -> the object of a line.
        fields: what the object of every line has.

    """

    name: str
    whole_rows: bool
    write: Callable[[Sequence[Outcome], Stamp], dict[str, Any]]
    fields: frozenset[str]


def entry_of(record: Mapping[str, Any], format: Format) -> Entry | None:  # noqa: A002 - the word for it
    """Return what a line holds; None where it was not written in this format."""
    if not format.fields <= record.keys() or not isinstance(record["id"], str):
        return None
    failed = record.get("error") is not None
    if format.whole_rows:
        count = record.get("baco", {}).get("samples", len(record["generations"]))
        return Entry(id=record["id"], samples=tuple(range(count)), failed=failed, mark=None, settings_hash=None)
    own = record.get("baco") or _inside(record) or {}
    sample = own.get("sample")
    row_id = record.get("custom_id", record["id"])
    if not isinstance(sample, int) or not isinstance(row_id, str):
        return None
    return Entry(id=row_id, samples=(sample,), failed=failed, mark=own.get("input"), settings_hash=own.get("settings"))


def _inside(record: Mapping[str, Any]) -> Any:
    """Return what is ours in a row of an OpenAI batch."""
    match record:
        case {"response": {"body": {"choices": [{"baco": dict() as own}, *_]}}} | {"error": {"baco": dict() as own}}:
            return own
    return None


def _openai(outcomes: Sequence[Outcome], stamp: Stamp) -> dict[str, Any]:
    ((item, result),) = outcomes
    name = digest([item.row.id, item.sample, item.seed, stamp.settings_hash])
    record: dict[str, Any] = {
        "id": f"batch_req_{name}",
        "custom_id": item.row.id,
        "response": None,
        "error": None,
    }
    if isinstance(result, Failure):
        return record | {"error": _error(result) | {"baco": _ours(item, result, stamp)}}
    chat = item.row.endpoint is Endpoint.CHAT
    said = {"message": {"role": "assistant", "content": result.text}} if chat else {"text": result.text}
    choice = {"index": item.sample, **said, "logprobs": None, "finish_reason": FINISH[result.finish]}
    body = {
        "id": f"{'chatcmpl' if chat else 'cmpl'}-{name}",
        "object": "chat.completion" if chat else "text_completion",
        "created": 0,  # rows do not depend on the clock; the manifest says when they were written
        "model": stamp.pair,
        "choices": [choice | {"baco": _ours(item, result, stamp)}],
        "usage": _usage(result),
    }
    return record | {"response": {"status_code": 200, "request_id": f"req_{name}", "body": body}}


def _flat(outcomes: Sequence[Outcome], stamp: Stamp) -> dict[str, Any]:
    ((item, result),) = outcomes
    failed = isinstance(result, Failure)
    record = {
        "id": item.row.id,
        "prompt": _prompt(item.row),
        "sample": item.sample,
        "text": None if isinstance(result, Failure) else result.text,
        "seed": item.seed,
        "usage": None if isinstance(result, Failure) else _usage(result),
        "baco": _ours(item, result, stamp),
    }
    return record | ({"error": _error(result)} if failed and isinstance(result, Failure) else {})


def _noveltybench(outcomes: Sequence[Outcome], stamp: Stamp) -> dict[str, Any]:
    row = outcomes[0][0].row
    decode = stamp.decode(row)
    turned = f"d{decode.diversity:g}" if decode.threshold is None else f"{decode.router}-{decode.threshold:g}"
    record = {
        "id": row.id,
        "prompt": _prompt(row),
        "model": f"{stamp.pair}@{turned}",
        "generations": [result.text for _, result in outcomes if isinstance(result, Written)],
    }
    failures = [result for _, result in outcomes if isinstance(result, Failure)]
    return record | ({"error": _error(failures[0]), "baco": {"samples": len(outcomes)}} if failures else {})


def _ours(item: Item, result: Written | Failure, stamp: Stamp) -> dict[str, Any]:
    """Return what no format of others has a place for."""
    decode = stamp.decode(item.row)
    ours: dict[str, Any] = {
        "version": VERSION,
        "sample": item.sample,
        "seed": item.seed,
        "line": item.row.line,
        "input": item.row.mark,
        "settings": stamp.settings_hash,
    }
    if isinstance(result, Failure):
        return ours
    return ours | {
        "router": decode.router,
        "diversity": decode.diversity if decode.threshold is None else None,
        "threshold": decode.threshold,
        "finish": result.finish.value,
        "stop": result.stop,
        "base_share": _rounded(result.base_share),
        "switches": result.switches,
        "guards": [{"position": position, "guard": guard} for position, guard in result.guards],
        "prompt_tokens": {role.value: result.n_prompt.get(role, 0) for role in Role},
    }


def _usage(result: Written) -> dict[str, int]:
    """Count as OpenAI does; the prompt is that of the aligned model."""
    n_prompt = result.n_prompt.get(Role.ALIGNED, 0)
    return {
        "prompt_tokens": n_prompt,
        "completion_tokens": result.n_tokens,
        "total_tokens": n_prompt + result.n_tokens,
    }


def _prompt(row: Row) -> str | list[dict[str, str]]:
    """Return what was asked: a text, or a conversation where it is one."""
    if len(row.messages) == 1:
        return row.messages[0].content
    return [{"role": message.role, "content": message.content} for message in row.messages]


def _error(failure: Failure) -> dict[str, Any]:
    return {"code": failure.kind, "message": failure.message}


def _rounded(value: float) -> float:
    assert math.isfinite(value)
    return round(value, 4)


FINISH = {
    FinishReason.END: "stop",
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.CONTEXT: "length",
}

FORMATS: dict[str, Format] = {
    "openai": Format(
        name="openai",
        whole_rows=False,
        write=_openai,
        fields=frozenset({"id", "custom_id", "response", "error"}),
    ),
    "flat": Format(
        name="flat",
        whole_rows=False,
        write=_flat,
        fields=frozenset({"id", "prompt", "sample", "text", "seed"}),
    ),
    "noveltybench": Format(
        name="noveltybench",
        whole_rows=True,
        write=_noveltybench,
        fields=frozenset({"id", "prompt", "model", "generations"}),
    ),
}
