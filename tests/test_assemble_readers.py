"""Reward models as llama.cpp really computes them: both exact ways agree, and what would lie is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from baco_local.assemble import load_rewarder
from baco_local.config import LoadOptions
from baco_local.errors import ModelFileError, UsageError
from tiny_qwen import WIDTH, head_row, write_tiny_qwen

pytestmark = pytest.mark.model

ONE_THREAD = LoadOptions(threads=1)
ANSWERS = ["the fox ran home", "no", "a cat and the sea " * 4]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with Qwen3 reward models of one label and of two, and the row of weights."""
    folder = tmp_path_factory.mktemp("qwen")
    for labels in (1, 2):
        write_tiny_qwen(folder / f"labels{labels}.gguf", labels=labels)
    np.save(folder / "head.npy", head_row())
    np.save(folder / "short.npy", head_row()[:5])
    (folder / "text.npy").write_text("no array", "utf-8")
    return folder


def rewards(path: Path, head: Path | None = None) -> list[float]:
    """Return the rewards of some answers."""
    rewarder = load_rewarder(path, head, ONE_THREAD)
    try:
        return rewarder("tell me", ANSWERS)
    finally:
        rewarder.close()


def test_both_ways_give_one_reward(folder: Path) -> None:
    """The row beside a file gives the reward that two labels inside it give; texts differ in theirs."""
    beside = rewards(folder / "labels2.gguf", folder / "head.npy")
    assert beside == pytest.approx(rewards(folder / "labels2.gguf"), abs=2e-3)
    assert len({round(reward, 3) for reward in beside}) == len(ANSWERS)


def test_one_label_is_refused(folder: Path) -> None:
    """Behind a softmax a single label always reads one: such a file needs its row beside it, and is right with it."""
    with pytest.raises(ModelFileError, match="always reads 1"):
        load_rewarder(folder / "labels1.gguf", None, ONE_THREAD)
    two = rewards(folder / "labels2.gguf", folder / "head.npy")
    assert rewards(folder / "labels1.gguf", folder / "head.npy") == pytest.approx(two, abs=1e-5)


def test_a_head_must_fit(folder: Path) -> None:
    """A row of another length, and a file that is no array, are refused by name."""
    with pytest.raises(UsageError, match=rf"short\.npy.* holds 5 numbers .* have {WIDTH}"):
        load_rewarder(folder / "labels2.gguf", folder / "short.npy", ONE_THREAD)
    with pytest.raises(UsageError, match=r"text\.npy.* is no array"):
        load_rewarder(folder / "labels2.gguf", folder / "text.npy", ONE_THREAD)
