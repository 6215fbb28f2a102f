"""From the answers of a run to numbers: every metric for every prompt at every point, in both views of length.

Reads a run's folder and asks the metrics room; what models say comes in through annotators. Draws nothing.

Letters: M methods, K points of each, P prompts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from baco_local.batch.items import digest
from baco_local.batch.ledger import Ledger
from baco_local.errors import UsageError
from baco_local.evals.coverage import Grid
from baco_local.evals.run_folder import KIND, Line, manifest_of, read_point
from baco_local.metrics.annotators import Annotate, Map, completed
from baco_local.metrics.base import AnswerSet, Group
from baco_local.metrics.constraints import Constraints, asked, read_constraints, share_met
from baco_local.metrics.definitions import DIVERSITY, METRICS, measure
from baco_local.metrics.survey import View
from baco_local.metrics.texts import cut_alike, words

__all__ = ["Answers", "Scored", "grids", "read_answers", "score"]

VERSION = 1  # raised when a metric changes its meaning, so that kept scores are not used
QUALITY = ("constraints", "judge_bits", "reward")  # those that can be an axis of a plane
ABOUT_WHOLE = (Group.QUALITY, Group.SHAPE)

Values: TypeAlias = dict[str, dict[str, float | None]]
"""View -> metric -> value of one set of answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The answers of a run to the prompts that every point has answered."""

    folder: Path
    about: Mapping[str, Any]  # what the manifest says
    made_with: Mapping[str, Any]
    methods: tuple[str, ...]
    n_points: int
    questions: tuple[str, ...]  # [P] ids
    prompts: tuple[str, ...]  # [P]
    tasks: tuple[str, ...]  # [P]
    wanted: tuple[Constraints, ...]  # [P] what answers are held to
    lines: Mapping[tuple[str, int], Mapping[str, Line]]  # (method, place) -> id -> line
    n_left_out: int  # prompts that some point has not answered yet
    unfinished: tuple[str, ...]  # methods that were left out, for they have points without any answer

    def at(self, method: str, place: int) -> list[Line]:
        """Return the lines of a point, in the order of the questions."""
        return [self.lines[method, place][question] for question in self.questions]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """All numbers of a run."""

    answers: Answers
    diversity: tuple[str, ...]  # metrics that are axes of planes
    quality: tuple[str, ...]
    values: Mapping[View, Mapping[str, NDArray[np.float64]]]  # metric -> [M, K, P]; the raw view has all metrics
    share_cut: NDArray[np.float64]  # [M, K] answers that lost words in the matched view
    n_filled: Mapping[str, int]  # metric -> values that could not be said and count as the worst that was seen

    def value(self, view: View, metric: str) -> NDArray[np.float64]:  # [M, K, P]
        """Return a metric; quality is always that of uncut answers."""
        own = self.values[view]
        return own[metric] if metric in own else self.values[View.RAW][metric]


def read_answers(folder: Path) -> Answers:
    """Read a run, as far as it has come."""
    manifest = manifest_of(folder)
    if manifest is None:
        raise UsageError(f"{str(folder)!r} holds no run; make one:  baco sweep ... -o {folder}")
    about = manifest.about
    points = {name: len(own["points"]) for name, own in about["methods"].items()}
    lines = {(name, place): read_point(folder, name, place) for name, n in points.items() for place in range(1, n + 1)}
    begun = [name for name, n in points.items() if all(lines[name, place] for place in range(1, n + 1))]
    if not begun:
        raise UsageError(f"no method of {str(folder)!r} has answers at all its points yet; go on with:  baco sweep")
    if len({points[name] for name in begun}) > 1:
        raise UsageError(f"the methods of {str(folder)!r} have different numbers of points, so none can be compared")
    n_points = points[begun[0]]
    common = [
        one
        for one in about["questions"]
        if all(one["id"] in lines[name, place] for name in begun for place in range(1, n_points + 1))
    ]
    if not common:
        raise UsageError(f"no prompt of {str(folder)!r} was answered at all points yet; go on with:  baco sweep")
    return Answers(
        folder=folder,
        about=about,
        made_with=manifest.made_with,
        methods=tuple(begun),
        n_points=n_points,
        questions=tuple(one["id"] for one in common),
        prompts=tuple(one["prompt"] for one in common),
        tasks=tuple(one["task"] for one in common),
        wanted=tuple(
            asked(one["prompt"]) if one.get("constraints") is None else read_constraints(one["constraints"])
            for one in common
        ),
        lines={key: own for key, own in lines.items() if key[0] in begun},
        n_left_out=len(about["questions"]) - len(common),
        unfinished=tuple(name for name in points if name not in begun),
    )


def score(
    answers: Answers,
    *,
    meaning: Sequence[Annotate] = (),
    quality: Sequence[Annotate] = (),
    helpers: Mapping[str, str] | None = None,
    keep: bool = True,
    do_all: Map = map,
    watch: Callable[[int, int], None] = lambda _done, _total: None,
) -> Scored:
    """Measure all answers.

    Args:
        answers: of a run.
        meaning: completes sets for metrics of meaning, in both views.
        quality: completes uncut sets for metrics of quality.
        helpers: what the annotators are, in words: part of the key under which scores are kept.
        keep: write scores into the folder, so that another report need not measure again.
        do_all: how annotators get through many sets.
        watch: called with (sets that are measured, all sets).

    """
    n_methods, n_points, n_prompts = len(answers.methods), answers.n_points, len(answers.questions)
    n_known = len(
        {
            word
            for own in answers.lines.values()
            for line in own.values()
            for said in line.answers
            for word in words(said.text)
        }
    )
    found: dict[View, dict[str, NDArray[np.float64]]] = {view: {} for view in View}
    share_cut = np.zeros((n_methods, n_points, n_prompts))
    total, done = n_methods * n_points * n_prompts, 0
    with ExitStack() as files:
        kept = files.enter_context(_Kept(answers.folder / "scores.jsonl")) if keep else _Kept(None)
        for p, question in enumerate(answers.questions):
            places = [(m, k) for m in range(n_methods) for k in range(n_points)]
            lines = [answers.lines[answers.methods[m], k + 1][question] for m, k in places]
            texts = [[said.text for said in line.answers] for line in lines]
            short, cut = cut_alike(texts)
            wanted = answers.wanted[p]
            about = [answers.prompts[p], n_known, dict(helpers or {}), dataclasses.asdict(wanted)]
            sets = list(map(_Set, lines, texts, short))
            keys = [digest([VERSION, own.texts, own.short, *about]) for own in sets]
            new = {key: own for key, own in zip(keys, sets, strict=True) if key not in kept}
            values_of = partial(_values, wanted=wanted, n_known=n_known, meaning=meaning, quality=quality)
            for key, values in zip(new, do_all(values_of, new.values()), strict=True):
                kept.put(key, values)
                done += 1
                watch(done, total)
            done = (p + 1) * len(places)
            watch(done, total)
            for (m, k), key, share in zip(places, keys, cut, strict=True):
                share_cut[m, k, p] = share
                for view in View:
                    for metric, value in kept[key][view].items():
                        if metric not in found[view]:
                            found[view][metric] = np.full((n_methods, n_points, n_prompts), np.nan)
                        found[view][metric][m, k, p] = np.nan if value is None else value
    n_filled = _fill(found)
    return Scored(
        answers=answers,
        diversity=tuple(
            name for name in found[View.MATCHED] if METRICS[name].in_planes and METRICS[name].group in DIVERSITY
        ),
        quality=tuple(name for name in QUALITY if name in found[View.RAW]),
        values=found,
        share_cut=share_cut.mean(2),
        n_filled=n_filled,
    )


def grids(scored: Scored, view: View = View.MATCHED) -> list[Grid]:
    """Return one grid per task."""
    metrics = (*scored.diversity, *scored.quality)
    values = np.stack([scored.value(view, metric) for metric in metrics], axis=2)  # [M, K, A, P]
    tasks = np.array(scored.answers.tasks)
    return [
        Grid(
            methods=scored.answers.methods,
            metrics=metrics,
            groups=tuple(METRICS[metric].group for metric in metrics),
            values=values[..., tasks == task],
        )
        for task in dict.fromkeys(scored.answers.tasks)
    ]


class _Set(NamedTuple):
    """The answers of one point to one prompt."""

    line: Line
    texts: Sequence[str]
    short: Sequence[str]  # the same, cut to comparable lengths


def _values(
    own: _Set, *, wanted: Constraints, n_known: int, meaning: Sequence[Annotate], quality: Sequence[Annotate]
) -> Values:
    """Return every metric of one set of answers, by view."""
    line, texts, short = own
    ended = tuple(said.ended for said in line.answers)
    whole = AnswerSet(texts=tuple(texts), prompt=line.prompt, n_words_known=n_known, ended=ended)
    raw = completed(whole, meaning)
    met = tuple(share_met(wanted, text, ended=end) for text, end in zip(texts, ended, strict=True))
    held = completed(dataclasses.replace(raw, constraints_met=met), quality)
    cut = completed(dataclasses.replace(whole, texts=tuple(short)), meaning)
    if not any(text.strip() for text in texts):  # some metrics call nothing at all diverse
        nothing = dict.fromkeys(measure(cut, DIVERSITY))
        return {View.MATCHED: nothing, View.RAW: nothing | measure(held, ABOUT_WHOLE)}
    return {
        View.MATCHED: measure(cut, DIVERSITY),
        View.RAW: measure(raw, DIVERSITY) | measure(held, ABOUT_WHOLE),
    }


def _fill(found: dict[View, dict[str, NDArray[np.float64]]]) -> dict[str, int]:
    """Drop metrics that nothing could be said in, and let what is missing elsewhere count as the worst."""
    n_filled: dict[str, int] = {}
    for own in found.values():
        for metric in [name for name, values in own.items() if np.isnan(values).all()]:
            del own[metric]
        for metric, values in own.items():
            missing = np.isnan(values)
            if missing.any():
                values[missing] = 0.0 if METRICS[metric].group in DIVERSITY else np.nanmin(values)
                n_filled[metric] = max(n_filled.get(metric, 0), int(missing.sum()))
    return n_filled


class _Kept:
    """Scores by what they were measured of, also those of earlier reports."""

    def __init__(self, path: Path | None) -> None:
        self._ledger = None if path is None else Ledger(path, KIND)
        self._known: dict[str, Values] = {}
        if self._ledger is not None:
            self._known = {str(record["id"]): record["scores"] for _, record in self._ledger.records()}

    def __contains__(self, key: str) -> bool:
        """Return whether this was measured."""
        return key in self._known

    def __getitem__(self, key: str) -> Values:
        """Return scores."""
        return self._known[key]

    def put(self, key: str, values: Values) -> None:
        """Keep scores."""
        self._known[key] = values
        if self._ledger is not None:
            self._ledger.append({"id": key, "scores": values})

    def __enter__(self) -> _Kept:
        """Return the scores, to be let go at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the file."""
        if self._ledger is not None:
            self._ledger.close()
