"""From items to lines: what is still to be done, the loop that has it done, and the lines that keep it.

Knows no terminal and no model; a crew writes the answers, and a function takes each line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from baco_local.batch.items import Failure, Item, Key, Outcome, Written
from baco_local.batch.ledger import Record
from baco_local.batch.outputs import Format, Stamp, entry_of
from baco_local.batch.worker import Crew
from baco_local.errors import UsageError

__all__ = ["Agenda", "Collector", "Found", "agenda", "look_through", "run"]

SHOWN = 10  # rows that a message lists


@dataclass(slots=True, kw_only=True)
class Found:
    """What an output file holds already."""

    marks: dict[Key, str | None] = field(default_factory=dict)  # of answers
    failed: dict[Key, str | None] = field(default_factory=dict)
    settings_hashes: set[str | None] = field(default_factory=set)

    def __bool__(self) -> bool:
        """Return whether there is anything."""
        return bool(self.marks or self.failed)


def look_through(records: Iterable[tuple[int, Record]], format: Format, name: str) -> Found:  # noqa: A002
    """Note which answers a file holds.

    Raises:
        UsageError: a line is of another format.

    """
    found = Found()
    for number, record in records:
        entry = entry_of(record, format)
        if entry is None:
            raise UsageError(
                f"{name!r} cannot be continued: its line {number} is not of the format {format.name}\n"
                "    choose another -o, or the format that it was begun with (--flat, --format)"
            )
        found.settings_hashes.add(entry.settings_hash)
        for sample in entry.samples:
            (found.failed if entry.failed else found.marks)[entry.id, sample] = entry.mark
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Agenda:
    """What a run has to do."""

    n_total: int  # answers that the input wants
    n_done: int  # of these, how many are there
    failed: frozenset[Key]  # of these, which have failed before
    n_foreign: int  # answers in the output that the input does not want

    @property
    def n_open(self) -> int:
        """Return how many answers are missing; those that failed are not among them."""
        return self.n_total - self.n_done - len(self.failed)


def agenda(items: Iterable[Item], found: Found) -> Agenda:
    """Hold the input against what the output has.

    Raises:
        UsageError: a row was answered, and is another one now.

    """
    n_total = n_done = 0
    failed: set[Key] = set()
    changed: dict[str, int] = {}
    for item in items:
        n_total += 1
        mark = found.marks.get(item.key, found.failed.get(item.key))
        if item.key in found.marks:
            n_done += 1
        elif item.key in found.failed:
            failed.add(item.key)
        if mark is not None and mark != item.row.mark:
            changed[item.row.id] = item.row.line
    if changed:
        rows = [f"    line {line}: id {name!r}" for name, line in islice(changed.items(), SHOWN)]
        more = [f"    and {len(changed) - SHOWN} more"] if len(changed) > SHOWN else []
        lines = "\n".join([*rows, *more])
        raise UsageError(
            "the input has changed: these rows ask for something else than what was answered under their ids\n"
            f"{lines}\n    give them other ids, or choose another -o"
        )
    n_there = len(found.marks.keys() | found.failed.keys())
    return Agenda(n_total=n_total, n_done=n_done, failed=frozenset(failed), n_foreign=n_there - n_done - len(failed))


@dataclass(slots=True, kw_only=True)
class Collector:
    """Turns outcomes into lines, and counts them.

    Attributes:
        append: takes the object of a line.
        n_samples: answers per row, where a row does not say.

    """

    format: Format
    stamp: Stamp
    n_samples: int
    append: Callable[[dict[str, Any]], None]
    n_written: int = 0
    n_failed: int = 0
    _parts: dict[str, dict[int, Outcome]] = field(default_factory=dict)

    def take(self, outcome: Outcome) -> None:
        """Write the line that an outcome completes, if it does."""
        item, _ = outcome
        if self.format.whole_rows:
            parts = self._parts.setdefault(item.row.id, {})
            parts[item.sample] = outcome
            if len(parts) < (item.row.n_samples or self.n_samples):
                return
            outcomes = [parts[sample] for sample in sorted(self._parts.pop(item.row.id))]
        else:
            outcomes = [outcome]
        self.append(self.format.write(outcomes, self.stamp))
        self.n_written += sum(isinstance(result, Written) for _, result in outcomes)
        self.n_failed += sum(isinstance(result, Failure) for _, result in outcomes)


def run(
    items: Iterable[Item],
    crew: Crew,
    take: Callable[[Outcome], None],
    *,
    stopped: Callable[[], bool] = lambda: False,
    watch: Callable[[], None] = lambda: None,
) -> None:
    """Have all items done; they are read as there is room for them.

    Args:
        items: what is wanted.
        crew: who does it.
        take: gets every outcome, in the order in which they are finished.
        stopped: asked between two moments of work; True gives up what is not finished.
        watch: called between two moments of work.

    """
    waiting = iter(items)
    while not stopped():
        fresh = list(islice(waiting, crew.room))
        if not fresh and crew.idle:
            return
        for outcome in crew.work(fresh):
            take(outcome)
        watch()
    for outcome in crew.stop():
        take(outcome)
