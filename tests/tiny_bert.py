"""A tiny random BERT, written by our own script, and what plain numpy computes for it."""

from __future__ import annotations

import math
from pathlib import Path

import gguf
import numpy as np

from bert_gguf import BertShape, Quant, write_bert

__all__ = ["SHAPE", "TOKENS", "mean_state", "rank", "write_tiny_bert"]

SHAPE = BertShape(layers=2, width=64, heads=4, ffn=96, context=40)
WORDS = ("the", "a", "fox", "ran", "home", "sea", "old", "cat", ".", ",", "##s", "##es", "##ing")
TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS)
HEAD_OUT = 1  # labels of the classification head


def weights() -> dict[str, np.ndarray]:
    """Return random weights under the names of transformers' BertModel, [out, in]."""
    rng = np.random.default_rng(5)
    wide, ffn = SHAPE.width, SHAPE.ffn

    def norm(name: str) -> dict[str, np.ndarray]:
        return {f"{name}.weight": 1 + 0.1 * rng.normal(size=wide), f"{name}.bias": 0.1 * rng.normal(size=wide)}

    def linear(name: str, out: int, into: int) -> dict[str, np.ndarray]:
        return {f"{name}.weight": rng.normal(size=(out, into)) / 8, f"{name}.bias": 0.1 * rng.normal(size=out)}

    found = {
        "embeddings.word_embeddings.weight": rng.normal(size=(len(TOKENS), wide)),
        "embeddings.position_embeddings.weight": 0.3 * rng.normal(size=(SHAPE.context, wide)),
        "embeddings.token_type_embeddings.weight": 0.3 * rng.normal(size=(2, wide)),
        **norm("embeddings.LayerNorm"),
    }
    for layer in range(SHAPE.layers):
        at = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            found |= linear(f"{at}.attention.self.{part}", wide, wide)
        found |= linear(f"{at}.attention.output.dense", wide, wide) | norm(f"{at}.attention.output.LayerNorm")
        found |= linear(f"{at}.intermediate.dense", ffn, wide) | linear(f"{at}.output.dense", wide, ffn)
        found |= norm(f"{at}.output.LayerNorm")
    return found


def head() -> dict[str, np.ndarray]:
    """Return a random classification head under GGUF's names: a layer with tanh, and one that gives the labels."""
    rng = np.random.default_rng(6)
    wide = SHAPE.width
    return {
        "cls.weight": rng.normal(size=(wide, wide)) / 8,
        "cls.bias": 0.1 * rng.normal(size=wide),
        "cls.output.weight": rng.normal(size=(HEAD_OUT, wide)),
        "cls.output.bias": rng.normal(size=HEAD_OUT),
    }


def write_tiny_bert(path: Path, *, classifier: bool = False) -> None:
    """Write the encoder; with a classification head if wanted."""
    tensors = weights() | (head() if classifier else {})
    pooling = gguf.PoolingType.RANK if classifier else gguf.PoolingType.MEAN
    labels = ("score",) if classifier else ()
    write_bert(path, SHAPE, tensors, TOKENS, name="tiny", quant=Quant.F32, pooling=pooling, labels=labels)


def states(ids: list[int]) -> np.ndarray:  # [n] -> [n, width]
    """Return the last states, computed as BERT's paper says."""
    w, n_heads, wide = weights(), SHAPE.heads, SHAPE.width // SHAPE.heads

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + SHAPE.epsilon)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(SHAPE.layers):
        at = f"encoder.layer.{layer}"
        q, k, v = (
            linear(x, f"{at}.attention.self.{part}").reshape(len(ids), n_heads, wide).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = q @ k.swapaxes(1, 2) / math.sqrt(wide)
        chances = np.exp(scores - scores.max(-1, keepdims=True))
        chances /= chances.sum(-1, keepdims=True)
        seen = (chances @ v).swapaxes(0, 1).reshape(len(ids), -1)
        x = norm(x + linear(seen, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm")
        inner = linear(x, f"{at}.intermediate.dense")
        gelu = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = norm(x + linear(gelu, f"{at}.output.dense"), f"{at}.output.LayerNorm")
    return x


def mean_state(ids: list[int]) -> np.ndarray:  # [n] -> [width]
    """Return the mean of the last states."""
    return states(ids).mean(axis=0)


def rank(ids: list[int]) -> np.ndarray:  # [n] -> [HEAD_OUT]
    """Return the outputs of the classification head over the first state."""
    w = head()
    inner = np.tanh(w["cls.weight"] @ states(ids)[0] + w["cls.bias"])
    return w["cls.output.weight"] @ inner + w["cls.output.bias"]
