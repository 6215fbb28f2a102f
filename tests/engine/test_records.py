from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baco_local.types import MASKED, Detail, Role, Row
from scripted_pairs import PROMPT, Scripts, same, scripts

RAW = {Role.BASE: [1, 2], Role.ALIGNED: []}  # control tokens that base never says


def row_of(two: Scripts, role: Role, read: list[int]) -> Row:
    """Return the row of one side, without what it must not say."""
    row = two.script[role](read).copy()
    row[RAW[role]] = MASKED
    return row


@settings(max_examples=60, deadline=None)
@given(scripts(), st.sampled_from(("P-PUNC", "RAND", "mix-prob")), st.integers(0, 5))
def test_records_are_the_numbers_of_the_rows(two: Scripts, router: str, n_rivals: int) -> None:
    """Top-1, its probability, entropy, log-probability and rivals are those of each side's own row."""
    pair = two.pair()
    knobs = {"router": router, "diversity": 5, "max_tokens": 8, "detail": Detail.SIDES, "n_rivals": n_rivals}
    answer = pair.generate(PROMPT, seed=1, **knobs)[0]  # type: ignore[arg-type]
    prompts = pair.prompt_ids(PROMPT)
    said = [token.spoken for token in answer.tokens] + ([answer.end] if answer.end else [])
    for n, spoken in enumerate(said):
        for role, record in ((Role.BASE, spoken.base), (Role.ALIGNED, spoken.aligned)):
            row = row_of(two, role, [*prompts[role], *(one.id for one in said[:n])]).astype(np.float64)
            logprobs = row - row.max() - np.log(np.exp(row - row.max()).sum())
            probs = np.exp(logprobs)
            live = probs > 0
            assert record is not None
            assert record.top == row.argmax()
            assert record.max_p == pytest.approx(probs.max(), rel=1e-5)
            assert record.entropy == pytest.approx(-(probs[live] * logprobs[live]).sum(), rel=1e-4, abs=1e-5)
            assert record.logprob == pytest.approx(logprobs[spoken.id], rel=1e-5, abs=1e-5)
            best = sorted(range(row.size), key=lambda i: (-row[i], i))[:n_rivals]
            assert [rival.id for rival in record.rivals] == best
            assert [rival.logprob for rival in record.rivals] == pytest.approx(logprobs[best], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(("diversity", "silent"), [(0, "base"), (10, "aligned")])
def test_a_side_that_was_not_asked_has_no_record(diversity: int, silent: str) -> None:
    """At an end of the dial the other model is not read, so nothing is recorded of it."""
    answer = Scripts(1, 2, 3.0, -4.0).pair().generate(PROMPT, seed=1, diversity=diversity, detail=Detail.SIDES)[0]
    assert all(getattr(token, silent) is None for token in answer.tokens)
    assert all(getattr(token, Role(silent).other) is not None for token in answer.tokens)


@settings(max_examples=20, deadline=None)
@given(scripts(), st.sampled_from(("P-PUNC", "RAND", "mix-prob")))
def test_recording_changes_nothing(two: Scripts, router: str) -> None:
    """An answer is the same with and without records, and without them a token carries none."""
    pair = two.pair()
    plain, full = (
        pair.generate(PROMPT, seed=1, router=router, diversity=5, max_tokens=12, detail=detail)[0] for detail in Detail
    )
    assert same(plain, full)
    assert all(token.base is None and token.aligned is None for token in plain.tokens)
