from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.text.stream import StopMatcher, StreamDecoder

Text = TypeVar("Text", str, bytes)

CUTS = st.lists(st.integers(0, 40), max_size=12)
STOPS = st.lists(st.text("abc", min_size=1, max_size=4), max_size=4)


def chunks(whole: Text, cuts: Sequence[int]) -> list[Text]:
    """Cut a text at some places, empty chunks included."""
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    return [whole[start:end] for start, end in pairwise(places)]


def until_first_stop(text: str, stops: Iterable[str]) -> tuple[str, str | None]:
    """Read a text one character at a time and say what is left of it; the plainest way to write the rule."""
    for end in range(1, len(text) + 1):
        for stop in sorted(stops, key=len, reverse=True):
            if text[:end].endswith(stop):
                return text[: end - len(stop)], stop
    return text, None


@given(st.binary(max_size=40), CUTS)
def test_decoder_equals_decoding_the_whole(data: bytes, cuts: list[int]) -> None:
    """Bytes cut anywhere, broken UTF-8 included, give the text of the whole."""
    decoder = StreamDecoder()
    assert "".join(map(decoder.feed, chunks(data, cuts))) + decoder.flush() == data.decode("utf-8", "replace")


@given(st.text(max_size=12))
def test_decoder_never_shows_half_a_character(text: str) -> None:
    """Valid text that comes byte by byte never shows a replacement sign, and needs no flush."""
    decoder = StreamDecoder()
    shown = "".join(decoder.feed(bytes([byte])) for byte in text.encode())
    assert shown == text
    assert decoder.flush() == ""


def test_decoder_waits_for_the_rest_of_a_character() -> None:
    """The first byte of two shows nothing, the second shows the character."""
    decoder = StreamDecoder()
    assert [decoder.feed(b"\xc3"), decoder.feed(b"\xa9")] == ["", "é"]


@given(st.text("abcd", max_size=40), STOPS, CUTS)
def test_stops_do_not_depend_on_chunks(text: str, stops: list[str], cuts: list[int]) -> None:
    """Text cut anywhere ends before the stop that is completed first, and reports it."""
    matcher = StopMatcher(stops)
    shown = "".join(map(matcher.feed, chunks(text, cuts))) + matcher.flush()
    assert (shown, matcher.stopped) == until_first_stop(text, stops)


@given(st.text("abcd", max_size=20), STOPS, CUTS)
def test_only_a_possible_stop_is_held_back(text: str, stops: list[str], cuts: list[int]) -> None:
    """What is held back is always the longest ending that opens a stop, no more and no less."""
    matcher, shown, read = StopMatcher(stops), "", ""
    for chunk in chunks(text, cuts):
        shown, read = shown + matcher.feed(chunk), read + chunk
        if matcher.stopped is not None:
            break
        openings = [read[start:] for start in range(len(read)) if any(s.startswith(read[start:]) for s in stops)]
        assert read == shown + max(openings, key=len, default="")


@pytest.mark.parametrize(
    ("stops", "fed", "shown", "stopped"),
    [
        ((), ["any ", "text"], ["any ", "text"], None),
        (("\n\n",), ["one\n", "\ntwo"], ["one", ""], "\n\n"),
        (("\n\n",), ["one\n", "two"], ["one", "\ntwo"], None),
        (("User:",), ["Hi Us", "ually", " User", ":"], ["Hi ", "Usually", " ", ""], "User:"),
        (("abcd", "bc"), ["abcd"], ["a"], "bc"),
        (("bc", "abc"), ["xabc"], ["x"], "abc"),
        (("a",), ["bab", "more"], ["b", ""], "a"),
    ],
)
def test_stop_examples(stops: tuple[str, ...], fed: list[str], shown: list[str], stopped: str | None) -> None:
    """Stops that span chunks are found, false alarms released; the first to complete wins, of equals the longest."""
    matcher = StopMatcher(stops)
    assert [matcher.feed(text) for text in fed] == shown
    assert matcher.stopped == stopped


def test_flush_releases_an_unfinished_stop_once() -> None:
    """Text that ended inside a stop is shown at the end, and only once."""
    matcher = StopMatcher(["END"])
    assert (matcher.feed("The EN"), matcher.flush(), matcher.flush()) == ("The ", "EN", "")


@pytest.mark.parametrize("stream", [StreamDecoder, StopMatcher])
def test_an_empty_stream_is_empty(stream: Callable[[], StreamDecoder | StopMatcher]) -> None:
    """Nothing in, nothing out."""
    assert stream().flush() == ""
