"""What the ids of a vocabulary mean.

Pure data; reads no file, and the tokenizer itself is handed in by the backend.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import IntFlag
from typing import Protocol

__all__ = ["TokenKind", "Tokenize", "Vocab"]


class TokenKind(IntFlag):
    """llama.cpp's token attributes (``LLAMA_TOKEN_ATTR_*``)."""

    UNDEFINED = 0
    UNKNOWN = 1
    UNUSED = 2
    NORMAL = 4
    CONTROL = 8
    USER_DEFINED = 16
    BYTE = 32
    NORMALIZED = 64
    LSTRIP = 128
    RSTRIP = 256
    SINGLE_WORD = 512


class Tokenize(Protocol):
    """Text to ids, without BOS or EOS; special tokens are read from the text only where it is trusted."""

    def __call__(self, text: str, *, trusted: bool) -> list[int]: ...  # noqa: D102


@dataclass(frozen=True, slots=True, eq=False)
class Vocab:
    """A token table: index is the id."""

    model: str  # tokenizer.ggml.model: "gpt2" (byte-level BPE), "llama" (SentencePiece) ...
    texts: tuple[str, ...]  # [V] as the file spells them
    pieces: tuple[bytes, ...]  # [V] as a reader sees them; control tokens are empty
    kinds: tuple[TokenKind, ...]  # [V]
    stops: frozenset[int]  # every id that ends a turn (EOS, EOT ...)
    bos: int | None
    eos: int | None
    eot: int | None
    add_bos: bool  # a prompt starts with BOS
    tokenize: Tokenize

    def __len__(self) -> int:
        """Return the number of ids, the width of a row of logits."""
        return len(self.texts)

    def fingerprint(self) -> str:
        """Hash the token table: equal for equal tables, in every process and on every machine."""
        table = json.dumps([self.model, self.texts, self.kinds])
        return hashlib.sha256(table.encode()).hexdigest()[:16]
