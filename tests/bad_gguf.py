"""Files that are no usable model or adapter, byte by byte, each with words that its error message must hold.

``BAD_MODELS`` and ``BAD_ADAPTERS`` are refused by their headers; ``SPOILED`` look right and are refused by llama.cpp.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from gguf_bytes import Entry, gguf_bytes, text

WEIGHTS = {"token_embd.weight": (8, 4)}
MODEL: dict[str, Entry] = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.context_length": 64,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.tokens": ["a", "b", "c", "d"],
}
ADAPTER: dict[str, Entry] = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora"}
LORA = {"blk.0.attn_q.weight.lora_a": (8, 2), "blk.0.attn_q.weight.lora_b": (2, 8)}


def other(architecture: str, **entries: Entry) -> bytes:
    """Return a model of another architecture; double underscores in names stand for dots."""
    renamed = {key.replace("llama.", f"{architecture}."): value for key, value in MODEL.items()}
    renamed |= {key.replace("__", "."): value for key, value in entries.items()}
    return gguf_bytes(renamed | {"general.architecture": architecture}, WEIGHTS)


def without(key: str) -> bytes:
    """Return a model that lacks one entry."""
    return gguf_bytes({name: value for name, value in MODEL.items() if name != key}, WEIGHTS)


def hostile(entry: bytes, n_entries: int = 1) -> bytes:
    """Return a header whose first entry is given byte by byte."""
    return b"GGUF" + struct.pack("<IQQ", 3, 0, n_entries) + entry


GOOD = gguf_bytes(MODEL, WEIGHTS)
HUGE = 2**63
BAD_MODELS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "zeros": (bytes(4096), "begins with zeros"),
    "noise": (bytes(range(7, 250)), "is not a GGUF file: its first bytes are 07 08"),
    "text": (b"hello, I am a model", "is not a GGUF file"),
    "safetensors": (struct.pack("<Q", 40) + b'{"__metadata__":{}}', "it is a safetensors file"),
    "zip": (b"PK\x03\x04" + bytes(60), "zip or PyTorch"),
    "pickle": (b"\x80\x02" + bytes(60), "zip or PyTorch"),
    "web page": (b"\n<!DOCTYPE html><html><body>404", "it is a web page"),
    "Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
    "JSON": (b'{"error": "gated"}', "it is a JSON text"),
    "older format": (b"tjgg\x03\0\0\0", "from before GGUF"),
    "gzip": (b"\x1f\x8b\x08" + bytes(20), "it is compressed"),
    "magic alone": (b"GGUF", "its header is cut off"),
    "version 1": (gguf_bytes(MODEL, WEIGHTS, version=1), "is GGUF version 1"),
    "version 99": (gguf_bytes(MODEL, WEIGHTS, version=99), "is GGUF version 99"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "cut in its header": (GOOD[:60], "its header is cut off"),
    "cut in its weights": (GOOD[:-1], "is cut off: it needs"),
    "weights missing": (gguf_bytes(MODEL, WEIGHTS, data=b""), "is cut off: it needs"),
    "too many entries": (hostile(b"", HUGE), "metadata entries"),
    "too many tensors": (b"GGUF" + struct.pack("<IQQ", 3, HUGE, 0), "tensors"),
    "endless text": (hostile(text("k") + struct.pack("<IQ", 8, HUGE)), "bytes of text"),
    "endless key": (hostile(struct.pack("<Q", HUGE)), "bytes of text"),
    "endless list": (hostile(text("k") + struct.pack("<IIQ", 9, 4, HUGE)), "entries in one list"),
    "list past the end": (hostile(text("k") + struct.pack("<IIQ", 9, 4, 4000)), "its header is cut off"),
    "endless text in a list": (hostile(text("k") + struct.pack("<IIQQ", 9, 8, 2, HUGE)), "its header is cut off"),
    "unknown type": (hostile(text("k") + struct.pack("<I", 77)), "unknown type 77"),
    "list of lists": (hostile(text("k") + struct.pack("<IIQ", 9, 9, 1)), "unknown type 9"),
    "seven dimensions": (b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + text("t") + struct.pack("<I", 7), "dimensions"),
    "no alignment": (gguf_bytes(MODEL | {"general.alignment": 0}, WEIGHTS), "its alignment is 0"),
    "vocabulary only": (gguf_bytes(MODEL), "holds a vocabulary and no weights"),
    "adapter": (gguf_bytes(ADAPTER, LORA), "is an adapter, not a model"),
    "unmarked adapter": (gguf_bytes({"general.architecture": "llama"}, LORA), "is an adapter, not a model"),
    "bert": (other("bert"), "is an embedding model (bert)"),
    "nomic-bert": (other("nomic-bert"), "is an embedding model (nomic-bert)"),
    "jina-bert-v2": (other("jina-bert-v2"), "is an embedding model (jina-bert-v2)"),
    "t5encoder": (other("t5encoder"), "is an embedding model (t5encoder)"),
    "t5": (other("t5"), "is an encoder-decoder model (t5)"),
    "diffusion": (other("llada"), "is a diffusion model (llada)"),
    "pooled decoder": (other("qwen3", qwen3__pooling_type=3), "is an embedding model (qwen3)"),
    "not causal": (other("llama", llama__attention__causal=False), "is an embedding model (llama)"),
    "projector": (other("clip"), "multimodal"),
    "marked projector": (gguf_bytes(MODEL | {"general.type": "mmproj"}, WEIGHTS), "multimodal"),
    "importance matrix": (gguf_bytes(MODEL | {"general.type": "imatrix"}, WEIGHTS), "is of type 'imatrix'"),
    "control vector": (other("controlvector"), "is a control vector"),
    "no architecture": (without("general.architecture"), "does not name its architecture"),
    "no tokenizer": (without("tokenizer.ggml.tokens"), "has no tokenizer"),
    "tokenizer of no kind": (gguf_bytes(MODEL | {"tokenizer.ggml.model": "none"}, WEIGHTS), "has no tokenizer"),
    "token twice": (gguf_bytes(MODEL | {"tokenizer.ggml.tokens": ["a", "b", "a"]}, WEIGHTS), "token 'a' twice"),
    "no layers": (without("llama.block_count"), "says that it has 0 layers"),
    "too many layers": (gguf_bytes(MODEL | {"llama.block_count": 513}, WEIGHTS), "says that it has 513 layers"),
    "too many experts": (gguf_bytes(MODEL | {"llama.expert_used_count": 2}, WEIGHTS), "uses 2 of 0 experts"),
    "negative epsilon": (
        gguf_bytes(MODEL | {"llama.attention.layer_norm_rms_epsilon": -1.0}, WEIGHTS),
        "layer_norm_rms_epsilon is -1.0",
    ),
    "epsilon that is no number": (
        gguf_bytes(MODEL | {"llama.attention.layer_norm_epsilon": float("nan")}, WEIGHTS),
        "layer_norm_epsilon is nan",
    ),
    "part of a split": (gguf_bytes(MODEL | {"split.count": 3}, WEIGHTS), "and was renamed"),
}

BAD_ADAPTERS: dict[str, tuple[bytes, str]] = {
    "a model": (GOOD, "is a model, not an adapter"),
    "another architecture": (gguf_bytes(ADAPTER | {"general.architecture": "qwen2"}, LORA), "for qwen2 models"),
    "another kind": (gguf_bytes(ADAPTER | {"adapter.type": "dora"}, LORA), "an adapter of type dora"),
    "no kind": (gguf_bytes({"general.architecture": "llama", "general.type": "adapter"}, LORA), "of type unknown"),
    "no weights": (gguf_bytes(ADAPTER), "an adapter without weights"),
    "cut off": (gguf_bytes(ADAPTER, LORA)[:-1], "is cut off"),
    "not GGUF": (b"PK\x03\x04", "is not a GGUF file"),
}


def patched(key: str, value: int) -> Callable[[bytes], bytes]:
    """Return a change of one metadata number of 32 bits."""

    def change(data: bytes) -> bytes:
        at = data.index(text(key)) + len(text(key)) + 4
        return data[:at] + struct.pack("<I", value) + data[at + 4 :]

    return change


def renamed(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """Return a change of a name into another of equal length, everywhere."""
    assert len(old) == len(new)
    return lambda data: data.replace(old, new)


SPOILED: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {  # the tiny model that is spoiled, how, words
    "unknown architecture": ("base", renamed(b"llama", b"lxama"), "needs a newer llama.cpp"),
    "unknown pre-tokenizer": ("base", renamed(b"gpt-2", b"gpt-9"), "unknown pre-tokenizer type: 'gpt-9'"),
    "unknown tokenizer": ("base", renamed(b"gpt2", b"gpt9"), "unknown tokenizer: 'gpt9'"),
    "missing tensor": ("base", renamed(b"blk.1.ffn_down", b"blk.1.ffn_dawn"), "blk.1.ffn_down.weight"),
    "wrong width": ("base", patched("llama.embedding_length", 128), "invalid n_rot: 16, expected 32"),
    "too few layers": ("base", patched("llama.block_count", 1), "wrong number of tensors"),
    "no heads": ("base", patched("llama.attention.head_count", 0), "'blk.0.attn_q.weight' has wrong shape"),
    "byte without token": ("spm", renamed(b"<0x41>", b"<0xZZ>"), "no token for byte 0x41"),
}
