"""``baco compare``: what a column may be, and what is shown where."""

from __future__ import annotations

import json
import re

import pytest

from baco_cli.compare import parse_way
from baco_local.errors import UsageError

CALL = ("compare", "Tell me a story about a fox.", "-s", "7", "-n", "40")
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.mark.parametrize(
    ("text", "knobs"),
    [
        ("base", {"diversity": 10.0, "threshold": None}),
        ("aligned@1.5", {"diversity": 0.0, "threshold": None, "temperature": 1.5}),
        ("base@t0.7", {"diversity": 10.0, "threshold": None, "temperature": 0.7}),
        ("baco@d8", {"diversity": 8.0, "threshold": None}),
        ("baco", {}),
        ("rand@d5", {"router": "rand", "diversity": 5.0, "threshold": None}),
        ("P-PUNC@g0.4@1.2", {"router": "P-PUNC", "threshold": 0.4, "temperature": 1.2}),
        ("mix-logit@d=3", {"router": "mix-logit", "diversity": 3.0, "threshold": None}),
    ],
)
def test_ways_to_speak(text, knobs):
    """A way is a side, baco or a router, with a temperature, a dial or a threshold."""
    assert dict(parse_way(text).knobs) == knobs


@pytest.mark.parametrize(
    ("text", "part"),
    [("cat", "'cat'"), ("", "''"), ("aligned@d3", "'d3'"), ("base@g1", "'g1'"), ("baco@hot", "'hot'"), ("baco@", "''")],
)
def test_a_wrong_way_is_named(text, part):
    """The error quotes the part that is wrong."""
    with pytest.raises(UsageError, match=re.escape(part)):
        parse_way(text)


def test_who_has_two_voices():
    """Alone speaks who is fixed at an end of the dial."""
    assert [parse_way(text).two_voices for text in ("base", "aligned", "baco", "rand@d10", "rand@d9")] == [
        False,
        False,
        True,
        False,
        True,
    ]


@pytest.mark.model
def test_sections_on_a_pipe(invoke):
    """Off a terminal the answers stand below each other, each as ``run`` would write it."""
    done = invoke(*CALL, "--add", "aligned@1.5")
    assert done.exit_code == 0
    parts = re.split(r"^## (\S+)\n\n", done.stdout, flags=re.MULTILINE)[1:]
    texts = dict(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True))
    assert list(texts) == ["base", "aligned", "baco", "aligned@1.5"]
    rest = ("Tell me a story about a fox.", "-s", "7", "-n", "40")
    for way, options in (("base", ("-d", "10")), ("baco", ()), ("aligned@1.5", ("-d", "0", "--temp", "1.5"))):
        alone = invoke("run", *rest, *options).stdout
        assert alone.split()[:3] == texts[way].split()[:3]  # batches of other shapes differ in the last bits


@pytest.mark.model
def test_objects_for_programs(invoke):
    """--json prints one object per way."""
    records = [json.loads(line) for line in invoke(*CALL, "--json").stdout.splitlines()]
    assert [record["way"] for record in records] == ["base", "aligned", "baco"]
    assert [record["base_share"] for record in records[:2]] == [1.0, 0.0]


@pytest.mark.model
def test_columns_on_a_terminal(on_terminal, invoke):
    """From 80 columns on, three answers stand beside each other, and each column read downwards is its text."""
    shown = on_terminal(*CALL, "-q")
    rows = [re.sub(r".*\r", "", CODES.sub("", row)) for row in shown.split("\n")]
    assert max(map(len, rows)) <= 80
    head, _rule, *body = rows
    assert head.split() == ["base", "│", "aligned", "│", "baco"]
    cells = [row.split(" │") for row in body]
    records = [json.loads(line) for line in invoke(*CALL, "--json").stdout.splitlines()]
    for column, record in enumerate(records):
        down = " ".join(row[column] for row in cells if column < len(row))
        assert down.split() == record["text"].split()


@pytest.mark.model
def test_a_narrow_terminal_gets_sections(on_terminal):
    """Below 78 columns nothing is squeezed."""
    shown = CODES.sub("", on_terminal(*CALL, "-q", columns=60))
    assert shown.startswith("## base\n")
    assert max(map(len, shown.split("\n"))) < 60
