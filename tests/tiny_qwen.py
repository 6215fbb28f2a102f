"""A tiny random Qwen3 with a classification head, for what llama.cpp does with rewards."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from synthetic_gguf import byte_pair, weights

__all__ = ["CHAT_TEMPLATE", "WIDTH", "head_row", "write_tiny_qwen"]

WIDTH, LAYERS, HEADS, HEAD_WIDTH, FFN = 64, 2, 2, 32, 96
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def head_row() -> np.ndarray:  # [WIDTH]
    """Return the row of weights that turns a last state into a reward."""
    return (np.random.default_rng(8).normal(size=WIDTH) / 20).astype(np.float32)


def write_tiny_qwen(path: Path, *, labels: int) -> None:
    """Write the model; its head has a row per label: the reward's, and zeros."""
    vocabulary = byte_pair(512)
    writer = gguf.GGUFWriter(path, "qwen3")
    writer.add_name("tiny qwen")
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_key_length(HEAD_WIDTH)
    writer.add_value_length(HEAD_WIDTH)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_pooling_type(gguf.PoolingType.RANK)
    writer.add_classifier_output_labels([f"label {n}" for n in range(labels)])
    vocabulary.write(writer)
    writer.add_chat_template(CHAT_TEMPLATE)
    sizes = {"token_embd.weight": (512, WIDTH)}
    for layer in range(LAYERS):
        at = f"blk.{layer}"
        sizes |= {f"{at}.{name}.weight": (WIDTH, WIDTH) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
        sizes |= {f"{at}.ffn_gate.weight": (FFN, WIDTH), f"{at}.ffn_up.weight": (FFN, WIDTH)}
        sizes |= {f"{at}.ffn_down.weight": (WIDTH, FFN)}
        for name, width in (("attn_norm", WIDTH), ("ffn_norm", WIDTH), ("attn_q_norm", 32), ("attn_k_norm", 32)):
            writer.add_tensor(f"{at}.{name}.weight", np.ones(width, np.float32))
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for name, size in sizes.items():
        writer.add_tensor(name, weights(name, size, 3, 0.0))
    rows = np.zeros((labels, WIDTH), np.float32)
    rows[0] = head_row()
    writer.add_tensor("cls.output.weight", rows)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
