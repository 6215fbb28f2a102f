"""The promises of the method on the bundled pair: real files, real rows, near-ties told from mistakes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from baco_local.assemble import load
from baco_local.backend.base import Feed
from baco_local.engine.answer import Answer
from baco_local.pair import Pair
from baco_local.routing.blends import BLENDS
from baco_local.routing.dial import ROUTERS
from baco_local.sampling.draw import Address, Candidates, Stream, draw
from baco_local.settings import Settings
from baco_local.types import MASKED, Detail, FinishReason, Role, SideRecord, Spoken
from benchmarks.equal import MIN_P, TEMPERATURE, decisions, margin
from scripted_pairs import NO_GUARDS
from shares import CALIBRATED, open_share
from splices import is_spliced

pytestmark = [pytest.mark.model, pytest.mark.slow]

WHO = ("a fox", "a small bird", "two brothers", "an old king", "the sea", "a lost dog", "a mouse", "a girl and a cat")
WHAT = ("Tell me a story about {}.", "Write a short tale of {}.", "What happened to {}?")
REQUESTS = tuple(what.format(who) for who in WHO for what in WHAT)
LONG_REQUEST = (  # more tokens than are computed at once
    "Tell me the story of two brothers who lived by the old mill and had nothing but a grey cat, a broken cart and a "
    "bag of golden coins that they had found one windy evening under the big oak tree, and what became of them when "
    "the winter came and the snow lay deep."
)
STREAMS = {Role.BASE: Stream.BASE, Role.ALIGNED: Stream.ALIGNED}


def opened(folder: Path, n_parallel: int) -> Pair:
    """Load the bundled pair from its files, without its card."""
    return load(base=folder / "base.gguf", aligned=folder / "aligned.gguf", n_parallel=n_parallel, calibrate=False)


@pytest.fixture(scope="module")
def single(tales: Path) -> Iterator[Pair]:
    """Return the pair with room for one answer."""
    with opened(tales, 1) as pair:
        yield pair


@pytest.fixture(scope="module")
def many(tales: Path) -> Iterator[Pair]:
    """Return the pair with room for sixteen answers."""
    with opened(tales, 16) as pair:
        yield pair


@pytest.fixture(autouse=True)
def _nothing_read(single: Pair, many: Pair) -> None:
    """Begin every test with empty caches: where cells are free decides their order, so the last bits of sums."""
    single.engine.abandon()
    many.engine.abandon()


def alone(pair: Pair, role: Role, prompt: str, seed: int, n: int) -> tuple[list[int], bool]:
    """Return what one model says by itself, and whether it ended: a plain loop over its rows, one id at a time."""
    pair.engine.abandon()
    model, vocab = pair.engine.models[role], pair._vocab
    ids = pair.prompt_ids(prompt)[role]
    said: list[int] = []
    ended, todo, position = False, ids, 0
    while len(said) < n and not ended:
        ((row,),) = model.feed([Feed(0, position, todo, 1)])
        row[vocab.masked[role]] = MASKED
        everything = Candidates(np.arange(row.size, dtype=np.int32), row)
        token = draw(everything, Address(seed, 0, len(said), STREAMS[role]))
        ended = token in vocab.stops[role]
        said += [] if ended else [token]
        position, todo = position + len(todo), [token]
    model.rewind(0, 0)
    return said, ended


def test_rows_do_not_depend_on_how_a_prompt_is_split(single: Pair) -> None:
    """A prompt of 200 ids gives bitwise the same row whether it is read at once, in pieces or one by one."""
    for role, model in single.engine.models.items():
        ids = (single.prompt_ids(LONG_REQUEST)[role] * 4)[:200]
        rows = []
        for size in (200, 70, 33, 1):
            for start in range(0, len(ids), size):
                ((row,),) = model.feed([Feed(0, start, ids[start : start + size], 1)])
            rows.append(row.copy())
            model.rewind(0, 0)
        assert all(np.array_equal(rows[0], row) for row in rows[1:])


@pytest.mark.parametrize("router", [*ROUTERS, *BLENDS])
@pytest.mark.parametrize(("diversity", "role"), [(0, Role.ALIGNED), (10, Role.BASE)])
def test_the_ends_of_the_dial_are_one_model_alone(single: Pair, router: str, diversity: float, role: Role) -> None:
    """At 0 every token is the aligned model's own and at 10 the base model's, for every router, under a seed."""
    knobs = {"router": router, "diversity": diversity, "guards": NO_GUARDS, "max_tokens": 32}
    for seed, prompt in enumerate(REQUESTS[:4]):
        said, ended = alone(single, role, prompt, seed, 32)
        single.engine.abandon()  # the prompt is read as a whole again, for rows differ with the shape of a batch
        answer = single.generate(prompt, settings=Settings().turn(knobs), seed=seed)[0]
        assert [token.id for token in answer.tokens] == said
        assert {token.speaker for token in answer.tokens} == {role}
        assert answer.finish is (FinishReason.END if ended else FinishReason.LENGTH)


def test_no_speaker_changes_inside_a_word(many: Pair) -> None:
    """In a thousand answers no two tokens that meet inside a word come from two models."""
    n_answers = n_changes = 0
    for router, d, n in (("RAND", 5, 17), ("P-PUNC", 8, 13), ("NUDGE", 5, 12)):
        for answer in many.generate(REQUESTS, n=n, seed=1, router=router, diversity=d, max_tokens=40):
            spliced = [(a.text, b.text) for a, b in pairwise(answer.tokens) if is_spliced(a, b, many.pieces)]
            assert not spliced, f"{answer.text!r}: {spliced}"
            n_answers, n_changes = n_answers + 1, n_changes + answer.switches
    print(f"{n_changes} changes of the speaker in {n_answers} answers, none inside a word")  # noqa: T201
    assert n_answers >= 1000
    assert n_changes > 3 * n_answers


# --- near-ties ----------------------------------------------------------------------------------------------------

N_RIVALS = 400  # more tokens than min-p ever leaves: one at its floor may be far from the likeliest ones


class Margin(NamedTuple):
    """How far a decision was from another one, and how far the rows of two runs lie apart, in nats."""

    gap: float
    apart: float


def compared(one: SideRecord, other: SideRecord, at: Address, *, without: Collection[int] = ()) -> Margin:
    """Return the smallest distance of one side's draw or first choice from another, and of its rows in two runs."""
    mine, theirs = (
        {rival.id: rival.logprob for rival in record.rivals if rival.id not in without} for record in (one, other)
    )
    apart = max(abs(mine[i] - theirs[i]) for i in mine.keys() & theirs.keys())
    return Margin(margin(one, at, without), apart)


