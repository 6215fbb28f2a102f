"""The file beside an output: it is whole or absent, and tells settings apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from baco_local.batch.manifest import Manifest, differences, manifest_path, settings_hash
from baco_local.errors import UsageError


def test_it_lies_beside_the_output():
    """The name is that of the output with another ending."""
    assert manifest_path(Path("a/out.jsonl")) == Path("a/out.meta.json")
    assert manifest_path(Path("out")) == Path("out.meta.json")


def test_what_is_written_is_read(tmp_path):
    """Settings, everything besides, and runs come back, and no other file stays."""
    path = tmp_path / "out.meta.json"
    manifest = Manifest(path=path, made_with={"seed": 1}, about={"pair": "tales"}, runs=[{"written": 3}])
    manifest.write()
    assert Manifest.read(path) == manifest
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.meta.json"]
    assert Manifest.read(tmp_path / "none.json") is None


@pytest.mark.parametrize("content", ["{", "[]", '{"kind": "diary"}', '{"kind": "baco batch"}'])
def test_files_of_others_are_refused(tmp_path, content):
    """What is no manifest is never written over."""
    path = tmp_path / "out.meta.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"out\.meta\.json"):
        Manifest.read(path)


def test_settings_are_told_apart():
    """The hash ignores the order of names and nothing else; the message shows both values."""
    one = {"seed": 1, "decode": {"top_k": 3, "stop": []}}
    assert settings_hash(one) == settings_hash({"decode": {"stop": [], "top_k": 3}, "seed": 1})
    other = {"seed": 1, "decode": {"top_k": 4, "stop": []}, "new": True}
    assert settings_hash(one) != settings_hash(other)
    assert differences(one, other).splitlines() == [
        "    decode.top_k: 3 there, 4 now",
        '    new: "(not set)" there, true now',
    ]
    assert len(differences({}, {str(i): i for i in range(50)}).splitlines()) == 13
