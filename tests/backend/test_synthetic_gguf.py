"""What the maker of random models promises to benchmarks and tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from baco_local.backend.base import Feed
from baco_local.backend.gguf_file import describe
from baco_local.backend.llama import LlamaModel
from synthetic_gguf import PRESETS, Quant, Shape, byte_pair, sentence_piece, write_model, write_pair
from tiny_models import SHAPE

pytestmark = pytest.mark.model


def test_the_same_options_give_the_same_bytes(tmp_path: Path) -> None:
    """Files can be made again anywhere, byte by byte; another seed gives other weights."""
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_pair(tmp_path / folder, SHAPE, seed=seed, adapter=True)
    for name in ("base.gguf", "aligned.gguf", "adapter.gguf"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        assert (tmp_path / "a" / name).read_bytes() != (tmp_path / "c" / name).read_bytes()


@pytest.mark.parametrize("quant", [Quant.F32, Quant.F16, Quant.Q8_0, Quant.Q4_0])
def test_every_file_type_is_as_peaked_as_asked_for(
    quant: Quant, tmp_path: Path, model_of: Callable[..., LlamaModel]
) -> None:
    """The mean probability of the likeliest token is near the asked-for one in every file type."""
    shape = PRESETS["tiny"]
    write_model(tmp_path / "model.gguf", shape, quant, peak=0.5)
    ids = [int(i) for i in np.random.default_rng(1).integers(0, 1000, 64)]
    (rows,) = model_of(tmp_path / "model.gguf").feed([Feed(0, 0, ids, 64)])
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    assert 0.35 < float((1 / powers.sum(axis=1)).mean()) < 0.65
    assert describe(tmp_path / "model.gguf").quantisation == quant.name


def test_the_relative_agrees_often_but_not_always(tmp_path: Path, model_of: Callable[..., LlamaModel]) -> None:
    """Base and aligned share many first choices and part at others, as a trained pair does."""
    write_pair(tmp_path, PRESETS["tiny"])
    ids = [int(i) for i in np.random.default_rng(1).integers(0, 1000, 128)]
    firsts = [
        model_of(tmp_path / f"{name}.gguf").feed([Feed(0, 0, ids, 128)])[0].argmax(axis=1)
        for name in ("base", "aligned")
    ]
    assert 0.5 < float((firsts[0] == firsts[1]).mean()) < 1


def test_every_word_of_a_vocabulary_is_read_back_as_itself(tmp_path: Path, model_of: Callable[..., LlamaModel]) -> None:
    """Each token of byte-level BPE that is text by itself is split into exactly itself."""
    write_model(tmp_path / "model.gguf", Shape(1, 64, 2, 1, 64, 5000))
    vocab = model_of(tmp_path / "model.gguf").vocab
    for token in range(256, 4997, 7):
        assert vocab.tokenize(vocab.pieces[token].decode(), trusted=False) == [token]


@pytest.mark.parametrize("size", [100, 10**6])
def test_impossible_vocabularies_are_refused(size: int) -> None:
    """Vocabularies without room for bytes, or with more words than can be made up, raise ValueError."""
    with pytest.raises(ValueError, match="vocab"):
        byte_pair(size)
    with pytest.raises(ValueError, match="vocab"):
        sentence_piece(size)


@pytest.mark.parametrize("sizes", [(2, 60, 4, 2, 128, 512), (2, 64, 4, 3, 128, 512), (2, 64, 4, 2, 100, 512)])
def test_impossible_shapes_are_refused(sizes: tuple[int, int, int, int, int, int]) -> None:
    """Shapes that neither llama.cpp nor the block formats can hold raise ValueError."""
    with pytest.raises(ValueError, match="multiple"):
        Shape(*sizes)
