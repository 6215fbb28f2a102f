"""Measure how fast a pair decodes, side by side with a bare loop over llama_decode, as ratios of one run.

    scripts/bench.py                          the bundled pair
    scripts/bench.py --shape 0.5b             random Q4_0 weights of that shape (written once into --folder)
    scripts/bench.py --base B.gguf --aligned A.gguf

"S" is the speed of one model alone in a bare loop. "outside" is the share of the wall time that is not spent inside
llama_decode. Machines are noisy: medians over several runs are shown, with the least and the most.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import llama_cpp as lc
from rich.console import Console
from rich.table import Table

import baco_local as baco
from baco_local.backend.base import Feed
from baco_local.backend.llama import load_weights, open_model
from synthetic_gguf import PRESETS, Quant, write_pair

PROMPT = "Tell me a story about a fox and a very small boat."


class DecodeClock:
    """Counts the time that llama.cpp itself takes, by standing between the binding and its caller."""

    def __init__(self) -> None:
        self.spent_s, self.n_calls = 0.0, 0
        self._decode: Callable[[Any, Any], int] = lc.llama_decode

    def __call__(self, context: Any, batch: Any) -> int:
        """Decode, and add up how long it took."""
        started_s = time.perf_counter()
        code = self._decode(context, batch)
        self.spent_s += time.perf_counter() - started_s
        self.n_calls += 1
        return code

    def __enter__(self) -> DecodeClock:
        """Start to listen."""
        lc.llama_decode = self
        return self

    def __exit__(self, *_: object) -> None:
        """Give the binding back."""
        lc.llama_decode = self._decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What one run of one setting took."""

    tokens_per_s: float
    outside: float  # share of the wall time outside llama_decode
    first_token_s: float


def bare_loop(path: Path, options: baco.LoadOptions, n_tokens: int) -> float:
    """Return the tokens per second of one model that reads ids one by one: the limit S."""
    weights = load_weights(path, options)
    model = open_model(weights, options, n_sequences=1)
    try:
        model.feed([Feed(0, 0, list(range(300, 332)), n_rows=0)])
        started_s = time.perf_counter()
        for i in range(n_tokens):
            model.feed([Feed(0, 32 + i, (300 + i % 100,))])
        return n_tokens / (time.perf_counter() - started_s)
    finally:
        model.close()
        weights.close()


def lockstep(pair: baco.Pair, n_samples: int, n_tokens: int, knobs: dict[str, Any], seed: int) -> Measure:
    """Write some answers together, and measure from the first token of each on."""
    settings = pair.settings.turn(
        {"max_tokens": n_tokens, "ignore_end": True, "guards": baco.Guards(loops=False), **knobs}
    )
    jobs = [baco.Job(prompt=PROMPT, settings=settings, seed=seed, sample=k) for k in range(n_samples)]
    with DecodeClock() as clock:
        stream = pair.interleave(jobs)
        began_s = time.perf_counter()
        next(stream)
        first_s = time.perf_counter()
        clock.spent_s, n = 0.0, 0
        for _ in stream:
            n += 1
        wall_s = time.perf_counter() - first_s
    return Measure(tokens_per_s=n / wall_s, outside=1 - clock.spent_s / wall_s, first_token_s=first_s - began_s)


def main() -> None:
    """Parse, measure, print."""
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
    parser.add_argument("--threads", type=int, default=0, help="0 = as baco chooses")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--plain", action="store_true", help="temperature 1 and no truncation, instead of 0.8 and min-p 0.05"
    )
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.shape:
        folder = args.folder / f"{args.shape}-{args.quant}"
        files = folder / "base.gguf", folder / "aligned.gguf"
        if not all(file.exists() for file in files):
            folder.mkdir(parents=True, exist_ok=True)
            write_pair(folder, PRESETS[args.shape], Quant[args.quant])
    elif args.base and args.aligned:
        files = args.base, args.aligned
    else:
        known = Path(__file__).parents[1] / "models" / "tales"
        files = known / "base.gguf", known / "aligned.gguf"
    options = baco.LoadOptions(threads=args.threads, ctx_size=1024)
    knobs = {} if args.plain else {"temperature": 0.8, "min_p": 0.05}
    rows: list[dict[str, Any]] = []
    for n_samples in args.samples:
        with baco.load(base=files[0], aligned=files[1], options=options, n_parallel=n_samples, calibrate=False) as pair:
            for router in args.router:
                for diversity in args.diversity:
                    chosen = {**knobs, "router": router, "diversity": diversity}
                    lockstep(pair, n_samples, 8, chosen, 0)  # warm
                    bare, found = [], []
                    for run in range(args.runs):
                        bare.append(bare_loop(files[0], options, args.tokens))
                        found.append(lockstep(pair, n_samples, args.tokens, chosen, run))
                    ratios = [one.tokens_per_s / s for one, s in zip(found, bare, strict=True)]
                    rows.append(
                        {
                            "samples": n_samples,
                            "router": router,
                            "d": diversity,
                            "S": spread(bare),
                            "tokens_per_s": spread([one.tokens_per_s for one in found]),
                            "of_S": spread(ratios),
                            "outside": spread([one.outside for one in found]),
                            "first_token_s": spread([one.first_token_s for one in found]),
                            "runs": [asdict(one) for one in found],
                        }
                    )
    console = Console()
    if args.json:
        console.print_json(json.dumps(rows))
        return
    table = Table(
        "N", "router", "d", "S tok/s", "tok/s", "x S", "outside llama_decode", "first token s", title=str(files[0])
    )
    for row in rows:
        shown = (row["S"], row["tokens_per_s"], row["of_S"], row["outside"], row["first_token_s"])
        table.add_row(str(row["samples"]), row["router"], f"{row['d']:g}", *(told(*three) for three in shown))
    console.print(table)


def spread(values: list[float]) -> tuple[float, float, float]:
    """Return the median, the least and the most."""
    return statistics.median(values), min(values), max(values)


def told(median: float, least: float, most: float) -> str:
    """Write a spread with three digits."""
    return f"{median:.3g} ({least:.3g} .. {most:.3g})"


if __name__ == "__main__":
    main()
