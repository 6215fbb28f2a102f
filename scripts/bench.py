"""Measure how fast a pair decodes, side by side with bare loops over the same files, as ratios of one run.

    scripts/bench.py                          the bundled pair
    scripts/bench.py --shape 0.5b             random Q4_0 weights of that shape (written once into --folder)
    scripts/bench.py --base B.gguf --aligned A.gguf --schedule lockstep lazy --router P RAND --diversity 3 7
    scripts/bench.py --shape 1b --imposed 0.6 0.8 --draft-shape 135m    guesses that stand with that chance
    scripts/bench.py --memory                 what a pair holds, beside one model
    scripts/bench.py --computed               what other hardware would gain, by its published c(k); nothing is run
    scripts/bench.py --together 16 --workers 1 2    64 prompts x 4 samples, one at a time and so many together
    scripts/bench.py --equal 200              how many answers of each schedule are lockstep's, and why others are not
    scripts/bench.py --profile                where the time between two decodes goes
    scripts/bench.py --markdown               the tables of docs/performance.md

S is the speed of one model alone in a bare loop over llama_decode, with the threads that suit it best; c(k) is what a
decode of k tokens costs, in units of one token; "naive" is the loop that one would write with two high-level Llama
objects. "outside" is the share of the wall time in which no llama_decode runs. Machines are noisy: every run measures
S again beside what is compared with it, and medians are shown with the least and the most.
"""

from __future__ import annotations

import argparse
import cProfile
import dataclasses
import json
import platform
import pstats
import resource
import sys
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

import baco_local as baco
from baco_local.config import EndCheck, ScheduleName
from benchmarks.bare import Bare, best_threads, limits
from benchmarks.clock import Spread
from benchmarks.computed import computed
from benchmarks.decoding import Setting, compared, decode
from benchmarks.equal import equal
from benchmarks.imposed import imposed
from benchmarks.memory import memory
from benchmarks.night import night
from synthetic_gguf import PRESETS, Quant, write_adapter, write_model, write_pair

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Parse, measure, print."""
    args = parsed()
    if args.computed:
        show("computed, not measured", {"computed": computed()}, args)
        return
    files = files_of(args)
    options = baco.LoadOptions(threads=args.threads, ctx_size=1024)
    if args.profile:
        profile(files, options, args)
        return
    title = f"{files[0].parent.name}, {machine()}"
    if args.memory:
        show(title, {"memory": memory(*files, adapter_of(args, files), options.ctx_size)}, args)
        return
    if args.equal:
        with baco.load(base=files[0], aligned=files[1], options=options, calibrate=False) as pair:
            show(title, {"equal": equal(pair, args.equal, args.tokens)}, args)
        return
    best = best_threads(files[1], options)
    if args.together:
        show(title, {"together": night(files, best, options, args, knobs_of(args))}, args)
        return
    bare = Bare(files[1], best, 1)
    if args.imposed:
        tables = {"guesses that stand with a set chance, P-PUNC, d = 5": guessing(files, options, bare, args)}
    else:
        rows = limits(files, best, args.tokens, args.runs)
        tables = {"limits": rows, "decoding": decoding(files, options, bare, args)}
    bare.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024)
    show(f"{title}, S with {best.threads} threads, peak memory {peak:.0f} MB", tables, args)


def guessing(
    files: tuple[Path, Path], options: baco.LoadOptions, bare: Bare, args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Measure a drafter whose guesses are set."""
    draft = draft_of(args)
    with baco.load(base=files[0], aligned=files[1], options=options, draft=draft, calibrate=args.calibrate) as pair:
        return imposed(pair, bare, args.imposed, args.draft_length, args.tokens, knobs_of(args), args.runs)


def decoding(
    files: tuple[Path, Path], options: baco.LoadOptions, bare: Bare, args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Measure every asked setting, a pair at a time for each number of answers."""
    rows = []
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
            rows += compared(pair, bare, settings, args.tokens, knobs_of(args), args.runs)
    return rows


def knobs_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that all rows share."""
    sampling = {} if args.plain else {"temperature": 0.8, "min_p": 0.05}
    return sampling | {"end_check": EndCheck(args.end_check)}


def profile(files: tuple[Path, Path], options: baco.LoadOptions, args: argparse.Namespace) -> None:
    """Print what our own functions take while one answer is decoded."""
    with baco.load(base=files[0], aligned=files[1], options=options, calibrate=args.calibrate) as pair:
        setting = Setting(samples=1, router=args.router[0], diversity=args.diversity[0], schedule=args.schedule[0])
        decode(pair, setting, args.tokens, knobs_of(args), 0)
        profiler = cProfile.Profile()
        profiler.runcall(decode, pair, setting, args.tokens, knobs_of(args), 1)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


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
    parser.add_argument(
        "--end-check", choices=list(EndCheck), default=EndCheck.WORD, help="where an end by aligned is looked for"
    )
    parser.add_argument("--imposed", type=float, nargs="+", metavar="A", help="acceptances of guesses, 0 to 1")
    parser.add_argument("--draft-shape", choices=PRESETS, default="135m", help="of the drafter whose guesses are set")
    parser.add_argument("--draft-length", type=int, nargs="+", default=[3, 7], help="guesses of a round, at most")
    parser.add_argument("--together", type=int, nargs="+", metavar="N", help="answers of a long work decoded at once")
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[1], metavar="N", help="pairs side by side at that work"
    )
    parser.add_argument("--prompts", type=int, default=64, help="of that work")
    parser.add_argument("--each", type=int, default=4, help="answers to each prompt of that work")
    parser.add_argument("--equal", type=int, metavar="N", help="answers of each schedule, compared with lockstep's")
    parser.add_argument("--memory", action="store_true", help="resident memory instead of speed")
    parser.add_argument("--computed", action="store_true", help="other hardware, by its published curves")
    parser.add_argument("--profile", action="store_true", help="our own functions, by the time that they take")
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
    known = ROOT / "models" / "tales"
    return known / "base.gguf", known / "aligned.gguf"


def adapter_of(args: argparse.Namespace, files: tuple[Path, Path]) -> Path:
    """Return the adapter that lies beside the pair; a random one is written where it is missing."""
    if not args.shape:
        return files[0].parent / "aligned-lora.gguf"
    path = files[0].parent / "adapter.gguf"
    if not path.exists():
        write_adapter(path, PRESETS[args.shape])
    return path


def draft_of(args: argparse.Namespace) -> Path:
    """Return a small model of the pair's vocabulary; it is written where it is missing."""
    shape = PRESETS[args.draft_shape]
    if args.shape:
        shape = dataclasses.replace(shape, vocab=PRESETS[args.shape].vocab)
    path = Path(args.folder / f"{args.draft_shape}-{args.quant}-of-{shape.vocab}.gguf")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_model(path, shape, Quant[args.quant])
    return path


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
