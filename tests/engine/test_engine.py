from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baco_local.backend.base import Feed
from baco_local.errors import PromptTooLongError
from baco_local.pair import Job, Pair
from baco_local.testing import Script, ScriptedModel, chunkings, flat, scripted_pair
from baco_local.types import FinishReason, Role, Row, TokenIds
from scripted_pairs import PROMPT, SAID, Scripts, models_of, same, tracks

A, B = Role.ALIGNED, Role.BASE
TWO = Scripts(1, 2, 3.0, -9.0)  # never ends by itself
LONG = "Tell me of the old fox and the small bird, and then of the red sea."


def n_fed(pair: Pair) -> dict[Role, int]:
    """Return how many ids each model has read."""
    return {role: model.n_fed for role, model in models_of(pair).items()}


def n_prompt(pair: Pair, prompt: str = PROMPT) -> dict[Role, int]:
    """Return the lengths of both prompts."""
    return {role: len(ids) for role, ids in pair.prompt_ids(prompt).items()}


def jobs(pair: Pair, prompts: list[str], **knobs: Any) -> list[Job]:
    """Return one job per prompt."""
    chosen = pair.settings.turn(knobs)
    return [Job(prompt=prompt, settings=chosen, seed=5) for prompt in prompts]


def test_samples_share_one_prefill() -> None:
    """N samples of a prompt read it once, and one token each for their own first row."""
    pair = TWO.pair()
    answers = pair.generate(PROMPT, n=4, seed=1, max_tokens=6)
    assert len({answer.text for answer in answers}) == 4
    assert n_fed(pair) == {role: n + 3 + 4 * 5 for role, n in n_prompt(pair).items()}
    assert [answer.usage.n_prompt_cached[B] for answer in answers] == [0, *[n_prompt(pair)[B] - 1] * 3]
    assert [answer.usage.n_decoded[A] for answer in answers] == [5] * 4


def test_samples_wait_for_a_long_prompt() -> None:
    """While a prompt is read in pieces the other samples wait for it, and then fork it."""
    pair = TWO.pair(n_batch=7)
    pair.generate(LONG, n=3, seed=1, max_tokens=4)
    assert n_fed(pair) == {role: n + 2 + 3 * 3 for role, n in n_prompt(pair, LONG).items()}


def test_samples_of_a_model_without_rewind_share_it_too() -> None:
    """A state that cannot be cut is forked before it reads the prompt's last token."""
    for n_batch in (512, 7):
        pair = TWO.pair(can_rewind=False, n_batch=n_batch)
        pair.generate(LONG, n=4, seed=1, max_tokens=6)
        assert n_fed(pair) == {role: n + 3 + 4 * 5 for role, n in n_prompt(pair, LONG).items()}


def test_samples_start_together() -> None:
    """Once the prompt is read every sample says its first token in the same step."""
    pair = TWO.pair()
    streams = pair.start(jobs(pair, [PROMPT] * 5, max_tokens=6))
    pair._step()
    pair._step()
    assert [len(stream.answer.tokens) for stream in streams] == [2, 1, 1, 1, 1]


def test_a_turn_reads_only_what_is_new() -> None:
    """The same prompt again reads its last token, and the answer."""
    pair = TWO.pair(n_parallel=1)
    pair.generate(PROMPT, seed=1, max_tokens=6)
    before = n_fed(pair)
    again = pair.generate(PROMPT, seed=2, max_tokens=6)[0]
    assert {role: n - before[role] for role, n in n_fed(pair).items()} == {A: 6, B: 6}
    assert again.usage.n_prompt_cached[A] == n_prompt(pair)[A] - 1


def test_an_end_of_the_dial_feeds_one_model() -> None:
    """Aligned alone never asks base, and base alone never asks aligned."""
    for d, idle in ((0, B), (10, A)):
        pair = TWO.pair()
        pair.generate(PROMPT, seed=1, diversity=d, max_tokens=6)
        assert n_fed(pair)[idle] == 0


def test_more_answers_than_sequences_are_queued() -> None:
    """Ten answers on three sequences are all finished, and at most three are decoded at once."""
    pair = TWO.pair(n_parallel=3)
    widest = 0
    feed = models_of(pair)[B].feed
    streams = pair.start(
        [Job(prompt=f"{n}", settings=pair.settings.turn({"max_tokens": 5}), seed=n) for n in range(10)]
    )
    while not all(stream.finished for stream in streams):
        pair._step()
        widest = max(widest, len(pair.engine._turns))
    assert feed is not None
    assert widest == 3
    assert [len(stream.answer.tokens) for stream in streams] == [5] * 10


