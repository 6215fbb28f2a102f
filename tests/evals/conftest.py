"""Fixtures of the room of studies: a small study of two prompts, and a pair that follows a script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from baco_local.evals.plan import Plan, Wanted, planned
from baco_local.evals.runner import carry_out
from baco_local.pair import Pair
from baco_local.testing import scripted_pair

PROMPTS = (
    '{"id": "fox", "prompt": "a red fox", "paraphrases": ["the fox", "fox"], "task": "animals"}\n'
    '{"id": "sea", "prompt": "the old sea", "paraphrases": ["sea"], "constraints": {"contains": ["sea"]}}\n'
)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """Return a file of two prompts."""
    path = tmp_path / "prompts.jsonl"
    path.write_text(PROMPTS)
    return path


@pytest.fixture
def study(prompts: Path, tmp_path: Path) -> Callable[..., Plan]:
    """Return a maker of small plans."""
    held_out = tmp_path / "held_out.txt"
    held_out.write_text("a small bird\nthe sea\na fox\n")

    def make(*methods: str, **wanted: Any) -> Plan:
        given: dict[str, Any] = {"points": 2, "samples": 3, "max_tokens": 12} | wanted
        return planned(Wanted(prompts=prompts, methods=methods, held_out=held_out, **given))

    return make


@pytest.fixture
def pair() -> Pair:
    """Return a pair that follows a script."""
    return scripted_pair(n_parallel=4, n_ctx=2048)


@pytest.fixture
def run(study: Callable[..., Plan], pair: Pair, tmp_path: Path) -> Path:
    """Return the folder of a small finished run: the control and what it controls, both models alone, a mix."""
    folder = tmp_path / "run"
    plan = study("p-punc", "rand", "aligned", "base", "mix-logit", max_tokens=24)
    carry_out(plan, pair, folder, made_with={"models": {}}, about={"pair": "scripted", "parallel": 4})
    return folder
