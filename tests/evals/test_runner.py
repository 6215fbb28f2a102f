from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from baco_local.batch.items import Shard
from baco_local.errors import OutputError, UsageError
from baco_local.evals.methods import METHODS
from baco_local.evals.plan import Plan
from baco_local.evals.run_folder import answers_path, manifest_of, read_point
from baco_local.evals.runner import Progress, Run, carry_out, dealt
from baco_local.metrics.answer_files import parse_answers
from baco_local.pair import Pair
from baco_local.testing import scripted_pair

Study = Callable[..., Plan]


def swept(
    plan: Plan, folder: Path, pair: Pair | None = None, *, about: dict[str, Any] | None = None, **more: Any
) -> Run:
    """Carry out a plan with a pair that follows a script."""
    return carry_out(
        plan,
        pair or scripted_pair(n_parallel=4, n_ctx=2048),
        folder,
        made_with={"models": {}},
        about=about or {},
        **more,
    )


def files(folder: Path) -> dict[str, list[str]]:
    """Return the lines of every point, sorted, without what the clock decides."""
    found = {}
    for path in sorted((folder / "answers").iterdir()):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        for record in records:
            del record["cost"]
        found[path.name] = sorted(json.dumps(record) for record in records)
    return found


def test_every_method_writes_every_point(study: Study, tmp_path: Path) -> None:
    """All methods at all points leave a line per prompt with as many answers as were wanted."""
    plan = study("all", points=1)
    run = swept(plan, tmp_path / "run")
    assert {method.name for method in plan.methods} == set(METHODS)
    assert run.complete
    assert run.n_done == len(METHODS) * 2 * 3
    for method in plan.methods:
        lines = read_point(tmp_path / "run", method.name, 1)
        assert {name: len(line.answers) for name, line in lines.items()} == {"fox": 3, "sea": 3}


def test_a_line_says_who_wrote_what_and_what_it_cost(study: Study, tmp_path: Path) -> None:
    """The voices of an answer join to its text, and a prompt that was answered has cost tokens and passes."""
    swept(study("p-punc", "base", "aligned", samples=4), tmp_path / "run")
    for method in ("p-punc", "base", "aligned"):
        for line in read_point(tmp_path / "run", method, 2).values():
            assert all("".join(text for _, text in said.voices) == said.text for said in line.answers)
            speakers = {role for said in line.answers for role, _ in said.voices}
            assert speakers <= ({"base", "aligned"} if method == "p-punc" else {method})
            assert line.cost.generated == line.n_tokens > 0
            assert line.n_base == (0 if method == "aligned" else line.n_tokens if method == "base" else line.n_base)
            assert (line.cost.read_base > 0, line.cost.read_aligned > 0) == (method != "aligned", method != "base")


def test_a_point_is_a_file_that_measure_reads(study: Study, tmp_path: Path) -> None:
    """What a sweep writes is what baco measure reads, prompt by prompt."""
    swept(study("p-punc"), tmp_path / "run")
    path = answers_path(tmp_path / "run", "p-punc", 1)
    read = parse_answers(path.read_text().splitlines(), path.name)
    assert sorted(each.prompt for each in read.prompts) == ["a red fox", "the old sea"]
    assert read.n_answers == 6


