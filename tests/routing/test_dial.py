from __future__ import annotations

import json
import math
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.config import ContentFrom, Uncertainty
from baco_local.errors import RouterError, UsageError
from baco_local.routing.base import StepView, as_route
from baco_local.routing.dial import (
    PLUGIN_GROUP,
    ROUTERS,
    Calibration,
    Dial,
    LockName,
    Observation,
    dial_of,
    find_router,
    observe,
    thresholds_from,
)
from baco_local.routing.rules import DEFAULT_SIGNALS, Signals
from baco_local.types import Role
from step_views import HALF, PIECES, V, base_always, view, views

unit = st.floats(0, 1)
observations = st.lists(st.builds(Observation, unit, st.floats(0, 12), st.booleans(), st.booleans()), max_size=30)
calibrations = st.none() | st.builds(thresholds_from, observations)
signals = st.builds(Signals, st.none() | st.sampled_from(ContentFrom), st.sampled_from(Uncertainty))
diversities = st.floats(0, 10) | st.integers(0, 10)


def said(
    dial: Dial, diversity: float, one: StepView, table: Calibration | None, reads: Signals = DEFAULT_SIGNALS
) -> Role:
    """Return who speaks."""
    return as_route(dial.at(diversity, table, reads)(one), one.position).speaker


@given(st.sampled_from(list(ROUTERS)), views, diversities, diversities, calibrations, signals)
def test_more_diversity_never_turns_base_into_aligned(
    name: str, one: StepView, a: float, b: float, table: Calibration | None, reads: Signals
) -> None:
    """On a fixed position a higher dial never moves base to aligned, for every router, calibrated or not."""
    low, high = sorted((a, b))
    if said(ROUTERS[name], low, one, table, reads) is Role.BASE:
        assert said(ROUTERS[name], high, one, table, reads) is Role.BASE


inside = st.floats(1e-3, 9.999) | st.integers(1, 9)


@given(st.sampled_from(list(ROUTERS)), calibrations, inside, inside)
def test_thresholds_move_one_way(name: str, table: Calibration | None, a: float, b: float) -> None:
    """The number behind the dial only rises, or only falls where base speaks above it."""
    first, second = (ROUTERS[name].gamma(d, table) for d in sorted((a, b)))
    assert first >= second if name in ("H", "H-PUNC", "NUDGE") else first <= second


@given(st.sampled_from(list(ROUTERS)), views, calibrations, signals)
def test_the_ends_are_one_model_alone(name: str, one: StepView, table: Calibration | None, reads: Signals) -> None:
    """At 0 aligned always speaks, and at 10 base, locks or not."""
    assert said(ROUTERS[name], 0, one, table, reads) is Role.ALIGNED
    assert said(ROUTERS[name], 10, one, table, reads) is Role.BASE


@pytest.mark.parametrize("diversity", [-0.1, 10.5, math.nan, math.inf])
def test_a_dial_has_two_ends(diversity: float) -> None:
    """A diversity beyond the dial is refused."""
    with pytest.raises(UsageError, match="dial goes from 0"):
        ROUTERS["P"].at(diversity)


def some_views(n: int) -> list[StepView]:
    """Return positions of a flat pair of models, far from where the uncalibrated formulas fit."""
    rng = np.random.default_rng(7)
    rows = rng.normal(0, 0.5, (n, 2, 64)).astype(np.float32)
    rows[:, :, :V] += rng.normal(1.5, 0.7, (n, 2, V)).astype(np.float32)
    drawn = rng.integers(0, V, n)
    return [
        view(base, aligned, speaker=Role.BASE, proposed=int(token), coin=float(coin))
        for (base, aligned), token, coin in zip(rows, drawn, rng.permutation(n) / n, strict=True)
    ]


VIEWS = some_views(500)


@pytest.mark.parametrize("diversity", [1, 2, 4.5, 6, 8, 9])
@pytest.mark.parametrize("name", ["P", "H", "P-PUNC", "H-PUNC", "P-FC", "RAND", "NUDGE"])
def test_a_calibrated_dial_counts_open_decisions(name: str, diversity: float) -> None:
    """With a calibration, about d/10 of the decisions that no lock takes go to base."""
    table = thresholds_from(map(observe, VIEWS))
    routes = [as_route(ROUTERS[name].at(diversity, table)(one), 0) for one in VIEWS]
    unlocked = [route for route in routes if not route.locked]
    assert len(unlocked) > 50
    share = sum(route.speaker is Role.BASE for route in unlocked) / len(unlocked)
    assert share == pytest.approx(diversity / 10, abs=0.03)


