"""Draw many answers at once from a model in torch; each batch has a seed of its own.

Knows ids and logits; knows no text. Prompts of one batch are equally long, so nothing is padded.

Letters: B sequences, T positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tales.model import Llama, Past

__all__ = ["Drawn", "draw"]


@dataclass(slots=True)
class Drawn:
    """Hold the ids of one answer without its end, whether it ended, and its log-probability in nats."""

    ids: list[int]
    ended: bool = False
    log_probability: float = 0.0

    @property
    def nats_per_token(self) -> float:
        """Return how surprising a token was, on average."""
        return -self.log_probability / max(1, len(self.ids) + self.ended)


@torch.no_grad()  # type: ignore[untyped-decorator, unused-ignore]
def draw(model: Llama, prompts: Tensor, end: int, n_tokens: int, seed: int) -> list[Drawn]:  # [B, T]
    """Draw one answer of at most ``n_tokens`` to each prompt at temperature 1, from the whole distribution."""
    rng = torch.Generator(prompts.device).manual_seed(seed)
    answers = [Drawn([]) for _ in range(len(prompts))]
    past = [Past() for _ in model.blk]
    open_rows = torch.arange(len(prompts), device=prompts.device)  # which answer each row of the batch belongs to
    ids = prompts
    for _ in range(n_tokens):
        states = model.hidden(ids, past)[:, -1]
        log_probabilities = torch.log_softmax(functional.linear(states, model.token_embd.weight).float(), dim=-1)
        drawn = torch.multinomial(log_probabilities.exp(), 1, generator=rng)
        of_drawn = log_probabilities.gather(1, drawn)[:, 0]
        for row, token, nats in zip(open_rows.tolist(), drawn[:, 0].tolist(), of_drawn.tolist(), strict=True):
            answers[row].log_probability += nats
            answers[row].ended = token == end
            if token != end:
                answers[row].ids.append(token)
        going_on = (drawn[:, 0] != end).nonzero()[:, 0]
        if len(going_on) == 0:
            break
        if len(going_on) < len(drawn):
            for read in past:
                read.keep(going_on)
        open_rows, ids = open_rows[going_on], drawn[going_on]
    return answers
