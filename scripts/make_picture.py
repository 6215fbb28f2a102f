"""Draw docs/picture.svg: a real run of baco, as a terminal shows it.

Runs the installed program in a terminal of its own and paints what it wrote; knows nothing of models and colours.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 80
COMMAND = ("run", "-d", "6", "-s", "7", "Tell me a story about a fox.")
TERMINAL = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLORFGBG": "15;0"}  # a dark one
WEB_FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)  # a picture fetches nothing: any fixed-width font will do


def run_in_terminal(command: list[str]) -> str:
    """Return everything that a command writes to a terminal, escape codes included."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    silent = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "CI"}
    environment = {name: value for name, value in os.environ.items() if name not in silent} | TERMINAL
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    written = bytearray()
    try:
        while piece := os.read(ours, 4096):
            written += piece
    except OSError:  # Linux says so when the last writer has gone
        pass
    if process.wait():
        raise SystemExit(f"{shlex.join(command)} failed:\n{written.decode(errors='replace')}")
    return written.decode()


def draw(shown: str, written: str) -> str:
    """Return a picture of a terminal in which somebody typed ``shown`` and read ``written``."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.assemble(("$ ", "bold"), shown))
    console.print(Text.from_ansi(written.replace("\r\n", "\n").strip("\n")))
    picture = WEB_FONTS.sub("", console.export_svg(title="baco", unique_id="baco"))
    return picture.replace("<svg ", '<svg xml:space="preserve" ', 1)  # some viewers trim the spaces around each run


def main() -> None:
    """Draw one command."""
    parser = argparse.ArgumentParser(description="Draw a run of baco as SVG.")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parents[1] / "docs" / "picture.svg")
    parser.add_argument("arguments", nargs="*", default=COMMAND, help="what baco is called with, after --")
    options = parser.parse_args()
    program = Path(sys.executable).parent / "baco"
    written = run_in_terminal([str(program), *options.arguments])
    shown = " ".join(f'"{word}"' if " " in word else word for word in ("baco", *options.arguments))
    options.output.write_text(draw(shown, written), encoding="utf-8")
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
