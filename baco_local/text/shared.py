"""One vocabulary out of two that agree: what an answer's ids mean, and what each model must not say.

Pure; knows no model. See ``text.agreement`` for whether two vocabularies agree at all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
    endless: Mapping[Role, NDArray[np.int64]]  # these, and what ends a turn: for answers that shall not end
    unspoken: frozenset[int]  # what one of the two must never say, and ends of turns: no guess


def share(vocabs: Mapping[Role, Vocab], unshared: Collection[int] = ()) -> SharedVocab:
    """Join two agreeing vocabularies.

    What ends a turn of one model ends one of the other, or it would be written as an ordinary token. A base model may
    never have been trained on the chat tokens that its vocabulary holds, so it must not say control tokens; neither
    model may say what the other could not read. End-of-turn tokens may be said, for those are never read.

    Args:
        vocabs: both vocabularies.
        unshared: ids that the two read differently, see ``Agreement.unshared``.

    """
    wider = max(vocabs.values(), key=len)
    apart = frozenset(unshared) | frozenset(range(min(map(len, vocabs.values())), len(wider)))
    stops, masked, endless = {}, {}, {}
    for role, vocab in vocabs.items():
        stops[role] = vocab.stops | (vocabs[role.other].stops - apart)
        control = {i for i, kind in enumerate(vocab.kinds) if TokenKind.CONTROL in kind} if role is Role.BASE else set()
        silent = {i for i in apart if i < len(vocab)} | control
        masked[role] = np.array(sorted(silent - stops[role]), np.int64)
        endless[role] = np.array(sorted(silent | stops[role]), np.int64)
    unspoken = frozenset().union(*stops.values(), *(ids.tolist() for ids in masked.values()))
    return SharedVocab(wider.pieces, stops, masked, endless, unspoken)
