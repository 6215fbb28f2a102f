"""The two commands of the README, as far as they go without a network: what starts, what is refused, what is said."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STUDY = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$CALLS"
mkdir -p "$WORK/answers" && touch "$WORK/manifest.json"
case $* in
report*) echo scored >>"$WORK/scores.jsonl" ;;
*"--shard $HANGS"/*) trap 'exit 130' INT; touch "$WORK/hangs"; for ((i = 0; i < 300; i++)); do sleep 0.1; done ;;
*"--shard $FAILS"/*) exit 3 ;;
*) for one in p.1 p.2 p-punc.1 p-punc.2; do echo "$1" >>"$WORK/answers/$one.jsonl"; done ;;
esac
"""
TOOLS = ("bash", "cat", "dirname", "env", "flock", "head", "mkdir", "rm", "sleep")
PROGRAM = """#!/usr/bin/env bash
printf '%s\\n' "$@"
cat
exit 7
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout without ``.venv``, in a folder with a space in its name."""
    folder = tmp_path / "a b"
    (folder / "scripts").mkdir(parents=True)
    for name in ("baco", "test", "setup.sh"):
        shutil.copy(ROOT / "scripts" / name, folder / "scripts" / name)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def set_up(checkout: Path, *, stamp: str | None = None) -> None:
    """Pretend a finished set-up whose program shows its arguments and its input."""
    (checkout / ".venv" / "bin").mkdir(parents=True)
    for name in ("baco", "python"):
        program = checkout / ".venv" / "bin" / name
        program.write_text(PROGRAM, encoding="utf-8")
        program.chmod(0o755)
    asked = (checkout / "pyproject.toml").read_text("utf-8")
    (checkout / ".venv" / "ready-run").write_text(f"{checkout}\n{asked}" if stamp is None else stamp, encoding="utf-8")


