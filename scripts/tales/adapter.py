"""Hold an aligned model as base plus low-rank matrices (LoRA, arXiv 2106.09685), and merge the two.

Knows weights; knows no text and no file. What is merged and what stays apart compute the same.

Letters: R rank, I inputs and O outputs of a matrix.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from tales.model import Llama

__all__ = ["LowRank", "adapted", "low_rank_parts", "merged"]


class LowRank(nn.Module):  # type: ignore[misc, unused-ignore]  # torch may be untyped
    """A matrix that stays as it is, plus the product of two thin ones that learn."""

    def __init__(self, weight: Tensor, change: Tensor, rank: int) -> None:  # [O, I] twice
        super().__init__()
        self.register_buffer("weight", weight.detach().clone())
        left, size, right = torch.linalg.svd(change.detach(), full_matrices=False)
        root = size[:rank].sqrt()
        self.down = nn.Parameter((root[:, None] * right[:rank]).contiguous())  # [R, I]
        self.up = nn.Parameter((left[:, :rank] * root).contiguous())  # [O, R]

    def merged(self) -> Tensor:  # -> [O, I]
        """Return the one matrix that computes the same."""
        return self.weight + self.up @ self.down

    def forward(self, x: Tensor) -> Tensor:  # [..., I] -> [..., O]
        """Multiply by the merged matrix."""
        return functional.linear(x, self.merged())


def adapted(base: Llama, aligned: Llama, rank: int) -> Llama:
    """Return base with low-rank parts that come nearest to the matrices of aligned; only they learn."""
    model = copy.deepcopy(base)
    for weight in model.parameters():
        weight.requires_grad_(requires_grad=False)
    for name, linear in aligned.named_modules():
        if isinstance(linear, nn.Linear):
            before = base.get_submodule(name).weight
            model.set_submodule(name, LowRank(before, linear.weight - before, rank))
    return model


def low_rank_parts(model: Llama) -> Iterator[tuple[str, LowRank]]:
    """Yield the adapted matrices by name."""
    for name, module in model.named_modules():
        if isinstance(module, LowRank):
            yield name, module


def merged(model: Llama) -> Llama:
    """Return a plain model that computes the same as an adapted one."""
    plain = Llama(model.shape)
    weights = {name: weight for name, weight in model.state_dict().items() if not name.endswith((".down", ".up"))}
    weights |= {f"{name}.weight": part.merged().detach() for name, part in low_rank_parts(model)}
    plain.load_state_dict(weights)
    plain.to(next(model.parameters()).device)
    return plain
