"""Prefer the better of two answers (DPO, arXiv 2305.18290), with an anchor on the better one (arXiv 2404.19733).

Knows requests, answers and log-probabilities; knows no file. The better answer is on the topic, neat, and ends. The
worse one is the same story about another thing, a careless or foreign one, or what the model itself said.

Letters: N comparisons, B rows, T positions.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from baco_local.metrics.texts import loops
from tales.checks import n_mentions, well_formed_sentences
from tales.compose import Noun, compose, lexicon, with_article
from tales.config import Preference
from tales.model import Llama
from tales.requests import (
    Conversation,
    Turn,
    name_turn,
    refusal_turn,
    story_turn,
    talk_turn,
    tell,
    title_turn,
    topic_of,
    two_turn,
    word,
)
from tales.sampling import Drawn
from tales.tokenizer import END, encode_prompt

__all__ = [
    "Comparison",
    "Encoded",
    "Request",
    "by_length",
    "composed",
    "encode",
    "judge",
    "likelihoods",
    "loss_of",
    "request",
    "rows_of",
]

TIDIEST = 0.985  # how alike the sentence forms, names and looks of a better answer are
SMALL = (talk_turn, talk_turn, refusal_turn, refusal_turn, title_turn, name_turn)
Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Hold a conversation whose last answer is the better one, and a worse answer."""

    conversation: Conversation
    worse: str


