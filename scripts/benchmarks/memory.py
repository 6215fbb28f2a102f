"""What a pair holds in memory, beside one model alone; each is loaded and used in a process of its own.

Resident memory counts the pages of a mapped file that were touched, so every way writes the same few tokens first.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

import baco_local as baco

__all__ = ["memory"]

SCRIPTS = Path(__file__).parents[1]


def memory(base: Path, aligned: Path, adapter: Path, n_ctx: int) -> list[dict[str, Any]]:
    """Return the resident memory of one model, of two, and of one set of weights with an adapter."""
    base, aligned, adapter = base.resolve(), aligned.resolve(), adapter.resolve()
    ways = {
        "nothing loaded": [],
        "one model alone": ["--aligned", aligned],
        "base and aligned": ["--base", base, "--aligned", aligned],
        "base and adapter": ["--base", base, "--adapter", adapter],
    }
    found = {}
    for name, files in ways.items():
        command = [sys.executable, "-m", "benchmarks.memory", str(n_ctx), *map(str, files)]
        done = subprocess.run(command, cwd=SCRIPTS, check=True, capture_output=True, text=True)
        found[name] = float(done.stdout)
    empty, single = found["nothing loaded"], found["one model alone"]
    return [
        {
            "what": name,
            "MB": f"{size:.0f}",
            "x one model": f"{size / single:.2f}",
            "without the interpreter": f"{(size - empty) / (single - empty):.2f}",
        }
        for name, size in found.items()
    ]


def in_use(n_ctx: int, files: dict[str, Path]) -> object:
    """Load what is named, write a little, and return what holds it."""
    options = baco.LoadOptions(ctx_size=n_ctx)
    if "--base" in files:
        pair = baco.load(
            base=files["--base"],
            aligned=files.get("--aligned"),
            aligned_lora=files.get("--adapter"),
            options=options,
            calibrate=False,
        )
        pair.generate("Tell me a story.", max_tokens=32, seed=1, ignore_end=True, diversity=5.0)
        return pair
    if files:
        from benchmarks.bare import Bare  # loads llama.cpp, which an interpreter without a model does not

        bare = Bare(files["--aligned"], options, 1)
        bare.tokens_per_s(32)
        return bare
    return None


if __name__ == "__main__":
    arguments = sys.argv[2:]
    held = in_use(int(sys.argv[1]), dict(zip(arguments[::2], map(Path, arguments[1::2]), strict=True)))
    print(psutil.Process().memory_info().rss / 2**20)
