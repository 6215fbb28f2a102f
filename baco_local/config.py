"""Frozen options, checked once where they enter: how a model is loaded, how an answer is decoded.

Reads no file and no environment; the command line and ``assemble`` do that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from baco_local.errors import UsageError
from baco_local.types import Detail, Role

__all__ = [
    "SEED_LIMIT",
    "BoundaryRule",
    "CacheType",
    "ContentFrom",
    "DecodeOptions",
    "DrafterName",
    "EndCheck",
    "FlashAttention",
    "Guards",
    "LoadOptions",
    "Offload",
    "OffloadKind",
    "PairFiles",
    "ScheduleName",
    "StopRule",
    "Uncertainty",
    "check_seed",
]

SEED_LIMIT = 2**63


class FlashAttention(StrEnum):
    """Whether llama.cpp uses flash attention."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class CacheType(StrEnum):
    """Number type of the KV cache."""

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    Q8_0 = "q8_0"
    Q5_1 = "q5_1"
    Q5_0 = "q5_0"
    Q4_1 = "q4_1"
    Q4_0 = "q4_0"


class OffloadKind(StrEnum):
    """How many layers go to the GPU."""

    AUTO = "auto"  # as many as fit
    ALL = "all"
    LAYERS = "layers"  # a number of them


@dataclass(frozen=True, slots=True)
class Offload:
    """Layers of a model that go to the GPU."""

    kind: OffloadKind = OffloadKind.AUTO
    layers: int = 0  # read when kind is LAYERS; 0 keeps the model on the CPU

    @classmethod
    def parse(cls, text: str) -> Offload:
        """Read ``auto``, ``all`` or a number of layers."""
        word = text.strip().lower()
        if word in (OffloadKind.AUTO, OffloadKind.ALL):
            return cls(OffloadKind(word))
        if word.isdecimal():
            return cls(OffloadKind.LAYERS, int(word))
        raise UsageError(f"--n-gpu-layers {text!r} is neither auto, all nor a number of layers")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How one GGUF file is loaded; the names are llama.cpp's."""

    ctx_size: int = 0  # positions that one sequence may hold; 0 = as the model was trained, less where memory is short
    batch_size: int = 512  # tokens of one decode
    ubatch_size: int = 0  # tokens computed at once; 0 = 512, fewer for a tiny model, whose rows then never differ
    threads: int = 0  # shared by models that read at the same time; 0 = physical cores, fewer for a tiny model
    threads_batch: int = 0  # threads while reading prompts; 0 = as threads
    flash_attention: FlashAttention = FlashAttention.AUTO
    cache_type_k: CacheType = CacheType.F16
    cache_type_v: CacheType = CacheType.F16
    offload: Offload = field(default_factory=Offload)
    mmap: bool = True
    main_gpu: int = 0
    tensor_split: tuple[float, ...] = ()  # () = llama.cpp's own split

    def __post_init__(self) -> None:
        """Refuse numbers that llama.cpp would answer with an abort."""
        for name, least in (
            ("ctx_size", 0),
            ("batch_size", 1),
            ("ubatch_size", 0),
            ("threads", 0),
            ("threads_batch", 0),
        ):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least {least}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFiles:
    """Where the two models lie."""

    base: Path
    aligned: Path | None  # None: the base weights with an adapter
    aligned_lora: Path | None = None  # an adapter that turns the base weights into the aligned model
    lora_scale: float = 1.0
    name: str = ""  # the alias it was loaded by

    def __post_init__(self) -> None:
        """Want exactly one way to the aligned model."""
        if (self.aligned is None) == (self.aligned_lora is None):
            raise UsageError(
                "give the aligned model either as a GGUF file or as an adapter of the base model, not both"
            )


class BoundaryRule(StrEnum):
    """Where the speaker may change."""

    WORD = "word"  # only where a word starts
    TOKEN = "token"  # everywhere: for ablations and scripts without spaces


class StopRule(StrEnum):
    """Whose end of turn ends an answer."""

    ALIGNED = "aligned"
    EITHER = "either"


