"""``--ray`` on a real cluster of this machine: the same rows as without it, also when a worker dies."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from baco_cli.nodes import ModelOrder, here, portable
from baco_local.batch.manifest import file_hash
from baco_local.config import PairFiles
from baco_local.errors import ModelNotFoundError, UsageError
from scripted_batches import N_SAMPLES, PROMPTS, batch_of, lines, run_into

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs Ray: pip install --editable '.[ray]'"
)


@needs_ray
@pytest.mark.slow
def test_a_worker_that_is_killed_costs_nothing(tmp_path):
    """Two workers write, one is killed in the middle, another takes its place; the rows are those of a plain run."""
    plain, spread = tmp_path / "plain.jsonl", tmp_path / "spread.jsonl"
    run_into(plain, batch_of(PROMPTS, n_samples=N_SAMPLES, seed=7))
    script = Path(__file__).parents[1] / "batch_on_ray.py"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    environment.pop("RAY_ADDRESS", None)
    done = subprocess.run(
        [sys.executable, str(script), str(spread)],
        capture_output=True,
        encoding="utf-8",
        timeout=180,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["written"], told["failed"]) == (len(PROMPTS) * N_SAMPLES, 0)
    assert len(told["events"]) == 1, told
    assert "was lost (it died)" in told["events"][0]
    assert (told["same"], told["workers"], told["usage_stats"]) == (True, 2, "0")
    assert lines(spread) == lines(plain)


@needs_ray
@pytest.mark.slow
@pytest.mark.model
def test_the_command_writes_what_it_writes_alone(baco, tmp_path):
    """With the bundled pair, one answer at a time, --ray gives the bytes of a plain run, and goes on with its file."""
    source = tmp_path / "prompts.txt"
    source.write_text("A story about a fox.\nA story about rain.\nA story about a boat.\n")
    plain, spread = tmp_path / "plain.jsonl", tmp_path / "spread.jsonl"
    call = ("batch", str(source), "-N", "2", "-n", "25", "-np", "1")
    assert baco(*call, "-o", str(plain)).returncode == 0
    torn = plain.read_bytes().splitlines(keepends=True)
    spread.write_bytes(b"".join(torn[:2]) + torn[2][:50])
    (tmp_path / "spread.meta.json").write_bytes((tmp_path / "plain.meta.json").read_bytes())
    done = baco(*call, "-o", str(spread), "--ray", "--ray-workers", "2", "--json", RAY_ADDRESS="")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["written"] == 4
    assert "2 workers" in done.stderr
    assert lines(spread) == lines(plain)


def test_ray_options_want_ray(baco, tmp_path):
    """An option of the cluster without --ray is refused, not passed over."""
    source = tmp_path / "prompts.txt"
    source.write_text("A fox.\n")
    done = baco("batch", str(source), "--ray-workers", "2")
    assert done.returncode == 2
    assert "--ray-workers does nothing without --ray" in done.stderr


@pytest.mark.model
def test_a_cluster_that_is_not_there_is_refused_at_once(baco, tmp_path):
    """An address where nobody answers is named, and Ray is not even asked."""
    source = tmp_path / "prompts.txt"
    source.write_text("A fox.\n")
    done = baco("batch", str(source), "-o", str(tmp_path / "out.jsonl"), "--ray", "--ray-address", "127.0.0.1:1")
    assert done.returncode == 2
    assert "no Ray cluster answers at '127.0.0.1:1'" in done.stderr


def test_nodes_check_their_files(tmp_path):
    """A missing file and a file with other bytes are refused by name before anything is loaded."""
    files = {}
    for name in ("base", "aligned"):
        files[name] = tmp_path / f"{name}.gguf"
        files[name].write_bytes(name.encode())
    pair = PairFiles(base=files["base"], aligned=files["aligned"], name="mine")
    order = ModelOrder.of(pair, {name: file_hash(path) for name, path in files.items()})
    files["aligned"].write_bytes(b"other")
    with pytest.raises(UsageError, match=r"the aligned model .*aligned\.gguf' is not the driver's"):
        order()
    files["base"].unlink()
    with pytest.raises(ModelNotFoundError, match=r"the base model .*base\.gguf' cannot be found"):
        order()


def test_bundled_models_are_found_on_every_node(tales, tmp_path):
    """Files of the program travel as their place in it, others by their path."""
    assert here(portable(tales / "base.gguf")).samefile(tales / "base.gguf")
    assert str(tales.parent) not in portable(tales / "base.gguf")
    assert here(portable(tmp_path / "x.gguf")) == tmp_path / "x.gguf"
