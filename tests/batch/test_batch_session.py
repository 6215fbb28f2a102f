"""A batch from input to output, begun and gone on with in every way."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baco_local.batch.items import Shard
from baco_local.batch.manifest import Manifest
from baco_local.batch.outputs import FORMATS
from baco_local.batch.session import Output
from baco_local.batch.worker import Wishes
from baco_local.config import DecodeOptions
from baco_local.errors import OutputError, UsageError
from baco_local.settings import Settings
from scripted_batches import batch_of, hands, lines, run_into

PROMPTS = ["One.", "Two.", "Three.", "Four.", "Five."]


def objects(path) -> list[dict]:
    """Return the rows of a file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("form", FORMATS)
def test_a_run_writes_all_rows_and_a_second_one_none(tmp_path, form):
    """Running again changes no byte."""
    path = tmp_path / "out.jsonl"
    first = run_into(path, batch_of(PROMPTS, n_samples=2, format=form))
    content = path.read_bytes()
    assert (first.n_written, first.n_failed) == (10, 0)
    assert content.count(b"\n") == (5 if form == "noveltybench" else 10)
    assert run_into(path, batch_of(PROMPTS, n_samples=2, format=form)).n_written == 0
    assert path.read_bytes() == content


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from(list(FORMATS)), st.integers(1, 6), st.permutations(PROMPTS))
def test_any_torn_output_is_made_whole(tmp_path_factory, data, form, n_parallel, order):
    """Cut an output anywhere and run again, with the rows in another order: the same lines are there."""
    folder = tmp_path_factory.mktemp("torn")
    whole, torn = folder / "whole.jsonl", folder / "torn.jsonl"
    run_into(whole, batch_of(PROMPTS, n_samples=2, format=form))
    torn.write_bytes(whole.read_bytes()[: data.draw(st.integers(0, whole.stat().st_size))])
    (folder / "torn.meta.json").write_bytes((folder / "whole.meta.json").read_bytes())
    run_into(torn, batch_of(order, n_samples=2, format=form), hands(n_parallel))

    def without_line(path):
        rows = objects(path)
        for row in rows:
            for own in (
                row.get("baco"),
                ((row.get("response") or {}).get("body") or {"choices": [{}]})["choices"][0].get("baco"),
            ):
                (own or {}).pop("line", None)
        return sorted(map(json.dumps, rows))

    assert without_line(torn) == without_line(whole)


def test_more_samples_and_more_rows_can_be_added(tmp_path):
    """What is there stays; what is new is written."""
    path = tmp_path / "out.jsonl"
    run_into(path, batch_of(PROMPTS[:3]))
    before = path.read_bytes()
    assert run_into(path, batch_of(PROMPTS, n_samples=2)).n_written == 7
    assert path.read_bytes().startswith(before)
    whole = tmp_path / "whole.jsonl"
    run_into(whole, batch_of(PROMPTS, n_samples=2))
    assert lines(path) == lines(whole)


def test_shards_together_are_the_whole(tmp_path):
    """The lines of all shards are those of one run."""
    whole = tmp_path / "whole.jsonl"
    run_into(whole, batch_of(PROMPTS, n_samples=2))
    parts = []
    for index in (1, 2, 3):
        path = tmp_path / f"part{index}.jsonl"
        run_into(path, batch_of(PROMPTS, n_samples=2, shard=Shard(index, 3)))
        parts += path.read_bytes().splitlines(keepends=True)
    assert sorted(parts) == lines(whole)


def other_settings(**knobs) -> Wishes:
    """Return wishes that differ from those of ``batch_of``."""
    return Wishes(settings=Settings(decode=DecodeOptions(**({"max_tokens": 12} | knobs))))


def test_other_settings_are_refused_unless_told(tmp_path):
    """Both values are shown and nothing is written; --mix-settings goes on and keeps a record of both."""
    path = tmp_path / "out.jsonl"
    run_into(path, batch_of(PROMPTS[:2]))
    before = path.read_bytes()
    other = {"wishes": other_settings(max_tokens=5)}
    with pytest.raises(UsageError, match="max_tokens: 12 there, 5 now"):
        run_into(path, batch_of(PROMPTS, **other))
    assert path.read_bytes() == before
    assert run_into(path, batch_of(PROMPTS, **other), mix_settings=True).n_written == 3
    manifest = Manifest.read(tmp_path / "out.meta.json")
    assert manifest.made_with["max_tokens"] == 5
    assert [earlier["max_tokens"] for earlier in manifest.about["earlier"]] == [12]
    assert run_into(path, batch_of(PROMPTS, **other)).n_written == 0


