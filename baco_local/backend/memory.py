"""Plans what fits: how many positions the contexts of a pair hold, and how many layers go to the GPU.

Pure arithmetic on summaries and free bytes; loads nothing and asks no machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from baco_local.backend.gguf_file import GgufSummary
from baco_local.backend.machine import Device
from baco_local.config import CacheType, LoadOptions, Offload, OffloadKind
from baco_local.errors import MemoryPlanError

__all__ = [
    "PADDING",
    "ROWS_PER_SEQUENCE",
    "ContextPlan",
    "DeviceLoad",
    "PairPlan",
    "Share",
    "cells",
    "keeps_apart",
    "layers_that_fit",
    "memory_share",
    "plan_context",
    "plan_pair",
]

PADDING = 256  # llama.cpp rounds the cells of a context up to this
MANY = 4  # sequences; from here on, cells of their own pay
ROWS_PER_SEQUENCE = 16  # rows that one decode may return; their buffers are paid for once per context
LEAST_CONTEXT = 512  # positions; below this a planned context is of no use, and the plan fails instead
COMPUTE_BYTES = 64 << 20  # activations of 512 tokens of a 1B model; measured
MARGIN_BYTES = 512 << 20  # left free on every GPU: its driver, its screen, its fragmentation
DEFAULT_TRAINED = 4096  # where a file does not say


def keeps_apart(n_sequences: int) -> bool:
    """Return whether each sequence of a context shall have cells of its own, or all share theirs.

    Where they share, a fork costs nothing, and one pass reads any mix of sequences; but attention walks over the cells
    of all others, which soon takes longer than the weights do.
    """
    return n_sequences >= MANY


def cells(ctx_size: int, n_sequences: int) -> int:
    """Return the cells of a context that holds ``n_sequences`` of ``ctx_size`` positions."""
    if keeps_apart(n_sequences):
        return -(-ctx_size // PADDING) * PADDING * n_sequences
    return -(-ctx_size * n_sequences // PADDING) * PADDING


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one model of a pair asks of memory."""

    label: str  # "base", "aligned": for messages
    weight_bytes: int  # 0 = the weights are those of the other model
    cell_bytes: int  # KV cache per position
    fixed_bytes: int  # what is computed in, and the rows
    n_ctx_train: int
    ctx_size: int = 0  # asked for; 0 = as trained, less where memory is short

    def needs(self, ctx_size: int, n_sequences: int) -> int:
        """Return all its bytes at a context size."""
        return self.weight_bytes + self.fixed_bytes + self.cell_bytes * cells(ctx_size, n_sequences)


def memory_share(
    label: str, summary: GgufSummary, options: LoadOptions, *, n_sequences: int, weight_bytes: int | None = None
) -> Share:
    """Return what a model asks of memory; ``weight_bytes`` replaces the size of its file (an adapter, for example)."""
    rows = n_sequences * ROWS_PER_SEQUENCE * summary.n_vocab * 4  # in the graph, beside it, and our own copy
    k, v = CACHE_BYTES[options.cache_type_k], CACHE_BYTES[options.cache_type_v]
    return Share(
        label=label,
        weight_bytes=summary.size_bytes if weight_bytes is None else weight_bytes,
        cell_bytes=int(summary.cache_width_k * k + summary.cache_width_v * v),
        fixed_bytes=COMPUTE_BYTES + 3 * rows,
        n_ctx_train=summary.n_ctx_train or DEFAULT_TRAINED,
        ctx_size=options.ctx_size,
    )


# --- context ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ContextPlan:
    """Positions per sequence of each model, in the order of the shares."""

    ctx_sizes: tuple[int, ...]
    needed_bytes: int
    notes: tuple[str, ...] = ()


def plan_context(shares: Sequence[Share], *, n_sequences: int, free_bytes: int) -> ContextPlan:
    """Give every model the context it was trained for, halved until the pair fits; what was asked for stays.

    Raises:
        MemoryPlanError: it does not fit, and nothing is left to halve.

    """

    def needs(sizes: Sequence[int]) -> int:
        return sum(share.needs(size, n_sequences) for share, size in zip(shares, sizes, strict=True))

    wanted = [share.ctx_size or share.n_ctx_train for share in shares]
    sizes = list(wanted)
    while needs(sizes) > free_bytes:
        free_to_choose = [i for i, share in enumerate(shares) if not share.ctx_size and sizes[i] > LEAST_CONTEXT]
        if not free_to_choose:
            raise MemoryPlanError(_refusal(shares, sizes, n_sequences, free_bytes))
        largest = max(sizes[i] for i in free_to_choose)
        sizes = [
            max(LEAST_CONTEXT, size // 2) if i in free_to_choose and size == largest else size
            for i, size in enumerate(sizes)
        ]
    notes = [
        f"{share.label}: {size} positions of context instead of the {share.n_ctx_train} it was trained for, "
        f"for {_gb(needs(wanted))} are needed and {_gb(free_bytes)} are free"
        for share, size in zip(shares, sizes, strict=True)
        if not share.ctx_size and size < share.n_ctx_train
    ] + [
        f"{share.label}: {size} positions of context, and it was trained for {share.n_ctx_train}; "
        "beyond those its text may fall apart"
        for share, size in zip(shares, sizes, strict=True)
        if size > share.n_ctx_train
    ]
    return ContextPlan(tuple(sizes), needs(sizes), tuple(notes))


def _refusal(shares: Sequence[Share], sizes: Sequence[int], n_sequences: int, free_bytes: int) -> str:
    """Return what does not fit, by how much, and what to try."""
    needed = sum(share.needs(size, n_sequences) for share, size in zip(shares, sizes, strict=True))
    weights = " + ".join(f"{share.label} {_gb(share.weight_bytes)}" for share in shares if share.weight_bytes)
    caches = needed - sum(share.weight_bytes for share in shares)
    tries, smaller = [], max(sizes) // 2
    while smaller >= LEAST_CONTEXT:
        less = sum(share.needs(min(smaller, size), n_sequences) for share, size in zip(shares, sizes, strict=True))
        if less <= free_bytes:
            tries.append(f"-c {smaller} ({_gb(less)})")
            break
        smaller //= 2
    if n_sequences > 1:
        tries.append("fewer answers at once")
    tries.append("files with a smaller quantisation such as Q4_K_M")
    return (
        f"the models do not fit: they need {_gb(needed)}, and {_gb(free_bytes)} are free "
        f"({weights} + caches {_gb(caches)} at {max(sizes)} positions); nothing was loaded; try {', or '.join(tries)}"
    )


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.1f} MB"


