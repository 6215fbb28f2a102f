"""Step views for tests of routers: made by hand, or drawn by Hypothesis."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from baco_local.routing.base import Route, SideView, StepView
from baco_local.routing.dial import Dial
from baco_local.routing.rules import coin
from baco_local.types import Role, Row

PIECES = (" beach", " coast", ",", " and", " the", "\n", " It", "s", "'t", "é", "?!", " ")
V = len(PIECES)


def as_bytes(pieces: tuple[str, ...]) -> tuple[bytes, ...]:
    """Return pieces as a vocabulary holds them."""
    return tuple(piece.encode() for piece in pieces)


def view(base: Row, aligned: Row, *, speaker: Role, proposed: int, coin: float = 0.5) -> StepView:
    """Return a step view of two rows over ``PIECES``."""
    sides = {Role.BASE: SideView(base), Role.ALIGNED: SideView(aligned)}
    pieces = as_bytes(PIECES) + (b" x",) * (base.size - V)
    return StepView(sides, pieces, position=3, text="the sea", speaker=speaker, proposed=proposed, coin=lambda: coin)


def peaked(token: int, max_p: float, n_others: int, size: int = 64) -> Row:  # [size]
    """Return a row with one likely token, and the rest spread evenly over ``n_others`` others."""
    probs = np.full(size, 1e-12)
    probs[V : V + n_others] = (1 - max_p) / n_others
    probs[token] = max_p
    return np.asarray(np.log(probs), np.float32)


rows = arrays(np.float32, V, elements=st.floats(-12, 12, width=32))
tokens = st.integers(0, V - 1)
views = st.builds(
    view,
    rows,
    rows,
    speaker=st.sampled_from(Role),
    proposed=tokens,
    coin=st.floats(0, 1, exclude_min=True, exclude_max=True),
)


def base_always(_step: StepView) -> Role:
    """Let base speak; a router as a plugin would define it."""
    return Role.BASE


def reads_no_rows(step: StepView) -> Route:
    """Let the last speaker go on."""
    return Route(step.speaker, "goes on")


HALF = Dial("half", "A coin.", "a test", lambda diversity, _calibration: diversity / 20, lambda q, _signals: coin(q))
NOT_A_ROUTER = 3
