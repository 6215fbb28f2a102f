"""The recipe: which steps turn a row into candidates, as plain values in the order they run.

Says what each step means and checks its numbers; does not run any of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from baco_local.errors import GrammarError, UsageError

__all__ = [
    "ORDER",
    "Dry",
    "DynamicTemperature",
    "Grammar",
    "JsonSchema",
    "LogitBias",
    "MinP",
    "Penalties",
    "Recipe",
    "SamplingOptions",
    "Step",
    "Temperature",
    "TopK",
    "TopNSigma",
    "TopP",
    "Typical",
    "Xtc",
    "sampler_names",
    "stateless",
]

COOLEST, HOTTEST = 1e-6, 1000.0  # a temperature beyond would push a masked logit over the edge of float32, or back in


@dataclass(frozen=True, slots=True)
class LogitBias:
    """Add to single logits; () = off. Minus infinity forbids a token."""

    bias: tuple[tuple[int, float], ...]  # (id, what is added)

    def __post_init__(self) -> None:
        """Refuse a negative id, and what would make a row useless."""
        for token, added in self.bias:
            _within("the token of a logit bias", token, 0, 2**31 - 1)
            if math.isnan(added) or added == math.inf:
                raise UsageError(
                    f"the logit bias of token {token} is {added}; use a finite number, or -inf to forbid it"
                )
        if len(dict(self.bias)) < len(self.bias):  # llama.cpp may forget one of them
            raise UsageError("the logit bias names a token twice; name each of them once")


@dataclass(frozen=True, slots=True)
class Penalties:
    """Lower the logits of tokens that the answer (never the prompt) already holds."""

    last_n: int = 64  # how far back they look; 0 = off, -1 = the whole answer
    repeat: float = 1.0  # divides a positive logit, multiplies a negative one; 1.0 = off
    frequency: float = 0.0  # taken off once per occurrence; 0.0 = off
    presence: float = 0.0  # taken off once; 0.0 = off

    def __post_init__(self) -> None:
        """Refuse what llama.cpp would answer with infinities."""
        _within("repeat_last_n", self.last_n, -1, 2**20)
        _within("repeat_penalty", self.repeat, 0.01, 100.0)
        _within("frequency_penalty", self.frequency, -100.0, 100.0)
        _within("presence_penalty", self.presence, -100.0, 100.0)


@dataclass(frozen=True, slots=True)
class Dry:
    """Lower the logit of a token that would go on repeating a stretch of the answer; multiplier 0.0 = off.

    The penalty is ``multiplier * base ** (length of the stretch - allowed_length)``.
    """

    multiplier: float
    base: float = 1.75
    allowed_length: int = 2  # stretches up to this long are free
    last_n: int = -1  # how far back it looks; 0 = off, -1 = the whole answer
    sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")  # a stretch ends at any of these; () = none

    def __post_init__(self) -> None:
        """Refuse what llama.cpp would silently ignore."""
        _within("dry_multiplier", self.multiplier, 0.0, 100.0)
        _within("dry_base", self.base, 1.0, 100.0)
        _within("dry_allowed_length", self.allowed_length, 1, 2**20)
        _within("dry_penalty_last_n", self.last_n, -1, 2**20)
        if any(not text or "\0" in text for text in self.sequence_breakers):
            raise UsageError("a DRY sequence breaker is empty or holds a zero byte; leave it out instead")


@dataclass(frozen=True, slots=True)
class TopNSigma:
    """Keep logits within n standard deviations of the largest (arXiv 2411.07641); 0.0 = off."""

    n: float

    def __post_init__(self) -> None:
        """Refuse a negative distance."""
        _within("top_nsigma", self.n, 0.0, 1e6)


@dataclass(frozen=True, slots=True)
class TopK:
    """Keep the k largest logits; 0 = off."""

    k: int

    def __post_init__(self) -> None:
        """Refuse a negative count."""
        _within("top_k", self.k, 0, 2**31 - 1)


@dataclass(frozen=True, slots=True)
class Typical:
    """Keep the tokens whose surprise is nearest to the entropy, up to mass p (arXiv 2202.00666); 1.0 = off."""

    p: float

    def __post_init__(self) -> None:
        """Refuse what is no mass."""
        _within("typical", self.p, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class TopP:
    """Keep the likeliest tokens up to mass p, at least one (arXiv 1904.09751); 1.0 = off."""

    p: float

    def __post_init__(self) -> None:
        """Refuse what is no mass."""
        _within("top_p", self.p, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class MinP:
    """Keep tokens at least p times as likely as the likeliest (arXiv 2407.01082); 0.0 = off."""

    p: float

    def __post_init__(self) -> None:
        """Refuse what is no fraction."""
        _within("min_p", self.p, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Xtc:
    """With some probability remove all tokens above the threshold but the least likely of them; 0.0 = off."""

    probability: float
    threshold: float = 0.1  # above 0.5 nothing is ever removed

    def __post_init__(self) -> None:
        """Refuse what is no probability."""
        _within("xtc_probability", self.probability, 0.0, 1.0)
        _within("xtc_threshold", self.threshold, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Temperature:
    """Divide all logits by t; 1.0 = off, 0.0 = greedy (of equals the lowest id, where it is the last step)."""

    t: float

    def __post_init__(self) -> None:
        """Refuse what float32 cannot divide by."""
        if self.t != 0.0:
            _within("temperature", self.t, COOLEST, HOTTEST, " (0 = greedy)")


@dataclass(frozen=True, slots=True)
class DynamicTemperature:
    """Divide by a temperature in t - range .. t + range that rises with the entropy (arXiv 2309.02772)."""

    t: float
    range: float  # 0.0 = a plain temperature
    exponent: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what float32 cannot divide by."""
        _within("temperature", self.t, COOLEST, HOTTEST, " where dynatemp_range is used")
        _within("dynatemp_range", self.range, 0.0, HOTTEST)
        _within("dynatemp_exponent", self.exponent, 0.0, 100.0)


