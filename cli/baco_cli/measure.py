"""``baco measure``: how diverse and how good anyone's answers are, with intervals, alone or beside a second file.

Reads files and shows findings; what a number means stands in the library's list of metrics.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from baco_cli.console import Screen
from baco_cli.measuring_models import QUALITY, Wishes, watched
from baco_cli.options import Machine, ModelChoice, Output, bundled, per_call, read_text
from baco_cli.records import plain, versions
from baco_cli.render import show_note
from baco_local.config import check_seed
from baco_local.errors import UsageError
from baco_local.metrics.answer_files import AnswerFile, paired, parse_answers, parse_prompts
from baco_local.metrics.base import Group, Metric, Wanted
from baco_local.metrics.definitions import DIVERSITY, METRICS
from baco_local.metrics.intervals import Interval
from baco_local.metrics.survey import WHOLE, Finding, Survey, View, survey

__all__ = ["app", "measure"]

app = typer.Typer(add_completion=False)

MEASURING = "Measuring"
FORMAT = 1
DEAL = 10  # answers of a set where every prompt has one answer
PARTS: tuple[tuple[str, View, Sequence[Group]], ...] = (
    ("Diversity, answers cut to comparable lengths", View.MATCHED, DIVERSITY),
    ("Diversity, answers as they are", View.RAW, DIVERSITY),
    ("Quality and shape, answers as they are", View.RAW, WHOLE),
)


@app.command()
@bundled
def measure(
    first: Annotated[str, typer.Argument(metavar="FILE", help="Answers as JSON lines; a dash reads what is piped in.")],
    second: Annotated[
        str | None, typer.Argument(metavar="[SECOND]", help="Other answers to the same prompts, to be compared.")
    ] = None,
    *,
    prompts: Annotated[
        Path | None,
        per_call("--prompts", help="What was asked, where FILE names prompts by id alone.", panel=MEASURING),
    ] = None,
    across: Annotated[
        int | None,
        per_call("--across", min=2, help="Compare answers to different prompts, N at a time.", panel=MEASURING),
    ] = None,
    n_resamples: Annotated[
        int,
        per_call("--bootstrap", min=100, help="Resamples behind an interval.", panel=MEASURING, show_default=True),
    ] = 1000,
    seed: Annotated[
        int, per_call("--seed", "-s", help="Seed of the resamples.", panel=MEASURING, show_default=True)
    ] = 0,
    wishes: Wishes,
    drift: Annotated[
        bool,
        per_call("--drift", help="Find answers that the pair's aligned model thinks odd: an alarm.", panel=QUALITY),
    ] = False,
    models: ModelChoice,
    machine: Machine,
    as_csv: Annotated[bool, per_call("--csv", help="Print CSV instead of tables.", panel="Output")] = False,
    output_file: Annotated[
        Path | None, per_call("--output", "-o", help="Write the JSON or CSV to a file as well.", panel="Output")
    ] = None,
    output: Output,
) -> None:
    """Measure how diverse and how good answers are.

    Needs no model for words. Each line of a file holds a prompt and answers: docs/measuring.md lists the forms.
    """
    files = [first] if second is None else [first, second]
    if output.json and as_csv:
        raise UsageError("--json and --csv are both given; leave one out")
    screen = output.screen()
    named = None if prompts is None else parse_prompts(read_text(prompts, "--prompts").splitlines(), str(prompts))
    read = [parse_answers(lines_of(name), name, named) for name in files]
    if len(read) == 2:
        pair, n_left_out = paired(*read)
        read = list(pair)
        if n_left_out:
            show_note(screen, f"{n_left_out} prompts stand in one file only and are left out")
    across = chosen_sets(screen, read, across)
    for each in read:
        if each.n_failed:
            show_note(screen, f"{each.name}: {each.n_failed} rows hold an error instead of an answer")
    with ExitStack() as open_models:
        helpers = wishes.load(models, machine.load_options(), check_seed(seed), screen, open_models, drift=drift)
        found = survey(
            read,
            across=across,
            meaning=[watched(each, screen) for each in helpers.meaning],
            quality=[watched(each, screen) for each in helpers.quality],
            n_resamples=n_resamples,
            seed=seed,
            do_all=helpers.get_through(open_models),
        )
        screen.status.clear()
        facts = {"across": across, "n_resamples": n_resamples, "seed": seed, "helpers": helpers.notes()}
    text = csv_text(read, found) if as_csv else json.dumps(record(read, found, facts), ensure_ascii=False) + "\n"
    if output_file is not None:
        write_file(output_file, text, sources=files)
    if as_csv or output.json:
        screen.write(text)
    else:
        show(screen, read, found, facts, verbose=bool(output.verbose))


def lines_of(name: str) -> list[str]:
    """Return the lines of a file; ``-`` is what was piped in."""
    return sys.stdin.read().splitlines() if name == "-" else read_text(Path(name), "FILE").splitlines()


def chosen_sets(screen: Screen, files: Sequence[AnswerFile], across: int | None) -> int | None:
    """Return how many answers to different prompts make a set; None where a set is the answers to one prompt."""
    n_prompts = len(files[0].prompts)
    if across is None and all(len(each.texts) < 2 for file in files for each in file.prompts) and n_prompts >= DEAL:
        show_note(
            screen,
            f"every prompt has one answer: diversity is measured across prompts, in sets of {DEAL}\n"
            "another size:  --across N",
        )
        across = DEAL
    if across is not None and across > n_prompts:
        raise UsageError(f"--across {across}: there are {n_prompts} prompts; give a smaller number")
    return across


def write_file(path: Path, text: str, *, sources: Iterable[str]) -> None:
    """Write findings to a file that is not one of those that were read."""
    if path.resolve() in {Path(name).resolve() for name in sources}:
        raise UsageError(f"--output {str(path)!r} would overwrite what is read; choose another name")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output: {str(path)!r} cannot be written: {error.strerror}") from error


# --- for programs -------------------------------------------------------------------------------------------------


def record(files: Sequence[AnswerFile], found: Survey, facts: dict[str, Any]) -> dict[str, Any]:
    """Return everything that was found, with what each number means and every value behind it."""
    return {
        "format": FORMAT,
        "kind": "baco measure",
        "files": [
            {
                "path": each.name,
                "n_prompts": len(each.prompts),
                "n_answers": each.n_answers,
                "n_failed": each.n_failed,
                "share_cut": round(cut, 4),
            }
            for each, cut in zip(files, found.share_cut, strict=True)
        ],
        **facts,
        "n_words_known": found.n_words_known,
        "sets": found.keys,
        "prompts": found.prompt_keys,
        "findings": [finding_record(finding) for finding in found.findings],
        "versions": versions(),
    }


def finding_record(finding: Finding) -> dict[str, Any]:
    """Return one metric in one view."""
    metric = METRICS[finding.metric]
    return {
        "metric": finding.metric,
        "view": finding.view.value,
        "title": metric.title,
        "group": metric.group.value,
        "definition": metric.definition,
        "source": metric.source,
        "wanted": metric.wanted.value,
        "in_planes": metric.in_planes,
        "files": [plain(dataclasses.asdict(each)) for each in finding.intervals],
        "difference": None if finding.difference is None else plain(dataclasses.asdict(finding.difference)),
        "values": plain(finding.values),
    }


def csv_text(files: Sequence[AnswerFile], found: Survey) -> str:
    """Return one line per metric, view and file; the difference to the first file stands with the second."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for finding in found.findings:
        for number, (file, interval) in enumerate(zip(files, finding.intervals, strict=True)):
            row: list[Any] = [finding.metric, METRICS[finding.metric].group.value, finding.view.value, file.name]
            row += plain(dataclasses.astuple(interval))
            if number and finding.difference is not None:
                difference = finding.difference
                row += plain(dataclasses.astuple(difference.change)[:3]) + plain([difference.share_above, difference.p])
            writer.writerow(row + [None] * (len(COLUMNS) - len(row)))
    return text.getvalue()


