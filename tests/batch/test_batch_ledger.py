"""The output file: whole lines, one writer, and a repaired end wherever a process died."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baco_local.batch.ledger import Ledger
from baco_local.errors import OutputError, UsageError

ROWS = [{"id": "a", "text": "é\n"}, {"id": "b", "text": "x" * 99}, {"id": "c", "text": ""}]


def whole(rows=ROWS) -> bytes:
    """Return rows as they stand in a file."""
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def records(path):
    """Return what a file holds, opened anew."""
    with Ledger(path) as ledger:
        return [record for _, record in ledger.records()]


def test_rows_are_lines_in_the_file_at_once(tmp_path):
    """A row can be read by others as soon as append returns, and all rows when the file is opened again."""
    path = tmp_path / "out.jsonl"
    with Ledger(path) as ledger:
        for n, row in enumerate(ROWS, start=1):
            ledger.append(row)
            assert path.read_bytes() == whole(ROWS[:n])
    assert records(path) == ROWS


@settings(deadline=None)
@given(st.integers(0, len(whole())))
def test_a_half_written_line_is_cut_off(tmp_path_factory, length):
    """Wherever the end was torn off, whole rows stay, the half one goes, and the next starts on a line of its own."""
    path = tmp_path_factory.mktemp("torn") / "out.jsonl"
    path.write_bytes(whole()[:length])
    n_whole = whole()[:length].count(b"\n")
    with Ledger(path) as ledger:
        assert ledger.n_repaired == length - len(whole(ROWS[:n_whole]))
        ledger.append({"id": "new"})
    assert records(path) == [*ROWS[:n_whole], {"id": "new"}]


def test_a_long_half_line_is_cut_off(tmp_path):
    """The end is found also where the half line is longer than what is read at once."""
    path = tmp_path / "out.jsonl"
    path.write_bytes(whole() + b'{"id": "' + b"x" * 300_000)
    assert records(path) == ROWS
    assert path.read_bytes() == whole()


@pytest.mark.parametrize("content", [b"Dear diary", b"one\ntwo\nthree", b'{"id": "a"}\n{"other": 1'])
def test_files_of_others_are_left_alone(tmp_path, content):
    """What does not end like a row of ours is refused and keeps every byte."""
    path = tmp_path / "diary.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="cannot be continued"):
        records(path)
    assert path.read_bytes() == content


def test_a_strange_line_is_named(tmp_path):
    """A line in the middle that is no object is refused with its number."""
    path = tmp_path / "out.jsonl"
    path.write_bytes(whole()[:-1] + b"\n[1]\n" + whole())
    with pytest.raises(UsageError, match="line 4"):
        records(path)


def test_one_writer_at_a_time(tmp_path):
    """A second writer is refused while the first lives, whatever process it is in, and not after it was killed."""
    path = tmp_path / "out.jsonl"
    code = "import sys, time; from pathlib import Path; from baco_local.batch.ledger import Ledger; "
    code += "held = Ledger(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, env=environment) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(OutputError, match="another process is writing"):
            Ledger(path)
        other.kill()
    assert records(path) == []


def test_lines_can_be_taken_out(tmp_path):
    """What is unwanted goes, the rest keeps its bytes, and the file can be written on and is still locked."""
    path = tmp_path / "out.jsonl"
    path.write_bytes(whole())
    with Ledger(path) as ledger:
        assert ledger.drop(lambda record: record["id"] == "b") == 1
        with pytest.raises(OutputError, match="another process"):
            Ledger(path)
        ledger.append({"id": "d"})
    assert [record["id"] for record in records(path)] == ["a", "c", "d"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_full_disk_leaves_whole_rows(tmp_path):
    """Where a row does not fit, the part of it that was written is taken back, and an error says what to do."""
    path = tmp_path / "out.jsonl"
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with Ledger(path) as ledger:
            ledger.append(ROWS[0])
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole(ROWS[:1])) + 20, limit[1]))
            with pytest.raises(OutputError, match="make room and run the same command again"):
                ledger.append(ROWS[1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_bytes() == whole(ROWS[:1])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")  # noqa: PTH110
def test_a_device_that_is_full_says_so(tmp_path):
    """The system's own words are in the message."""
    with Ledger(tmp_path / "x") as ledger:
        os.dup2(os.open("/dev/full", os.O_WRONLY), ledger._fd)
        with pytest.raises(OutputError, match="No space left on device"):
            ledger.append(ROWS[0])


def test_places_that_cannot_be_written_are_refused(tmp_path):
    """A folder and a path through a missing folder are usage errors."""
    for path in (tmp_path, tmp_path / "no" / "out.jsonl"):
        with pytest.raises(UsageError, match="cannot be written"):
            Ledger(path)
