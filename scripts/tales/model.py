"""A Llama-shaped transformer in torch, small enough to train on a processor.

Knows tensors and the shape of the model; knows no text, no vocabulary and no file.

Letters: B sequences, T positions, D width, H heads, E width of a head, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from tales.config import Shape

__all__ = ["Llama", "Past", "mean_of"]

N_SLICE = 128


def rotary_table(n_context: int, n_head_width: int, theta: float) -> tuple[Tensor, Tensor]:  # [T, E/2] twice
    """Return cosines and sines of the rotary angles, one row for each position."""
    frequency = theta ** (-torch.arange(0, n_head_width, 2, dtype=torch.float32) / n_head_width)
    angle = torch.outer(torch.arange(n_context, dtype=torch.float32), frequency)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:  # [B, H, T, E] -> [B, H, T, E]
    """Turn the two halves of each head by the angles of their positions."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:  # [B, H, T, E] three times -> [B, H, T, E]
    """Attend to the past in slices of positions: on a processor twice as fast as the fused kernel.

    Keys and values may begin earlier than the queries; all end at the same position.
    """
    length, scale = q.shape[2], q.shape[3] ** -0.5
    before = k.shape[2] - length
    future = torch.full((length, k.shape[2]), float("-inf"), dtype=q.dtype, device=q.device).triu(1 + before)
    seen = []
    for start in range(0, length, N_SLICE):
        end = min(start + N_SLICE, length)
        scores = q[:, :, start:end] @ k[:, :, : before + end].transpose(-1, -2) * scale
        seen.append(torch.softmax(scores + future[start:end, : before + end], dim=-1) @ v[:, :, : before + end])
    return torch.cat(seen, dim=2)


class Past:
    """Hold the keys and values that one block has read, so that a text can be read in pieces."""

    def __init__(self) -> None:
        self.k = self.v = torch.empty(0)

    @property
    def length(self) -> int:
        """Return the number of positions."""
        return self.k.shape[2] if self.k.numel() else 0

    def extended(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return what was read with these behind it, and keep it."""
        if self.length:
            k, v = torch.cat((self.k, k), dim=2), torch.cat((self.v, v), dim=2)
        self.k, self.v = k, v
        return k, v

    def keep(self, rows: Tensor) -> None:
        """Forget all sequences but these."""
        self.k, self.v = self.k[rows], self.v[rows]


class Norm(nn.Module):  # type: ignore[misc, unused-ignore]  # torch may be untyped
    """Divide by the root mean square, then scale by a learned vector."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:  # [B, T, D] -> [B, T, D]
        return functional.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.epsilon)