@pytest.mark.parametrize("n_lines", [1, 3, 5])
def test_a_stopped_run_goes_on_to_the_same_texts(study: Study, tmp_path: Path, n_lines: int) -> None:
    """Stopped after some prompts and started again, with half a line at the end, a run ends as if undisturbed."""
    plan = study("p-punc", "rand", "aligned", "in-context", "soft-unsure")
    swept(plan, tmp_path / "whole")
    part = tmp_path / "part"
    stopped = swept(plan, part, stopped=lambda: part.exists() and sum(map(len, files(part).values())) >= n_lines)
    assert not stopped.complete
    last = max((part / "answers").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    with last.open("a") as file:
        file.write('{"id": "fox", "pro')
    again = swept(plan, part)
    assert again.complete
    assert files(part) == files(tmp_path / "whole")


def test_another_method_may_join_later(study: Study, tmp_path: Path) -> None:
    """A folder takes more methods, and what was there is not written again."""
    swept(study("p-punc"), tmp_path / "run")
    before = answers_path(tmp_path / "run", "p-punc", 1).read_bytes()
    run = swept(study("p-punc", "mix-logit"), tmp_path / "run")
    assert run.complete
    assert answers_path(tmp_path / "run", "p-punc", 1).read_bytes() == before
    manifest = manifest_of(tmp_path / "run")
    assert manifest is not None
    assert set(manifest.about["methods"]) == {"p-punc", "mix-logit"}
    assert len(manifest.runs) == 2


def test_a_manifest_keeps_what_made_it(study: Study, tmp_path: Path) -> None:
    """A run that goes on elsewhere, in a folder of another name, is told by its own entry and nowhere else."""
    swept(study("p-punc"), tmp_path / "first", about={"machine": "one", "parallel": 4})
    (tmp_path / "first").rename(tmp_path / "second")
    swept(study("p-punc"), tmp_path / "second", about={"machine": "another", "parallel": 4})
    manifest = manifest_of(tmp_path / "second")
    assert manifest is not None
    assert (manifest.about["name"], manifest.about["machine"]) == ("first", "one")
    assert [entry.get("machine") for entry in manifest.runs] == [None, "another"]
    assert not any("parallel" in entry for entry in manifest.runs)


@pytest.mark.parametrize("change", [{"seed": 1}, {"samples": 4}, {"max_tokens": 9}, {"settings": {"temperature": 0.5}}])
def test_other_settings_are_refused(study: Study, tmp_path: Path, change: dict[str, Any]) -> None:
    """A folder that was made with other settings is left alone, and the message sets both side by side."""
    swept(study("p-punc"), tmp_path / "run")
    with pytest.raises(UsageError, match=next(iter(change))):
        swept(study("p-punc", **change), tmp_path / "run")


def test_other_points_are_refused(study: Study, tmp_path: Path) -> None:
    """The points of a method cannot change within a folder, for their files are numbered."""
    swept(study("p-punc"), tmp_path / "run")
    with pytest.raises(UsageError, match="points"):
        swept(study("p-punc", points=3), tmp_path / "run")


def test_the_coin_has_the_share_of_what_it_controls(study: Study, tmp_path: Path) -> None:
    """RAND is turned until its base share on held-out prompts is that of P-PUNC, which the manifest says."""
    swept(study("p-punc", "rand", points=3, max_tokens=60, samples=6), tmp_path / "run")
    manifest = manifest_of(tmp_path / "run")
    assert manifest is not None
    matched = manifest.about["matched"]["rand"]
    for place in ("1", "2", "3"):
        lines = read_point(tmp_path / "run", "p-punc", int(place)).values()
        share = sum(line.n_base for line in lines) / sum(line.n_tokens for line in lines)
        assert matched[place]["target"] == pytest.approx(share, abs=1e-4)
        assert matched[place]["reached"] == pytest.approx(share, abs=0.1)
    assert matched["1"]["value"] < matched["3"]["value"]


def test_what_cannot_be_written_is_an_empty_answer(study: Study, tmp_path: Path) -> None:
    """A prompt that is too long for the context leaves empty answers that say why, and the others go on."""
    tiny = scripted_pair(n_parallel=2, n_ctx=20)
    run = swept(study("p-punc", points=1, max_tokens=4), tmp_path / "run", tiny)
    lines = read_point(tmp_path / "run", "p-punc", 1)
    assert run.complete
    assert run.n_failed == 6
    assert {said.finish.partition(":")[0] for line in lines.values() for said in line.answers} == {"PromptTooLongError"}


def shared_plan(study: Study) -> Plan:
    """Return a plan with all that processes have to agree on: a control, an idea, and what needs neither."""
    return study("p-punc", "rand", "aligned", "soft-unsure", samples=2)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 11])