@dataclass(frozen=True, slots=True)
class Grammar:
    """Allow only what a grammar in llama.cpp's GBNF lets the answer become."""

    gbnf: str
    root: str = "root"  # the rule that the whole answer must match

    def __post_init__(self) -> None:
        """Refuse an empty grammar; llama.cpp judges the rest."""
        if not self.gbnf.strip():
            raise GrammarError("the grammar is empty; leave it out to allow everything")
        if "\0" in self.gbnf + self.root:
            raise GrammarError("the grammar holds a zero byte")


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """Allow only JSON that fits a schema."""

    schema: str  # JSON text

    def __post_init__(self) -> None:
        """Refuse what is not JSON."""
        try:
            json.loads(self.schema)
        except ValueError as error:
            raise GrammarError(f"the JSON schema is not JSON: {error}") from error


Step: TypeAlias = (
    LogitBias
    | Penalties
    | Dry
    | TopNSigma
    | TopK
    | Typical
    | TopP
    | MinP
    | Xtc
    | Temperature
    | DynamicTemperature
    | Grammar
    | JsonSchema
)
Recipe: TypeAlias = tuple[Step, ...]


def stateless(recipe: Recipe) -> bool:
    """Tell whether candidates depend on the row alone, so that all sequences may share one chain."""
    return not any(isinstance(step, Penalties | Dry | Grammar | JsonSchema) for step in recipe)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions:
    """How a token is drawn, as flat numbers under llama.cpp's names; as it stands, temperature 1 and no truncation."""

    temperature: float = 1.0  # 0 = greedy, 1 = off
    dynatemp_range: float = 0.0  # 0 = off
    dynatemp_exponent: float = 1.0
    top_k: int = 0  # 0 = off
    top_p: float = 1.0  # 1 = off
    min_p: float = 0.0  # 0 = off
    typical: float = 1.0  # 1 = off
    top_nsigma: float = -1.0  # 0 or less = off
    repeat_penalty: float = 1.0  # 1 = off
    repeat_last_n: int = 64  # 0 = off, -1 = the whole answer
    presence_penalty: float = 0.0  # 0 = off
    frequency_penalty: float = 0.0  # 0 = off
    xtc_probability: float = 0.0  # 0 = off
    xtc_threshold: float = 0.1  # above 0.5 = off
    dry_multiplier: float = 0.0  # 0 = off
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1  # 0 = off, -1 = the whole answer
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    logit_bias: tuple[tuple[int, float], ...] = ()  # (id, what is added)
    grammar: str | None = None  # GBNF text
    json_schema: str | None = None  # JSON text
    samplers: str | tuple[str, ...] = ()  # "top_k;temperature;min_p"; steps not named do not run; () = ORDER

    def __post_init__(self) -> None:
        """Check every number, also of steps that are off or not named."""
        if self.grammar is not None and self.json_schema is not None:
            raise UsageError("both a grammar and a JSON schema are given; choose one")
        for step_of in ORDER.values():
            step_of(self)
        self.recipe()

    def recipe(self) -> Recipe:
        """Return the steps that are on: bias and grammar first, then ``samplers`` in their order."""
        steps: list[Step] = []
        if self.logit_bias:
            steps.append(LogitBias(self.logit_bias))
        if self.grammar is not None:
            steps.append(Grammar(self.grammar))
        if self.json_schema is not None:
            steps.append(JsonSchema(self.json_schema))
        steps += (ORDER[name](self) for name in sampler_names(self.samplers))
        return tuple(step for step in steps if not _is_off(step))


