"""One vocabulary out of two that agree: what an answer's ids mean, and what each model must not say.

Pure; knows no model. See ``text.agreement`` for whether two vocabularies agree at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baco_local.text.vocab import TokenKind, Vocab
from baco_local.types import Role

__all__ = ["SharedVocab", "share"]


@dataclass(frozen=True, slots=True, eq=False)
class SharedVocab:
    """What both models' ids mean."""

    pieces: tuple[bytes, ...]  # [V] of the wider vocabulary
    stops: Mapping[Role, frozenset[int]]  # what ends a turn of each model
    masked: Mapping[Role, NDArray[np.int64]]  # ids that each model must never say


def share(vocabs: Mapping[Role, Vocab]) -> SharedVocab:
    """Join two agreeing vocabularies.

    A base model may never have been trained on the chat tokens that its vocabulary holds, so it must not say control
    tokens; neither model may say what the other could not read, end-of-turn tokens apart, for those are never read.
    """
    wider = max(vocabs.values(), key=len)
    masked = {}
    for role, vocab in vocabs.items():
        unread = set(range(len(vocabs[role.other]), len(vocab)))
        control = {i for i, kind in enumerate(vocab.kinds) if TokenKind.CONTROL in kind} if role is Role.BASE else set()
        masked[role] = np.array(sorted((unread | control) - vocab.stops), np.int64)
    return SharedVocab(wider.pieces, {role: vocab.stops for role, vocab in vocabs.items()}, masked)
