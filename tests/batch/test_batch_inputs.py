"""Input files of every form: what is read, what is refused, and with which line number."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baco_local.batch.inputs import Form, Input, Problem, form_of, parse
from baco_local.batch.items import Endpoint, Row
from baco_local.errors import UsageError
from baco_local.text.chat import Message


def read(data: bytes | str, name: str = "in.jsonl") -> list[Row]:
    """Return the rows of a file."""
    source = Input(io.BytesIO(data.encode() if isinstance(data, str) else data), name)
    source.check()
    return list(source.rows())


def prompts(rows: list[Row]) -> list[str]:
    """Return the last message of each row."""
    return [row.messages[-1].content for row in rows]


def refusal(line: str, name: str = "in.jsonl") -> str:
    """Return what is said about a bad line."""
    with pytest.raises(UsageError) as caught:
        read('{"prompt": "good"}\n' + line + "\n", name)
    return str(caught.value)


def test_plain_text_is_a_prompt_per_line():
    """Empty lines, byte order marks and line breaks of Windows are no part of a prompt."""
    rows = read(b"\xef\xbb\xbfA fox.\r\n\n  \n\xc3\xa9t\xc3\xa9 \nlast", "in.txt")
    assert prompts(rows) == ["A fox.", "été", "last"]
    assert [row.line for row in rows] == [1, 4, 5]


def test_ids_of_rows_without_a_name_follow_the_prompt():
    """Rows keep their ids when others come or go or move; equal rows are counted."""
    first = read("a\nb\na\n", "in.txt")
    assert first[2].id == f"{first[0].id}-2"
    assert {row.id for row in read("a\na\nnew\nb\n", "in.txt")} >= {row.id for row in first}
    assert read("b\n", "in.txt")[0].id == read('{"prompt": "b"}')[0].id == first[1].id


def test_objects_have_a_prompt_or_messages():
    """Ids are texts or numbers, and other fields are named as doing nothing."""
    source = Input(
        io.BytesIO(
            b'{"id": 7, "prompt": "x", "category": "c"}\n'
            b'{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], "id": "m"}\n'
        ),
        "in.jsonl",
    )
    assert source.check().ignored == ("category",)
    one, two = source.rows()
    assert (one.id, one.messages) == ("7", (Message("user", "x"),))
    assert (two.id, two.messages) == ("m", (Message("system", "s"), Message("user", "u")))


def test_lines_of_an_openai_batch():
    """Url and method may be left out; the settings of the body belong to the row."""
    body = {"model": "tales", "messages": [{"role": "user", "content": "x"}], "temperature": 0.5, "n": 2, "seed": 3}
    full = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    short = {"custom_id": "b", "body": {"prompt": "y", "max_tokens": 9}}
    one, two = read(f"{json.dumps(full)}\n{json.dumps(short)}\n")
    assert (one.id, one.knobs, one.n_samples, one.seed) == ("a", {"temperature": 0.5}, 2, 3)
    assert (two.endpoint, two.knobs, prompts([two])) == (Endpoint.COMPLETIONS, {"max_tokens": 9}, ["y"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("not json", "line 2: not JSON"),
        ('{"prompt": "x"', "line 2: not JSON"),
        ('{"prompt": NaN}', "NaN is no number"),
        ("[1]", "no JSON object but '[1]'"),
        ("{}", "neither prompt, messages nor body"),
        ('{"prompt": ""}', "it is empty"),
        ('{"prompt": 3}', "not a text"),
        ('{"prompt": "x", "messages": []}', "both prompt and messages"),
        ('{"messages": []}', "not a list of {role, content}"),
        ('{"messages": [{"role": "robot", "content": "x"}]}', "the role 'robot'"),
        ('{"messages": [{"role": "assistant", "content": "x"}]}', "must be the user's"),
        ('{"prompt": "x", "id": ""}', "id is ''"),
        ('{"prompt": "x", "id": true}', "id is True"),
        ('{"prompt": "\\ud800"}', "surrogate"),
        ('{"body": 1}', "the body is no object"),
        ('{"body": {"prompt": "x"}, "method": "GET"}', "method is 'GET'"),
        ('{"body": {"prompt": "x"}, "url": "/v1/embeddings"}', "/v1/embeddings"),
        ('{"body": {"prompt": "x", "temperature": -1}}', "temperature"),
        ('{"body": {"prompt": "x", "temperature": "hot"}}', "wrong kind"),
        ('{"body": {"prompt": "x", "stream": true}}', "'stream' is not supported"),
        ('{"prompt": ' + "[" * 100000, "not JSON"),
    ],
)
def test_bad_rows_are_named(line, words):
    """Each kind of bad row is refused with its line number and a reason."""
    said = refusal(line)
    assert words in said
    assert "line 2" in said
    assert "nothing was written" in said


def test_all_bad_rows_are_reported_at_once():
    """Every bad row is in one message, and the ids of good rows are unique."""
    said = refusal('bad\n{"prompt": "y", "id": 1}\n{"prompt": "z", "id": "1"}')
    assert "2 rows" in said
    assert "line 2: not JSON" in said
    assert "line 4: the id '1' is that of line 3" in said


def test_bytes_that_are_no_text_are_named():
    """A line that is not UTF-8 is a bad row, in plain text, too."""
    with pytest.raises(UsageError, match=r"line 2: no UTF-8 text \(byte 2\)"):
        read(b"good\nx\xff\n", "in.txt")


def test_the_form_follows_the_name_or_else_the_first_line():
    """A brace opens JSON only where the name leaves it open."""
    assert form_of("a.txt", [b"{x"]) is Form.TEXT
    assert form_of("a.JSONL", [b"x"]) is Form.JSON
    assert form_of("stdin", [b"\n", b" {"]) is Form.JSON
    assert form_of("stdin", [b"once"]) is Form.TEXT
    assert prompts(read("{x} goes\n", "in.txt")) == ["{x} goes"]


def test_an_input_without_rows_is_refused():
    """An empty file is an error, not a success with nothing in it."""
    with pytest.raises(UsageError, match="holds no prompt"):
        read("\n \n", "in.txt")


def test_rows_are_read_as_they_are_asked_for():
    """No line behind the row that was asked for is looked at."""
    taken = []

    def endless():
        for i in range(10**9):
            taken.append(i)
            yield b"prompt %d\n" % i

    rows = parse(endless(), Form.TEXT, {})
    assert [next(rows).line, next(rows).line] == [1, 2]
    assert len(taken) == 2


def test_an_input_can_be_read_again():
    """A second reading gives the same rows."""
    source = Input(io.BytesIO(b"a\nb\n"), "in.txt")
    assert source.check().n_rows == 2
    assert list(source.rows()) == list(source.rows())


@settings(deadline=None)
@given(st.lists(st.binary(max_size=30), max_size=6), st.sampled_from(Form))
def test_no_line_is_too_strange(lines, form):
    """Whatever bytes come, each line is a row, a problem, or empty; nothing is raised."""
    found = list(parse([line.replace(b"\n", b"") + b"\n" for line in lines], form, {}))
    assert all(isinstance(row, Row | Problem) for row in found)
    assert len(found) <= len(lines)
