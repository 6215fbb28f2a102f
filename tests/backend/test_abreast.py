"""Models read at the same time where each has a core, and by turns elsewhere; nothing is left reading."""

from __future__ import annotations

import gc
import signal
import threading
import time
import weakref
from functools import partial
from typing import Any

import pytest

from baco_local.backend.abreast import Abreast
from baco_local.backend.timing import measure_decodes
from baco_local.testing import ScriptedModel, byte_vocab, flat

PATIENCE_S = 10.0


class Counted(ScriptedModel):
    """A model that keeps how many threads it was given."""

    def __init__(self, n_threads: int = 4) -> None:
        super().__init__(flat(260), byte_vocab())
        self.n_threads, self.given = n_threads, [0]

    def use_threads(self, n: int) -> None:
        """Keep the number."""
        self.given.append(n)


class Slow(Counted):
    """A model whose decodes take a hundredth of a second, and leave the core to others."""

    def feed(self, feeds: Any) -> Any:
        """Sleep, and read."""
        time.sleep(0.01)
        return super().feed(feeds)


def two(n_threads: int = 4) -> dict[str, Any]:
    """Return two models."""
    return {"one": Counted(n_threads), "other": Counted(n_threads)}


def meeting() -> dict[str, Any]:
    """Return two jobs that end only if both are at work at once."""
    barrier = threading.Barrier(2, timeout=PATIENCE_S)
    return {"one": barrier.wait, "other": barrier.wait}


def test_two_models_read_at_the_same_time_on_half_the_cores() -> None:
    """Jobs that wait for each other end, and each model was given its share of the cores."""
    models = two()
    abreast = Abreast(models, 4)
    assert sorted(abreast.run(meeting()).values()) == [0, 1]
    assert [model.given[-1] for model in models.values()] == [2, 2]
    abreast.close()


def test_one_model_alone_has_all_cores() -> None:
    """What reads alone is given every core, also after it has shared them."""
    models = two()
    abreast = Abreast(models, 4)
    abreast.run(meeting())
    assert abreast.run({"one": lambda: "read"}) == {"one": "read"}
    assert models["one"].given[-1] == 4
    abreast.close()


@pytest.mark.parametrize(("n_cores", "n_threads"), [(1, 4), (2, 0)], ids=["one core", "a device"])
def test_where_it_cannot_pay_they_take_turns(n_cores: int, n_threads: int) -> None:
    """With one core, or with a model on a device, the jobs run in the caller's thread, in their order."""
    abreast = Abreast(two(n_threads), n_cores)
    seen: list[tuple[str, bool]] = []

    def job(name: str) -> Any:
        return lambda: seen.append((name, threading.current_thread() is threading.main_thread()))

    assert list(abreast.run({"one": job("one"), "other": job("other")})) == ["one", "other"]
    assert seen == [("one", True), ("other", True)]


@pytest.mark.parametrize("which", ["one", "other"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_waits_for_the_other_model(which: str, error: type[BaseException]) -> None:
    """Whichever job fails, also by Ctrl-C, the other one has ended before anybody hears of it."""
    ended, failed, begun = threading.Event(), threading.Event(), threading.Event()

    def fails() -> None:
        assert begun.wait(PATIENCE_S)
        failed.set()
        raise error

    def lasts() -> None:
        begun.set()
        assert failed.wait(PATIENCE_S)
        ended.set()

    abreast = Abreast(two(), 2)
    with pytest.raises(error):
        abreast.run({name: fails if name == which else lasts for name in ("one", "other")})
    assert ended.is_set()
    abreast.close()


def test_decodes_at_once_are_timed_and_nothing_is_left() -> None:
    """Two models that sleep take half the time when they sleep at once, and all of it on one core; both end empty."""
    models = {name: Slow() for name in ("one", "other")}
    in_turns, at_once = (measure_decodes({"both": models}, n_cores)["both"][0][1] for n_cores in (1, 2))
    assert at_once / in_turns == pytest.approx(0.5, abs=0.25)
    assert not any(model._read[0] for model in models.values())


def test_an_interrupted_wait_leaves_nothing_behind() -> None:
    """Ctrl-C again and again, at any moment: every run ends, and gives its own results or the interrupt."""
    abreast = Abreast(two(), 2)
    n_pressed = n_done = 0
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
    try:
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            try:
                wanted = {"one": n_done, "other": -n_done}
                jobs = {name: partial(slowly, value) for name, value in wanted.items()}
                assert abreast.run(jobs) == wanted
                n_done += 1
            except KeyboardInterrupt:
                n_pressed += 1
    except KeyboardInterrupt:  # between two runs
        n_pressed += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    assert n_pressed
    assert abreast.run({"one": lambda: "mine", "other": lambda: "yours"}) == {"one": "mine", "other": "yours"}
    abreast.close()


def slowly(value: int) -> int:
    """Return a value, after as long as a decode takes."""
    time.sleep(0.0005)
    return value


def test_nothing_lives_on_when_it_is_forgotten() -> None:
    """Dropped without being closed, neither the models nor their thread stay."""
    models = two()
    abreast = Abreast(models, 2)
    abreast.run(meeting())
    model, before = weakref.ref(models["other"]), threading.active_count()
    abreast.run({name: partial(len, model.info.path) for name, model in models.items()})
    del models, abreast
    gc.collect()
    assert model() is None
    deadline = time.monotonic() + PATIENCE_S
    while threading.active_count() >= before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() < before
