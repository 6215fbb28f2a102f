"""The trade-off plane as a still picture, PNG or SVG, for papers and repositories.

Draws findings with matplotlib (extra ``analysis``); computes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baco_local.errors import UsageError
from baco_local.evals.findings import INDICES, Findings
from baco_local.evals.report import look
from baco_local.evals.tables import REFERENCES
from baco_local.metrics.definitions import METRICS
from baco_local.metrics.survey import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_coverage", "draw_plane"]

MARKS = {"circle": "o", "square": "s", "up": "^", "diamond": "D", "down": "v", "cross": "P"}
NO_MATPLOTLIB = "pictures need matplotlib\n    install it:  pip install 'baco-local[analysis]'"
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9aa3ab",
    "axes.labelcolor": "#1d2125",
    "xtick.color": "#5c6670",
    "ytick.color": "#5c6670",
    "axes.grid": True,
    "grid.color": "#e9edf0",
    "svg.fonttype": "none",
    "svg.hashsalt": "baco",
}


def draw_plane(findings: Findings, paths: Sequence[Path], *, methods: Sequence[str] | None = None) -> None:
    """Draw variety of words and of meanings against quality, with intervals, into each of the files."""
    pyplot = _pyplot()
    names = methods or _shown(findings)
    across = [name for name in ("lexical", "semantic") if name in findings.indices]
    with pyplot.rc_context(STYLE):
        figure, frames = pyplot.subplots(1, len(across), figsize=(4.6 * len(across) + 0.4, 4.4), squeeze=False)
        for frame, name in zip(frames[0], across, strict=True):
            _plane(findings, frame, name, "quality", names)
        frames[0][-1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
        _save(figure, paths)
        pyplot.close(figure)


def draw_coverage(findings: Findings, paths: Sequence[Path]) -> None:
    """Draw overall Coverage of every method with its interval, the largest on top."""
    pyplot = _pyplot()
    board = findings.boards[View.MATCHED]
    side = list(board.coverage)[-1]  # overall
    order = sorted(range(len(board.methods)), key=lambda m: board.coverage[side][m].value)
    looks = look(findings)
    with pyplot.rc_context(STYLE):
        figure, frame = pyplot.subplots(figsize=(5.6, 0.26 * len(order) + 1.0))
        for height, m in enumerate(order):
            number, color = board.coverage[side][m], looks[board.methods[m]][0]
            frame.plot([number.low, number.high], [height, height], color=color, linewidth=1.6, alpha=0.55)
            frame.plot([number.value], [height], "o", color=color, markersize=4.5)
        frame.set_yticks(range(len(order)), [board.methods[m] for m in order])
        frame.set_xlabel(f"Coverage, {side}, with 95 % interval")
        frame.set_xlim(left=0)
        _save(figure, paths)
        pyplot.close(figure)


def _plane(findings: Findings, frame: Axes, x: str, y: str, names: Sequence[str]) -> None:
    looks = look(findings)
    for method in names:
        points = [point for point in findings.points[View.MATCHED] if point.method == method]
        color, _, shape = looks[method]
        across, up = ([point.numbers[name] for point in points] for name in (x, y))
        spread = [[[one.value - one.low for one in own], [one.high - one.value for one in own]] for own in (up, across)]
        dashed = findings.answers.about["methods"][method]["family"] == "control"
        places = [one.value for one in across], [one.value for one in up]
        frame.errorbar(*places, yerr=spread[0], xerr=spread[1], fmt="none", ecolor=color, elinewidth=0.7, alpha=0.3)
        frame.plot(
            *places,
            marker=MARKS[shape],
            color=color,
            linestyle="--" if dashed else "-",
            linewidth=1.3,
            markersize=4,
            label=method,
        )
    frame.set_xlabel(_title(x))
    frame.set_ylabel(_title(y))


def _shown(findings: Findings) -> list[str]:
    """Return the methods that a picture has room for: the references, and the best of each family."""
    methods = findings.answers.methods
    return [method for method in methods if method in REFERENCES or method in findings.best.methods]


def _title(name: str) -> str:
    return INDICES[name][0] if name in INDICES else METRICS[name].title


def _save(figure: Any, paths: Sequence[Path]) -> None:
    for path in paths:
        try:
            figure.savefig(
                path, dpi=170, bbox_inches="tight", metadata={"Date": None} if path.suffix == ".svg" else None
            )
        except OSError as error:
            raise UsageError(f"{str(path)!r} cannot be written: {error.strerror}") from error


def _pyplot() -> Any:
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise UsageError(NO_MATPLOTLIB) from error
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt
