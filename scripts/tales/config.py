"""The plan of a training run, read once from one TOML file and frozen.

Knows names, numbers and their limits; knows no tensor and no text.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["HERE", "Plan", "Preference", "Pretraining", "Shape", "Sitting", "Source", "Tuning", "read_plan"]

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Shape:
    """Hold the sizes of the model."""

    n_vocab: int
    n_context: int
    width: int
    n_heads: int
    n_kv_heads: int
    ffn_width: int
    rope_theta: float
    norm_epsilon: float
    n_layers: int = 0  # what the sitting says

    def __post_init__(self) -> None:
        if self.width % self.n_heads or self.n_heads % self.n_kv_heads or self.head_width % 2:
            raise ValueError(f"heads do not fit: width {self.width}, {self.n_heads} and {self.n_kv_heads} heads")
        if self.width % 32 or self.ffn_width % 32:
            raise ValueError(f"rows of {self.width} and {self.ffn_width} must be multiples of 32 for Q8_0")

    @property
    def head_width(self) -> int:
        """Return the width of one head."""
        return self.width // self.n_heads


@dataclass(frozen=True, slots=True)
class Source:
    """Hold the share of one text source among the rows: at the first step, and at the last."""

    early: float
    late: float


@dataclass(frozen=True, slots=True)
class Sitting:
    """Hold one part of the first stage: so many steps on these sources, in a model of so many layers."""

    n_layers: int  # at least as many as before; layers that are added change nothing at first
    n_steps: int
    n_warmup_steps: int
    n_decay_steps: int
    n_long_steps: int  # the last steps read rows of the whole context, as many tokens a step; 0 = off
    matrix_rate: float
    vector_rate: float
    sources: dict[str, Source]
    average: tuple[float, ...] = ()  # parts of what each sitting has left, this one last; () = this one alone


@dataclass(frozen=True, slots=True)
class Pretraining:
    """Hold the first stage: next-token prediction over all sources, in one sitting or more."""

    rows_per_step: int
    row_length: int
    weight_decay: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """Hold the second stage: supervised fine-tuning on conversations, loss on answers only."""

    n_steps: int
    tokens_per_step: int
    n_warmup_steps: int
    rate: float
    n_conversations: int


@dataclass(frozen=True, slots=True)
class Preference:
    """Hold the third stage: the better of two answers becomes more likely than the worse, in a low-rank adapter."""

    n_steps: int  # 0 = off: the aligned model is the tuned one, as near as the rank allows
    rank: int  # of the adapter
    pairs_per_step: int
    n_warmup_steps: int
    rate: float
    beta: float  # how much a gain counts; smaller = the model may move further from where it was
    anchor: float  # the weight of the better answer's own loss, in nats per token
    n_composed: int  # comparisons that the grammar makes
    n_requests: int  # requests that the model itself answers
    n_samples: int  # its answers to each


@dataclass(frozen=True, slots=True)
class Plan:
    """Hold everything a run depends on besides its texts."""

    seed: int
    n_workers: int
    checkpoint_minutes: float
    n_composed: int
    n_questions: int
    shape: Shape
    pretraining: Pretraining
    sittings: tuple[Sitting, ...]
    tuning: Tuning
    preference: Preference

    def __post_init__(self) -> None:
        for number, sitting in enumerate(self.sittings, 1):
            if sitting.average and (len(sitting.average) != number or abs(sum(sitting.average) - 1) > 1e-6):
                raise ValueError(f"sitting {number} averages {sitting.average}; give {number} parts that sum to 1")

    @property
    def sources(self) -> tuple[str, ...]:
        """Return the names of all text sources."""
        return tuple(dict.fromkeys(name for sitting in self.sittings for name in sitting.sources))


def read_sitting(table: dict[str, Any]) -> Sitting:
    """Read one sitting."""
    sources = {name: Source(**source) for name, source in table.pop("sources").items()}
    return Sitting(sources=sources, average=tuple(table.pop("average", ())), **table)


def read_plan(path: Path = HERE / "tales.toml") -> Plan:
    """Read a plan; an unknown or missing key is an error that names it."""
    table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        return Plan(
            shape=Shape(**table.pop("shape")),
            pretraining=Pretraining(**table.pop("pretraining")),
            tuning=Tuning(**table.pop("tuning")),
            preference=Preference(**table.pop("preference")),
            sittings=tuple(read_sitting(sitting) for sitting in table.pop("sittings")),
            **table,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path.name} is not a plan: {error}") from error
