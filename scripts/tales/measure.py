"""Measure the exported pair on held-out topics: whether it answers, whether it ends, how far the two agree.

Knows the GGUF files, through llama-cpp-python, and the split; knows no torch.

Letters: T positions of an answer, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp.llama_chat_format import Jinja2ChatFormatter
from numpy.typing import NDArray

from tales.compose import held_out_topics, with_article
from tales.requests import question_frame

__all__ = ["Behaviour", "Pair", "measure", "samples"]

N_ANSWER = 350
UNCOUNTABLE = (
    "cinnamon",
    "autumn",
    "forgiveness",
    "honesty",
    "moonlight",
    "homework",
    "gravity",
    "first snow",
    "northern lights",
)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Hold what was measured; shares lie between 0 and 1."""

    n_topics: int
    temperature: float
    aligned_mentions_topic: float
    aligned_ends: float
    aligned_loops: float
    aligned_tokens: float  # mean length of an answer
    base_mentions_topic: float
    top1_agreement: float
    kl_aligned_base_nats: float


class Pair:
    """Hold both models, and prompt each in its own frame."""

    def __init__(self, folder: Path, n_threads: int = 2) -> None:
        self.base, self.aligned = (
            llama_cpp.Llama(
                str(folder / f"{name}.gguf"), n_ctx=1024, n_threads=n_threads, logits_all=True, verbose=False
            )
            for name in ("base", "aligned")
        )
        template = self.aligned.metadata["tokenizer.chat_template"]
        self.render = Jinja2ChatFormatter(template=template, eos_token="<|end|>", bos_token="<|endoftext|>")

    def aligned_prompt(self, request: str) -> list[int]:
        """Return the ids of the chat template around a request."""
        text = self.render(messages=[{"role": "user", "content": request}]).prompt
        return list(self.aligned.tokenize(text.encode(), special=True))

    def base_prompt(self, request: str) -> list[int]:
        """Return the ids of the plain frame around a request."""
        return list(self.base.tokenize(question_frame(request, "").encode()))


def say(model: Any, prompt: list[int], seed: int, temperature: float, min_p: float) -> tuple[list[int], bool]:
    """Return the ids of one answer, and whether it ended by itself."""
    model.reset()
    model.set_seed(seed)
    ids: list[int] = []
    for token in model.generate(prompt, top_k=0, top_p=1.0, min_p=min_p, temp=temperature, repeat_penalty=1.0):
        if llama_cpp.llama_vocab_is_eog(model._model.vocab, token):
            return ids, True
        ids.append(token)
        if len(ids) >= N_ANSWER:
            break
    return ids, False


def mentions(topic: str, text: str) -> bool:
    """Tell whether the last word of a topic, or its plural, stands in a text."""
    return re.search(rf"\b{re.escape(topic.split()[-1].lower())}(s|es)?\b", text.lower()) is not None


def loops(text: str) -> bool:
    """Tell whether eight words in a row come three times."""
    words = text.split()
    eights = [" ".join(words[i : i + 8]) for i in range(len(words) - 7)]
    return any(eights.count(eight) > 2 for eight in set(eights))


def requests() -> Iterator[tuple[str, str]]:
    """Yield each held-out topic with a request for a story about it, in three wordings by turns."""
    forms = (
        "Tell me a story about {}.",
        "Write a short story about {}.",
        "Can you tell me a story about {}?",
    )
    for number, topic in enumerate(held_out_topics()):
        yield topic, forms[number % 3].format(topic if topic in UNCOUNTABLE else with_article(topic))


def log_probs(model: Any, prompt: list[int], answer: list[int]) -> NDArray[np.float64]:  # -> [T, V]
    """Return what a model expects at each position of an answer."""
    model.reset()
    model.eval(prompt + answer)
    rows = np.array(model.scores[len(prompt) - 1 : len(prompt) + len(answer) - 1], dtype=np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    return np.asarray(rows - np.log(np.exp(rows).sum(axis=1, keepdims=True)))


def measure(pair: Pair, n_topics: int = 100, temperature: float = 0.7) -> Behaviour:
    """Ask both models about held-out topics, without truncation, and compare them on aligned's answers."""
    told: list[tuple[bool, bool, bool, int, bool]] = []
    same: list[float] = []
    divergence: list[float] = []
    for seed, (topic, request) in list(enumerate(requests()))[:n_topics]:
        prompt, question = pair.aligned_prompt(request), pair.base_prompt(request)
        ids, ended = say(pair.aligned, prompt, seed, temperature, 0.0)
        text = pair.aligned.detokenize(ids).decode("utf-8", "replace")
        base_text = pair.base.detokenize(say(pair.base, question, seed, temperature, 0.0)[0]).decode("utf-8", "replace")
        told.append((mentions(topic, text), ended, loops(text), len(ids), mentions(topic, base_text)))
        if ids:
            p, q = log_probs(pair.aligned, prompt, ids), log_probs(pair.base, question, ids)
            same += list((p.argmax(1) == q.argmax(1)).astype(float))
            divergence += list((np.exp(p) * (p - q)).sum(axis=1))
    table = np.array(told, dtype=np.float64).mean(axis=0)
    means = [round(float(value), 3) for value in (*table, np.mean(same), np.mean(divergence))]
    return Behaviour(len(told), temperature, *means)


def samples(pair: Pair, wanted: tuple[str, ...], temperature: float, min_p: float) -> Iterator[tuple[str, str, str]]:
    """Yield each request, aligned's answer and base's answer; the seed is the request's number."""
    for seed, request in enumerate(wanted):
        aligned = say(pair.aligned, pair.aligned_prompt(request), seed, temperature, min_p)[0]
        base = say(pair.base, pair.base_prompt(request), seed, temperature, min_p)[0]
        texts = [
            model.detokenize(ids).decode("utf-8", "replace")
            for model, ids in ((pair.aligned, aligned), (pair.base, base))
        ]
        yield request, texts[0], texts[1]


def as_card(behaviour: Behaviour) -> dict[str, Any]:
    """Return the figures as the card holds them."""
    return asdict(behaviour)
