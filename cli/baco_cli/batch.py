"""``baco batch``: many prompts from a file, their answers to a file, through anything that may happen at night.

Decides what is asked and what is said; reading, writing and resuming are the library's (``baco_local.batch``).
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from baco_cli.console import Screen
from baco_cli.nodes import ModelOrder
from baco_cli.opening import check_files, chosen_pair, open_pair
from baco_cli.options import (
    EachModel,
    Machine,
    ModelChoice,
    Output,
    Sampling,
    System,
    Writing,
    bundled,
    per_call,
    refuse_early,
    turned,
)
from baco_cli.progress import Ticker, clock, count, progress_words
from baco_cli.records import plain, settings_record, versions
from baco_cli.render import banner, show_note
from baco_cli.stopping import stoppable
from baco_local.assemble import pairs_for
from baco_local.batch.cluster import Cluster, ClusterOptions, RayCrew
from baco_local.batch.inputs import Checked, Input
from baco_local.batch.items import Shard
from baco_local.batch.manifest import Manifest, file_hash, hardware, manifest_path, model_hashes
from baco_local.batch.outputs import FORMATS, Format
from baco_local.batch.runner import Collector, run
from baco_local.batch.session import Batch, carry_out
from baco_local.batch.session import Output as OutputFile
from baco_local.batch.team import Team
from baco_local.batch.worker import Crew, Figures, Wishes, Worker
from baco_local.catalog import PairCard
from baco_local.config import LoadOptions, PairFiles
from baco_local.errors import MemoryPlanError, UsageError
from baco_local.pair import Pair
from baco_local.settings import Settings
from baco_local.text.frames import FRAMES
from baco_local.types import Role

__all__ = ["Progress", "app", "batch"]

app = typer.Typer(add_completion=False)

Hands: TypeAlias = Callable[[Batch, int, dict[str, Any]], AbstractContextManager[Crew]]
"""Loads whoever shall write: (what is wanted, number of answers, what the manifest says besides) -> crew."""

BATCH, CLUSTER = "Batch", "Cluster"
DEFAULT_SEED = 0  # the same for every shard and every resumed run, where nobody chose one
SAME_TEXT = ("detail", "n_rivals", "schedule", "drafter", "draft_max")  # settings that leave every text as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What becomes of the rows."""

    n_samples: Annotated[
        int,
        per_call(
            "--num-samples", "-N", min=1, help="Answers per prompt.", panel=BATCH, metavar="N", show_default=False
        ),
    ] = 1
    output_file: Annotated[
        Path | None,
        per_call("--output", "-o", help="Where rows go, each when it is finished; run again to go on.", panel=BATCH),
    ] = None
    flat: Annotated[bool, per_call("--flat", help="One plain object per answer.", panel=BATCH)] = False
    format: Annotated[
        str | None,
        per_call("--format", help="openai (if not said), flat or noveltybench.", panel=BATCH, metavar="NAME"),
    ] = None
    retry_errors: Annotated[bool, per_call("--retry-errors", help="Do again what has failed.", panel=BATCH)] = False
    mix_settings: Annotated[
        bool,
        per_call("--mix-settings", help="Go on in a file that was made with other settings.", panel=BATCH),
    ] = False
    shard: Annotated[
        str | None, per_call("--shard", help="Only part i of n, as 2/4: one per machine.", panel=BATCH, metavar="I/N")
    ] = None
    no_progress: Annotated[bool, per_call("--no-progress", help="One line a minute, as on a pipe.", panel=BATCH)] = (
        False
    )
    dry_run: Annotated[bool, per_call("--dry-run", help="Check everything, write nothing.", panel=BATCH)] = False

    @property
    def chosen_format(self) -> Format:
        """Return how answers are written."""
        if self.flat and self.format not in {None, "flat"}:
            raise UsageError(f"--flat and --format {self.format} exclude each other; leave one out")
        name = "flat" if self.flat else (self.format or "openai")
        if name not in FORMATS:
            raise UsageError(f"--format {name!r} is not known; it can be {', '.join(FORMATS)}")
        return FORMATS[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Who writes: one pair or several, here or on more machines than this one."""

    n_workers: Annotated[
        int | None,
        per_call(
            "--workers",
            min=1,
            help="Pairs that write side by side; if not said, one, or for tiny models up to 8, one per core.",
            panel=BATCH,
            metavar="N",
        ),
    ] = None
    ray: Annotated[
        bool, per_call("--ray", help="Let workers of a Ray cluster write, one pair in each.", panel=CLUSTER)
    ] = False
    ray_address: Annotated[
        str | None,
        per_call("--ray-address", help="The cluster; if not said, RAY_ADDRESS or one on this machine.", panel=CLUSTER),
    ] = None
    ray_workers: Annotated[
        int | None,
        per_call("--ray-workers", min=1, help="How many; one per GPU or node if not said.", panel=CLUSTER, metavar="N"),
    ] = None
    gpus_per_worker: Annotated[
        float | None,
        per_call("--gpus-per-worker", min=0, help="1 if not said, where there are any.", panel=CLUSTER, metavar="X"),
    ] = None

    def cluster(self) -> ClusterOptions | None:
        """Return which cluster is meant; None without --ray."""
        given = {
            "--ray-address": self.ray_address,
            "--ray-workers": self.ray_workers,
            "--gpus-per-worker": self.gpus_per_worker,
        }
        if not self.ray:
            for name, value in given.items():
                if value is not None:
                    raise UsageError(f"{name} does nothing without --ray")
            return None
        if self.n_workers is not None:
            raise UsageError("--workers counts pairs on this machine; with --ray say --ray-workers")
        return ClusterOptions(
            address=self.ray_address, n_workers=self.ray_workers, gpus_per_worker=self.gpus_per_worker
        )


@app.command()
@bundled
def batch(
    source: Annotated[
        str | None,
        typer.Argument(metavar="FILE", help="Prompts: a line of text each, or JSON lines; - = from a pipe."),
    ] = None,
    *,
    rows: Rows,
    system: System,
    writing: Writing,
    models: ModelChoice,
    sampling: Sampling,
    machine: Machine,
    each: EachModel,
    workers: Workers,
    output: Output,
) -> None:
    """Write answers to many prompts, into a file.

    A row is plain text, {"prompt"} or {"messages"}, or a line of an OpenAI batch.
    The whole file is checked first, and every finished answer is written at once:
    if a run ends early, the same command goes on where it stopped.
    """
    screen = output.screen()
    refuse_early(writing, sampling, each)
    shard = Shard() if rows.shard is None else Shard.parse(rows.shard)
    cluster = workers.cluster()
    with ExitStack() as files:
        given = files.enter_context(opened(source))
        refuse_overwriting(source, rows.output_file)
        checked = given.check()
        if checked.ignored:
            show_note(screen, f"fields that do nothing here: {', '.join(checked.ignored)}")
        chosen, card = chosen_pair(models)
        check_files(chosen)
        hashes = model_hashes(chosen)
        wishes = Wishes(settings=turned(Settings().turn(card.sampling), writing, sampling, each), system=system.system)
        seed = chosen_seed(sampling, rows.output_file)
        both = machine.load_options()
        loaded = {role: each.load_options(role, both) or both for role in Role}
        wanted = Batch(
            source=given,
            format=rows.chosen_format,
            pair=chosen.name,
            wishes=wishes,
            seed=seed,
            n_samples=rows.n_samples,
            shard=shard,
            made_with=made_with(chosen, hashes, wishes, seed, loaded, rows),
        )
        if rows.dry_run:
            n_total = sum(1 for _ in wanted.items())
            screen.say(f"{count(checked.n_rows, 'row')}, {count(n_total, 'answer')} wanted; nothing was written")
            return
        about = about_run(wanted, checked, source)
        if cluster is None:
            hands = local_crew(models, machine, each, screen, n_workers=workers.n_workers, verbose=output.verbose)
        else:
            order = ModelOrder.of(
                chosen,
                hashes,
                options=both,
                base_options=each.load_options(Role.BASE, both),
                aligned_options=each.load_options(Role.ALIGNED, both),
            )
            hands = cluster_crew(cluster, order, card, machine, screen)
        if rows.output_file is None:
            to_stdout(wanted, hands, screen, about, calm=rows.no_progress)
        else:
            to_file(wanted, rows, hands, screen, about, as_json=output.json)


class Progress:
    """How far a batch is."""

    def __init__(self, screen: Screen, n_total: int, n_before: int, *, calm: bool) -> None:
        """Take the number of answers in all, and of those that were there before."""
        self._show, self._n_total, self._n_before = Ticker(screen, calm=calm), n_total, n_before

    def __call__(self, collector: Collector, figures: Callable[[], Figures]) -> None:
        """Show where the work stands, if it is time to."""
        self._show(
            lambda elapsed_s: progress_words(
                self._n_before + collector.n_written + collector.n_failed,
                self._n_total,
                figures(),
                n_now=collector.n_written + collector.n_failed,
                n_failed=collector.n_failed,
                elapsed_s=elapsed_s,
            )
        )


def to_file(wanted: Batch, rows: Rows, hands: Hands, screen: Screen, about: dict[str, Any], *, as_json: bool) -> None:
    """Do what is missing in a file."""
    assert rows.output_file is not None
    path = rows.output_file
    with OutputFile(wanted, path, retry_errors=rows.retry_errors, mix_settings=rows.mix_settings) as output:
        say_standing(screen, output, path, about)
        agenda = output.agenda
        collector, interrupted, figures, began_s = None, False, Figures(), time.perf_counter()
        if agenda.n_open:
            about["calibration"] = output.manifest.about.get("calibration")
            with hands(wanted, agenda.n_open, about) as crew, stoppable([crew]) as stopped:
                progress = Progress(screen, agenda.n_total, agenda.n_total - agenda.n_open, calm=rows.no_progress)
                began_s = time.perf_counter()
                collector = carry_out(wanted, output, crew, about=about, stopped=lambda: stopped.yes, watch=progress)
                interrupted, figures = stopped.yes, crew.figures()
            screen.status.clear()
    n_written, n_failed = (0, 0) if collector is None else (collector.n_written, collector.n_failed)
    n_bad = n_failed + len(agenda.failed)
    elapsed_s = time.perf_counter() - began_s
    n_missing = agenda.n_open - n_written - n_failed
    if as_json:
        summary = {
            "output": str(path),
            "answers": agenda.n_total,
            "written": n_written,
            "failed": n_bad,
            "missing": n_missing,
            "tokens": figures.n_tokens,
            "seconds": round(elapsed_s, 3),
            "seed": wanted.seed,
            "settings_hash": wanted.stamp.settings_hash,
        }
        screen.write(json.dumps(summary, ensure_ascii=False) + "\n")
    say_end(screen, path, agenda.n_total - n_missing - n_bad, agenda.n_total, figures, elapsed_s)
    if n_bad:
        show_note(screen, f"{count(n_bad, 'answer')} failed; the rows say why\ntry them again:  add --retry-errors")
    if interrupted:
        screen.say("interrupted; the same command goes on from here")
        raise KeyboardInterrupt
    if n_bad:
        raise typer.Exit(1)


def to_stdout(wanted: Batch, hands: Hands, screen: Screen, about: dict[str, Any], *, calm: bool) -> None:
    """Do everything, and write rows to stdout."""
    screen.say("rows go to stdout; with -o FILE a run that was stopped can go on")
    n_total = sum(1 for _ in wanted.items())
    if not n_total:
        screen.say("nothing is left to do")
        return
    collector = wanted.collector(lambda record: screen.write(json.dumps(record, ensure_ascii=False) + "\n"))
    with hands(wanted, n_total, about) as crew, stoppable([crew]) as stopped:
        progress = Progress(screen, n_total, 0, calm=calm or screen.live)
        run(
            wanted.items(),
            crew,
            collector.take,
            stopped=lambda: stopped.yes,
            watch=lambda: progress(collector, crew.figures),
        )
    screen.status.clear()
    if stopped.yes:
        raise KeyboardInterrupt
    if collector.n_failed:
        show_note(screen, f"{count(collector.n_failed, 'answer')} failed; the rows say why")
        raise typer.Exit(1)


def say_standing(screen: Screen, output: OutputFile, path: Path, about: Mapping[str, Any]) -> None:
    """Say what was found in the output, where that is anything."""
    agenda = output.agenda
    if output.n_repaired:
        show_note(screen, f"the last line of {path} was half-written and is cut off; its answer is written anew")
    if output.n_retried:
        screen.say(f"{count(output.n_retried, 'answer')} that failed before will be tried again")
    if agenda.n_foreign:
        show_note(screen, f"{count(agenda.n_foreign, 'answer')} in {path} belong to no row of this input, and stay")
    begun = agenda.n_done or agenda.failed
    if begun:
        failed = f", and {len(agenda.failed)} that failed" if agenda.failed else ""
        what = "going on" if agenda.n_open else "nothing is left to do"
        screen.say(f"{path} has {agenda.n_done} of {count(agenda.n_total, 'answer')}{failed}; {what}")
    before = output.manifest.about.get("versions")
    if begun and before is not None and before != about["versions"]:
        show_note(screen, "this run has other versions of baco, llama.cpp or Python than the one before; see the runs")


def say_end(screen: Screen, path: Path, n_there: int, n_total: int, figures: Figures, elapsed_s: float) -> None:
    """Say what there is now, and how fast it came."""
    parts = [f"{path}: {n_there} of {count(n_total, 'answer')}"]
    if figures.n_tokens:
        parts += [
            f"{figures.n_tokens} tokens in {clock(elapsed_s)}",
            f"{figures.n_tokens / max(elapsed_s, 1e-9):.0f} tok/s",
            f"base {100 * figures.n_base / figures.n_tokens:.0f} %",
        ]
    screen.say(" · ".join(parts))


def local_crew(
    models: ModelChoice, machine: Machine, each: EachModel, screen: Screen, *, n_workers: int | None, verbose: int
) -> Hands:
    """Return what loads the pair on this machine, once per worker; None = as many as pay."""

    @contextmanager
    def hands(wanted: Batch, n_open: int, about: dict[str, Any]) -> Iterator[Crew]:
        n = n_workers or paying(models, machine, each, n_open)
        n_each = machine.at_once(-(-n_open // n))
        share = machine.shared_by(n)
        with ExitStack() as opened:
            pairs = side_by_side(
                lambda its_screen: opened.enter_context(open_pair(models, share, each, its_screen, n_parallel=n_each)),
                n,
                screen,
                asked_for=n_workers is not None,
            )
            banner(screen, pairs[0], wanted.wishes.settings, verbose=verbose)
            if len(pairs) > 1:
                screen.say(f"{len(pairs)} workers, each with a pair of its own")
            team = opened.enter_context(Team([Worker(pair, wanted.wishes) for pair in pairs]))
            try:
                about["calibration"] = team.prepare(about.get("calibration"))
            finally:
                screen.status.clear()
            about["models"] = {role.value: plain(dataclasses.asdict(pairs[0].infos[role])) for role in Role}
            about["parallel"], about["workers"] = n_each, len(pairs)
            yield team

    return hands


def side_by_side(open_one: Callable[[Screen], Pair], n: int, screen: Screen, *, asked_for: bool) -> list[Pair]:
    """Load a pair n times, with equal contexts; fewer where memory is short and nobody asked for so many."""
    pairs = [open_one(screen)]
    quiet = Screen.open(quiet=True)
    try:
        while len(pairs) < n:
            pair = open_one(quiet)
            if pair.n_ctx < pairs[0].n_ctx:
                raise MemoryPlanError(
                    f"worker {len(pairs) + 1} has room for {pair.n_ctx} tokens of context, the first for "
                    f"{pairs[0].n_ctx}; give fewer --workers, or a context that all have room for (-c)"
                )
            pairs.append(pair)
    except MemoryPlanError:
        if asked_for:
            raise
    return pairs


def paying(models: ModelChoice, machine: Machine, each: EachModel, n_open: int) -> int:
    """Return how many workers pay here: none whose places would stay empty."""
    both = machine.load_options()
    most = pairs_for(chosen_pair(models)[0], *(each.load_options(role, both) or both for role in Role))
    return min(most, -(-n_open // machine.at_once(n_open)))


def cluster_crew(options: ClusterOptions, order: ModelOrder, card: PairCard, machine: Machine, screen: Screen) -> Hands:
    """Return what loads the pair on the nodes of a cluster."""

    @contextmanager
    def hands(wanted: Batch, n_open: int, about: dict[str, Any]) -> Iterator[Crew]:
        screen.status.show("starting the workers …")
        try:
            with Cluster(options) as cluster:
                n_each = machine.at_once(-(-n_open // cluster.n_workers))
                crew = RayCrew(
                    cluster,
                    dataclasses.replace(order, n_parallel=n_each),
                    wanted.wishes,
                    calibration=about.get("calibration") or card.calibration,
                    on_event=lambda words: show_note(screen, words),
                )
                screen.status.clear()
                facts = crew.facts
                for note in dict.fromkeys(note for each in facts for note in each.notes):
                    show_note(screen, note)
                nodes = ", ".join(f"{n} on {node}" for node, n in Counter(each.node for each in facts).items())
                screen.say(f"pair: {wanted.pair} · {count(len(facts), 'worker')}: {nodes}")
                about["calibration"] = crew.calibration
                about["models"] = {role: plain(dataclasses.asdict(info)) for role, info in facts[0].infos.items()}
                about["parallel"], about["workers"] = n_each, len(facts)
                about["nodes"] = [each.node for each in facts]
                yield crew
        finally:
            screen.status.clear()

    return hands


@contextmanager
def opened(source: str | None) -> Iterator[Input]:
    """Open the prompts; those of a pipe are kept in a temporary file, for they are read more than once."""
    if source is not None and source != "-":
        with Input.open(Path(source)) as file:
            yield file
        return
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        raise UsageError("there are no prompts\n    give a file:  baco batch prompts.txt -o answers.jsonl")
    with tempfile.TemporaryFile() as kept:
        shutil.copyfileobj(sys.stdin.buffer, kept)
        yield Input(kept, "stdin")


def refuse_overwriting(source: str | None, output_file: Path | None) -> None:
    """Refuse to write over what is read."""
    if source in {None, "-"} or output_file is None:
        return
    assert source is not None
    for path in (output_file, manifest_path(output_file)):
        if path.resolve() == Path(source).resolve():
            raise UsageError(f"{str(path)!r} cannot be written: it is also read; choose another -o")


def chosen_seed(sampling: Sampling, output_file: Path | None) -> int:
    """Return the seed of the run: the one that was given, or 0; -1 is a new one for every new output."""
    if sampling.seed is None:
        return DEFAULT_SEED
    if sampling.seed == -1 and output_file is not None:
        before = Manifest.read(manifest_path(output_file))
        if before is not None and isinstance(before.made_with.get("seed"), int):
            return int(before.made_with["seed"])
    return sampling.chosen_seed()


def made_with(
    files: PairFiles,
    hashes: Mapping[str, str],
    wishes: Wishes,
    seed: int,
    loaded: Mapping[Role, LoadOptions],
    rows: Rows,
) -> dict[str, Any]:
    """Return all that decides a text; what only makes it come faster or slower is not part of it."""
    settings = settings_record(wishes.settings)
    settings["decode"] = {name: value for name, value in settings["decode"].items() if name not in SAME_TEXT}
    if settings["frame"] not in FRAMES:
        settings["frame"] = file_hash(Path(settings["frame"]).expanduser())
    record = {
        "models": dict(hashes),
        "caches": {role.value: [options.cache_type_k, options.cache_type_v] for role, options in loaded.items()},
        "seed": seed,
        "system": wishes.system,
        **settings,
    }
    if files.aligned_lora is not None:
        record["lora_scale"] = files.lora_scale
    if rows.chosen_format.whole_rows:
        record["samples"] = rows.n_samples
    return plain(record)  # type: ignore[no-any-return]


def about_run(wanted: Batch, checked: Checked, source: str | None) -> dict[str, Any]:
    """Return what the manifest says besides the settings."""
    decode = settings_record(wanted.wishes.settings)["decode"]
    return {
        "pair": wanted.pair,
        "format": wanted.format.name,
        "input": {"path": source or "-", "sha256": checked.sha256, "rows": checked.n_rows},
        "samples": wanted.n_samples,
        "shard": str(wanted.shard),
        "decoding": {name: decode[name] for name in SAME_TEXT if name in decode},
        "versions": versions(),
        "hardware": hardware(),
    }
