from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baco_local.engine.answer import Answer
from baco_local.evals.methods import METHODS
from baco_local.evals.nudging import DRAFT, NUDGING, ROUNDS, nudged, trimmed, words_of
from baco_local.evals.plan import Plan
from baco_local.evals.questions import Question
from baco_local.evals.run_folder import read_point
from baco_local.evals.runner import carry_out
from baco_local.evals.ways import Draft
from baco_local.pair import Pair
from baco_local.testing import Script, scripted_pair
from baco_local.text.chat import Message
from baco_local.types import FinishReason, Role, Row, TokenIds
from scripted_pairs import PROMPT, SAID, Scripts, id_of, same

A, B = Role.ALIGNED, Role.BASE
END = "<end>"
SURE, UNSURE = 0.9, 0.2  # above and below a threshold of 0.3
Mind = Callable[[str], str]
"""(the answer so far) -> the token that comes next, with a ``?`` before it where that is not sure."""


def always(token: str) -> Mind:
    """Return a mind that knows one word."""
    return lambda _text: token


def in_turn(*tokens: str) -> Mind:
    """Return a mind that says tokens by the number of words there are, over and over."""
    return lambda text: tokens[text.count(" ") % len(tokens)]


def row_of(token: str) -> Row:
    """Return a row in which a token has its probability, and all others share the rest."""
    p = UNSURE if token.startswith("?") else SURE
    row = np.full(len(SAID), np.log((1 - p) / (len(SAID) - 1)), np.float32)
    row[3 if token.removeprefix("?") == END else id_of(token.removeprefix("?"))] = np.log(p)
    return row


def pair_of(aligned: Mind, base: Mind, asked: list[str] | None = None, **more: int) -> Pair:
    """Return a pair with these minds; ``asked`` takes what base has read whenever it is asked."""
    prompts = scripted_pair(vocab=SAID).prompt_ids(PROMPT)

    def script(role: Role, mind: Mind) -> Script:
        def row(read: TokenIds) -> Row:
            text = b"".join(SAID.pieces[token] for token in read[len(prompts[role]) :]).decode()
            if role is B and asked is not None:
                asked.append(text)
            return row_of(mind(text))

        return row

    return scripted_pair(script(B, base), script(A, aligned), vocab=SAID, **more)


def loop(pair: Pair, max_tokens: int, threshold: float = 0.3) -> Answer:
    """Return a greedy answer."""
    (answer,) = pair.generate(
        PROMPT, router=NUDGING, threshold=threshold, temperature=0.0, max_tokens=max_tokens, seed=1
    )
    return answer


def track(answer: Answer) -> str:
    """Return the text, base's stretches in brackets."""
    text, last = "", A
    for token in answer.tokens:
        text += "" if token.speaker is last else "]" if last is B else "["
        text, last = text + SAID.pieces[token.id].decode(), token.speaker
    return text + ("]" if last is B else "")


def test_a_draft_that_ends_the_answer_is_said_whole() -> None:
    """Rule 1: where aligned ends within its draft, the draft is the rest of the answer, and base is never asked."""
    asked: list[str] = []
    answer = loop(pair_of(in_turn(" old", " fox", " ran", END), always(" sea"), asked), 30)
    assert (track(answer), answer.finish, asked) == (" old fox ran", FinishReason.END, [])


def test_the_first_word_of_a_draft_is_said_in_any_case() -> None:
    """Rule 2: aligned says one word even where base is sure of another, and then base takes over."""
    assert track(loop(pair_of(always(" fox"), always(" sea")), 4)) == " fox[ sea sea sea]"


def test_base_takes_over_where_it_agrees() -> None:
    """Rule 2: an unsure base takes over where its token begins the next word of the draft."""
    base = {" old fox": "? ", " old fox ": "?s"}  # a space begins " ran"; what follows is unsure, so it is dropped
    aligned = in_turn(" old", " fox", " ran", " ran", " and", " then", " sang")
    text = track(loop(pair_of(aligned, lambda said: base.get(said, "?!")), 5))
    assert text == " old fox[ ] ran and"