@pytest.mark.parametrize("n_kept", range(6))
def test_cancel_at_any_token(n_kept: int) -> None:
    """A cancelled answer keeps its text so far, and another one of the same batch goes on."""
    pair = TWO.pair()
    settings_ = pair.settings.turn({"max_tokens": 8})
    whole = pair.generate(PROMPT, settings=settings_, seed=1)[0]
    other = pair.generate(LONG, settings=settings_, seed=1)[0]
    stopped, going_on = pair.start([Job(prompt=prompt, settings=settings_, seed=1) for prompt in (PROMPT, LONG)])
    for _ in range(n_kept):
        next(stopped)
    stopped.cancel()
    list(stopped)
    list(going_on)
    assert stopped.answer.finish is FinishReason.CANCELLED
    n = len(stopped.answer.tokens)
    assert n_kept <= n < 8
    assert tracks(stopped.answer) == tracks(whole)[:n]
    assert same(going_on.answer, other)
    assert pair.engine.idle


def test_cancel_between_pieces_of_a_prompt() -> None:
    """A prompt that is read in pieces can be given up, and the next one finds what was read."""
    pair = TWO.pair(n_batch=8, n_parallel=1)
    stream = pair.stream(LONG, seed=1, max_tokens=4)
    assert stream.progress == 0
    for _ in range(2):
        pair._step()
    assert 0 < stream.progress < 1
    stream.cancel()
    assert list(stream) == []
    assert stream.answer.finish is FinishReason.CANCELLED
    before = n_fed(pair)
    assert max(before.values()) == 16
    answer = pair.generate(LONG, seed=1, max_tokens=4)[0]
    assert answer.usage.n_prompt_cached == {A: 16, B: 16}
    assert same(answer, TWO.pair().generate(LONG, seed=1, max_tokens=4)[0])


def test_a_model_that_is_interrupted_changes_nothing() -> None:
    """When every answer is cancelled while a model reads, nothing was read and the pair goes on as before."""
    pair = TWO.pair(n_parallel=1)
    stream = pair.stream(PROMPT, seed=1, max_tokens=6)
    next(stream)
    model = models_of(pair)[B]
    stop = model.cancelled
    model.cancelled = lambda: (stream.cancel(), stop is not None and stop())[1]
    list(stream)
    assert stream.answer.finish is FinishReason.CANCELLED
    model.cancelled = stop
    assert same(*(p.generate(PROMPT, seed=1, max_tokens=6)[0] for p in (pair, TWO.pair())))


def test_a_reader_who_is_gone_is_decoded_no_further() -> None:
    """An answer whose stream was dropped is given up at the next step."""
    pair = TWO.pair()
    dropped = pair.stream(PROMPT, seed=1, max_tokens=500)
    next(dropped)
    del dropped
    list(pair.stream(PROMPT, seed=2, max_tokens=3))
    assert pair.engine.idle


def test_progress_goes_from_nothing_to_all() -> None:
    """A waiting answer has read nothing, a finished one everything, and in between it never falls."""
    pair = TWO.pair(n_batch=8, n_parallel=1)
    first, second = (pair.stream(LONG, seed=n, max_tokens=2) for n in range(2))
    seen = [first.progress]
    while not first.finished:
        assert second.progress == 0
        pair._step()
        seen.append(first.progress)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, 1)


def test_a_full_context_is_a_finish_reason() -> None:
    """An answer that fills the context of one model ends there, with CONTEXT."""
    pair = scripted_pair(TWO.script[B], TWO.script[A], vocab=SAID, n_ctx=40)
    n = max(n_prompt(pair).values())
    answer = pair.generate(PROMPT, seed=1)[0]
    assert (answer.finish, len(answer.tokens)) == (FinishReason.CONTEXT, 40 - n + 1)
    assert pair.generate(PROMPT, seed=1, max_tokens=40 - n + 1)[0].finish is FinishReason.LENGTH


def test_a_prompt_without_room_for_an_answer_is_refused() -> None:
    """A prompt as long as the context is named with both lengths, and nothing is left behind."""
    pair = scripted_pair(vocab=SAID, n_ctx=20)
    with pytest.raises(PromptTooLongError, match=r"has \d+ tokens, and its context holds 20"):
        pair.stream(PROMPT)
    assert pair.engine.idle


def roomy(n_cells: int, *, n_sequences: int = 3, n_cores: int = 1) -> Pair:
    """Return a pair whose models share few cells."""
    pair = TWO.pair(n_parallel=n_sequences, n_cores=n_cores)
    for model in models_of(pair).values():
        model._n_cells = n_cells
    return pair


def test_parked_lanes_make_room() -> None:
    """Where the cache is full what is parked goes first, and nobody notices."""
    n = max(n_prompt(TWO.pair(), LONG).values())
    pair = roomy(n + 20)
    pair.generate(PROMPT, n=2, seed=1, max_tokens=6)  # two lanes are parked, and the next prompt takes over only one
    assert same(*(p.generate(LONG, seed=1, max_tokens=6)[0] for p in (pair, TWO.pair())))


