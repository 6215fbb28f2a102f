"""Can two models share one answer? Two token tables compared id by id, and a few probe strings split by both.

Pure; knows no files and no weights. An equal size proves nothing, and an unequal one may be padding.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from baco_local.errors import PairError
from baco_local.text.vocab import TokenKind, Vocab

__all__ = [
    "PROBES",
    "Agreement",
    "Difference",
    "NamedToken",
    "SpecialTokens",
    "Split",
    "Verdict",
    "check_pair",
    "compare",
    "special_tokens",
]


class Verdict(StrEnum):
    """Whether two vocabularies can be paired."""

    SAME = "same"
    BENIGN = "benign"  # they differ where no answer looks: padding, reserved ids, added special tokens
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Difference:
    """One id that means two things; None = the id lies beyond that vocabulary."""

    id: int
    base: str | None
    aligned: str | None

    def __str__(self) -> str:
        """Return the id and both texts, quoted."""
        return f"id {self.id}  {_quoted(self.base)} | {_quoted(self.aligned)}"


@dataclass(frozen=True, slots=True)
class Split:
    """One probe string that the two tokenizers split differently."""

    text: str
    trusted: bool  # special tokens were read from the text
    base: tuple[int, ...]
    aligned: tuple[int, ...]

    def __str__(self) -> str:
        """Return the probe and the number of tokens on both sides."""
        return f"{_quoted(self.text)} is split into {len(self.base)} | {len(self.aligned)} tokens"


@dataclass(frozen=True, slots=True)
class NamedToken:
    """An id with its text."""

    id: int
    text: str


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """How the prompts of one model start and its turns end."""

    bos: NamedToken | None
    eos: NamedToken | None
    eot: NamedToken | None
    add_bos: bool
    stops: tuple[NamedToken, ...]  # every id that ends a turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What a comparison of two vocabularies found."""

    verdict: Verdict
    reasons: tuple[str, ...]  # why the pair is refused, the weightiest first; empty = it is not
    notes: tuple[str, ...]  # what differs and does no harm
    n_base: int
    n_aligned: int
    differences: tuple[Difference, ...]  # the first ids of ordinary tokens that differ
    n_differences: int
    splits: tuple[Split, ...]  # the probes that are split differently
    n_probes: int
    unshared: tuple[int, ...]  # ids that one side lacks or reads otherwise: no answer may hold them
    base: SpecialTokens
    aligned: SpecialTokens

    @property
    def n_common(self) -> int:
        """Return the width that rows of both models share."""
        return min(self.n_base, self.n_aligned)


PROBES = (
    "Hello, world! How are you today?",
    "  two  and   three    spaces ",
    "tabs\tand\t\ttabs",
    "one line\nanother\n\na paragraph\n\n\n  indented\r\nend",
    "I don't think we'll, she'd, they've, I'M, it's",
    "1 22 333 4444 55555 1234567 3.14 1,000 0x1F",
    "well-known state-of-the-art -- and — so on…",
    "“Quotes,” ‘single’ and \"plain\" 'ones'",  # noqa: RUF001
    "camelCase snake_case SCREAMING_CASE x86-64",
    "def f(x):\n    return {'a': [x ** 2]}  # code",
    "https://example.org/a?b=c&d=e#f",
    "Grüße, naïve façade, Ærøskøbing, Łódź",
    "Привет, мир! Καλημέρα κόσμε",
    "日本語のテキスト。中文文本，标点",  # noqa: RUF001
    "한국어 문장 العربية עברית हिन्दी ไทย",
    "🙂👩‍👩‍👧‍👦🏳️‍🌈👍🏽 ❤️",
    "e\u0301 combining, \u00a0no-break, \u200bzero width, \ufeffmark",
    "<|im_start|>user\nHi<|im_end|> <|eot_id|> [INST] </s> <s> <end_of_turn> <|endoftext|>",
)

_PLACEHOLDER = re.compile(r"\[PAD\d*\]|[<\[].*reserved.*[>\]]", re.IGNORECASE)
_BRACKETED = re.compile(r"<.+>|\[.+\]", re.DOTALL)


def compare(base: Vocab, aligned: Vocab, *, n_shown: int = 10) -> Agreement:
    """Compare two vocabularies, and keep the first ``n_shown`` harmful differences."""
    n_common = min(len(base), len(aligned))
    named_differently = [i for i, (a, b) in enumerate(zip(base.texts, aligned.texts, strict=False)) if a != b]
    harmful = [i for i in named_differently if not _may_differ(base, aligned, i)]
    wider = base if len(base) > len(aligned) else aligned
    added = range(n_common, len(wider))
    ordinary = [i for i in added if not _is_special(wider, i)]
    retyped = _retyped(base, aligned)

    unshared = (*named_differently, *added)
    probes = _usable_probes(_special_texts((base, aligned), (*unshared, *retyped)))
    splits = tuple(
        Split(probe, trusted, tuple(a), tuple(b))
        for probe in probes
        for trusted in (False, True)
        if (a := base.tokenize(probe, trusted=trusted)) != (b := aligned.tokenize(probe, trusted=trusted))
    )

    reasons = []
    if base.model != aligned.model:
        reasons.append(f"the tokenizers are of different types: {_quoted(base.model)} | {_quoted(aligned.model)}")
    if harmful:
        reasons.append(f"{len(harmful)} of {n_common} shared ids mean different things")
    if ordinary:
        reasons.append(f"{len(ordinary)} ordinary tokens of the {_name(wider is base)} model are unknown to the other")
    if splits:
        reasons.append(f"{len({split.text for split in splits})} of {len(probes)} probe strings are split differently")

    notes = []
    if not reasons:
        notes = _notes(base, aligned, named_differently, retyped)
    shown = (harmful + ordinary)[:n_shown]
    return Agreement(
        verdict=Verdict.REFUSED if reasons else Verdict.BENIGN if unshared or retyped else Verdict.SAME,
        reasons=tuple(reasons),
        notes=tuple(notes),
        n_base=len(base),
        n_aligned=len(aligned),
        differences=tuple(_difference(base, aligned, i) for i in shown),
        n_differences=len(harmful) + len(ordinary),
        splits=splits,
        n_probes=len(probes),
        unshared=unshared,
        base=special_tokens(base),
        aligned=special_tokens(aligned),
    )


