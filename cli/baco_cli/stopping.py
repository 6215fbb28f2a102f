"""Ctrl-C while answers are written: the first one ends them at the next token, the second one leaves at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from baco_local.pair import Stream

__all__ = ["Stopped", "stoppable"]


class Stopped:
    """Whether Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.yes = False


@contextmanager
def stoppable(streams: Sequence[Stream]) -> Iterator[Stopped]:
    """Let Ctrl-C cancel these streams, so that their text so far is kept and llama.cpp is never cut short."""
    stopped = Stopped()

    def cancel(_signal: int, _frame: FrameType | None) -> None:
        if stopped.yes:
            raise KeyboardInterrupt
        stopped.yes = True
        for stream in streams:
            stream.cancel()

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield stopped
        return
    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)