def test_base_takes_over_where_it_is_sure() -> None:
    """Rule 2: at the threshold base takes over with a word of its own; below it aligned's next word is said, too."""
    minds = in_turn(" old", " red", " fox", " ran"), in_turn("?!", "?!", " bird", "?!")
    assert track(loop(pair_of(*minds), 4)) == " old red[ bird] ran"
    assert track(loop(pair_of(*minds), 4, threshold=0.95)) == " old red fox ran"


def test_the_last_word_of_a_draft_is_left_out() -> None:
    """Rule 2: the word that the limit may have cut begins the next draft, so base is asked before every other word."""
    asked: list[str] = []
    loop(pair_of(in_turn(" old", " red", " fox"), always("?!"), asked), 2 * DRAFT)
    assert [text.count(" ") for text in asked][: 2 * DRAFT - 2] == list(range(1, 2 * DRAFT - 1))


def test_an_only_word_is_said() -> None:
    """Rule 2: a draft without a space is one word, which is said though the limit has cut it."""
    asked: list[str] = []
    letters = "abcdefghijklmnopqrstuvwxyz"
    answer = loop(pair_of(lambda text: letters[len(text)], always(" sea"), asked), 20)
    assert (track(answer), asked) == (letters[:20], [])


def test_base_writes_up_to_its_first_unsure_token() -> None:
    """Rule 3: the unsure token is dropped, and aligned drafts from there."""
    base = in_turn(" a", " fox", " and", "? bird", "?!")
    assert track(loop(pair_of(always(" sea"), base), 5)) == " sea[ fox and] sea sea"


def test_an_end_of_base_ends_its_turn_alone() -> None:
    """Rule 3: base may stop at once or later; either way aligned writes on."""
    late = in_turn("?!", " fox", END)
    assert track(loop(pair_of(always(" sea"), late), 4)) == " sea[ fox] sea sea"
    assert track(loop(pair_of(in_turn(" sea", " bird", " fox"), always(END)), 4)) == " sea bird fox sea"


def test_the_same_nudge_again_and_again_ends_the_answer() -> None:
    """Rule 4: after three equal nudges in a row the fourth is not said."""
    answer = loop(pair_of(always(" sea"), always(END)), 30)
    assert (track(answer), answer.finish) == (" sea sea sea", FinishReason.END)
    assert answer.end is not None
    assert answer.end.reason == "repeated nudge"


def test_a_chunk_that_base_has_written_ends_its_turn() -> None:
    """Rule 4: a full chunk that stands in base's turn already is dropped, and aligned is asked."""
    asked: list[str] = []
    answer = loop(pair_of(in_turn(" old", " red", " fox"), always(" sea"), asked), 4 * DRAFT)
    assert track(answer).startswith(" old[" + " sea" * DRAFT + "] fox")
    assert " old" + " sea" * (2 * DRAFT - 1) in asked  # a second chunk was thought of


@pytest.mark.parametrize(("n", "again"), [(7, 1), (5, 5)])
def test_a_long_chunk_that_stands_in_the_answer_ends_bases_turn(n: int, again: int) -> None:
    """Rule 4: more than five words that were said before are not said again; the word that took over stays."""
    base = lambda text: "?!" if text.endswith(" sea" * n) else " sea"  # noqa: E731
    answer = loop(pair_of(in_turn(" old", " red", " fox"), base), n + 2 + again)
    nudge = {7: " fox", 5: " old"}[n]
    assert track(answer) == " old[" + " sea" * n + "]" + nudge + "[" + " sea" * again + "]"


def test_a_tail_that_repeats_itself_is_cut() -> None:
    """Rule 4: of a stretch of thirty characters or more that stands twice at the end, the first is kept."""
    tail = " and the old fox sang to the sea"
    assert trimmed("One." + 3 * tail + " \n") == "One." + tail
    assert trimmed("One." + 3 * tail[:20]) == "One." + 3 * tail[:20]
    (fox,) = _through(Draft(voices=((B, "One." + tail), (A, tail))))
    assert fox.voices == ((B, "One." + tail),)


def _through(*drafts: Draft) -> tuple[Draft, ...]:
    """Return what the way of this rival makes of drafts."""
    asking = nudged(Question(id="fox", messages=(Message("user", PROMPT),)), len(drafts), lambda _messages: True)
    next(asking)
    with pytest.raises(StopIteration) as done:
        asking.send(drafts)
    answers: tuple[Draft, ...] = done.value.value
    return answers


