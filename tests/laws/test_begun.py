"""An answer can be continued from its beginning: the rest is what it was, or what follows another choice."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from baco_local.types import FinishReason, Role, Spoken
from scripted_pairs import PROMPT, Scripts, knobs, scripts, tracks


@settings(max_examples=120, deadline=None)
@given(scripts(), knobs, st.integers(0, 99), st.integers(0, 3), st.integers(0, 24))
def test_a_beginning_changes_nothing(
    two: Scripts, turned: dict[str, Any], seed: int, sample: int, n_begun: int
) -> None:
    """An answer that is continued from its own first tokens is the answer that was never interrupted."""
    whole = two.pair().generate(PROMPT, seed=seed, first_sample=sample, **turned)[0]
    if whole.guards or whole.stop:
        return  # what a guard has taken back, or a stop string cut in two, is not in the tokens any more
    begun = [token.spoken for token in whole.tokens[:n_begun]]
    stream = two.pair().stream(PROMPT, seed=seed, sample=sample, begun=begun, **turned)
    tokens = list(stream)
    assert tracks(stream.answer) == tracks(whole)
    assert stream.answer.finish is whole.finish
    assert tokens == list(stream.answer.tokens)


def test_another_choice_is_followed() -> None:
    """After a chosen token of the other side the answer goes on from it, with that side active."""
    two = Scripts(1, 2, 3.0, -9.0)
    pair = two.pair()
    whole = pair.generate(PROMPT, seed=1, max_tokens=12, router="RAND")[0]
    place = next(i for i, token in enumerate(whole.tokens) if i > 2 and token.boundary)
    other = whole.tokens[place].speaker.other
    chosen = Spoken(two.vocab.pieces.index(b" sea"), other, "chosen", boundary=True)
    begun = [*(token.spoken for token in whole.tokens[:place]), chosen]
    stream = pair.stream(PROMPT, seed=1, max_tokens=12, router="RAND", begun=begun)
    texts = [token.text for token in stream]
    assert texts[: place + 1] == [*(token.text for token in whole.tokens[:place]), " sea"]
    assert stream.answer.tokens[place].reason == "chosen"
    assert len(texts) == 12


def test_a_beginning_as_long_as_the_answer_may_be_is_the_answer() -> None:
    """Nothing is decoded where the beginning is long enough."""
    two = Scripts(1, 2, 3.0, -9.0)
    whole = two.pair().generate(PROMPT, seed=1, max_tokens=5)[0]
    pair = two.pair()
    stream = pair.stream(PROMPT, seed=1, max_tokens=5, begun=[token.spoken for token in whole.tokens])
    assert "".join(token.text for token in stream) == whole.text
    assert stream.answer.finish is FinishReason.LENGTH
    assert all(model.n_fed == 0 for model in pair.engine.models.values())  # type: ignore[attr-defined]
    assert stream.answer.usage.n_decoded == dict.fromkeys(Role, 0)


def test_penalties_know_the_beginning() -> None:
    """What the answer begins with is penalised as if it had been said just now."""
    knobs: dict[str, Any] = {"max_tokens": 60, "router": "RAND", "presence_penalty": 50.0, "repeat_last_n": -1}
    two = Scripts(1, 2, 0.5, -9.0)
    begun = [token.spoken for token in two.pair().generate(PROMPT, seed=1, **knobs)[0].tokens[:30]]
    stream = two.pair().stream(PROMPT, seed=2, begun=begun, **knobs)
    ids = [token.id for token in stream]
    assert len(ids) == len(set(ids)) == 60
