"""Texts side by side: every row once, nothing beyond its column, the common beginning muted."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from baco_cli.columns import BORDER, NARROWEST, SideBySide, column_width, common_words
from baco_cli.console import Paint
from baco_local.types import Role

ALONE = dict.fromkeys(Role, Paint())
MUTED, NOTHING = Paint("(", ")"), Paint()

words = st.lists(st.sampled_from(["a", "fox", "river", "well-known", "海", "\n", "unbelievable"]), max_size=25)


def screen_of(written):
    """Return the rows that a terminal shows after this was written."""
    rows = [""]
    for part in re.split(r"(\n|\r|\x1b\[K)", written):
        if part == "\n":
            rows.append("")
        elif part == "\r":
            rows[-1] = ""
        elif part != "\x1b[K":
            rows[-1] += part
    return rows


def shown(texts, width=24, paints=None, muted=NOTHING, order=None):
    """Return the rows of a table fed word by word, the columns in turn or in a given order."""
    table = SideBySide(width, paints or [ALONE] * len(texts), muted)
    queues = [[word if word == "\n" else f"{word} " for word in text] for text in texts]
    written = []
    for column in order or []:
        if column < len(queues) and queues[column]:
            table.feed(column, queues[column].pop(0), Role.BASE)
            written.append(table.update())
    for column, queue in enumerate(queues):
        for word in queue:
            table.feed(column, word, Role.BASE)
            written.append(table.update())
        table.finish(column)
    return [row.replace(")(", "") for row in screen_of("".join([*written, table.update()]))]


@given(st.lists(words, min_size=2, max_size=4), st.lists(st.integers(0, 3), max_size=40))
def test_every_word_stands_in_its_column(texts, order):
    """Whatever the order of arrival, a column read downwards gives its text, and no row passes the width."""
    rows = shown(texts, order=order)
    cells = [row.split(BORDER.rstrip(" ")) for row in rows]
    for column, text in enumerate(texts):
        down = " ".join(row[column] for row in cells if len(row) > column)
        assert re.sub(r"\s", "", down) == "".join(word for word in text if word != "\n")
    assert all(cell_len(row) <= 24 * len(texts) + len(BORDER) * (len(texts) - 1) for row in rows)


@given(st.lists(words, min_size=2, max_size=3), st.lists(st.integers(0, 2), max_size=40))
def test_the_order_of_arrival_does_not_matter(texts, order):
    """The final screen depends on the texts alone."""
    assert shown(texts, order=order) == shown(texts)


def test_the_common_beginning_is_muted():
    """Words that the reference has too are muted until the first one that differs, and never after it."""
    rows = shown([["a", "fox", "ran"], ["a", "fox", "slept"]], muted=MUTED)
    assert rows[0].endswith("( │ a fox )slept")
    assert shown([["a", "fox"], ["a", "fox"]], muted=MUTED)[0].endswith("( │ a fox)")


def test_a_later_agreement_is_not_muted():
    """After the first difference nothing is muted, though a line may be the same again."""
    rows = shown([["river", "\n", "fox"], ["a", "\n", "fox"]], muted=MUTED)
    assert rows[1].endswith("fox")


def test_base_words_keep_their_paint_in_the_muted_part():
    """Who spoke is shown everywhere."""
    painted = {Role.BASE: Paint("<", ">"), Role.ALIGNED: Paint()}
    rows = shown([["a", "fox"], ["a", "fox"]], paints=[ALONE, painted], muted=MUTED)
    assert rows[0].endswith("<a>< fox>")


@pytest.mark.parametrize(
    ("a", "b", "common"),
    [
        ("a fox ran", "a fox sat", "a fox "),
        ("a fox", "a foxglove", "a "),
        ("a fox", "a fox", "a fox"),
        ("a fox ran", "a fox", "a fox"),
        ("", "a", ""),
        ("x", "y", ""),
    ],
)
def test_common_words(a, b, common):
    """Only whole words count as common."""
    assert b[: common_words(a, b)] == common


@pytest.mark.parametrize(
    ("terminal", "n", "width"), [(80, 3, 24), (78, 3, None), (120, 3, 37), (400, 3, 60), (120, 4, 27)]
)
def test_the_terminal_is_shared_equally(terminal, n, width):
    """Three columns fit from 80 columns on; a narrower terminal gets none."""
    assert column_width(terminal, n) == width
    assert width is None or width >= NARROWEST
