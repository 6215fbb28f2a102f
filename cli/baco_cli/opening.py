"""From the chosen models to a loaded pair, with what a person wants to see meanwhile.

Knows no prompt; resolves names to files and hands the rest to the library.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import baco_local
from baco_cli.console import Screen
from baco_cli.folders import cache_dir, pairs_file
from baco_cli.options import EachModel, Machine, ModelChoice
from baco_cli.render import show_note
from baco_local.assemble import DEFAULT_PAIR
from baco_local.backend.gguf_file import check_adapter, check_model
from baco_local.catalog import PairCard, find_pair, known_pairs
from baco_local.config import PairFiles
from baco_local.errors import ModelNotFoundError, UsageError
from baco_local.pair import Pair
from baco_local.types import Role

__all__ = ["check_files", "chosen_pair", "model_file", "open_pair", "pair_files", "piped_text"]


@contextmanager
def open_pair(
    models: ModelChoice, machine: Machine, each: EachModel, screen: Screen, *, n_parallel: int = 1
) -> Iterator[Pair]:
    """Load the chosen pair, say on a status line what is going on, and free it in the end."""
    both = machine.load_options()
    files = pair_files(models)
    try:
        pair = baco_local.load(
            models.model,
            base=None if files is None else files.base,
            aligned=None if files is None else files.aligned,
            aligned_lora=None if files is None else files.aligned_lora,
            lora_scale=1.0 if files is None else files.lora_scale,
            options=both,
            base_options=each.load_options(Role.BASE, both),
            aligned_options=each.load_options(Role.ALIGNED, both),
            draft=None if models.draft is None else models.draft.expanduser(),
            n_parallel=n_parallel,
            on_progress=lambda words: screen.status.show(f"{words} …"),
            user_pairs=pairs_file(),
            cache_dir=cache_dir(),
        )
    finally:
        screen.status.clear()
    with pair:
        for note in pair.notes:
            show_note(screen, note)
        yield pair


def pair_files(models: ModelChoice) -> PairFiles | None:
    """Return the files that -B, -A and --aligned-lora name; None where a pair goes by its name."""
    if models.base is None:
        return None
    return PairFiles(
        base=model_file(models.base, Role.BASE),
        aligned=None if models.aligned is None else model_file(models.aligned, Role.ALIGNED),
        aligned_lora=None if models.aligned_lora is None else models.aligned_lora.expanduser(),
        lora_scale=1.0 if models.lora_scale is None else models.lora_scale,
    )


def chosen_pair(models: ModelChoice) -> tuple[PairFiles, PairCard]:
    """Return the files that will be loaded, and what is known about them."""
    files = pair_files(models)
    if files is None:
        known = find_pair(models.model or DEFAULT_PAIR, pairs_file())
        files, card = known.files, known.card
    else:
        second = files.aligned or files.aligned_lora
        assert second is not None
        files = dataclasses.replace(files, name=f"{files.base.stem} + {second.stem}")
        card = PairCard(name=files.name)
    return files, card


def check_files(files: PairFiles) -> None:
    """Look at each file of a pair before anything is loaded, or raise ModelFileError."""
    base = check_model(files.base)
    if files.aligned is not None:
        check_model(files.aligned)
    elif files.aligned_lora is not None:
        check_adapter(files.aligned_lora, base)


def model_file(spec: str, role: Role) -> Path:
    """Return the file that a SPEC names: a path, or that side of a known pair."""
    path = Path(spec).expanduser()
    if path.exists():
        return path
    known = known_pairs(pairs_file())
    if spec in known:
        file = known[spec].files.base if role is Role.BASE else known[spec].files.aligned
        if file is None:
            raise UsageError(f"the pair {spec!r} has no {role} file of its own, only an adapter; use -m {spec}")
        return file
    if looks_remote(spec):
        raise UsageError(
            f"--{role} {spec!r}: models cannot be downloaded by name yet\n    give the path of a GGUF file"
        )
    near = difflib.get_close_matches(path.name, [file.name for file in siblings(path)], n=1)
    hint = f"\n    in that folder there is:  {path.parent / near[0]}" if near else ""
    raise ModelNotFoundError(
        f"--{role} {spec!r}: there is no such file{hint}\n    known pairs: {', '.join(sorted(known))}"
    )


def looks_remote(spec: str) -> bool:
    """Return whether a SPEC is the name of a model elsewhere: hf://..., user/repo or user/repo:quant."""
    is_path = spec.startswith((".", "/", "~", "\\")) or spec.endswith(".gguf")
    return "://" in spec or (spec.count("/") == 1 and not is_path and not Path(spec).parent.is_dir())


def siblings(path: Path) -> list[Path]:
    """Return the files beside a path."""
    return [file for file in path.parent.iterdir() if file.is_file()] if path.parent.is_dir() else []


def piped_text() -> str | None:
    """Read what was piped in; None on a terminal."""
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        return None
    return sys.stdin.read()
