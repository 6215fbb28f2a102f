"""The dial: its ends are one model alone, and turning it up only ever adds base."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baco_local.routing.base import as_route
from baco_local.routing.blends import BLENDS
from baco_local.routing.dial import ROUTERS, observe, thresholds_from
from baco_local.sampling.draw import Address, Candidates, Stream, draw
from baco_local.types import FinishReason, Role
from scripted_pairs import NO_GUARDS, PROMPT, SAID, Scripts, scripts
from step_views import views

STREAMS = {Role.BASE: Stream.BASE, Role.ALIGNED: Stream.ALIGNED}


def alone(two: Scripts, role: Role, prompt: list[int], seed: int, n: int) -> tuple[list[int], bool]:
    """Return what one model says by itself, and whether it ended: a plain loop over its script."""
    said: list[int] = []
    while len(said) < n:
        row = two.script[role]([*prompt, *said]).copy()
        if role is Role.BASE:
            row[[1, 2]] = -1e30  # chat tokens that a base model must not say
        left = Candidates(np.arange(row.size, dtype=np.int32), row)
        token = draw(left, Address(seed, 0, len(said), STREAMS[role]))
        if token in SAID.stops:
            return said, True
        said.append(token)
    return said, False


@pytest.mark.parametrize("router", [*ROUTERS, *BLENDS])
@pytest.mark.parametrize(("diversity", "role"), [(0, Role.ALIGNED), (10, Role.BASE)])
@settings(max_examples=15, deadline=None)
@given(scripts(), st.integers(0, 2**63 - 1), st.sampled_from(Role))
def test_the_ends_are_one_model_alone(
    router: str, diversity: int, role: Role, two: Scripts, seed: int, start: Role
) -> None:
    """At 0 the text is the aligned model's and at 10 the base model's, token by token, for every router."""
    pair = two.pair()
    knobs = {"router": router, "diversity": diversity, "start": start, "guards": NO_GUARDS, "max_tokens": 16}
    answer = pair.generate(PROMPT, seed=seed, **knobs)[0]  # type: ignore[arg-type]
    said, ended = alone(two, role, pair.prompt_ids(PROMPT)[role], seed, 16)
    assert [token.id for token in answer.tokens] == said
    assert {token.speaker for token in answer.tokens} <= {role}
    assert answer.finish is (FinishReason.END if ended else FinishReason.LENGTH)


@pytest.mark.parametrize("router", ROUTERS)
@settings(max_examples=40, deadline=None)
@given(views, st.lists(views, max_size=20), st.lists(st.floats(0, 10), min_size=2, max_size=5))
def test_more_dial_never_turns_base_into_aligned(router, step, measured, dials) -> None:
    """At a fixed step a higher diversity never moves the route from base to aligned, calibrated or not."""
    dial = ROUTERS[router]
    for calibration in (None, thresholds_from([observe(view) for view in measured])):
        routes = [as_route(dial.at(d, calibration)(step), 0).speaker for d in (0, *sorted(dials), 10)]
        assert routes == sorted(routes, key=lambda role: role is Role.BASE)
        assert (routes[0], routes[-1]) == (Role.ALIGNED, Role.BASE)
