"""What a pair holds in memory, beside one model alone; each is loaded and used in a process of its own.

Resident memory counts the pages of a mapped file that were touched, so every way writes the same few tokens first.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

import baco_local as baco

__all__ = ["memory"]


def memory(base: Path, aligned: Path, adapter: Path, n_ctx: int) -> list[dict[str, Any]]:
    """Return the resident memory of one model, of two, and of one set of weights with an adapter."""
    ways = {
        "nothing loaded": [],
        "one model alone": ["--aligned", aligned],
        "base and aligned": ["--base", base, "--aligned", aligned],
        "base and adapter": ["--base", base, "--adapter", adapter],
    }
    found = {}
    for name, files in ways.items():
        command = [sys.executable, "-m", "benchmarks.memory", str(n_ctx), *map(str, files)]
        found[name] = float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
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


def used(n_ctx: int, files: dict[str, Path]) -> float:
    """Load, write a little, and return this process's resident megabytes."""
    options = baco.LoadOptions(ctx_size=n_ctx)
    knobs: dict[str, Any] = {"max_tokens": 32, "seed": 1, "ignore_end": True, "diversity": 5.0}
    if "--base" in files:
        adapter = files.get("--adapter")
        with baco.load(
            base=files["--base"],
            aligned=None if adapter else files["--aligned"],
            aligned_lora=adapter,
            options=options,
            calibrate=False,
        ) as pair:
            pair.generate("Tell me a story.", **knobs)
            return resident()
    if files:
        from benchmarks.bare import Bare

        bare = Bare(files["--aligned"], options, 1)
        bare.tokens_per_s(32)
        return resident()
    return resident()


def resident() -> float:
    """Return the resident megabytes of this process."""
    return float(psutil.Process().memory_info().rss / 2**20)


if __name__ == "__main__":
    arguments = sys.argv[2:]
    pairs = dict(zip(arguments[::2], map(Path, arguments[1::2]), strict=True))
    print(json.dumps(used(int(sys.argv[1]), pairs)))
