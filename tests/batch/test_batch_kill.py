"""A run that is killed again and again ends as one that nobody disturbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripted_batches import N_SAMPLES, PROMPTS, batch_of, lines, run_into


@pytest.mark.slow
def test_twenty_kills_change_nothing(tmp_path):
    """SIGKILL at 20 random moments loses no row, doubles none, and leaves the same bytes but for their order."""
    whole, torn = tmp_path / "whole.jsonl", tmp_path / "torn.jsonl"
    run_into(whole, batch_of(PROMPTS, n_samples=N_SAMPLES, seed=7))
    script = Path(__file__).parents[1] / "scripted_batches.py"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    done = subprocess.run(
        [sys.executable, str(script), str(torn), "7", "20"],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=True,
        env=environment,
    )
    went = json.loads(done.stdout)
    assert went["killed"] >= 15, went  # a run that had ended before it was killed says little
    assert 0 < went["before the last"] < len(PROMPTS) * N_SAMPLES, went
    assert lines(torn) == lines(whole)
    assert len(lines(whole)) == len(PROMPTS) * N_SAMPLES
