"""``baco run``: one prompt, one answer or several, to the screen, a pipe or a file.

Decides what is written where; how a token looks is ``render``'s business, how it is made the library's.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from baco_cli.console import Screen
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
from baco_cli.records import answer_record, token_record, trace_header
from baco_cli.render import Tally, TokenWriter, banner, figures, finish_words
from baco_cli.stopping import stoppable
from baco_cli.waiting import reading
from baco_local.engine.answer import Token
from baco_local.errors import UsageError
from baco_local.pair import Job, Pair, Stream
from baco_local.settings import Settings
from baco_local.types import Detail, FinishReason

__all__ = ["app", "run"]

app = typer.Typer(add_completion=False)

SEPARATOR = "---"  # a line between samples where no person reads: blank lines occur in texts
N_RIVALS = 5  # of each model in a trace


@app.command()
@bundled
def run(
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="What to write; piped text goes before it.")
    ] = None,
    *,
    asking: Asking,
    n_samples: Annotated[
        int,
        per_call(
            "--num-samples",
            "-N",
            min=1,
            metavar="N",
            help="Write this many answers.",
            panel="Writing",
            show_default=False,
        ),
    ] = 1,
    first_sample: Annotated[
        int,
        per_call(
            "--first-sample",
            min=0,
            metavar="N",
            help="Number of the first answer: -N 2 --first-sample 3 makes 3 and 4.",
            panel="Writing",
            show_default=False,
        ),
    ] = 0,
    writing: Writing,
    models: ModelChoice,
    sampling: Sampling,
    machine: Machine,
    each: EachModel,
    output: Output,
    output_file: Annotated[
        Path | None, per_call("--output", "-o", help="Write the text to a file instead.", panel="Output")
    ] = None,
    trace: Annotated[
        Path | None,
        per_call("--trace", help="Write every token with all that is known of it, as JSON lines.", panel="Output"),
    ] = None,
) -> None:
    """Write one answer, or several.

    The text goes to stdout and everything else to stderr, so that a pipe gets the text alone.
    """
    screen = output.screen()
    messages = asking.messages(prompt, piped_text())
    refuse_overwriting(asking, output_file, trace)
    for path, name in ((output_file, "--output"), (trace, "--trace")):
        refuse_unwritable(path, name)
    refuse_early(writing, sampling, each)
    seed = sampling.chosen_seed()
    with open_pair(models, machine, each, screen, n_parallel=machine.at_once(n_samples)) as pair, ExitStack() as files:
        record = {} if trace is None else {"detail": Detail.SIDES, "n_rivals": N_RIVALS}
        settings = turned(pair.settings, writing, sampling, each, **record)
        banner(screen, pair, settings, verbose=output.verbose)
        screen.gap()
        tracing = None
        if trace is not None:
            tracing = Trace(files.enter_context(to_write(trace, "--trace")), pair.pieces)
            tracing.write(trace_header(pair, settings, seed=seed, messages=messages))
        target = None if output_file is None else files.enter_context(to_write(output_file, "--output"))
        samples = range(first_sample, first_sample + n_samples)
        streams = pair.start([Job(prompt=messages, settings=settings, seed=seed, sample=k) for k in samples])
        with stoppable(streams) as stopped:
            if output.json:
                write_json(screen, streams, pair, settings, to=target, trace=tracing)
            else:
                write_text(screen, streams, settings, to=target, trace=tracing)
    if stopped.yes:
        raise KeyboardInterrupt


class Trace:
    """A file that gets one JSON line per token, at once."""

    def __init__(self, file: IO[str], pieces: Sequence[bytes]) -> None:
        self._file, self._pieces = file, pieces

    def write(self, record: dict[str, Any]) -> None:
        """Append one line."""
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._file.flush()

    def token(self, token: Token, sample: int) -> None:
        """Append what is known of a token."""
        self.write(token_record(token, self._pieces, sample=sample))


def write_text(
    screen: Screen, streams: Sequence[Stream], settings: Settings, *, to: IO[str] | None, trace: Trace | None = None
) -> None:
    """Write answers one after the other: the first while it grows, the others decode with it and wait their turn."""
    for number, stream in enumerate(streams):
        if number:
            begin_next(screen, to)
        tally = Tally()
        writer = TokenWriter(screen.paints if to is None else screen.plain_paints)
        send = screen.write if to is None else to.write
        try:
            for token in reading(screen, stream):
                if to is None:
                    writer.measure = screen.measure
                send(writer.feed(token.text, token.speaker))
                tally.add(token)
                if trace is not None:
                    trace.token(token, stream.sample)
        finally:
            send(writer.flush() + "\n")
        screen.gap()
        answer = stream.answer
        screen.say(
            figures(
                tally,
                dial=dial_words(settings),
                seed=stream.seed,
                sample=f"sample {stream.sample}" if len(streams) > 1 or stream.sample else "",
            )
        )
        if words := finish_words(answer):
            screen.say(words)
        for event in answer.guards:
            screen.say(f"⚑ handed back to aligned at token {event.position} ({event.guard})")
        if answer.finish is FinishReason.CANCELLED:
            return


def write_json(
    screen: Screen,
    streams: Sequence[Stream],
    pair: Pair,
    settings: Settings,
    *,
    to: IO[str] | None,
    trace: Trace | None = None,
) -> None:
    """Write one object per line and answer."""
    for stream in streams:
        for token in reading(screen, stream):
            if trace is not None:
                trace.token(token, stream.sample)
        record = answer_record(stream.answer, pair, settings, tokens=trace is not None)
        (screen.write if to is None else to.write)(json.dumps(record, ensure_ascii=False) + "\n")


def begin_next(screen: Screen, to: IO[str] | None) -> None:
    """Set the next sample off from the one before."""
    if to is not None:
        to.write(f"{SEPARATOR}\n")
    else:
        screen.write("\n" if screen.live else f"{SEPARATOR}\n")


def refuse_overwriting(asking: Asking, *targets: Path | None) -> None:
    """Refuse to write over what is read, or twice to one file."""
    sources = [path for path in (asking.file, asking.system_prompt_file) if path is not None]
    seen = {path.resolve(): f"{path} is also read" for path in sources}
    for target in targets:
        if target is not None and target.resolve() in seen:
            raise UsageError(f"{str(target)!r} cannot be written: {seen[target.resolve()]}; choose another name")
        if target is not None:
            seen[target.resolve()] = "two options name it"


def refuse_unwritable(path: Path | None, name: str) -> None:
    """Say that a file cannot be written before anybody waits for models; leave it as it is until then."""
    if path is None:
        return
    try:
        number = errno.EISDIR if path.is_dir() else 0 if path.parent.is_dir() else errno.ENOENT
        if not number and not os.access(path if path.exists() else path.parent, os.W_OK):
            number = errno.EACCES
    except OSError as error:
        number = error.errno or errno.EACCES
    if number:
        raise UsageError(f"{name}: {str(path)!r} cannot be written: {os.strerror(number)}")


def to_write(path: Path, name: str) -> IO[str]:
    """Open a file for text, or say why that cannot be."""
    try:
        return path.open("w", encoding="utf-8", buffering=1)  # a line at a time: nothing is lost that was finished
    except OSError as error:
        raise UsageError(f"{name}: {str(path)!r} cannot be written: {error.strerror}") from error