COLUMNS = (
    *("metric", "group", "view", "file", "mean", "low", "high", "n_used", "n_skipped"),
    *("difference", "difference_low", "difference_high", "share_above", "p"),
)


# --- for people ---------------------------------------------------------------------------------------------------


def show(
    screen: Screen, files: Sequence[AnswerFile], found: Survey, facts: dict[str, Any], *, verbose: bool = False
) -> None:
    """Print a table per view, and below them what must be known to read them."""
    for number, file in enumerate(files):
        name = f"{'AB'[number]} = {file.name}" if len(files) > 1 else file.name
        screen.say(f"{name}: {len(file.prompts)} prompts, {file.n_answers} answers")
    for title, view, groups in PARTS:
        rows = [each for each in found.findings if each.view is view and METRICS[each.metric].group in groups]
        if rows:
            screen.write("\n")
            screen.show(part_table(title, rows, len(files)))
    screen.gap()
    for line in reading_aid(files, found, facts):
        screen.say(line)
    if verbose:
        screen.say("")
        for name in dict.fromkeys(finding.metric for finding in found.findings):
            metric = METRICS[name]
            screen.say(f"{metric.title}: {metric.definition} ({metric.source})")


def part_table(title: str, rows: Sequence[Finding], n_files: int) -> Table:
    """Return the table of one view."""
    table = Table(
        title=title, title_justify="left", title_style="accent", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    table.add_column("", no_wrap=True)
    for name in ["mean", "95 % interval"] if n_files == 1 else ["A", "B", "B - A", "p"]:
        table.add_column(name, justify="right", no_wrap=True, header_style="muted")
    for finding in rows:
        metric = METRICS[finding.metric]
        title_cell = Text(metric.title + (" ↓" if metric.wanted is Wanted.LESS else ""))
        if n_files == 1:
            (interval,) = finding.intervals
            table.add_row(title_cell, number(interval.mean, metric.digits), bounds(interval, metric.digits))
        else:
            cells = [give_or_take(each, metric.digits) for each in finding.intervals]
            table.add_row(title_cell, *cells, *difference_cells(finding, metric))
    return table


def difference_cells(finding: Finding, metric: Metric) -> tuple[Text, Text]:
    """Return how far B is from A, with its interval, and how often chance would part them as far."""
    assert finding.difference is not None
    change, p = finding.difference.change, finding.difference.p
    mean = number(change.mean, metric.digits, sign="+")
    text = f"{mean} {bounds(change, metric.digits, sign='+')}" if change.low is not None else mean
    return Text(text, style=hue(change, metric.wanted)), Text(
        "" if p is None else f"{p:.3f}" if p >= 0.001 else "<0.001"
    )


def hue(change: Interval, wanted: Wanted) -> str:
    """Return the style of a difference: good or bad where its interval leaves zero out."""
    if wanted is Wanted.NEITHER or change.low is None or change.high is None or change.low <= 0 <= change.high:
        return "none"
    return "good" if (change.low > 0) == (wanted is Wanted.MORE) else "warn"


def reading_aid(files: Sequence[AnswerFile], found: Survey, facts: dict[str, Any]) -> list[str]:
    """Return what a reader must know: lengths, sets, intervals."""
    cut = " and ".join(f"{100 * share:.0f} %" for share in found.share_cut)
    sets = "the answers to one prompt" if facts["across"] is None else f"{facts['across']} answers to different prompts"
    lines = [
        f"Sets: {sets}; {len(found.keys)} of them. Cut to comparable lengths: {cut} of the answers lost words.",
        f"Intervals: 95 %, {facts['n_resamples']} resamples of sets, seed {facts['seed']}."
        + (" ± is half an interval; p is of a sign-flip test of the pairs." if len(files) > 1 else ""),
    ]
    return [
        *lines,
        *(f"{what}: {words}." for what, words in facts["helpers"].items()),
        "What each number means: docs/measuring.md, or -v.",
    ]


def number(value: float | None, digits: int, sign: str = "") -> str:
    """Return a number as a table shows it."""
    return "-" if value is None else f"{value:{sign}.{digits}f}"


def bounds(interval: Interval, digits: int, sign: str = "") -> str:
    """Return both bounds of an interval."""
    if interval.low is None:
        return "-"
    return f"[{number(interval.low, digits, sign)}, {number(interval.high, digits, sign)}]"


def give_or_take(interval: Interval, digits: int) -> str:
    """Return a mean with half the width of its interval."""
    if interval.low is None or interval.high is None:
        return number(interval.mean, digits)
    return f"{number(interval.mean, digits)} ±{(interval.high - interval.low) / 2:.{digits}f}"
