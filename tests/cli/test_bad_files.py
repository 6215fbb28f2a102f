"""Bad files at the front door: an exit code, a message, and nothing on stdout."""

from __future__ import annotations

import pytest

from bad_gguf import BAD_ADAPTERS, BAD_MODELS
from synthetic_gguf import Shape, sentence_piece, write_model, write_pair

SHAPE = Shape(layers=1, width=32, heads=2, kv_heads=1, ffn=64, vocab=300, context=128)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Return a folder with a tiny pair, and a model of another vocabulary."""
    folder = tmp_path_factory.mktemp("tiny")
    write_pair(folder, SHAPE)
    write_model(folder / "spm.gguf", SHAPE, vocabulary=sentence_piece(300))
    return folder


def refused(done, code: int, words: str) -> None:
    """Hold an ended command to its promise: this exit code, these words, no text and no traceback."""
    assert done.exit_code == code, done.stderr
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("kind", BAD_MODELS)
@pytest.mark.parametrize("side", ["base", "aligned"])
def test_a_bad_model_leaves_with_1(invoke, tiny, tmp_path, kind, side):
    """Whichever of the two files is bad, the message names it and says what is wrong."""
    data, words = BAD_MODELS[kind]
    bad, good = tmp_path / "bad.gguf", tiny / "base.gguf"
    bad.write_bytes(data)
    files = {"base": good, "aligned": good} | {side: bad}
    refused(invoke("run", "-B", str(files["base"]), "-A", str(files["aligned"]), "hi"), 1, words)


@pytest.mark.parametrize("kind", BAD_ADAPTERS)
def test_a_bad_adapter_leaves_with_1(invoke, tiny, tmp_path, kind):
    """An adapter that does not fit the base model is refused before anything is loaded."""
    data, words = BAD_ADAPTERS[kind]
    (tmp_path / "bad.gguf").write_bytes(data)
    arguments = ("-B", str(tiny / "base.gguf"), "--aligned-lora", str(tmp_path / "bad.gguf"))
    refused(invoke("run", *arguments, "hi"), 1, words)


def test_a_missing_model_leaves_with_5(invoke, tiny):
    """A path where nothing is has an exit code of its own."""
    done = invoke("run", "-B", str(tiny / "nowhere.gguf"), "-A", str(tiny / "aligned.gguf"), "hi")
    refused(done, 5, "nowhere.gguf")


@pytest.mark.model
def test_two_vocabularies_leave_with_3(invoke, tiny):
    """Models that do not share a vocabulary are refused, and the first difference is named."""
    done = invoke("run", "-B", str(tiny / "base.gguf"), "-A", str(tiny / "spm.gguf"), "hi")
    refused(done, 3, "these models cannot be paired")


@pytest.mark.model
def test_a_context_that_cannot_fit_leaves_with_4(invoke, tiny):
    """A context beyond the memory of any machine is refused before it is opened."""
    arguments = ("-B", str(tiny / "base.gguf"), "-A", str(tiny / "aligned.gguf"), "-c", "4000000000")
    refused(invoke("run", *arguments, "hi"), 4, "")
