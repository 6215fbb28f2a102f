"""Which models help ``baco measure``, and what people must know about them: vectors, judges, rewards, tests.

Loads what was asked for and turns it into annotators; measures nothing.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from baco_cli.console import Screen
from baco_cli.opening import chosen_pair
from baco_cli.options import ModelChoice, per_call
from baco_local.assemble import load_embedder, load_rewarder, load_scorer
from baco_local.backend.base import ModelInfo
from baco_local.config import LoadOptions
from baco_local.errors import UsageError
from baco_local.metrics.annotators import (
    Annotate,
    Map,
    classified,
    classified_by_meaning,
    expected,
    judged,
    rewarded,
    surprised,
    vectorised,
)
from baco_local.metrics.base import AnswerSet
from baco_local.metrics.semantic import UNIGRAM_CUT, Same, unigram_same
from baco_local.reading import Scorer

__all__ = ["QUALITY", "Helpers", "Wishes", "watched"]

MEANING, QUALITY = "Meaning", "Quality"

COSINE_CUT = 0.8  # ours: paraphrases lie above it in all-MiniLM-L6-v2
YES = 0.5
QUESTION = (
    "Here are two answers to the same request.\n\nFirst answer:\n{}\n\nSecond answer:\n{}\n\n"
    "Do both say essentially the same? Answer Yes or No."
)


@dataclass(slots=True)
class Helpers:
    """Annotators, and a sentence about each for the reader."""

    meaning: list[Annotate] = field(default_factory=list)
    quality: list[Annotate] = field(default_factory=list)
    sentences: dict[str, Callable[[], str]] = field(default_factory=dict)
    n_at_once: list[int] = field(default_factory=list)  # how many threads each of the models answers

    def allow(self, n: int) -> None:
        """Let no more threads ask than this model answers."""
        self.n_at_once.append(n)

    def get_through(self, open_models: ExitStack) -> Map:
        """Return how sets are got through: in threads where all models answer several; they end before the models."""
        n = min(self.n_at_once, default=1)
        return map if n == 1 else open_models.enter_context(ThreadPoolExecutor(n, "measuring")).map

    def notes(self) -> dict[str, str]:
        """Return what must be known to read the numbers, as it is after measuring."""
        return {what: words() for what, words in self.sentences.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the options ask for."""

    semantic: Annotated[
        bool, per_call("--semantic", help="Measure meanings, too, by the pair's base model.", panel=MEANING)
    ] = False
    embed: Annotated[
        Path | None,
        per_call("--embed", help="An embedding model (GGUF) that gives the vectors of meaning.", panel=MEANING),
    ] = None
    same: Annotated[
        str,
        per_call(
            "--same",
            help="When two answers are one: unigram, cosine, judge or MODULE:FUNCTION.",
            panel=MEANING,
            metavar="TEST",
            show_default=True,
        ),
    ] = "unigram"
    same_cut: Annotated[
        float | None, per_call("--same-cut", help="From where on they are one; each test has its own.", panel=MEANING)
    ] = None
    judge: Annotated[
        Path | None,
        per_call(
            "--judge", help="A model (GGUF) that wrote no text here; its bits per byte are a quality.", panel=QUALITY
        ),
    ] = None
    reward: Annotated[Path | None, per_call("--reward", help="A reward model (GGUF).", panel=QUALITY)] = None
    reward_head: Annotated[
        Path | None, per_call("--reward-head", help="Its row of weights (.npy), for most models.", panel=QUALITY)
    ] = None

    def __post_init__(self) -> None:
        """Refuse what cannot go together, before a model is loaded."""
        if self.same == "cosine" and not (self.semantic or self.embed):
            raise UsageError("--same cosine compares vectors; add --embed MODEL.gguf (or --semantic)")
        if self.same == "judge" and self.judge is None:
            raise UsageError("--same judge asks a model; add --judge MODEL.gguf")
        if self.reward_head is not None and self.reward is None:
            raise UsageError("--reward-head does nothing without --reward MODEL.gguf")
        if self.same not in TESTS and ":" not in self.same:
            raise UsageError(f"--same {self.same!r} is no test; give {', '.join(TESTS)} or MODULE:FUNCTION")

    def load(
        self,
        models: ModelChoice,
        options: LoadOptions,
        seed: int,
        screen: Screen,
        open_models: ExitStack,
        *,
        drift: bool = False,
    ) -> Helpers:
        """Load the models that are needed, for ``drift`` the pair's aligned one, too; ``open_models`` frees them."""
        helpers = Helpers()
        if self.embed is not None or self.semantic:
            self._load_vectors(helpers, models, options, screen, open_models)
        if self.semantic:
            base = chosen_pair(models)[0].base
            screen.status.show(f"loading {base.name} …")
            scorer = load_scorer(base, options)
            open_models.callback(scorer.close)
            helpers.allow(scorer.n_at_once)
            helpers.meaning.append(surprised(scorer.bits_after, seed))
            helpers.sentences["Decan"] = lambda: (
                f"scored by {base.name}; if it wrote these texts, look once with another"
            )
        if drift:
            files = chosen_pair(models)[0]
            path = files.aligned or files.base
            screen.status.show(f"loading {path.name} …")
            aligned = load_scorer(path, options, adapter=files.aligned_lora, adapter_scale=files.lora_scale)
            open_models.callback(aligned.close)
            helpers.allow(aligned.n_at_once)
            helpers.quality.append(expected(aligned.logprob))
            helpers.sentences["Drift"] = lambda: (
                f"by {title(aligned.info)}, asked through {aligned.form}; it favours what it would say itself"
            )
        judge = self._load_quality(helpers, options, screen, open_models)
        helpers.meaning.append(self._test(helpers, judge))
        helpers.sentences.setdefault("Quality", lambda: "what was asked and can be checked; no judge, no reward model")
        return helpers

    def _load_vectors(
        self, helpers: Helpers, models: ModelChoice, options: LoadOptions, screen: Screen, open_models: ExitStack
    ) -> None:
        path = self.embed or chosen_pair(models)[0].base
        screen.status.show(f"loading {path.name} …")
        embedder = load_embedder(path, options)
        open_models.callback(embedder.close)
        helpers.allow(embedder.n_at_once)
        helpers.meaning.append(vectorised(embedder.embed))

        def words() -> str:
            cut = f"; {embedder.n_cut} texts were read up to {embedder.n_tokens} tokens only" if embedder.n_cut else ""
            if self.embed is not None:
                return f"vectors of {title(embedder.info)}, {embedder.pooling.name.lower()} of its states{cut}"
            return (
                f"mean states of the pair's base model {title(embedder.info)}, which was never trained to place "
                f"meanings, so these are coarse; better: --embed MODEL.gguf{cut}"
            )

        helpers.sentences["Meaning"] = words

    def _load_quality(
        self, helpers: Helpers, options: LoadOptions, screen: Screen, open_models: ExitStack
    ) -> Scorer | None:
        judge = None
        said = []
        if self.judge is not None:
            screen.status.show(f"loading {self.judge.name} …")
            judge = load_scorer(self.judge, options)
            open_models.callback(judge.close)
            helpers.allow(judge.n_at_once)
            helpers.quality.append(judged(judge.bits))
            said.append(f"bits per byte of {title(judge.info)}, asked through {judge.form}")
        if self.reward is not None:
            screen.status.show(f"loading {self.reward.name} …")
            rewarder = load_rewarder(self.reward, self.reward_head, options)
            open_models.callback(rewarder.close)
            helpers.allow(rewarder.n_at_once)
            helpers.quality.append(rewarded(rewarder))
            said.append(f"rewards of {self.reward.name}; utility* by the deciles of the first file's rewards")
        if said:
            helpers.sentences["Quality"] = lambda: "; ".join([*said, "and what was asked and can be checked"])
        return judge

    def _test(self, helpers: Helpers, judge: Scorer | None) -> Annotate:
        """Return what sorts answers into classes, and say how."""
        name = "Same answer"
        if self.same == "cosine":
            cut = COSINE_CUT if self.same_cut is None else self.same_cut
            helpers.sentences[name] = lambda: f"cosine above {cut:g}"
            return classified_by_meaning(cut)
        if self.same == "judge":
            assert judge is not None
            yes = YES if self.same_cut is None else self.same_cut
            helpers.sentences[name] = lambda: f"the judge says yes with a chance above {yes:g}"
            return classified(lambda a, b: a == b or judge.chance_of_yes(QUESTION.format(a, b)) > yes)
        if self.same == "unigram":
            f1 = UNIGRAM_CUT if self.same_cut is None else self.same_cut
            helpers.sentences[name] = lambda: f"unigram F1 above {f1:g}; of five words or fewer: half of them"
            return classified(lambda a, b: unigram_same(a, b, f1))
        if self.same_cut is not None:
            raise UsageError(f"--same-cut does nothing with --same {self.same}: a function of your own decides itself")
        helpers.sentences[name] = lambda: f"{self.same} says so"
        helpers.allow(1)  # who knows what else it does
        return classified(imported(self.same))


def imported(spec: str) -> Same:
    """Return the function that MODULE:FUNCTION names; it is called with two texts."""
    module, _, name = spec.partition(":")
    try:
        function: Same = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"--same {spec!r}: {error}") from error
    return function


def title(info: ModelInfo) -> str:
    """Return how a model is called in a sentence."""
    path = Path(info.path)
    return f"{path.parent.name}/{path.name} ({info.architecture}, {info.n_parameters / 1e6:.3g} M parameters)"


def watched(annotate: Annotate, screen: Screen) -> Annotate:
    """Show how many sets of answers have been read so far."""
    count = itertools.count(1)

    def shown(answers: AnswerSet) -> AnswerSet:
        screen.status.show(f"measuring … {next(count)} sets")
        return annotate(answers)

    return shown


TESTS = ("unigram", "cosine", "judge")
