from __future__ import annotations

import dataclasses
import gc
import threading
import time
from typing import Any

import numpy as np
import pytest

from baco_local.catalog import PairCard
from baco_local.config import SEED_LIMIT
from baco_local.engine.answer import Token
from baco_local.errors import GrammarError, RouterError, UsageError
from baco_local.pair import Job, Pair
from baco_local.routing.dial import Calibration, thresholds_from
from baco_local.sampling.chain import build_chain
from baco_local.testing import ScriptedModel, flat, scripted_pair, word_vocab
from baco_local.text.chat import ChatTemplate, Message
from baco_local.text.shared import share
from baco_local.types import FinishReason, Role
from scripted_pairs import PROMPT, SAID, Scripts, id_of, models_of, same, towards, tracks

TWO = Scripts(1, 2, 3.0, -9.0)


def test_answers_come_by_prompt_and_sample() -> None:
    """Generate returns n answers per prompt, in the order of the prompts, each with its place."""
    pair = TWO.pair()
    answers = pair.generate(["Hi.", "Tell me."], n=3, first_sample=2, seed=1, max_tokens=5)
    assert [(a.prompt, a.sample, a.seed) for a in answers] == [(p, s, 1) for p in (0, 1) for s in (2, 3, 4)]
    assert same(answers[4], TWO.pair().generate("Tell me.", first_sample=3, seed=1, max_tokens=5)[0])


def test_one_prompt_one_conversation_or_a_list_of_either() -> None:
    """A string is one prompt, a list of messages one conversation, and a list of either several."""
    pair = TWO.pair()
    talk = [Message("user", "Hi."), Message("assistant", "Yes."), Message("user", "Go on.")]
    counts = [len(pair.generate(p, seed=1, max_tokens=1)) for p in ("a", talk, tuple(talk), ["a", talk], [talk], [])]
    assert counts == [1, 1, 1, 2, 1, 0]
    assert same(*(pair.generate(p, seed=1, max_tokens=4)[0] for p in ("Hi.", [Message("user", "Hi.")])))


def test_a_system_text_goes_first() -> None:
    """A system text is read by both models, before everything else; an empty one is none."""
    pair = TWO.pair()
    talk = [Message("system", "Sing."), Message("user", "Hi.")]
    assert same(*(pair.generate(p, seed=1, system=s, max_tokens=4)[0] for p, s in (("Hi.", "Sing."), (talk, None))))
    assert same(*(pair.generate("Hi.", seed=1, system=s, max_tokens=4)[0] for s in ("", None)))
    with_it, without = (pair.generate("Hi.", seed=1, system=s, max_tokens=1)[0].usage.n_prompt for s in ("Sing.", None))
    assert all(with_it[role] > without[role] for role in Role)


def test_seeds_decide_the_text() -> None:
    """One seed is one text; without one, a seed is drawn and can be read."""
    pair = TWO.pair()
    first, second = (pair.stream(PROMPT, max_tokens=9) for _ in range(2))
    texts = ["".join(token.text for token in stream) for stream in (first, second)]
    assert first.seed != second.seed
    assert [pair.generate(PROMPT, seed=s.seed, max_tokens=9)[0].text for s in (first, second)] == texts
    assert pair.generate(PROMPT, max_tokens=1)[0].seed < SEED_LIMIT


@pytest.mark.parametrize("seed", [-1, SEED_LIMIT])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    """A seed that the noise cannot use is an error before anything is decoded."""
    pair = TWO.pair()
    with pytest.raises(UsageError, match="seed is"):
        pair.generate(PROMPT, seed=seed)
    assert pair.engine.idle


def test_no_answers_cannot_be_asked_for() -> None:
    """N is at least one."""
    with pytest.raises(UsageError, match="n is 0"):
        TWO.pair().generate(PROMPT, n=0)


