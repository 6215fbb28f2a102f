"""Measure the shipped pair on what it was not trained on: one function for each group of figures.

Knows the files through baco_local, and the split; knows no torch. Shares lie between 0 and 1.

Letters: T positions of an answer, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from baco_local import Answer, FinishReason, Job, Pair, Role, load
from baco_local.assemble import load_embedder, load_scorer
from baco_local.metrics.annotators import Embed
from baco_local.metrics.lexical import distinct, first_sentence_variety
from baco_local.metrics.semantic import vendi
from baco_local.metrics.texts import cut_alike, loops
from baco_local.routing.dial import Calibration
from tales.card import read_card
from tales.checks import mentions, well_formed_sentences
from tales.compose import held_out_topics, with_article

__all__ = [
    "Asked",
    "Figures",
    "adapter_figures",
    "agreement",
    "bits_per_byte",
    "collapse",
    "dial",
    "open_embed",
    "open_pair",
    "requests",
    "story_telling",
    "tell",
]

N_ANSWER = 350  # tokens in which an answer has to end
N_TOGETHER = 32  # answers that decode together
DIALS = (0.0, 2.0, 4.0, 5.0, 6.0, 8.0, 10.0)
ROUTER = "P-PUNC"
UNCOUNTABLE = {"cinnamon", "autumn", "forgiveness", "honesty", "moonlight", "homework", "gravity"}
ONLY_ONE = {"first snow": "the first snow", "northern lights": "the northern lights"}
FORMS = ("Tell me a story about {}.", "Write a short story about {}.", "Can you tell me a story about {}?")
Figures: TypeAlias = dict[str, Any]
Sampling: TypeAlias = dict[str, float]


@dataclass(frozen=True, slots=True)
class Asked:
    """Hold a held-out topic and a request for a story about it."""

    topic: str
    request: str


def requests(n: int) -> list[Asked]:
    """Return requests about the first held-out topics, in three wordings by turns."""
    topics = held_out_topics()[:n]
    named = [ONLY_ONE.get(topic, topic if topic in UNCOUNTABLE else with_article(topic)) for topic in topics]
    return [Asked(topic, FORMS[i % 3].format(name)) for i, (topic, name) in enumerate(zip(topics, named, strict=True))]


def open_pair(folder: Path) -> Pair:
    """Load base and aligned; the dial means what the card says, or is measured where the card says nothing."""
    pair = load(base=folder / "base.gguf", aligned=folder / "aligned.gguf", n_parallel=N_TOGETHER)
    held = read_card(folder / "card.json").get("calibration")
    if held:
        pair.calibration = Calibration.from_json(held)
    return pair


def tell(pair: Pair, asked: Sequence[Asked], n: int, diversity: float, sampling: Sampling) -> list[list[Answer]]:
    """Return n answers to each request with the dial at ``diversity``.

    Every request has a seed of its own: with the same noise, a pair with few ideas would tell all of them one story.
    """
    settings = pair.settings.turn({"router": ROUTER, "diversity": diversity, "max_tokens": N_ANSWER, **sampling})
    jobs = [
        Job(prompt=each.request, settings=settings, seed=seed, sample=sample)
        for seed, each in enumerate(asked, 1)
        for sample in range(n)
    ]
    answers = pair.answers(jobs)
    return [answers[start : start + n] for start in range(0, len(answers), n)]


# --- 1. losses ----------------------------------------------------------------------------------------------------


def bits_per_byte(path: Path, held_out: dict[str, list[str]]) -> Figures:
    """Return a model's bits per byte on each kind of text; they compare across vocabularies."""
    with closing(load_scorer(path)) as scorer:
        return {
            name: round(
                sum(scorer.bits_after("", text) for text in texts) / sum(len(text.encode()) for text in texts), 4
            )
            for name, texts in held_out.items()
        }


# --- 2. agreement, and 6. the adapter -----------------------------------------------------------------------------


class Rows:
    """Read all rows of one model, with an adapter or without; knows no frame."""

    def __init__(self, path: Path, adapter: Path | None = None) -> None:
        self._model = llama_cpp.Llama(
            str(path), n_ctx=1024, logits_all=True, verbose=False, lora_path=str(adapter) if adapter else None
        )

    def log_probs(self, prompt: Sequence[int], answer: Sequence[int]) -> NDArray[np.float64]:  # -> [T, V]
        """Return what the model expects at each position of an answer."""
        self._model.reset()
        self._model.eval([*prompt, *answer])
        rows = np.array(self._model.scores[len(prompt) - 1 : len(prompt) + len(answer) - 1], dtype=np.float64)
        rows -= rows.max(axis=1, keepdims=True)
        return np.asarray(rows - np.log(np.exp(rows).sum(axis=1, keepdims=True)))

    def close(self) -> None:
        """Free the model."""
        self._model.close()


