"""The training of the bundled pair in miniature: a plan of a few steps, a corpus of a few stories."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

from tales.compose import compose
from tales.config import Plan, Preference, Pretraining, Shape, Sitting, Source, Tuning
from tales.corpus import Corpus
from tales.pipeline import Work, prefer, prepare, pretrain, tune

__all__ = ["N_PRETRAINING", "PLAN", "SOURCES", "tiny_corpus", "told", "trained"]

SOURCES = ("novels", "books", "tales", "tinystories", "composed", "questions")
PLAN = Plan(
    seed=3,
    n_workers=2,
    checkpoint_minutes=0.0,
    n_composed=40,
    n_questions=20,
    shape=Shape(400, 128, 32, 2, 1, 64, 10000.0, 1e-5),
    pretraining=Pretraining(4, 32, 0.05),
    sittings=(
        Sitting(2, 5, 2, 3, 0, 0.02, 0.003, {name: Source(1.0, 1.0) for name in SOURCES}),
        Sitting(3, 3, 1, 2, 2, 0.006, 0.001, {"composed": Source(1.0, 0.5), "questions": Source(0.0, 0.5)}),
    ),
    tuning=Tuning(6, 256, 1, 1e-3, 100),
    preference=Preference(4, 8, 3, 1, 1e-3, 0.1, 1.0, 24, 4, 2),
)
N_PRETRAINING = sum(sitting.n_steps for sitting in PLAN.sittings)


def told(n: int, seed: int) -> list[str]:
    """Return composed stories."""
    rng = random.Random(seed)
    return [compose(rng).text for _ in range(n)]


def tiny_corpus() -> Corpus:
    """Return a corpus of a few composed stories under every name."""
    train = {name: told(6, seed) for seed, name in enumerate((*SOURCES[:4], "answers"))}
    return Corpus(train, {name: told(4, 50 + seed) for seed, name in enumerate(("novels", "tales", "tinystories"))})


def trained(folder: Path, stops: tuple[int, ...] = ()) -> Work:
    """Run all steps to the weights; a stop is a number of steps after which the stage is left and taken up again."""
    work = Work(folder)
    prepare(PLAN, work, Path(), tiny_corpus())
    for stage in (pretrain, tune, prefer):
        for stop in stops:
            reports = stage(PLAN, work)
            assert len(list(islice(reports, stop))) == stop
            reports.close()  # type: ignore[attr-defined]
        last = list(stage(PLAN, work))[-1]
        assert last.step == last.n_steps
    return work