@dataclass(frozen=True, slots=True)
class Request:
    """Hold a request for a story, what it is about, and a composed answer."""

    turn: Turn
    topics: tuple[Noun, ...]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Hold the ids of a prompt with the better and with the worse answer, and the length of the prompt."""

    better: list[int]
    worse: list[int]
    n_prompt: int


# --- comparisons that the grammar makes ---------------------------------------------------------------------------


def request(rng: random.Random) -> Request:
    """Ask for a story about one topic or two."""
    turn, story = (story_turn if rng.random() < 0.8 else two_turn)(rng, TIDIEST)
    return Request(turn, story.topics)


def misheard(rng: random.Random, topic: Noun) -> str:
    """Return another noun in place of a topic; often one that begins like it, as models slip into."""
    if rng.random() < 0.5:
        return topic_of(rng, topic.kind).word
    *front, last = topic.word.split()
    ends = [noun.word.split()[-1] for noun in lexicon().nouns[rng.choice(("animal", "thing"))]]
    start = last[: rng.randint(1, max(1, len(last) - 1))]
    slipped = start + rng.choice(ends)[-rng.randint(2, 5) :]
    return rng.choice((slipped, f"{start} {rng.choice(ends)}", " ".join([*front, slipped]), rng.choice(ends)))


def renamed(text: str, word: str, other: str) -> str:
    """Put another noun in place of one wherever it stands."""
    pattern = re.compile(rf"\b{re.escape(word)}\b", re.IGNORECASE)
    return pattern.sub(lambda found: other.capitalize() if found[0][0].isupper() else other, text)


def sounds_alike(word: str, other: str) -> bool:
    """Tell whether two words take the same article, which must not give the worse answer away."""
    return with_article(word).split()[0] == with_article(other).split()[0]


def swapped(rng: random.Random) -> Comparison:
    """Compare a story with the same story about another thing: nothing but the topic tells them apart."""
    asked = request(rng)
    topic = rng.choice(asked.topics)
    other = misheard(rng, topic)
    text = renamed(asked.turn.answer, topic.word, other)
    if text == asked.turn.answer or not sounds_alike(topic.word, other):
        return swapped(rng)
    before = (talk_turn(rng),) if rng.random() < 0.1 else ()
    return Comparison(Conversation((*before, asked.turn)), text)


def overdone(rng: random.Random) -> Comparison:
    """Compare a story with one in which something else is the topic, too: a fox that looks for a fox."""
    turn, story = story_turn(rng, TIDIEST)
    (topic,) = story.topics
    nouns = {noun.word for kind in ("animal", "thing", "person") for noun in lexicon().nouns[kind]}
    others = sorted(set(re.findall(r"[a-z]+", turn.answer)) & nouns - set(topic.word.split()))
    fitting = [other for other in others if sounds_alike(topic.word, other)]
    worse = renamed(turn.answer, rng.choice(fitting), topic.word) if fitting else turn.answer
    return Comparison(Conversation((turn,)), worse) if worse != turn.answer else overdone(rng)


def careless(rng: random.Random) -> Comparison:
    """Compare a tidy story on the topic with a loose, drifting or foreign one."""
    topic = topic_of(rng)
    better = tell(rng, (topic,), neat=TIDIEST).text
    loose = compose(rng, (topic,), neat=0.0).text
    drifting = compose(rng, (topic,), neat=rng.choice((0.0, 0.75)), drift=1.0).text
    foreign = tell(rng, (topic_of(rng),)).text
    worse = rng.choice((loose, loose, drifting, foreign))
    return Comparison(Conversation((Turn(word("story", rng, topic), better),)), worse)


def small(rng: random.Random) -> Comparison:
    """Compare the right short reply with a reply to something else, so that small talk stays as it is."""
    turn = rng.choice(SMALL)(rng)
    worse = rng.choice((*SMALL, lambda rng: request(rng).turn))(rng).answer
    return Comparison(Conversation((turn,)), worse) if worse != turn.answer else small(rng)


def composed(rng: random.Random) -> Comparison:
    """Make one comparison without a model."""
    make: Callable[[random.Random], Comparison] = rng.choices((swapped, overdone, careless, small), (56, 10, 21, 13))[0]
    return make(rng)


# --- comparisons of what the model said -----------------------------------------------------------------------------


def passes(asked: Request, text: str, ended: bool) -> bool:
    """Tell whether an answer ends, names every topic twice, runs in no circle and is well formed."""
    return (
        ended
        and all(n_mentions(topic.word, text) > 1 for topic in asked.topics)
        and not loops(text)
        and all(well_formed_sentences(text))
    )


def judge(asked: Request, drawn: Sequence[Drawn], texts: Sequence[str]) -> tuple[Comparison | None, float]:
    """Return the best against the worst of a model's answers to a request, and the share of answers that pass.

    Of those that pass, the most expected one is the best: the preference is for what is usual. A composed answer
    takes its place where none passes.
    """
    good = [passes(asked, text, answer.ended) for answer, text in zip(drawn, texts, strict=True)]
    order = sorted(range(len(drawn)), key=lambda n: (not good[n], drawn[n].nats_per_token))
    best, worst = order[0], order[-1]
    better = texts[best] if good[best] else asked.turn.answer
    if not drawn[worst].ended or better == texts[worst] or not texts[worst]:  # what has no end cannot be encoded
        ended = [n for n in order if drawn[n].ended and texts[n] and texts[n] != better]
        if not ended:
            return None, float(np.mean(good))
        worst = ended[-1]
    return Comparison(Conversation((Turn(asked.turn.user, better),)), texts[worst]), float(np.mean(good))


# --- rows and loss --------------------------------------------------------------------------------------------------


def encode(comparison: Comparison, tokenizer: Tokenizer, n_context: int) -> Encoded | None:
    """Return the ids of a comparison, or None where it is longer than the context."""
    prompt = encode_prompt(comparison.conversation, tokenizer)
    answers = (comparison.conversation.turns[-1].answer, comparison.worse)
    better, worse = ([*prompt, *tokenizer.encode(text, add_special_tokens=False).ids, END] for text in answers)
    return Encoded(better, worse, len(prompt)) if max(len(better), len(worse)) <= n_context else None


def rows_of(chosen: Sequence[Encoded]) -> tuple[Ids, Ids]:  # -> [N, 2, T] twice
    """Return ids and targets, better first; -1 where nothing counts."""
    longest = max(max(len(each.better), len(each.worse)) for each in chosen) - 1
    width = -(-longest // 64) * 64  # few different shapes: kernels are made for each
    ids = np.zeros((len(chosen), 2, width), dtype=np.int64)
    targets = np.full((len(chosen), 2, width), -1, dtype=np.int64)
    for number, each in enumerate(chosen):
        for side, tokens in enumerate((each.better, each.worse)):
            ids[number, side, : len(tokens) - 1] = tokens[:-1]
            targets[number, side, each.n_prompt - 1 : len(tokens) - 1] = tokens[each.n_prompt :]
    return ids, targets


def likelihoods(model: Llama, ids: Tensor, targets: Tensor) -> Tensor:  # [N, 2, T] twice -> [N, 2]
    """Return the log-probability in nats of each answer."""
    logits = model(ids.flatten(0, 1)).float().flatten(0, 1)
    nats = functional.cross_entropy(logits, targets.flatten(), ignore_index=-1, reduction="none")
    return -nats.view(ids.shape).sum(dim=-1)


def loss_of(plan: Preference) -> Callable[[Llama, Tensor, Tensor, Tensor], tuple[Tensor, int]]:
    """Return the loss on ids, targets [N, 2, T] and the log-probabilities before training [N, 2]."""

    def loss(model: Llama, ids: Tensor, targets: Tensor, before: Tensor) -> tuple[Tensor, int]:
        now = likelihoods(model, ids, targets)
        gained = now - before
        preferred = -functional.logsigmoid(plan.beta * (gained[:, 0] - gained[:, 1]))
        anchor = -now[:, 0] / (targets[:, 0] >= 0).sum(dim=-1)
        return (preferred + plan.anchor * anchor).sum(), len(ids)

    return loss


def by_length(encoded: Sequence[Encoded], n_each: int, seed: int) -> Iterator[list[int]]:
    """Yield the numbers of comparisons of like length, in an order fixed by the seed."""
    order = sorted(range(len(encoded)), key=lambda n: max(len(encoded[n].better), len(encoded[n].worse)))
    groups = [order[start : start + n_each] for start in range(0, len(order), n_each)]
    random.Random(seed).shuffle(groups)
    yield from groups
