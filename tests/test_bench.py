"""The benchmark runs from end to end on random weights; what it measures is never judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = [pytest.mark.model, pytest.mark.slow]


def bench(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run the benchmark on a tiny random pair, and return its tables."""
    command = [sys.executable, str(ROOT / "scripts" / "bench.py"), "--shape", "tiny", "--quant", "Q8_0"]
    command += ["--folder", str(folder), "--tokens", "12", "--runs", "1", "--json", *arguments]
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "cli", ROOT / "scripts")))
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env=os.environ | {"PYTHONPATH": paths}
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for the files of random weights."""
    return tmp_path_factory.mktemp("synthetic")


def test_schedules_are_measured_beside_the_limits(folder: Path) -> None:
    """There is a row for each schedule and number of answers, and the limits stand above them."""
    found = bench(folder, "--samples", "1", "2", "--schedule", "lockstep", "lazy", "--end-check", "sentence")
    assert [(row["N"], row["schedule"]) for row in found["decoding"]] == [
        (n, schedule) for n in (1, 2) for schedule in ("lockstep", "lazy")
    ]
    assert {"S, tokens/s", "c(2), 2 sequences"} <= {row["what"] for row in found["limits"]}


def test_guesses_are_imposed(folder: Path) -> None:
    """A drafter that is always right leaves lockstep's text, and is measured at each length."""
    found = bench(folder, "--imposed", "1", "--draft-shape", "tiny", "--draft-length", "2", "3")
    (rows,) = (table for name, table in found.items() if name != "title")
    assert [row["guesses at most"] for row in rows] == [2, 3]
    assert all(row["acceptance"] == "1 (1.00 drawn)" for row in rows)


def test_a_long_work_is_measured_beside_its_limit(folder: Path) -> None:
    """One answer at a time stands first, and each company has its ratio to that and to the limit."""
    rows = bench(folder, "--together", "4", "--workers", "1", "2", "--prompts", "3", "--each", "2")["together"]
    assert [(row["workers"], row["together"]) for row in rows] == [(1, 1), (1, 4), (2, 4)]
    assert rows[0]["x one at a time"].startswith("1 ")
    assert all(float(row["x limit"].split()[0]) > 0 for row in rows)


def test_schedules_are_compared_with_lockstep(folder: Path) -> None:
    """There is a row for each way to guess, and where answers part it is told how near the decision was."""
    rows = bench(folder, "--equal", "3")["equal"]
    assert len(rows) == 5
    for row in rows:
        n_same, n_answers = map(int, row["the same"].split(" of "))
        n_near, n_parted = map(int, row["near-ties"].split(" of "))
        assert (n_answers, n_parted) == (3, 3 - n_same)
        assert n_near <= n_parted


def test_memory_is_measured_in_processes_of_their_own(folder: Path) -> None:
    """One model, two, and one with an adapter hold more than nothing."""
    rows = {row["what"]: float(row["MB"]) for row in bench(folder, "--memory")["memory"]}
    assert len(rows) == 4
    assert rows["nothing loaded"] < min(size for name, size in rows.items() if name != "nothing loaded")