class Block(nn.Module):  # type: ignore[misc, unused-ignore]
    """Attend, then feed forward, each on a normalised copy of the stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        kv_width = shape.n_kv_heads * shape.head_width
        self.attn_norm = Norm(shape.width, shape.norm_epsilon)
        self.attn_q = nn.Linear(shape.width, shape.width, bias=False)
        self.attn_k = nn.Linear(shape.width, kv_width, bias=False)
        self.attn_v = nn.Linear(shape.width, kv_width, bias=False)
        self.attn_output = nn.Linear(shape.width, shape.width, bias=False)
        self.ffn_norm = Norm(shape.width, shape.norm_epsilon)
        self.ffn_gate = nn.Linear(shape.width, shape.ffn_width, bias=False)
        self.ffn_up = nn.Linear(shape.width, shape.ffn_width, bias=False)
        self.ffn_down = nn.Linear(shape.ffn_width, shape.width, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor, past: Past | None = None) -> Tensor:
        batch, length, _ = x.shape
        y = self.attn_norm(x)
        q = self.attn_q(y).view(batch, length, self.shape.n_heads, -1).transpose(1, 2)
        k = self.attn_k(y).view(batch, length, self.shape.n_kv_heads, -1).transpose(1, 2)
        v = self.attn_v(y).view(batch, length, self.shape.n_kv_heads, -1).transpose(1, 2)
        q, k = rotate(q, cosine, sine), rotate(k, cosine, sine)
        if past is not None:
            k, v = past.extended(k, v)
        group = self.shape.n_heads // self.shape.n_kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        seen = attend(q, k, v)
        x = x + self.attn_output(seen.transpose(1, 2).reshape(batch, length, -1))
        y = self.ffn_norm(x)
        return x + self.ffn_down(functional.silu(self.ffn_gate(y)) * self.ffn_up(y))


class Llama(nn.Module):  # type: ignore[misc, unused-ignore]
    """Token ids in, logits out; the embedding also reads the logits (tied)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.n_vocab, shape.width)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.n_layers))
        self.output_norm = Norm(shape.width, shape.norm_epsilon)
        cosine, sine = rotary_table(shape.n_context, shape.head_width, shape.rope_theta)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)
        self._start()

    def _start(self) -> None:
        """Draw the first weights; what writes to the stream starts smaller in a deeper model."""
        for name, weight in self.named_parameters():
            if weight.ndim < 2:
                continue
            std = 0.02 if "embd" in name else weight.shape[1] ** -0.5
            if name.endswith(("attn_output.weight", "ffn_down.weight")):
                std /= math.sqrt(2 * self.shape.n_layers)
            nn.init.normal_(weight, std=std)

    def forward(self, ids: Tensor) -> Tensor:  # [B, T] -> [B, T, V]
        """Return the logits at every position."""
        return functional.linear(self.hidden(ids), self.token_embd.weight)

    def hidden(self, ids: Tensor, past: Sequence[Past] = ()) -> Tensor:  # [B, T] -> [B, T, D]
        """Return the normalised states that the embedding turns into logits; ``past`` = one for each block, or none."""
        x = self.token_embd(ids)
        start = past[0].length if past else 0
        places = slice(start, start + ids.shape[1])
        cosine, sine = self.cosine[places].to(x.dtype), self.sine[places].to(x.dtype)
        for number, block in enumerate(self.blk):
            x = block(x, cosine, sine, past[number] if past else None)
        return self.output_norm(x)

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:  # [B, T], [B, T] -> scalar
        """Return the summed cross-entropy in nats over the targets; a target of -1 does not count."""
        logits = self(ids).float().flatten(0, 1)
        return functional.cross_entropy(logits, targets.flatten(), ignore_index=-1, reduction="sum")

    def deepened(self, n_layers: int) -> Llama:
        """Return a model of more layers that computes the same: copies between the layers, silent at first.

        The model grows while it learns, since a shallow one learns faster at first (progressive stacking, Gong and
        others, ICML 2019; silent copies: Chen and others, Net2Net, arXiv 1511.05641).
        """
        deep = Llama(replace(self.shape, n_layers=n_layers))
        deep.token_embd.load_state_dict(self.token_embd.state_dict())
        deep.output_norm.load_state_dict(self.output_norm.state_dict())
        origins = [layer * self.shape.n_layers // n_layers for layer in range(n_layers)]
        for layer, origin in enumerate(origins):
            deep.blk[layer].load_state_dict(self.blk[origin].state_dict())
            if origin in origins[:layer]:
                nn.init.zeros_(deep.blk[layer].attn_output.weight)
                nn.init.zeros_(deep.blk[layer].ffn_down.weight)
        return deep

    @property
    def n_parameters(self) -> int:
        """Return the number of trained numbers."""
        return sum(weight.numel() for weight in self.parameters())


def mean_of(models: Sequence[Llama], parts: Sequence[float]) -> Llama:
    """Return a model whose weights are those of some models of one shape, mixed by parts."""
    mixed = Llama(models[0].shape)
    states = [{name: weight.cpu() for name, weight in model.state_dict().items()} for model in models]
    mixed.load_state_dict(
        {name: sum(part * state[name] for part, state in zip(parts, states, strict=True)) for name in states[0]}
    )
    return mixed