def sampler_names(samplers: str | tuple[str, ...]) -> tuple[str, ...]:
    """Read an order of samplers ("top_k;temperature") by llama.cpp's names; nothing = llama.cpp's own order."""
    words = samplers.split(";") if isinstance(samplers, str) else samplers
    words = tuple(word.strip().lower().replace("-", "_") for word in words if word.strip())
    names = tuple(ALIASES.get(word, word) for word in words)
    for word, name in zip(words, names, strict=True):
        if name not in ORDER:
            raise UsageError(f"there is no sampler {word!r}; known are {', '.join(ORDER)}")
    return names or tuple(ORDER)


def _is_off(step: Step) -> bool:
    """Tell whether a step would leave every row as it is."""
    match step:
        case LogitBias(bias):
            return not bias
        case Penalties(last_n, repeat, frequency, presence):
            return last_n == 0 or (repeat == 1.0 and frequency == 0.0 and presence == 0.0)
        case Dry(multiplier=multiplier, last_n=last_n):
            return multiplier == 0.0 or last_n == 0
        case Xtc(probability, threshold):
            return probability == 0.0 or threshold > 0.5
        case TopNSigma(0.0) | TopK(0) | Typical(1.0) | TopP(1.0) | MinP(0.0) | Temperature(1.0):
            return True
        case _:
            return False


def _within(name: str, value: float, least: float, most: float, note: str = "") -> None:
    """Refuse a value outside its range; not-a-number is outside of every range."""
    if not least <= value <= most:
        raise UsageError(f"{name} is {value}; it must lie between {least} and {most}{note}")


def _temperature(options: SamplingOptions) -> Step:
    if options.dynatemp_range:
        return DynamicTemperature(options.temperature, options.dynatemp_range, options.dynatemp_exponent)
    return Temperature(options.temperature)


ALIASES: dict[str, str] = {
    "typical": "typ_p",
    "typical_p": "typ_p",
    "typ": "typ_p",
    "nucleus": "top_p",
    "temp": "temperature",
}

ORDER: dict[str, Callable[[SamplingOptions], Step]] = {  # llama.cpp's names in llama.cpp's order
    "penalties": lambda o: Penalties(o.repeat_last_n, o.repeat_penalty, o.frequency_penalty, o.presence_penalty),
    "dry": lambda o: Dry(
        o.dry_multiplier, o.dry_base, o.dry_allowed_length, o.dry_penalty_last_n, o.dry_sequence_breakers
    ),
    "top_n_sigma": lambda o: TopNSigma(max(o.top_nsigma, 0.0)),
    "top_k": lambda o: TopK(o.top_k),
    "typ_p": lambda o: Typical(o.typical),
    "top_p": lambda o: TopP(o.top_p),
    "min_p": lambda o: MinP(o.min_p),
    "xtc": lambda o: Xtc(o.xtc_probability, o.xtc_threshold),
    "temperature": _temperature,
}
