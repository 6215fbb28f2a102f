"""A foresight follows its own guesses, and the answer never hears of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from baco_local.engine.foresight import Foreseen
from baco_local.engine.sequence import Sequence
from baco_local.pair import Job
from baco_local.testing import lively, scripted_pair
from scripted_pairs import PROMPT, SAID, Scripts, knobs


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 999), st.sampled_from((0.5, 2.0, 4.0)), knobs, st.integers(0, 99), st.integers(1, 8))
def test_two_models_that_are_one_foresee_everything(
    model: int, spread: float, turned: dict[str, Any], seed: int, n_begun: int
) -> None:
    """Where both models have the same rows a guess is what will be said, penalties and stops included."""
    script = lively(len(SAID), model, spread=spread, reach=1)  # after the first token both see the same
    pair = scripted_pair(script, script, vocab=SAID)
    turned = turned | {"stop": (), "guards": replace(turned["guards"], loops=False, role_markers=False)}
    whole = pair.generate(PROMPT, seed=seed, **turned)[0]
    begun = tuple(token.spoken for token in whole.tokens[:n_begun])
    task = pair._task(Job(prompt=PROMPT, settings=pair.settings.turn(turned), seed=seed, begun=begun))
    foresight = task.voice.foresee()
    last = begun[-1].id if begun else 0
    for token in whole.tokens[len(begun) :]:
        guessed = foresight.guess(script([last]))
        assert guessed == token.id or (guessed is None and not foresight.readable(token.id))
        if guessed is None:
            break
        last = guessed
    foresight.close()
    assert task.sequence.ids == [spoken.id for spoken in begun]


def test_what_is_foreseen_counts_words_and_bars() -> None:
    """Boundaries count down a bar and count base's words, as in the answer itself."""
    pair = Scripts(1, 2, 3.0, -9.0).pair()
    whole = pair.generate(PROMPT, seed=1, router="RAND", max_tokens=30)[0]
    task = pair._task(Job(prompt=PROMPT, seed=1))
    said: Sequence = task.sequence
    said.barred = 7
    foreseen = Foreseen(said)
    for token in whole.tokens:
        foreseen.accept(token.spoken)
        said.accept(token.spoken)
        assert (foreseen.ids, foreseen.text, foreseen.active) == (said.ids, said.text, said.active)
        assert (foreseen.barred, foreseen.base_run) == (said.barred, said.base_run)


def test_a_row_of_another_width_is_read() -> None:
    """A drafter whose rows are wider or narrower than the pair's still guesses, and only what all can read."""
    pair = Scripts(1, 2, 3.0, -9.0).pair()
    task = pair._task(Job(prompt=PROMPT, seed=1))
    for width in (len(SAID) + 64, len(SAID), 40):
        foresight = task.voice.foresee()
        row = np.zeros(width, np.float32)
        row[-1] = 50.0
        guessed = foresight.guess(row)
        foresight.close()
        if width <= len(SAID):
            assert guessed == width - 1
        else:
            assert guessed is not None
            assert guessed < len(SAID)


def test_an_end_is_no_guess() -> None:
    """Where an end of turn is drawn nothing more is guessed."""
    pair = Scripts(1, 2, 3.0, -9.0).pair()
    foresight = pair._task(Job(prompt=PROMPT, seed=1)).voice.foresee()
    row = np.zeros(len(SAID), np.float32)
    row[3] = 50.0
    assert foresight.guess(row) is None
    assert not foresight.readable(3)
    foresight.close()