def test_tokens_are_told_as_they_come() -> None:
    """on_token hears every token of every answer with its place, those of one answer in order."""
    heard: dict[tuple[int, int], list[Token]] = {}
    answers = TWO.pair().generate(
        ["Hi.", "Tell me."], n=2, seed=1, max_tokens=6, on_token=lambda p, s, t: heard.setdefault((p, s), []).append(t)
    )
    assert heard == {(answer.prompt, answer.sample): list(answer.tokens) for answer in answers}


def test_generate_can_be_cancelled() -> None:
    """Once cancel says so the answers so far are returned, also those that had not begun."""
    pair = TWO.pair(n_parallel=2)
    heard: list[Token] = []
    answers = pair.generate(
        PROMPT, n=3, seed=1, max_tokens=50, on_token=lambda _p, _s, t: heard.append(t), cancel=lambda: len(heard) > 6
    )
    assert {answer.finish for answer in answers} == {FinishReason.CANCELLED}
    assert sum(len(answer.tokens) for answer in answers) < 20
    assert answers[2].tokens == ()
    assert pair.engine.idle


def test_an_error_in_on_token_leaves_nothing_behind() -> None:
    """An exception of the caller's ends the call, and the next one is right."""
    pair = TWO.pair()
    with pytest.raises(ZeroDivisionError):
        pair.generate(PROMPT, seed=1, on_token=lambda _p, _s, _t: 1 / 0)
    gc.collect()
    assert same(*(p.generate(PROMPT, seed=1, max_tokens=5)[0] for p in (pair, TWO.pair())))
    assert pair.engine.idle


def test_interleaved_answers_are_those_of_each_alone() -> None:
    """Interleave yields the tokens of all, and every stream's own in order."""
    pair = TWO.pair()
    jobs = [Job(prompt=PROMPT, settings=pair.settings.turn({"max_tokens": n}), seed=n) for n in (3, 9, 6)]
    said: dict[int, list[Token]] = {}
    for stream, token in pair.interleave(jobs):
        said.setdefault(stream.seed, []).append(token)
    for seed, tokens in said.items():
        alone = TWO.pair().generate(PROMPT, seed=seed, max_tokens=seed)[0]
        assert [(t.id, t.text, t.position) for t in tokens] == [(t.id, t.text, t.position) for t in alone.tokens]


def test_interleave_raises_when_the_others_are_done() -> None:
    """An answer whose router fails costs the others nothing; its error comes last."""
    pair = TWO.pair()
    good = pair.settings.turn({"max_tokens": 60})
    bad = good.turn({"router": lambda step: 7 if step.position else "aligned"})
    jobs = [Job(prompt=PROMPT, settings=settings, seed=seed) for seed, settings in enumerate((bad, good))]
    heard = []
    with pytest.raises(RouterError):
        heard.extend((stream.seed, token.id) for stream, token in pair.interleave(jobs))
    alone = TWO.pair().generate(PROMPT, settings=good, seed=1)[0]
    assert [token for seed, token in heard if seed == 1] == [token.id for token in alone.tokens]


def test_a_bad_job_starts_none() -> None:
    """Where one of several wishes cannot be fulfilled nothing is decoded."""
    pair = TWO.pair()
    jobs = [Job(prompt=PROMPT), Job(prompt=PROMPT, settings=pair.settings.turn({"router": "nobody"}))]
    with pytest.raises(UsageError, match="no router 'nobody'"):
        pair.start(jobs)
    assert pair.engine.idle


def test_a_card_recommends_settings() -> None:
    """The card's numbers are the pair's defaults, as words and lists of JSON too, and knobs beat them."""
    card = PairCard(name="x", sampling={"temperature": 0.5, "stop": ["fox"], "boundary": "token"})
    pair = scripted_pair(vocab=SAID, card=card)
    assert pair.settings.aligned.temperature == 0.5
    assert pair.settings.decode.stop == ("fox",)
    assert pair.settings.turn({"temperature": 2.0}).base.temperature == 2.0


def test_closing_ends_what_is_not_finished() -> None:
    """Closing frees both models, twice does nothing more, and an open answer ends where it is."""
    with TWO.pair() as pair:
        stream = pair.stream(PROMPT, seed=1)
        next(stream)
    pair.close()
    assert list(stream) == []
    assert stream.answer.finish is FinishReason.CANCELLED
    assert len(stream.answer.tokens) == 1


