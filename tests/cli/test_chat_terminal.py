"""The whole command in a pseudo-terminal, with the bundled pair."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="pseudo-terminals are a thing of POSIX")
termios = pytest.importorskip("termios", reason="so are their modes")

pytestmark = pytest.mark.model

CTRL_C, CTRL_D, LEFT = "\x03", "\x04", "\x1b[D"
PATIENCE_S = 60.0
PROGRAM = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # as a shell in a window has it
from baco_cli.app import main
sys.argv[0] = "baco"
main()
"""


class Terminal:
    """A program in a pseudo-terminal: send keys, wait for words."""

    def __init__(self, *args: str, home: Path) -> None:
        self._master, slave = pty.openpty()
        environ = {
            **os.environ,
            "TERM": "xterm-256color",
            "COLUMNS": "80",
            "LINES": "24",
            "HOME": str(home),
            "XDG_DATA_HOME": str(home),
            "XDG_CACHE_HOME": str(home.parent / "cache"),  # what the dial means is measured once for all tests
            "XDG_CONFIG_HOME": str(home),
            "PROMPT_TOOLKIT_NO_CPR": "1",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        environ.pop("NO_COLOR", None)
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *args],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environ,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # under nohup it would be ignored
        )
        os.close(slave)
        self.seen = ""

    def send(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def wait_for(self, words: str) -> str:
        """Return everything that was shown from the last wait up to these words."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not re.search(words, self.seen):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not self._read(left_s):
                raise AssertionError(f"{words!r} was never shown; the terminal says:\n{self.seen}")
        found = re.search(words, self.seen)
        assert found is not None
        shown, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return shown

    def end(self) -> int:
        """Return the exit code of the program."""
        while self._read(PATIENCE_S):
            pass
        return self._process.wait(PATIENCE_S)

    def tell(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    @property
    def in_order(self) -> bool:
        """Return whether the terminal echoes what is typed and gathers it into lines, as a shell wants it."""
        modes = termios.tcgetattr(self._master)[3]
        return bool(modes & termios.ECHO and modes & termios.ICANON)

    def hang_up(self) -> int:
        """Take the terminal away, and return the exit code of the program."""
        self._let_go()
        return self._process.wait(PATIENCE_S)

    def close(self) -> None:
        """Leave nothing running."""
        self._process.kill()
        self._process.wait()
        self._let_go()

    def _let_go(self) -> None:
        if self._master >= 0:
            os.close(self._master)
        self._master = -1

    def _read(self, timeout_s: float) -> bool:
        if not select.select([self._master], [], [], timeout_s)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux says so when the other end has gone
            return False
        self.seen += data.decode("utf-8", "replace")
        return bool(data)


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[list[Terminal]]:
    """Return a list that starts with a running chat; whatever is in it is closed."""
    opened = [Terminal("chat", "--cid", "fox", "-s", "1", "-n", "300", "--ignore-eos", home=tmp_path)]
    yield opened
    for terminal in opened:
        terminal.close()


def saved(home: Path) -> dict:
    """Return the chat as it lies on the disk."""
    return json.loads((home / "baco" / "chats" / "fox.json").read_text("utf-8"))


def test_a_chat_is_steered_stopped_and_resumed(terminals: list[Terminal], tmp_path: Path) -> None:
    """Dial, Ctrl-C, /why, /regen, /undo, leaving and going on: nothing that was said is lost."""
    chat = terminals[0]
    banner = chat.wait_for("> ")
    assert "voice A (wild)" in banner
    assert "stories" in banner
    assert "unaligned" not in banner

    chat.send("Tell me a story about a fox.\r")
    chat.wait_for("d=5.*Ctrl-C stops")
    chat.send("+")
    chat.wait_for("d=6.*Ctrl-C stops")
    chat.send(CTRL_C)
    chat.wait_for("d=5→6.*stopped")
    reply = saved(tmp_path)["turns"][0]["replies"][0]
    assert reply["finish"] == "cancelled"
    assert reply["text"]

    chat.send("/why 1\r")
    chat.wait_for(r"voice A \(wild\)")
    chat.send("/regen\r")
    chat.wait_for("Ctrl-C stops")
    chat.send(CTRL_C)
    chat.wait_for("2/2")
    chat.send(LEFT)
    chat.wait_for("1/2")
    chat.send("/undo\r")
    chat.wait_for("back at turn 1")
    chat.send(CTRL_C)
    chat.wait_for("Ctrl-D or /exit to leave")
    chat.send(CTRL_D)
    assert chat.end() == 0

    again = Terminal("chat", "-C", home=tmp_path)
    terminals.append(again)
    shown = again.wait_for("stopped")
    assert "Tell me a story about a fox." in shown
    assert "\x1b[" in shown
    again.wait_for("> ")
    again.send("/exit\r")
    assert again.end() == 0
    assert len(saved(tmp_path)["turns"]) == 1


def test_leaving_in_the_middle_has_its_own_code(terminals: list[Terminal], tmp_path: Path) -> None:
    """Ctrl-C twice leaves with 130, the terminal in order and the text so far on the disk."""
    chat = terminals[0]
    chat.wait_for("> ")
    for line in ("/set max_tokens 400", "/set pace 20", "Tell me a story about a fox."):
        chat.send(f"{line}\r")
    chat.wait_for("Ctrl-C stops")
    chat.send(CTRL_C * 2)
    assert chat.end() == 130
    assert chat.seen.count("\x1b[?2004h") <= chat.seen.count("\x1b[?2004l")
    assert saved(tmp_path)["turns"][0]["replies"][0]["text"]


def test_a_chat_that_is_told_to_end_keeps_what_was_said(terminals: list[Terminal], tmp_path: Path) -> None:
    """SIGTERM in a reply saves it and leaves the terminal in order; at the prompt, and by a hang-up, it is the same."""
    chat = terminals[0]
    chat.wait_for("> ")
    chat.send("/set pace 20\rTell me a story about a fox.\r")
    chat.wait_for("Ctrl-C stops")
    assert not chat.in_order
    chat.tell(signal.SIGTERM)
    assert chat.end() == 128 + signal.SIGTERM
    assert chat.in_order
    assert chat.seen.count("\x1b[?2004h") <= chat.seen.count("\x1b[?2004l")
    assert saved(tmp_path)["turns"][0]["replies"][0]["text"]

    waiting = Terminal("chat", "-C", home=tmp_path)
    terminals.append(waiting)
    waiting.wait_for("stopped")
    waiting.wait_for("> ")
    waiting.send("half a mess")
    waiting.wait_for("half a mess")
    waiting.tell(signal.SIGTERM)
    assert waiting.end() == 128 + signal.SIGTERM
    assert waiting.in_order

    lost = Terminal("chat", "-C", home=tmp_path)
    terminals.append(lost)
    lost.wait_for("stopped")
    lost.wait_for("> ")
    lost.send("And of a hen.\r")
    lost.wait_for("Ctrl-C stops")
    assert lost.hang_up() == 128 + signal.SIGHUP
    assert saved(tmp_path)["turns"][1]["replies"][0]["text"]


def test_a_damaged_chat_is_one_line(tmp_path: Path) -> None:
    """A saved chat that cannot be read is named before any model is loaded, and stays as it is."""
    folder = tmp_path / "baco" / "chats"
    folder.mkdir(parents=True)
    (folder / "fox.json").write_text("{")
    chat = Terminal("chat", "--cid", "fox", home=tmp_path)
    try:
        assert chat.end() == 1
        assert "cannot be read" in chat.seen
        assert "Traceback" not in chat.seen
    finally:
        chat.close()
    assert (folder / "fox.json").read_text() == "{"
