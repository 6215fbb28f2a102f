"""Pick one candidate with noise that depends only on (seed, sequence, position, stream, token id).

Numpy and plain integers; knows no model, no recipe and no generator that travels. Shapes: ``C`` candidates.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from baco_local.errors import BacoError
from baco_local.types import MASKED

__all__ = ["BARRED", "Address", "Candidates", "Stream", "coin", "draw", "key", "noise", "temper"]

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
BLOCK = 8192  # ids whose noise is made at once: the scratch stays in the second-level cache


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
    x = 0
    for number in at:
        x = _mixed(x + STRIDE * (number + 1))
    return x


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
        x = ids[first : first + BLOCK].astype(U64)  # splitmix64: any number of a stream, directly
        x *= STRIDE_64
        x += U64(start)
        x ^= x >> SHIFT_1
        x *= ODD_1_64
        x ^= x >> SHIFT_2
        x *= ODD_2_64
        x ^= x >> SHIFT_3
        x >>= SHIFT_4
        u = found[first : first + BLOCK]
        np.add(x, 0.5, u)
        _gumbel_inplace(u)
    return found


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
    if left.ids.size:
        best = int(np.argmax(left.logits + noise(at, left.ids))) if left.ids.size > 1 else 0
        if BARRED < left.logits[best] < np.inf:
            return int(left.ids[best])
    raise BacoError(
        f"no token can be drawn at position {at.position} (stream {Stream(at.stream).name}): "
        f"none of {left.ids.size} candidates has a usable logit; loosen what is banned, or check the model file"
    )
