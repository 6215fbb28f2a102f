"""A pair kept busy: every place is taken, prompts are read once, and a bad row harms no other."""

from __future__ import annotations

import pytest

from baco_local.batch.items import Failure, Item, Row, Written, items_of
from baco_local.batch.runner import run
from baco_local.batch.worker import Wishes, Worker
from baco_local.config import DecodeOptions
from baco_local.errors import BackendError, UsageError
from baco_local.pair import Pair
from baco_local.sampling.steps import SamplingOptions
from baco_local.settings import Settings
from baco_local.testing import ScriptedModel, lively, scripted_pair
from baco_local.text.chat import Message
from baco_local.types import Role
from scripted_batches import LETTERS, hands, hands_that_fail
from scripted_pairs import models_of

WISHES = Wishes(settings=Settings(decode=DecodeOptions(max_tokens=20)))


def rows_of(*prompts: str, **more) -> list[Row]:
    """Return a row per prompt, called by its place."""
    return [
        Row(line=i, id=str(i), messages=(Message("user", prompt),), **more) for i, prompt in enumerate(prompts, start=1)
    ]


def done(pair: Pair, rows: list[Row], n_samples: int = 1, wishes: Wishes = WISHES) -> dict:
    """Have everything done and return the results by key, in the order in which they came."""
    results = {}
    worker = Worker(pair, wishes)

    def take(outcome) -> None:
        item, result = outcome
        assert item.key not in results
        results[item.key] = result

    run(items_of(rows, seed=0, n_samples=n_samples), worker, take)
    assert worker.idle
    return results


def test_company_changes_no_answer():
    """Any number of places gives each answer the text that it has alone, and a seed that makes it again."""
    rows = rows_of("One.", "Two.", "Three.", "One.")
    alone = done(hands(1), rows, 3)
    assert len(alone) == 12
    assert len({result.text for result in alone.values()}) > 6
    for n_parallel in (2, 5, 16):
        assert done(hands(n_parallel), rows, 3) == alone
    item = next(iter(items_of(rows, seed=0, n_samples=1)))
    again = hands(1).generate("One.", seed=item.seed, settings=WISHES.settings)[0]
    assert again.text == alone["1", 0].text


def test_a_free_place_is_taken_at_once():
    """While there is work, every decode but the last few serves as many answers as there are places."""
    pair = hands(4)
    live = []
    step = pair.engine.step
    pair.engine.step = lambda: (step(), live.append(len(pair.engine._turns)))[0]  # looks on, changes nothing
    lengths = [5, 20, 9, 14, 3, 11, 7, 17, 5, 20, 9, 14, 3, 11, 7, 17]
    rows = [
        Row(line=i, id=str(i), messages=(Message("user", f"{i}?"),), knobs={"max_tokens": n, "ignore_end": True})
        for i, n in enumerate(lengths)
    ]
    results = done(pair, rows)
    assert [results[row.id, 0].n_tokens for row in rows] == lengths
    assert len(live) <= sum(lengths) / 4 + 2 * 20


def test_one_prompt_is_read_once():
    """However many samples a prompt has, each model reads it once, and each sample only its last token."""
    prompt = "Tell me a long story about a fox, a bird, and a very small red boat on the old sea."
    pair = hands(4)
    results = done(pair, rows_of(prompt), 24, Wishes(settings=Settings(decode=DecodeOptions(max_tokens=3))))
    for role, model in models_of(pair).items():
        n_prompt = results["1", 0].n_prompt[role]
        n_answers = sum(result.n_tokens for result in results.values())
        assert n_prompt > 80
        assert model.n_fed <= n_prompt + n_answers + 24


def test_items_are_taken_as_there_is_room():
    """No more of the input is held than a few answers per place."""
    worker = Worker(hands(3), WISHES)
    taken = []

    def endless():
        for i in range(10**9):
            taken.append(i)
            yield Item(row=Row(line=i, id=str(i), messages=(Message("user", "Hi."),)), sample=0, seed=i)

    outcomes = []
    run(endless(), worker, outcomes.append, stopped=lambda: len(outcomes) >= 20)
    assert len(taken) <= 20 + 3 * 3 + 3
    assert worker.idle


