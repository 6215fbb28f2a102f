"""The two-voice stream: nothing lost, nothing redrawn, nothing beyond the margin."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from baco_cli.console import Paint
from baco_cli.render import Tally, TokenWriter, by_sentence, figures, visible
from baco_local.engine.answer import Token
from baco_local.types import Role, Spoken

PLAIN = {Role.BASE: Paint(), Role.ALIGNED: Paint()}
MARKS = {Role.BASE: Paint("", "", "⟦", "⟧"), Role.ALIGNED: Paint()}
CODES = {Role.BASE: Paint("<", ">"), Role.ALIGNED: Paint()}

texts = st.text(alphabet=st.sampled_from("ab c\n-é海 xyz"), max_size=12)
speeches = st.lists(st.tuples(texts, st.sampled_from(Role)), max_size=30)


def written(speech, paints=PLAIN, measure=None):
    """Return everything that a writer sends for a speech."""
    writer = TokenWriter(paints, measure)
    return "".join([writer.feed(text, speaker) for text, speaker in speech]) + writer.flush()


def letters(text):
    """Return text without its white space."""
    return re.sub(r"\s", "", text)


@given(speeches)
def test_a_pipe_gets_the_text_itself(speech):
    """Without a margin the joined output is the joined input, white space included."""
    assert written(speech) == "".join(text for text, _ in speech)


@given(speeches, st.integers(12, 60))
def test_wrapping_changes_white_space_only(speech, measure):
    """On a terminal every visible character comes out once, in order."""
    assert letters(written(speech, measure=measure)) == letters("".join(text for text, _ in speech))


@given(speeches, st.integers(12, 60), st.booleans())
def test_no_line_passes_the_margin(speech, measure, marked):
    """A line never takes more columns than the measure, a closing mark aside."""
    lines = written(speech, MARKS if marked else PLAIN, measure).split("\n")
    assert all(cell_len(line.rstrip(" ⟧")) <= measure for line in lines)


@given(speeches, st.integers(22, 60), st.data())
def test_chunks_do_not_matter(speech, measure, data):
    """The total is the same however the text of a speaker is cut into feeds."""
    cut = []
    for text, speaker in speech:
        at = data.draw(st.integers(0, len(text)))
        cut += [(text[:at], speaker), (text[at:], speaker)]
    assert written(cut, MARKS, measure) == written(speech, MARKS, measure)


@given(speeches, st.sampled_from([None, 24, 60]))
def test_attribution_is_exact(speech, measure):
    """Inside the marks stands what base wrote, and nothing else that is visible."""
    marked = "".join(re.findall(r"⟦([^⟦⟧]*)⟧", written(speech, MARKS, measure)))
    assert letters(marked) == letters("".join(text for text, speaker in speech if speaker is Role.BASE))


@given(speeches, st.sampled_from([None, 24, 60]))
def test_codes_say_the_same_as_marks(speech, measure):
    """Terminal codes surround the same characters as marks do, and never a line break."""
    painted = re.findall(r"<([^<>]*)>", written(speech, CODES, measure))
    assert letters("".join(painted)) == letters("".join(text for text, speaker in speech if speaker is Role.BASE))
    assert not any("\n" in run for run in painted)


def test_a_word_near_the_margin_waits_and_moves_whole():
    """A word that does not fit goes to the next line in one piece, even when it comes in two tokens."""
    writer = TokenWriter(PLAIN, 24)
    assert writer.feed("The quick brown fox ", Role.ALIGNED) + writer.feed("jum", Role.BASE) == "The quick brown fox"
    assert writer.feed("ped over", Role.BASE) == "\njumped"
    assert writer.flush() == " over"


def test_words_far_from_the_margin_are_not_held_back():
    """A token in the middle of a word is written at once."""
    writer = TokenWriter(PLAIN, 80)
    assert writer.feed("Once up", Role.ALIGNED) == "Once up"
    assert writer.feed("on", Role.ALIGNED) == "on"


def test_a_space_between_two_voices_belongs_to_neither():
    """The space before base's first word and after its last one is not painted; the one between its words is."""
    speech = [("The sea", Role.ALIGNED), (" was", Role.BASE), (" loud", Role.BASE), (" and", Role.ALIGNED)]
    assert written(speech, CODES) == "The sea <was>< loud> and"


def test_control_characters_cannot_reach_the_terminal():
    """A model that writes an escape sequence shows a sign for it instead."""
    assert visible("a\x1b[2Jb\tc\r\n") == "a␛[2Jb    c\n"
    assert "\x1b" not in written([("x\x1b[31mred", Role.BASE)], measure=40)


def test_a_notice_breaks_between_sentences():
    """What fits stays in one line; what does not begins a line with a sentence, so that a command stays whole."""
    notice = "A toy. Little stories only, v0.1 and so on. Larger pairs: baco chat -B BASE.gguf"
    assert by_sentence(notice, 200) == [notice]
    assert by_sentence(notice, 60) == [
        "A toy. Little stories only, v0.1 and so on.",
        "Larger pairs: baco chat -B BASE.gguf",
    ]


def token(text, speaker, elapsed_s):
    """Return a token that one model wrote at a time."""
    return Token(text, Spoken(1, speaker, "P", boundary=True), 0, elapsed_s)


def test_figures_of_a_short_answer():
    """Share, switches, speed, dial and seed are said in one line."""
    tally = Tally()
    for position, speaker in enumerate([Role.ALIGNED, Role.BASE, Role.BASE, Role.ALIGNED]):
        tally.add(token("x", speaker, 1 + position / 8))
    assert figures(tally, dial="d=5", seed=7) == "base 50 % · 2 switches · 8.0 tok/s · d=5 · seed 7"


def test_an_empty_answer_has_figures():
    """Nothing written is no base, no switch and no speed."""
    assert figures(Tally(), dial="d=5") == "base 0 % · 0 switches · d=5"
