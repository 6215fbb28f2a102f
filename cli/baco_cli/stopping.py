"""Signals: Ctrl-C ends answers at the next token, a second one leaves at once; to end is told to who looks for it.

Knows what can be cancelled; what is kept of it, and how to leave, is for others to say.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Protocol

__all__ = ["Ending", "Stopped", "endable", "stoppable"]


class Cancellable(Protocol):
    """A stream, or a crew that writes many."""

    def cancel(self) -> None:
        """End at the next token."""
        ...


class Stopped:
    """Whether Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.yes = False


@contextmanager
def stoppable(written: Iterable[Cancellable]) -> Iterator[Stopped]:
    """Let Ctrl-C cancel what is written, so that the text so far is kept and llama.cpp is never cut short."""
    stopped = Stopped()

    def cancel(_signal: int, _frame: FrameType | None) -> None:
        if stopped.yes:
            raise KeyboardInterrupt
        stopped.yes = True
        for one in written:
            one.cancel()

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield stopped
        return
    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


class Ending:
    """Whether this program was told to end: by its system, or because its terminal was closed."""

    def __init__(self) -> None:
        self.code = 0  # what to leave with, as shells count signals; 0 = nobody said so


@contextmanager
def endable() -> Iterator[Ending]:
    """Note SIGTERM and SIGHUP instead of dying of them; whoever waits for something must look for it now and then.

    What is still written to a terminal that has been closed goes nowhere, and is no error.
    """
    ending = Ending()
    terminals = [fd for fd in (1, 2) if os.isatty(fd)]

    def note(number: int, _frame: FrameType | None) -> None:
        ending.code = ending.code or 128 + number
        for fd in terminals:
            if not os.isatty(fd):
                with Path(os.devnull).open("w") as nowhere:
                    os.dup2(nowhere.fileno(), fd)

    before = {number: signal.getsignal(number) for number in ENDS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # nohup
            signal.signal(number, note)
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
