"""A batch on two workers of a Ray cluster of its own, one of which is killed in the middle; a program, for tests.

python batch_on_ray.py FILE
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from baco_local.batch.cluster import Cluster, ClusterOptions, RayCrew
from baco_local.batch.session import Output, carry_out
from scripted_batches import N_SAMPLES, PROMPTS, batch_of, slow_pair

BEFORE = 20  # answers that are there when a worker dies


def main() -> None:
    """Run, kill, and say what happened."""
    batch = batch_of(PROMPTS, n_samples=N_SAMPLES, seed=7)
    events: list[str] = []
    with Cluster(ClusterOptions(n_workers=2)) as cluster, Output(batch, Path(sys.argv[1])) as output:
        crew = RayCrew(cluster, slow_pair, batch.wishes, on_event=events.append)
        victims = [facts.pid for facts in crew.facts]

        def watch(collector, _figures) -> None:
            if collector.n_written >= BEFORE and len(victims) == 2:
                os.kill(victims.pop(), signal.SIGKILL)

        collector = carry_out(batch, output, crew, about={}, watch=watch)
        survivors = [facts.pid for facts in crew.facts]
    told = {
        "written": collector.n_written,
        "failed": collector.n_failed,
        "events": events,
        "same": [pid for pid in survivors if pid in victims] == victims,
        "workers": len(survivors),
        "usage_stats": os.environ["RAY_USAGE_STATS_ENABLED"],
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
