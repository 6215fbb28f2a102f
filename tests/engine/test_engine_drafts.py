"""What guesses save, and what they never touch: contexts, widths of vocabularies, what was asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from baco_local.config import DrafterName, ScheduleName
from baco_local.engine.answer import Answer
from baco_local.errors import UsageError
from baco_local.pair import Pair
from baco_local.scheduling.base import Helper
from baco_local.testing import Script, ScriptedModel, lively, says, scripted_pair, word_vocab
from baco_local.types import FinishReason, Role, Row, TokenIds
from scripted_pairs import NO_GUARDS, PROMPT, SAID, Scripts, id_of, models_of, tracks

A, B = Role.ALIGNED, Role.BASE
TWO = Scripts(1, 2, 3.0, -9.0)  # never ends by itself
SPECULATIVE: dict[str, Any] = {"schedule": ScheduleName.SPECULATIVE, "guards": NO_GUARDS, "seed": 1, "max_tokens": 60}


def blurred(script: Script, blur: float, seed: int = 9) -> Script:
    """Return a script that says nearly what another one says."""
    other = lively(len(SAID), seed, spread=blur)
    return lambda ids: script(ids) + other(ids)


def written(drafter: DrafterName, draft: Script | None = None, **knobs: Any) -> tuple[Answer, Pair]:
    """Return an answer for which somebody guessed, and its pair."""
    pair = TWO.pair(draft=draft)
    return pair.generate(PROMPT, **SPECULATIVE, drafter=drafter, **knobs)[0], pair


@pytest.mark.parametrize(("drafter", "role", "d"), [(DrafterName.ALIGNED, A, 0.2), (DrafterName.BASE, B, 9.8)])
def test_a_model_of_the_pair_foresees_itself(drafter: DrafterName, role: Role, d: float) -> None:
    """Where one model says nearly everything its own guesses stand, and the other reads them in a few batches."""
    answer, _ = written(drafter, router="RAND", diversity=d, start=role, draft_max=5)
    assert answer.usage.n_decodes[role.other] < 30
    assert answer.usage.n_decodes[role] < 75


def test_a_small_model_that_writes_alike_saves_most_decodes() -> None:
    """A third model that is a noisy copy of the aligned one lets both models of the pair read in batches."""
    answer, pair = written(DrafterName.MODEL, blurred(TWO.script[A], 0.3), router="RAND", diversity=1, draft_max=5)
    assert max(answer.usage.n_decodes.values()) < 35
    rate = pair.pace.seen(("RAND", 1, None)).acceptance[DrafterName.MODEL].rate
    assert rate > 0.6


def test_a_guess_borrows_the_noise_of_the_side_it_guesses() -> None:
    """A noisy copy guesses far more often right than a draw of its own would be: both meet the same noise."""
    vague = Scripts(1, 2, 1.0, -9.0)  # from such rows two independent draws hardly ever agree
    script = vague.script[A]
    pair = vague.pair(draft=blurred(script, 0.1))
    pair.generate(PROMPT, **SPECULATIVE, drafter=DrafterName.MODEL, router="RAND", diversity=0.1)
    assert pair.pace.seen(("RAND", 0.1, None)).acceptance[DrafterName.MODEL].rate > 0.7
    row = script([1, 2, 3, 4]).astype(np.float64)
    chance = float((np.exp(row) ** 2).sum() / np.exp(row).sum() ** 2)  # that two draws agree
    assert chance < 0.1


def test_what_stood_before_is_looked_up() -> None:
    """A text that repeats itself is read in batches, and no model has guessed."""
    words = [id_of(word) for word in (" the", " old", " fox", " and", " the", " small", " bird")] * 6
    ids = scripted_pair(vocab=SAID).prompt_ids(PROMPT)
    pair = scripted_pair(*(says(words, len(SAID), after=len(ids[role])) for role in (B, A)), vocab=SAID)
    answer = pair.generate(PROMPT, **SPECULATIVE, drafter=DrafterName.LOOKUP)[0]
    assert [token.id for token in answer.tokens] == words
    assert answer.finish is FinishReason.END
    assert max(answer.usage.n_decodes.values()) < 25


@pytest.mark.parametrize("drafter", [DrafterName.MODEL, DrafterName.ALIGNED, DrafterName.LOOKUP])
def test_no_guess_goes_beyond_a_context(drafter: DrafterName) -> None:
    """An answer that fills the context ends where lockstep's does, with guesses up to the last token."""
    knobs: dict[str, Any] = {"seed": 1, "router": "RAND", "diversity": 1}
    pair, plain = (
        scripted_pair(TWO.script[B], TWO.script[A], vocab=SAID, n_ctx=60, draft=TWO.script[A]) for _ in range(2)
    )
    answer = pair.generate(PROMPT, schedule=ScheduleName.SPECULATIVE, drafter=drafter, **knobs)[0]
    expected = plain.generate(PROMPT, **knobs)[0]
    assert tracks(answer) == tracks(expected)
    assert answer.finish is expected.finish is FinishReason.CONTEXT


