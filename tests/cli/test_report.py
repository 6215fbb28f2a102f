"""``baco report`` of a small run of the bundled pair: page, tables, pictures, and what is refused."""

from __future__ import annotations

import csv
import json

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a place for one run, which all tests here read."""
    return tmp_path_factory.mktemp("study") / "run"


@pytest.fixture
def run(invoke, folder):
    """Return the folder of a small run."""
    if not folder.exists():
        prompts = folder.parent / "prompts.txt"
        prompts.write_text("Tell me a story about a fox.\nTell me a story about rain.\n")
        methods = ("--methods", "p-punc,aligned,base", "--points", "2", "-N", "3", "-n", "24")
        assert invoke("sweep", "-f", str(prompts), *methods, "-o", str(folder)).exit_code == 0
    return folder


@pytest.mark.model
def test_a_page_is_made(invoke, run):
    """The page goes into the folder, the standings to stdout, and where it lies to stderr."""
    done = invoke("report", str(run))
    assert done.exit_code == 0
    assert "p-punc" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert (run / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "report.html" in done.stderr.replace("\n", "")


@pytest.mark.model
@pytest.mark.slow
def test_papers_get_tables_and_pictures(invoke, run, tmp_path):
    """Markdown, CSV and pictures are written where they are wanted; --json prints the standings as one object."""
    pytest.importorskip("matplotlib", reason="needs matplotlib (extra analysis)")
    wanted = ("--markdown", "t.md", "--csv", "p.csv", "--figures", "figures", "-o", "page.html")
    args = [str(tmp_path / arg) if not arg.startswith("-") else arg for arg in wanted]
    done = invoke("report", str(run), *args, "--json", "--bootstrap", "200")
    record = json.loads(done.stdout)
    assert set(record["matched"]["methods"]) == {"p-punc", "aligned", "base"}
    assert sum(one["dominance"]["overall"][0] for one in record["matched"]["methods"].values()) == pytest.approx(1)
    assert "| p-punc |" in (tmp_path / "t.md").read_text(encoding="utf-8")
    with (tmp_path / "p.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 6
    names = {"plane.png", "plane.svg", "coverage.png", "coverage.svg"}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == names
    assert not (run / "page.html").exists()


@pytest.mark.model
def test_a_judge_adds_an_axis(invoke, run, shared_data):
    """With a judge, bits per byte stand beside what can be checked."""
    judge = shared_data / "models" / "stories260K.gguf"
    record = json.loads(invoke("report", str(run), "--judge", str(judge), "--json", "--bootstrap", "100").stdout)
    assert record["quality"] == ["constraints", "judge_bits"]
    assert "stories260K" in record["helpers"]["Quality"]


def test_a_folder_without_a_run_is_refused(invoke, tmp_path):
    """Where nothing was swept, the message says how to."""
    done = invoke("report", str(tmp_path))
    assert done.exit_code == 2
    assert "baco sweep" in done.stderr
