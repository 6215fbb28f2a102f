"""Pick one candidate with noise that depends only on (seed, sequence, position, stream, token id).

Numpy and plain integers; knows no model, no recipe and no generator that travels. Shapes: ``C`` candidates.
"""

from __future__ import annotations

import math
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from baco_local.errors import BacoError
from baco_local.types import MASKED

__all__ = ["BARRED", "BLOCK", "WIDE", "Address", "Candidates", "Stream", "coin", "draw", "key", "noise", "temper"]

BARRED = float(MASKED) / 1e6  # at or below: masked, also after a mix or a division; no model says such a logit

# splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014
U64 = np.uint64
WORD = 2**64 - 1
STRIDE = 0x9E3779B97F4A7C15
ODD_1 = 0xBF58476D1CE4E5B9
ODD_2 = 0x94D049BB133111EB
STRIDE_64, ODD_1_64, ODD_2_64 = U64(STRIDE), U64(ODD_1), U64(ODD_2)
SHIFT_1, SHIFT_2, SHIFT_3, SHIFT_4 = U64(30), U64(27), U64(31), U64(12)
UNIT = 2.0**-52
FEW = 8  # ids whose noise plain integers make sooner than numpy
WIDE = 3000  # candidates of which it pays to look first who may win at all
NEAR = np.float32(5.0)  # nats below the likeliest within which everybody may
RAISED = math.exp(0.01 - 5.0)  # exp(-NEAR), and more than rounding can move
BLOCK = 16384  # ids that are looked at together: the scratch stays in the second-level cache


class Stream(IntEnum):
    """What a number of noise is for; two streams at one position never share a number."""

    BASE = 0
    ALIGNED = 1
    ROUTER = 2
    REDRAW = 3  # the base model draws again, without its stops
    XTC_BASE = 4
    XTC_ALIGNED = 5


class Address(NamedTuple):
    """Where a draw stands; the same address gives the same noise in every schedule, batch and process."""

    seed: int  # 0 <= seed < 2**63
    sequence: int
    position: int
    stream: Stream


class Candidates(NamedTuple):
    """The tokens that a recipe left, in any order."""

    ids: NDArray[np.int32]  # [C]
    logits: NDArray[np.float32]  # [C]


def key(at: Address) -> int:
    """Return 64 well-mixed bits: splitmix64's finaliser, once per number of the address.

    numpy's Philox would do as well, but building a generator for every draw costs as much as the draw.
    """
    seed, sequence, position, stream = at
    return _mixed(_mixed(_key_of_answer(seed, sequence) + STRIDE * (position + 1)) + STRIDE * (stream + 1))


@lru_cache(maxsize=1024)
def _key_of_answer(seed: int, sequence: int) -> int:
    return _mixed(_mixed(STRIDE * (seed + 1)) + STRIDE * (sequence + 1))


def _mixed(x: int) -> int:
    x &= WORD
    x = ((x ^ (x >> 30)) * ODD_1) & WORD
    x = ((x ^ (x >> 27)) * ODD_2) & WORD
    return x ^ (x >> 31)


def coin(at: Address) -> float:
    """Return a uniform number in (0, 1)."""
    return ((key(at) >> 12) + 0.5) / 2.0**52


def noise(at: Address, ids: NDArray[np.int32]) -> NDArray[np.float64]:  # [C] -> [C]
    """Return Gumbel noise; token i always meets number i of the stream at this address."""
    start = key(at)
    if ids.size <= FEW:
        u = np.array([_mixed(start + token * STRIDE) >> 12 for token in ids.tolist()], np.float64)
        u += 0.5
        return _gumbel_inplace(u)
    found = np.empty(ids.size)
    for first in range(0, ids.size, BLOCK):
        found[first : first + BLOCK] = _settled_inplace(_stirred(start, ids[first : first + BLOCK]))
    return found


def _stirred(start: int, ids: NDArray[np.int32]) -> NDArray[np.uint64]:  # [C] -> [C]
    """Return splitmix64's numbers before the last step of its finaliser, which leaves the upper 31 bits alone."""
    x = ids.astype(U64)
    x *= STRIDE_64  # any number of a stream, directly
    x += U64(start)
    y = x >> SHIFT_1
    x ^= y
    x *= ODD_1_64
    x ^= np.right_shift(x, SHIFT_2, y)
    x *= ODD_2_64
    return x


def _settled_inplace(x: NDArray[np.uint64]) -> NDArray[np.float64]:  # [C] -> [C]
    """Finish stirred numbers, and return the noise that they are."""
    x ^= x >> SHIFT_3
    x >>= SHIFT_4
    return _gumbel_inplace(np.add(x, 0.5, dtype=np.float64))


def _gumbel_inplace(u: NDArray[np.float64]) -> NDArray[np.float64]:  # [C], a half more than 52 bits say
    u *= UNIT
    np.log(u, u)
    np.negative(u, u)
    np.log(u, u)
    return np.negative(u, u)


def temper(left: Candidates, temperature: float) -> Candidates:  # [C] -> [C]
    """Divide the logits; 0 keeps the best alone (of equals the lowest id), 1 = off."""
    if temperature == 1.0 or not left.ids.size:
        return left
    if temperature == 0.0:
        peak = left.logits.max()
        best = left.ids[left.logits == peak].min(initial=np.iinfo(np.int32).max)
        return Candidates(np.array([best], np.int32), np.array([peak], np.float32))
    return Candidates(left.ids, left.logits / np.float32(temperature))


def draw(left: Candidates, at: Address) -> int:
    """Pick a survivor with its softmax probability (Gumbel-max).

    Raises:
        BacoError: there is none, all are masked, or a logit is not a number.

    """
    ids, logits = left
    if ids.size:
        top = int(logits.argmax())
        if BARRED < logits[top] < np.inf:
            if ids.size == 1:
                return int(ids[0])
            if ids.size <= WIDE:
                return int(ids[(logits + noise(at, ids)).argmax()])
            places, numbers = _contenders(left, at, top)
            return int(ids[places[(logits[places] + numbers).argmax()]])
    raise BacoError(
        f"no token can be drawn at position {at.position} (stream {Stream(at.stream).name}): "
        f"none of {ids.size} candidates has a usable logit; loosen what is banned, or check the model file"
    )


def _contenders(left: Candidates, at: Address, top: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the places of all who may win, in order, and their noise; the others need not be measured to the end.

    Whoever lies more than ``NEAR`` nats below the likeliest wins only with noise that exceeds that one's by as much.
    Noise is -log(-log u), so his u must exceed that one's u ** exp(-NEAR), which its upper bits show.
    """
    start = key(at)
    bar = U64(_bar(((_mixed(start + int(left.ids[top]) * STRIDE) >> 12) + 0.5) * UNIT))
    near = left.logits[top] - NEAR
    places, stirred = [], []
    for first in range(0, left.ids.size, BLOCK):
        x = _stirred(start, left.ids[first : first + BLOCK])
        may = x >= bar
        may |= left.logits[first : first + BLOCK] >= near
        found = may.nonzero()[0]
        places.append(found + first)
        stirred.append(x[found])
    return np.concatenate(places), _settled_inplace(np.concatenate(stirred))


def _bar(u: float) -> int:
    """Return the least stirred number behind u ** exp(-NEAR), and a little less."""
    return min(int(u**RAISED * 2.0**64), WORD) >> 33 << 33