def test_the_uncalibrated_dial_fails_on_a_flat_pair() -> None:
    """Without a calibration P gives a flat pair's base nearly everything at once, which is why there is one."""
    shares = [np.mean([said(ROUTERS["P"], d, one, None) is Role.BASE for one in VIEWS]) for d in (1, 4)]
    assert shares[1] > 0.9


def test_another_uncertainty_has_another_calibration() -> None:
    """A calibration of base's distribution is not used where the rules read aligned's."""
    table = thresholds_from(map(observe, VIEWS))
    reads = Signals(uncertainty=Uncertainty.ALIGNED)
    plain = [said(ROUTERS["P"], 2, one, None, reads) for one in VIEWS]
    assert [said(ROUTERS["P"], 2, one, table, reads) for one in VIEWS] == plain
    own = thresholds_from((observe(one, reads) for one in VIEWS), Uncertainty.ALIGNED)
    assert [said(ROUTERS["P"], 2, one, own, reads) for one in VIEWS] != plain


def test_observe_reads_what_the_rules_read() -> None:
    """An observation holds base's numbers, punctuation on either side and function words on base's."""
    row = np.zeros(V, np.float32)
    row[PIECES.index(" the")] = 3
    other = np.roll(row, PIECES.index(",") - PIECES.index(" the"))
    one = view(row, other, speaker=Role.BASE, proposed=PIECES.index(" the"))
    assert observe(one) == Observation(one.base.max_p, one.base.entropy, punc=True, fc=True)
    assert observe(one, Signals(ContentFrom.ALIGNED)) == Observation(
        one.base.max_p, one.base.entropy, punc=True, fc=False
    )


def test_ties_go_to_the_nearest_side() -> None:
    """Where all positions are alike, the dial gives base none of them below its middle and all of them above."""
    table = thresholds_from([Observation(0.4, 1.0, punc=False, fc=False)] * 7)
    assert [gamma > 0.4 for gamma in table.max_p[LockName.NONE]] == [False] * 5 + [True] * 4
    assert [gamma < 1.0 for gamma in table.entropy[LockName.NONE]] == [False] * 4 + [True] * 5


def test_a_lock_that_takes_everything_leaves_the_unlocked_thresholds() -> None:
    """A lock that left no position open shares the thresholds of no lock."""
    table = thresholds_from(Observation(p / 10, p, punc=True, fc=False) for p in range(1, 10))
    assert table.max_p[LockName.PUNC] == table.max_p[LockName.NONE]


def test_nothing_observed_is_the_uncalibrated_dial() -> None:
    """Without any observation the calibration holds the formulas, and says that it rests on nothing."""
    table = thresholds_from([])
    assert table.n_positions == 0
    for d in range(1, 10):
        for name in ("P", "H", "P-FC", "NUDGE"):
            assert ROUTERS[name].gamma(d, table) == pytest.approx(ROUTERS[name].gamma(d, None))


@given(observations, st.sampled_from(Uncertainty))
def test_calibrations_survive_json(seen: list[Observation], uncertainty: Uncertainty) -> None:
    """A calibration read back from JSON is the same."""
    table = thresholds_from(seen, uncertainty)
    assert Calibration.from_json(json.loads(json.dumps(table.to_json()))) == table


GOOD = thresholds_from([Observation(0.5, 1.0, punc=False, fc=False)]).to_json()


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {**GOOD, "version": 0},
        {**GOOD, "max_p": None},
        {**GOOD, "max_p": {"none": [0.1] * 9}},
        {**GOOD, "max_p": {lock: [0.2] * 8 + [0.1] for lock in LockName}},
        {**GOOD, "entropy": {lock: [0.1] * 8 + [0.2] for lock in LockName}},
        {**GOOD, "entropy": {lock: [math.nan] * 9 for lock in LockName}},
        {**GOOD, "max_p": {lock: [0.2] * 8 for lock in LockName}},
        {**GOOD, "uncertainty": "both"},
    ],
)
def test_broken_calibrations_are_refused(data: object) -> None:
    """A calibration of another version, incomplete or out of order is refused."""
    with pytest.raises(UsageError, match="calibration"):
        Calibration.from_json(data)


def test_a_raw_threshold_is_the_bare_rule() -> None:
    """A threshold takes the place of the dial, in the router's own unit."""
    for one in VIEWS[:50]:
        assert (as_route(ROUTERS["P"].at_threshold(0.1)(one), 0).speaker is Role.BASE) == (one.base.max_p < 0.1)
        assert (as_route(ROUTERS["H"].at_threshold(3.0)(one), 0).speaker is Role.BASE) == (one.base.entropy > 3.0)
        assert (as_route(ROUTERS["NUDGE"].at_threshold(0.1)(one), 0).speaker is Role.BASE) == (one.base.max_p >= 0.1)
        assert (as_route(ROUTERS["RAND"].at_threshold(0.1)(one), 0).speaker is Role.BASE) == (one.coin < 0.1)


