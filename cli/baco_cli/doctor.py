"""``baco doctor``: is everything as it should be, and if not, what to type.

Asks the machine and the library and judges their answers; repairs nothing.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from baco_cli.console import Screen
from baco_cli.folders import cache_dir, config_dir, data_dir
from baco_cli.opening import open_pair
from baco_cli.options import EachModel, Machine, ModelChoice, Output, bundled
from baco_local.assemble import BuildFacts, build_facts
from baco_local.backend.machine import free_memory, usable_cores
from baco_local.errors import BacoError
from baco_local.pair import Pair
from baco_local.types import Role

__all__ = ["Finding", "Level", "app", "doctor", "install_line", "schedules", "wheel_index"]

app = typer.Typer(add_completion=False)

WHEELS = "https://abetlen.github.io/llama-cpp-python/whl/"
CUDA_WHEELS = ((11, 8), (12, 1), (12, 2), (12, 3), (12, 4), (12, 5), (13, 0), (13, 2))
LITTLE_MEMORY = 1 << 30
N_TOKENS = 48  # written by each way of speaking, to measure its speed


class Level(StrEnum):
    """How bad it is."""

    OK = "OK"
    WARN = "WARN"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, and what to type about it."""

    level: Level
    topic: str
    words: str
    fix: str = ""


@app.command()
@bundled
def doctor(*, models: ModelChoice, machine: Machine, each: EachModel, output: Output) -> None:
    """Find out whether everything is as it should be.

    Each line is OK, WARN or ERROR; where something can be done, the line below says what to type.
    """
    screen = output.screen()
    findings: list[Finding] = []
    checks: tuple[tuple[str, Callable[[], Iterable[Finding]]], ...] = (
        ("python", python),
        ("llama.cpp", llama),
        ("memory", memory),
        ("the pair", lambda: pair_speed(models, machine, each, output)),
        ("folders", folders),
        ("terminal", lambda: terminal(screen)),
    )
    for name, check in checks:
        screen.status.show(f"looking at {name} …")
        for finding in check():
            findings.append(finding)
            if not output.json:
                show(screen, finding)
    screen.status.clear()
    ok = all(finding.level is not Level.ERROR for finding in findings)
    if output.json:
        screen.write(
            json.dumps({"ok": ok, "findings": [asdict(finding) for finding in findings]}, ensure_ascii=False) + "\n"
        )
    if not ok:
        raise typer.Exit(1)


def show(screen: Screen, finding: Finding) -> None:
    """Print one line, and what to type below it."""
    sign, style = SIGNS[finding.level]
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=7)
    table.add_column(width=11)
    table.add_column(overflow="fold")
    level = f"{sign} {finding.level}"
    table.add_row(Text(level, style=style), Text(finding.topic, style="bold"), Text(finding.words))
    if finding.fix:
        table.add_row("", "", Text(finding.fix, style="accent"))
    screen.show(table)


