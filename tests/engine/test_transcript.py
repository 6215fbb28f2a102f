from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.engine.transcript import Line, Transcript
from baco_local.text.stream import StopMatcher, StreamDecoder

PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            (
                " fox",
                "The",
                "\n",
                "\n\n",
                ".\n\nQ",
                "Question",
                ":",
                ":\n",
                "User:\n",
                "Us",
                "er",
                " ",
                "###",
                "END",
                "EN",
            )
        ).map(str.encode),
        st.binary(max_size=3),
        st.sampled_from(["é", "🙂", "a\u0301"]).flatmap(
            lambda text: st.integers(1, len(text.encode()) - 1).map(lambda n: text.encode()[:n])
        ),
    ),
    max_size=24,
)
STOPS = st.lists(st.sampled_from(("END", "fox", "\n\n", "N", "Question: who")), max_size=2).map(tuple)


def run(
    pieces: list[tuple[bytes, bool]], stops: tuple[str, ...] = ()
) -> tuple[Transcript, list[list[tuple[int, str]]]]:
    """Add every piece, take what is settled after each, and cut back what opens a role marker."""
    transcript, kept, taken = Transcript(stops), list[bytes](), []
    for piece, suspect in pieces:
        if transcript.stopped is not None:
            break
        transcript.add(piece, suspect=suspect)
        kept.append(piece)
        if transcript.line is Line.MARKER:
            del kept[transcript.before_line() :]
            transcript.cut(kept)
        taken.append(transcript.take())
    return transcript, taken


@given(PIECES)
def test_spans_joined_are_the_text(pieces: list[bytes]) -> None:
    """Every token is handed out once, in order; joined they are the whole characters, without leading space."""
    transcript, taken = run([(piece, False) for piece in pieces])
    spans = [span for some in (*taken, transcript.finish()) for span in some]
    assert [i for i, _ in spans] == list(range(len(pieces)))
    assert "".join(text for _, text in spans) == StreamDecoder().feed(b"".join(pieces)).lstrip()


@given(st.lists(st.tuples(PIECES.flatmap(lambda pieces: st.sampled_from(pieces or [b""])), st.booleans())), STOPS)
def test_what_was_printed_is_never_taken_back(pieces: list[tuple[bytes, bool]], stops: tuple[str, ...]) -> None:
    """Whatever is cut back or stops it, a printed token stays in the answer, at its place and with its text."""
    transcript, taken = run(pieces, stops)
    spans = [span for some in (*taken, transcript.finish()) for span in some]
    assert [i for i, _ in spans] == list(range(len(spans)))
    printed, matcher = "".join(text for _, text in spans), StopMatcher(stops)
    assert printed == (matcher.feed(transcript.text) + matcher.flush()).lstrip()
    assert transcript.stopped == matcher.stopped


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        ((b"\xc3", b"\xa9t", b"\xc3\xa9"), [[(0, "")], [(1, "ét")], [(2, "é")]]),
        ((b"\xf0\x9f", b"\x99", b"\x82!"), [[(0, "")], [(1, "")], [(2, "🙂!")]]),
        ((b"\xc3", b"x"), [[(0, "")], [(1, "\ufffdx")]]),
        ((b" ", b"\n", b" The", b" end"), [[], [(0, ""), (1, "")], [(2, "The")], [(3, " end")]]),
    ],
)
def test_half_characters_and_leading_space_are_held_back(pieces: tuple[bytes, ...], shown: list[object]) -> None:
    """A character belongs to the token that completes it, and no answer starts with white space."""
    assert run([(piece, False) for piece in pieces])[1] == shown


def test_a_character_that_is_never_completed_is_never_shown() -> None:
    """Half a character at the end of an answer is nothing that anybody could read."""
    transcript, taken = run([(b"a", False), (b"\xe2\x82", False)])
    assert [*taken[0], *taken[1], *transcript.finish()] == [(0, "a"), (1, "")]
    assert transcript.text == "a"


@pytest.mark.parametrize(
    "pieces",
    [
        ("Well", "\n", "Question", " 2", ":"),
        ("Well", "\n", "User", ":\n"),  # one token completes the marker and ends its line
        ("Well", "\n", "Answer:\nYes"),
        ("Well", "\nAnswer:\nYes"),  # one token opens the line, completes the marker, and ends the line
        ("Well", ".\n\nUser", ":"),
        ("Well", "\n", " ", "##", "#"),
        ("Assist", "ant:"),
    ],
)
def test_a_line_that_opens_like_a_turn_is_never_printed(pieces: tuple[str, ...]) -> None:
    """Nothing of a role marker is handed out, however tokens cut it, and the tokens before its line are kept."""
    transcript = Transcript()
    printed = []
    for piece in pieces:
        assert transcript.line is not Line.MARKER
        transcript.add(piece.encode(), suspect=True)
        if transcript.line is not Line.MARKER:
            printed += transcript.take()
    assert transcript.line is Line.MARKER
    keep = transcript.before_line()
    assert len(printed) <= keep
    transcript.cut([piece.encode() for piece in pieces[:keep]])
    printed += transcript.finish()
    assert "".join(text for _, text in printed) == "".join(pieces[:keep])


@pytest.mark.parametrize(
    "pieces", [("Quest", "s"), ("Question", "\n"), ("User", " name", ":"), ("Us", " all"), ("#", "1")]
)
def test_a_false_alarm_is_released_whole(pieces: tuple[str, ...]) -> None:
    """A line that looked like a role marker comes out as soon as it is none."""
    taken = run([(piece.encode(), True) for piece in pieces])[1]
    assert "".join(text for some in taken for _, text in some) == "".join(pieces)
    assert taken[0] == []


def test_only_a_suspect_opens_a_marker() -> None:
    """A line whose first word is not suspected is printed at once, whatever it says."""
    assert run([(b"Question", False), (b":", True)])[1] == [[(0, "Question")], [(1, ":")]]


@pytest.mark.parametrize(
    ("pieces", "shown", "stop"),
    [
        (("a", " fo", "x!"), ["a", " "], "fox"),
        (("a fox b",), ["a "], "fox"),
        (("one", " E", "N", "Dless"), ["one", " "], "END"),
        (("one", " E", "N", "emy"), ["one", " E", "N", "emy"], None),
    ],
)
def test_stop_strings_cut_tokens_in_two(pieces: tuple[str, ...], shown: list[str], stop: str | None) -> None:
    """Text before a stop string is printed and nothing of the stop is, wherever tokens begin and end."""
    transcript, taken = run([(piece.encode(), False) for piece in pieces], ("fox", "END"))
    assert [text for some in (*taken, transcript.finish()) for _, text in some] == shown
    assert transcript.stopped == stop


def test_printed_text_cannot_be_cut() -> None:
    """To cut what was handed out is a mistake of ours."""
    transcript, _ = run([(b"a", False), (b"b", False)])
    with pytest.raises(AssertionError, match="printed"):
        transcript.cut([b"a"])
