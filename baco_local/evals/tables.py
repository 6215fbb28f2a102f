"""The tables of a report, as plain cells: standings, who beats whom, shape targets, what a method is like and costs.

Takes findings; knows neither Markdown nor HTML nor a terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from baco_local.evals.coverage import Side
from baco_local.evals.findings import Board, Findings, Number, Point
from baco_local.evals.methods import DEFAULT, FAMILIES
from baco_local.metrics.definitions import METRICS
from baco_local.metrics.survey import View

__all__ = ["REFERENCES", "Cell", "Table", "points_table", "tables"]

SURE = 0.95  # share of resamples from which on a claim is said to hold
REFERENCES = (DEFAULT, "rand", "mix-logit", "nudge", "aligned", "base")
MOST_COLUMNS = 10  # of a square table on paper


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell says, and the number that it is sorted and shaded by."""

    text: str
    value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows below a header."""

    key: str  # for links and file names
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    shaded: bool = False  # numbers between 0 and 1 that a page may paint
    narrow: tuple[int, ...] = ()  # columns that paper has room for; () = all


def tables(findings: Findings) -> tuple[Table, ...]:
    """Return all tables of a report, the most important ones first."""
    board = findings.boards[View.MATCHED]
    found = [
        _standings(findings, board, "standings", "Coverage and Dominance, answers cut to comparable lengths"),
        _standings(
            findings,
            findings.best,
            "families",
            "The best of each family, competing alone",
            "Chosen by their overall Coverage on these same answers, so these numbers are a little too high. Fewer "
            "methods mean another pool, hence other numbers than above.",
        ),
        _above(board, Side.OVERALL, "above", "How often one method covers more than another"),
    ]
    if len(board.above) == len(Side):
        found.append(_above(board, Side.SEMANTIC, "above-semantic", "The same, on the semantic planes alone"))
    targets = _targets(board, "targets", "What arXiv 2511.05650 reports, and what this run says")
    if targets.rows:
        found.append(targets)
    if findings.routers is not None:
        found.append(
            _standings(
                findings,
                findings.routers,
                "routers",
                "The routers among themselves",
                "Nobody else is in the pool, so each metric is scaled over the reach of the routers alone.",
            )
        )
        among = _targets(findings.routers, "targets-routers", "The same claims, the routers among themselves")
        if among.rows:
            found.append(among)
    found += [
        _character(findings),
        _cost(findings),
        _standings(findings, findings.boards[View.RAW], "standings-raw", "Coverage and Dominance, answers as they are"),
        _standings(
            findings,
            findings.by_largest,
            "standings-by-largest",
            "The same as the first table, metrics divided by their largest",
            "A check: another scale, where the worst point keeps its distance from zero.",
        ),
    ]
    return tuple(found)


def points_table(findings: Findings, view: View = View.MATCHED) -> Table:
    """Return every number of every point: what others need to compute Coverage themselves."""
    points = findings.points[view]
    names = list(points[0].numbers)
    columns = ["method", "family", "place", "setting"]
    columns += [f"{name}{part}" for name in names for part in ("", "_low", "_high")]
    columns += [name for name, _ in COSTS] + ["share_cut", "n_answers", "n_empty"]
    rows = []
    for point in points:
        row = [Cell(point.method), Cell(_family(findings, point.method)), _plain(point.place), _plain(point.setting)]
        for name in names:
            number = point.numbers[name]
            row += [_plain(number.value), _plain(number.low), _plain(number.high)]
        row += [_plain(read(point)) for _, read in COSTS]
        row += [_plain(point.share_cut), _plain(point.n_answers), _plain(point.n_empty)]
        rows.append(tuple(row))
    return Table(key="points", title="Every point", columns=tuple(columns), rows=tuple(rows))


def _standings(findings: Findings, board: Board, key: str, title: str, note: str = "") -> Table:
    sides = list(board.coverage)
    columns = ["method", "family"]
    columns += [f"Coverage, {side}" for side in sides] + [f"Dominance in %, {side}" for side in sides]
    order = sorted(range(len(board.methods)), key=lambda m: -board.coverage[Side.OVERALL][m].value)
    rows = []
    for m in order:
        name = board.methods[m]
        cells = [Cell(name), Cell(FAMILIES[_family(findings, name)])]
        cells += [_interval(board.coverage[side][m], 3) for side in sides]
        cells += [_interval(board.dominance[side][m], 1, percent=True) for side in sides]
        rows.append(tuple(cells))
    return Table(key=key, title=title, columns=tuple(columns), rows=tuple(rows), note=note)


def _above(board: Board, side: Side, key: str, title: str) -> Table:
    order = sorted(range(len(board.methods)), key=lambda m: -board.coverage[side][m].value)
    names = [board.methods[m] for m in order]
    narrow = [1 + place for place, name in enumerate(names) if name in REFERENCES]
    rows = [
        (
            Cell(board.methods[m]),
            *(
                Cell("")
                if m == other
                else Cell(f"{100 * board.above[side][m, other]:.0f}", board.above[side][m, other])
                for other in order
            ),
        )
        for m in order
    ]
    return Table(
        key=key,
        title=title,
        columns=("% of resamples, row above column", *names),
        rows=tuple(rows),
        note=f"{side.capitalize()} Coverage. 95 or more: the row is ahead for sure, as far as these prompts can tell.",
        shaded=True,
        narrow=() if len(names) <= MOST_COLUMNS else (0, *narrow),
    )


def _targets(board: Board, key: str, title: str) -> Table:
    """Hold the run against the orders that arXiv 2511.05650 reports, as far as its methods are there."""
    rows = []
    for words, one, other, side in TARGETS:
        if one in board.methods and other in board.methods and side in board.above:
            share = board.share_above(one, other, side)
            ours, theirs = (_interval(board.coverage[side][board.methods.index(name)], 3) for name in (one, other))
            rows.append((Cell(words), ours, theirs, _share(share), Cell(_verdict(share))))
    if "aligned" in board.methods and len(board.methods) > 1 and Side.LEXICAL in board.leads:
        place = board.methods.index("aligned")
        share = float(board.leads[Side.LEXICAL][place])
        dominance = board.dominance[Side.LEXICAL]
        best = max((number for m, number in enumerate(dominance) if m != place), key=lambda number: number.value)
        ours, theirs = (_interval(number, 1, percent=True) for number in (dominance[place], best))
        words = "aligned has the largest lexical Dominance, in %"
        rows.append((Cell(words), ours, theirs, _share(share), Cell(_verdict(share))))
    return Table(
        key=key,
        title=title,
        columns=("claim", "first", "second", "% of resamples", "here"),
        rows=tuple(rows),
        note="Orders only: models, prompts and metrics differ, and the paper's numbers are known to us "
        f"from secondary sources; in brackets 95 % intervals. It holds from {100 * SURE:.0f} % of the resamples "
        f"on, and fails from {100 * (1 - SURE):.0f} % down.",
    )


def _character(findings: Findings) -> Table:
    """Say what the answers of a method are like, from its first point to its last."""
    names = [name for name in SHAPES if name in findings.points[View.RAW][0].numbers]
    columns = ["method", "base share", *(METRICS[name].title for name in names), "empty", "cut"]
    rows = []
    for method, points in _by_method(findings):
        cells = [Cell(method), _range([100 * point.base_share for point in points], 0, " %")]
        for name in names:
            factor = 1 if name == "mean_words" else 100
            values = [factor * point.numbers[name].value for point in points]
            cells.append(_range(values, 0, "" if name == "mean_words" else " %"))
        cells.append(_range([100 * point.n_empty / max(1, point.n_answers) for point in points], 0, " %"))
        cells.append(_range([100 * point.share_cut for point in points], 0, " %"))
        rows.append(tuple(cells))
    return Table(
        key="character",
        title="What the answers are like",
        columns=tuple(columns),
        rows=tuple(rows),
        note="Smallest to largest over the points of a method. cut: answers that lost words where lengths are matched.",
    )


def _cost(findings: Findings) -> Table:
    at_once = findings.answers.about.get("parallel", "some")
    rows = [
        (
            Cell(method),
            *(_mean([read(point) for point in points], 2 if name == "seconds" else 0) for name, read in COSTS),
        )
        for method, points in _by_method(findings)
    ]
    return Table(
        key="cost",
        title="What an answer costs",
        columns=("method", *COST_WORDS),
        rows=tuple(rows),
        note=f"Per answer that is not empty, mean over the points. Seconds with up to {at_once} answers "
        "written at once; they depend on the machine and on what else it did.",
    )


def _by_method(findings: Findings) -> Iterable[tuple[str, list[Point]]]:
    for method in findings.answers.methods:
        yield method, [point for point in findings.points[View.RAW] if point.method == method]


def _family(findings: Findings, method: str) -> str:
    return str(findings.answers.about["methods"][method]["family"])


def _interval(number: Number, digits: int, *, percent: bool = False) -> Cell:
    value, low, high = ((100 if percent else 1) * each for each in (number.value, number.low, number.high))
    return Cell(f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]", number.value)


def _range(values: Sequence[float], digits: int, unit: str) -> Cell:
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return Cell(f"{low}{unit}" if low == high else f"{low} to {high}{unit}", sum(values) / len(values))


def _mean(values: Sequence[float], digits: int) -> Cell:
    mean = sum(values) / len(values)
    return Cell(f"{mean:.{digits}f}", mean)


def _share(share: float) -> Cell:
    return Cell(f"{100 * share:.1f}", share)


def _plain(value: float) -> Cell:
    return Cell(f"{value:.6g}", value)


def _verdict(share: float) -> str:
    return "holds" if share >= SURE else "fails" if share <= 1 - SURE else "open"


SHAPES = ("mean_words", "ended", "loops")

COSTS: tuple[tuple[str, Callable[[Point], float]], ...] = (
    ("base_share", lambda point: 100 * point.base_share),
    ("generated", lambda point: point.generated),
    ("read_base", lambda point: point.read_base),
    ("read_aligned", lambda point: point.read_aligned),
    ("seconds", lambda point: point.seconds),
)
COST_WORDS = ("base share, %", "tokens written", "tokens base read", "tokens aligned read", "seconds")

TARGETS = (  # (claim, the method that should be ahead, the one behind it, planes)
    ("P-PUNC covers more than H-PUNC", "p-punc", "h-punc", Side.OVERALL),
    ("H-PUNC covers more than P", "h-punc", "p", Side.OVERALL),
    ("P covers more than FC", "p", "fc", Side.OVERALL),
    ("P-PUNC covers at least as much as RAND at its base share", "p-punc", "rand", Side.OVERALL),
    ("RAND covers more than P", "rand", "p", Side.OVERALL),
    ("P-PUNC covers more meanings than RAND at its base share", "p-punc", "rand", Side.SEMANTIC),
    ("P-PUNC covers more than nudging", "p-punc", "nudge", Side.OVERALL),
    ("nudging covers more than aligned", "nudge", "aligned", Side.OVERALL),
    ("aligned covers more than base", "aligned", "base", Side.OVERALL),
)
