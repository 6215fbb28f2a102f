"""The rival ``nudge-words`` on the bundled pair."""

from __future__ import annotations

from pathlib import Path

import pytest

from baco_local.assemble import load
from baco_local.evals.methods import METHODS
from baco_local.settings import Settings
from baco_local.types import Role

pytestmark = [pytest.mark.model, pytest.mark.slow]

WHO = ("a fox", "the sea", "two brothers", "an old king")
REQUESTS = [f"{what} {who}." for what in ("Tell me a story about", "Write a short tale of") for who in WHO]


def test_a_lower_threshold_lets_base_write_more(tales: Path) -> None:
    """Both models write, and base's share falls as it must be surer."""
    shares = []
    with load(base=tales / "base.gguf", aligned=tales / "aligned.gguf", n_parallel=8, calibrate=False) as pair:
        for threshold in (0.1, 0.5, 0.9):
            settings = Settings().turn(METHODS["nudge-words"].at(threshold) | {"max_tokens": 60})
            answers = pair.generate(REQUESTS, settings=settings, seed=3)
            tokens = [token for answer in answers for token in answer.tokens]
            shares.append(sum(token.speaker is Role.BASE for token in tokens) / len(tokens))
    assert 0 < shares[2] < shares[1] < shares[0] < 1
