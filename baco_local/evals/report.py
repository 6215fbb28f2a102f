"""A run as one self-contained page: no network, no other file, works from a disk; light and dark.

Puts findings, tables and notes into the page's own HTML, CSS and JavaScript; computes nothing.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np

from baco_local.evals.findings import INDICES, Findings, Number, Point
from baco_local.evals.methods import FAMILIES
from baco_local.evals.notes import notes
from baco_local.evals.run_folder import Said
from baco_local.evals.tables import REFERENCES, Cell, Table, tables
from baco_local.metrics.definitions import METRICS
from baco_local.metrics.survey import View

__all__ = ["COLORS", "SHAPES", "look", "page"]

FEW = 9  # methods that are all shown at first
N_ANSWERS = 3  # to each prompt that a point shows


def page(findings: Findings, *, n_texts: int = 12) -> str:
    """Return the page.

    Args:
        findings: of a run.
        n_texts: texts that each point carries, at most.

    """
    answers = findings.answers
    name = str(answers.about.get("name", answers.folder.name))
    found = tables(findings)
    parts = {
        "title": html.escape(f"{name}: diversity and quality of {answers.about.get('pair', 'a pair')}"),
        "lead": html.escape(_lead(findings)),
        "css": _asset("page.css"),
        "js": _asset("page.js"),
        "tables": "\n".join(_section(table) for table in found),
        "notes": _definitions(dict(notes(findings))),
        "methods": _definitions({method: _about(findings, method) for method in answers.methods}),
        "metrics": _definitions(
            {
                METRICS[name].title: f"{METRICS[name].definition} ({METRICS[name].source})"
                for name in (*findings.diversity, *findings.quality)
            }
        ),
        "made": html.escape(json.dumps(_made(findings), indent=2, ensure_ascii=False)),
        "data": _embedded(_data(findings, n_texts)),
    }
    return Template(_asset("page.html")).substitute(parts)


def look(findings: Findings) -> dict[str, tuple[str, str, str]]:
    """Return (hue on light ground, hue on dark ground, shape of the marks) for every method."""
    seen: dict[str, int] = {}
    found = {}
    for method in findings.answers.methods:
        family = findings.answers.about["methods"][method]["family"]
        number = seen.get(family, 0)
        seen[family] = number + 1
        hues = COLORS[family]
        found[method] = (*hues[number % len(hues)], SHAPES[number % len(SHAPES)])
    return found


def _lead(findings: Findings) -> str:
    answers = findings.answers
    n_samples = answers.made_with.get("samples")
    n_answers = sum(point.n_answers for point in findings.points[View.RAW])
    return (
        f"{len(answers.methods)} methods at {answers.n_points} settings each, on {len(answers.questions)} prompts with "
        f"{n_samples} answers: {n_answers:,} texts. Made by baco sweep and baco report."
    )


def _about(findings: Findings, method: str) -> str:
    own = findings.answers.about["methods"][method]
    settings = ", ".join(f"{point.setting:g}" for point in findings.points[View.RAW] if point.method == method)
    return f"{own['does']} Settings ({own['turned']}): {settings}. Source: {own['source']}."


def _made(findings: Findings) -> dict[str, Any]:
    """Return what an outsider needs to repeat the run."""
    about = findings.answers.about
    kept = {name: about[name] for name in ("pair", "parallel", "versions", "hardware", "matched") if name in about}
    measured = {"resamples": findings.n_resamples, "seed": findings.seed, "helpers": dict(findings.helpers)}
    return {"made_with": dict(findings.answers.made_with), **kept, "measured": measured}


def _data(findings: Findings, n_texts: int) -> dict[str, Any]:
    """Return what the script draws."""
    answers = findings.answers
    first = _shown(findings)
    looks = look(findings)
    axes = {
        name: {"title": title, "group": group.value, "digits": 3}
        for name, (title, group) in INDICES.items()
        if name in findings.indices
    }
    for name in (*findings.diversity, *findings.quality):
        metric = METRICS[name]
        axes[name] = {"title": metric.title, "group": metric.group.value, "digits": metric.digits}
    methods = []
    for method in answers.methods:
        own = answers.about["methods"][method]
        light, dark, shape = looks[method]
        methods.append(
            {
                "name": method,
                "family": own["family"],
                "does": own["does"],
                "turned": own["turned"],
                "light": light,
                "dark": dark,
                "shape": shape,
                "dashed": own["family"] == "control",
                "shown": method in first,
            }
        )
    return {
        "methods": methods,
        "families": list(FAMILIES.items()),
        "axes": axes,
        "first": [next(name for name in axes if axes[name]["group"] != "quality"), "quality"],
        "points": {view.value: [_point(point, list(axes)) for point in findings.points[view]] for view in View},
        "prompts": list(answers.prompts),
        "texts": _texts(findings, n_texts),
    }


def _shown(findings: Findings) -> set[str]:
    """Return the methods that are drawn at first."""
    methods = findings.answers.methods
    if len(methods) <= FEW:
        return set(methods)
    return {method for method in methods if method in REFERENCES or method in findings.best.methods}


def _point(point: Point, axes: list[str]) -> dict[str, Any]:
    return {
        "method": point.method,
        "place": point.place,
        "setting": round(point.setting, 3),
        "numbers": {name: _rounded(point.numbers[name]) for name in axes},
        "base_share": round(point.base_share, 4),
        "words": round(point.numbers["mean_words"].value, 1),
        "generated": round(point.generated, 1),
        "seconds": round(point.seconds, 4),
    }


def _rounded(number: Number) -> list[float]:
    return [float(f"{value:.5g}") for value in (number.value, number.low, number.high)]


def _texts(findings: Findings, n_texts: int) -> dict[str, list[Any]]:
    """Return some answers of every point, to the same prompts everywhere: (prompt, (finish, stretch, stretch ...))."""
    answers = findings.answers
    n_prompts = max(1, min(len(answers.questions), n_texts // N_ANSWERS))
    places = np.unique(np.linspace(0, len(answers.questions) - 1, n_prompts).round().astype(int))
    found: dict[str, list[Any]] = {}
    for method in answers.methods:
        for place in range(1, answers.n_points + 1):
            lines = answers.at(method, place)
            found[f"{method}.{place}"] = [
                [int(p), [_said(said) for said in lines[p].answers[: max(1, n_texts // n_prompts)]]] for p in places
            ]
    return found


def _said(said: Said) -> list[str]:
    return [said.finish, *(f"{role[0]}{text}" for role, text in said.voices)]


def _section(table: Table) -> str:
    heads = "".join(
        f'<th scope="col"{_words(table, i)}><button type="button">{html.escape(name)}</button></th>'
        for i, name in enumerate(table.columns)
    )
    rows = "\n".join(
        "<tr>" + "".join(_cell(table, i, cell) for i, cell in enumerate(row)) + "</tr>" for row in table.rows
    )
    note = f'<p class="note">{html.escape(table.note)}</p>' if table.note else ""
    shaded = ' class="shaded"' if table.shaded else ""
    return (
        f'<section id="{table.key}"><h2>{html.escape(table.title)}</h2>{note}<div class="scroll"><table{shaded}>'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div></section>"
    )


def _cell(table: Table, place: int, cell: Cell) -> str:
    value = "" if cell.value is None else f' data-value="{cell.value:.6g}"'
    style = ""
    if table.shaded and cell.value is not None:
        style = f' style="background: rgba(var(--shade), {0.55 * max(0.0, cell.value - 0.5) * 2:.2f})"'
    return f"<td{_words(table, place)}{value}{style}>{html.escape(cell.text)}</td>"


def _words(table: Table, place: int) -> str:
    """Tell the style sheet that a second column holds words."""
    return ' class="words"' if place == 1 and table.columns[1] in {"family"} else ""


def _definitions(entries: Mapping[str, str]) -> str:
    items = "\n".join(f"<dt>{html.escape(term)}</dt><dd>{html.escape(words)}</dd>" for term, words in entries.items())
    return f"<dl>\n{items}\n</dl>"


def _embedded(data: object) -> str:
    """Return JSON that can stand inside a script element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _asset(name: str) -> str:
    return files("baco_local.evals").joinpath("page", name).read_text(encoding="utf-8")


