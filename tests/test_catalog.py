from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.catalog import PairCard, add_pair, find_pair, known_pairs, models_dir
from baco_local.config import PairFiles
from baco_local.errors import ModelFileError, ModelNotFoundError, UsageError


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Return the place of a user's list of pairs, which is not there yet."""
    return tmp_path / "settings" / "pairs.toml"


def listed(path: Path, text: str) -> Path:
    """Write a list of pairs."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def two_files(name: str) -> PairFiles:
    """Return a pair of two GGUF files."""
    return PairFiles(base=Path("/m/base.gguf"), aligned=Path("/m/aligned.gguf"), name=name)


def test_the_bundled_pair_is_known() -> None:
    """The pair that travels with the program is found by its alias, in the folder of the models."""
    found = find_pair("tales")
    assert found.files == PairFiles(
        base=models_dir() / "tales" / "base.gguf", aligned=models_dir() / "tales" / "aligned.gguf", name="tales"
    )
    assert found.card_path == models_dir() / "tales" / "card.json"
    assert "demonstration" in found.notice
    assert found.description


def test_a_users_pair_is_found_beside_the_bundled_ones(pairs: Path) -> None:
    """Paths in a list are relative to the list, absolute ones stay, and both lists are known."""
    listed(pairs, '[mine]\nbase = "a/b.gguf"\naligned = "/abs/i.gguf"\nnotice = "Ours."\n')
    found = find_pair("mine", pairs)
    assert found.files.base == pairs.parent / "a" / "b.gguf"
    assert found.files.aligned == Path("/abs/i.gguf")
    assert found.card == PairCard(name="mine", notice="Ours.")
    assert set(known_pairs(pairs)) == {"tales", "mine"}


def test_a_users_pair_goes_before_a_bundled_one(pairs: Path) -> None:
    """A list of the user's own may give a bundled alias another meaning."""
    listed(pairs, '[tales]\nbase = "mine.gguf"\naligned = "too.gguf"\n')
    assert find_pair("tales", pairs).listed_in == pairs


def test_home_is_written_as_a_tilde(pairs: Path) -> None:
    """A path may start at the user's home."""
    listed(pairs, '[mine]\nbase = "~/b.gguf"\naligned = "~/a.gguf"\n')
    assert find_pair("mine", pairs).files.base == Path.home() / "b.gguf"


def test_an_adapter_makes_a_pair(pairs: Path) -> None:
    """A pair may be one set of weights and an adapter with a scale."""
    listed(pairs, '[lora]\nbase = "b.gguf"\naligned_lora = "l.gguf"\nlora_scale = 2\n')
    files = find_pair("lora", pairs).files
    assert (files.aligned, files.aligned_lora, files.lora_scale) == (None, pairs.parent / "l.gguf", 2.0)


def test_an_unknown_alias_lists_the_known_ones(pairs: Path) -> None:
    """A wrong alias gives the nearest one and all of them, and the exit code of a missing model."""
    listed(pairs, '[novel]\nbase = "b.gguf"\naligned = "a.gguf"\n')
    with pytest.raises(
        ModelNotFoundError, match=r"(?s)'novl'; did you mean 'novel'.*known pairs: novel, tales"
    ) as caught:
        find_pair("novl", pairs)
    assert caught.value.exit_code == 5
    with pytest.raises(ModelNotFoundError, match=r"'xyz'\n"):
        find_pair("xyz", pairs)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[mine", "is not TOML"),
        ("mine = 1", "is not a table"),
        ('[mine]\naligned = "a.gguf"', "names no base model"),
        ('[mine]\nbase = "b.gguf"', "not both"),
        ('[mine]\nbase = "b.gguf"\naligned = "a.gguf"\naligned_lora = "l.gguf"', "not both"),
        ('[mine]\nbase = 7\naligned = "a.gguf"', "base = 7; expected a text"),
        ('[mine]\nbase = "b"\naligned_lora = "l"\nlora_scale = true', "expected a number"),
        ('[mine]\nbase = "b"\naligend = "a"', "unknown key 'aligend'; did you mean 'aligned'"),
        ('[mine]\nbase = "b"\naligned = "a"\nxyz = 1', "unknown key 'xyz'; remove it"),
    ],
)
def test_a_wrong_list_is_refused(pairs: Path, text: str, reason: str) -> None:
    """A mistake in a list names the file and the entry, and nothing in it is dropped in silence."""
    listed(pairs, text)
    with pytest.raises(UsageError, match=reason) as caught:
        find_pair("tales", pairs)
    assert str(pairs) in str(caught.value)


