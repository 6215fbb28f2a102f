"""A vocabulary of bytes and a few words, written as a GGUF file without weights."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import llama_cpp as lc
import pytest

END = 2
WORDS = ["yes", "no", "true", "false", "null", '"name"', '": ', "ab", "cat", "dog", " the", "\n\n"]


@dataclass(frozen=True)
class SmallVocab:
    """llama.cpp's handle, and what its ids mean."""

    handle: Any
    pieces: tuple[bytes, ...]  # [V]
    end: int = END

    def __len__(self) -> int:
        """Return the number of ids."""
        return len(self.pieces)

    def id(self, piece: str) -> int:
        """Return the id of a piece."""
        return self.pieces.index(piece.encode())


@pytest.fixture(scope="session")
def small_vocab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallVocab]:
    """Return a small SentencePiece vocabulary that grammars and DRY can look at."""
    path = tmp_path_factory.mktemp("vocab") / "small.gguf"
    pieces = write_vocab(path)
    params = lc.llama_model_default_params()
    params.vocab_only = True
    model = lc.llama_model_load_from_file(str(path).encode(), params)
    assert model, "llama.cpp refused the vocabulary of the tests"
    yield SmallVocab(ctypes.c_void_p(lc.llama_model_get_vocab(model)), pieces)
    lc.llama_model_free(model)


def write_vocab(path: Path) -> tuple[bytes, ...]:
    """Write a vocabulary and return its pieces."""
    texts = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [2, 3, 3] + [6] * 256
    texts += [word.replace(" ", "\u2581") for word in WORDS]
    kinds += [1] * len(WORDS)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(texts)
    writer.add_token_scores([0.0] * len(texts))
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(END)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return (b"", b"", b"", *(bytes([byte]) for byte in range(256)), *(word.encode() for word in WORDS))
