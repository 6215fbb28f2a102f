"""Tiny random models of every kind that the backend meets; written in a tenth of a second."""

from __future__ import annotations

from pathlib import Path

from baco_local.config import CacheType, FlashAttention, LoadOptions
from synthetic_gguf import Shape, byte_pair, sentence_piece, write_adapter, write_model, write_pair, write_recurrent

__all__ = ["LONG_TOKEN", "OPTIONS", "SHAPE", "write_tiny_models"]

SHAPE = Shape(layers=2, width=64, heads=4, kv_heads=2, ffn=128, vocab=512, context=1024)
BROAD_HEADS = Shape(layers=2, width=64, heads=2, kv_heads=1, ffn=128, vocab=512, context=1024)  # 32 numbers each
WIDER = Shape(layers=2, width=96, heads=4, kv_heads=2, ffn=128, vocab=512, context=1024)
LONG_TOKEN = "\u00e9" * 300  # user-defined tokens are shown as they stand, not spelled in byte signs
OPTIONS = LoadOptions(  # exact up to the order of sums
    threads=1, cache_type_k=CacheType.F32, cache_type_v=CacheType.F32, flash_attention=FlashAttention.OFF
)


def write_tiny_models(folder: Path) -> None:
    """Write base, aligned, adapter, wider (an adapter for another shape), heads, added, spm and mamba."""
    write_pair(folder, SHAPE, adapter=True)
    write_model(folder / "heads.gguf", BROAD_HEADS)
    write_adapter(folder / "wider.gguf", WIDER)
    write_model(folder / "added.gguf", SHAPE, vocabulary=byte_pair(512, added=("<tool>", LONG_TOKEN)))
    write_model(folder / "spm.gguf", SHAPE, vocabulary=sentence_piece(512))
    write_recurrent(folder / "mamba.gguf", byte_pair(512))
