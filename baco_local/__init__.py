"""Write with two local language models at once: BACo (arXiv 2511.05650) over llama.cpp.

The public names, nothing else.
"""

from baco_local.assemble import load
from baco_local.config import (
    BoundaryRule,
    CacheType,
    ContentFrom,
    DecodeOptions,
    DrafterName,
    EndCheck,
    FlashAttention,
    Guards,
    LoadOptions,
    Offload,
    ScheduleName,
    StopRule,
    Uncertainty,
)
from baco_local.engine.answer import Answer, GuardEvent, Token, Usage
from baco_local.errors import (
    BackendError,
    BacoError,
    GrammarError,
    MemoryPlanError,
    ModelFileError,
    ModelNotFoundError,
    PairError,
    PromptTooLongError,
    RouterError,
    UsageError,
)
from baco_local.pair import Job, Pair, Stream
from baco_local.routing.base import Route, Router, StepView
from baco_local.sampling.steps import SamplingOptions
from baco_local.settings import Settings
from baco_local.text.chat import Message
from baco_local.types import Detail, FinishReason, Rival, Role, SideRecord, Spoken

__all__ = [
    "Answer",
    "BackendError",
    "BacoError",
    "BoundaryRule",
    "CacheType",
    "ContentFrom",
    "DecodeOptions",
    "Detail",
    "DrafterName",
    "EndCheck",
    "FinishReason",
    "FlashAttention",
    "GrammarError",
    "GuardEvent",
    "Guards",
    "Job",
    "LoadOptions",
    "MemoryPlanError",
    "Message",
    "ModelFileError",
    "ModelNotFoundError",
    "Offload",
    "Pair",
    "PairError",
    "PromptTooLongError",
    "Rival",
    "Role",
    "Route",
    "Router",
    "RouterError",
    "SamplingOptions",
    "ScheduleName",
    "Settings",
    "SideRecord",
    "Spoken",
    "StepView",
    "StopRule",
    "Stream",
    "Token",
    "Uncertainty",
    "Usage",
    "UsageError",
    "load",
]
