"""Files of answers: every format that is read, pairs of files, and sets across prompts."""

from __future__ import annotations

import json

import pytest

from baco_local.errors import UsageError
from baco_local.metrics.answer_files import dealt, paired, parse_answers, parse_prompts
from baco_local.metrics.constraints import Span


def lines(*rows):
    """Return rows as JSON lines."""
    return [json.dumps(row) for row in rows]


def choices(*texts, reason="stop"):
    """Return the body of a chat completion."""
    return {"choices": [{"message": {"content": text}, "finish_reason": reason} for text in texts]}


FLAT = [{"id": "p1", "prompt": "Ask", "sample": k, "text": text, "seed": 1} for k, text in enumerate(["x", "y"])]

FORMATS = {
    "flat rows of batch": lines(*FLAT),
    "NoveltyBench": lines({"id": "p1", "prompt": "Ask", "model": "m", "generations": ["x", "y"]}),
    "outputs": lines({"prompt": "Ask", "outputs": ["x", "y"]}),
    "one output per row": lines({"prompt": "Ask", "output": "x"}, {"prompt": "Ask", "output": "y"}),
    "self-instruct": lines({"prompt": "Ask", "instruction": "A", "response": "x"}, {"prompt": "Ask", "response": "y"}),
    "messages": lines({"messages": [{"role": "user", "content": "Ask"}], "outputs": ["x", "y"]}),
    "samples as objects": lines({"prompt": "Ask", "samples": [{"text": "x"}, {"text": "y"}]}),
    "completions of a server": lines({"prompt": "Ask", "choices": [{"text": "x"}, {"text": "y"}]}),
    "empty lines between": ["", *lines({"prompt": "Ask", "outputs": ["x", "y"]}), "  "],
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats(name):
    """Whatever the rows look like, the answers to one prompt come together in their order."""
    (only,) = parse_answers(FORMATS[name], "f").prompts
    assert (only.prompt, only.texts) == ("Ask", ("x", "y"))


def test_openai_batch_output():
    """Rows that name their prompt by id alone are grouped by id; what was asked may come from a second file."""
    rows = lines(
        {"id": "r1", "custom_id": "p1", "response": {"status_code": 200, "body": choices("x", "y")}, "error": None},
        {"id": "r2", "custom_id": "p2", "response": {"status_code": 200, "body": choices("z", reason="length")}},
        {"id": "r3", "custom_id": "p3", "response": None, "error": {"message": "too long"}},
    )
    read = parse_answers(rows, "f")
    assert [(each.key, each.texts, each.ended) for each in read.prompts] == [
        ("p1", ("x", "y"), (True, True)),
        ("p2", ("z",), (False,)),
    ]
    assert (read.n_answers, read.n_failed) == (3, 1)
    body = {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Ask"}]}
    asked = parse_prompts(lines({"custom_id": "p1", "body": body}, {"id": "p2", "prompt": "Tell"}), "g")
    assert [each.prompt for each in parse_answers(rows, "f", asked).prompts] == ["Ask", "Tell"]


def test_rows_of_run():
    """Rows of ``baco run --json`` have no prompt: they are answers to one."""
    read = parse_answers(lines({"text": "x", "finish": "end"}, {"text": "y", "finish": "length"}), "f")
    assert [(each.texts, each.ended) for each in read.prompts] == [(("x", "y"), (True, False))]


def test_answers_are_put_in_order():
    """Rows are written as they are finished; where answers have numbers, they come in their order."""
    (flat,) = parse_answers(lines(*reversed(FLAT)), "f").prompts
    assert flat.texts == ("x", "y")
    batch = [
        {"custom_id": "p", "response": {"body": {"choices": [{"message": {"content": text}, "baco": {"sample": k}}]}}}
        for k, text in ((2, "z"), (0, "x"), (1, "y"))
    ]
    assert parse_answers(lines(*batch), "f").prompts[0].texts == ("x", "y", "z")


def test_empty_answers_stay():
    """An empty answer is an answer."""
    assert parse_answers(lines({"prompt": "Ask", "outputs": ["", "x"]}), "f").prompts[0].texts == ("", "x")


def test_constraints_beside_a_prompt():
    """Constraints that a row brings along replace those that are read out of its prompt."""
    (with_own,) = parse_answers(
        lines({"prompt": "A story about a fox", "text": "x", "constraints": {"words": 3}}), "f"
    ).prompts
    (without,) = parse_answers(lines({"prompt": "A story about a fox", "text": "x"}), "f").prompts
    assert (with_own.asked.words, with_own.asked.topic) == (Span(3, 3), ())
    assert without.asked.topic == ("fox",)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"prompt": "Ask", "outputs": ["x"]}\nOnce upon', "line 2 is not JSON"),
        ("[1, 2]", "one JSON object per line"),
        ('{"prompt": "Ask"}', "no answer in"),
        ("", "holds no answers"),
        ('{"custom_id": "p", "error": {"message": "m"}}', "1 errors"),
    ],
)
def test_what_is_no_file_of_answers(text, part):
    """The error names file, line and what is wanted."""
    with pytest.raises(UsageError, match=part) as raised:
        parse_answers(text.splitlines(), "mine.jsonl")
    assert "mine.jsonl" in str(raised.value)


def test_pairs_of_files():
    """Two files are compared on the prompts that both have, in the order of the first."""
    first = parse_answers(lines(*({"prompt": name, "output": "x"} for name in "abcd")), "f")
    second = parse_answers(lines(*({"prompt": name, "output": "y"} for name in "dbe")), "g")
    (left, right), n_left_out = paired(first, second)
    assert [each.key for each in left.prompts] == [each.key for each in right.prompts] == ["b", "d"]
    assert n_left_out == 3
    with pytest.raises(UsageError, match="no prompt in common"):
        paired(first, parse_answers(lines({"prompt": "z", "output": "y"}), "g"))


def test_deals():
    """A deal puts every prompt into one set at most, and two files with the same prompts are dealt alike."""
    first, second = (
        parse_answers(lines(*({"prompt": str(n), "output": f"{mark}{n}"} for n in range(23))), mark).prompts
        for mark in "fg"
    )
    left, right = dealt(first, 5, seed=1), dealt(second, 5, seed=1)
    assert [len(each.texts) for each in left] == [5, 5, 5, 5]
    assert len({text for each in left for text in each.texts}) == 20
    assert [[text[1:] for text in each.texts] for each in left] == [[text[1:] for text in each.texts] for each in right]
    assert dealt(first, 5, seed=2) != left