def test_a_bad_row_fails_alone():
    """A prompt beyond the context and a conversation that the template refuses fail; the others are as without them."""
    good = rows_of("One.", "Two.")
    long = Row(line=8, id="long", messages=(Message("user", "x" * 500),))
    odd = Row(line=9, id="odd", messages=(Message("user", "☃"),))
    results = done(hands(2, n_ctx=200), [good[0], long, odd, good[1]])
    assert isinstance(results["long", 0], Failure)
    assert results["long", 0].kind == "PromptTooLongError"
    assert "--ctx-size" in results["long", 0].message
    assert isinstance(results["odd", 0], Failure)
    without = done(hands(2, n_ctx=200), good)
    assert {key: results[key] for key in without} == without


def test_a_decode_that_fails_costs_one_row():
    """What decoded beside the row that breaks a decode is done again, alone, and only that row is given up."""
    rows = rows_of("One.", "BANG", "Two.", "Three.", "Four.")
    results = done(hands_that_fail("BANG"), rows)
    assert results["2", 0] == Failure("BackendError", "llama_decode failed")
    without = done(hands(4), [row for row in rows if row.id != "2"])
    assert {key: results[key] for key in without} == without


def test_a_model_that_only_fails_ends_the_run():
    """After a few rows that fail alone, one after the other, the error is the run's."""
    with pytest.raises(BackendError, match="llama_decode failed"):
        done(hands_that_fail("T"), rows_of(*(f"T{i}" for i in range(20))))


def test_settings_that_suit_nobody_are_refused_beforehand():
    """Preparing raises what every row would fail with, and tells what the dial means."""
    base, aligned = SamplingOptions(grammar='root ::= "a"'), SamplingOptions()
    worker = Worker(hands(2), Wishes(settings=Settings(base=base, aligned=aligned)))
    with pytest.raises(UsageError, match="grammar"):
        worker.prepare()
    assert Worker(hands(2, n_ctx=3), WISHES).prepare() is None  # each row is told that there is no room


def test_a_system_text_stands_before_each_conversation():
    """Rows without a system text get that of the run; a row's own stays."""
    own = (Message("system", "Mine."), Message("user", "Hi."))
    rows = [*rows_of("Hi."), Row(line=2, id="own", messages=own)]
    jobs = [Wishes(system="Ours.").job(item) for item in items_of(rows, seed=0, n_samples=1)]
    assert [message.content for message in jobs[0].prompt] == ["Ours.", "Hi."]
    assert jobs[1].prompt == own


def test_figures_count_what_is_written():
    """Tokens of finished answers add up, for each model and for base."""
    worker = Worker(hands(3), WISHES)
    results = []
    run(items_of(rows_of("One.", "Two."), seed=0, n_samples=2), worker, results.append)
    figures = worker.figures()
    written = [result for _, result in results if isinstance(result, Written)]
    assert figures.n_tokens == sum(result.n_tokens for result in written)
    assert figures.n_base == round(sum(result.n_tokens * result.base_share for result in written))
    assert all(0 < figures.n_decoded[role] <= figures.n_tokens for role in Role)


def test_stopping_gives_up_what_is_not_finished():
    """After a stop nothing is decoded any more, and the pair can be used again."""
    pair = hands(2)
    worker = Worker(pair, WISHES)
    worker.work([Item(row=row, sample=0, seed=0) for row in rows_of("One.", "Two.", "Three.")], patience_s=0)
    worker.stop()
    assert worker.idle
    assert pair.engine.idle
    assert (
        pair.generate("One.", seed=1, max_tokens=5)[0].text == hands(1).generate("One.", seed=1, max_tokens=5)[0].text
    )


def test_failing_hands_fail_as_meant():
    """The pair that fails on a word writes like any other without it."""
    assert isinstance(hands_that_fail("BANG").engine.models[Role.BASE], ScriptedModel)
    n = len(LETTERS)
    plain = scripted_pair(lively(n, 1), lively(n, 2, stop_bias=1.5), vocab=LETTERS)
    assert (
        hands_that_fail("BANG").generate("Hi.", seed=3, max_tokens=9)[0].text
        == plain.generate("Hi.", seed=3, max_tokens=9)[0].text
    )