def check_pair(base: Vocab, aligned: Vocab, *, base_name: str = "BASE", aligned_name: str = "ALIGNED") -> Agreement:
    """Return the agreement of two vocabularies, or raise PairError; the names stand in the command that it offers."""
    found = compare(base, aligned)
    if found.verdict is not Verdict.REFUSED:
        return found
    first = next(iter((*found.differences, *found.splits)), found.reasons[0])
    raise PairError(
        "these models cannot be paired\n"
        f"    base {found.n_base} tokens ({base.model}) | aligned {found.n_aligned} tokens ({aligned.model})\n"
        f"    first difference: {first}\n"
        f"    nothing was loaded.  see all differences:  "
        f"baco pairs check {shlex.quote(base_name)} {shlex.quote(aligned_name)}"
    )


def special_tokens(vocab: Vocab) -> SpecialTokens:
    """Return how prompts of this vocabulary start and turns end."""

    def named(token: int | None) -> NamedToken | None:
        return None if token is None else NamedToken(token, vocab.texts[token])

    return SpecialTokens(
        bos=named(vocab.bos),
        eos=named(vocab.eos),
        eot=named(vocab.eot),
        add_bos=vocab.add_bos,
        stops=tuple(NamedToken(i, vocab.texts[i]) for i in sorted(vocab.stops)),
    )


def _is_free(vocab: Vocab, token: int) -> bool:
    """Say whether no answer ever holds this id: unused, control, padding or reserved."""
    free = vocab.kinds[token] & (TokenKind.UNUSED | TokenKind.CONTROL)
    return bool(free) or _PLACEHOLDER.fullmatch(vocab.texts[token]) is not None


def _is_special(vocab: Vocab, token: int) -> bool:
    """Say whether an id is free, or was added with a name in brackets, such as ``<tool_call>``."""
    if _is_free(vocab, token):
        return True
    return bool(vocab.kinds[token] & TokenKind.USER_DEFINED) and _BRACKETED.fullmatch(vocab.texts[token]) is not None


def _may_differ(base: Vocab, aligned: Vocab, token: int) -> bool:
    both_special = _is_special(base, token) and _is_special(aligned, token)
    return both_special and (_is_free(base, token) or _is_free(aligned, token))


def _retyped(base: Vocab, aligned: Vocab) -> list[int]:
    """Return the ids that have one text and two kinds."""
    if base.kinds == aligned.kinds:
        return []
    rows = enumerate(zip(base.texts, aligned.texts, base.kinds, aligned.kinds, strict=False))
    return [i for i, (text, other_text, kind, other_kind) in rows if text == other_text and kind != other_kind]


def _special_texts(vocabs: Iterable[Vocab], ids: Collection[int]) -> set[str]:
    return {v.texts[i] for v in vocabs for i in ids if i < len(v) and _BRACKETED.fullmatch(v.texts[i])}


def _usable_probes(special_texts: set[str]) -> tuple[str, ...]:
    """Leave out the probes that hold a special token which the two sides are allowed to read differently."""
    return tuple(probe for probe in PROBES if not any(text in probe for text in special_texts))


def _notes(base: Vocab, aligned: Vocab, named_differently: list[int], retyped: list[int]) -> list[str]:
    notes = []
    if len(base) != len(aligned):
        notes.append(_size_note(base, aligned))
    if named_differently:
        first = _difference(base, aligned, named_differently[0])
        notes.append(f"{len(named_differently)} special or reserved ids have two names; the first: {first}")
    if retyped:
        some = ", ".join(_quoted(base.texts[i]) for i in retyped[:3])
        notes.append(f"{len(retyped)} ids have one text and two kinds: {some}{', ...' if len(retyped) > 3 else ''}")
    return notes


def _size_note(base: Vocab, aligned: Vocab) -> str:
    sizes = f"{len(base)} vs {len(aligned)}"
    wider = base if len(base) > len(aligned) else aligned
    added = range(min(len(base), len(aligned)), len(wider))
    speaking = [i for i in added if not (wider.kinds[i] & TokenKind.UNUSED or _PLACEHOLDER.fullmatch(wider.texts[i]))]
    if not speaking:
        return f"vocabularies differ only in padding ({sizes}, the extra ids carry no text)"
    some = ", ".join(wider.texts[i] for i in speaking[:3]) + (", ..." if len(speaking) > 3 else "")
    padding = f" and {len(added) - len(speaking)} of padding" if len(added) > len(speaking) else ""
    return f"the {_name(wider is base)} model adds {len(speaking)} special tokens ({some}){padding} ({sizes})"


def _difference(base: Vocab, aligned: Vocab, token: int) -> Difference:
    return Difference(token, *(v.texts[token] if token < len(v) else None for v in (base, aligned)))


def _name(is_base: bool) -> str:
    return "base" if is_base else "aligned"


def _quoted(text: str | None, longest: int = 32) -> str:
    if text is None:
        return "nothing"
    return json.dumps(text if len(text) <= longest else text[: longest - 1] + "…", ensure_ascii=False)
