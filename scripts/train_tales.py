"""Train the bundled pair from zero to GGUF: parse arguments, call, print.

    python scripts/train_tales.py --corpus DIR --work DIR

Stopped at any time, the same command goes on where it was. Needs the extra `train`. measure_tales.py measures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tales.config import HERE, read_plan
from tales.pipeline import Work, prefer, prepare, pretrain, publish, tune
from tales.train import Report

STEPS = ("prepare", "pretrain", "tune", "prefer", "publish")
ROOT = HERE.parent.parent
LINE_S = 30.0


def show(reports: Iterable[Report], console: Console) -> None:
    """Show a stage as a bar on a terminal, as a line every half minute elsewhere."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[told]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task, shown_at = progress.add_task("", told=""), 0.0
        for r in reports:
            told = f"{r.value:.3f} {r.unit}, {r.n_tokens / 1e6:.2f}M tokens, {r.tokens_per_s:,.0f}/s"
            progress.update(task, description=r.stage, completed=r.step, total=r.n_steps, told=told)
            if not console.is_terminal and (time.monotonic() - shown_at > LINE_S or r.step == r.n_steps):
                shown_at = time.monotonic()
                console.print(f"{r.stage} {r.step}/{r.n_steps}: {told}, {r.eta_s / 60:.1f} min left")


def main() -> None:
    """Run the asked steps in order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="folder with the corpus archives")
    parser.add_argument("--work", type=Path, required=True, help="folder for prepared texts, checkpoints and weights")
    parser.add_argument("--plan", type=Path, default=HERE / "tales.toml", help="the plan of the run")
    parser.add_argument("--out", type=Path, default=ROOT / "models" / "tales", help="folder for the GGUF files")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS, help="only these steps")
    asked = parser.parse_args()
    console, plan, work = Console(stderr=True, width=140), read_plan(asked.plan), Work(asked.work)
    if "prepare" in asked.steps:
        console.print("prepare")
        prepare(plan, work, asked.corpus)
    if "pretrain" in asked.steps:
        show(pretrain(plan, work), console)
    if "tune" in asked.steps:
        show(tune(plan, work), console)
    if "prefer" in asked.steps:
        show(prefer(plan, work), console)
    if "publish" in asked.steps:
        publish(plan, work, asked.out)
        console.print(f"wrote {asked.out}")


if __name__ == "__main__":
    main()
