"""Cores and memory as a container sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

from baco_local.backend.machine import (
    EQUAL_ROWS,
    PLENTY,
    cores_each,
    free_memory,
    threads_for,
    ubatch_for,
    usable_cores,
)


def test_without_limits_something_is_usable(tmp_path: Path) -> None:
    """A machine without control groups offers at least one core and some memory."""
    assert usable_cores(tmp_path) >= 1
    assert free_memory(tmp_path) > 0


@pytest.mark.parametrize(
    ("quota", "most"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", 10**6), ("", 10**6)]
)
def test_cpu_quota_bounds_the_cores(quota: str, most: int, tmp_path: Path) -> None:
    """A container with a quota of one processor gets one thread, whatever the host has; no quota bounds nothing."""
    (tmp_path / "cpu.max").write_text(quota)
    assert 1 <= usable_cores(tmp_path) <= most
    if most > 1:
        assert usable_cores(tmp_path) == usable_cores(tmp_path / "nowhere")


def test_memory_limit_bounds_free_memory(tmp_path: Path) -> None:
    """Free is what the limit leaves; a limit below the use leaves nothing."""
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert free_memory(tmp_path) == 2000
    (tmp_path / "memory.current").write_text("9000\n")
    assert free_memory(tmp_path) == 0
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(tmp_path) > 9000


def test_a_tiny_model_gets_one_thread_and_a_large_one_every_core() -> None:
    """Threads of a model that is read in a millisecond would only wait for each other."""
    assert threads_for(10_000_000, 8) == 1
    assert threads_for(100_000_000, 8) == 5
    assert threads_for(8_000_000_000, 8) == 8


def test_only_a_tiny_model_on_the_processor_computes_few_tokens_at_once() -> None:
    """What reads fast anyway gets rows that no company changes; a larger model and a GPU get the fast kernels."""
    assert ubatch_for(10_000_000, 0) == EQUAL_ROWS < 64
    assert ubatch_for(10_000_000, 13) == ubatch_for(8_000_000_000, 0) == PLENTY


@pytest.mark.parametrize(("n_workers", "cores", "each"), [(1, 8, 8), (3, 8, 2), (2, 2, 1), (4, 2, 1)])
def test_workers_share_the_cores(n_workers: int, cores: int, each: int) -> None:
    """Nobody gets more than an equal share, and nobody gets none."""
    assert cores_each(n_workers, cores) == each
