"""The dial moves while an answer is written: what was said stays, and what comes is said at the new place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baco_local.errors import UsageError
from baco_local.routing.dial import ROUTERS
from baco_local.types import FinishReason, Role
from scripted_pairs import NO_GUARDS, PROMPT, Scripts, models_of, scripts, tracks

MOVES = st.lists(st.tuples(st.integers(0, 8), st.sampled_from((0, 2, 5, 8, 10))), max_size=4)


@settings(max_examples=60, deadline=None)
@given(scripts(), st.sampled_from(sorted(ROUTERS)), st.sampled_from((0, 3, 5, 10)), MOVES, st.integers(0, 99))
def test_a_move_changes_later_tokens_only(
    two: Scripts, router: str, first: int, moves: list[tuple[int, int]], seed: int
) -> None:
    """Every stretch between two moves is what a run begun with the tokens before it says at that dial."""
    turned: dict[str, Any] = {"router": router, "max_tokens": 24, "guards": NO_GUARDS}
    stream = two.pair().stream(PROMPT, seed=seed, diversity=first, **turned)
    dial, begun = first, []
    for n, to in moves:
        for _ in zip(range(n), stream, strict=False):
            pass
        said = stream.answer.tokens[len(begun) :]  # one may be said and not yet shown: its text was not settled alone
        kept = two.pair().stream(PROMPT, seed=seed, diversity=dial, begun=[t.spoken for t in begun], **turned)
        again = [token for _, token in zip(range(len(begun) + len(said)), kept, strict=False)]
        assert [t.spoken for t in again] == [t.spoken for t in [*begun, *said]]
        begun += said
        stream.diversity = dial = to
    list(stream)
    rest = two.pair().stream(PROMPT, seed=seed, diversity=dial, begun=[t.spoken for t in begun], **turned)
    list(rest)
    if len(begun) < 24 and not stream.finished:
        assert tracks(stream.answer) == tracks(rest.answer)


def test_from_aligned_alone_through_both_to_base_alone() -> None:
    """0, 5, 10 and back to 0: the model that was not asked catches up in one piece, and the text before stays."""
    two = Scripts(1, 2, 3.0, -9.0)
    pair = two.pair()
    stream = pair.stream(PROMPT, seed=1, diversity=0, max_tokens=40, router="RAND", guards=NO_GUARDS)
    base = models_of(pair)[Role.BASE]
    texts = [next(stream).text for _ in range(10)]
    assert base.n_fed == 0
    stream.diversity = 5
    n_feeds = base.n_feeds
    texts.append(next(stream).text)
    assert base.n_feeds == n_feeds + 1
    assert base.n_fed == len(pair.prompt_ids(PROMPT)[Role.BASE]) + 10
    texts += [next(stream).text for _ in range(9)]
    stream.diversity = 10
    assert stream.diversity == 10
    texts += [next(stream).text for _ in range(10)]
    n_aligned = models_of(pair)[Role.ALIGNED].n_fed
    stream.diversity = 0
    texts += [token.text for token in stream]
    answer = stream.answer
    assert "".join(texts) == answer.text
    speakers = [token.speaker for token in answer.tokens]
    assert set(speakers[:10]) == {Role.ALIGNED}
    assert set(speakers[10:20]) == set(Role)
    for begin, end, speaker in ((20, 30, Role.BASE), (30, 40, Role.ALIGNED)):
        first = speakers.index(speaker, begin)  # behind the word that was being written
        assert first < end
        assert set(speakers[first:end]) == {speaker}
    assert models_of(pair)[Role.ALIGNED].n_fed > n_aligned
    assert answer.finish is FinishReason.LENGTH


def test_a_move_to_an_end_lets_the_word_be_finished() -> None:
    """Where the dial comes to an end inside a word, the model that began the word finishes it."""
    two = Scripts(1, 2, 3.0, -9.0)
    for n in range(1, 30):
        for router, end, other in (("RAND", 0, Role.BASE), ("RAND", 10, Role.ALIGNED)):
            pair = two.pair()
            stream = pair.stream(PROMPT, seed=3, diversity=5, max_tokens=n + 6, router=router, guards=NO_GUARDS)
            begun = [next(stream) for _ in range(n)]
            stream.diversity = end
            rest = list(stream)
            if begun[-1].speaker is other:
                changed = next((t for t in rest if t.speaker is not other), None)
                before = pair.pieces[([*begun, *rest][changed.position - 1]).id] if changed else b""
                after = pair.pieces[changed.id] if changed else b" "
                assert not (before[-1:].isalnum() and after[:1].isalnum())


def test_a_wrong_place_is_refused_and_changes_nothing() -> None:
    """A dial beyond its ends is an error, and the answer goes on as it was."""
    two = Scripts(1, 2, 3.0, -9.0)
    stream = two.pair().stream(PROMPT, seed=1, max_tokens=9)
    next(stream)
    with pytest.raises(UsageError, match="diversity is 11"):
        stream.diversity = 11
    list(stream)
    assert tracks(stream.answer) == tracks(two.pair().generate(PROMPT, seed=1, max_tokens=9)[0])
