"""``baco tune``: turn the dial of a pair until it does what was wished for, and keep that with the pair.

Says what is tried; the turning is the library's (``baco_local.evals.tuning``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from baco_cli.console import Screen
from baco_cli.folders import pairs_file
from baco_cli.opening import open_pair
from baco_cli.options import (
    EachModel,
    Machine,
    ModelChoice,
    Output,
    Sampling,
    Writing,
    bundled,
    per_call,
    read_text,
    refuse_early,
    turned,
)
from baco_cli.render import show_note
from baco_local.assemble import DEFAULT_PAIR
from baco_local.calibrate import calibration_prompts
from baco_local.catalog import amend_card, find_pair
from baco_local.errors import OutputError, UsageError
from baco_local.evals.tuning import Target, Tuned, dial_for

__all__ = ["app", "tune"]

app = typer.Typer(add_completion=False)

TUNING = "Tuning"
A_DOZEN = 12
LENGTH = 120  # tokens of an answer, if not said


@app.command()
@bundled
def tune(
    *,
    target: Annotated[
        str,
        per_call(
            "--target", help="base-share=0.3, or distinct=+20% above aligned.", panel=TUNING, metavar="NAME=VALUE"
        ),
    ],
    prompts: Annotated[
        Path | None,
        per_call("--prompts", "--file", "-f", help="Prompts of the kind it is for, one a line.", panel=TUNING),
    ] = None,
    dry_run: Annotated[bool, per_call("--dry-run", help="Tell the dial, keep nothing.", panel=TUNING)] = False,
    writing: Writing,
    models: ModelChoice,
    sampling: Sampling,
    machine: Machine,
    each: EachModel,
    output: Output,
) -> None:
    """Turn a pair's dial until it does what you wish.

    Halves the range of the dial on a dozen prompts until the wish is met, and writes the result into the pair's card,
    where run, chat and batch find it; -d still goes before it.
    """
    screen = output.screen()
    wish = Target.parse(target)
    if writing.diversity is not None or writing.threshold is not None:
        raise UsageError("the dial is what tune looks for; leave out -d and --threshold")
    refuse_early(writing, sampling, each)
    asked = chosen_prompts(prompts)
    card = None if models.base is not None else find_pair(models.model or DEFAULT_PAIR, pairs_file()).card_path
    if card is None and not dry_run:
        raise UsageError("these models have no card to keep the dial in; add --dry-run to be told it only")
    with open_pair(models, machine, each, screen, n_parallel=machine.at_once(len(asked))) as pair:
        settings = turned(pair.settings, writing, sampling, each)
        if writing.max_tokens is None:
            settings = settings.turn({"max_tokens": LENGTH})
        found = dial_for(
            pair,
            wish,
            asked,
            settings,
            seed=sampling.seed or 0,
            watch=lambda diversity: screen.status.show(f"trying the dial at {diversity:.2f} …"),
        )
        screen.status.clear()
        name, router = pair.name, settings.decode.router
    met = found.miss <= wish.tolerance
    if output.json:
        record = {
            "target": str(wish),
            "diversity": round(found.value, 3),
            "reached": round(found.reached, 4),
            "met": met,
            "router": router,
            "tried": [[round(place, 4), round(number, 4)] for place, number in found.tried],
        }
        screen.write(json.dumps(record) + "\n")
    say_result(screen, found, wish, met=met)
    if not met:
        raise typer.Exit(1)
    if dry_run or card is None:
        return
    keep(card, found, wish, router)
    screen.say(f"written to {card}; {name} now starts at -d {found.value:.2f}")


def chosen_prompts(path: Path | None) -> list[str]:
    """Return a dozen prompts."""
    if path is None:
        return list(calibration_prompts()[:A_DOZEN])
    lines = [line.strip() for line in read_text(path, "--prompts").splitlines() if line.strip()]
    if not lines:
        raise UsageError(f"--prompts: {str(path)!r} holds no prompt; write one a line")
    return lines[:A_DOZEN]


def say_result(screen: Screen, found: Tuned, wish: Target, *, met: bool) -> None:
    """Say where the dial came to stand."""
    reached = f"+{100 * found.reached:.0f} %" if wish.relative else f"{found.reached:.3f}"
    if met:
        screen.say(f"-d {found.value:.2f} gives {wish.goal} {reached} (wished: {wish})", style="none")
    else:
        show_note(
            screen,
            f"no place of the dial gives {wish}: the nearest is {reached}, at -d {found.value:.2f}; nothing is kept\n"
            "    another router may:  --router NAME",
        )


def keep(card: Path, found: Tuned, wish: Target, router: str) -> None:
    """Write the dial into a card, with what it was tuned for."""
    try:
        sampling = json.loads(card.read_text(encoding="utf-8")).get("sampling") or {}
        amend_card(
            card,
            sampling=sampling | {"router": router, "diversity": round(found.value, 2)},
            tuned={"target": str(wish), "reached": round(found.reached, 4)},
        )
    except OSError as error:
        raise OutputError(
            f"the card {str(card)!r} cannot be written: {error.strerror}; use -d {found.value:.2f}"
        ) from error
