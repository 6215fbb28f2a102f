"""The dial from 0 (the aligned model alone) to 10 (the base model alone), one for every router, and its calibration.

Turns a number into a router; knows no model and never asks one. The dial is OURS: arXiv 2511.05650 sweeps raw
thresholds. A calibrated d means: about d/10 of the decisions that no lock takes go to base, whatever the pair.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import EntryPoint, entry_points
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from baco_local.config import Uncertainty
from baco_local.errors import RouterError, UsageError
from baco_local.routing.base import Router, StepView
from baco_local.routing.blends import BLENDS
from baco_local.routing.rules import (
    DEFAULT_SIGNALS,
    Signals,
    always,
    coin,
    entropy,
    function_word_lock,
    function_words,
    locked,
    measured_entropy,
    measured_max_p,
    nudge,
    probability,
    punctuation,
    punctuation_lock,
)
from baco_local.types import Role

__all__ = [
    "CALIBRATION_VERSION",
    "PLUGIN_GROUP",
    "ROUTERS",
    "Calibration",
    "Dial",
    "LockName",
    "Observation",
    "dial_of",
    "find_router",
    "joined",
    "midway",
    "observe",
    "thresholds_from",
]

CALIBRATION_VERSION = 1
PLUGIN_GROUP = "baco.routers"  # entry points: a Dial, or a router as a plain callable
DIAL_POINTS = range(1, 10)


class LockName(StrEnum):
    """The lock that goes before a threshold, so that only what it leaves open is calibrated."""

    NONE = "none"
    PUNC = "punc"
    FC = "fc"


Points: TypeAlias = Mapping[LockName, tuple[float, ...]]  # at the dial points 1 to 9


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds of one pair at the dial points 1 to 9, per statistic and lock."""

    max_p: Points  # base speaks below: never falling
    entropy: Points  # base speaks above, nats: never rising
    uncertainty: Uncertainty = Uncertainty.BASE  # whose distribution was measured; a calibration of another is not used
    n_positions: int = 0  # how many word starts were measured

    def __post_init__(self) -> None:
        """Refuse a table on which the dial could run backwards."""
        for name, table, sign in (("max_p", self.max_p, 1), ("entropy", self.entropy, -1)):
            for lock in LockName:
                points = [sign * point for point in table.get(lock, ())]
                if len(points) != len(DIAL_POINTS) or not all(map(math.isfinite, points)) or points != sorted(points):
                    raise UsageError(f"the calibration of {name} for the lock {lock} is not nine ordered numbers")

    def to_json(self) -> dict[str, object]:
        """Return an object that ``json.dump`` can write."""
        return {
            "version": CALIBRATION_VERSION,
            "uncertainty": str(self.uncertainty),
            "n_positions": self.n_positions,
            "max_p": {str(lock): list(points) for lock, points in self.max_p.items()},
            "entropy": {str(lock): list(points) for lock, points in self.entropy.items()},
        }

    @classmethod
    def from_json(cls, data: object) -> Calibration:
        """Read what ``to_json`` wrote, or raise UsageError."""
        version = data.get("version") if isinstance(data, Mapping) else None
        if not isinstance(data, Mapping) or version != CALIBRATION_VERSION:
            raise UsageError(f"a calibration of version {version!r} cannot be used; calibrate the pair again")
        try:
            return cls(
                max_p={LockName(lock): tuple(map(float, points)) for lock, points in data["max_p"].items()},
                entropy={LockName(lock): tuple(map(float, points)) for lock, points in data["entropy"].items()},
                uncertainty=Uncertainty(data["uncertainty"]),
                n_positions=int(data["n_positions"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"the calibration cannot be read: {error!r}; calibrate the pair again") from error


@dataclass(frozen=True, slots=True)
class Observation:
    """What a calibration needs to know of one position where a word starts."""

    max_p: float
    entropy: float  # nats
    punc: bool  # locked as punctuation
    fc: bool  # locked as a function word


def observe(step: StepView, signals: Signals = DEFAULT_SIGNALS) -> Observation:
    """Measure a position with the same signals that the routers will read."""
    return Observation(
        measured_max_p(step, signals.uncertainty),
        measured_entropy(step, signals.uncertainty),
        punctuation_lock(signals)(step),
        function_word_lock(signals)(step),
    )


def thresholds_from(observations: Iterable[Observation], uncertainty: Uncertainty = Uncertainty.BASE) -> Calibration:
    """Return the thresholds at which d/10 of the observed open positions go to base, as nearly as ties allow.

    A lock that left nothing open takes the thresholds of no lock; no observation at all gives the uncalibrated dial.
    """
    seen = tuple(observations)
    left_open = {
        LockName.NONE: seen,
        LockName.PUNC: tuple(one for one in seen if not one.punc),
        LockName.FC: tuple(one for one in seen if not one.fc),
    }
    max_p, spread = {}, {}
    for lock, some in left_open.items():
        some = some or seen
        max_p[lock] = _cuts([one.max_p for one in some], 1.0) or tuple(d / 10 for d in DIAL_POINTS)
        spread[lock] = _cuts([one.entropy for one in some], math.inf)[::-1] or tuple(map(_entropy_formula, DIAL_POINTS))
    return Calibration(max_p, spread, uncertainty, len(seen))


def joined(measured: Mapping[LockName, Mapping[float, Calibration]]) -> Calibration:
    """Join calibrations that were each measured on texts of one lock at one dial.

    A dial point takes the mean of the measurements nearest to it; what would let the dial run backwards is levelled.
    """
    max_p, spread, n_positions = {}, {}, 0
    for lock, at in measured.items():
        near = {d: [at[m] for m in at if abs(m - d) == min(abs(other - d) for other in at)] for d in DIAL_POINTS}
        rising = [float(np.mean([one.max_p[lock][d - 1] for one in near[d]])) for d in DIAL_POINTS]
        falling = [float(np.mean([one.entropy[lock][d - 1] for one in near[d]])) for d in DIAL_POINTS]
        max_p[lock] = tuple(map(float, np.maximum.accumulate(rising)))
        spread[lock] = tuple(map(float, np.minimum.accumulate(falling)))
        n_positions += sum(one.n_positions for one in at.values())
    uncertainty = next(iter(next(iter(measured.values())).values())).uncertainty
    return Calibration(max_p, spread, uncertainty, n_positions)


def midway(one: Calibration, other: Calibration) -> Calibration:
    """Return the calibration whose thresholds lie in the middle between those of two."""

    def middle(a: Points, b: Points) -> Points:
        return {lock: tuple((x + y) / 2 for x, y in zip(a[lock], b[lock], strict=True)) for lock in LockName}

    max_p, spread = middle(one.max_p, other.max_p), middle(one.entropy, other.entropy)
    return Calibration(max_p, spread, one.uncertainty, one.n_positions + other.n_positions)


@dataclass(frozen=True, slots=True)
class Dial:
    """A router for every diversity, with its raw number where it has one."""

    name: str
    does: str  # one sentence
    source: str  # where the rule comes from, and how sure that is
    gamma: Callable[[float, Calibration | None], float]  # 0 < diversity < 10 -> the number that the rule takes
    rule: Callable[[float, Signals], Router]
    unit: str | None = None  # what a raw threshold counts; None: this router has no raw number
    limit: float = 1.0  # the largest raw threshold with a meaning
    calibrated: bool = False  # the dial reads a calibration: without one it falls back on fixed formulas

    def at(
        self, diversity: float, calibration: Calibration | None = None, signals: Signals = DEFAULT_SIGNALS
    ) -> Router:
        """Return the router at a diversity; the ends of the dial are one model alone, without locks.

        Args:
            diversity: 0 to 10; turning it up never moves a position from base to aligned.
            calibration: the thresholds of this pair; None, or one of another uncertainty = fixed formulas.
            signals: whose tokens and distributions are looked at.

        """
        if not 0 <= diversity <= 10:
            raise UsageError(f"diversity is {diversity}; the dial goes from 0 (aligned alone) to 10 (base alone)")
        if diversity in (0, 10):
            return always(Role.BASE if diversity else Role.ALIGNED)
        if calibration is not None and calibration.uncertainty is not signals.uncertainty:
            calibration = None
        return self.rule(self.gamma(diversity, calibration), signals)

    def at_threshold(self, gamma: float, signals: Signals = DEFAULT_SIGNALS) -> Router:
        """Return the router at a raw threshold, or raise UsageError."""
        if self.unit is None:
            raise UsageError(f"the router {self.name} has no raw threshold; turn the diversity instead")
        if not 0 <= gamma <= self.limit:
            highest = f"between 0 and {self.limit:g}" if math.isfinite(self.limit) else "0 or more"
            raise UsageError(f"the threshold is {gamma}; for the router {self.name} it is a {self.unit}, {highest}")
        return self.rule(gamma, signals)


def dial_of(router: Router, name: str) -> Dial:
    """Give a plain router a dial that has an effect at its two ends only."""
    does = (getattr(router, "__doc__", None) or "Decides by a rule of its own.").strip().splitlines()[0]
    return Dial(name, does, "a router of your own", _as_turned, lambda _gamma, _signals: router)


def find_router(name: str, plugins: Iterable[EntryPoint] | None = None) -> Dial:
    """Return a router by its name in any case: ours first, then installed entry points.

    Args:
        name: as in ``ROUTERS``, or the name of an entry point of the group ``baco.routers``.
        plugins: None = whatever is installed.

    """
    wanted = name.strip().casefold()
    for known, dial in ROUTERS.items():
        if known.casefold() == wanted:
            return dial
    others = tuple(entry_points(group=PLUGIN_GROUP) if plugins is None else plugins)
    for plugin in others:
        if plugin.name.casefold() == wanted:
            return _load(plugin)
    names = [*ROUTERS, *BLENDS, *sorted(plugin.name for plugin in others)]  # a blend is chosen by the same option
    near = difflib.get_close_matches(wanted, [known.casefold() for known in names], n=1, cutoff=0.5)
    hint = "".join(f"did you mean {known}? " for known in names if known.casefold() in near)
    raise UsageError(f"there is no router {name!r}; {hint}known: {', '.join(names)}")


def _load(plugin: EntryPoint) -> Dial:
    origin = f"the router {plugin.name!r} (entry point {plugin.value!r})"
    try:
        found = plugin.load()
    except Exception as error:  # a foreign module may fail in any way
        raise RouterError(f"{origin} cannot be loaded: {error!r}; repair or uninstall its package") from error
    if isinstance(found, Dial):
        return found
    if callable(found) and not isinstance(found, type):
        return dial_of(found, plugin.name)
    raise RouterError(f"{origin} is {found!r}; expected a Dial, or a function from a step view to a speaker")


def _cuts(values: Sequence[float], highest: float) -> tuple[float, ...]:
    """Return the nine numbers below which about a tenth, two tenths ... of the values lie; () of no values."""
    if not values:
        return ()
    levels, counts = np.unique(np.asarray(values, np.float64), return_counts=True)
    above_all = (levels[-1] + min(highest, 2 * levels[-1])) / 2
    edges: NDArray[np.float64] = np.concatenate(([levels[0] / 2], (levels[1:] + levels[:-1]) / 2, [above_all]))
    below = np.concatenate(([0], np.cumsum(counts))) / len(values)  # share of the values below each edge
    return tuple(float(edges[np.abs(below - d / 10).argmin()]) for d in DIAL_POINTS)


def _between(points: Sequence[float], diversity: float) -> float:
    """Interpolate between the numbers at 0, 1, ... 10, and never beyond a neighbour by rounding."""
    left = min(int(diversity), 9)
    low, high = points[left], points[left + 1]
    value = low + (high - low) * (diversity - left)
    return min(max(value, min(low, high)), max(low, high))


def _max_p_below(diversity: float, calibration: Calibration | None, lock: LockName) -> float:
    if calibration is None:
        return diversity / 10
    return _between((0.0, *calibration.max_p[lock], 1.0), diversity)


def _entropy_above(diversity: float, calibration: Calibration | None, lock: LockName) -> float:
    if calibration is None:
        return _entropy_formula(diversity)
    points = calibration.entropy[lock]
    if diversity < 1:  # entropy has no upper end to interpolate from
        return points[0] / diversity
    return _between((math.inf, *points, 0.0), diversity)


def _entropy_formula(diversity: float) -> float:
    """Put the threshold of P on the scale of entropy; the factor 2 is a guess."""
    return -2 * (math.log(diversity) - math.log(10))


def _as_turned(diversity: float, _calibration: Calibration | None) -> float:
    return diversity


def _p(lock: LockName) -> Callable[[float, Calibration | None], float]:
    return lambda diversity, calibration: _max_p_below(diversity, calibration, lock)


def _h(lock: LockName) -> Callable[[float, Calibration | None], float]:
    return lambda diversity, calibration: _entropy_above(diversity, calibration, lock)


PAPER = "arXiv 2511.05650, known to us from secondary sources"
OURS = "a row of arXiv 2511.05650; how it is turned is ours"

ROUTERS: dict[str, Dial] = {
    "P": Dial(
        "P",
        "Base speaks where the largest probability lies below a threshold.",
        PAPER,
        _p(LockName.NONE),
        lambda gamma, signals: probability(gamma, signals.uncertainty),
        "probability",
        calibrated=True,
    ),
    "H": Dial(
        "H",
        "Base speaks where the entropy lies above a threshold.",
        PAPER,
        _h(LockName.NONE),
        lambda gamma, signals: entropy(gamma, signals.uncertainty),
        "entropy in nats",
        math.inf,
        calibrated=True,
    ),
    "PUNC": Dial(
        "PUNC",
        "Aligned writes punctuation and line breaks, base the rest.",
        PAPER,
        _as_turned,
        punctuation,
    ),
    "FC": Dial(
        "FC",
        "Aligned writes function words, base the rest.",
        PAPER,
        _as_turned,
        function_words,
    ),
    "P-PUNC": Dial(
        "P-PUNC",
        "Aligned writes punctuation and line breaks; elsewhere as P.",
        PAPER,
        _p(LockName.PUNC),
        lambda gamma, signals: locked(punctuation_lock(signals), probability(gamma, signals.uncertainty)),
        "probability",
        calibrated=True,
    ),
    "H-PUNC": Dial(
        "H-PUNC",
        "Aligned writes punctuation and line breaks; elsewhere as H.",
        PAPER,
        _h(LockName.PUNC),
        lambda gamma, signals: locked(punctuation_lock(signals), entropy(gamma, signals.uncertainty)),
        "entropy in nats",
        math.inf,
        calibrated=True,
    ),
    "P-FC": Dial(
        "P-FC",
        "Aligned writes function words; elsewhere as P.",
        PAPER,
        _p(LockName.FC),
        lambda gamma, signals: locked(function_word_lock(signals), probability(gamma, signals.uncertainty)),
        "probability",
        calibrated=True,
    ),
    "RAND": Dial(
        "RAND",
        "A coin decides: the control that every claim needs.",
        OURS,
        lambda diversity, _calibration: diversity / 10,
        lambda q, _signals: coin(q),
        "chance",
    ),
    "NUDGE": Dial(
        "NUDGE",
        "Base leads, and aligned speaks where the largest probability lies below a threshold: P reversed.",
        "arXiv 2410.09300 and its public code; here with our word boundary",
        lambda diversity, calibration: _max_p_below(10 - diversity, calibration, LockName.NONE),
        lambda gamma, signals: nudge(gamma, signals.uncertainty),
        "probability",
        calibrated=True,
    ),
}
