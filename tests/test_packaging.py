"""What is handed out: the wheel holds two packages and one pair and works alone; the sdist holds the whole house."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build wheel and sdist without network, and return their folder."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(folder)]
    built = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> zipfile.ZipFile:
    """Return the wheel, opened."""
    (path,) = dist.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def installed(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds the wheel's content, as an installation would."""
    folder = tmp_path_factory.mktemp("site")
    wheel.extractall(folder)
    return folder


def baco(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed program far from the checkout."""
    start = (
        f"import sys; sys.path.insert(0, {str(installed)!r}); sys.argv[0] = 'baco'\n"
        "import baco_local; from baco_cli.app import main\n"
        f"assert baco_local.__file__.startswith({str(installed)!r}); main()"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "FORCE_COLOR")}
    return subprocess.run(
        [sys.executable, "-c", start, *arguments],
        cwd=installed,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_wheel_holds_two_packages(wheel: zipfile.ZipFile) -> None:
    """The top-level names of an installation are ours: no ``cli``, ``models`` or ``tests``."""
    top = {name.partition("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"baco_local", "baco_cli"}


def test_wheel_holds_one_pair(wheel: zipfile.ZipFile) -> None:
    """The bundled pair and the catalogue travel inside the package, and nobody's own models."""
    inside = [name.removeprefix("baco_local/models/") for name in wheel.namelist() if "/models/" in name]
    assert {name.partition("/")[0] for name in inside} == {"tales", "catalog.toml"}
    assert {name for name in inside if name.endswith(".gguf")} == {
        f"tales/{name}.gguf" for name in ("base", "aligned", "aligned-lora")
    }


def test_wheel_holds_what_is_not_python(wheel: zipfile.ZipFile) -> None:
    """Types, word lists and frames come along, whatever a room keeps beside its code."""
    folders = {"baco_local": ROOT / "baco_local", "baco_cli": ROOT / "cli" / "baco_cli"}
    beside = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in folders.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"baco_local/py.typed", "baco_cli/py.typed"} <= beside <= set(wheel.namelist())


def test_wheel_starts_baco(wheel: zipfile.ZipFile, installed: Path) -> None:
    """The command exists and says the version of the wheel."""
    (info,) = {name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    assert "baco = baco_cli.app:main" in wheel.read(f"{info}/entry_points.txt").decode()
    ran = baco(installed, "--version")
    assert ran.returncode == 0, ran.stderr
    version = re.search(r"baco_local-(.+)\.dist-info", info)
    assert version
    assert version[1] in ran.stdout


@pytest.mark.model
def test_wheel_writes_a_story(installed: Path) -> None:
    """An installation finds its own pair and writes with it."""
    ran = baco(installed, "run", "--seed", "1", "--n-predict", "12", "Tell me a story about a fox.")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()


def test_sdist_holds_the_house(dist: Path) -> None:
    """Whoever unpacks the sdist can run the gate: sources, tests, scripts, texts and the pair, and nothing else."""
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    wanted = {"README.md", "LICENSE", "scripts/test", ".ci/run", "models/tales/base.gguf", "models/tales/aligned.gguf"}
    wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")}
    assert wanted <= names
    top = {name.partition("/")[0] for name in names if "/" in name}
    assert top == {".ci", "baco_local", "cli", "docs", "models", "scripts", "tests"}
    assert {name.split("/")[1] for name in names if name.startswith("models/")} <= {
        "README.md",
        "catalog.toml",
        "tales",
    }