def spoken(answer: Answer) -> list[int]:
    """Return the ids of an answer, its end included."""
    return [token.id for token in answer.tokens] + ([answer.end.id] if answer.end else [])


def divergences(
    one: Rows, other: Rows, prompts: Sequence[tuple[list[int], list[int]]], answers: Sequence[list[int]]
) -> Iterator[tuple[bool, float]]:
    """Yield at each position whether both have the same first choice, and KL(one || other) in nats."""
    for (mine, theirs), ids in zip(prompts, answers, strict=True):
        p, q = one.log_probs(mine, ids), other.log_probs(theirs, ids)
        yield from zip((p.argmax(1) == q.argmax(1)).tolist(), (np.exp(p) * (p - q)).sum(axis=1).tolist(), strict=True)


def compared(found: Iterator[tuple[bool, float]]) -> tuple[float, float]:
    """Return both means."""
    same, nats = np.array(list(found), dtype=np.float64).mean(axis=0)
    return round(float(same), 4), round(float(nats), 4)


def agreement(folder: Path, pair: Pair, asked: Sequence[Asked], answers: Sequence[Answer]) -> Figures:
    """Compare aligned with base, which reads its own frame, on aligned's answers."""
    ids = [pair.prompt_ids(each.request) for each in asked]
    with closing(Rows(folder / "aligned.gguf")) as aligned, closing(Rows(folder / "base.gguf")) as base:
        frames = [(of[Role.ALIGNED], of[Role.BASE]) for of in ids]
        same, nats = compared(divergences(aligned, base, frames, [spoken(answer) for answer in answers]))
    return {"top1_agreement": same, "kl_aligned_base_nats": nats}


def adapter_figures(folder: Path, pair: Pair, asked: Sequence[Asked], answers: Sequence[Answer]) -> Figures:
    """Compare aligned with base and adapter, and their sizes with that of one model."""
    sizes = {name: (folder / f"{name}.gguf").stat().st_size for name in ("base", "aligned", "aligned-lora")}
    prompts = [pair.prompt_ids(each.request)[Role.ALIGNED] for each in asked]
    adapter = folder / "aligned-lora.gguf"
    with closing(Rows(folder / "aligned.gguf")) as aligned, closing(Rows(folder / "base.gguf", adapter)) as other:
        frames = [(prompt, prompt) for prompt in prompts]
        same, nats = compared(divergences(aligned, other, frames, [spoken(answer) for answer in answers]))
    return {
        "adapter_top1_agreement": same,
        "kl_aligned_adapter_nats": nats,
        "adapter_pair_size": round((sizes["base"] + sizes["aligned-lora"]) / sizes["base"], 3),  # of one model's
        "all_files_mb": round(sum(sizes.values()) / 1e6, 1),
    }


# --- 3. stories ---------------------------------------------------------------------------------------------------


def share(values: Sequence[bool] | Iterator[bool]) -> float:
    """Return how many are true."""
    return round(float(np.mean(list(values))), 4)


def story_telling(asked: Sequence[Asked], aligned: Sequence[Answer], base: Sequence[Answer]) -> Figures:
    """Check one answer of each model to each request."""
    return {
        "n_topics": len(asked),
        "aligned_mentions_topic": share([mentions(a.topic, b.text) for a, b in zip(asked, aligned, strict=True)]),
        "aligned_ends": share([answer.finish is FinishReason.END for answer in aligned]),
        "aligned_loops": share([loops(answer.text) for answer in aligned]),
        "aligned_well_formed": share([fine for answer in aligned for fine in well_formed_sentences(answer.text)]),
        "aligned_tokens": round(float(np.mean([len(answer.tokens) for answer in aligned])), 1),
        "base_mentions_topic": share([mentions(a.topic, b.text) for a, b in zip(asked, base, strict=True)]),
        "base_tokens": round(float(np.mean([len(answer.tokens) for answer in base])), 1),
    }


# --- 4. collapse, and 5. the dial ---------------------------------------------------------------------------------


