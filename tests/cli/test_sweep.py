"""``baco sweep`` with the bundled pair: points in files, killed and gone on with, and what is refused at once."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest

PROMPTS = "Tell me a story about a fox.\nTell me a story about rain.\n"
SMALL = ("--methods", "p-punc,aligned", "--points", "2", "-N", "2", "-n", "16")


@pytest.fixture
def prompts(tmp_path):
    """Return a file with two prompts."""
    path = tmp_path / "prompts.txt"
    path.write_text(PROMPTS)
    return str(path)


def lines(folder) -> dict[str, list[str]]:
    """Return the lines of every point, sorted, without what they cost."""
    found = {}
    for path in sorted((folder / "answers").iterdir()):
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        found[path.name] = sorted(json.dumps({**record, "cost": None}) for record in records)
    return found


@pytest.mark.model
def test_a_sweep_fills_a_folder(invoke, prompts, tmp_path):
    """Every point is a file, the manifest says what made it, stdout stays empty, and --json sums it up."""
    folder = tmp_path / "run"
    done = invoke("sweep", "-f", prompts, *SMALL, "-o", str(folder))
    assert (done.exit_code, done.stdout) == (0, "")
    assert "2 methods x 2 points x 2 prompts x 2 samples = 16 answers" in done.stderr
    assert "16 of 16 answers" in done.stderr
    assert f"baco report {folder}" in done.stderr.replace("\n", "")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert set(manifest["made_with"]["models"]) == {"base", "aligned"}
    assert manifest["pair"] == "tales"
    assert str(tmp_path) not in json.dumps(manifest)
    again = json.loads(invoke("sweep", "-f", prompts, *SMALL, "-o", str(folder), "--json").stdout)
    assert (again["answers"], again["written"], again["tokens"]) == (16, 16, 0)


@pytest.mark.model
@pytest.mark.slow
def test_a_killed_sweep_goes_on(invoke, prompts, tmp_path, start, clean_env):
    """Killed at some moments without warning, and run again, a sweep ends with the lines of an undisturbed one."""
    wanted = ["sweep", "-f", prompts, *SMALL, "-o"]
    assert invoke(*wanted, str(tmp_path / "whole")).exit_code == 0
    folder = tmp_path / "killed"
    for wait_s in (0.2, 0.7):
        with subprocess.Popen(
            [*start, *wanted, str(folder)], env=clean_env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            for _ in range(200):
                if (folder / "answers").exists() or process.poll() is not None:
                    break
                time.sleep(0.05)
            time.sleep(wait_s)
            process.send_signal(signal.SIGKILL)
    assert invoke(*wanted, str(folder)).exit_code == 0
    assert lines(folder) == lines(tmp_path / "whole")


@pytest.mark.model
@pytest.mark.slow
def test_two_processes_share_a_sweep(invoke, prompts, tmp_path, start, clean_env):
    """Two shards at the same time in one folder lose nothing and double nothing, and leave no work to a third run."""
    (tmp_path / "held_out.txt").write_text("Tell me a story about a bird.\nTell me a story about the sea.\n")
    wanted = ["sweep", "-f", prompts, "--methods", "p-punc,rand,aligned,soft-unsure", *SMALL[2:]]
    wanted += ["--held-out", str(tmp_path / "held_out.txt"), "-o"]
    folder = tmp_path / "shared"
    both = [
        subprocess.Popen(
            [*start, *wanted, str(folder), "--shard", shard], env=clean_env, stderr=subprocess.PIPE, encoding="utf-8"
        )
        for shard in ("1/2", "2/2")
    ]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert all("16 of 16 answers" in words for words in said)
    before = lines(folder)
    assert len(before) == 8
    assert all(len({json.loads(line)["id"] for line in point}) == len(point) == 2 for point in before.values())
    last = json.loads(invoke(*wanted, str(folder), "--json").stdout)
    assert (last["answers"], last["written"], last["tokens"]) == (32, 32, 0)
    assert lines(folder) == before
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert sorted(manifest["matched"]["rand"]) == ["1", "2"]
    assert sorted(run.get("shard", "") for run in manifest["runs"]) == ["", "1/2", "2/2"]
    assert all(run["answers"] == (16 if "shard" in run else 0) for run in manifest["runs"])


@pytest.mark.model
def test_a_folder_of_other_settings_is_refused(invoke, prompts, tmp_path):
    """The message sets both values side by side, and nothing is written."""
    folder = tmp_path / "run"
    assert invoke("sweep", "-f", prompts, "--methods", "aligned", *SMALL[2:], "-o", str(folder)).exit_code == 0
    before = lines(folder)
    done = invoke("sweep", "-f", prompts, "--methods", "aligned", *SMALL[2:], "-s", "7", "-o", str(folder))
    assert done.exit_code == 2
    assert "seed: 0 there, 7 now" in done.stderr
    assert lines(folder) == before


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "a sweep needs prompts"),
        (("-f", "{prompts}"), "a sweep needs a folder"),
        (("-f", "{prompts}", "--methods", "p-punk", "-o", "x"), "did you mean 'p-punc'"),
        (("-f", "none.txt", "-o", "x"), "cannot be read"),
        (("none.toml", "-o", "x"), "cannot be read"),
        (("-f", "{prompts}", "--points", "10", "-o", "x"), "1 to 9"),
        (("-f", "{prompts}", "--shard", "3/2", "-o", "x"), "there are shards 1/2 to 2/2"),
    ],
)
def test_what_is_missing_is_asked_for(invoke, prompts, args, words):
    """A call that cannot be carried out leaves with 2 and a hint, before a model is loaded."""
    done = invoke("sweep", *(arg.format(prompts=prompts) for arg in args))
    assert done.exit_code == 2
    assert words in done.stderr


def test_a_dry_run_counts(invoke, prompts, tmp_path):
    """--dry-run says how much would be written, and writes nothing."""
    done = invoke("sweep", "-f", prompts, "--dry-run", "-o", str(tmp_path / "run"))
    assert done.exit_code == 0
    assert "9 points x 2 prompts x 10 samples" in done.stderr
    assert not (tmp_path / "run").exists()


def test_methods_are_listed(invoke):
    """--list names every method with its family; --json prints one object per method."""
    assert "both models in turn" in invoke("sweep", "--list").stdout
    records = [json.loads(line) for line in invoke("sweep", "--list", "--json").stdout.splitlines()]
    assert {"p-punc", "rand", "verbalized", "front-loaded"} <= {record["name"] for record in records}
