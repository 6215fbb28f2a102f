"""Vocabularies for the tests of the text room: real token tables without weights, and small ones made by hand."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path

import llama_cpp
import pytest

from baco_local.backend.gguf_file import describe
from baco_local.backend.llama import Weights, read_vocab
from baco_local.text.vocab import TokenKind, Vocab

MODELS = {
    "llama-spm": "vocab/ggml-vocab-llama-spm.gguf",
    "phi-3": "vocab/ggml-vocab-phi-3.gguf",
    "gpt-2": "vocab/ggml-vocab-gpt-2.gguf",
    "mpt": "vocab/ggml-vocab-mpt.gguf",
    "falcon": "vocab/ggml-vocab-falcon.gguf",
    "gpt-neox": "vocab/ggml-vocab-gpt-neox.gguf",
    "stories260K": "stories260K.gguf",
    "aidreams260K": "aidreams260K.gguf",
    "starter base": "starter/base.gguf",
    "starter aligned": "starter/aligned.gguf",
}
ASCII = tuple((chr(code), TokenKind.NORMAL) for code in (9, 10, *range(32, 127)))


@pytest.fixture(scope="session")
def vocabulary(shared_data: Path) -> Callable[[str], Vocab]:
    """Return a function from the name of a development model to its token table, loaded once and without weights."""

    @functools.cache
    def load(name: str) -> Vocab:
        path = shared_data / "models" / MODELS[name]
        params = llama_cpp.llama_model_default_params()
        params.vocab_only = True
        handle = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        assert handle, f"llama.cpp did not load {path}"
        return read_vocab(
            Weights(path, handle, 0, describe(path))
        )  # never freed: the tokenizer lives as long as the tests

    return load


@pytest.fixture(scope="session")
def table() -> Callable[..., Vocab]:
    """Return a function that makes a vocabulary: ``<s>``, ``</s>``, all ASCII characters, and further tokens.

    Its tokenizer takes the longest token that fits, or the shortest, and reads what it does not know as id 0. Like
    llama.cpp it reads control tokens from trusted text alone, and user-defined tokens from any text.
    """

    def make(
        more: Iterable[tuple[str, TokenKind]] = (),
        *,
        changed: dict[int, tuple[str, TokenKind]] | None = None,
        model: str = "gpt2",
        add_bos: bool = True,
        stops: Iterable[str] = ("</s>",),
        longest: bool = True,
    ) -> Vocab:
        entries = [("<s>", TokenKind.CONTROL), ("</s>", TokenKind.CONTROL), *ASCII, *more]
        for token, entry in (changed or {}).items():
            entries[token] = entry
        texts, kinds = zip(*entries, strict=True)
        ids = {text: i for i, text in enumerate(texts)}
        lengths = sorted({len(text) for text in texts}, reverse=longest)

        def readable(text: str, trusted: bool) -> bool:
            return text in ids and not kinds[ids[text]] & (TokenKind.UNUSED | (not trusted and TokenKind.CONTROL))

        def tokenize(text: str, *, trusted: bool) -> list[int]:
            found, at = [], 0
            while at < len(text):
                fits = (text[at : at + n] for n in lengths if n <= len(text) - at)
                token = next((part for part in fits if readable(part, trusted)), None)
                found.append(0 if token is None else ids[token])
                at += len(token or "?")
            return found

        return Vocab(
            model=model,
            texts=texts,
            pieces=tuple(b"" if kind & TokenKind.CONTROL else text.encode() for text, kind in entries),
            kinds=kinds,
            stops=frozenset(ids[text] for text in stops),
            bos=0,
            eos=1,
            eot=None,
            add_bos=add_bos,
            tokenize=tokenize,
        )

    return make
