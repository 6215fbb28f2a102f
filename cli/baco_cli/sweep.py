"""``baco sweep``: many methods at many points on the same prompts, into a folder that a report can be made of.

Decides what is asked and what is said; methods, points and resuming are the library's (``baco_local.evals``).
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from baco_cli.console import Screen
from baco_cli.opening import check_files, chosen_pair, open_pair
from baco_cli.options import EachModel, Machine, ModelChoice, Output, bundled, per_call
from baco_cli.progress import Ticker, clock, count, progress_words
from baco_cli.records import versions
from baco_cli.render import show_note
from baco_cli.stopping import stoppable
from baco_local.batch.items import Shard
from baco_local.batch.manifest import hardware, model_hashes
from baco_local.config import LoadOptions
from baco_local.errors import UsageError
from baco_local.evals.methods import FAMILIES, METHODS
from baco_local.evals.plan import Plan, Wanted, planned, read_wanted
from baco_local.evals.runner import Progress, carry_out
from baco_local.pair import Stream
from baco_local.types import Role

__all__ = ["app", "sweep"]

app = typer.Typer(add_completion=False)

SWEEP = "Sweep"


@app.command()
@bundled
def sweep(
    plan_file: Annotated[
        Path | None, typer.Argument(metavar="[SWEEP.toml]", help="What to do; options go before what it says.")
    ] = None,
    *,
    prompts: Annotated[
        Path | None,
        per_call("--prompts", "--file", "-f", help="Prompts, as baco batch reads them.", panel=SWEEP, metavar="FILE"),
    ] = None,
    methods: Annotated[
        str | None,
        per_call("--methods", help="all, routers, mixes, rivals, ideas, or names; see --list.", panel=SWEEP),
    ] = None,
    points: Annotated[
        int | None, per_call("--points", min=1, help="Settings of each method; 9 if not said.", panel=SWEEP)
    ] = None,
    n_samples: Annotated[
        int | None,
        per_call("--num-samples", "-N", min=2, help="Answers per prompt and point; 10 if not said.", panel=SWEEP),
    ] = None,
    max_tokens: Annotated[
        int | None,
        per_call("--max-tokens", "-n", "--n-predict", min=1, help="Length of an answer; 300 if not said.", panel=SWEEP),
    ] = None,
    seed: Annotated[int | None, per_call("--seed", "-s", help="Of all texts; 0 if not said.", panel=SWEEP)] = None,
    limit: Annotated[int | None, per_call("--limit", min=1, help="Take only the first N prompts.", panel=SWEEP)] = None,
    held_out: Annotated[
        Path | None,
        per_call("--held-out", help="Other prompts, to match the control on; ours if not said.", panel=SWEEP),
    ] = None,
    shard: Annotated[
        str | None,
        per_call(
            "--shard", help="Only part i of n, as 2/4: one per process, in one folder.", panel=SWEEP, metavar="I/N"
        ),
    ] = None,
    output_folder: Annotated[
        Path | None,
        per_call("--output", "-o", help="The folder of the run; the same call goes on.", panel=SWEEP, metavar="FOLDER"),
    ] = None,
    list_methods: Annotated[bool, per_call("--list", help="List all methods and stop.", panel=SWEEP)] = False,
    dry_run: Annotated[bool, per_call("--dry-run", help="Check everything, write nothing.", panel=SWEEP)] = False,
    no_progress: Annotated[bool, per_call("--no-progress", help="One line a minute, as on a pipe.", panel=SWEEP)] = (
        False
    ),
    models: ModelChoice,
    machine: Machine,
    each: EachModel,
    output: Output,
) -> None:
    """Compare methods, each at several settings.

    Every method starts from temperature 1 without truncation. A finished prompt is one line in FOLDER/answers at once,
    so the same command goes on where it was stopped, and several processes may each write one --shard of a folder at
    the same time. Then: baco report FOLDER.
    """
    screen = output.screen()
    if list_methods:
        show_methods(screen, as_json=output.json)
        return
    given = Wanted(
        prompts=prompts,
        methods=None if methods is None else tuple(methods.split(",")),
        points=points,
        samples=n_samples,
        max_tokens=max_tokens,
        seed=seed,
        limit=limit,
        held_out=held_out,
    )
    plan = planned(given if plan_file is None else given.over(read_wanted(plan_file)))
    if output_folder is None and not dry_run:
        raise UsageError("a sweep needs a folder\n    give one:  baco sweep ... -o runs/first")
    part = None if shard is None else Shard.parse(shard)
    files, _ = chosen_pair(models)
    check_files(files)
    both = machine.load_options()
    loaded = {role: each.load_options(role, both) or both for role in Role}
    screen.say(plan_words(plan) + ("" if part is None else f"; of these, shard {part}"))
    if dry_run:
        screen.say("nothing was written")
        return
    assert output_folder is not None
    started_s = time.perf_counter()
    live: list[Stream] = []
    with open_pair(models, machine, each, screen, n_parallel=machine.at_once(plan.n_samples * 4)) as pair:
        show = Ticker(screen, calm=no_progress)
        with stoppable(live) as stopped:
            run = carry_out(
                plan,
                pair,
                output_folder,
                made_with={"models": model_hashes(files), "caches": caches(loaded)},
                about={
                    "pair": files.name,
                    "parallel": pair.n_parallel,
                    "versions": versions(),
                    "hardware": hardware(),
                },
                shard=part,
                live=live,
                stopped=lambda: stopped.yes,
                watch=lambda progress: show(lambda elapsed_s: told(progress, elapsed_s)),
                say=lambda words: screen.status.show(f"{words} …"),
            )
        screen.status.clear()
    elapsed_s = time.perf_counter() - started_s
    figures = run.figures
    if output.json:
        summary = {
            "output": str(output_folder),
            "answers": run.n_wanted,
            "written": run.n_done,
            "failed": run.n_failed,
            "tokens": figures.n_tokens,
            "seconds": round(elapsed_s, 3),
        }
        screen.write(json.dumps(summary, ensure_ascii=False) + "\n")
    screen.say(
        f"{output_folder}: {run.n_done} of {count(run.n_wanted, 'answer')} · {figures.n_tokens} tokens in "
        f"{clock(elapsed_s)}"
    )
    if run.n_failed:
        show_note(screen, f"{count(run.n_failed, 'answer')} could not be written and count as empty; the lines say why")
    if stopped.yes:
        screen.say("interrupted; the same command goes on from here")
        raise KeyboardInterrupt
    if part is None:
        screen.say(f"next:  baco report {output_folder} -o report.html")
    else:
        screen.say("next:  the other shards, or the same command without --shard, which writes whatever is missing")


def told(progress: Progress, elapsed_s: float) -> str:
    """Return which point is written, and how far the whole work is."""
    words = progress_words(
        progress.n_done,
        progress.n_total,
        progress.figures,
        n_now=progress.n_now,
        n_failed=0,
        elapsed_s=elapsed_s,
    )
    return f"{progress.method} {progress.place} · {words}"


def plan_words(plan: Plan) -> str:
    """Return what will be done, in one line."""
    return (
        f"{count(len(plan.methods), 'method')} x {count(plan.n_points, 'point')} x "
        f"{count(len(plan.questions), 'prompt')} x {count(plan.n_samples, 'sample')} = "
        f"{count(plan.n_answers, 'answer')}"
    )


def caches(loaded: dict[Role, LoadOptions]) -> dict[str, list[str]]:
    """Return the number types of the caches, which have a part in the last bits."""
    return {role.value: [str(one.cache_type_k), str(one.cache_type_v)] for role, one in loaded.items()}


def show_methods(screen: Screen, *, as_json: bool) -> None:
    """List every method with what it does."""
    if as_json:
        for method in METHODS.values():
            record: dict[str, Any] = {
                "name": method.name,
                "family": method.family,
                "does": method.does,
                "source": method.source,
                "turned": method.turned,
                "points": method.points,
            }
            screen.write(json.dumps(record, ensure_ascii=False) + "\n")
        return
    for family, words in FAMILIES.items():
        table = Table(
            title=words, title_justify="left", title_style="accent", box=None, show_header=False, padding=(0, 2, 0, 0)
        )
        for method in METHODS.values():
            if method.family == family:
                table.add_row(Text(method.name), Text(method.does, style="muted"))
        screen.show(table)
