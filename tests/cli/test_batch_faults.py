"""What may happen to ``baco batch`` at night: Ctrl-C, a full disk, readers who leave, a second process."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import time

import pytest

from baco_cli.batch import Progress
from baco_cli.console import Screen
from baco_cli.progress import progress_words
from baco_local.batch.worker import Figures
from baco_local.types import Role
from scripted_batches import lines

ROWS = "".join(f"Tell me a story about {noun}.\n" for noun in ("a fox", "rain", "a boat", "bread", "a bear", "snow"))


@pytest.fixture
def call(tmp_path, start):
    """Return a command whose two workers write 18 answers, each one at a time, and that takes some seconds."""
    (tmp_path / "prompts.txt").write_text(ROWS)
    options = ["-N", "3", "-n", "80", "--ignore-eos", "-np", "1", "--workers", "2"]
    return [*start, "batch", str(tmp_path / "prompts.txt"), "-o", str(tmp_path / "out.jsonl"), *options]


def running(call, clean_env, path, n_lines=2, **more):
    """Start a command and wait until some rows are there."""
    process = subprocess.Popen(
        call, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_env, **more
    )
    deadline_s = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline_s:
        if path.exists() and path.read_bytes().count(b"\n") >= n_lines:
            return process
        time.sleep(0.02)
    raise AssertionError(process.communicate())


@pytest.mark.model
def test_ctrl_c_keeps_rows_whole_and_the_next_run_goes_on(clean_env, call, tmp_path):
    """The exit code is 130, every line is a row, a second process was refused meanwhile, and the rest comes later."""
    path = tmp_path / "out.jsonl"
    with running(call, clean_env, path) as process:
        second = subprocess.run(call, env=clean_env, capture_output=True, stdin=subprocess.DEVNULL, check=False)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert second.returncode == 1
    assert b"another process is writing" in second.stderr
    assert process.returncode == 130, said
    assert b"the same command goes on from here" in said
    assert b"Traceback" not in said
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert 2 <= len(rows) < 18
    assert json.loads((tmp_path / "out.meta.json").read_bytes())["runs"][0]["status"] == "interrupted"
    done = subprocess.run(call, env=clean_env, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stderr
    assert f"has {len(rows)} of 18 answers; going on".encode() in done.stderr
    ids = [(row["custom_id"], row["response"]["body"]["choices"][0]["index"]) for row in map(json.loads, lines(path))]
    assert len(ids) == len(set(ids)) == 18


@pytest.mark.model
def test_a_full_disk_ends_the_run_in_words(clean_env, call, tmp_path):
    """Rows that fit are whole, the exit code is 1, and the same command goes on when there is room."""
    path = tmp_path / "out.jsonl"
    for allowed in (1000, 10_000):  # too little for the manifest, and for the rows
        done = subprocess.run(
            [*call, "-n", "20"],
            env=clean_env,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=False,
            preexec_fn=lambda limit=allowed: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )
        assert done.returncode == 1, done.stderr
        assert b"make room and run the same command again" in b" ".join(done.stderr.split())
        assert b"Traceback" not in done.stderr
    n_rows = len([json.loads(line) for line in path.read_bytes().splitlines()])
    assert 0 < n_rows < 18
    assert path.read_bytes().endswith(b"\n")
    again = subprocess.run(
        [*call, "-n", "20"], env=clean_env, capture_output=True, stdin=subprocess.DEVNULL, check=False
    )
    assert again.returncode == 0, again.stderr
    assert len(lines(path)) == 18


@pytest.mark.model
def test_nobody_needs_to_watch(clean_env, call, tmp_path):
    """The work is done although nobody ever reads stderr; a reader who closes stdout ends it quietly."""
    path = tmp_path / "out.jsonl"
    with subprocess.Popen(
        [*call, "-n", "20"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=clean_env
    ) as process:
        process.stderr.close()
        assert process.wait(timeout=60) == 0
    assert len(lines(path)) == 18
    to_stdout = [word for word in call if word not in {"-o", str(path)}]
    with subprocess.Popen(
        to_stdout, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_env
    ) as process:
        assert json.loads(process.stdout.readline())
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(timeout=60) == 0
    assert b"Traceback" not in said


def test_progress_in_words():
    """The line says how far, how fast for each model, whose words, how much longer, and what went wrong."""
    figures = Figures(n_tokens=1000, n_base=310, n_decoded={Role.BASE: 900, Role.ALIGNED: 1000})
    words = progress_words(37, 100, figures, n_now=20, n_failed=1, elapsed_s=10.0)
    assert words == "37/100 · base 90 tok/s, aligned 100 tok/s · base 31 % · 0:32 left · 1 error"
    early = progress_words(0, 100, Figures(), n_now=0, n_failed=0, elapsed_s=0.0)
    assert early == "0/100 · base 0 tok/s, aligned 0 tok/s · base 0 %"


def test_progress_is_rare_where_nobody_watches(capsys):
    """Off a terminal nothing is said before a minute is over."""
    progress = Progress(Screen.open(), 10, 0, calm=False)
    progress(None, lambda: pytest.fail("nothing is to be counted"))
    assert capsys.readouterr().err == ""
