"""How a node of a cluster loads its pair: from files of its own, each of which must be the driver's to the last byte.

Downloads nothing; what is missing is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from baco_local.assemble import load
from baco_local.batch.manifest import file_hash
from baco_local.catalog import models_dir
from baco_local.config import LoadOptions, PairFiles
from baco_local.errors import ModelNotFoundError, UsageError
from baco_local.pair import Pair

__all__ = ["ModelOrder", "here", "portable"]

BUNDLED = "{models}/"  # stands for the folder of the bundled models, which is another one on every node


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOrder:
    """Which files every node loads, and how."""

    files: Mapping[str, tuple[str, str]]  # "base", "aligned" or "adapter" -> (path, SHA-256)
    lora_scale: float = 1.0
    options: LoadOptions = field(default_factory=LoadOptions)
    base_options: LoadOptions | None = None
    aligned_options: LoadOptions | None = None
    n_parallel: int = 1

    def __call__(self) -> Pair:
        """Check the files of this node and load them.

        Raises:
            ModelNotFoundError: files are missing.
            UsageError: a file is not the one that the driver has.

        """
        paths = {name: here(path) for name, (path, _) in self.files.items()}
        missing = [f"the {name} model {str(path)!r}" for name, path in paths.items() if not path.is_file()]
        if missing:
            raise ModelNotFoundError(f"{' and '.join(missing)} cannot be found; copy what is missing to this node")
        for name, (_, sha256) in self.files.items():
            if file_hash(paths[name]) != sha256:
                raise UsageError(
                    f"the {name} model {str(paths[name])!r} is not the driver's: its SHA-256 is another one"
                )
        return load(
            base=paths["base"],
            aligned=paths.get("aligned"),
            aligned_lora=paths.get("adapter"),
            lora_scale=self.lora_scale,
            options=self.options,
            base_options=self.base_options,
            aligned_options=self.aligned_options,
            n_parallel=self.n_parallel,
        )

    @classmethod
    def of(cls, files: PairFiles, hashes: Mapping[str, str], **more: Any) -> ModelOrder:
        """Order the files of a pair, with their SHA-256 by the same names."""
        paths = {"base": files.base, "aligned": files.aligned, "adapter": files.aligned_lora}
        return cls(
            files={name: (portable(path), hashes[name]) for name, path in paths.items() if path is not None},
            lora_scale=files.lora_scale,
            **more,
        )


def portable(path: Path) -> str:
    """Return a path that other nodes understand: bundled models go by their place among the bundled models."""
    path = path.expanduser().absolute()
    folder = models_dir().absolute()
    return BUNDLED + path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def here(path: str) -> Path:
    """Return where such a path leads on this node."""
    return models_dir() / path.removeprefix(BUNDLED) if path.startswith(BUNDLED) else Path(path)
