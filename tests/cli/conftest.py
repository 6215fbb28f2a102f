"""The command line as a user has it, with folders of its own and nothing of the developer's environment."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from baco_cli.app import app

START = [sys.executable, "-c", "import sys; sys.argv[0] = 'baco'; from baco_cli.app import main; main()"]


@pytest.fixture(scope="session")
def start() -> list[str]:
    """Return the words that start the command line in a process of its own."""
    return START


@pytest.fixture(scope="session")
def kept_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache folder for the whole session, so that a pair is measured once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def clean_env(tmp_path: Path, kept_cache: Path) -> dict[str, str]:
    """Return an environment with folders of its own, no colour wishes, 80 columns and one thread: cores are shared."""
    ours = ("BACO_", "LLAMA_ARG_", "XDG_")
    wishes = {"NO_COLOR", "FORCE_COLOR", "COLORFGBG", "CI", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "TERM", "PYTHONPATH"}
    kept = {name: value for name, value in os.environ.items() if name not in wishes and not name.startswith(ours)}
    folders = {f"XDG_{kind}_HOME": str(tmp_path / kind.lower()) for kind in ("CONFIG", "DATA", "STATE")}
    return (
        kept
        | folders
        | {
            "HOME": str(tmp_path),
            "XDG_CACHE_HOME": str(kept_cache),
            "COLUMNS": "80",
            "TERM": "xterm-256color",
            "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
            "BACO_THREADS": "1",
        }
    )


@pytest.fixture
def invoke(clean_env: dict[str, str]) -> Callable[..., Result]:
    """Return a function that runs the command line in this process: ``invoke("run", "--help")``."""
    removed = {name: None for name in os.environ if name not in clean_env}

    def run(*args: str, stdin: str | None = None, **env: str) -> Result:
        return CliRunner().invoke(app, list(args), input=stdin, env=removed | clean_env | env, prog_name="baco")

    return run


@pytest.fixture
def baco(clean_env: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs the command line in a process of its own, on pipes."""

    def run(*args: str, stdin: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*START, *args],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            env=clean_env | env,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def on_terminal(clean_env: dict[str, str]) -> Callable[..., str]:
    """Return a function that runs the command line on a terminal of its own and gives what that was sent."""

    def run(*args: str, columns: int = 80, **env: str) -> str:
        leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        with subprocess.Popen(
            [*START, *args],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env=clean_env | {"COLUMNS": str(columns)} | env,
        ) as process:
            os.close(follower)
            sent = b""
            while True:
                try:
                    part = os.read(leader, 1 << 16)
                except OSError:  # Linux reports the end of a terminal this way
                    break
                if not part:
                    break
                sent += part
            assert process.wait(timeout=60) == 0, sent.decode()
        os.close(leader)
        return sent.decode().replace("\r\n", "\n")

    return run
