"""Loops without a router: what llama.cpp allows, and what one writes first; the limits that all is compared with."""

from __future__ import annotations

import dataclasses
import statistics
import time
from pathlib import Path
from typing import Any

import llama_cpp as lc
import numpy as np

import baco_local as baco
from baco_local.backend.base import Feed
from baco_local.backend.llama import LlamaModel, load_weights, open_model
from baco_local.backend.machine import usable_cores
from benchmarks.clock import spread

__all__ = ["PROMPT", "Bare", "best_threads", "limits", "naive_loop"]

PROMPT = "Tell me a story about a fox and a very small boat."
FIRST_ID = 300  # ids from here on are ordinary tokens in every vocabulary that is measured
SIZES = (2, 4, 8, 16)  # tokens of one decode, and sequences of one decode
N_READ = 32  # tokens that a sequence has read before anything is timed
N_TRIED = 24  # decodes that tell which number of threads suits a model


class Bare:
    """One model in a loop over ``feed``, without a router: the limits that everything is compared with."""

    def __init__(self, path: Path, options: baco.LoadOptions, n_sequences: int) -> None:
        self._weights = load_weights(path, options)
        self._model: LlamaModel = open_model(self._weights, options, n_sequences=n_sequences)
        self._n_sequences = n_sequences

    def tokens_per_s(self, n_tokens: int) -> float:
        """Return S: the speed of one sequence that reads ids one by one."""
        return 1 / self._seconds_per_decode([[1]] * n_tokens)

    def cost_of_tokens(self, k: int, n_decodes: int) -> float:
        """Return the seconds of a decode of k tokens of one sequence, only the last row asked for."""
        return self._seconds_per_decode([[k]] * n_decodes)

    def cost_of_sequences(self, k: int, n_decodes: int, n_read: int = N_READ) -> float:
        """Return the seconds of a decode of one token each of k sequences that have read so many tokens before."""
        return self._seconds_per_decode([[1] * k] * n_decodes, n_read)

    def _seconds_per_decode(self, decodes: list[list[int]], n_read: int = N_READ) -> float:
        lengths = [0] * self._n_sequences
        for sequence in range(len(decodes[0])):
            self._model.rewind(sequence, 0)
            self._model.feed([Feed(sequence, 0, range(FIRST_ID, FIRST_ID + n_read), n_rows=0)])
            lengths[sequence] = n_read
        started_s = time.perf_counter()
        for number, sizes in enumerate(decodes):
            feeds = [
                Feed(sequence, lengths[sequence], [FIRST_ID + (number + i) % 100 for i in range(n)])
                for sequence, n in enumerate(sizes)
            ]
            self._model.feed(feeds)
            for sequence, n in enumerate(sizes):
                lengths[sequence] += n
        return (time.perf_counter() - started_s) / len(decodes)

    def close(self) -> None:
        """Free it."""
        self._model.close()
        self._weights.close()


def naive_loop(files: tuple[Path, Path], n_tokens: int, threads: int) -> float:
    """Return the tokens per second of what one writes first: two ``Llama`` objects, softmax, ``choice``."""
    models = [
        lc.Llama(str(file), n_ctx=1024, n_threads=threads, n_threads_batch=threads, logits_all=False, verbose=False)
        for file in files
    ]
    rng = np.random.default_rng(0)
    for model in models:
        model.eval(model.tokenize(PROMPT.encode()))
    started_s = time.perf_counter()
    for _ in range(n_tokens):
        rows = [np.ctypeslib.as_array(lc.llama_get_logits(m._ctx.ctx), (m.n_vocab(),)) for m in models]
        powers = [np.exp((row - row.max()).astype(np.float64)) for row in rows]
        probabilities = [power / power.sum() for power in powers]
        speaker = 0 if probabilities[0].max() < 0.3 else 1
        token = int(rng.choice(rows[0].size, p=probabilities[speaker]))
        for model in models:
            model.eval([token])
    speed = n_tokens / (time.perf_counter() - started_s)
    for model in models:
        model.close()
    return speed


def best_threads(path: Path, options: baco.LoadOptions) -> baco.LoadOptions:
    """Return options with the number of threads that suits one model alone, unless they name one."""
    if options.threads:
        return options
    speeds: dict[int, float] = {}
    for n in sorted({1, usable_cores()}):
        bare = Bare(path, dataclasses.replace(options, threads=n), 1)
        speeds[n] = statistics.median(bare.tokens_per_s(N_TRIED) for _ in range(3))
        bare.close()
    return dataclasses.replace(options, threads=max(speeds, key=lambda n: speeds[n]))


def limits(files: tuple[Path, Path], options: baco.LoadOptions, n_tokens: int, n_runs: int) -> list[dict[str, Any]]:
    """Measure S, c(k) and the naive loop, all with the threads that the options name."""
    bare = Bare(files[1], options, max(SIZES))
    singles, tokens, sequences = [], [], []
    for _ in range(n_runs):
        singles.append(bare.tokens_per_s(n_tokens))
        tokens.append([bare.cost_of_tokens(k, max(4, n_tokens // k)) * singles[-1] for k in SIZES])
        sequences.append([bare.cost_of_sequences(k, max(4, n_tokens // k)) * singles[-1] for k in SIZES])
    bare.close()
    naive = [naive_loop(files, n_tokens, options.threads) / single for single in singles]
    rows: list[dict[str, Any]] = [{"what": "S, tokens/s", "value": spread(singles)}]
    rows.append({"what": f"naive loop, x S ({options.threads} threads)", "value": spread(naive)})
    for i, k in enumerate(SIZES):
        rows.append({"what": f"c({k}), {k} tokens of one sequence", "value": spread([costs[i] for costs in tokens])})
    for i, k in enumerate(SIZES):
        rows.append({"what": f"c({k}), {k} sequences", "value": spread([costs[i] for costs in sequences])})
    return rows