def test_every_point_belongs_to_one_shard(study: Study, n: int) -> None:
    """Shards part the points among them about evenly, and a control goes with what it is matched to."""
    plan = study("all", points=9)
    shards = [[(method.name, place) for method, place in dealt(plan, Shard(k + 1, n))] for k in range(n)]
    whole = [(method.name, place) for method in plan.methods for place in range(1, 10)]
    assert sorted(point for shard in shards for point in shard) == sorted(whole)
    assert max(map(len, shards)) - min(map(len, shards)) <= 2 + len(whole) // 20
    for shard in shards:
        assert {place for name, place in shard if name == "rand"} == {
            place for name, place in shard if name == "p-punc"
        }


@pytest.mark.parametrize("order", [(2, 1), (3, 1, 2)])
def test_shards_in_any_order_make_the_undivided_run(study: Study, tmp_path: Path, order: tuple[int, ...]) -> None:
    """One shard after the other leaves the texts, the matched controls and the rulers of a run that was not divided."""
    plan = shared_plan(study)
    swept(plan, tmp_path / "whole")
    part = tmp_path / "part"
    runs = [swept(plan, part, shard=Shard(k, len(order))) for k in order]
    assert all(run.complete for run in runs)
    assert sum(run.n_done for run in runs) == plan.n_answers
    assert files(part) == files(tmp_path / "whole")
    again = swept(plan, part)
    assert (again.complete, again.figures.n_tokens) == (True, 0)
    manifest, whole = manifest_of(part), manifest_of(tmp_path / "whole")
    assert manifest is not None
    assert whole is not None
    for name in ("matched", "divergence", "methods", "questions"):
        assert manifest.about[name] == whole.about[name]
    assert [run.get("shard") for run in manifest.runs] == [*(f"{k}/{len(order)}" for k in order), None]
    assert all("ended" in run for run in manifest.runs)


def test_a_shard_that_runs_inside_another_loses_nothing(study: Study, tmp_path: Path) -> None:
    """While one process writes, another writes its shard and the manifest, and what either notes is kept."""
    plan, part = shared_plan(study), tmp_path / "part"
    swept(plan, tmp_path / "whole")
    inner: list[Run] = []

    def watch(_progress: Progress) -> None:
        if not inner:
            inner.append(swept(plan, part, shard=Shard(2, 2)))

    outer = swept(plan, part, shard=Shard(1, 2), watch=watch)
    assert outer.complete
    assert inner[0].complete
    assert files(part) == files(tmp_path / "whole")
    manifest = manifest_of(part)
    assert manifest is not None
    assert sorted(manifest.about["matched"]["rand"]) == ["1", "2"]
    assert [(run["shard"], run["answers"]) for run in manifest.runs] == [
        ("1/2", outer.n_done),
        ("2/2", inner[0].n_done),
    ]


def test_a_stopped_shard_is_finished_without_one(study: Study, tmp_path: Path) -> None:
    """What a shard has left undone, and all other shards, is done by a run that is not divided."""
    plan, part = shared_plan(study), tmp_path / "part"
    swept(plan, tmp_path / "whole")
    stopped = lambda: part.exists() and sum(map(len, files(part).values())) >= 3  # noqa: E731
    assert not swept(plan, part, shard=Shard(1, 2), stopped=stopped).complete
    assert swept(plan, part).complete
    assert files(part) == files(tmp_path / "whole")


def test_a_point_that_another_writes_is_left_to_it(study: Study, tmp_path: Path) -> None:
    """The same shard twice at the same time: the second one leaves, and the first one's lines are whole."""
    plan, part = study("p-punc", points=1), tmp_path / "part"
    refused: list[str] = []

    def watch(_progress: Progress) -> None:
        if not refused:
            with pytest.raises(OutputError, match="another process") as error:
                swept(plan, part)
            refused.append(str(error.value))

    assert swept(plan, part, watch=watch).complete
    assert refused
    swept(plan, tmp_path / "whole")
    assert files(part) == files(tmp_path / "whole")
