"""``baco compare``: one prompt and seed, several ways to speak, decoded together and shown side by side.

Decides which ways there are and where they are shown; ``columns`` sets them beside each other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from baco_cli.columns import BORDER, SideBySide, column_width
from baco_cli.console import Paint, Screen
from baco_cli.opening import open_pair, piped_text
from baco_cli.options import (
    Asking,
    EachModel,
    Machine,
    ModelChoice,
    Output,
    Sampling,
    Writing,
    bundled,
    dial_words,
    per_call,
    refuse_early,
    turned,
)
from baco_cli.records import answer_record
from baco_cli.render import Tally, TokenWriter, banner, figures, finish_words
from baco_cli.stopping import stoppable
from baco_cli.waiting import reading
from baco_local.errors import UsageError
from baco_local.pair import Job, Pair, Stream
from baco_local.routing.blends import BLENDS
from baco_local.routing.dial import find_router
from baco_local.settings import Settings
from baco_local.types import Role

__all__ = ["Way", "app", "compare", "parse_way"]

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to speak: a name, and what it turns in the settings."""

    name: str
    knobs: Mapping[str, Any]

    @property
    def two_voices(self) -> bool:
        """Return whether both models may speak."""
        return self.knobs.get("diversity") not in {0.0, 10.0}


@app.command()
@bundled
def compare(
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="What to write; piped text goes before it.")
    ] = None,
    *,
    asking: Asking,
    add: Annotated[
        list[str] | None,
        per_call(
            "--add",
            help="One more: aligned@1.5 (temperature), baco@d8, rand@d5, p-punc@g0.4.",
            panel="Writing",
            metavar="WAY",
        ),
    ] = None,
    writing: Writing,
    models: ModelChoice,
    sampling: Sampling,
    machine: Machine,
    each: EachModel,
    output: Output,
) -> None:
    """See base, aligned and both together side by side.

    All answers have the same prompt and seed. What begins like the aligned answer is muted.
    """
    ways = [*USUAL, *(parse_way(text) for text in add or ())]
    screen = output.screen()
    messages = asking.messages(prompt, piped_text())
    refuse_early(writing, sampling, each)
    seed = sampling.chosen_seed()
    with open_pair(models, machine, each, screen, n_parallel=machine.at_once(len(ways))) as pair:
        settings = turned(pair.settings, writing, sampling, each)
        banner(screen, pair, settings, verbose=output.verbose)
        screen.gap()
        each_settings = [settings.turn(way.knobs) for way in ways]
        streams = pair.start([Job(prompt=messages, settings=own, seed=seed) for own in each_settings])
        width = column_width(screen.columns, len(ways)) if screen.live and not screen.out.is_dumb_terminal else None
        with stoppable(streams) as stopped:
            if output.json:
                write_json(screen, ways, streams, pair, each_settings)
            elif width is None:
                write_stacked(screen, ways, streams)
            else:
                write_beside(screen, ways, streams, width)
        if not output.json:
            say_figures(screen, ways, streams, each_settings)
    if stopped.yes:
        raise KeyboardInterrupt


def parse_way(text: str) -> Way:
    """Read NAME@PART@PART: base, aligned, baco or a router; parts are a temperature, dN (dial) or gX (threshold)."""
    name, *parts = (part.strip() for part in text.split("@"))
    knobs = dict(FIXED.get(name.lower(), {}))
    if name.lower() not in FIXED:
        if name.lower() not in BLENDS:
            try:
                find_router(name)
            except UsageError as error:
                raise UsageError(
                    f"--add {text!r}: {name!r} is neither base, aligned, baco nor a router\n    {error}"
                ) from error
        knobs["router"] = name
    for part in parts:
        found = re.fullmatch(r"(?P<letter>[dgt]?)=?(?P<number>\d+\.?\d*|\.\d+)", part.lower())
        if found is None:
            raise UsageError(
                f"--add {text!r}: {part!r} is neither a temperature (1.5), a dial (d8) nor a threshold (g0.4)"
            )
        if found["letter"] in {"d", "g"} and "diversity" in knobs and name.lower() in {"base", "aligned"}:
            raise UsageError(f"--add {text!r}: {part!r} turns a router, and {name} speaks alone; use baco@{part}")
        knobs |= PARTS[found["letter"]](float(found["number"]))
    return Way(text, knobs)