@pytest.mark.parametrize(
    ("name", "gamma", "message"),
    [
        ("PUNC", 0.5, "no raw threshold"),
        ("FC", 0.5, "no raw threshold"),
        ("P", 1.5, "a probability, between 0 and 1"),
        ("RAND", -0.5, "a chance, between 0 and 1"),
        ("H", -1.0, "entropy in nats, 0 or more"),
        ("H-PUNC", math.nan, "entropy in nats"),
    ],
)
def test_impossible_thresholds_are_refused(name: str, gamma: float, message: str) -> None:
    """A threshold that a router does not have, or cannot reach, is refused with its unit."""
    with pytest.raises(UsageError, match=message):
        ROUTERS[name].at_threshold(gamma)


@pytest.mark.parametrize("name", ROUTERS)
def test_which_dials_read_a_calibration(name: str) -> None:
    """A dial that says it is calibrated turns to another number with a calibration, and the others do not."""
    table = thresholds_from([Observation(0.05, 4.0, punc=False, fc=False)] * 3)
    dial = ROUTERS[name]
    assert (dial.gamma(3, table) != dial.gamma(3, None)) is dial.calibrated


def test_names_are_keys() -> None:
    """Every router stands under its own name, and says what it does and where it comes from."""
    assert [dial.name for dial in ROUTERS.values()] == list(ROUTERS)
    assert all(dial.does.endswith(".") and dial.source for dial in ROUTERS.values())


@pytest.mark.parametrize("name", ["p-punc", "P-PUNC", " P-Punc "])
def test_names_in_any_case(name: str) -> None:
    """A router is found in upper and lower case."""
    assert find_router(name, ()) is ROUTERS["P-PUNC"]


def test_a_miss_lists_what_there_is() -> None:
    """An unknown name is refused with the nearest one and all known ones."""
    plugin = EntryPoint("mine", "step_views:base_always", PLUGIN_GROUP)
    with pytest.raises(UsageError, match=r"'p-pnc'; did you mean P-PUNC\? known: P, H, .*NUDGE, mix-prob, .*, mine"):
        find_router("p-pnc", [plugin])
    with pytest.raises(UsageError, match=r"'mien'; did you mean mine\?"):
        find_router("mien", [plugin])
    with pytest.raises(UsageError, match=r"did you mean mix-prob\?"):
        find_router("mix-prbo", ())
    with pytest.raises(UsageError, match="'zzz'; known"):
        find_router("zzz", ())


def test_a_plain_function_is_a_plugin() -> None:
    """A router from an entry point speaks between the ends of the dial, which stay what they are."""
    dial = find_router("MINE", [EntryPoint("mine", "step_views:base_always", PLUGIN_GROUP)])
    one = VIEWS[0]
    assert dial.does == "Let base speak; a router as a plugin would define it."
    assert [said(dial, d, one, None) for d in (0, 0.1, 9.9, 10)] == [Role.ALIGNED, *[Role.BASE] * 3]
    with pytest.raises(UsageError, match="mine has no raw threshold"):
        dial.at_threshold(0.5)


def test_a_dial_is_a_plugin() -> None:
    """An entry point may be a whole dial."""
    assert find_router("half", [EntryPoint("Half", "step_views:HALF", PLUGIN_GROUP)]) is HALF


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("step_views:NOT_A_ROUTER", "is 3; expected a Dial"),
        ("step_views:missing", "cannot be loaded"),
        ("no_such_module:router", "cannot be loaded"),
        ("baco_local.routing.dial:Dial", "expected a Dial, or a function"),
    ],
)
def test_broken_plugins_are_named(value: str, message: str) -> None:
    """A plugin that cannot be loaded, or is no router, is named with its entry point."""
    with pytest.raises(RouterError, match=message) as wrong:
        find_router("mine", [EntryPoint("mine", value, PLUGIN_GROUP)])
    assert value in str(wrong.value)


def test_our_names_win() -> None:
    """A plugin cannot take the name of a built-in router."""
    assert find_router("p", [EntryPoint("P", "step_views:base_always", PLUGIN_GROUP)]) is ROUTERS["P"]


def test_installed_plugins_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an installed package declares under the entry-point group is found by its name."""
    info = tmp_path / "a_router-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: a-router\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[{PLUGIN_GROUP}]\nmine = step_views:base_always\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_router("mine").at(5) is base_always


def test_a_router_without_words_has_a_dial() -> None:
    """A router without a docstring gets a plain one."""
    assert dial_of(lambda _step: Role.BASE, "mine").does == "Decides by a rule of its own."
