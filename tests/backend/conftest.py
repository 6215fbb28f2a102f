"""Tiny random models, written once per session, and a way to open them that closes them again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from baco_local.backend.llama import LlamaModel, Weights, load_weights, open_model
from baco_local.config import LoadOptions
from tiny_models import OPTIONS, write_tiny_models


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with tiny models of every kind."""
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_models(folder)
    return folder


@pytest.fixture
def weights_of() -> Iterator[Callable[..., Weights]]:
    """Return a function that loads weights, which are let go when the test ends."""
    loaded: list[Weights] = []

    def load(path: Path, options: LoadOptions = OPTIONS) -> Weights:
        loaded.append(load_weights(path, options))
        return loaded[-1]

    yield load
    for weights in loaded:
        weights.close()


@pytest.fixture
def model_of(weights_of: Callable[..., Weights]) -> Iterator[Callable[..., LlamaModel]]:
    """Return a function that opens a model on a file or on loaded weights; it is closed when the test ends."""
    opened: list[LlamaModel] = []

    def open_one(
        source: Path | Weights, n_sequences: int = 2, options: LoadOptions = OPTIONS, **more: Any
    ) -> LlamaModel:
        weights = weights_of(source, options) if isinstance(source, Path) else source
        opened.append(open_model(weights, options, n_sequences=n_sequences, **more))
        return opened[-1]

    yield open_one
    for model in opened:
        model.close()