class EndCheck(StrEnum):
    """Where a word starts, is it looked up whether aligned wants to end its turn? OURS."""

    WORD = "word"  # wherever a word starts
    SENTENCE = "sentence"  # only behind what ends a sentence or a line: wakes the aligned model less often


class ScheduleName(StrEnum):
    """When the two models read; every schedule says the same tokens."""

    LOCKSTEP = "lockstep"  # both models read every token
    LAZY = "lazy"  # a model reads when its row is needed, and then everything that it has missed
    SPECULATIVE = "speculative"  # guesses are read by both models in one batch each
    AUTO = "auto"  # whichever of these is the fastest by what was measured and seen


class DrafterName(StrEnum):
    """Who guesses for the speculative schedule; no guess changes a text."""

    AUTO = "auto"  # the small model if one is loaded, else the text itself
    MODEL = "model"  # a third, small model of the same vocabulary
    BASE = "base"
    ALIGNED = "aligned"
    LOOKUP = "lookup"  # the text itself, where its last words stood before
    NONE = "none"


class ContentFrom(StrEnum):
    """Whose token the punctuation and function-word locks watch; OURS, open in arXiv 2511.05650."""

    EITHER = "either"
    BASE = "base"
    ALIGNED = "aligned"
    BOTH = "both"


class Uncertainty(StrEnum):
    """Whose distribution the probability and entropy rules read; OURS, open in arXiv 2511.05650."""

    BASE = "base"
    ALIGNED = "aligned"
    MEAN = "mean"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """Brakes on a base model that drifts (OURS, not in arXiv 2511.05650); each can be turned off."""

    role_markers: bool = True  # cut back a line of base that opens with "Question:", "User:", "###" ...
    loops: bool = True  # bar base when its last eight words are seen a third time
    max_base_run: int = 0  # words that base may write in a row; 0 = no limit
    barred_boundaries: int = 16  # how long base stays silent after a guard fired


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeOptions:
    """How one answer is decoded, sampling apart."""

    router: str = "P-PUNC"
    diversity: float = 5.0  # the dial: 0 = the aligned model alone, 10 = the base model alone
    threshold: float | None = None  # the router's raw number instead of the dial; None = dial
    boundary: BoundaryRule = BoundaryRule.WORD
    joiners: bool = True  # 't, -known, .14 continue a word
    start: Role = Role.ALIGNED
    stop_rule: StopRule = StopRule.ALIGNED
    end_check: EndCheck = EndCheck.WORD
    content_from: ContentFrom | None = None  # None = the router's own default
    uncertainty: Uncertainty = Uncertainty.BASE
    guards: Guards = field(default_factory=Guards)
    max_tokens: int = 512
    stop: tuple[str, ...] = ()  # strings that end the answer and are not part of it
    ignore_end: bool = False  # never end a turn: for benchmarks
    detail: Detail = Detail.ROUTE
    n_rivals: int = 0  # top lists recorded per side when detail is SIDES; 0 = none
    schedule: ScheduleName = ScheduleName.LOCKSTEP
    drafter: DrafterName = DrafterName.AUTO
    draft_max: int = 8  # guesses of one round at most

    def __post_init__(self) -> None:
        """Refuse values that no decode can use."""
        if not 0 <= self.diversity <= 10:
            raise UsageError(f"diversity is {self.diversity}; the dial goes from 0 (aligned alone) to 10 (base alone)")
        if self.max_tokens < 1:
            raise UsageError(f"max_tokens is {self.max_tokens}; ask for at least one token")
        if any(not text for text in self.stop):
            raise UsageError("a stop string is empty; leave it out instead")
        if self.draft_max < 0:
            raise UsageError(f"draft_max is {self.draft_max}; 0 guesses nothing")
        if self.n_rivals < 0:
            raise UsageError(f"n_rivals is {self.n_rivals}; 0 records no top lists")


def check_seed(seed: int) -> int:
    """Return a seed that the addressed noise can use, or refuse it."""
    if not 0 <= seed < SEED_LIMIT:
        raise UsageError(f"seed is {seed}; it must lie between 0 and {SEED_LIMIT - 1}")
    return seed