# --- offload ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLoad:
    """One set of weights with the caches of every context that reads it."""

    weight_bytes: int
    cache_bytes: int
    fixed_bytes: int
    n_layers: int  # llama.cpp counts the output as one more

    @property
    def spread_bytes(self) -> int:
        """Return what is spread over the layers."""
        return self.weight_bytes + self.cache_bytes


def layers_that_fit(loads: Sequence[DeviceLoad], free_bytes: int) -> tuple[int, ...]:
    """Return the layers of each set of weights that fit on the device, the same share of all; 0 = none."""
    room = free_bytes - sum(load.fixed_bytes for load in loads)
    total = sum(load.spread_bytes for load in loads)
    share = min(Fraction(1), max(Fraction(0), Fraction(room, max(1, total))))
    return tuple(int(share * (load.n_layers + 1)) for load in loads)


# --- both ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PairPlan:
    """Load options of both models with nothing left to choose."""

    base: LoadOptions
    aligned: LoadOptions
    needed_bytes: int
    notes: tuple[str, ...] = ()


def plan_pair(
    base: GgufSummary,
    aligned: GgufSummary | None,
    adapter: GgufSummary | None,
    base_options: LoadOptions,
    aligned_options: LoadOptions,
    *,
    n_sequences: int,
    free_bytes: int,
    devices: Sequence[Device] = (),
) -> PairPlan:
    """Choose context sizes and offloaded layers; without ``aligned``, that model is base plus the adapter.

    ``devices`` are those that the build can offload to; memory that a GPU shares with the CPU counts once.
    """
    gpus = [device for device in devices if device.is_gpu]
    gpu_bytes = sum(max(0, gpu.free_bytes - MARGIN_BYTES) for gpu in gpus)
    apart = sum(max(0, gpu.free_bytes - MARGIN_BYTES) for gpu in gpus if not gpu.shares_memory)
    own_bytes = None if aligned is not None else adapter.size_bytes if adapter is not None else 0
    shares = (
        memory_share("base", base, base_options, n_sequences=n_sequences),
        memory_share("aligned", aligned or base, aligned_options, n_sequences=n_sequences, weight_bytes=own_bytes),
    )
    plan = plan_context(shares, n_sequences=n_sequences, free_bytes=free_bytes + apart)
    caches = [s.cell_bytes * cells(size, n_sequences) for s, size in zip(shares, plan.ctx_sizes, strict=True)]
    loads = [
        DeviceLoad(weight_bytes=s.weight_bytes, cache_bytes=cache, fixed_bytes=s.fixed_bytes, n_layers=summary.n_layers)
        for s, cache, summary in zip(shares, caches, (base, aligned or base), strict=True)
    ]
    if aligned is None:  # one set of weights under two contexts
        first, second = loads
        loads = [
            DeviceLoad(
                weight_bytes=first.weight_bytes + second.weight_bytes,
                cache_bytes=first.cache_bytes + second.cache_bytes,
                fixed_bytes=first.fixed_bytes + second.fixed_bytes,
                n_layers=first.n_layers,
            )
        ]
    layers = layers_that_fit(loads, gpu_bytes)
    return PairPlan(
        replace(base_options, ctx_size=plan.ctx_sizes[0], offload=_settle(base_options.offload, layers[0])),
        replace(aligned_options, ctx_size=plan.ctx_sizes[1], offload=_settle(aligned_options.offload, layers[-1])),
        plan.needed_bytes,
        plan.notes,
    )


def _settle(offload: Offload, layers: int) -> Offload:
    return Offload(OffloadKind.LAYERS, layers) if offload.kind is OffloadKind.AUTO else offload


CACHE_BYTES: dict[CacheType, Fraction] = {  # bytes of one number; quantised types share a scale among 32
    CacheType.F32: Fraction(4),
    CacheType.F16: Fraction(2),
    CacheType.BF16: Fraction(2),
    CacheType.Q8_0: Fraction(34, 32),
    CacheType.Q5_1: Fraction(24, 32),
    CacheType.Q5_0: Fraction(22, 32),
    CacheType.Q4_1: Fraction(20, 32),
    CacheType.Q4_0: Fraction(18, 32),
}