def test_an_added_pair_is_found(pairs: Path) -> None:
    """What was added is read back, whether the list was there before or not."""
    files = PairFiles(
        base=Path("/m/b.gguf"), aligned=None, aligned_lora=Path("/m/l.gguf"), lora_scale=0.5, name="q-2.5"
    )
    add_pair(pairs, files, description="Two\nlines", notice='A "quoted" one', card=Path("/m/card.json"))
    add_pair(pairs, two_files("second"))
    found = find_pair("q-2.5", pairs)
    assert (found.files, found.description, found.notice) == (files, "Two\nlines", 'A "quoted" one')
    assert found.card_path == Path("/m/card.json")
    assert find_pair("second", pairs).files == two_files("second")


def test_adding_leaves_the_rest_of_a_list_alone(pairs: Path) -> None:
    """Comments and entries that stand in a list stay as they are written, and no other file is left behind."""
    before = '# my pairs\n[old]\nbase = "b.gguf"   # good one\naligned = "a.gguf"\n'
    add_pair(listed(pairs, before), two_files("new"))
    assert pairs.read_text(encoding="utf-8").startswith(before)
    assert list(pairs.parent.iterdir()) == [pairs]


def test_relative_paths_are_written_out(pairs: Path) -> None:
    """A path that was typed relative to the working folder is found from everywhere."""
    add_pair(pairs, PairFiles(base=Path("b.gguf"), aligned=Path("sub/a.gguf"), name="here"))
    assert find_pair("here", pairs).files.aligned == Path.cwd() / "sub" / "a.gguf"


@pytest.mark.parametrize("name", ["", "a b", "a/b", "-x", 'q"', "x.gguf\n", "ä"])
def test_names_that_nobody_could_type_are_refused(pairs: Path, name: str) -> None:
    """An alias is made of letters, digits and a few signs; nothing is written otherwise."""
    with pytest.raises(UsageError, match="cannot be called"):
        add_pair(pairs, two_files(name))
    assert not pairs.exists()


@pytest.mark.parametrize("name", ["tales", "mine"])
def test_a_name_is_given_once(pairs: Path, name: str) -> None:
    """Neither a bundled alias nor one of the user's own is overwritten."""
    add_pair(pairs, two_files("mine"))
    before = pairs.read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="known already"):
        add_pair(pairs, two_files(name))
    assert pairs.read_text(encoding="utf-8") == before


@given(text=st.text(st.characters(codec="utf-8")))
def test_any_text_survives_the_list(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Descriptions of any characters are written as valid TOML and read back unchanged."""
    path = tmp_path_factory.mktemp("any") / "pairs.toml"
    add_pair(path, two_files("any"), description=text)
    assert tomllib.loads(path.read_text(encoding="utf-8"))["any"].get("description", "") == text


def test_a_card_is_read_and_keeps_what_is_unknown(tmp_path: Path) -> None:
    """A card gives name, notice, sampling and calibration, and all else stays within reach."""
    card = {
        "name": "tales",
        "notice": "A toy.",
        "sampling": {"temperature": 0.8},
        "calibration": {"P": [0.1, 0.9]},
        "licences": ["CC0"],
    }
    path = tmp_path / "card.json"
    path.write_text(json.dumps(card), encoding="utf-8")
    read = PairCard.read(path)
    assert (read.name, read.notice, read.sampling) == ("tales", "A toy.", {"temperature": 0.8})
    assert read.calibration == {"P": [0.1, 0.9]}
    assert read.raw == card


def test_a_card_may_be_silent(pairs: Path) -> None:
    """What a card leaves out is taken from the list, and what it says goes before it."""
    listed(pairs, '[mine]\nbase = "b"\naligned = "a"\ncard = "card.json"\nnotice = "From the list."\n')
    card = pairs.with_name("card.json")
    card.write_text('{"calibration": null}', encoding="utf-8")
    assert find_pair("mine", pairs).card == PairCard(name="mine", notice="From the list.", raw={"calibration": None})
    card.write_text('{"notice": "From the card."}', encoding="utf-8")
    assert find_pair("mine", pairs).card.notice == "From the card."


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "is not JSON"), ("[]", "no JSON object"), ('{"sampling": 3}', "sampling = 3"), ('{"name": []}', "name = ")],
)
def test_a_wrong_card_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    """A card with a mistake in it names the file and what is wrong."""
    path = tmp_path / "card.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ModelFileError, match=reason):
        PairCard.read(path)


def test_a_card_that_is_named_must_be_there(pairs: Path) -> None:
    """A pair whose card is missing says so when the card is wanted, not before."""
    listed(pairs, '[mine]\nbase = "b"\naligned = "a"\ncard = "card.json"\n')
    found = find_pair("mine", pairs)
    with pytest.raises(ModelNotFoundError, match=r"card\.json"):
        _ = found.card