def test_cancel_and_dial_from_another_thread() -> None:
    """Another thread may move the dial and cancel while the answer is read."""
    pair = TWO.pair()
    stream = pair.stream(PROMPT, seed=1, max_tokens=4000, diversity=0)
    begun = threading.Event()

    def meddle() -> None:
        begun.wait()
        for diversity in (3, 10, 7, 0, 5) * 20:
            stream.diversity = diversity
        stream.cancel()

    thread = threading.Thread(target=meddle)
    thread.start()
    tokens = []
    for token in stream:
        tokens.append(token)
        begun.set()
        time.sleep(0.001)  # a reader takes its time, and the other thread gets its turn
    thread.join()
    assert stream.answer.finish is FinishReason.CANCELLED
    assert [token.position for token in tokens] == list(range(len(tokens)))


# --- calibration --------------------------------------------------------------------------------------------------


def measured(calls: list[str], *, fail: bool = False) -> Pair:
    """Return a pair that notes when it is measured."""

    def measure(pair: Pair) -> Calibration:
        calls.append("measured")
        if fail and len(calls) == 1:
            raise KeyboardInterrupt
        pair.generate("Hi.", router=towards(Role.ALIGNED), max_tokens=3, seed=0)
        return thresholds_from([])

    vocab, script = SAID, TWO.script
    return Pair(
        {role: ScriptedModel(script[role], vocab, n_sequences=1) for role in Role},
        share(dict.fromkeys(Role, vocab)),
        lambda recipe: build_chain(recipe, None, len(vocab)),
        name="measured",
        card=PairCard(name="measured"),
        template=ChatTemplate("{{ messages[0].content }}\n"),
        calibrate=measure,
    )


def test_a_pair_is_measured_once_and_only_when_it_must() -> None:
    """Ends of the dial, coins and thresholds need no measurement; the first calibrated dial makes one for all."""
    calls: list[str] = []
    pair = measured(calls)
    for knobs in ({"diversity": 0}, {"router": "RAND"}, {"threshold": 0.3}, {"router": "mix-prob"}):
        pair.generate(PROMPT, seed=1, max_tokens=2, **knobs)  # type: ignore[arg-type]
    assert calls == []
    for router in ("P-PUNC", "H", "P"):
        pair.generate(PROMPT, seed=1, max_tokens=2, router=router)
    assert calls == ["measured"]


def test_a_measurement_that_was_stopped_is_made_again() -> None:
    """Ctrl-C while a pair is measured does not leave it without a calibration for good."""
    calls: list[str] = []
    pair = measured(calls, fail=True)
    with pytest.raises(KeyboardInterrupt):
        pair.generate(PROMPT, seed=1, max_tokens=2)
    pair.generate(PROMPT, seed=1, max_tokens=2)
    assert calls == ["measured", "measured"]
    assert pair.calibration is not None


def test_moving_the_dial_measures_nothing() -> None:
    """A dial that is moved while an answer is written decodes nothing beside that answer."""
    calls: list[str] = []
    pair = measured(calls)
    stream = pair.stream(PROMPT, seed=1, diversity=0, max_tokens=9)
    next(stream)
    fed = models_of(pair)[Role.ALIGNED].n_fed
    stream.diversity = 5
    assert models_of(pair)[Role.ALIGNED].n_fed == fed
    assert len(list(stream)) == 8
    assert calls == []