def with_draft(model: ScriptedModel) -> Pair:
    """Return a pair beside which this model guesses."""
    pair = TWO.pair(draft=TWO.script[A])
    models = {**pair.engine.models, Helper.DRAFT: model}
    return Pair(models, pair._vocab, pair._build, name="x", card=pair.card, template=pair._template)


def test_a_drafter_with_a_short_context_falls_silent() -> None:
    """Where the small model's context is full the answer goes on without it."""
    n_prompt = len(TWO.pair().prompt_ids(PROMPT)[A])
    model = ScriptedModel(TWO.script[A], SAID, n_ctx=n_prompt + 10)
    answer = with_draft(model).generate(PROMPT, **SPECULATIVE, drafter=DrafterName.MODEL)[0]
    assert tracks(answer) == tracks(TWO.pair().generate(PROMPT, **(SPECULATIVE | {"schedule": "lockstep"}))[0])
    assert 0 < len(model._read[0]) <= n_prompt + 10


def test_a_drafter_that_lacks_a_token_is_not_asked_any_more() -> None:
    """A small model with a narrower vocabulary guesses until the text holds a token that it cannot read."""
    texts = [piece.decode() for piece in SAID.pieces[4:-20]]
    narrow = word_vocab(texts)

    def script(ids: TokenIds) -> Row:
        assert all(token < len(narrow) for token in ids)
        return TWO.script[A](ids)[: len(narrow)]

    model = ScriptedModel(script, narrow)
    answer = with_draft(model).generate(PROMPT, **SPECULATIVE, drafter=DrafterName.MODEL, router="RAND")[0]
    assert tracks(answer) == tracks(
        TWO.pair().generate(PROMPT, **(SPECULATIVE | {"schedule": "lockstep"}), router="RAND")[0]
    )
    assert any(token.id >= len(narrow) for token in answer.tokens)


def test_without_a_small_model_nobody_can_ask_it() -> None:
    """To name a drafter that is not loaded is an error before anything is decoded."""
    with pytest.raises(UsageError, match="no small model is loaded"):
        written(DrafterName.MODEL)


def test_a_users_router_is_never_asked_about_guesses() -> None:
    """A router of one's own sees the positions of the answer in their order, each once."""
    asked: list[int] = []

    def router(step: Any) -> str:
        asked.append(step.position)
        return "base" if step.coin < 0.3 else "aligned"

    written(DrafterName.ALIGNED, router=router)
    assert asked == sorted(set(asked))
    assert len(asked) > 20


def test_the_helper_reads_what_aligned_reads() -> None:
    """The small model is given the aligned model's prompt, and forks of it serve all samples."""
    pair = TWO.pair(draft=TWO.script[A])
    answers = pair.generate(PROMPT, n=3, **SPECULATIVE, drafter=DrafterName.MODEL)
    plain = TWO.pair().generate(PROMPT, n=3, **(SPECULATIVE | {"schedule": "lockstep"}))
    assert [tracks(one) for one in answers] == [tracks(one) for one in plain]
    held = models_of(pair)[Helper.DRAFT]._read  # type: ignore[index]
    prompt = pair.prompt_ids(PROMPT)[A]
    assert all(read[: len(prompt)] == prompt for read in held if read)


@pytest.mark.parametrize("n_read", range(1, 6))
def test_guesses_that_stand_outlive_what_others_read(n_read: int) -> None:
    """An answer that has guesses left to say goes on rightly when another prompt is read in between."""
    knobs: dict[str, Any] = SPECULATIVE | {"router": "RAND", "diversity": 0.5}
    pair = TWO.pair(draft=TWO.script[A], n_parallel=2)
    first = pair.stream(PROMPT, **knobs)
    for _ in range(n_read):
        next(first)
    second = pair.stream("Tell me of a bird.", **(knobs | {"schedule": "lockstep"}))
    list(first)
    list(second)
    plain = TWO.pair()
    for prompt, stream in ((PROMPT, first), ("Tell me of a bird.", second)):
        assert tracks(stream.answer) == tracks(plain.generate(prompt, **(knobs | {"schedule": "lockstep"}))[0])
