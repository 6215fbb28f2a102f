"""``baco batch`` with the bundled pair: rows in, rows out, on the next run, too."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest

from baco_cli.batch import side_by_side
from baco_cli.console import Screen
from baco_local.errors import MemoryPlanError

pytestmark = pytest.mark.model

PROMPTS = "Tell me a story about a fox.\nTell me a story about rain.\n"


@pytest.fixture
def prompts(tmp_path):
    """Return a file with two prompts."""
    path = tmp_path / "prompts.txt"
    path.write_text(PROMPTS)
    return str(path)


def objects(path) -> list[dict]:
    """Return the rows of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_rows_go_to_the_file_and_words_to_stderr(invoke, prompts, tmp_path):
    """Stdout stays empty; a second run has nothing to do, says so, and loads no pair."""
    path = tmp_path / "out.jsonl"
    done = invoke("batch", prompts, "-o", str(path), "-N", "2", "-n", "20")
    assert (done.exit_code, done.stdout) == (0, "")
    assert re.search(r"out\.jsonl: 4 of 4 answers · \d+ tokens in 0:\d\d · \d+ tok/s · base \d+ %", done.stderr)
    assert len(objects(path)) == 4
    again = invoke("batch", prompts, "-o", str(path), "-N", "2", "-n", "20")
    assert again.exit_code == 0
    assert "nothing is left to do" in again.stderr
    assert "pair: tales" not in again.stderr


def test_a_row_can_be_made_again_by_run(invoke, prompts, tmp_path):
    """The seed in a row is all that run needs for the same text."""
    path = tmp_path / "out.jsonl"
    invoke("batch", prompts, "-o", str(path), "-n", "12", "-d", "7", "--flat", "-s", "5")
    row = objects(path)[0]
    again = invoke("run", row["prompt"], "-n", "12", "-d", "7", "-s", str(row["seed"]))
    assert again.stdout.split()[:5] == row["text"].split()[:5]  # batches of other shapes differ in the last bits


def test_workers_change_no_row(invoke, prompts, tmp_path):
    """Two pairs side by side write the rows that one writes; the manifest says how many there were."""
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for n, path in enumerate(files, start=1):
        done = invoke(
            "batch", prompts, "-o", str(path), "-N", "3", "-n", "25", "-s", "1", "--flat", "--workers", str(n)
        )
        assert done.exit_code == 0
        assert ("2 workers" in done.stderr) == (n == 2)
        assert json.loads(path.with_name(f"{path.stem}.meta.json").read_text())["workers"] == n
    one, two = ({(row["id"], row["sample"]): row["text"] for row in objects(path)} for path in files)
    assert len(one) == 6
    assert one == two


def test_without_an_output_rows_go_to_stdout(invoke, prompts):
    """Each line of stdout is a row."""
    done = invoke("batch", prompts, "-n", "5", "--flat")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["prompt"] for row in rows} == set(PROMPTS.splitlines())
    assert "with -o FILE a run that was stopped can go on" in done.stderr


def test_a_shard_without_a_row_has_nothing_to_do(invoke, tmp_path):
    """It says so, with or without an output file."""
    (tmp_path / "one.txt").write_text("Tell me a story about a fox.\n")
    for output in ((), ("-o", str(tmp_path / "out.jsonl"))):
        done = invoke("batch", str(tmp_path / "one.txt"), "--shard", "2/2", *output)
        assert (done.exit_code, done.stdout) == (0, "")
    assert "nothing is left to do" in invoke("batch", str(tmp_path / "one.txt"), "--shard", "2/2").stderr


def test_workers_need_equal_contexts():
    """Where memory runs short, fewer are loaded; where so many were asked for, that is an error."""
    sizes = [1024, 1024, 512]
    screen = Screen.open(quiet=True)

    def load(*_):
        return SimpleNamespace(n_ctx=left.pop(0))

    left = list(sizes)
    assert len(side_by_side(load, 3, screen, asked_for=False)) == 2
    left = list(sizes)
    with pytest.raises(MemoryPlanError, match="worker 3 has room for 512"):
        side_by_side(load, 3, screen, asked_for=True)


def test_prompts_may_come_through_a_pipe(invoke):
    """Stdin is read where no file or a dash is named; its first line decides the form."""
    for source in ((), ("-",)):
        done = invoke("batch", *source, "-n", "3", "--flat", stdin='{"prompt": "A fox.", "id": "x"}\n')
        assert json.loads(done.stdout)["id"] == "x"


def test_the_manifest_says_what_made_the_rows(invoke, prompts, tmp_path):
    """Models, settings, input, versions, machine and runs stand beside the output."""
    path = tmp_path / "out.jsonl"
    invoke("batch", prompts, "-o", str(path), "-n", "5", "-s", "3", "--temp", "0.7", "-sys", "Be brief.")
    manifest = json.loads((tmp_path / "out.meta.json").read_text(encoding="utf-8"))
    made_with = manifest["made_with"]
    assert all(re.fullmatch("[0-9a-f]{64}", made_with["models"][role]) for role in ("base", "aligned"))
    assert (made_with["seed"], made_with["system"], made_with["base"]["temperature"]) == (3, "Be brief.", 0.7)
    assert (manifest["pair"], manifest["input"]["rows"], manifest["shard"]) == ("tales", 2, "1/1")
    assert {"versions", "hardware", "calibration", "models"} <= manifest.keys()
    assert manifest["runs"][0]["status"] == "done"
    assert objects(path)[0]["response"]["body"]["choices"][0]["baco"]["settings"] == manifest["settings_hash"]


