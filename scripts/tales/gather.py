"""Gather comparisons: compose some, let the tuned model answer for others, and keep how likely it finds them all.

Knows models, batches and one file; what makes an answer better is said in preference.py.
"""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tales.config import Plan
from tales.corpus import holds_dropped_word
from tales.model import Llama
from tales.preference import Comparison, Encoded, Request, composed, encode, judge, likelihoods, request, rows_of
from tales.requests import Conversation
from tales.sampling import Drawn, draw
from tales.tokenizer import END, encode_prompt
from tales.train import Report

__all__ = ["gather", "load_comparisons"]

N_ROWS = 64  # answers that are drawn at once
N_ANSWER = 320  # tokens; a longer answer has no end
Item = TypeVar("Item")
Result = TypeVar("Result")


def gather(plan: Plan, tuned: Llama, tokenizer: Tokenizer, path: Path) -> Iterator[Report]:
    """Make all comparisons of a run and write them; report the share of answers that pass, then mean nats."""
    rng = random.Random(plan.seed + 2)
    made = [composed(rng) for _ in range(plan.preference.n_composed)]
    asked = [request(rng) for _ in range(plan.preference.n_requests)]
    own: list[Comparison] = []
    yield from answer_all(plan, tuned, tokenizer, asked, own)
    comparisons = [each for each in (*made, *own) if not holds_dropped_word(each.conversation.turns[-1].answer)]
    encoded = [ids for each in comparisons if (ids := encode(each, tokenizer, plan.shape.n_context))]
    before = np.zeros((len(encoded), 2), dtype=np.float32)
    yield from read_all(plan, tuned, encoded, before)
    with path.with_suffix(".partial").open("wb") as file:
        flat_ids, lengths = flat(encoded)
        np.savez(file, before=before, ids=flat_ids, lengths=lengths)
    path.with_suffix(".partial").replace(path)


def flat(encoded: Sequence[Encoded]) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Return the ids of all comparisons behind each other, and the three lengths of each."""
    ids = np.array([token for each in encoded for token in (*each.better, *each.worse)], dtype=np.uint16)
    return ids, np.array([(each.n_prompt, len(each.better), len(each.worse)) for each in encoded], dtype=np.int64)


def load_comparisons(path: Path) -> tuple[list[Encoded], NDArray[np.float32]]:
    """Read what ``gather`` wrote: comparisons, and the tuned model's log-probabilities of both answers."""
    with np.load(path) as arrays:
        ids, lengths, before = arrays["ids"].tolist(), arrays["lengths"].tolist(), arrays["before"]
    encoded, at = [], 0
    for n_prompt, n_better, n_worse in lengths:
        middle, end = at + n_better, at + n_better + n_worse
        encoded.append(Encoded(ids[at:middle], ids[middle:end], n_prompt))
        at = end
    return encoded, before


def by_workers(n_workers: int, work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield results in order; each worker computes on one core."""
    with ThreadPoolExecutor(n_workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield from pool.map(work, items)


def answer_all(
    plan: Plan, tuned: Llama, tokenizer: Tokenizer, asked: Sequence[Request], own: list[Comparison]
) -> Iterator[Report]:
    """Let the model answer each request several times, and add what there is to compare to ``own``."""
    device = next(tuned.parameters()).device
    model = copy.deepcopy(tuned).to(torch.bfloat16)
    prompts = [encode_prompt(Conversation((each.turn,)), tokenizer) for each in asked]
    n_each = plan.preference.n_samples
    batches: list[list[int]] = []
    for length in sorted({len(prompt) for prompt in prompts}):
        alike = [number for number, prompt in enumerate(prompts) if len(prompt) == length]
        n_at_once = max(1, N_ROWS // n_each)
        batches += [alike[start : start + n_at_once] for start in range(0, len(alike), n_at_once)]

    def answer(number: int) -> list[Drawn]:
        rows = [prompts[which] for which in batches[number] for _ in range(n_each)]
        n_tokens = min(N_ANSWER, plan.shape.n_context - len(rows[0]))
        answers: list[Drawn] = draw(
            model, torch.tensor(rows, device=device), END, n_tokens, plan.seed * 1_000_003 + number
        )
        return answers

    begun, n_tokens, n_done, passed = time.monotonic(), 0, 0, 0.0
    drawn_batches = by_workers(plan.n_workers, answer, range(len(batches)))
    for batch, drawn in zip(batches, drawn_batches, strict=True):
        for place, which in enumerate(batch):
            answers = drawn[place * n_each : (place + 1) * n_each]
            comparison, share = judge(asked[which], answers, [tokenizer.decode(each.ids) for each in answers])
            own += [comparison] if comparison else []
            n_done, passed = n_done + 1, passed + share
        n_tokens += sum(len(each.ids) for each in drawn)
        spent = time.monotonic() - begun
        eta_s = spent / n_done * (len(asked) - n_done)
        yield Report("answer", n_done, len(asked), passed / n_done, "pass", n_tokens, n_tokens / spent, eta_s)


def read_all(plan: Plan, tuned: Llama, encoded: Sequence[Encoded], before: NDArray[np.float32]) -> Iterator[Report]:
    """Fill in how likely the model finds both answers of each comparison."""
    device = next(tuned.parameters()).device
    order = sorted(range(len(encoded)), key=lambda n: max(len(encoded[n].better), len(encoded[n].worse)))
    batches = [order[start : start + 4] for start in range(0, len(order), 4)]

    def read(batch: list[int]) -> tuple[NDArray[np.float32], int]:
        ids, targets = (torch.from_numpy(rows).to(device) for rows in rows_of([encoded[n] for n in batch]))
        with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16):
            return likelihoods(tuned, ids, targets).cpu().numpy(), ids.numel()

    begun, n_tokens, n_done = time.monotonic(), 0, 0
    for batch, (found, n) in zip(batches, by_workers(plan.n_workers, read, batches), strict=True):
        before[batch] = found
        n_done, n_tokens = n_done + len(batch), n_tokens + n
        spent = time.monotonic() - begun
        eta_s = spent / n_done * (len(encoded) - n_done)
        mean = float(-before[order[:n_done], 0].mean())
        yield Report("read", n_done, len(encoded), mean, "nats/answer", n_tokens, n_tokens / spent, eta_s)
