from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.routing.guards import LoopWatch, may_open_role_marker, opens_role_marker

NAMES = ["Question", "Q", "User", "Human", "Instruction", "Assistant", "Answer"]
blanks = st.text(st.sampled_from(" \t"), max_size=2)
named = st.builds(
    lambda lead, name, case, gap, number, gap2: f"{lead}{getattr(name, case)()}{gap}{number}{gap2}:",
    blanks,
    st.sampled_from(NAMES),
    st.sampled_from(["upper", "lower", "title"]),
    blanks,
    st.just("") | st.integers(0, 9999).map(str),
    blanks,
)
markers = named | st.builds(lambda lead: f"{lead}###", blanks)
lines = st.text(st.sampled_from("QUAuestionhmrwx #:1 \té"), max_size=14) | st.builds(
    lambda marker, size, rest: marker[:size] + rest, markers, st.integers(0, 16), st.text(max_size=4)
).filter(lambda line: "\n" not in line)


@pytest.mark.parametrize(
    "line",
    ["Question:", "Question 2: Why", "Q:", "q3:", "  USER: hi", "Human :", "instruction:", "Assistant:", "### Answer"],
)
def test_markers(line: str) -> None:
    """A line that opens with a role, a number if any and a colon, or with hashes, opens a turn."""
    assert opens_role_marker(line)


@pytest.mark.parametrize(
    "line",
    ["", "The user:", "Questions:", "Queen:", "## Part", "The answer: 3", "Q", "U\u017fer:", "A:"],
)
def test_no_markers(line: str) -> None:
    """Other lines, and roles in the middle of one, open no turn."""
    assert not opens_role_marker(line)


@given(markers, st.text(max_size=5))
def test_a_marker_is_held_back_until_it_is_decided(marker: str, rest: str) -> None:
    """Every beginning of a marker is undecided, and from its last character on it is one, whatever follows."""
    for size in range(len(marker)):
        assert may_open_role_marker(marker[:size])
        assert not opens_role_marker(marker[:size])
    assert opens_role_marker(marker + rest)
    assert not may_open_role_marker(marker)


@given(lines, st.text(max_size=8))
def test_a_decision_is_final(line: str, more: str) -> None:
    """A line that neither is nor may become a marker never becomes one, and one that is stays one."""
    if not may_open_role_marker(line):
        assert opens_role_marker(line + more) is opens_role_marker(line)


@given(lines)
def test_decided_or_undecided(line: str) -> None:
    """No line is a marker and still undecided."""
    assert not (opens_role_marker(line) and may_open_role_marker(line))


words = st.lists(st.sampled_from(["a", "B", "b", "c"]), max_size=60)


def looped(said: list[str], n_words: int, n_times: int) -> bool:
    """Return whether the last words were said often enough, by counting all runs."""
    said = [word.casefold() for word in said]
    runs = [said[i : i + n_words] for i in range(len(said) - n_words + 1)]
    return bool(runs) and runs.count(runs[-1]) >= n_times


@given(words, st.integers(1, 4), st.integers(1, 4))
def test_loops_are_counted(said: list[str], n_words: int, n_times: int) -> None:
    """Every word reports whether the run that it ends was seen often enough, without regard to case."""
    watch = LoopWatch(n_words, n_times)
    assert [watch.feed(word) for word in said] == [looped(said[: i + 1], n_words, n_times) for i in range(len(said))]


@given(words, st.lists(st.integers(0, 60), max_size=6))
def test_any_chunks_of_words(said: list[str], cuts: list[int]) -> None:
    """Words fed one by one or many at a time are noticed alike."""
    one_by_one, at_once = LoopWatch(2), LoopWatch(2)
    expected = any(one_by_one.feed(word) for word in said)
    edges = [0, *sorted(cuts), len(said)]
    chunks = [" ".join(said[a:b]) + " " for a, b in pairwise(edges)]
    assert any(at_once.feed(chunk) for chunk in chunks) is expected


def test_eight_words_three_times() -> None:
    """By default eight words are a loop at their third time, and no word earlier."""
    verse = "row row row your boat down the stream"
    watch = LoopWatch()
    assert not watch.feed(verse)
    assert not watch.feed(verse.upper())
    assert not watch.feed(verse.rsplit(" ", 1)[0])
    assert watch.feed("stream\n")
    assert not watch.feed("and then")


@given(words, words, words)
def test_forks_do_not_notice_each_other(common: list[str], mine: list[str], theirs: list[str]) -> None:
    """What one branch hears does not count in the other."""
    watch = LoopWatch(2)
    for word in common:
        watch.feed(word)
    branch = watch.fork()
    for word in theirs:
        branch.feed(word)
    heard = [watch.feed(word) for word in mine]
    assert heard == [looped(common + mine[: i + 1], 2, 3) for i in range(len(mine))]