def test_other_settings_are_refused_by_name(invoke, prompts, tmp_path):
    """Both values are shown, the file is left alone, and what only concerns speed may change."""
    path = tmp_path / "out.jsonl"
    invoke("batch", prompts, "-o", str(path), "-n", "5", "--shard", "1/2")
    before = path.read_bytes()
    done = invoke("batch", prompts, "-o", str(path), "-n", "5", "--temp", "0.5")
    assert done.exit_code == 2
    assert "base.temperature: 0.8 there, 0.5 now" in done.stderr
    assert path.read_bytes() == before
    assert invoke("batch", prompts, "-o", str(path), "-n", "5", "-np", "1", "-c", "512").exit_code == 0
    assert len(objects(path)) == 2
    assert invoke("batch", prompts, "-o", str(path), "-n", "5", "--temp", "0.5", "--mix-settings").exit_code == 0


def test_a_random_seed_is_kept(invoke, prompts, tmp_path):
    """-s -1 picks a seed for a new output, and a later run of the same command takes it up."""
    path = tmp_path / "out.jsonl"
    call = ("batch", prompts, "-o", str(path), "-n", "5", "-s", "-1", "--json")
    first = json.loads(invoke(*call, "--shard", "1/2").stdout)
    second = json.loads(invoke(*call).stdout)
    assert first["seed"] == second["seed"]
    assert (first["written"], second["written"], second["missing"]) == (1, 1, 0)


def test_a_row_that_cannot_be_answered(invoke, tmp_path):
    """A prompt beyond the context fails alone; the exit code and the summary say so, and --retry-errors tries again."""
    source, path = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [{"id": "long", "prompt": "a fox and " * 600}, {"id": "short", "prompt": "A fox."}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = invoke("batch", str(source), "-o", str(path), "-n", "5", "--json")
    assert done.exit_code == 1
    assert "--retry-errors" in done.stderr
    assert json.loads(done.stdout)["failed"] == 1
    by_id = {row["custom_id"]: row for row in objects(path)}
    assert by_id["long"]["error"]["code"] == "PromptTooLongError"
    assert by_id["short"]["error"] is None
    again = invoke("batch", str(source), "-o", str(path), "-n", "5", "--retry-errors")
    assert again.exit_code == 1
    assert len(objects(path)) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--format", "xml"), "openai, flat, noveltybench"),
        (("--flat", "--format", "openai"), "exclude each other"),
        (("--shard", "3/2"), "shards 1/2 to 2/2"),
        (("--router", "nobody"), "nobody"),
        (("--ray", "--workers", "2"), "--ray-workers"),
        (("-m", "nobody"), "no pair is called"),
    ],
)
def test_wrong_wishes_are_refused_before_anything_is_made(invoke, prompts, tmp_path, arguments, words):
    """An option that cannot be obeyed leaves no file behind."""
    done = invoke("batch", prompts, "-o", str(tmp_path / "out.jsonl"), *arguments)
    assert done.exit_code in {2, 5}
    assert words in done.stderr
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["prompts.txt"]


def test_bad_rows_stop_everything(invoke, tmp_path):
    """All of them are listed with their lines, and no output is made."""
    source = tmp_path / "in.jsonl"
    source.write_text('{"prompt": "good"}\nbad\n{"prompt": 3}\n')
    done = invoke("batch", str(source), "-o", str(tmp_path / "out.jsonl"))
    assert done.exit_code == 2
    assert "line 2: not JSON" in done.stderr
    assert "line 3: the prompt is not a text" in done.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_the_input_is_never_written_over(invoke, prompts, tmp_path):
    """Neither rows nor the manifest go to the file that is read."""
    other = tmp_path / "in.meta.json"
    other.write_text('{"prompt": "A fox."}\n')
    for source, target in ((prompts, prompts), (str(other), str(tmp_path / "in.jsonl"))):
        done = invoke("batch", source, "-o", target)
        assert done.exit_code == 2
        assert "also read" in done.stderr


def test_a_dry_run_writes_nothing(invoke, prompts, tmp_path):
    """It counts what is wanted, after everything was checked."""
    done = invoke("batch", prompts, "-o", str(tmp_path / "out.jsonl"), "-N", "5", "--dry-run")
    assert done.exit_code == 0
    assert "2 rows, 10 answers wanted" in done.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_fields_that_do_nothing_are_named(invoke, tmp_path):
    """Nobody believes for a night that a misspelt field was obeyed."""
    source = tmp_path / "in.jsonl"
    source.write_text('{"prompt": "A fox.", "temprature": 2}\n')
    assert "fields that do nothing here: temprature" in invoke("batch", str(source), "--dry-run").stderr