@pytest.mark.parametrize("n_cores", [1, 2])
def test_a_cache_without_room_ends_the_longest_answer(n_cores: int) -> None:
    """Where nothing can be dropped the longest answer ends with CONTEXT, and the others say what they say alone."""
    pair = roomy(110, n_cores=n_cores)
    prompts = [LONG[:20], LONG[4:16], LONG[8:14]]
    streams = pair.start(jobs(pair, prompts, max_tokens=26))
    assert all(list(stream) for stream in streams)
    answers = [stream.answer for stream in streams]
    assert [answer.finish for answer in answers] == [FinishReason.CONTEXT, FinishReason.LENGTH, FinishReason.LENGTH]
    alone = [TWO.pair().generate(prompt, seed=5, max_tokens=26)[0] for prompt in prompts]
    assert all(same(*twins) for twins in zip(answers[1:], alone[1:], strict=True))
    n = len(answers[0].tokens)
    assert 0 < n < 26
    assert tracks(answers[0]) == tracks(alone[0])[:n]
    assert same(*(p.generate(PROMPT, seed=1, max_tokens=6)[0] for p in (pair, TWO.pair())))


def test_an_answer_that_fills_the_cache_alone_ends() -> None:
    """Where one answer has every cell it ends with CONTEXT, and nobody raises."""
    pair = roomy(40)
    answer = pair.generate(PROMPT, seed=1, max_tokens=60)[0]
    assert answer.finish is FinishReason.CONTEXT
    assert 0 < len(answer.tokens) < 40


class Faulty:
    """A script that fails once, when it is told to."""

    def __init__(self, script: Script) -> None:
        self.script, self.error = script, BaseException()
        self.armed = False

    def __call__(self, ids: TokenIds) -> Row:
        """Return the row, or raise."""
        if self.armed:
            self.armed = False
            raise self.error
        return self.script(ids)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("broken")])
def test_after_an_exception_the_pair_starts_afresh(error: BaseException) -> None:
    """Whatever comes in the middle of a step, all answers end, nothing half-read stays, and the next one is right."""
    faulty = Faulty(TWO.script[A])
    faulty.error = error
    pair = scripted_pair(TWO.script[B], faulty, vocab=SAID)
    streams = pair.start(jobs(pair, [PROMPT, LONG], max_tokens=9))
    next(streams[0])
    faulty.armed = True
    with pytest.raises(type(error)):
        list(streams[0])
    assert all(stream.finished for stream in streams)
    if isinstance(error, Exception):  # a fault is not a plausible answer: the other reader learns of it, too
        with pytest.raises(ValueError, match="broken"):
            list(streams[1])
    else:
        list(streams[1])
        assert streams[1].answer.finish is FinishReason.CANCELLED
    assert pair.engine.idle
    assert same(*(p.generate(PROMPT, seed=1, max_tokens=6)[0] for p in (pair, TWO.pair())))


def test_two_pairs_never_notice_each_other() -> None:
    """Two engines, stepped in turn, write what each writes alone."""
    other = Scripts(7, 8, 2.0, 0.0)
    streams = [two.pair().stream(PROMPT, seed=4, max_tokens=12) for two in (TWO, other)]
    tokens: list[list[int]] = [[], []]
    for _ in range(12):
        for said, stream in zip(tokens, streams, strict=True):
            said += [token.id for token in [next(stream, None)] if token is not None]
    for said, two in zip(tokens, (TWO, other), strict=True):
        assert said == [t.id for t in two.pair().generate(PROMPT, seed=4, max_tokens=12)[0].tokens]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(("next", "cancel", "drop"))), max_size=40), st.integers(1, 3)
)
def test_readers_may_come_and_go_in_any_order(moves: list[tuple[int, str]], n_parallel: int) -> None:
    """However streams are read, cancelled and dropped, each says a beginning of what it says alone."""
    pair = TWO.pair(n_parallel=n_parallel, n_batch=16)
    alone = [TWO.pair().generate(PROMPT, seed=seed, max_tokens=6)[0].text for seed in range(6)]
    streams = {seed: pair.stream(PROMPT, seed=seed, max_tokens=6) for seed in range(6)}
    said = dict.fromkeys(streams, "")
    for seed, move in moves:
        if seed in streams and move == "next":
            said[seed] += "".join(token.text for token in [next(streams[seed], None)] if token is not None)
        elif seed in streams and move == "cancel":
            streams[seed].cancel()
        else:
            streams.pop(seed, None)
    for seed, stream in streams.items():
        said[seed] += "".join(token.text for token in stream)
        if stream.answer.finish is not FinishReason.CANCELLED:
            assert said[seed] == alone[seed]
    assert all(alone[seed].startswith(text) for seed, text in said.items())


def test_a_scripted_model_is_strict() -> None:
    """The fake refuses positions that do not follow, so that the engine's bookkeeping is really tested."""
    model = ScriptedModel(flat(len(SAID)), SAID)
    model.feed([Feed(0, 0, [4, 5])])
    for wrong in (Feed(0, 1, [4]), Feed(0, 2, [9999]), Feed(0, 2, [4], 2)):
        with pytest.raises(AssertionError):
            model.feed([wrong])
    assert list(chunkings("abc", [2])) == ["ab", "c"]
