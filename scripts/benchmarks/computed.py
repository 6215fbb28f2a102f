"""What schedules would gain on hardware that is not at hand: the program's own cost model on published c(k).

Nothing here is measured. The curves are llama.cpp's own reports of 7B models at Q8_0, read from benches/ of its
repository (they count sequences, not tokens of one sequence); our own work per token is left out.
"""

from __future__ import annotations

from typing import Any

from baco_local.config import DrafterName
from baco_local.scheduling.base import Helper, Reader
from baco_local.scheduling.pace import Cost, Costs, best_length, round_costs
from baco_local.types import Role

__all__ = ["computed"]

PUBLISHED = {
    "CUDA (DGX Spark)": Cost(((1, 1.0), (2, 1.08), (4, 1.12), (8, 1.20), (16, 1.40), (32, 1.58))),
    "Metal (M2 Ultra)": Cost(((1, 1.0), (2, 1.18), (4, 1.43), (8, 2.46), (16, 3.9), (32, 4.1))),
}
DRAFT_COST = 0.1  # of a small third model, in parts of one of the pair
RATES = (0.6, 0.8, 0.9)
LONGEST = 8


def computed() -> list[dict[str, Any]]:
    """Return, for each curve, drafter and acceptance, the best number of guesses and what it gains over lockstep."""
    rows = []
    for name, curve in PUBLISHED.items():
        of: dict[Reader, Cost] = {Role.BASE: curve, Role.ALIGNED: curve, Helper.DRAFT: curve.times(DRAFT_COST)}
        costs = Costs(of)
        for drafter in (DrafterName.MODEL, DrafterName.LOOKUP, DrafterName.ALIGNED):
            rounds = round_costs(drafter, costs, LONGEST)
            for rate in RATES:
                n_draft, cost = best_length(drafter, rounds, rate)
                rows.append(
                    {
                        "hardware": name,
                        "drafter": str(drafter),
                        "acceptance": f"{rate:g}",
                        "guesses": n_draft,
                        "x lockstep": f"{costs.both(1) / cost:.2f}",
                        "x one model": f"{1 / cost:.2f}",
                    }
                )
    return rows
