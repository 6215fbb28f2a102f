from __future__ import annotations

import dataclasses
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from baco_local.errors import UsageError
from baco_local.evals.coverage import Side
from baco_local.evals.findings import find
from baco_local.evals.markdown import document
from baco_local.evals.notes import notes
from baco_local.evals.run_folder import answers_path
from baco_local.evals.scoring import grids, read_answers, score
from baco_local.evals.tables import points_table, tables
from baco_local.metrics.annotators import classified
from baco_local.metrics.base import AnswerSet
from baco_local.metrics.semantic import unigram_same
from baco_local.metrics.survey import View
from baco_local.metrics.texts import cut_alike

MEANING = [classified(unigram_same)]


def calm(answers: AnswerSet) -> AnswerSet:
    """Find every answer as likely as its number of words, as a judge would."""
    return dataclasses.replace(answers, bits_per_byte=tuple(float(len(text.split())) for text in answers.texts))


def test_every_metric_of_every_prompt_is_there(run: Path) -> None:
    """Scores are arrays of methods, points and prompts, without a gap, on as many planes as metrics allow."""
    scored = score(read_answers(run), meaning=MEANING, quality=[calm])
    assert scored.quality == ("constraints", "judge_bits")
    assert {"distinct_2", "self_bleu_diversity", "distinct_k"} <= set(scored.diversity)
    (animals, other) = grids(scored)
    assert animals.values.shape == other.values.shape == (5, 2, len(scored.diversity) + 2, 1)


def test_sets_may_be_measured_at_the_same_time(run: Path) -> None:
    """Threads that are at work together find what one finds, number for number; what fails in one is raised."""
    at_work: set[int] = set()
    met = threading.Event()

    def meeting(answers: AnswerSet) -> AnswerSet:
        at_work.add(threading.get_ident())
        if len(at_work) > 1:
            met.set()
        assert met.wait(10)
        return calm(answers)

    def failing(_answers: AnswerSet) -> AnswerSet:
        raise ZeroDivisionError

    alone = score(read_answers(run), meaning=MEANING, quality=[calm], keep=False)
    with ThreadPoolExecutor(2) as pool:
        together = score(read_answers(run), meaning=MEANING, quality=[meeting], keep=False, do_all=pool.map)
        with pytest.raises(ZeroDivisionError):
            score(read_answers(run), meaning=[failing], keep=False, do_all=pool.map)
    for view in View:
        assert together.values[view].keys() == alone.values[view].keys()
        for metric, values in alone.values[view].items():
            np.testing.assert_array_equal(together.values[view][metric], values)


def test_metrics_see_answers_of_like_lengths(run: Path) -> None:
    """In the matched view all methods' answers to a prompt are cut together; quality is that of whole answers."""
    seen: list[AnswerSet] = []

    def watch(answers: AnswerSet) -> AnswerSet:
        seen.append(answers)
        return answers

    answers = read_answers(run)
    score(answers, meaning=[watch], keep=False)
    for question in answers.questions:
        texts = [
            [said.text for said in answers.lines[method, place][question].answers]
            for method in answers.methods
            for place in (1, 2)
        ]
        short, _ = cut_alike(texts)
        prompt = answers.prompts[answers.questions.index(question)]
        measured = [list(one.texts) for one in seen if one.prompt == prompt]
        pairs = [[whole, cut] for whole, cut in zip(texts, short, strict=True)]
        assert [measured[i : i + 2] for i in range(0, len(measured), 2)] == [
            pair
            for i, pair in enumerate(pairs)
            if pair not in pairs[:i]  # what is equal is measured once
        ]


def test_scores_are_kept(run: Path) -> None:
    """A second look measures nothing again, unless other models help."""
    answers = read_answers(run)
    first = score(answers, meaning=MEANING)

    def never(_answers: AnswerSet) -> AnswerSet:
        raise AssertionError

    again = score(answers, meaning=[never])
    np.testing.assert_array_equal(first.value(View.MATCHED, "ead"), again.value(View.MATCHED, "ead"))
    with pytest.raises(AssertionError):
        score(answers, meaning=[never], helpers={"embed": "another"})


