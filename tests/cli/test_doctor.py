"""What the doctor makes of a machine."""

from __future__ import annotations

import json
import re

import pytest

from baco_cli.doctor import CUDA_WHEELS, Level, build, install_line, schedules, writable
from baco_local.backend.llama import BuildFacts
from baco_local.backend.machine import Device
from baco_local.testing import scripted_pair


def facts(*, gpu=False, backends=("CPU",)):
    """Return what a build of llama.cpp says of itself."""
    device = Device(
        name="CUDA0", description="a card", is_gpu=True, shares_memory=False, free_bytes=1 << 33, total_bytes=1 << 34
    )
    return BuildFacts(
        version="b1",
        bindings="0.3",
        system="",
        backends=backends,
        supports_gpu_offload=gpu,
        devices=(device,) if gpu else (),
        library="",
    )


@pytest.mark.parametrize(
    ("gpu", "backends", "index", "level", "fixed"),
    [
        (True, ("CUDA", "CPU"), "cu125", Level.OK, False),
        (False, ("CUDA", "CPU"), "cu125", Level.WARN, False),
        (False, ("CUDA", "CPU"), "cpu", Level.WARN, False),
        (False, ("CPU",), "cu125", Level.WARN, True),
        (False, ("BLAS", "CPU"), "cpu", Level.OK, False),
    ],
)
def test_a_build_is_judged_by_the_machine(gpu, backends, index, level, fixed):
    """A CPU build is a warning only where the machine has a GPU, and then the line to type is given."""
    finding = build(facts(gpu=gpu, backends=backends), index)
    assert (finding.level, bool(finding.fix)) == (level, fixed)


def test_the_install_line_is_complete():
    """It names this Python, the package and the wheel index."""
    assert re.fullmatch(
        r"\S+ -m pip install .* llama-cpp-python --extra-index-url https://\S+/whl/cu124", install_line("cu124")
    )
    assert sorted(CUDA_WHEELS) == list(CUDA_WHEELS)


def test_a_folder_that_can_be_made_counts_as_writable(tmp_path):
    """The nearest folder that exists decides; a file in the way does not do."""
    assert writable(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    assert not writable(tmp_path / "file" / "b")


def test_models_that_cannot_be_rewound_are_named():
    """The doctor says which schedules are left, and whose fault it is."""
    assert schedules(scripted_pair()).level is Level.OK
    finding = schedules(scripted_pair(can_rewind=False))
    assert finding.level is Level.WARN
    assert finding.words.startswith("lockstep and lazy: base (script) and aligned (script) cannot take back")


@pytest.mark.model
def test_a_healthy_machine(baco):
    """With the bundled pair everything is looked at, nothing is an error, and no question is asked."""
    done = baco("doctor")
    assert done.returncode == 0
    assert "ERROR" not in done.stdout
    assert re.search(r"base \d+ tok/s, aligned \d+ tok/s, both \d+ tok/s", done.stdout)


@pytest.mark.model
def test_the_doctor_speaks_json(invoke):
    """--json prints one object with every finding."""
    found = json.loads(invoke("doctor", "--json").stdout)
    assert found["ok"] is True
    assert {"python", "llama.cpp", "build", "memory", "pair", "speed", "settings", "terminal"} <= {
        finding["topic"] for finding in found["findings"]
    }


@pytest.mark.model
def test_a_pair_that_does_not_load_is_an_error(invoke):
    """The doctor says why and leaves with 1."""
    done = invoke("doctor", "-m", "nosuchpair")
    assert done.exit_code == 1
    assert "no pair is called 'nosuchpair'" in done.stdout
