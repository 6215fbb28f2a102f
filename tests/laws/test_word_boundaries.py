"""No word is ever spliced from two models."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from baco_local.config import BoundaryRule
from baco_local.routing.dial import ROUTERS
from scripted_pairs import NO_GUARDS, PROMPT, Scripts, knobs, scripts
from splices import is_spliced


@settings(max_examples=150, deadline=None)
@given(scripts(), knobs, st.sampled_from(sorted(ROUTERS)), st.integers(0, 99))
def test_no_speaker_changes_inside_a_word(two: Scripts, turned: dict[str, Any], router: str, seed: int) -> None:
    """Whatever the settings, two tokens that meet inside a word were written by one model."""
    chosen = turned | {"router": router, "boundary": BoundaryRule.WORD, "max_tokens": 40}
    pair = two.pair()
    answer = pair.generate(PROMPT, seed=seed, **chosen)[0]
    assert not [pair_ for pair_ in pairwise(answer.tokens) if is_spliced(*pair_, pair.pieces)]
    changes = [after for before, after in pairwise(answer.tokens) if before.speaker is not after.speaker]
    assert all(token.boundary or answer.guards for token in changes)


@settings(max_examples=40, deadline=None)
@given(scripts(in_bytes=st.just(True)), st.integers(0, 99))
def test_no_speaker_changes_inside_a_character(two: Scripts, seed: int) -> None:
    """The bytes of one character come from one model."""
    answer = two.pair().generate(PROMPT, seed=seed, router="RAND", max_tokens=60, guards=NO_GUARDS)[0]
    for before, after in pairwise(answer.tokens):
        if before.speaker is not after.speaker:
            assert not 0x80 <= two.vocab.pieces[after.id][0] < 0xC0 if two.vocab.pieces[after.id] else True


def test_the_rule_can_be_turned_off() -> None:
    """With boundary=token words are spliced: the law above is one that can fail."""
    pair = Scripts(1, 2, 3.0, -9.0).pair()
    answer = pair.generate(PROMPT, seed=1, router="RAND", boundary=BoundaryRule.TOKEN, max_tokens=200)[0]
    assert any(is_spliced(*pair_, pair.pieces) for pair_ in pairwise(answer.tokens))
