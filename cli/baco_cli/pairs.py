"""``baco pairs``: which pairs have a name, and whether two files can be paired at all.

Looks at files without loading weights; what makes two models a pair is the library's judgement.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

import baco_local
from baco_cli.console import Screen
from baco_cli.folders import pairs_file
from baco_cli.opening import model_file
from baco_cli.options import Output, bundled, per_call, read_text
from baco_cli.records import plain
from baco_local.assemble import PairInspection, inspect_pair
from baco_local.backend.gguf_file import GgufSummary
from baco_local.calibrate import calibrate as measure_dial
from baco_local.catalog import KnownPair, add_pair, amend_card, find_pair, known_pairs
from baco_local.config import PairFiles
from baco_local.errors import PairError, UsageError
from baco_local.text.agreement import SpecialTokens, Verdict
from baco_local.types import Role

__all__ = ["app"]

app = typer.Typer(add_completion=False)

GOOD, WARN, BAD = ("✔", "good"), ("⚠", "warn"), ("✘", "bad")
MANY = 8  # values of a list in a card; longer ones are counted
SIGNS = {Verdict.SAME: GOOD, Verdict.BENIGN: WARN, Verdict.REFUSED: BAD}


@app.callback(invoke_without_command=True)
def pairs(context: typer.Context) -> None:
    """List, add and check pairs of models."""
    if context.invoked_subcommand is None:
        show_list(Screen.open())


@app.command("list")
@bundled
def list_(*, output: Output) -> None:
    """List all pairs that have a name."""
    if not output.json:
        show_list(output.screen())
        return
    screen = output.screen()
    for pair in known_pairs(pairs_file()).values():
        screen.write(json.dumps(pair_record(pair), ensure_ascii=False) + "\n")


@app.command("show")
@bundled
def show(name: Annotated[str, typer.Argument(metavar="NAME", help="A known pair.")], *, output: Output) -> None:
    """Show where a pair lies and what its card says."""
    pair = find_pair(name, pairs_file())
    screen = output.screen()
    if output.json:
        screen.write(json.dumps(pair_record(pair) | {"card": pair.card.raw}, ensure_ascii=False) + "\n")
        return
    table = plain_table()
    for key, value in pair_record(pair).items():
        if value is not None and value != "":
            table.add_row(Text(key.replace("_", " "), style="muted"), Text(str(value), overflow="fold"))
    for key, value in pair.card.raw.items():
        if key not in {"name", "notice", "description", "files"}:  # said above
            table.add_row(Text(key, style="muted"), Text("\n".join(card_lines(value)), overflow="fold"))
    screen.show(table)


@app.command("add")
@bundled
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
    *,
    base: Annotated[str, per_call("--base", "-B", help="The base model: a GGUF file.", panel="Models", metavar="FILE")],
    aligned: Annotated[
        str | None,
        per_call("--aligned", "-A", help="The aligned model of the same family.", panel="Models", metavar="FILE"),
    ] = None,
    aligned_lora: Annotated[
        Path | None, per_call("--aligned-lora", help="Instead of -A: an adapter for the base model.", panel="Models")
    ] = None,
    lora_scale: Annotated[
        float, per_call("--lora-scale", help="How strongly the adapter acts.", panel="Models", metavar="X")
    ] = 1.0,
    description: Annotated[
        str, per_call("--description", help="What it is, in a few words.", panel="Models", metavar="TEXT")
    ] = "",
    output: Output,
) -> None:
    """Give a pair of your own a name, after checking that it is one."""
    files = PairFiles(
        base=model_file(base, Role.BASE),
        aligned=None if aligned is None else model_file(aligned, Role.ALIGNED),
        aligned_lora=aligned_lora,
        lora_scale=lora_scale,
        name=name,
    )
    screen = output.screen()
    if files.aligned is not None:
        inspection = inspect_pair(files.base, files.aligned)
        if inspection.agreement.verdict is Verdict.REFUSED:
            show_check(screen, inspection)
            raise typer.Exit(PairError.exit_code)
    card = pairs_file().parent / "cards" / f"{name}.json"  # for calibrate and tune, which keep there what they find
    add_pair(pairs_file(), files, description=description, card=card)
    try:
        card.parent.mkdir(exist_ok=True)
        card.write_text(json.dumps({"name": name}) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the card {str(card)!r} cannot be written: {error.strerror}") from error
    screen.say(f"{name} is in {pairs_file()} now; try:  baco chat -m {name}")


@app.command("check")
@bundled
def check(
    base: Annotated[str, typer.Argument(metavar="BASE", help="The base model, or the name of a known pair.")],
    aligned: Annotated[str | None, typer.Argument(metavar="[ALIGNED]", help="The aligned model.")] = None,
    *,
    output: Output,
) -> None:
    """Check whether two models can be paired; nothing is loaded."""
    screen = output.screen()
    inspection = inspect_pair(*both_files(base, aligned))
    if output.json:
        screen.write(json.dumps(check_record(inspection), ensure_ascii=False) + "\n")
    else:
        show_check(screen, inspection)
    if inspection.agreement.verdict is Verdict.REFUSED:
        raise typer.Exit(PairError.exit_code)


@app.command("calibrate")
@bundled
def calibrate(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A known pair that has a card.")],
    *,
    file: Annotated[
        Path | None, per_call("--file", "-f", help="Prompts of the kind it is for, one a line.", panel="Prompt")
    ] = None,
    samples: Annotated[int, per_call("--samples", "-N", help="Answers to each prompt.", min=1, panel="Prompt")] = 1,
    output: Output,
) -> None:
    """Measure patiently what the dial means for a pair, and write it into its card.

    Other pairs are measured in a few seconds when their dial is first used.
    """
    screen = output.screen()
    card = find_pair(name, pairs_file()).card_path
    if card is None:
        raise UsageError(f"the pair {name!r} has no card; its dial is measured when it is first used")
    prompts = None if file is None else [line for line in read_text(file, "--file").splitlines() if line.strip()]
    if prompts == []:
        raise UsageError(f"--file: {str(file)!r} holds no prompt; write one a line")
    screen.status.show(f"measuring what the dial means for {name} …")
    try:
        with baco_local.load(name, n_parallel=8, calibrate=False, user_pairs=pairs_file()) as pair:
            calibration = measure_dial(pair, prompts, n_samples=samples, patience_s=math.inf)
    finally:
        screen.status.clear()
    amend_card(card, calibration=calibration.to_json())
    if output.json:
        screen.write(json.dumps(calibration.to_json()) + "\n")
    else:
        screen.say(f"{calibration.n_positions} word starts measured; written to {card}")


def both_files(base: str, aligned: str | None) -> tuple[Path, Path]:
    """Return the two files of a check."""
    if aligned is not None:
        return model_file(base, Role.BASE), model_file(aligned, Role.ALIGNED)
    if Path(base).expanduser().exists():
        raise UsageError(f"a check needs two files:  baco pairs check {base} ALIGNED.gguf")
    files = find_pair(base, pairs_file()).files
    if files.aligned is None:
        raise UsageError(f"the pair {base!r} is one set of weights with an adapter: both models share one vocabulary")
    return files.base, files.aligned


def show_list(screen: Screen) -> None:
    """Print all pairs, one per line."""
    table = plain_table()
    for pair in known_pairs(pairs_file()).values():
        missing = missing_file(pair)
        note = f"missing: {missing}" if missing else pair.description
        table.add_row(
            Text(pair.name, style="accent"), size(pair) or "", Text(note, style="warn" if missing else "none")
        )
    screen.show(table)
    screen.say("yours:  baco pairs add NAME -B BASE.gguf -A ALIGNED.gguf")


def show_check(screen: Screen, inspection: PairInspection) -> None:
    """Print what both files are, line by line, then the verdict and its reasons."""
    agreement = inspection.agreement
    table = plain_table()
    table.add_row("", Text.assemble(("base", "base")), Text("aligned", style="bold"))
    for label, ours, theirs, (sign, style) in check_lines(inspection):
        table.add_row(Text(label, style="muted"), ours, theirs, Text(sign, style=style))
    screen.show(table)
    screen.show("")
    for reason in agreement.reasons:
        screen.show(Text.assemble(BAD, " ", reason))
    for line in dict.fromkeys(map(str, (*agreement.differences, *agreement.splits))):  # most split twice the same way
        screen.show(Text(f"    {line}", style="muted"))
    for note in dict.fromkeys((*agreement.notes, *inspection.notes)):
        screen.show(Text.assemble(WARN, " ", note))
    if agreement.verdict is Verdict.REFUSED:
        screen.show(Text.assemble(BAD, " these models cannot be paired"))
    else:
        screen.show(Text.assemble(GOOD, " these models can be paired"))


def check_lines(inspection: PairInspection) -> Iterator[tuple[str, str, str, tuple[str, str]]]:
    """Yield label, base, aligned and sign of everything that is compared."""
    base, aligned, agreement = inspection.base, inspection.aligned, inspection.agreement

    def line(
        label: str, ours: str, theirs: str, otherwise: tuple[str, str] = WARN
    ) -> tuple[str, str, str, tuple[str, str]]:
        return label, ours, theirs, GOOD if ours == theirs else otherwise

    yield "file", base.path.name, aligned.path.name, ("", "")
    yield "name", base.name, aligned.name, ("", "")
    yield line("architecture", base.architecture, aligned.architecture)
    yield line("parameters", millions(base.n_parameters), millions(aligned.n_parameters))
    yield line("quantisation", base.quantisation, aligned.quantisation)
    yield "size", mebibytes(base.size_bytes), mebibytes(aligned.size_bytes), ("", "")
    yield line("context", f"{base.n_ctx_train} tokens", f"{aligned.n_ctx_train} tokens")
    sizes = f"{agreement.n_base} tokens, {base.tokenizer}", f"{agreement.n_aligned} tokens, {aligned.tokenizer}"
    yield ("vocabulary", *sizes, SIGNS[agreement.verdict])
    yield "starts with", starts(agreement.base), starts(agreement.aligned), ("", "")
    yield "turn ends with", ends(agreement.base), ends(agreement.aligned), ("", "")
    yield "chat template", has_template(base), has_template(aligned), template_sign(base, aligned)


def check_record(inspection: PairInspection) -> dict[str, Any]:
    """Return everything that was compared."""
    return {
        "verdict": inspection.agreement.verdict.value,
        "base": file_record(inspection.base),
        "aligned": file_record(inspection.aligned),
        "agreement": plain(dataclasses.asdict(inspection.agreement)),
        "notes": list(inspection.notes),
    }


def file_record(summary: GgufSummary) -> dict[str, Any]:
    """Return what a file says of itself; of its template, whether there is one."""
    record = {name: plain(value) for name, value in dataclasses.asdict(summary).items() if name != "chat_template"}
    return record | {
        "path": str(summary.path),
        "parts": [str(part) for part in summary.parts],
        "has_chat_template": summary.chat_template is not None,
    }


def pair_record(pair: KnownPair) -> dict[str, Any]:
    """Return where a pair lies."""
    files = pair.files
    return {
        "name": pair.name,
        "description": pair.description,
        "notice": pair.notice,
        "base": str(files.base),
        "aligned": None if files.aligned is None else str(files.aligned),
        "aligned_lora": None if files.aligned_lora is None else str(files.aligned_lora),
        "listed_in": str(pair.listed_in),
    }


def missing_file(pair: KnownPair) -> Path | None:
    """Return the first file of a pair that is not there."""
    files = (pair.files.base, pair.files.aligned, pair.files.aligned_lora)
    return next((path for path in files if path is not None and not path.exists()), None)


def size(pair: KnownPair) -> str | None:
    """Return how much disk both files take."""
    files = (pair.files.base, pair.files.aligned, pair.files.aligned_lora)
    found = [path.stat().st_size for path in files if path is not None and path.exists()]
    return mebibytes(sum(found)) if found else None


def plain_table() -> Table:
    """Return a table without lines."""
    return Table(box=None, show_header=False, padding=(0, 2, 0, 0))


def mebibytes(n_bytes: int) -> str:
    """Return a size for people."""
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.1f} MiB"


def millions(n: int) -> str:
    """Return a number of parameters for people."""
    return f"{n / 1e9:.1f} billion" if n >= 1e9 else f"{n / 1e6:.1f} million"


def starts(special: SpecialTokens) -> str:
    """Return what every prompt begins with."""
    return special.bos.text if special.bos is not None and special.add_bos else "nothing"


def ends(special: SpecialTokens) -> str:
    """Return what ends a turn."""
    return ", ".join(token.text for token in special.stops) or "nothing"


def has_template(summary: GgufSummary) -> str:
    """Return whether a file carries a chat template."""
    return "none" if summary.chat_template is None else "yes"


def template_sign(base: GgufSummary, aligned: GgufSummary) -> tuple[str, str]:
    """Return the sign of the templates: aligned should have one, and base none."""
    return GOOD if aligned.chat_template is not None and base.chat_template is None else WARN


def card_lines(value: Any, path: str = "") -> Iterator[str]:
    """Yield a line per group of plain values in a card, after the names that lead there; JSON has the long lists."""
    start = f"{path}: " if path else ""
    if isinstance(value, dict):
        deep = {name: inner for name, inner in value.items() if isinstance(inner, dict | list)}
        if len(deep) < len(value):
            yield start + " · ".join(f"{name} {inner}" for name, inner in value.items() if name not in deep)
        for name, inner in deep.items():
            yield from card_lines(inner, f"{path} {name}".strip())
    elif not isinstance(value, list):
        yield f"{start}{value}"
    elif value and all(isinstance(inner, dict) for inner in value):
        for inner in value:
            named = any(isinstance(one, str) for one in inner.values())
            yield from [start + " · ".join(map(str, inner.values()))] if named else card_lines(inner, path)
    elif len(value) > MANY:
        yield f"{start}{len(value)} values"
    else:
        yield start + ", ".join(map(str, value))
