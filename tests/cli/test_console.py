"""Colours follow the terminal and the user's wishes, and base is never told by colour alone."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.style import Style

from baco_cli.console import THEMES, Paint, ThemeName, console, paint, pick


def terminal(*, theme="neutral", no_color=False, **env):
    """Return a console on a terminal with these variables."""
    made = console(io.StringIO(), THEMES[theme], no_color=no_color)
    environ = {"TERM": "xterm-256color", **env}
    return Console(file=io.StringIO(), force_terminal=True, no_color=made.no_color or None, _environ=environ)


@pytest.mark.parametrize("name", THEMES)
def test_base_is_underlined_in_every_theme(name):
    """Base has a hue and an underline; aligned has neither."""
    base, aligned = Style.parse(THEMES[name].base), Style.parse(THEMES[name].aligned)
    assert base.underline
    assert base.color is not None
    assert (aligned.underline, aligned.color) == (None, None)


def test_colour_and_underline_on_a_terminal():
    """A terminal gets the codes of both, and the codes that end them."""
    assert paint(terminal(), THEMES["neutral"].base) == Paint("\x1b[4;35m", "\x1b[0m")


@pytest.mark.parametrize("wish", [{"no_color": True}, {"NO_COLOR": "1"}])
def test_without_colour_the_underline_stays(wish):
    """--no-color and NO_COLOR take the hue alone."""
    assert paint(terminal(**wish), THEMES["dark"].base) == Paint("\x1b[4m", "\x1b[0m")


def test_a_dumb_terminal_gets_plain_text():
    """TERM=dumb means no codes at all."""
    assert paint(terminal(TERM="dumb"), THEMES["neutral"].base) == Paint()


def test_a_pipe_gets_plain_text():
    """What is no terminal gets no codes."""
    assert paint(Console(file=io.StringIO(), _environ={}), THEMES["neutral"].base) == Paint()


def test_force_color_paints_a_pipe():
    """FORCE_COLOR asks for codes where there is no terminal."""
    forced = Console(file=io.StringIO(), _environ={"FORCE_COLOR": "1", "TERM": "xterm-256color"})
    assert paint(forced, THEMES["neutral"].base).start == "\x1b[4;35m"


@pytest.mark.parametrize(
    ("theme", "variable", "hues"),
    [
        (ThemeName.AUTO, None, "neutral"),
        (ThemeName.AUTO, "15;0", "dark"),
        (ThemeName.AUTO, "0;15", "light"),
        (ThemeName.AUTO, "0;default;15", "light"),
        (ThemeName.AUTO, "12;8", "dark"),
        (ThemeName.AUTO, "nonsense", "neutral"),
        (ThemeName.DARK, "0;15", "dark"),
        (ThemeName.LIGHT, None, "light"),
    ],
)
def test_hues_follow_the_background(theme, variable, hues):
    """--theme decides, else COLORFGBG does, else the terminal's own sixteen colours are used."""
    assert pick(theme, {} if variable is None else {"COLORFGBG": variable}) == hues