def test_nothing_is_not_diverse(run: Path) -> None:
    """A set of empty answers has the worst of every metric, and the report counts it."""
    path = answers_path(run, "base", 1)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        record["answers"] = [said | {"text": "", "voices": []} for said in record["answers"]]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    scored = score(read_answers(run), meaning=MEANING)
    base = scored.answers.methods.index("base")
    assert all(scored.value(view, metric)[base, 0].max() == 0 for view in View for metric in scored.diversity)
    assert scored.n_filled["distinct_1"] == 2
    assert "What is missing" in dict(notes(find(scored, n_resamples=100)))


def test_an_unfinished_run_is_reported_as_far_as_it_is(run: Path) -> None:
    """Prompts and methods that are not answered everywhere are left out and named."""
    path = answers_path(run, "aligned", 2)
    path.write_text(path.read_text().splitlines(keepends=True)[0] + '{"id": "se')
    answers_path(run, "mix-logit", 1).unlink()
    answers = read_answers(run)
    assert len(answers.questions) == 1
    assert answers.n_left_out == 1
    assert answers.unfinished == ("mix-logit",)
    with pytest.raises(UsageError, match="baco sweep"):
        read_answers(run / "answers")


def test_findings_add_up(run: Path) -> None:
    """Dominance is shared out, intervals hold their values, and every point knows its share and its cost."""
    findings = find(score(read_answers(run), meaning=MEANING, quality=[calm]), n_resamples=200)
    assert findings.routers is not None
    assert findings.routers.methods == ("p-punc", "rand")
    for board in (*findings.boards.values(), findings.best, findings.routers, findings.by_largest):
        for side in Side:
            assert sum(number.value for number in board.dominance[side]) == pytest.approx(1)
            assert all(number.low <= number.high for number in board.coverage[side])
            np.testing.assert_allclose(board.above[side] + board.above[side].T, 1)
    points = findings.points[View.MATCHED]
    assert len(points) == 10
    assert {point.base_share for point in points if point.method == "base"} == {1}
    assert {point.read_base for point in points if point.method == "aligned"} == {0}
    assert len(findings.best.methods) == 4  # base and aligned are one family
    shares = [point.setting for point in points if point.method == "rand"]
    assert shares == [one["value"] for one in findings.answers.about["matched"]["rand"].values()]


def test_routers_alone_have_one_board(run: Path) -> None:
    """Where nobody else is in the run, routers are not set against themselves a second time."""
    for name in ("base", "aligned", "mix-logit"):
        answers_path(run, name, 1).unlink()
    findings = find(score(read_answers(run), meaning=MEANING), n_resamples=100)
    assert findings.boards[View.MATCHED].methods == ("p-punc", "rand")
    assert findings.routers is None


def test_tables_say_what_was_found(run: Path) -> None:
    """Each table has a cell per column, Markdown holds them all, and all points are there to compute with."""
    findings = find(score(read_answers(run), meaning=MEANING), n_resamples=100)
    found = {table.key: table for table in tables(findings)}
    assert {"standings", "families", "above", "above-semantic", "targets", "character", "cost"} <= found.keys()
    assert all(len(row) == len(table.columns) for table in found.values() for row in table.rows)
    claims = [row[0].text for row in found["targets"].rows]
    assert "P-PUNC covers more meanings than RAND at its base share" in claims
    assert {row[-1].text for row in found["targets"].rows} <= {"holds", "fails", "open"}
    among = [row[0].text for row in found["targets-routers"].rows]
    assert among == [claim for claim in claims if "RAND at its base share" in claim]
    text = document("a run", list(found.values()), notes(findings))
    assert text.count("\n| p-punc |") == len(found) - 2
    assert "**The control.**" in text
    points = points_table(findings)
    assert len(points.rows) == 10
    assert "distinct_2_low" in points.columns


def test_a_metric_that_tells_nothing_is_named(run: Path) -> None:
    """Where quality is the same everywhere, nobody covers anything, and the notes say why."""

    def flat(answers: AnswerSet) -> AnswerSet:
        return dataclasses.replace(answers, bits_per_byte=(1.0,) * len(answers))

    findings = find(score(read_answers(run), quality=[flat]), n_resamples=100)
    assert "bits per byte is the same at every point" in dict(notes(findings))["What is missing"]


def test_a_run_without_control_says_so(run: Path) -> None:
    """Where no coin was tossed, the notes say what is therefore not known."""
    for place in (1, 2):
        answers_path(run, "rand", place).unlink()
    found = dict(notes(find(score(read_answers(run)), n_resamples=100)))
    assert "No control" in found
    assert "No judge" in found["What quality is here"]
