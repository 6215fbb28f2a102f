"""What a person sees before the first token: how much of the prompt has been read.

A thread draws one line on stderr and wipes it; nothing is drawn where nobody watches.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from baco_cli.console import Screen
from baco_local.engine.answer import Token
from baco_local.pair import Stream

__all__ = ["reading"]

PATIENCE_S = 0.4  # a shorter wait needs no words
BEAT_S = 0.1


def reading(screen: Screen, stream: Stream) -> Iterator[Token]:
    """Yield the tokens of a stream, showing until the first of them how far the prompt has been read."""
    done = threading.Event()

    def watch() -> None:
        wait_s = PATIENCE_S
        while not done.wait(wait_s):
            wait_s = BEAT_S
            screen.status.show(f"reading the prompt … {100 * stream.progress:.0f} %")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        first = next(stream, None)
    finally:
        done.set()
        watcher.join()
        screen.status.clear()
    if first is not None:
        yield first
        yield from stream
