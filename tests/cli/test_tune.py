"""``baco tune``: a wish becomes a place of the dial, kept in the card of the pair."""

from __future__ import annotations

import json
import shutil

import pytest

QUICK = ("-n", "24")


@pytest.fixture
def named(tales, tmp_path):
    """Return the card of a copy of the bundled pair that is called ``mine``."""
    for name in ("base.gguf", "aligned.gguf", "card.json"):
        shutil.copy(tales / name, tmp_path / name)
    catalog = tmp_path / "config" / "baco" / "pairs.toml"
    catalog.parent.mkdir(parents=True)
    files = [f'{name} = "{tmp_path / name}.gguf"' for name in ("base", "aligned")]
    catalog.write_text("[mine]\n" + "\n".join(files) + f'\ncard = "{tmp_path / "card.json"}"\n')
    return tmp_path / "card.json"


@pytest.mark.model
def test_the_dial_is_kept_with_the_pair(invoke, named):
    """The card gets the dial and what it was tuned for, and run starts from there."""
    before = json.loads(named.read_text(encoding="utf-8"))
    done = invoke("tune", "-m", "mine", "--target", "base-share=0.3", *QUICK)
    assert done.exit_code == 0, done.stderr
    card = json.loads(named.read_text(encoding="utf-8"))
    diversity = card["sampling"]["diversity"]
    assert 0 < diversity < 10
    assert card["tuned"]["target"] == "base-share=0.3"
    assert card["tuned"]["reached"] == pytest.approx(0.3, abs=0.02)
    assert card["calibration"] == before["calibration"]
    record = json.loads(invoke("run", "a fox", "-m", "mine", "-n", "3", "--json").stdout)
    assert record["diversity"] == diversity


@pytest.mark.model
def test_a_dry_run_keeps_nothing(invoke, named):
    """--dry-run tells the dial, also as JSON, and leaves the card alone."""
    before = named.read_bytes()
    done = invoke("tune", "-m", "mine", "--target", "base-share=30%", "--dry-run", "--json", *QUICK)
    record = json.loads(done.stdout)
    assert record["met"]
    assert record["reached"] == pytest.approx(0.3, abs=0.02)
    assert [record["diversity"], record["reached"]] in [[round(d, 3), n] for d, n in record["tried"]]
    assert named.read_bytes() == before


@pytest.mark.model
def test_what_no_dial_does_is_not_kept(invoke, named):
    """A wish beyond the pair leaves with 1, says how near it came, and keeps nothing."""
    before = named.read_bytes()
    done = invoke("tune", "-m", "mine", "--target", "distinct=+900%", *QUICK)
    assert done.exit_code == 1
    assert "no place of the dial gives distinct=+900%" in " ".join(done.stderr.split())
    assert named.read_bytes() == before


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--target", "share=3"), "base-share=0.3 or distinct=+20%"),
        (("--target", "base-share=0.3", "-d", "5"), "leave out -d"),
        (("--target", "base-share=0.3", "-B", "b.gguf", "-A", "a.gguf"), "--dry-run"),
        (("--target", "base-share=0.3", "-m", "talse"), "did you mean 'tales'"),
    ],
)
def test_odd_wishes_are_refused(invoke, args, words):
    """What cannot be tuned is refused before a model is loaded."""
    done = invoke("tune", *args)
    assert done.exit_code != 0
    assert words in " ".join(done.stderr.split())
