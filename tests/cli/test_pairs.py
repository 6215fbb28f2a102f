"""``baco pairs``: names for pairs, and the check of two files."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from baco_cli.pairs import card_lines
from synthetic_gguf import Shape, write_pair


def test_the_bundled_pair_is_listed(invoke):
    """``baco pairs`` and ``baco pairs list`` name the bundled pair, on stdout."""
    for args in (("pairs",), ("pairs", "list")):
        done = invoke(*args)
        assert done.exit_code == 0
        assert "tales" in done.stdout


def test_the_list_speaks_json(invoke):
    """--json prints one object per pair."""
    records = [json.loads(line) for line in invoke("pairs", "list", "--json").stdout.splitlines()]
    assert records[0]["name"] == "tales"
    assert records[0]["base"].endswith("base.gguf")


def test_an_unknown_pair_is_named(invoke):
    """A wrong name leaves with 5 and says which are known."""
    done = invoke("pairs", "show", "talse")
    assert done.exit_code == 5
    assert "did you mean 'tales'" in done.stderr


def test_one_file_is_no_pair(invoke, tmp_path):
    """A check of a single file asks for the other."""
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    done = invoke("pairs", "check", str(tmp_path / "a.gguf"))
    assert done.exit_code == 2
    assert "a check needs two files" in done.stderr


@pytest.mark.model
def test_the_bundled_pair_passes_its_check(invoke):
    """The check of a name says what both files are, and that they can be paired."""
    done = invoke("pairs", "check", "tales")
    assert done.exit_code == 0
    assert "✔ these models can be paired" in done.stdout
    assert "chat template" in done.stdout


@pytest.mark.model
def test_the_card_is_shown(invoke):
    """``pairs show`` prints paths and the card, in words or as JSON."""
    assert "base.gguf" in invoke("pairs", "show", "tales").stdout
    record = json.loads(invoke("pairs", "show", "tales", "--json").stdout)
    assert record["name"] == "tales"
    assert isinstance(record["card"], dict)


def test_a_card_is_told_in_lines():
    """Nested values come after the names that lead to them, records in a line each, long lists as their number."""
    card = {"a": 1, "b": {"c": {"d": 2.5, "e": "x"}, "f": [0] * 99}, "g": [{"h": "one", "i": 2}, {"h": 3}]}
    assert list(card_lines(card)) == ["a 1", "b c: d 2.5 · e x", "b f: 99 values", "g: one · 2", "g: h 3"]
    assert list(card_lines("words")) == ["words"]
    assert list(card_lines([1, 2])) == ["1, 2"]


@pytest.mark.model
def test_an_added_pair_goes_by_its_name(invoke, clean_env, tales):
    """``pairs add`` writes the user's own list, and the new name works at once; a second time it is refused."""
    call = ("pairs", "add", "mine", "-B", str(tales / "base.gguf"), "-A", str(tales / "aligned.gguf"))
    assert invoke(*call).exit_code == 0
    (written,) = Path(clean_env["XDG_CONFIG_HOME"]).rglob("pairs.toml")
    assert tomllib.loads(written.read_text())["mine"]["base"] == str(tales / "base.gguf")
    done = invoke("run", "Tell me a story.", "-m", "mine", "-n", "3", "-d", "0", "--json")
    assert json.loads(done.stdout)["pair"] == "mine"
    assert invoke(*call).exit_code == 2
    card = json.loads(invoke("pairs", "show", "mine", "--json").stdout)["card"]
    assert card == {"name": "mine"}  # where calibrate and tune can keep what they find


def test_two_vocabularies_fail_the_check(invoke, shared_data):
    """Models that cannot be paired leave with 3, the first differences are printed, and JSON says the same."""
    files = [str(shared_data / "models" / name) for name in ("stories260K.gguf", "aidreams260K.gguf")]
    done = invoke("pairs", "check", *files)
    assert done.exit_code == 3
    assert "✘ these models cannot be paired" in done.stdout
    assert "id " in done.stdout
    told = [line for line in done.stdout.splitlines() if line.startswith("    ")]
    assert len(told) == len(set(told))
    record = json.loads(invoke("pairs", "check", *files, "--json").stdout)
    assert record["verdict"] == "refused"
    assert record["agreement"]["n_differences"] > 0


def test_a_pair_that_is_none_is_not_added(invoke, shared_data):
    """``pairs add`` checks first."""
    models = shared_data / "models"
    done = invoke("pairs", "add", "x", "-B", str(models / "stories260K.gguf"), "-A", str(models / "aidreams260K.gguf"))
    assert done.exit_code == 3
    assert "x" not in invoke("pairs", "list").stdout.split()


@pytest.mark.model
def test_a_dial_is_measured_into_the_card(invoke, tmp_path):
    """``pairs calibrate`` adds what it measured to the card, and leaves the rest of the card alone."""
    write_pair(tmp_path, Shape(layers=1, width=32, heads=2, kv_heads=1, ffn=64, vocab=300, context=512))
    (tmp_path / "card.json").write_text('{"name": "mine", "licence": "ours"}', "utf-8")
    listed = tmp_path / "config" / "baco" / "pairs.toml"
    listed.parent.mkdir(parents=True)
    files = {name: str(tmp_path / name) for name in ("base.gguf", "aligned.gguf", "card.json")}
    listed.write_text(
        f'[mine]\nbase = "{files["base.gguf"]}"\naligned = "{files["aligned.gguf"]}"\ncard = "{files["card.json"]}"\n',
        "utf-8",
    )
    done = invoke("pairs", "calibrate", "mine")
    assert done.exit_code == 0
    card = json.loads((tmp_path / "card.json").read_text("utf-8"))
    assert card["licence"] == "ours"
    assert card["calibration"]["n_positions"] > 0
    assert "word starts measured" in done.stderr


def test_a_pair_without_a_card_is_not_calibrated(invoke, tmp_path):
    """There is nowhere to write, and the message says what happens instead."""
    listed = tmp_path / "config" / "baco" / "pairs.toml"
    listed.parent.mkdir(parents=True)
    listed.write_text('[bare]\nbase = "b.gguf"\naligned = "a.gguf"\n', "utf-8")
    done = invoke("pairs", "calibrate", "bare")
    assert done.exit_code == 2
    assert "has no card" in done.stderr


@pytest.mark.parametrize("text", [None, "\n \n"])
def test_prompts_that_are_not_there_are_refused(invoke, tmp_path, text):
    """A missing file of prompts, or one without a prompt, is one clear error before anything is loaded."""
    if text is not None:
        (tmp_path / "prompts.txt").write_text(text, "utf-8")
    done = invoke("pairs", "calibrate", "tales", "-f", str(tmp_path / "prompts.txt"))
    assert done.exit_code == 2
    assert "--file" in done.stderr
    assert "Traceback" not in done.stderr