def start(checkout: Path, *arguments: str, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    """Run ``scripts/baco`` from another folder, with something on its standard input."""
    bash = shutil.which("bash")
    assert bash
    return subprocess.run(
        [bash, str(checkout / "scripts" / "baco"), *arguments],
        input="piped",
        cwd=checkout.parent,
        env={"PATH": path, "HOME": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """Return a folder to be the whole PATH: the tools that every system has, and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        if found := shutil.which(tool):
            (folder / tool).symlink_to(found)
    return folder


def test_baco_hands_everything_over(checkout: Path) -> None:
    """Once set up, arguments, input and exit code are those of the program, and the script says nothing."""
    set_up(checkout)
    ran = start(checkout, "run", "-d", "7", "two words", "")
    assert (ran.stdout, ran.stderr, ran.returncode) == ("run\n-d\n7\ntwo words\n\npiped", "", 7)


def test_a_missing_python_is_named(checkout: Path, bare_path: Path) -> None:
    """Without a Python the script says which one it wants, and leaves nothing behind."""
    ran = start(checkout, "run", path=str(bare_path))
    assert ran.returncode == 1
    assert "no Python 3.11 or newer" in ran.stderr
    assert ran.stdout == ""
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize(
    ("body", "said"), [("exit 1", "no Python 3.11"), ("[[ $2 != *venv* ]]", "lacks its modules venv")]
)
def test_an_unfit_python_is_named(checkout: Path, bare_path: Path, body: str, said: str) -> None:
    """A Python that is too old, or has no venv module, is not used."""
    python = bare_path / "python3.12"
    python.write_text(f"#!/usr/bin/env bash\n{body}\n", encoding="utf-8")
    python.chmod(0o755)
    ran = start(checkout, "run", path=str(bare_path))
    assert ran.returncode == 1
    assert said in ran.stderr


def test_a_foreign_environment_is_left_alone(checkout: Path) -> None:
    """A ``.venv`` that somebody else made is neither used nor removed."""
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "mine").touch()
    ran = start(checkout, "run")
    assert ran.returncode == 1
    assert "was not made by this script" in ran.stderr
    assert (checkout / ".venv" / "mine").exists()


@pytest.mark.parametrize("stamp", ["/elsewhere\n", ""])
def test_a_stale_environment_is_not_started(checkout: Path, bare_path: Path, stamp: str) -> None:
    """Moved with its checkout, or half made: an environment without a true stamp is begun anew."""
    set_up(checkout, stamp=stamp)
    (checkout / ".venv" / "setup.log").touch()
    ran = start(checkout, "run", path=str(bare_path))
    assert ran.returncode == 1
    assert "no Python 3.11" in ran.stderr


def reproduce(tmp_path: Path, *arguments: str, **env: str) -> subprocess.Popen[str]:
    """Start the study with a program that notes how it is called."""
    tmp_path.mkdir(exist_ok=True)
    program = tmp_path / "program"
    program.write_text(STUDY, encoding="utf-8")
    program.chmod(0o755)
    work, to = tmp_path / "my work", tmp_path / "to"
    to.mkdir()
    own = {"BACO": str(program), "CALLS": str(tmp_path / "calls"), "WORK": str(work), "HANGS": "none", "FAILS": "none"}
    bash = shutil.which("bash")
    assert bash
    return subprocess.Popen(
        [bash, str(ROOT / "scripts" / "reproduce_tales.sh"), "--work", str(work), "--to", str(to), *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)} | own | env,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_signals,
    )


def heed_signals() -> None:
    """Undo what a start in the background or ``nohup`` hands down: signals that are ignored cannot be trapped."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def calls(tmp_path: Path) -> list[str]:
    """Return the subcommands in order, with the shard of each."""
    lines = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    return [line.split()[0] + (f" {line.split('--shard ')[1]}" if "--shard" in line else "") for line in lines]


def test_the_study_runs_in_several_processes(tmp_path: Path) -> None:
    """Every process has a shard and one thread; a sweep of what is missing and the report follow them."""
    process = reproduce(tmp_path, "--processes", "3")
    process.communicate(timeout=60)
    assert process.returncode == 0
    said = calls(tmp_path)
    assert sorted(said[:3]) == ["sweep 1/3", "sweep 2/3", "sweep 3/3"]
    assert said[3:] == ["sweep", "report"]
    assert (tmp_path / "calls").read_text().count("--threads 1 ") == 3
    assert (tmp_path / "to" / "manifest.json").exists()


def test_a_study_can_be_taken_up_from_what_was_published(tmp_path: Path) -> None:
    """Answers are packed by method, scores and manifest beside them; another machine goes on from these."""
    reproduce(tmp_path, "--processes", "1").communicate(timeout=60)
    evidence = tmp_path / "to"
    assert {path.name for path in (evidence / "answers").iterdir()} == {"p.tar.xz", "p-punc.tar.xz"}
    other = tmp_path / "other machine"
    other.mkdir()
    reproduce(other, "--processes", "1", "--from", str(evidence)).communicate(timeout=60)
    work = other / "my work"
    assert [(work / "answers" / name).read_text() for name in ("p.2.jsonl", "p-punc.1.jsonl")] == ["sweep\nsweep\n"] * 2
    assert (work / "scores.jsonl").read_text() == "scored\nscored\n"
    again = reproduce(tmp_path / "third", "--work", str(work), "--from", str(evidence))
    assert "holds a study already" in again.communicate(timeout=60)[1]
    assert again.returncode == 1


def test_one_process_needs_no_shards(tmp_path: Path) -> None:
    """With one process the study is one sweep and its report."""
    reproduce(tmp_path, "--processes", "1", "--mini").communicate(timeout=60)
    assert calls(tmp_path) == ["sweep", "report"]


def test_a_shard_that_fails_ends_the_study(tmp_path: Path) -> None:
    """The others finish what they do, no report is made, and the exit code is that of the failure."""
    process = reproduce(tmp_path, "--processes", "2", FAILS="1")
    process.communicate(timeout=60)
    assert process.returncode == 3
    assert sorted(calls(tmp_path)) == ["sweep 1/2", "sweep 2/2"]


def test_an_interrupted_study_interrupts_its_shards(tmp_path: Path) -> None:
    """Told to end, the script passes that on to each process, waits for it, and makes no report."""
    process = reproduce(tmp_path, "--processes", "2", HANGS="2")
    for _ in range(600):
        if (tmp_path / "my work" / "hangs").exists():
            break
        time.sleep(0.05)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert sorted(calls(tmp_path)) == ["sweep 1/2", "sweep 2/2"]
