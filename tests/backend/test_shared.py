"""Things for many threads: each is used by one at a time, and closing waits for all of them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from baco_local.backend.shared import Shared

PATIENCE_S = 10.0


def test_a_thing_is_used_by_one_thread_at_a_time() -> None:
    """Of two things and six threads no more than two are at work at once, each on its own; an error gives it back."""
    shared = Shared(["one", "other"])
    in_use: set[str] = set()
    met = threading.Barrier(2, timeout=PATIENCE_S)

    def work(_number: int) -> None:
        with shared.one() as thing:
            assert thing not in in_use
            in_use.add(thing)
            met.wait()
            in_use.remove(thing)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(6))) == [None] * 6
    with pytest.raises(ZeroDivisionError), shared.one():
        raise ZeroDivisionError
    with shared.one() as thing, shared.one() as another:
        assert {thing, another} == {"one", "other"}


def test_what_is_lent_is_waited_for() -> None:
    """Taken back are things that nobody uses any more; who asks after that, or waits, is told; again, there is none."""
    shared = Shared(["only"])
    lent, used = threading.Event(), []

    def use() -> None:
        with shared.one() as thing:
            lent.set()
            time.sleep(0.05)
            used.append(thing)

    with ThreadPoolExecutor(2) as pool:
        user = pool.submit(use)
        assert lent.wait(PATIENCE_S)
        late = pool.submit(use)
        for thing in shared.take_back():
            assert used.count(thing) >= 1
        user.result()
        with pytest.raises(ValueError, match="closed"), shared.one():
            pass
        assert list(shared.take_back()) == []
        assert late.exception() is None or isinstance(late.exception(), ValueError)
