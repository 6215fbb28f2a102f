"""``baco report``: what a sweep found, as one page that works offline, and as tables and pictures for papers.

Chooses what is read and written; every number and every word of the page is the library's (``baco_local.evals``).
"""

from __future__ import annotations

import csv
import io
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table as RichTable
from rich.text import Text

from baco_cli.console import Screen
from baco_cli.measuring_models import Wishes
from baco_cli.options import Machine, ModelChoice, Output, bundled, per_call
from baco_local.config import check_seed
from baco_local.errors import UsageError
from baco_local.evals.coverage import Side
from baco_local.evals.figures import draw_coverage, draw_plane
from baco_local.evals.findings import Board, Findings, find
from baco_local.evals.markdown import document
from baco_local.evals.notes import notes
from baco_local.evals.report import page
from baco_local.evals.scoring import read_answers, score
from baco_local.evals.tables import Table, points_table, tables
from baco_local.metrics.survey import View

__all__ = ["app", "report"]

app = typer.Typer(add_completion=False)

REPORT = "Report"


@app.command()
@bundled
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a sweep, finished or not.")],
    *,
    output_file: Annotated[
        Path | None, per_call("--output", "-o", help="The page; RUN/report.html if not said.", panel=REPORT)
    ] = None,
    markdown: Annotated[
        Path | None, per_call("--markdown", help="Write all tables and notes as Markdown, too.", panel=REPORT)
    ] = None,
    csv_file: Annotated[
        Path | None, per_call("--csv", help="Write every number of every point as CSV, too.", panel=REPORT)
    ] = None,
    figures: Annotated[
        Path | None,
        per_call("--figures", help="Draw pictures into a folder, PNG and SVG.", panel=REPORT, metavar="FOLDER"),
    ] = None,
    n_texts: Annotated[
        int, per_call("--texts", min=1, help="Texts that a point carries.", panel=REPORT, show_default=True)
    ] = 12,
    n_resamples: Annotated[
        int,
        per_call("--bootstrap", min=100, help="Resamples behind an interval.", panel=REPORT, show_default=True),
    ] = 1000,
    seed: Annotated[int, per_call("--seed", "-s", help="Seed of the resamples.", panel=REPORT, show_default=True)] = 0,
    wishes: Wishes,
    models: ModelChoice,
    machine: Machine,
    output: Output,
) -> None:
    """Make a page of what a sweep found.

    One file without a network: the trade-off plane, the texts behind every point, Coverage and Dominance with
    intervals, costs, and what must be said beside them. Scores are kept in RUN, so a second page comes quickly.
    """
    screen = output.screen()
    answers = read_answers(run)
    with ExitStack() as open_models:
        helpers = wishes.load(models, machine.load_options(), check_seed(seed), screen, open_models)
        key = {"semantic": str(wishes.semantic), "same": f"{wishes.same} {wishes.same_cut}"}
        key |= {
            name: f"{path.name} {path.stat().st_size}"
            for name, path in (("embed", wishes.embed), ("judge", wishes.judge), ("reward", wishes.reward))
            if path is not None
        }
        scored = score(
            answers,
            meaning=helpers.meaning,
            quality=helpers.quality,
            helpers=key,
            do_all=helpers.get_through(open_models),
            watch=lambda done, total: screen.status.show(f"measuring … {done}/{total} sets"),
        )
        screen.status.show("resampling prompts …")
        findings = find(scored, n_resamples=n_resamples, seed=seed, helpers=helpers.notes())
        screen.status.clear()
    target = output_file or run / "report.html"
    written = [(target, page(findings, n_texts=n_texts))]
    if markdown is not None:
        title = f"{answers.about.get('name', run.name)}: methods on {answers.about.get('pair', 'a pair')}"
        written.append((markdown, document(title, tables(findings), notes(findings))))
    if csv_file is not None:
        written.append((csv_file, csv_text(points_table(findings))))
    for path, text in written:
        write_file(path, text)
    if figures is not None:
        try:
            figures.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--figures: {str(figures)!r} cannot be made: {error.strerror}") from error
        draw_plane(findings, [figures / "plane.svg", figures / "plane.png"])
        draw_coverage(findings, [figures / "coverage.svg", figures / "coverage.png"])
    if output.json:
        screen.write(json.dumps(summary(findings), ensure_ascii=False) + "\n")
    else:
        show(screen, findings.boards[View.MATCHED])
    for path, _ in written:
        screen.say(f"written: {path}")
    if figures is not None:
        screen.say(f"written: {figures}/plane and coverage, PNG and SVG")


def show(screen: Screen, board: Board) -> None:
    """Print the standings, the best on top, in a width that every terminal has."""
    sides = list(board.coverage)
    table = RichTable(
        title="Coverage and Dominance, answers cut to comparable lengths",
        title_justify="left",
        title_style="accent",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    table.add_column("", no_wrap=True)
    for name in ["Coverage", "95 % interval", *(side.value for side in sides[:-1]), "Dominance"]:
        table.add_column(name, justify="right", no_wrap=True, header_style="muted")
    overall = board.coverage[Side.OVERALL]
    for m in sorted(range(len(board.methods)), key=lambda m: -overall[m].value):
        number = overall[m]
        table.add_row(
            Text(board.methods[m]),
            f"{number.value:.3f}",
            Text(f"[{number.low:.3f}, {number.high:.3f}]"),
            *(f"{board.coverage[side][m].value:.3f}" for side in sides[:-1]),
            f"{100 * board.dominance[Side.OVERALL][m].value:.1f} %",
        )
    screen.show(table)


def summary(findings: Findings) -> dict[str, Any]:
    """Return the standings for programs."""
    return {
        "format": 1,
        "kind": "baco report",
        "run": str(findings.answers.folder),
        "prompts": len(findings.answers.questions),
        "points": findings.answers.n_points,
        "diversity": findings.diversity,
        "quality": findings.quality,
        "resamples": findings.n_resamples,
        "seed": findings.seed,
        "matched": board_record(findings.boards[View.MATCHED]),
        "raw": board_record(findings.boards[View.RAW]),
        "best_of_families": board_record(findings.best),
        "routers": None if findings.routers is None else board_record(findings.routers),
        "helpers": dict(findings.helpers),
    }


def board_record(board: Board) -> dict[str, Any]:
    """Return Coverage and Dominance of every method, and the shares of resamples in which one is above another."""
    return {
        "methods": {
            method: {
                what: {
                    side.value: [round(getattr(numbers[side][m], part), 6) for part in ("value", "low", "high")]
                    for side in numbers
                }
                for what, numbers in (("coverage", board.coverage), ("dominance", board.dominance))
            }
            for m, method in enumerate(board.methods)
        },
        "above": {
            method: dict(zip(board.methods, map(float, board.above[Side.OVERALL][m].round(4)), strict=True))
            for m, method in enumerate(board.methods)
        },
    }


def csv_text(table: Table) -> str:
    """Return a table as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([cell.text for cell in row] for row in table.rows)
    return text.getvalue()


def write_file(path: Path, text: str) -> None:
    """Write a file, or say why that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be written: {error.strerror}") from error