def first_difference(one: Answer, other: Answer) -> tuple[int, Spoken, Spoken] | None:
    """Return the first place where two answers part, with both decisions."""
    pairs = enumerate(zip(decisions(one), decisions(other), strict=False))
    return next(((i, a, b) for i, (a, b) in pairs if (a.id, a.speaker) != (b.id, b.speaker)), None)


def sampled(prompt: str, many: Pair, single: Pair, **more: object) -> Iterator[tuple[Answer, Answer]]:
    """Yield eight samples that were decoded together, each with the same sample of a run of its own."""
    knobs = {"router": "RAND", "max_tokens": 40, "detail": Detail.SIDES, "n_rivals": N_RIVALS}
    settings = Settings().turn({**knobs, "temperature": TEMPERATURE, "min_p": MIN_P, **more})
    for answer in many.generate(prompt, n=8, seed=3, settings=settings):
        single.engine.abandon()
        yield answer, single.generate(prompt, first_sample=answer.sample, seed=3, settings=settings)[0]


def test_samples_equal_separate_runs(single: Pair, many: Pair) -> None:
    """Samples that start together from an empty cache are, token for token, those of separate runs."""
    for prompt in (*REQUESTS[:6], LONG_REQUEST):
        many.engine.abandon()
        for answer, separate in sampled(prompt, many, single, guards=NO_GUARDS):  # what a guard cuts leaves a gap
            assert decisions(answer) == decisions(separate)


def test_samples_behind_others_equal_separate_runs_up_to_near_ties(single: Pair, many: Pair) -> None:
    """With what others left in the cache, where samples part from separate runs, two tokens were as good as equal."""
    n_answers, n_parted = 0, 0
    for prompt in REQUESTS[:6]:
        for answer, separate in sampled(prompt, many, single):
            n_answers += 1
            differing = first_difference(answer, separate)
            if differing is None:
                assert answer.text == separate.text
                continue
            position, a, b = differing
            assert a.base and a.aligned and b.base and b.aligned  # noqa: PT018
            at = {role: Address(3, answer.sample, position, stream) for role, stream in STREAMS.items()}
            again = Address(3, answer.sample, position, Stream.REDRAW)  # base's second draw, without its stops
            sides = (
                compared(a.base, b.base, at[Role.BASE]),
                compared(a.aligned, b.aligned, at[Role.ALIGNED]),
                compared(a.base, b.base, again, without=single.engine.models[Role.BASE].vocab.stops),
            )
            n_parted += 1
            print(prompt, answer.sample, position, single.pieces[a.id], single.pieces[b.id], sides)  # noqa: T201
            assert any(side.gap <= 2 * side.apart for side in sides)
    print(f"{n_parted} of {n_answers} answers part from their separate run")  # noqa: T201


# --- the dial -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def calibrated() -> Iterator[Pair]:
    """Return the pair as users get it: with the settings and the calibration of its card."""
    with load("tales", n_parallel=16) as pair:
        assert pair.calibration is not None
        yield pair


@pytest.mark.parametrize("d", [2, 4, 6, 8])
@pytest.mark.parametrize("router", CALIBRATED)
def test_the_dial_means_the_share_of_base(calibrated: Pair, router: str, d: int) -> None:
    """At d about d/10 of the decisions that no lock takes in whole answers go to base."""
    share = open_share(calibrated, router, d, REQUESTS, n_tokens=200, seed=11)
    print(f"{router} at d={d}: {share:.3f}")  # noqa: T201
    assert share == pytest.approx(d / 10, abs=0.1)