def open_embed(folder: Path, answers: Sequence[Sequence[str]]) -> Embed:
    """Return what turns these answers into the mean of base's states over each."""
    texts = list(dict.fromkeys(text for each in answers for text in each))
    with closing(load_embedder(folder / "base.gguf")) as embedder:
        known = dict(zip(texts, embedder.embed(texts).astype(np.float64), strict=True))
    return lambda wanted: np.array([known[text] for text in wanted])


def variety(texts: Sequence[Sequence[str]], embed: Embed) -> dict[str, float]:
    """Return the means over prompts of three kinds of variety."""
    return {
        "distinct_2": round(float(np.mean([distinct(each, 2) for each in texts])), 4),
        "first_sentences": round(float(np.mean([first_sentence_variety(each) or 0.0 for each in texts])), 4),
        "vendi": round(float(np.mean([vendi(np.asarray(embed(each))) or 0.0 for each in texts])), 4),
    }


def texts_of(answers: Sequence[Sequence[Answer]]) -> list[list[str]]:
    """Return the texts of answers by prompt."""
    return [[answer.text for answer in each] for each in answers]


def collapse(aligned: Sequence[Sequence[Answer]], base: Sequence[Sequence[Answer]], folder: Path) -> Figures:
    """Compare the variety of both models' answers to the same prompts; also when cut to comparable lengths."""
    sides = {"aligned": texts_of(aligned), "base": texts_of(base)}
    cut = [cut_alike(both) for both in zip(*sides.values(), strict=True)]
    short = {name: [texts[side] for texts, _ in cut] for side, name in enumerate(sides)}
    embed = open_embed(folder, [each for of in (sides, short) for texts in of.values() for each in texts])
    found: Figures = {"n_prompts": len(aligned), "n_samples": len(aligned[0])}
    for name, of in (("whole", sides), ("cut_alike", short)):
        both = {side: variety(texts, embed) for side, texts in of.items()}
        ratio = {kind: round(both["aligned"][kind] / both["base"][kind], 3) for kind in both["base"]}
        found[name] = both | {"ratio": ratio}
    return found


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the correlation of ranks; equal values share a rank, and what never changes has none: 0."""

    def ranks(values: Sequence[float]) -> NDArray[np.float64]:
        given = np.asarray(values)
        return np.array([(given < value).sum() + (given == value).sum() / 2 for value in given])

    if len(set(one)) == 1 or len(set(other)) == 1:
        return 0.0
    return round(float(np.corrcoef(ranks(one), ranks(other))[0, 1]), 3)


def dial(
    pair: Pair, asked: Sequence[Asked], n: int, sampling: Sampling, folder: Path, told: Callable[[str], None]
) -> Figures:
    """Turn the dial, and tell what grows and how fast the topic is lost.

    Variety is that of answers cut to comparable lengths over all places of the dial, for it falls with length;
    ``distinct_2_whole`` is that of whole ones.
    """
    answers: dict[float, list[list[Answer]]] = {}
    for d in DIALS:
        told(f"dial {d:g}")
        answers[d] = tell(pair, asked, n, d, sampling)
    whole = {d: texts_of(each) for d, each in answers.items()}
    cut = [cut_alike(every)[0] for every in zip(*whole.values(), strict=True)]
    short = {d: [texts[place] for texts in cut] for place, d in enumerate(DIALS)}
    embed = open_embed(folder, [each for of in short.values() for each in of])
    rows = []
    for d in DIALS:
        every = [(ask.topic, answer) for ask, each in zip(asked, answers[d], strict=True) for answer in each]
        rows.append(
            {
                "d": d,
                "base_share": round(float(np.mean([answer.base_share for _, answer in every])), 4),
                **variety(short[d], embed),
                "distinct_2_whole": round(float(np.mean([distinct(each, 2) for each in whole[d]])), 4),
                "mentions_topic": share([mentions(topic, answer.text) for topic, answer in every]),
                "ends": share([answer.finish is FinishReason.END for _, answer in every]),
                "tokens": round(float(np.mean([len(answer.tokens) for _, answer in every])), 1),
            }
        )
    even = [row for row in rows if row["d"] != 5.0]
    kinds = ("base_share", "distinct_2", "distinct_2_whole", "vendi", "mentions_topic")
    orders = {kind: spearman([row["d"] for row in even], [row[kind] for row in even]) for kind in kinds}
    return {"router": ROUTER, "n_prompts": len(asked), "n_samples": n, "rows": rows, "spearman": orders}
