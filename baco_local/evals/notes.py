"""What must be said beside the numbers of a run, so that nobody reads more into them than there is.

Takes findings and returns sentences; computes nothing new.
"""

from __future__ import annotations

from collections.abc import Iterator

from baco_local.evals.coverage import Side
from baco_local.evals.findings import Findings
from baco_local.evals.methods import DEFAULT
from baco_local.metrics.definitions import METRICS
from baco_local.metrics.survey import View

__all__ = ["notes"]

BUNDLED = "tales"  # a demonstration pair


def notes(findings: Findings) -> tuple[tuple[str, str], ...]:
    """Return (title, words) of every note."""
    return tuple(_notes(findings))


def _notes(findings: Findings) -> Iterator[tuple[str, str]]:
    answers = findings.answers
    made = answers.made_with
    if answers.about.get("pair") == BUNDLED:
        yield (
            "The pair",
            (
                "tales is a demonstration pair of two very small models that know little stories only. These "
                "numbers say how the methods compare on it, and nothing about larger models."
            ),
        )
    yield (
        "What Coverage and Dominance are",
        "Every metric is averaged over the prompts and scaled to 0 .. 1 over all points of all methods. "
        "Coverage is the staircase area of a method's points, seen from the origin; Dominance is its "
        f"share of the pooled front. Both are averaged over {len(findings.diversity)} x "
        f"{len(findings.quality)} planes. The definition is ours: that of arXiv 2511.05650 is not known "
        "to us, and its figures cannot be set beside these. Another method in the pool changes "
        "everybody's numbers; these methods were in it: " + ", ".join(answers.methods) + ".",
    )
    axes = "; ".join(f"{METRICS[name].title}: {METRICS[name].definition.rstrip('.')}" for name in findings.quality)
    yield "What quality is here", f"{axes}.{_judged(findings)}"
    lengths: dict[str, list[float]] = {name: [] for name in answers.methods}
    for point in findings.points[View.RAW]:
        lengths[point.method].append(point.numbers["mean_words"].value)
    means = {name: sum(own) / len(own) for name, own in lengths.items()}
    short, long = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    cut = [point.share_cut for point in findings.points[View.MATCHED]]
    yield (
        "Length",
        (
            f"Answers of {short} have {means[short]:.0f} words in the mean, those of {long} "
            f"{means[long]:.0f}; every metric of variety depends on length. Therefore the headline numbers "
            "are of answers cut, prompt by prompt, at the lower quartile of all word counts (20 at least): "
            f"that takes words from {100 * min(cut):.0f} % to {100 * max(cut):.0f} % of a point's answers. "
            "Quality is always that of uncut answers."
        ),
    )
    yield from _control(findings)
    yield (
        "Intervals",
        (
            f"95 %, from {findings.n_resamples} bootstrap resamples of the {len(answers.questions)} prompts (seed "
            f"{findings.seed}), paired over the methods. They say how much the choice of prompts matters, with "
            f"{made.get('samples')} answers to each; another seed of the texts would add to them."
        ),
    )
    if any(answers.about["methods"][name]["family"] in {"truncation", "temperature"} for name in answers.methods):
        yield (
            "Order of sampling",
            "Truncation comes before temperature, as in llama.cpp. Papers that temper first get other numbers.",
        )
    yield "Whose meanings", "; ".join(f"{what}: {words}" for what, words in findings.helpers.items()) or NO_MEANING
    yield from _lacks(findings)


def _judged(findings: Findings) -> str:
    if "judge_bits" not in findings.quality:
        return " No judge and no reward model was asked: whether a text is good beyond that is not measured."
    return " A text that a judge finds likely may be merely bland, and is rewarded all the same: read both axes."


def _control(findings: Findings) -> Iterator[tuple[str, str]]:
    board = findings.boards[View.MATCHED]
    matched = findings.answers.about.get("matched", {}).get("rand")
    if "rand" not in board.methods or matched is None:
        yield (
            "No control",
            (
                "RAND, a coin with the base share of the router under test, is not in this run. Without it "
                "nobody can tell whether a rule is better than chance; add: --methods p-punc,rand,..."
            ),
        )
        return
    if DEFAULT not in board.methods:
        return
    misses = [abs(one["target"] - one["reached"]) for one in matched.values()]
    shares = ", ".join(
        f"{100 * board.share_above(DEFAULT, 'rand', side):.0f} % ({side})" for side in Side if side in board.above
    )
    yield (
        "The control",
        (
            "RAND lets a coin choose the speaker, with the base share that P-PUNC has at the same point, "
            f"matched on other prompts to within {max(misses):.3f}. P-PUNC covers more than RAND in {shares} "
            "of the resamples. What RAND reaches is due to two models taking turns; only what lies above it "
            "is due to the rule."
        ),
    )


def _lacks(findings: Findings) -> Iterator[tuple[str, str]]:
    answers = findings.answers
    lacks = []
    if answers.n_left_out:
        lacks.append(f"{answers.n_left_out} prompts are left out: some point has not answered them yet.")
    if answers.unfinished:
        lacks.append(f"Methods without answers at every point are left out: {', '.join(answers.unfinished)}.")
    n_failed = sum(line.n_failed for own in answers.lines.values() for line in own.values())
    if n_failed:
        lacks.append(f"{n_failed} answers could not be written and count as empty.")
    for n in dict.fromkeys(findings.n_filled.values()):
        unsaid = ", ".join(METRICS[metric].title for metric, own in findings.n_filled.items() if own == n)
        lacks.append(f"Of {n} sets of answers these could not be said, and count as the worst: {unsaid}.")
    for metric in (*findings.diversity, *findings.quality):
        values = {point.numbers[metric].value for point in findings.points[View.MATCHED]}
        if len(values) == 1:
            lacks.append(f"{METRICS[metric].title} is the same at every point, so its planes have no area for anybody.")
    if lacks:
        yield "What is missing", " ".join(lacks)


NO_MEANING = (
    "no model of meanings was asked, so the semantic side rests on a test of shared words alone (--embed MODEL.gguf)."
)