def test_an_output_without_its_manifest(tmp_path):
    """Rows that say what they were made with are enough; rows that do not are refused."""
    for form, known in (("flat", True), ("noveltybench", False)):
        path = tmp_path / f"{form}.jsonl"
        run_into(path, batch_of(PROMPTS[:2], format=form))
        path.with_suffix(".meta.json").unlink()
        if known:
            assert run_into(path, batch_of(PROMPTS, format=form)).n_written == 3
        else:
            with pytest.raises(UsageError, match="--mix-settings"):
                run_into(path, batch_of(PROMPTS, format=form))
        path.with_suffix(".meta.json").unlink(missing_ok=True)
        with pytest.raises(UsageError, match="beside it says what they were made with"):
            run_into(path, batch_of(PROMPTS, format=form, wishes=other_settings(max_tokens=3)))


def test_another_format_is_refused(tmp_path):
    """The line that does not fit is named, and the options that do."""
    path = tmp_path / "out.jsonl"
    run_into(path, batch_of(PROMPTS[:1], format="flat"))
    with pytest.raises(UsageError, match="line 1 is not of the format openai"):
        run_into(path, batch_of(PROMPTS, format="openai"))


def test_a_row_that_asks_for_something_else_is_refused(tmp_path):
    """Where an id was answered for another prompt, the row is named and nothing is written."""
    path = tmp_path / "out.jsonl"
    run_into(path, batch_of(b'{"id": 1, "prompt": "One."}\n', name="in.jsonl"))
    with pytest.raises(UsageError, match="line 2: id '1'"):
        run_into(path, batch_of(b'{"id": 2, "prompt": "Two."}\n{"id": 1, "prompt": "Uno."}\n', name="in.jsonl"))


def test_failures_stay_until_they_are_tried_again(tmp_path):
    """A failed row is skipped by a second run; retry_errors does it again and leaves one line per answer."""
    path, whole = tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    prompts = ["One.", "x" * 300, "Two."]
    first = run_into(path, batch_of(prompts), hands(n_ctx=200))
    assert (first.n_written, first.n_failed) == (2, 1)
    failed = [row for row in objects(path) if row["error"]]
    assert [row["error"]["code"] for row in failed] == ["PromptTooLongError"]
    again = run_into(path, batch_of(prompts), hands())
    assert (again.n_written, again.n_failed) == (0, 0)
    assert run_into(path, batch_of(prompts), hands(), retry_errors=True).n_written == 1
    run_into(whole, batch_of(prompts), hands())
    assert lines(path) == lines(whole)


def test_only_failures_of_this_input_are_tried_again(tmp_path):
    """Failed rows of another input in the same file keep their lines."""
    path = tmp_path / "out.jsonl"
    run_into(path, batch_of(["x" * 300, "y" * 300]), hands(n_ctx=200))
    with Output(batch_of(["x" * 300]), path, retry_errors=True) as output:
        assert (output.n_retried, output.agenda.n_open, output.agenda.n_foreign) == (1, 1, 1)
    assert len(objects(path)) == 1


def test_a_second_run_on_the_same_output_is_refused(tmp_path):
    """While one run holds a file, no other can; afterwards it can."""
    path = tmp_path / "out.jsonl"
    with Output(batch_of(PROMPTS), path), pytest.raises(OutputError, match="another process"):
        Output(batch_of(PROMPTS), path)
    Output(batch_of(PROMPTS), path).__exit__()


def test_each_run_has_an_entry_in_the_manifest(tmp_path):
    """The manifest says what each start did; rows themselves hold no time."""
    path = tmp_path / "out.jsonl"
    run_into(path, batch_of(PROMPTS[:2]))
    run_into(path, batch_of(PROMPTS))
    runs = Manifest.read(tmp_path / "out.meta.json").runs
    assert [(entry["status"], entry["written"]) for entry in runs] == [("done", 2), ("done", 3)]
    assert runs[1]["tokens"] == sum(row["response"]["body"]["usage"]["completion_tokens"] for row in objects(path)[2:])