def write_beside(screen: Screen, ways: Sequence[Way], streams: Sequence[Stream], width: int) -> None:
    """Fill columns row by row."""
    both, alone = screen.paints, dict.fromkeys(Role, Paint())
    screen.write(heading(screen, ways, width))
    table = SideBySide(width, [both if way.two_voices else alone for way in ways], screen.codes("muted"), REFERENCE)
    growing = dict(enumerate(streams))
    while growing:
        for column, stream in list(growing.items()):
            token = next(stream, None)
            if token is None:
                table.finish(column)
                del growing[column]
            else:
                table.feed(column, token.text, token.speaker)
        screen.write(table.update())
    screen.write("\n")


def heading(screen: Screen, ways: Sequence[Way], width: int) -> str:
    """Return the names above the columns."""
    shown = [way.name[:width] for way in ways]
    cells = [screen.styled(name, HUES.get(name, "bold")) + " " * (width - len(name)) for name in shown]
    names = screen.styled(BORDER, "muted").join(cells)
    rule = screen.styled("─┼─".join("─" * width for _ in ways), "muted")
    return f"{names}\n{rule}\n"


def write_stacked(screen: Screen, ways: Sequence[Way], streams: Sequence[Stream]) -> None:
    """Write one answer below the other: the first grows, the others decode with it and wait their turn."""
    for way, stream in zip(ways, streams, strict=True):
        screen.write(screen.styled(f"## {way.name}", HUES.get(way.name, "bold")) + "\n\n")
        writer = TokenWriter(screen.paints if way.two_voices else dict.fromkeys(Role, Paint()), screen.measure)
        for token in reading(screen, stream):
            screen.write(writer.feed(token.text, token.speaker))
        screen.write(writer.flush() + "\n\n")


def write_json(
    screen: Screen, ways: Sequence[Way], streams: Sequence[Stream], pair: Pair, settings: Sequence[Settings]
) -> None:
    """Write one object per way and line."""
    for way, stream, own in zip(ways, streams, settings, strict=True):
        for _ in reading(screen, stream):
            pass
        record = {"way": way.name} | answer_record(stream.answer, pair, own)
        screen.write(json.dumps(record, ensure_ascii=False) + "\n")


def say_figures(screen: Screen, ways: Sequence[Way], streams: Sequence[Stream], settings: Sequence[Settings]) -> None:
    """Say one line per way."""
    longest = max(len(way.name) for way in ways)
    for way, stream, own in zip(ways, streams, settings, strict=True):
        answer = stream.answer
        words = f"{len(answer.text.split())} words"
        numbers = figures(Tally.of(answer), dial=dial_words(own)) if way.two_voices else words
        end = finish_words(answer)
        screen.say(" · ".join([f"{way.name.ljust(longest)}  {numbers}", *([end] if end else [])]))
    screen.say(f"seed {streams[0].seed}")


FIXED: dict[str, Mapping[str, Any]] = {
    "base": {"diversity": 10.0, "threshold": None},
    "aligned": {"diversity": 0.0, "threshold": None},
    "baco": {},
}

PARTS = {
    "": lambda number: {"temperature": number},
    "t": lambda number: {"temperature": number},
    "d": lambda number: {"diversity": number, "threshold": None},
    "g": lambda number: {"threshold": number},
}

HUES = {"base": "base", "aligned": "bold", "baco": "accent"}

USUAL = tuple(Way(name, knobs) for name, knobs in FIXED.items())
REFERENCE = 1  # aligned: what the others are compared with
