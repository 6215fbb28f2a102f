"""Measure how fast a pair decodes, side by side with bare loops over the same files, as ratios of one run.

    scripts/bench.py                          the bundled pair
    scripts/bench.py --shape 0.5b             random Q4_0 weights of that shape (written once into --folder)
    scripts/bench.py --base B.gguf --aligned A.gguf --schedule lockstep lazy --router P RAND --diversity 3 7
    scripts/bench.py --markdown               the tables of docs/performance.md

S is the speed of one model alone in a bare loop over llama_decode; c(k) is what a decode of k tokens costs, in units
of one token; "naive" is the loop that one would write with two high-level Llama objects. "outside" is the share of
the wall time that is not spent inside llama_decode. Machines are noisy: every run measures S again beside what is
compared with it, and medians are shown with the least and the most.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp as lc
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

import baco_local as baco
from baco_local.backend.base import Feed
from baco_local.backend.llama import LlamaModel, load_weights, open_model
from baco_local.config import ScheduleName
from synthetic_gguf import PRESETS, Quant, write_pair

PROMPT = "Tell me a story about a fox and a very small boat."
FIRST_ID = 300  # ids from here on are ordinary tokens in every vocabulary that is measured
SIZES = (2, 4, 8, 16)  # tokens of one decode, and sequences of one decode


class DecodeClock:
    """Counts the time in which llama.cpp decodes at all, by standing between the binding and its caller."""

    def __init__(self) -> None:
        self.spent_s = 0.0
        self._n_inside, self._since_s, self._lock = 0, 0.0, threading.Lock()
        self._decode: Callable[[Any, Any], int] = lc.llama_decode

    def __call__(self, context: Any, batch: Any) -> int:
        """Decode, and add up how long it took; two decodes at once count once."""
        with self._lock:
            self._since_s = self._since_s if self._n_inside else time.perf_counter()
            self._n_inside += 1
        code = self._decode(context, batch)
        with self._lock:
            self._n_inside -= 1
            self.spent_s += 0.0 if self._n_inside else time.perf_counter() - self._since_s
        return code

    def __enter__(self) -> DecodeClock:
        """Start to listen."""
        lc.llama_decode = self
        return self

    def __exit__(self, *_: object) -> None:
        """Give the binding back."""
        lc.llama_decode = self._decode


@dataclass(frozen=True, slots=True)
class Spread:
    """The median, the least and the most of some runs."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        """Write it with three digits."""
        return f"{self.median:.3g} ({self.least:.3g} .. {self.most:.3g})"


def spread(values: Sequence[float]) -> Spread:
    """Sum up some runs."""
    return Spread(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What one row of the table was measured with."""

    samples: int
    router: str
    diversity: float
    schedule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What one run of one setting took."""

    tokens_per_s: float
    outside: float  # share of the wall time outside llama_decode
    first_token_s: float
    decodes_per_token: float  # decodes that an answer took part in, of both models, per token: 2 in lockstep
    base_share: float


# --- bare loops: what llama.cpp allows ------------------------------------------------------------------------------


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

    def cost_of_sequences(self, k: int, n_decodes: int) -> float:
        """Return the seconds of a decode of one token each of k sequences."""
        return self._seconds_per_decode([[1] * k] * n_decodes)

    def _seconds_per_decode(self, decodes: list[list[int]]) -> float:
        lengths = [0] * self._n_sequences
        for sequence in range(len(decodes[0])):
            self._model.rewind(sequence, 0)
            self._model.feed([Feed(sequence, 0, range(FIRST_ID, FIRST_ID + 32), n_rows=0)])
            lengths[sequence] = 32
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


# --- the product ----------------------------------------------------------------------------------------------------


def decode(pair: baco.Pair, setting: Setting, n_tokens: int, knobs: dict[str, Any], seed: int) -> Measure:
    """Write some answers together, and measure from the first token on."""
    chosen = {"router": setting.router, "diversity": setting.diversity, "schedule": ScheduleName(setting.schedule)}
    settings = pair.settings.turn(
        {"max_tokens": n_tokens, "ignore_end": True, "guards": baco.Guards(loops=False), **knobs, **chosen}
    )
    jobs = [baco.Job(prompt=PROMPT, settings=settings, seed=seed, sample=k) for k in range(setting.samples)]
    with DecodeClock() as clock:
        stream = pair.interleave(jobs)
        began_s = time.perf_counter()
        answers = {id(first): first for first, _ in (next(stream),)}
        first_s = time.perf_counter()
        clock.spent_s, n = 0.0, 0
        for each, _ in stream:
            answers.setdefault(id(each), each)
            n += 1
        wall_s = time.perf_counter() - first_s
    told = [stream.answer for stream in answers.values()]
    n_decodes = sum(n for answer in told for n in answer.usage.n_decodes.values())
    n_said = sum(len(answer.tokens) for answer in told)
    return Measure(
        tokens_per_s=n / wall_s,
        outside=1 - clock.spent_s / wall_s,
        first_token_s=first_s - began_s,
        decodes_per_token=n_decodes / max(1, n_said),
        base_share=statistics.mean(answer.base_share for answer in told),
    )


def compared(
    pair: baco.Pair, bare: Bare, settings: list[Setting], n_tokens: int, knobs: dict[str, Any], n_runs: int
) -> list[dict[str, Any]]:
    """Measure settings of one batch size in turns, each run beside S."""
    found: dict[Setting, list[tuple[Measure, float]]] = {setting: [] for setting in settings}
    decode(pair, settings[0], 8, knobs, 0)  # warm
    for run in range(n_runs):
        for setting in settings:
            limit = bare.tokens_per_s(n_tokens)
            found[setting].append((decode(pair, setting, n_tokens, knobs, run), limit))
    lockstep = {
        (s.router, s.diversity): statistics.median(m.tokens_per_s for m, _ in runs)
        for s, runs in found.items()
        if s.schedule == ScheduleName.LOCKSTEP
    }
    rows = []
    for s, runs in found.items():
        rows.append(
            {
                "N": s.samples,
                "router": s.router,
                "d": f"{s.diversity:g}",
                "schedule": s.schedule,
                "tok/s": spread([m.tokens_per_s for m, _ in runs]),
                "x S": spread([m.tokens_per_s / limit for m, limit in runs]),
                "x lockstep": spread(
                    [m.tokens_per_s / lockstep.get((s.router, s.diversity), math.nan) for m, _ in runs]
                ),
                "outside": spread([m.outside for m, _ in runs]),
                "decodes/token": spread([m.decodes_per_token for m, _ in runs]),
                "base share": spread([m.base_share for m, _ in runs]),
                "first token s": spread([m.first_token_s for m, _ in runs]),
            }
        )
    return rows


def limits(files: tuple[Path, Path], options: baco.LoadOptions, n_tokens: int, n_runs: int) -> list[dict[str, Any]]:
    """Measure S, c(k) and the naive loop."""
    bare = Bare(files[1], options, max(SIZES))
    singles, tokens, sequences = [], [], []
    for _ in range(n_runs):
        singles.append(bare.tokens_per_s(n_tokens))
        tokens.append([bare.cost_of_tokens(k, max(4, n_tokens // k)) * singles[-1] for k in SIZES])
        sequences.append([bare.cost_of_sequences(k, max(4, n_tokens // k)) * singles[-1] for k in SIZES])
    bare.close()
    threads = options.threads or psutil.cpu_count(logical=False) or 1
    naive = [naive_loop(files, n_tokens, threads) / single for single in singles]
    rows: list[dict[str, Any]] = [{"what": "S, tokens/s", "value": spread(singles)}]
    rows.append({"what": f"naive loop, x S ({threads} threads)", "value": spread(naive)})
    for i, k in enumerate(SIZES):
        rows.append({"what": f"c({k}), {k} tokens of one sequence", "value": spread([costs[i] for costs in tokens])})
    for i, k in enumerate(SIZES):
        rows.append({"what": f"c({k}), {k} sequences", "value": spread([costs[i] for costs in sequences])})
    return rows


# --- the command ----------------------------------------------------------------------------------------------------


def main() -> None:
    """Parse, measure, print."""
    args = parsed()
    files = files_of(args)
    options = baco.LoadOptions(threads=args.threads, ctx_size=1024)
    knobs = {} if args.plain else {"temperature": 0.8, "min_p": 0.05}
    tables = {"limits": limits(files, options, args.tokens, args.runs)}
    bare = Bare(files[1], options, 1)
    for n_samples in args.samples:
        settings = [
            Setting(samples=n_samples, router=router, diversity=d, schedule=schedule)
            for router in args.router
            for d in args.diversity
            for schedule in args.schedule
        ]
        with baco.load(
            base=files[0], aligned=files[1], options=options, n_parallel=n_samples, calibrate=args.calibrate
        ) as pair:
            tables.setdefault("decoding", []).extend(compared(pair, bare, settings, args.tokens, knobs, args.runs))
    bare.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024)
    title = f"{files[0]} | {files[1].name}, {machine()}, peak memory {peak:.0f} MB"
    show(title, tables, args)


def parsed() -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=PRESETS, help="random weights of this shape instead of the bundled pair")
    parser.add_argument("--quant", choices=[q.name for q in Quant if q.name in ("F32", "Q8_0", "Q4_0")], default="Q4_0")
    parser.add_argument("--folder", type=Path, default=Path("models/synthetic"), help="where such files are kept")
    parser.add_argument("--base", type=Path)
    parser.add_argument("--aligned", type=Path)
    parser.add_argument("--tokens", type=int, default=200, help="per answer (default 200)")
    parser.add_argument("--samples", type=int, nargs="+", default=[1, 4, 8], help="answers at once (default 1 4 8)")
    parser.add_argument("--router", nargs="+", default=["P-PUNC"])
    parser.add_argument("--diversity", type=float, nargs="+", default=[5.0])
    parser.add_argument(
        "--schedule", nargs="+", choices=list(ScheduleName), default=list(ScheduleName), help="default: all"
    )
    parser.add_argument("--calibrate", action="store_true", help="calibrate the dial for these files first")
    parser.add_argument("--threads", type=int, default=0, help="0 = as baco chooses")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--plain", action="store_true", help="temperature 1 and no truncation, instead of 0.8 and min-p 0.05"
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true")
    shape.add_argument("--markdown", action="store_true")
    return parser.parse_args()


def files_of(args: argparse.Namespace) -> tuple[Path, Path]:
    """Return the pair's files; random weights are written where they are missing."""
    if args.shape:
        folder = args.folder / f"{args.shape}-{args.quant}"
        files = folder / "base.gguf", folder / "aligned.gguf"
        if not all(file.exists() for file in files):
            folder.mkdir(parents=True, exist_ok=True)
            write_pair(folder, PRESETS[args.shape], Quant[args.quant])
        return files
    if args.base and args.aligned:
        return args.base, args.aligned
    known = Path(__file__).parents[1] / "models" / "tales"
    return known / "base.gguf", known / "aligned.gguf"


def machine() -> str:
    """Describe the computer in a few words."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8", "replace").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    return f"{names[0] if names else platform.processor() or platform.machine()}, {cores} cores"


def show(title: str, tables: dict[str, list[dict[str, Any]]], args: argparse.Namespace) -> None:
    """Print the tables as asked."""
    console = Console(soft_wrap=True) if args.markdown or args.json else Console()
    if args.json:
        plain = {"title": title} | {
            name: [{k: str(v) if isinstance(v, Spread) else v for k, v in row.items()} for row in rows]
            for name, rows in tables.items()
        }
        console.print_json(json.dumps(plain))
        return
    if args.markdown:
        console.print(title, markup=False, highlight=False)
    for name, rows in tables.items():
        heads = list(rows[0])
        if args.markdown:
            lines = [heads, ["---"] * len(heads), *([str(value) for value in row.values()] for row in rows)]
            text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
            console.print(f"\n{text}", markup=False, highlight=False)
            continue
        table = Table(*heads, title=f"{name}: {title}")
        for row in rows:
            table.add_row(*(str(value) for value in row.values()))
        console.print(table)


if __name__ == "__main__":
    main()
