"""A tiny trained pair for all tests of the training, or a skip where its libraries are missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tales.pipeline import Work

LIBRARIES = ("torch", "tokenizers", "safetensors", "gguf")


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Work]:
    """Return a work folder in which a tiny pair was trained through all stages."""
    for library in LIBRARIES:
        pytest.importorskip(library, reason="the training needs torch and more: pip install 'baco-local[train]'")
    import torch

    from tiny_training import trained

    n_threads = torch.get_num_threads()
    yield trained(tmp_path_factory.mktemp("work"))
    torch.set_num_threads(n_threads)
