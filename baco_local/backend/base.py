"""What the engine needs of a model: rows of logits for ids, at positions that can be taken back.

Knows no text, no router and no llama.cpp; ``backend.llama`` and ``baco_local.testing`` fulfil it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from baco_local.errors import BackendError
from baco_local.text.vocab import Vocab
from baco_local.types import Rows, TokenIds

__all__ = ["CacheFull", "Feed", "Interrupted", "Model", "ModelInfo"]


class Interrupted(Exception):  # noqa: N818 - a wish, not an error
    """A feed was given up because ``Model.cancelled`` said so; no sequence of that feed has changed."""


class CacheFull(BackendError):  # noqa: N818 - a state that the engine acts upon
    """The cells that the sequences of a model share are all taken; no sequence has changed."""


class Feed(NamedTuple):
    """Ids that one sequence reads next, and how many of the last rows are wanted."""

    sequence: int
    position: int  # where the first id goes: the length of the sequence before
    ids: TokenIds
    n_rows: int = 1  # 0 = only read


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a GGUF file says of itself, for people and for the pair check."""

    path: str
    name: str
    description: str  # llama.cpp's own, for example "llama 1B Q8_0"
    architecture: str
    n_parameters: int
    size_bytes: int
    n_ctx_train: int
    chat_template: str | None = None
    adapter: str | None = None  # the path of an adapter, when this model is one set of weights plus an adapter
    device: str = "CPU"
    layers_offloaded: int = 0
    n_layers: int = 0


class Model(Protocol):
    """One model with room for several sequences; not thread-safe.

    ``n_ctx`` positions at most in one sequence, sequences are numbered from 0 to ``n_sequences - 1``, and
    ``n_batch`` tokens at most are computed in one decode (``feed`` splits what is longer).
    """

    vocab: Vocab
    info: ModelInfo
    n_ctx: int
    n_sequences: int
    n_batch: int
    n_threads: int  # cores that it may keep busy; 0 = it computes on a device
    can_rewind: bool  # False: recurrent and hybrid models, whose state cannot be taken back in part
    cancelled: Callable[[], bool] | None  # looked at during long feeds; True makes ``feed`` raise Interrupted

    def feed(self, feeds: Sequence[Feed]) -> list[Rows]:
        """Read ids of many sequences together and return the wanted rows, [n_rows, V] per feed.

        The rows may be views that the next ``feed`` of this model overwrites; masking them in place is allowed.
        """
        ...

    def use_threads(self, n: int) -> None:
        """Let at most so many threads, 1 or more, compute the next feeds; never more than ``n_threads``."""
        ...

    def rewind(self, sequence: int, length: int) -> bool:
        """Forget what a sequence holds after its first ``length`` positions; 0 always works, False = cannot."""
        ...

    def fork(self, source: int, target: int, length: int) -> bool:
        """Let an empty sequence share the first ``length`` positions of another; False = cannot."""
        ...

    def close(self) -> None:
        """Free everything; the model must not be used afterwards."""
        ...
