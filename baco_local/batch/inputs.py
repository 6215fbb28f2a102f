"""Lines of a file to rows of a batch: plain text, {"prompt"}, {"messages"} or OpenAI batch lines.

The whole input is checked before the first row is used, and read again, row by row, when it is; knows no model.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import IO, Any

from baco_local.batch.bodies import read_body, read_messages, read_prompt
from baco_local.batch.items import Endpoint, Row
from baco_local.errors import BacoError, UsageError
from baco_local.text.chat import Message

__all__ = ["Checked", "Form", "Input", "Problem", "form_of", "parse"]

SHOWN = 100  # bad rows that a message lists


class Form(Enum):
    """How an input file is to be read."""

    TEXT = "plain text, one prompt per line"
    JSON = "one JSON object per line"


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that is no row."""

    line: int  # from 1
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a look at the whole input found out."""

    n_rows: int
    sha256: str
    ignored: tuple[str, ...]  # names of fields that do nothing
    n_bytes: int


class Input:
    """A file of rows that can be read more than once."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        """Take a binary file that can seek; its name decides the form, or its first line."""
        self.name = name
        self._file = file
        self._form = form_of(name, self._lines())

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Input]:
        """Open a file by its path."""
        try:
            file = path.open("rb")
        except OSError as error:
            raise UsageError(f"{str(path)!r} cannot be read: {error.strerror}") from error
        with file:
            try:
                yield cls(file, path.name)
            except IsADirectoryError as error:
                raise UsageError(f"{str(path)!r} is a folder; give a file of prompts") from error

    def check(self) -> Checked:
        """Read everything once.

        Raises:
            UsageError: rows that cannot be used, all of them with their line numbers.

        """
        problems, ignored, n_rows = [], dict[str, None](), 0
        for row in parse(self._lines(), self._form, ignored):
            if isinstance(row, Problem):
                problems.append(row)
            else:
                n_rows += 1
        if problems:
            raise UsageError(_report(self.name, problems))
        if not n_rows:
            raise UsageError(f'{self.name!r} holds no prompt\n    one per line: plain text, or {{"prompt": "..."}}')
        self._file.seek(0)
        sha256 = hashlib.file_digest(self._file, "sha256").hexdigest()  # type: ignore[arg-type]  # typeshed wants more
        return Checked(n_rows=n_rows, sha256=sha256, ignored=tuple(ignored), n_bytes=self._file.tell())

    def rows(self) -> Iterator[Row]:
        """Yield the rows, reading no further than they are asked for; only one reader at a time."""
        for row in parse(self._lines(), self._form, {}):
            if isinstance(row, Problem):
                raise UsageError(f"{self.name!r} has changed since it was checked: line {row.line}: {row.words}")
            yield row

    def _lines(self) -> Iterator[bytes]:
        self._file.seek(0)
        return iter(self._file)


def form_of(name: str, lines: Iterable[bytes]) -> Form:
    """Tell how a file is to be read: by its ending, or by the first line that is not empty."""
    ending = Path(name).suffix.lower()
    if ending in ENDINGS:
        return ENDINGS[ending]
    first = next((line for line in lines if line.strip()), b"")
    return Form.JSON if first.removeprefix(BOM).lstrip().startswith(b"{") else Form.TEXT


def parse(lines: Iterable[bytes], form: Form, ignored: dict[str, None]) -> Iterator[Row | Problem]:
    """Yield a row, or what is wrong with it, for each line that is not empty; ids are unique among the rows.

    Args:
        lines: with or without their line breaks.
        form: how they are written.
        ignored: gets the names of the fields that do nothing.

    """
    seen: dict[str, int] = {}
    repeats: Counter[str] = Counter()
    for number, data in enumerate(lines, start=1):
        line = data.removeprefix(BOM) if number == 1 else data
        if not line.strip():
            continue
        try:
            row = _row(number, line.decode("utf-8"), form, ignored)
        except UnicodeDecodeError as error:
            yield Problem(number, f"no UTF-8 text (byte {error.start + 1})")
            continue
        except BacoError as error:
            yield Problem(number, str(error))
            continue
        if not row.id:
            repeats[row.mark] += 1
            n = repeats[row.mark]
            row = replace(row, id=f"p-{row.mark}" + (f"-{n}" if n > 1 else ""))
        if row.id in seen:
            yield Problem(number, f"the id {row.id!r} is that of line {seen[row.id]}; ids must be unique")
            continue
        seen[row.id] = number
        yield row


def _row(number: int, text: str, form: Form, ignored: dict[str, None]) -> Row:
    """Read one line; a row without a name of its own gets one later."""
    if form is Form.TEXT:
        return Row(line=number, id="", messages=(Message("user", text.strip()),))
    record = _object(text)
    if "body" in record:
        return _request(number, record, ignored)
    own_id = _id(record, "id", "custom_id")
    ignored |= dict.fromkeys(name for name in record if name not in {"id", "custom_id", "prompt", "messages"})
    if "messages" in record and "prompt" not in record:
        return Row(line=number, id=own_id, messages=read_messages(record["messages"]))
    if "messages" in record:
        raise UsageError("both prompt and messages are there; leave one out")
    if "prompt" not in record:
        raise UsageError("neither prompt, messages nor body is there")
    return Row(line=number, id=own_id, messages=(Message("user", read_prompt(record["prompt"])),))


def _request(number: int, record: Mapping[str, Any], ignored: dict[str, None]) -> Row:
    """Read a line of an OpenAI batch."""
    if not isinstance(record["body"], dict):
        raise UsageError("the body is no object")
    url, method = record.get("url"), record.get("method", "POST")
    if method != "POST":
        raise UsageError(f"the method is {method!r}; only POST is known")
    body = read_body(record["body"])
    if url is not None and url != body.endpoint:
        known = " and ".join(Endpoint)
        raise UsageError(f"the url is {url!r}, and the body is one for {body.endpoint} (known: {known})")
    ignored |= dict.fromkeys(f"body.{name}" for name in body.ignored)
    return Row(
        line=number,
        id=_id(record, "custom_id", "id"),
        messages=body.messages,
        endpoint=body.endpoint,
        knobs=body.knobs,
        seed=body.seed,
        n_samples=body.n_samples,
    )


def _object(text: str) -> dict[str, Any]:
    try:
        record = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(record, ensure_ascii=False).encode("utf-8")  # a lone surrogate is text for nobody
    except UnicodeEncodeError:
        raise UsageError("half a surrogate pair (\\ud800 ...), which is no text") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not JSON: {error}") from None
    if not isinstance(record, dict):
        raise UsageError(f"no JSON object but {text.strip()[:40]!r}")
    return record


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _id(record: Mapping[str, Any], *names: str) -> str:
    for name in names:
        value = record.get(name)
        if value is None:
            continue
        if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
            raise UsageError(f"{name} is {value!r}; it must be a text or a whole number")
        return str(value)
    return ""


def _report(name: str, problems: list[Problem]) -> str:
    rows = "1 row" if len(problems) == 1 else f"{len(problems)} rows"
    lines = [f"    line {problem.line}: {problem.words}" for problem in problems[:SHOWN]]
    more = [f"    and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    return "\n".join([f"{rows} of {name!r} cannot be used; nothing was written", *lines, *more])


BOM = b"\xef\xbb\xbf"
ENDINGS = {".txt": Form.TEXT, ".jsonl": Form.JSON, ".ndjson": Form.JSON, ".json": Form.JSON}