SHAPES = ("circle", "square", "up", "diamond", "down", "cross")

COLORS: dict[str, tuple[tuple[str, str], ...]] = {  # (on light ground, on dark ground)
    "switch": (("#a3117f", "#f48fd6"), ("#c9559f", "#e06bb8"), ("#7a3fb0", "#c39bf0"), ("#b5476b", "#f59bb5")),
    "control": (("#30363c", "#d5dbe1"),),
    "mix": (("#0d7f77", "#4fd1c5"), ("#3f9d6c", "#7ed9a5"), ("#5a7d2b", "#b3d673")),
    "idea": (("#c2570c", "#ffa45c"), ("#a8741a", "#e8bd5b"), ("#d0433c", "#ff8a80"), ("#8a5a2b", "#d9a877")),
    "nudging": (("#6b7a10", "#cbd94a"),),
    "temperature": (("#0b63a5", "#6cb6f2"), ("#7b8794", "#9aa6b2")),
    "truncation": (("#3a56c5", "#94a8ff"), ("#1793b8", "#63cdea"), ("#6a5acd", "#b3a8ff")),
    "prompting": (("#8b5e3c", "#d8a884"), ("#9a7d0a", "#e3c94f"), ("#6d6875", "#b8b0c2"), ("#a05252", "#e39a9a")),
}
