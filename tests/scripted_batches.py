"""Batches over a scripted pair: for tests of the room, and as a program that is killed and started again.

python scripted_batches.py FILE SEED KILLS     a run into FILE, killed at KILLS random moments before it may end
"""

from __future__ import annotations

import io
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from baco_local.assemble import chain_builder
from baco_local.batch.inputs import Input
from baco_local.batch.outputs import FORMATS
from baco_local.batch.session import Batch, Output, carry_out
from baco_local.batch.worker import Wishes, Worker
from baco_local.config import DecodeOptions
from baco_local.errors import BackendError
from baco_local.pair import Pair
from baco_local.settings import Settings
from baco_local.testing import ScriptedModel, lively, scripted_pair, word_vocab
from baco_local.text.shared import share
from baco_local.types import Role

__all__ = [
    "LETTERS",
    "N_SAMPLES",
    "PROMPTS",
    "Slow",
    "batch_of",
    "hands",
    "hands_that_fail",
    "lines",
    "run_into",
    "slow_pair",
    "text_of",
]

LETTERS = word_vocab([chr(i) for i in (9, 10, *range(32, 127))])
NOUNS = ("foxes", "rain", "birds", "boats", "bread", "night", "wind", "snow", "rivers", "stars")
PROMPTS = [f"Tell me about {noun}." for noun in NOUNS]

N_SAMPLES = 30  # of each prompt, in the run that is killed


def hands(n_parallel: int = 4, **more: Any) -> Pair:
    """Return a pair of two scripts over letters."""
    n = len(LETTERS)
    return scripted_pair(lively(n, 1), lively(n, 2, stop_bias=1.5), vocab=LETTERS, n_parallel=n_parallel, **more)


class Fragile(ScriptedModel):
    """A model whose decodes fail as soon as one of its sequences has read a certain text."""

    def __init__(self, text: str, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._bad = tuple(LETTERS.tokenize(text, trusted=False))

    def feed(self, feeds: Any) -> Any:
        """Read ids, or fail without having read them."""
        for feed in feeds:
            ids = tuple(feed.ids)
            if any(ids[i : i + len(self._bad)] == self._bad for i in range(len(ids))):
                raise BackendError("llama_decode failed")
        return super().feed(feeds)


def hands_that_fail(text: str) -> Pair:
    """Return a pair like ``hands`` whose decodes fail where a prompt holds this text."""
    n = len(LETTERS)
    pair = scripted_pair(lively(n, 1), lively(n, 2, stop_bias=1.5), vocab=LETTERS, n_parallel=4)
    models = {
        Role.BASE: Fragile(text, lively(n, 1), LETTERS, n_sequences=4),
        Role.ALIGNED: Fragile(text, lively(n, 2, stop_bias=1.5), LETTERS, n_sequences=4),
    }
    return Pair(
        models,
        share(dict.fromkeys(Role, LETTERS)),
        chain_builder(None, n),
        name="fragile",
        card=pair.card,
        template=pair._template,
        n_parallel=4,
    )


def batch_of(prompts: list[str] | bytes, *, format: str = "openai", name: str = "in.txt", **more: Any) -> Batch:  # noqa: A002
    """Return a batch of prompts, or of a file's bytes."""
    data = prompts if isinstance(prompts, bytes) else "\n".join(prompts).encode()
    settings = Settings(decode=DecodeOptions(max_tokens=12, diversity=5.0))
    wishes = more.pop("wishes", Wishes(settings=settings))
    made_with = more.pop("made_with", {"seed": more.get("seed", 0), "max_tokens": wishes.settings.decode.max_tokens})
    return Batch(
        source=Input(io.BytesIO(data), name),
        format=FORMATS[format],
        pair="scripted",
        wishes=wishes,
        made_with=made_with,
        **({"seed": 0} | more),
    )


def run_into(path: Path, batch: Batch, pair: Pair | None = None, **more: Any) -> Any:
    """Do what is missing in a file, and return the collector."""
    with Output(batch, path, **more) as output, pair or hands() as crew:
        worker = Worker(crew, batch.wishes)
        worker.prepare()
        return carry_out(batch, output, worker, about={})


def lines(path: Path) -> list[bytes]:
    """Return the lines of a file in an order that says nothing about when they were written."""
    return sorted(path.read_bytes().splitlines(keepends=True))


def text_of(record: dict[str, Any]) -> str:
    """Return the text of a row of an OpenAI batch."""
    return record["response"]["body"]["choices"][0]["message"]["content"]


class Slow:
    """A script that takes its time, so that there are moments to be killed at."""

    def __init__(self, seed: int, wait_s: float, stop_bias: float = 0.0) -> None:
        self._script, self._wait_s = lively(len(LETTERS), seed, stop_bias=stop_bias), wait_s

    def __call__(self, ids: Any) -> Any:
        """Return the row after these ids, a little later."""
        time.sleep(self._wait_s)
        return self._script(ids)


def slow_pair(wait_s: float = 0.0002, n_parallel: int = 4) -> Pair:
    """Return a pair of two slow scripts, the same as those of ``hands``."""
    base, aligned = Slow(1, wait_s), Slow(2, wait_s, stop_bias=1.5)
    return scripted_pair(base, aligned, vocab=LETTERS, n_parallel=n_parallel)


def killed_runs(path: Path, seed: int, n_kills: int) -> dict[str, int]:
    """Start a run again and again, kill each at a random moment, and let the last one end; return how that went."""
    chance = random.Random(seed)
    went = {"killed": 0, "ended": 0}
    slow_pair(0).close()  # llama.cpp is loaded once, here
    for _ in range(n_kills):
        child = os.fork()
        if child == 0:
            run_into(path, batch_of(PROMPTS, n_samples=N_SAMPLES, seed=seed), slow_pair())
            os._exit(0)
        time.sleep(chance.uniform(0.0, 0.2))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        went["killed" if os.WIFSIGNALED(status) else "ended"] += 1
    went["before the last"] = path.read_bytes().count(b"\n") if path.exists() else 0
    run_into(path, batch_of(PROMPTS, n_samples=N_SAMPLES, seed=seed), slow_pair(0))
    return went


if __name__ == "__main__":
    sys.stdout.write(json.dumps(killed_runs(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
