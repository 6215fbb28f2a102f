"""Rows of the output: what stands in them, and that they are recognised again."""

from __future__ import annotations

import json

import pytest

from baco_local.batch.items import Endpoint, Failure, Item, Row, Written, seed_of
from baco_local.batch.outputs import FORMATS, Stamp, entry_of
from baco_local.settings import Settings
from baco_local.text.chat import Message
from baco_local.types import FinishReason, Role

STAMP = Stamp(pair="tales", settings=Settings(), settings_hash="0123456789ab")
DONE = Written(
    text="Es war\neinmal „é“",
    finish=FinishReason.LENGTH,
    stop=None,
    n_tokens=7,
    base_share=3 / 7,
    switches=2,
    guards=((4, "loop"),),
    n_prompt={Role.BASE: 11, Role.ALIGNED: 13},
)
FAILED = Failure("PromptTooLongError", "too long")


def row(**more) -> Row:
    """Return a row."""
    return Row(**({"line": 3, "id": "r1", "messages": (Message("user", "A fox?"),)} | more))


def written(name: str, *results, of: Row | None = None) -> dict:
    """Return what a format writes for the samples of a row, as a reader of the file has it."""
    of = of or row()
    outcomes = [(Item(row=of, sample=k, seed=seed_of(0, of.id, k)), result) for k, result in enumerate(results)]
    record = FORMATS[name].write(outcomes, STAMP)
    assert json.dumps(record).startswith('{"id": "')  # what the repair of a torn line relies on
    return json.loads(json.dumps(record))


def test_openai_rows_are_chat_completions():
    """Names, places and counts are OpenAI's; what is ours stands in one object."""
    record = written("openai", DONE)
    assert list(record) == ["id", "custom_id", "response", "error"]
    assert (record["custom_id"], record["error"], record["response"]["status_code"]) == ("r1", None, 200)
    body = record["response"]["body"]
    assert (body["object"], body["model"], body["created"]) == ("chat.completion", "tales", 0)
    assert body["usage"] == {"prompt_tokens": 13, "completion_tokens": 7, "total_tokens": 20}
    (choice,) = body["choices"]
    assert choice["message"] == {"role": "assistant", "content": DONE.text}
    assert (choice["index"], choice["finish_reason"], choice["baco"]["base_share"]) == (0, "length", 0.4286)
    assert choice["baco"]["seed"] == seed_of(0, "r1", 0)
    assert choice["baco"]["guards"] == [{"position": 4, "guard": "loop"}]


def test_completions_have_a_text():
    """A row that asked for a completion gets one."""
    body = written("openai", DONE, of=row(endpoint=Endpoint.COMPLETIONS))["response"]["body"]
    assert (body["object"], body["choices"][0]["text"]) == ("text_completion", DONE.text)


def test_flat_rows_are_one_object():
    """The fields are those that were promised, and a conversation is written as one."""
    record = written("flat", DONE)
    assert list(record) == ["id", "prompt", "sample", "text", "seed", "usage", "baco"]
    assert (record["prompt"], record["text"], record["sample"]) == ("A fox?", DONE.text, 0)
    talk = (Message("system", "s"), Message("user", "u"))
    assert written("flat", DONE, of=row(messages=talk))["prompt"][0] == {"role": "system", "content": "s"}


def test_noveltybench_rows_hold_all_samples():
    """The four fields are those that its scorer reads; the model says where the dial stood."""
    record = written("noveltybench", DONE, DONE)
    assert record == {"id": "r1", "prompt": "A fox?", "model": "tales@d5", "generations": [DONE.text] * 2}
    turned = written("noveltybench", DONE, of=row(knobs={"diversity": 8}))
    assert turned["model"] == "tales@d8"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("result", [DONE, FAILED])
def test_a_written_row_is_recognised(name, result):
    """Each format reads from its own rows what they hold, and whether that has failed."""
    entry = entry_of(written(name, result), FORMATS[name])
    assert entry is not None
    assert (entry.id, entry.samples, entry.failed) == ("r1", (0,), result is FAILED)
    if not FORMATS[name].whole_rows:
        assert (entry.mark, entry.settings_hash) == (row().mark, STAMP.settings_hash)


def test_a_row_of_samples_fails_as_a_whole():
    """A row of NoveltyBench that lacks one generation counts as failed in all of them."""
    record = written("noveltybench", DONE, FAILED, DONE)
    assert record["error"] == {"code": "PromptTooLongError", "message": "too long"}
    entry = entry_of(record, FORMATS["noveltybench"])
    assert (entry.samples, entry.failed) == ((0, 1, 2), True)


def test_rows_of_other_formats_are_not_recognised():
    """No format takes the row of another for its own."""
    for name in FORMATS:
        for other in FORMATS:
            assert (entry_of(written(other, DONE), FORMATS[name]) is not None) == (name == other)
    assert entry_of({"id": 3}, FORMATS["flat"]) is None
    foreign = {"id": "x", "custom_id": "x", "response": {"body": {"choices": [{}]}}, "error": None}
    assert entry_of(foreign, FORMATS["openai"]) is None
