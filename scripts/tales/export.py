"""Write a trained model as GGUF: the names, layouts and keys that llama.cpp reads.

Knows gguf-py and llama.cpp's conventions; knows no training.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tales.adapter import low_rank_parts
from tales.config import Shape
from tales.model import Llama
from tales.tokenizer import END, END_OF_TEXT, SPECIAL

__all__ = ["CHAT_TEMPLATE", "Role", "export", "export_adapter", "to_interleaved"]

N_BLOCK = 32  # numbers that share a scale in Q8_0

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] | trim + '<|end|>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|assistant|>\\n' }}{%- endif -%}"
)


@dataclass(frozen=True, slots=True)
class Role:
    """Hold what differs between the two files besides their weights."""

    name: str
    description: str
    end: int  # the token that ends an answer
    chat_template: str  # "" = none, as in a base model


BASE = Role("tales base", "A tiny model of simple stories and old tales; lively and careless.", END_OF_TEXT, "")
ALIGNED = Role(
    "tales aligned",
    "A tiny story-teller, fine-tuned from tales base on requests for stories.",
    END,
    CHAT_TEMPLATE,
)
ROLES = {"base": BASE, "aligned": ALIGNED}


def to_interleaved(weight: NDArray[np.float32], n_heads: int) -> NDArray[np.float32]:
    """Reorder rows of q or k: llama.cpp turns neighbours, our model turns the two halves of a head."""
    return weight.reshape(n_heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def in_order(name: str, weight: NDArray[np.float32], shape: Shape) -> NDArray[np.float32]:
    """Return a matrix, or what adds to one, with its rows in llama.cpp's order."""
    if ".attn_q" in name:
        return to_interleaved(weight, shape.n_heads)
    return to_interleaved(weight, shape.n_kv_heads) if ".attn_k" in name else weight


def as_numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    """Return a tensor's numbers."""
    return np.ascontiguousarray(tensor.detach().cpu().to(torch.float32).numpy())


def add_matrix(writer: gguf.GGUFWriter, name: str, weight: NDArray[np.float32], quantised: bool) -> None:
    """Write a matrix as Q8_0 where its rows are whole blocks, else as F32."""
    if quantised and weight.shape[1] % N_BLOCK == 0:
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(weight, kind), raw_dtype=kind)
    else:
        writer.add_tensor(name, weight)


def add_vocabulary(writer: gguf.GGUFWriter, tokenizer: Tokenizer, n_vocab: int) -> None:
    """Write tokens, types and merges; unused ids are padded."""
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    tokens = {index: token for token, index in vocabulary.items()}
    texts = [tokens.get(index, f"[PAD{index}]") for index in range(n_vocab)]
    assert len(set(texts)) == n_vocab
    assert tuple(texts[: len(SPECIAL)]) == SPECIAL
    kinds = [
        gguf.TokenType.CONTROL
        if index < len(SPECIAL)
        else gguf.TokenType.NORMAL
        if index in tokens
        else gguf.TokenType.UNUSED
        for index in range(n_vocab)
    ]
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])


def export(model: Llama, tokenizer: Tokenizer, role: Role, path: Path, quantised: bool = True) -> None:
    """Write a GGUF file; matrices as Q8_0, or F32 if not ``quantised``; norms always F32."""
    shape: Shape = model.shape
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(role.name)
    writer.add_description(role.description)
    writer.add_license("apache-2.0")
    writer.add_languages(["en"])
    writer.add_context_length(shape.n_context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.n_layers)
    writer.add_feed_forward_length(shape.ffn_width)
    writer.add_head_count(shape.n_heads)
    writer.add_head_count_kv(shape.n_kv_heads)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_vocab_size(shape.n_vocab)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if quantised else gguf.LlamaFileType.ALL_F32)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    add_vocabulary(writer, tokenizer, shape.n_vocab)
    writer.add_bos_token_id(END_OF_TEXT)
    writer.add_eos_token_id(role.end)
    writer.add_add_bos_token(True)
    if role.chat_template:
        writer.add_chat_template(role.chat_template)
    for name, tensor in model.state_dict().items():
        weight = in_order(name, as_numpy(tensor), shape)
        if weight.ndim == 2:
            add_matrix(writer, name, weight, quantised)
        else:
            writer.add_tensor(name, weight)
    close(writer)


def export_adapter(model: Llama, path: Path, quantised: bool = True) -> None:
    """Write the low-rank parts of an adapted model as an adapter that llama.cpp puts on base."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_name(f"{ALIGNED.name}, as an adapter on {BASE.name}")
    writer.add_license("apache-2.0")
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 0.0)  # 0 = the product of the parts is added as it is
    for name, part in low_rank_parts(model):
        add_matrix(writer, f"{name}.weight.lora_a", as_numpy(part.down), quantised)
        add_matrix(writer, f"{name}.weight.lora_b", in_order(name, as_numpy(part.up), model.shape), quantised)
    close(writer)


def close(writer: gguf.GGUFWriter) -> None:
    """Write all that was added, and close the file."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
