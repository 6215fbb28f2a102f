"""How many of a router's open decisions go to base: measured by looking on while a pair writes."""

from __future__ import annotations

from collections.abc import Sequence

from baco_local.pair import Job, Pair
from baco_local.routing.base import Route, StepView, as_route
from baco_local.routing.dial import ROUTERS
from baco_local.types import Role

__all__ = ["CALIBRATED", "open_share"]

CALIBRATED = ("P", "H", "P-PUNC", "H-PUNC", "RAND")


def open_share(pair: Pair, name: str, d: float, prompts: Sequence[str], *, n_tokens: int, seed: int) -> float:
    """Return base decisions / all decisions that no lock took, over one answer per prompt."""
    router = ROUTERS[name].at(d, pair.calibration)
    routes: list[Route] = []

    def watch(step: StepView) -> Route:
        routes.append(as_route(router(step), step.position))
        return routes[-1]

    settings = pair.settings.turn({"router": watch, "diversity": 5, "max_tokens": n_tokens})
    jobs = [Job(prompt=prompt, settings=settings, seed=seed, sample=i) for i, prompt in enumerate(prompts)]
    for _ in pair.interleave(jobs):
        pass
    decided = [route.speaker is Role.BASE for route in routes if not route.locked]
    return sum(decided) / len(decided)
