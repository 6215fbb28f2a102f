"""Compare every schedule's answers with lockstep's, and tell a near-tie from a mistake.

A row depends in its last digits on how many tokens a decode reads. Where that turns a decision, both outcomes were as
good as equal: the decision's margin in lockstep is no larger than the rows of different decodes lie apart.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import baco_local as baco
from baco_local.backend.base import Feed
from baco_local.calibrate import calibration_prompts
from baco_local.config import DrafterName, ScheduleName
from baco_local.numerics import log_normaliser
from baco_local.sampling.draw import Address, Stream, noise
from baco_local.types import Detail, SideRecord, Spoken

__all__ = ["MIN_P", "TEMPERATURE", "decisions", "equal", "margin"]

WAYS = (
    (ScheduleName.LAZY, DrafterName.NONE),
    (ScheduleName.SPECULATIVE, DrafterName.BASE),
    (ScheduleName.SPECULATIVE, DrafterName.ALIGNED),
    (ScheduleName.SPECULATIVE, DrafterName.LOOKUP),
    (ScheduleName.AUTO, DrafterName.AUTO),
)
TEMPERATURE, MIN_P, THRESHOLD = 0.8, 0.05, 0.6
N_RIVALS = 400  # more tokens than min-p leaves
N_COMPARED = 20  # answers whose rows are compared
N_READ = 8  # tokens of the decodes whose rows are compared with those of single ones
STREAMS = {baco.Role.BASE: Stream.BASE, baco.Role.ALIGNED: Stream.ALIGNED}


def equal(pair: baco.Pair, n_answers: int, n_tokens: int) -> list[dict[str, Any]]:
    """Return one row per schedule: how many answers are lockstep's, and what parted the others.

    Every answer is written alone, by P-PUNC with a raw threshold, and from an empty cache.
    """
    prompts = calibration_prompts()
    asked = [(prompts[i % len(prompts)], i) for i in range(n_answers)]
    plain = [written(pair, *each, n_tokens) for each in asked]
    looked_at = list(zip(asked, plain, strict=True))[:N_COMPARED]
    apart = max(rows_apart(pair, prompt, answer) for (prompt, _), answer in looked_at)
    rows = []
    for schedule, drafter in WAYS:
        answers = [written(pair, *each, n_tokens, schedule=schedule, drafter=drafter) for each in asked]
        parted = [
            (each, place)
            for each, one, other in zip(asked, plain, answers, strict=True)
            if (place := first_difference(one, other)) is not None
        ]
        margins = [margin_at(pair, *each, place) for each, place in parted]
        rows.append(
            {
                "schedule": schedule if drafter in (DrafterName.NONE, DrafterName.AUTO) else f"{schedule}, {drafter}",
                "the same": f"{n_answers - len(parted)} of {n_answers}",
                "parted, per 1,000 tokens": f"{1000 * len(parted) / sum(len(one.tokens) for one in plain):.2f}",
                "largest margin where they part, nats": f"{max(margins):.2g}" if margins else "",
                "rows differ by up to, nats": f"{apart:.2g}",
                "near-ties": f"{sum(margin <= 2 * apart for margin in margins)} of {len(margins)}",
            }
        )
    return rows


def written(pair: baco.Pair, prompt: str, seed: int, n_tokens: int, **knobs: Any) -> baco.Answer:
    """Write one answer from an empty cache."""
    pair.engine.abandon()
    shared = {"router": "P-PUNC", "threshold": THRESHOLD, "temperature": TEMPERATURE, "min_p": MIN_P}
    settings = pair.settings.turn({**shared, "max_tokens": n_tokens, **knobs})
    return pair.generate(prompt, settings=settings, seed=seed)[0]


def decisions(answer: baco.Answer) -> list[Spoken]:
    """Return all that was decided, the end of the turn included."""
    return [token.spoken for token in answer.tokens] + ([answer.end] if answer.end else [])


def first_difference(one: baco.Answer, other: baco.Answer) -> int | None:
    """Return the first place where two answers part."""
    pairs = enumerate(zip(decisions(one), decisions(other), strict=False))
    return next((i for i, (a, b) in pairs if (a.id, a.speaker, a.reason) != (b.id, b.speaker, b.reason)), None)


def rows_apart(pair: baco.Pair, prompt: str, answer: baco.Answer) -> float:
    """Return how far the log-probabilities of likely tokens lie apart in decodes of one and of several tokens."""
    ids = [token.id for token in answer.tokens]
    found = 0.0
    for role, prompt_ids in pair.prompt_ids(prompt).items():
        singly, together = (rows_read(pair, role, prompt_ids, ids, n) for n in (1, N_READ))
        likely = singly >= singly.max(axis=1, keepdims=True) + math.log(MIN_P)
        found = max(found, float(np.abs(singly - together)[likely].max(initial=0.0)))
    return found


def rows_read(
    pair: baco.Pair, role: baco.Role, prompt: Sequence[int], ids: Sequence[int], n: int
) -> NDArray[np.float64]:  # [tokens, V]
    """Return the log-probabilities after each token of an answer that is read n tokens at a time."""
    pair.engine.abandon()
    model = pair.engine.models[role]
    model.feed([Feed(0, 0, prompt, 1)])
    rows = []
    for start in range(0, len(ids), n):
        piece = ids[start : start + n]
        (block,) = model.feed([Feed(0, len(prompt) + start, piece, len(piece))])
        rows.append(np.array(block))  # a copy, for the next decode writes over it
    model.rewind(0, 0)
    whole = np.concatenate(rows).astype(np.float64)
    return np.asarray(whole - np.array([[log_normaliser(row)] for row in whole]))


def margin_at(pair: baco.Pair, prompt: str, seed: int, place: int) -> float:
    """Return how near any decision of lockstep at a place was to another one, in nats."""
    answer = written(pair, prompt, seed, place + 1, detail=Detail.SIDES, n_rivals=N_RIVALS)
    spoken = decisions(answer)[place]
    sides = {baco.Role.BASE: spoken.base, baco.Role.ALIGNED: spoken.aligned}
    margins = [
        margin(record, Address(seed, 0, place, STREAMS[role])) for role, record in sides.items() if record is not None
    ]
    if spoken.base is not None:
        margins.append(abs(spoken.base.rivals[0].logprob - math.log(THRESHOLD)))  # what the router looked at
    return min(margins)


def margin(record: SideRecord, at: Address, without: Collection[int] = ()) -> float:
    """Return the distance of one side's draw, first choice and truncation from another outcome, in nats."""
    rivals = [rival for rival in record.rivals if rival.id not in without]
    ids = np.array([rival.id for rival in rivals], np.int32)
    logprobs = np.array([rival.logprob for rival in rivals])
    scores = logprobs / TEMPERATURE + noise(at, ids)
    floor = logprobs.max() + math.log(MIN_P)
    kept = np.sort(scores[logprobs >= floor])
    margins = [abs(logprobs[0] - logprobs[1])]  # the first choice, which locks and the end check look at
    margins += [(kept[-1] - kept[-2]) * TEMPERATURE] if kept.size > 1 else []
    margins += [abs(logprob - floor) for logprob, score in zip(logprobs, scores, strict=True) if score >= kept[-1]]
    return float(min(margins))