def test_the_loop_ends_after_so_many_rounds() -> None:
    """A pair that never ends is broken off, whatever its limit."""
    answer = loop(pair_of(in_turn(" sea", " fox"), always(END)), 2 * ROUNDS)
    assert (len(answer.tokens), answer.end and answer.end.reason) == (ROUNDS, "rounds")


def test_a_full_context_ends_an_answer() -> None:
    """Drafts never reach beyond what both models can hold."""
    prompts = scripted_pair(vocab=SAID).prompt_ids(PROMPT)
    n_ctx = max(map(len, prompts.values())) + 20
    answer = loop(pair_of(in_turn(" old", " red", " fox"), in_turn("?!", "?!", "?!", " sea"), n_ctx=n_ctx), 100)
    assert (len(answer.tokens), answer.finish) == (21, FinishReason.CONTEXT)


@settings(max_examples=50, deadline=None)
@given(
    st.builds(Scripts, st.integers(0, 99), st.integers(0, 99), st.just(5.0), st.sampled_from((-4.0, 0.0))),
    st.sampled_from((0.0, 1.0)),
    st.floats(0.1, 0.9),
    st.booleans(),
)
def test_company_changes_nothing(two: Scripts, temperature: float, threshold: float, can_rewind: bool) -> None:
    """Several answers at once are what each is alone, with or without a memory that can be cut back."""
    knobs = {"router": NUDGING, "threshold": threshold, "temperature": temperature, "max_tokens": 24, "seed": 5}
    together = two.pair(can_rewind=can_rewind).generate(PROMPT, n=3, **knobs)  # type: ignore[arg-type]
    alone = [two.pair().generate(PROMPT, first_sample=k, **knobs)[0] for k in range(3)]  # type: ignore[arg-type]
    assert all(same(one, other) for one, other in zip(together, alone, strict=True))


@given(st.lists(st.sampled_from((b" a", b"b", b" ", b"  ", b".", b" c d", b"\n")), max_size=16))
def test_words_part_a_draft(pieces: list[bytes]) -> None:
    """Words follow each other from the first token to the last; all but the first begin with a space, none is blank."""
    words = words_of(pieces)
    assert [place for start, end in words for place in range(start, end)] == list(range(len(pieces)))
    texts = [b"".join(pieces[start:end]) for start, end in words]
    assert all(text.startswith(b" ") for text in texts[1:])
    assert all(text.strip(b" ") for text in texts[:-1])


@given(st.text("ab ", max_size=8), st.text("ab ", min_size=30, max_size=40), st.integers(1, 4))
def test_trimming_is_done_once_and_for_all(head: str, tail: str, n: int) -> None:
    """What is left is the beginning of the text, and nothing is left to trim."""
    text = head + n * tail
    left = trimmed(text)
    assert text.startswith(left)
    assert trimmed(left) == left
    assert len(left) < len(head + 2 * tail)


def test_a_sweep_runs_it(study: Callable[..., Plan], tmp_path: Path) -> None:
    """Both forms go through a sweep like any rival: the greedy one says one thing, the other draws."""
    plan = study("nudge-words", "nudge-words-drawn", points=1, max_tokens=24)
    run = carry_out(plan, Scripts(3, 4, 3.0, -4.0).pair(), tmp_path / "run", made_with={}, about={})
    assert (run.n_done, run.n_failed) == (plan.n_answers, 0)
    variety = {}
    for name in ("nudge-words", "nudge-words-drawn"):
        lines = read_point(tmp_path / "run", name, 1)
        variety[name] = [len({said.text for said in line.answers}) for line in lines.values()]
        assert sum(line.cost.read_base for line in lines.values()) > 0
    assert variety["nudge-words"] == [1, 1]
    assert max(variety["nudge-words-drawn"]) > 1


def test_the_threshold_is_swept() -> None:
    """Nine thresholds, the public code's 0.3 among them."""
    method = METHODS["nudge-words"]
    assert (method.turned, 0.3 in method.points) == ("threshold", True)
    assert method.at(0.3)["router"] is NUDGING
