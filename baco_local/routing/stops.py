"""Who may end an answer: by default the aligned model alone, for a base model may never have learned to stop; OURS.

Pure questions about ids of tokens; who draws, and from what, is the caller's matter.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from baco_local.config import StopRule
from baco_local.types import MASKED, Role, Row

__all__ = ["Endings", "without_stops"]


@dataclass(frozen=True, slots=True)
class Endings:
    """The policy of one answer; a dial at its end is a new policy."""

    stops: Mapping[Role, frozenset[int]]  # every id that ends a turn, per side
    rule: StopRule = StopRule.ALIGNED
    alone: Role | None = None  # the only model that speaks, at an end of the dial: it ends its own answer

    def is_stop(self, token: int, speaker: Role) -> bool:
        """Say whether a token ends a turn of this model."""
        return token in self.stops[speaker]

    def may_end(self, speaker: Role) -> bool:
        """Say whether this model's end of turn ends the answer."""
        return speaker is Role.ALIGNED or self.rule is StopRule.EITHER or self.alone is speaker

    def ends(self, token: int, speaker: Role) -> bool:
        """Say whether this token of this speaker ends the answer."""
        return token in self.stops[speaker] and self.may_end(speaker)

    def hands_over(self, token: int, speaker: Role) -> bool:
        """Say whether the speaker stopped without the right to, so that the other model is asked for this position.

        The other model's draw is taken if ``accepts`` it; if not, the speaker draws again ``without_stops``.
        """
        return token in self.stops[speaker] and not self.may_end(speaker)

    def claimed(self, aligned_top: int) -> bool:
        """Say whether aligned speaks at a boundary, whatever the router says: it most likely wants to end."""
        return self.alone is None and aligned_top in self.stops[Role.ALIGNED]

    def accepts(self, token: int, newcomer: Role, *, opens: bool) -> bool:
        """Say whether the other model may take over with this draw: with a word, or with an end that it may speak."""
        return self.may_end(newcomer) if token in self.stops[newcomer] else opens


def without_stops(row: Row, stops: Collection[int]) -> Row:  # [V] -> [V]
    """Return the row with its stops masked, for a second draw."""
    row = row.copy()
    row[np.fromiter(stops, np.intp, len(stops))] = MASKED
    return row
