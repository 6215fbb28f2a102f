"""Every error that baco raises on purpose, drawn as a tree; each knows the exit code of the command line.

BacoError                        1  failed while running
├── UsageError                   2  an option or argument that cannot be used
├── PairError                    3  the two models cannot be paired
├── MemoryPlanError              4  the models would not fit in memory
├── ModelNotFoundError           5  a model file that is not there
├── ModelFileError               1  a file that is not a usable GGUF model or adapter
├── PromptTooLongError           1  a prompt that leaves no room in the context
├── RouterError                  1  a router that answered something else than a speaker
├── GrammarError                 2  a grammar or JSON schema that cannot be used
├── OutputError                  1  a file of results that cannot be written or is held by another process
└── BackendError                 1  llama.cpp reported a failure
"""

from __future__ import annotations

__all__ = [
    "BackendError",
    "BacoError",
    "GrammarError",
    "MemoryPlanError",
    "ModelFileError",
    "ModelNotFoundError",
    "OutputError",
    "PairError",
    "PromptTooLongError",
    "RouterError",
    "UsageError",
]


class BacoError(Exception):
    """A failure that the user can understand and act on; the message says what, which value, and what to do."""

    exit_code = 1
    log: tuple[str, ...] = ()  # what llama.cpp said meanwhile, oldest first; for those who ask


class UsageError(BacoError):
    """An option or argument that cannot be used."""

    exit_code = 2


class PairError(BacoError):
    """Two models whose vocabularies differ."""

    exit_code = 3


class MemoryPlanError(BacoError):
    """Models and caches that would not fit in memory."""

    exit_code = 4


class ModelNotFoundError(BacoError):
    """A model file that is not there."""

    exit_code = 5


class ModelFileError(BacoError):
    """A file that is not a usable GGUF model or adapter."""


class PromptTooLongError(BacoError):
    """A prompt that leaves no room for an answer in the context of a model."""


class RouterError(BacoError):
    """A router that answered something else than a speaker."""


class GrammarError(BacoError):
    """A grammar or JSON schema that cannot be parsed, or that no token satisfies."""

    exit_code = 2


class OutputError(BacoError):
    """A file of results that cannot be written, or that another process is writing."""


class BackendError(BacoError):
    """A failure reported by llama.cpp while it was running."""
