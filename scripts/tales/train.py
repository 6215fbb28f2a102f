"""Train: one loop for all stages, with checkpoints and exact resume.

Knows batches, optimisers and schedules; knows no text. A step is split over workers, one thread each, because
a processor shared with others stalls many-threaded kernels; the sums are taken in a fixed order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tales.model import Llama

__all__ = ["Batch", "Loss", "Report", "Stage", "held_out_nats", "run"]

N_PARTS = 4  # parts of a step for each worker; a worker that others slow down takes fewer of them
Ids = np.ndarray[Any, np.dtype[np.int64]]
Batch = Callable[[int], tuple[Any, ...]]
"""Return the arrays of a step, ids first; all have one row for each thing that is learned."""
Loss = Callable[..., tuple[Tensor, int]]
"""Return the summed loss of a model on such arrays, and by what to divide it."""


@dataclass(frozen=True, slots=True)
class Report:
    """Tell how far a stage is."""

    stage: str
    step: int
    n_steps: int
    value: float
    unit: str  # of the value
    n_tokens: int
    tokens_per_s: float
    eta_s: float


@dataclass(frozen=True, slots=True)
class Stage:
    """Hold what one stage needs besides a model and its batches."""

    name: str
    n_steps: int
    n_warmup_steps: int
    n_decay_steps: int  # the last steps, in which the rate falls to zero
    matrix_rate: float  # of Muon, for the matrices of the blocks; 0 = AdamW for all
    vector_rate: float  # of AdamW, for embedding and norms
    weight_decay: float
    n_workers: int
    checkpoint_s: float
    unit: str = "nats/token"
    rows: tuple[int, int] | None = None  # from and to which row the embedding learns; None = all of it

    def rate_at(self, step: int) -> float:
        """Return the factor on both rates: up, level, down to zero."""
        up = (step + 1) / max(1, self.n_warmup_steps)
        down = (self.n_steps - step) / max(1, self.n_decay_steps)
        return min(1.0, up, down)


def next_token_loss(model: Llama, ids: Tensor, targets: Tensor) -> tuple[Tensor, int]:  # [B, T] twice
    """Return the nats of the targets and their number; a target of -1 does not count."""
    return model.loss(ids, targets), int((targets >= 0).sum())


def optimisers(model: Llama, stage: Stage) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices and AdamW for the rest, or AdamW for all that learns."""
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    matrices = [weight for name, weight in named if weight.ndim == 2 and "embd" not in name]
    others = [weight for name, weight in named if not (weight.ndim == 2 and "embd" not in name)]
    betas = (0.9, 0.95)
    if not stage.matrix_rate:
        all_weights = [*matrices, *others]
        return [torch.optim.AdamW(all_weights, stage.vector_rate, betas, weight_decay=stage.weight_decay)]
    return [
        torch.optim.Muon(matrices, lr=stage.matrix_rate, weight_decay=stage.weight_decay),
        torch.optim.AdamW(others, lr=stage.vector_rate, betas=betas, weight_decay=0.0),
    ]


def gradients_inplace(
    model: Llama, arrays: tuple[Tensor, ...], loss: Loss, pool: ThreadPoolExecutor, n_parts: int
) -> float:
    """Set the gradients of the mean loss of a step, and return that loss."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]

    def part(of_part: tuple[Tensor, ...]) -> tuple[float, int, tuple[Tensor, ...]]:
        with torch.autocast(of_part[0].device.type, dtype=torch.bfloat16):
            summed, n = loss(model, *of_part)
        return float(summed.detach()), n, torch.autograd.grad(summed, weights)

    total, n_total = 0.0, 0
    parts = zip(*(array.chunk(n_parts) for array in arrays), strict=True)
    for number, (summed, n, gradient) in enumerate(pool.map(part, parts)):
        total, n_total = total + summed, n_total + n
        for weight, of_part in zip(weights, gradient, strict=True):
            weight.grad = of_part if number == 0 else weight.grad.add_(of_part)
    for weight in weights:
        weight.grad.div_(n_total)
    return total / n_total


def hold_rows_inplace(model: Llama, rows: tuple[int, int]) -> None:
    """Let only these rows of the embedding learn in this step."""
    gradient = model.token_embd.weight.grad
    gradient[: rows[0]] = 0
    gradient[rows[1] :] = 0


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that a broken-off write leaves the old one."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def run(model: Llama, stage: Stage, batch: Batch, checkpoint: Path, loss: Loss = next_token_loss) -> Iterator[Report]:
    """Train in place from the checkpoint, if there is one, and report each step.

    A caller may stop early and come back: the weights end the same as those of a run without a stop.
    """
    torch.set_num_threads(1)
    device = next(model.parameters()).device
    optims = optimisers(model, stage)
    step, n_tokens = 0, 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        for optim, held in zip(optims, state["optimisers"], strict=True):
            optim.load_state_dict(held)
        step, n_tokens = state["step"], state["n_tokens"]
    full_rates = [stage.matrix_rate, stage.vector_rate][-len(optims) :]

    def keep() -> None:
        held = [optim.state_dict() for optim in optims]
        save(checkpoint, {"model": model.state_dict(), "optimisers": held, "step": step, "n_tokens": n_tokens})

    on_cpu = device.type == "cpu"
    n_workers = stage.n_workers if on_cpu else 1
    saved_at, pace = time.monotonic(), 0.0
    with ThreadPoolExecutor(n_workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        while step < stage.n_steps:
            begun = time.monotonic()
            arrays = tuple(torch.from_numpy(array).to(device) for array in batch(step))
            value = gradients_inplace(model, arrays, loss, pool, N_PARTS * n_workers if on_cpu else 1)
            if stage.rows is not None:
                hold_rows_inplace(model, stage.rows)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optim, full_rate in zip(optims, full_rates, strict=True):
                optim.param_groups[0]["lr"] = full_rate * stage.rate_at(step)
                optim.step()
            step, n_tokens = step + 1, n_tokens + arrays[0].numel()
            now = time.monotonic()
            pace = 0.9 * pace + 0.1 * (now - begun) if pace else now - begun
            if now - saved_at >= stage.checkpoint_s or step == stage.n_steps:
                keep()
                saved_at = now
            eta_s = pace * (stage.n_steps - step)
            tokens_per_s = arrays[0].numel() / pace
            yield Report(stage.name, step, stage.n_steps, value, stage.unit, n_tokens, tokens_per_s, eta_s)


def held_out_nats(model: Llama, rows: Ids, n_rows_at_once: int = 8) -> float:  # [B, T + 1] -> nats per token
    """Return the mean loss over rows that were not trained on."""
    device = next(model.parameters()).device
    total, count = 0.0, 0
    for start in range(0, len(rows), n_rows_at_once):
        part = torch.from_numpy(rows[start : start + n_rows_at_once]).to(device)
        with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16):
            total += float(model.loss(part[:, :-1], part[:, 1:]))
        count += part[:, 1:].numel()
    return total / count