def python() -> Iterator[Finding]:
    """Look at the interpreter."""
    yield Finding(Level.OK, "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def llama() -> Iterator[Finding]:
    """Look at llama.cpp: whether it is there, and whether it uses the GPU that the machine has."""
    try:
        facts = build_facts()
    except (ImportError, OSError, RuntimeError) as error:  # a library that is not there, or does not fit the machine
        yield Finding(
            Level.ERROR, "llama.cpp", f"llama-cpp-python cannot be loaded: {error}", install_line(wheel_index())
        )
        return
    yield Finding(Level.OK, "llama.cpp", f"{facts.version}, llama-cpp-python {facts.bindings}")
    yield build(facts, wheel_index())
    for device in facts.devices:
        if device.is_gpu:
            room = f"{gibibytes(device.free_bytes)} of {gibibytes(device.total_bytes)} free"
            yield Finding(Level.OK, "device", f"{device.name}: {device.description}, {room}")


def build(facts: BuildFacts, index: str) -> Finding:
    """Judge whether the build suits the machine."""
    gpus = [device for device in facts.devices if device.is_gpu]
    if gpus:
        return Finding(Level.OK, "build", f"can compute on {', '.join(device.name for device in gpus)}")
    if facts.made_for_gpu:
        made_for = ", ".join(facts.backends)
        return Finding(Level.WARN, "build", f"made for {made_for}, but llama.cpp finds no GPU: computing on the CPU")
    if index != "cpu":
        return Finding(Level.WARN, "build", f"CPU only, and this machine has a GPU ({index})", install_line(index))
    return Finding(Level.OK, "build", "CPU only, which is what this machine has")


def memory() -> Iterator[Finding]:
    """Look at what is free."""
    free = free_memory()
    words = f"{gibibytes(free)} free, {usable_cores()} cores"
    if free < LITTLE_MEMORY:
        yield Finding(Level.WARN, "memory", words, "larger pairs will not fit; close other programs")
    else:
        yield Finding(Level.OK, "memory", words)


def pair_speed(models: ModelChoice, machine: Machine, each: EachModel, output: Output) -> Iterator[Finding]:
    """Load the pair and let it speak: aligned alone, base alone, both."""
    quiet = Screen.open(quiet=True, no_color=output.no_color)
    try:
        with open_pair(models, machine, each, quiet) as pair:
            yield Finding(
                Level.OK, "pair", f"{pair.name} loads, {', '.join(sorted({i.device for i in pair.infos.values()}))}"
            )
            for note in pair.notes:
                yield Finding(Level.WARN, "pair", note)
            yield schedules(pair)
            ways = (("base", 10.0), ("aligned", 0.0), ("both", 5.0))
            speeds = {name: tokens_per_s(pair, diversity) for name, diversity in ways}
    except BacoError as error:
        yield Finding(Level.ERROR, "pair", str(error))
        return
    yield Finding(Level.OK, "speed", ", ".join(f"{name} {speed:.0f} tok/s" for name, speed in speeds.items()))


def schedules(pair: Pair) -> Finding:
    """Say by which schedules the pair can be decoded, and if not by all, why."""
    stiff = [f"{role} ({pair.infos[role].architecture})" for role in Role if not pair.engine.models[role].can_rewind]
    if not stiff:
        return Finding(Level.OK, "schedules", "lockstep, lazy, speculative, auto")
    words = f"lockstep and lazy: {' and '.join(stiff)} cannot take back what was read, so nothing can be guessed ahead"
    return Finding(Level.WARN, "schedules", words)


def tokens_per_s(pair: Pair, diversity: float) -> float:
    """Return how fast a pair writes at one point of the dial."""
    stream = pair.stream(
        "Tell me a story about a fox.", seed=1, diversity=diversity, max_tokens=N_TOKENS, ignore_end=True
    )
    for _ in stream:
        pass
    return stream.answer.tokens_per_s


def folders() -> Iterator[Finding]:
    """Look whether settings, chats and calibrations can be kept."""
    for name, path in (("settings", config_dir()), ("chats", data_dir()), ("cache", cache_dir())):
        if writable(path):
            yield Finding(Level.OK, name, str(path))
        else:
            yield Finding(Level.WARN, name, f"{path} cannot be written", f"chown -R $USER {path}")


def terminal(screen: Screen) -> Iterator[Finding]:
    """Look at what stdout can show."""
    encoding = (sys.stdout.encoding or "unknown").lower()
    colours = screen.out.color_system or "no"
    why = " (NO_COLOR)" if screen.out.no_color else ""
    place = f"{screen.columns} columns" if screen.live else "not a terminal"
    words = f"{place}, {colours} colours{why}, {encoding}"
    if encoding.replace("-", "") != "utf8":
        yield Finding(Level.WARN, "terminal", words, "export PYTHONUTF8=1")
    else:
        yield Finding(Level.OK, "terminal", words)


def wheel_index() -> str:
    """Return the name of the wheel index of llama-cpp-python that fits this machine."""
    if sys.platform == "darwin":
        return "metal" if platform.machine() == "arm64" else "cpu"
    if (cuda := cuda_version()) is not None:
        fitting = [wheel for wheel in CUDA_WHEELS if wheel <= cuda]
        return "cu{}{}".format(*fitting[-1]) if fitting else "vulkan"
    if Path("/dev/kfd").exists():  # the kernel driver of AMD's ROCm
        return "rocm72"
    return "cpu"


def cuda_version() -> tuple[int, int] | None:
    """Return the newest CUDA that the NVIDIA driver can run; None without one."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        said = subprocess.run([program], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"CUDA(?: UMD)? Version:\s*(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else None


def install_line(index: str) -> str:
    """Return the command that installs a build for this machine into this Python."""
    pip = f"{sys.executable} -m pip install --force-reinstall --no-cache-dir"
    return f"{pip} llama-cpp-python --extra-index-url {WHEELS}{index}"


def writable(path: Path) -> bool:
    """Return whether a folder can be written, or made."""
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    return existing.is_dir() and os.access(existing, os.W_OK)


def gibibytes(n_bytes: int) -> str:
    """Return a size for people."""
    return f"{n_bytes / 2**30:.1f} GiB"


SIGNS: dict[Level, tuple[str, str]] = {
    Level.OK: ("✔", "good"),
    Level.WARN: ("⚠", "warn"),
    Level.ERROR: ("✘", "bad"),
}