# --- two vocabularies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("knobs", [{}, {"min_p": 0.05}, {"top_k": 9}, {"repeat_penalty": 1.2}, {"uncertainty": "mean"}])
@pytest.mark.parametrize("router", ["P", "mix-prob", "contrast"])
@pytest.mark.parametrize("wider", Role)
def test_one_model_may_know_more_ids(wider: Role, router: str, knobs: dict[str, Any]) -> None:
    """A pair whose vocabularies differ by added ids at the top decodes, and nobody says what the other cannot read."""
    words = tuple(piece.decode() for piece in SAID.pieces[4:])
    vocabs = {wider: word_vocab((*words, "<tool>", "<pad>")), wider.other: SAID}
    models = {role: ScriptedModel(flat(len(vocab)), vocab) for role, vocab in vocabs.items()}
    pair = Pair(
        models,
        share(vocabs),
        lambda recipe: build_chain(recipe, None, len(vocabs[wider])),
        name="two",
        card=PairCard(name="two"),
        template=ChatTemplate("{{ messages[0].content }}\n"),
    )
    for answer in pair.generate(PROMPT, n=4, seed=1, router=router, diversity=5, max_tokens=40, **knobs):
        assert len(answer.tokens) == 40 or answer.finish is FinishReason.END
        assert all(token.id < len(SAID) for token in answer.tokens)


def test_what_ends_one_model_ends_both() -> None:
    """An end that only one side knows is never written as an ordinary token by the other."""
    end = id_of(" fox")
    own = dataclasses.replace(SAID, stops=SAID.stops | {end})
    for role in Role:
        vocabs = {role: own, role.other: SAID}
        shared = share(vocabs)
        assert shared.stops == dict.fromkeys(Role, own.stops)
        assert end not in shared.masked[Role.BASE]
    apart = share({Role.BASE: own, Role.ALIGNED: SAID}, unshared=(end, 50))
    assert end in apart.stops[Role.BASE]
    assert end not in apart.stops[Role.ALIGNED]
    assert end in apart.masked[Role.ALIGNED]
    assert all(50 in apart.masked[role] for role in Role)


@pytest.mark.parametrize("knows", Role)
@pytest.mark.parametrize("diversity", [0, 5, 10])
def test_an_end_is_never_said(knows: Role, diversity: float) -> None:
    """Where either model draws what ends the other, the answer ends, or hands over and then ends."""
    end = id_of(" fox")
    own = dataclasses.replace(SAID, stops=SAID.stops | {end})
    row = np.zeros(len(SAID), np.float32)
    row[end] = 50.0
    pair = Pair(
        {role: ScriptedModel(lambda _ids: row.copy(), SAID) for role in Role},
        share({knows: own, knows.other: SAID}),
        lambda recipe: build_chain(recipe, None, len(SAID)),
        name="ends",
        card=PairCard(name="ends"),
        template=None,
    )
    answer = pair.generate(PROMPT, seed=1, diversity=diversity, start=Role.BASE)[0]
    assert (answer.tokens, answer.finish) == ((), FinishReason.END)


# --- grammar ------------------------------------------------------------------------------------------------------


def test_a_grammar_binds_both_and_no_beginning() -> None:
    """A grammar for one model alone, or for an answer that has begun, is refused."""
    pair = TWO.pair()
    with pytest.raises(UsageError, match="give it to both"):
        pair.stream(PROMPT, base_sampling={"grammar": 'root ::= "a"'})
    token = pair.generate(PROMPT, seed=1, max_tokens=1)[0].tokens[0].spoken
    with pytest.raises(UsageError, match="cannot be continued"):
        pair.stream(PROMPT, grammar='root ::= "a"', begun=[token])
    with pytest.raises((UsageError, GrammarError)):
        pair.stream(PROMPT, grammar='root ::= "a"')  # a scripted pair has no llama.cpp vocabulary
    assert pair.engine.idle
    assert tracks(pair.generate(PROMPT, seed=1, max_tokens=1)[0])


def test_jobs_are_answered_in_their_order() -> None:
    """Several jobs with settings of their own give the answers that each gives alone, in the order asked for."""
    pair = scripted_pair(n_parallel=2)
    lengths = (9, 3, 6)
    jobs = [Job(prompt="hi", settings=pair.settings.turn({"max_tokens": n}), seed=n) for n in lengths]
    together = [answer.text for answer in pair.answers(jobs)]
    assert together == [pair.generate("hi", max_tokens=n, seed=n)[0].text for n in lengths]
