"""The output file of a batch: one process at a time, whole lines only, and nothing in it is ever written over.

Knows bytes, lines and JSON objects; what they mean is for others.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from baco_local.errors import OutputError, UsageError

__all__ = ["Ledger", "Record", "held"]

Record = Mapping[str, Any]

OPENING = b'{"id": '  # how each of our lines begins, so that no other file is taken for a half-written one of ours
CHUNK = 1 << 16
LOOK_AGAIN_S = 0.05


class Ledger:
    """A file of JSON lines that is held by one process, and grows by whole lines.

    Attributes:
        n_repaired: bytes of a half-written last line that were cut off when it was opened.

    """

    def __init__(self, path: Path, kind: str = "baco batch") -> None:
        """Open or make the file, lock it, and cut off what a killed process left half-written.

        Args:
            path: the file.
            kind: the command that writes it, for messages.

        Raises:
            UsageError: the file cannot be written, or holds something else than our rows.
            OutputError: another process holds it.

        """
        self.path, self._kind = path, kind
        self.n_repaired = 0
        self._fd = _locked(path)
        try:
            self._repair()
        except BaseException:
            self.close()
            raise

    def records(self) -> Iterator[tuple[int, Record]]:
        """Yield the number and the object of each line."""
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    record = json.loads(line)
                except ValueError:
                    record = None
                if not isinstance(record, dict):
                    raise UsageError(
                        f"{str(self.path)!r} cannot be continued: its line {number} is {line[:40]!r}, not a row of "
                        f"{self._kind}\n    choose another -o, or take that line out"
                    )
                yield number, record

    def append(self, record: Record) -> None:
        """Add one line as a whole.

        Raises:
            OutputError: it cannot be written; the file then holds what it held before.

        """
        data = json.dumps(record, ensure_ascii=False).encode("utf-8") + b"\n"
        size = os.fstat(self._fd).st_size
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            self._cut(size)
            raise OutputError(
                f"{str(self.path)!r} cannot be written any further: {error.strerror}\n"
                "    every row that is in it is whole; make room and run the same command again to go on"
            ) from error

    def drop(self, unwanted: Callable[[Record], bool]) -> int:
        """Take lines out and return how many; a crash leaves either the old file or the new one."""
        new = self.path.with_name(self.path.name + ".new")
        n_dropped = 0
        try:
            with self.path.open("rb") as old, new.open("wb") as kept:
                for line in old:
                    if unwanted(json.loads(line)):
                        n_dropped += 1
                    else:
                        kept.write(line)
                kept.flush()
                os.fsync(kept.fileno())
            self.close()  # where files cannot be replaced while they are open
            new.replace(self.path)
        except OSError as error:
            new.unlink(missing_ok=True)
            raise OutputError(f"{str(self.path)!r} cannot be written anew: {error.strerror}") from error
        self._fd = _locked(self.path)
        return n_dropped

    def close(self) -> None:
        """Let go of the file, with all of it on the disk."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with suppress(OSError):  # a pipe or a device has nothing to sync
                os.fsync(fd)
            os.close(fd)

    def __enter__(self) -> Ledger:
        """Return the file, to be let go at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the file."""
        self.close()

    def _repair(self) -> None:
        """Cut off what follows the last line break, if it is the beginning of a row of ours."""
        with self.path.open("rb") as file:
            size = end = file.seek(0, os.SEEK_END) if file.seekable() else 0
            half = b""
            while end and b"\n" not in half:
                start = max(0, end - CHUNK)
                file.seek(start)
                half = file.read(end - start) + half
                end = start
        half = half[half.rfind(b"\n") + 1 :]
        if not half:
            return
        if not (half.startswith(OPENING) or OPENING.startswith(half)):
            raise UsageError(
                f"{str(self.path)!r} cannot be continued: it ends with {half[:40]!r}, which is no row of {self._kind}\n"
                "    choose another -o"
            )
        self._cut(size - len(half))
        self.n_repaired = len(half)

    def _cut(self, size: int) -> None:
        with suppress(OSError):  # a device; and where a file cannot be cut now, the next run does it
            os.ftruncate(self._fd, size)


@contextmanager
def held(path: Path, stopped: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Hold a file that stands for something else; while another process holds it, wait, unless this one is stopped."""
    fd = -1
    while fd < 0:
        try:
            fd = _locked(path)
        except OutputError:
            if stopped():
                raise KeyboardInterrupt from None
            time.sleep(LOOK_AGAIN_S)
    try:
        yield
    finally:
        os.close(fd)


def _locked(path: Path) -> int:
    """Open a file for appending and lock it; the lock ends with the process, however that ends."""
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        except OSError as error:
            raise UsageError(f"--output: {str(path)!r} cannot be written: {error.strerror}") from error
        try:
            _lock(fd)
        except (BlockingIOError, PermissionError) as error:
            os.close(fd)
            raise OutputError(
                f"another process is writing {str(path)!r}\n"
                "    wait for it, or choose another -o; several machines take one --shard and one file each"
            ) from error
        except OSError:
            return fd  # a file system of a cluster that has no locks
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(fd), path.stat()):
                return fd
        os.close(fd)  # it was replaced between the opening and the lock: take the new one


if sys.platform == "win32":
    import msvcrt

    FAR = 1 << 40  # a byte that no line reaches: locks of Windows keep readers out

    def _lock(fd: int) -> None:
        os.lseek(fd, FAR, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
