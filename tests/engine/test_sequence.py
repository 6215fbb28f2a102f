from __future__ import annotations

from collections.abc import Sequence as Items
from typing import Any

import numpy as np
import pytest

from baco_local.config import DecodeOptions, Guards
from baco_local.engine.answer import Token
from baco_local.engine.sequence import Sequence
from baco_local.testing import Script, scripted_pair
from baco_local.text.shared import share
from baco_local.types import FinishReason, Role, Row, Spoken
from scripted_pairs import SAID, id_of, towards

A, B = Role.ALIGNED, Role.BASE
VOCAB = share(dict.fromkeys(Role, SAID))


def sequence(**options: Any) -> Sequence:
    """Return an answer that nobody has begun."""
    more = {name: options.pop(name) for name in ("can_cut", "begun") if name in options}
    return Sequence({B: [1, 2], A: [3]}, VOCAB, DecodeOptions(**options), seed=0, sample=0, **more)


def spoken(word: str, speaker: Role, *, boundary: bool = True) -> Spoken:
    """Return a decision for a word."""
    return Spoken(id_of(word), speaker, "test", boundary)


def speak(answer: Sequence, *said: tuple[str, Role]) -> list[Token]:
    """Let a sequence accept words, and return the tokens that it gives back."""
    return [token for word, speaker in said for token in answer.accept(spoken(word, speaker))]


def joined(tokens: Items[Token]) -> str:
    """Return the text of tokens."""
    return "".join(token.text for token in tokens)


def test_a_role_marker_of_base_is_cut_and_aligned_goes_on() -> None:
    """A line of base that opens like a turn goes away unseen, aligned is active, and base is barred for a while."""
    answer = sequence()
    tokens = speak(answer, ("The", A), (" sea", B), ("\n", B), ("User", B), (":", B))
    assert joined(tokens) == "The sea\n"
    assert answer.text == "The sea\n"
    assert answer.ids == [id_of("The"), id_of(" sea"), id_of("\n")]
    assert (answer.active, answer.barred, answer.silenced, answer.finish) == (A, 16, False, None)
    assert [(g.guard, g.position) for g in answer.answer().guards] == [("role marker", 5)]


def test_a_marker_in_one_token_with_its_line_break_is_cut() -> None:
    """A token that completes the marker and ends its line does not hide it."""
    answer = sequence()
    assert joined(speak(answer, ("The", A), ("\n", B), ("User", B), (":\n", B), (" fox", B))) == "The\n fox"


def test_a_bar_lasts_so_many_boundaries() -> None:
    """Base stays barred for the given number of boundaries, and tokens inside words do not count."""
    answer = sequence(guards=Guards(barred_boundaries=3))
    speak(answer, ("The", A), ("\n", B), ("User", B), (":", B))
    left = []
    for word, boundary in (("The", True), ("s", False), (" fox", True), ("ed", False), (" ran", True), (" sea", True)):
        left.append(answer.barred)
        answer.accept(spoken(word, A, boundary=boundary))
    assert left == [3, 2, 2, 1, 1, 0]


def test_the_second_marker_silences_base() -> None:
    """After a second cut base may not speak again in this answer."""
    answer = sequence()
    for silenced in (False, True):
        speak(answer, ("The", A), ("\n", B), ("User", B), (":", B))
        assert answer.silenced is silenced
    assert answer.answer().text == "The\nThe\n"


def test_a_marker_that_aligned_opens_stays() -> None:
    """Only a line that base opens is suspected."""
    answer = sequence()
    assert joined(speak(answer, ("The", A), ("\n", B), ("User", A), (":", B))) == "The\nUser:"


@pytest.mark.parametrize("options", [{"guards": Guards(role_markers=False)}, {"can_cut": False}])
def test_without_the_guard_or_a_cut_a_marker_stays(options: dict[str, Any]) -> None:
    """The guard can be turned off, and a model that cannot take back is never cut."""
    answer = sequence(**options)
    assert joined(speak(answer, ("The", A), ("\n", B), ("User", B), (":", B))) == "The\nUser:"


def test_base_alone_ends_at_a_marker_but_not_at_its_first_words() -> None:
    """At dial 10 a role marker ends the answer, unless nothing would be left of it."""
    answer = sequence(diversity=10)
    assert joined(speak(answer, ("User", B), (":", B), ("\n", B), ("User", B), (":", B))) == "User:\n"
    assert answer.finish is FinishReason.END
    assert answer.ids == [id_of("User"), id_of(":"), id_of("\n")]


def test_a_raw_threshold_is_not_the_end_of_the_dial() -> None:
    """With a threshold both models speak wherever the dial stands, so a marker is cut and the answer goes on."""
    answer = sequence(diversity=10, threshold=0.5)
    speak(answer, ("The", A), ("\n", B), ("User", B), (":", B))
    assert answer.finish is None
    assert answer.active is A


def test_a_loop_bars_base() -> None:
    """Eight words seen a third time bar base at the boundary behind them; without the guard nothing happens."""
    words = (" the", " old", " fox", " sang", " and", " the", " bird", " ran")
    watched, free = sequence(), sequence(guards=Guards(loops=False))
    for answer in (watched, free):
        speak(answer, *((word, B) for word in words * 3))
        assert answer.barred == 0
        speak(answer, (" sea", B))
    assert (watched.barred, free.barred) == (16, 0)
    assert [g.guard for g in watched.answer().guards] == ["loop"]


