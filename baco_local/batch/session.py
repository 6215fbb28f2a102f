"""One batch from its input to its output file: what is there already, what is missing, and whether both fit together.

Knows neither a terminal nor who writes the answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from baco_local.batch.inputs import Input
from baco_local.batch.items import Item, Shard, items_of
from baco_local.batch.ledger import Ledger, Record
from baco_local.batch.manifest import Manifest, differences, manifest_path, settings_hash
from baco_local.batch.outputs import Format, Stamp, entry_of
from baco_local.batch.runner import Collector, Found, agenda, look_through, run
from baco_local.batch.worker import Crew, Figures, Wishes
from baco_local.errors import OutputError, UsageError

__all__ = ["Batch", "Output", "carry_out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Everything that is wanted, before a model is loaded.

    Attributes:
        pair: the name that rows say.
        made_with: all that decides a text, as JSON.

    """

    source: Input
    format: Format
    pair: str
    wishes: Wishes
    seed: int
    n_samples: int = 1
    shard: Shard = field(default_factory=Shard)
    made_with: Mapping[str, Any] = field(default_factory=dict)

    def items(self) -> Iterator[Item]:
        """Yield the answers that are wanted, reading the input as far as needed."""
        return items_of(self.shard.of(self.source.rows()), seed=self.seed, n_samples=self.n_samples)

    @property
    def stamp(self) -> Stamp:
        """Return what all rows have in common."""
        return Stamp(pair=self.pair, settings=self.wishes.settings, settings_hash=settings_hash(self.made_with))

    def collector(self, append: Callable[[dict[str, Any]], None]) -> Collector:
        """Return what turns outcomes into lines."""
        return Collector(format=self.format, stamp=self.stamp, n_samples=self.n_samples, append=append)


class Output:
    """The output file of a batch and the manifest beside it, held until the end of a ``with`` block.

    Attributes:
        agenda: what is to be done.
        manifest: what is written beside the file.
        n_repaired: bytes of a half-written last line that were cut off.
        n_retried: failed answers that were taken out, to be tried again.

    """

    def __init__(self, batch: Batch, path: Path, *, retry_errors: bool = False, mix_settings: bool = False) -> None:
        """Open or make the file.

        Raises:
            UsageError: it holds something else, or was made with other settings.
            OutputError: another process holds it.

        """
        self._batch = batch
        self._ledger = Ledger(path)
        try:
            self.n_repaired = self._ledger.n_repaired
            self._found = look_through(self._ledger.records(), batch.format, str(path))
            self.manifest = self._continued(path, mix_settings=mix_settings)
            self.agenda = agenda(batch.items(), self._found)
            self.n_retried = self._forget_failures() if retry_errors else 0
        except BaseException:
            self._ledger.close()
            raise

    def items(self) -> Iterator[Item]:
        """Yield what is neither there nor failed."""
        found = self._found
        return (item for item in self._batch.items() if item.key not in found.marks and item.key not in found.failed)

    def append(self, record: Record) -> None:
        """Add a line."""
        self._ledger.append(record)

    def __enter__(self) -> Output:
        """Return the output, to be let go at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the file."""
        self._ledger.close()

    def _continued(self, path: Path, *, mix_settings: bool) -> Manifest:
        """Return the manifest to go on with; refuse rows that were made with other settings."""
        made_with, ours = dict(self._batch.made_with), settings_hash(self._batch.made_with)
        old = Manifest.read(manifest_path(path))
        if old is None or not self._found:
            if self._found.settings_hashes - {ours} and not mix_settings:
                raise UsageError(
                    f"{str(path)!r} has rows, but no {manifest_path(path).name} beside it says what they were made with"
                    "\n    choose another -o, or say --mix-settings to go on all the same"
                )
            return Manifest(path=manifest_path(path), made_with=made_with)
        if settings_hash(old.made_with) != ours:
            if not mix_settings:
                raise UsageError(
                    f"{str(path)!r} was made with other settings; nothing was written\n"
                    f"{differences(old.made_with, made_with)}\n"
                    "    choose another -o, or say --mix-settings to have both in one file"
                )
            earlier = [*old.about.pop("earlier", []), old.made_with]
            return Manifest(path=old.path, made_with=made_with, about=old.about | {"earlier": earlier}, runs=old.runs)
        return old

    def _forget_failures(self) -> int:
        """Take out what has failed and is wanted, so that it is done like anything that is missing."""
        failed = self.agenda.failed
        if not failed:
            return 0

        def unwanted(record: Record) -> bool:
            entry = entry_of(record, self._batch.format)
            return entry is not None and entry.failed and any((entry.id, sample) in failed for sample in entry.samples)

        self._ledger.drop(unwanted)
        self._found = Found(
            marks=self._found.marks,
            failed={key: mark for key, mark in self._found.failed.items() if key not in failed},
            settings_hashes=self._found.settings_hashes,
        )
        self.agenda = replace(self.agenda, failed=frozenset())
        return len(failed)


def carry_out(
    batch: Batch,
    output: Output,
    crew: Crew,
    *,
    about: Mapping[str, Any],
    stopped: Callable[[], bool] = lambda: False,
    watch: Callable[[Collector, Callable[[], Figures]], None] = lambda _collector, _figures: None,
) -> Collector:
    """Have everything done that is missing, and keep a record of this run in the manifest.

    Args:
        batch: what is wanted.
        output: where it goes.
        crew: who does it.
        about: what the manifest says besides.
        stopped: asked between two moments of work.
        watch: called between two moments of work, with what was written and a look at what is being written.

    Raises:
        OutputError: the output or its manifest cannot be written.

    """
    collector = batch.collector(output.append)
    manifest = output.manifest
    manifest.about |= about
    entry: dict[str, Any] = {"started": _now(), "ended": None, "status": "running"}
    manifest.runs.append(entry)
    try:
        manifest.write()
    except OSError as error:
        _tidy(manifest)
        raise OutputError(
            f"{str(manifest.path)!r} cannot be written: {error.strerror}\n    make room and run the same command again"
        ) from error
    began_s = time.perf_counter()
    status = "failed"
    try:
        run(
            output.items(),
            crew,
            collector.take,
            stopped=stopped,
            watch=lambda: watch(collector, crew.figures),
        )
        status = "interrupted" if stopped() else "done"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        figures = crew.figures()
        entry |= {
            "ended": _now(),
            "status": status,
            "written": collector.n_written,
            "failed": collector.n_failed,
            "seconds": round(time.perf_counter() - began_s, 3),
            "tokens": figures.n_tokens,
            "base_tokens": figures.n_base,
            "decoded_tokens": {role.value: n for role, n in figures.n_decoded.items()},
        }
        _write_if_possible(manifest)
    return collector


def _write_if_possible(manifest: Manifest) -> None:
    """Write the manifest; on a full disk the rows matter, and they are whole."""
    try:
        manifest.write()
    except OSError:
        _tidy(manifest)


def _tidy(manifest: Manifest) -> None:
    """Take away what could not be written to its end."""
    manifest.path.with_name(manifest.path.name + ".new").unlink(missing_ok=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