def test_words_of_base_are_counted() -> None:
    """The run of base grows with its words, not with parts of words, and aligned ends it."""
    answer = sequence()
    runs = []
    for word, speaker, boundary in (("The", B, True), ("s", B, False), (" fox", B, True), (" ran", A, True)):
        answer.accept(spoken(word, speaker, boundary=boundary))
        runs.append(answer.base_run)
    assert runs == [1, 1, 2, 0]


def test_the_last_token_ends_it() -> None:
    """An answer of max_tokens ends with LENGTH, and what was held back comes out."""
    answer = sequence(max_tokens=2)
    assert joined(speak(answer, ("The", A), ("\n", B))) == "The\n"
    assert answer.finish is FinishReason.LENGTH
    answer = sequence(max_tokens=3)
    assert joined(speak(answer, ("The", A), ("\n", B), ("User", B))) == "The\nUser"


def test_an_end_of_turn_is_no_part_of_the_answer() -> None:
    """The token that ends a turn is kept beside the answer."""
    answer = sequence()
    end = Spoken(3, A, "end of turn", boundary=True, ends=True)
    speak(answer, ("The", A))
    assert answer.accept(end) == []
    done = answer.answer()
    assert (done.text, done.finish, done.end) == ("The", FinishReason.END, end)


@pytest.mark.parametrize(
    ("words", "text"), [(("The", " fox", " ran", " sea"), "The fox"), (("The", " fox", " ran", "\n"), "The fox")]
)
def test_a_stop_string_ends_it_inside_tokens(words: tuple[str, ...], text: str) -> None:
    """A stop string ends the answer where it begins, and nothing that follows is accepted."""
    answer = sequence(stop=(" ran",))
    for word in words:
        if answer.finish is None:
            answer.accept(spoken(word, A))
    done = answer.answer()
    assert (done.text, done.finish, done.stop) == (text, FinishReason.STOP, " ran")


def test_a_stop_string_in_held_text_still_counts() -> None:
    """A stop string in a line that might have been a role marker ends the answer when that line comes out."""
    answer = sequence(stop=("ser",), max_tokens=3)
    assert joined(speak(answer, ("The", A), ("\n", B), ("User", B))) == "The\nU"
    assert (answer.finish, answer.answer().stop) == (FinishReason.STOP, "ser")


def test_what_it_begins_with_comes_first() -> None:
    """Begun tokens are part of the answer: they are given back, counted, and set who is active and whose run it is."""
    begun = [spoken("The", A), spoken(" fox", B)]
    answer = sequence(begun=begun, max_tokens=3)
    assert (answer.active, answer.base_run) == (B, 1)
    assert joined(answer.take()) == "The fox"
    assert joined(speak(answer, (" ran", A))) == " ran"
    assert answer.finish is FinishReason.LENGTH


@pytest.mark.parametrize(("options", "finish"), [({"max_tokens": 2}, "length"), ({"stop": (" fox",)}, "stop")])
def test_a_beginning_may_be_the_whole(options: dict[str, Any], finish: str) -> None:
    """An answer whose beginning is long enough, or holds a stop string, is finished before anything is decoded."""
    answer = sequence(begun=[spoken("The", A), spoken(" fox", B)], **options)
    answer.take()
    assert answer.finish == finish


def test_nothing_is_printed_twice() -> None:
    """Closing again, or taking again, gives nothing more."""
    answer = sequence()
    speak(answer, ("The", A), ("\n", B), ("User", B))
    assert joined(answer.close(FinishReason.CANCELLED)) == "User"
    assert answer.close(FinishReason.CANCELLED) == []
    assert answer.take() == []
    assert answer.answer().text == "The\nUser"


def test_a_marker_is_cut_from_the_caches_too() -> None:
    """After a cut both models go on from the kept answer, with penalties that forgot what was cut."""
    n = {role: len(ids) for role, ids in scripted_pair(vocab=SAID).prompt_ids("Hi.").items()}
    words = [id_of(word) for word in (" fox", "\n", "User", ":", " sea")]

    def script(role: Role) -> Script:
        def row(read: Items[int]) -> np.ndarray:
            row = np.zeros(len(SAID), np.float32)
            place = len(read) - n[role]
            row[words[place] if role is B and place < len(words) else id_of(" bird")] = 20.0
            return row

        return row

    pair = scripted_pair(script(B), script(A), vocab=SAID)
    answer = pair.generate("Hi.", router=towards(B), start=B, max_tokens=5, seed=1, repeat_penalty=1.1)[0]
    assert answer.text == "fox\n bird bird bird"
    assert [t.reason for t in answer.tokens[2:]] == ["base barred"] * 3
    fed = pair.engine.models[B].n_fed  # type: ignore[attr-defined]
    assert fed == n[B] + 3 + 3  # " fox", line break, "User", again the line break for its row, two of aligned's words


def test_what_was_cut_is_not_penalised() -> None:
    """Penalties forget a word that was cut: aligned may say it as if nobody had."""
    n = len(scripted_pair(vocab=SAID).prompt_ids("Hi.")[B])
    words = [id_of(word) for word in (" fox", "\n", "User", ":")]

    def base(read: Items[int]) -> Row:
        row = np.zeros(len(SAID), np.float32)
        row[words[min(len(read) - n, 3)]] = 40.0
        return row

    def aligned(_read: Items[int]) -> Row:
        row = np.zeros(len(SAID), np.float32)
        row[[id_of("User"), id_of(" bird")]] = 40.0, 25.0
        return row

    pair = scripted_pair(base, aligned, vocab=SAID)
    answer = pair.generate("Hi.", router=towards(B), start=B, max_tokens=4, seed=1, presence_penalty=30.0)[0]
    assert answer.text == "fox\nUser bird"
    assert [guard.guard for guard in answer.guards] == ["role marker"]
