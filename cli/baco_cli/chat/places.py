"""Where in a reply the two models parted: its words numbered, the places worth asking about, and why one went so.

Reads recorded numbers; asks no model again and paints nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from baco_local.engine.answer import Token
from baco_local.routing.boundary import opens_word
from baco_local.types import Role, SideRecord

__all__ = ["Option", "Place", "disagreement", "hinges", "options", "other_word", "places", "reason", "word_starts"]

SLIGHT_BITS = 0.05  # below it two models want the same word


@dataclass(frozen=True, slots=True)
class Place:
    """A word of a reply, from the token at which the speaker could change up to the next such token."""

    number: int  # as in /why and /alt, from 1
    tokens: tuple[Token, ...]
    switched: bool  # another voice spoke the word before

    @property
    def first(self) -> Token:
        """Return the token that was decided here."""
        return self.tokens[0]

    @property
    def start(self) -> int:
        """Return the index of that token in the reply."""
        return self.first.position

    @property
    def word(self) -> str:
        """Return the whole word, with the space before it."""
        return "".join(token.text for token in self.tokens)

    def side(self, role: Role) -> SideRecord | None:
        """Return what one model thought where the word starts; None if it was not asked or not recorded."""
        return self.first.base if role is Role.BASE else self.first.aligned


@dataclass(frozen=True, slots=True)
class Option:
    """A way in which one model would have gone on."""

    id: int
    text: str  # the first piece of a word
    p: float
    ends: bool = False  # it would have ended the reply
    opens: bool = True  # it starts a word, so it may stand here


def word_starts(tokens: Sequence[Token]) -> list[int]:
    """Return the indices of the tokens that open a word, also where one model wrote alone and nothing was decided."""
    starts, before = [], ""
    for i, token in enumerate(tokens):
        if token.boundary or (token.text and opens_word(token.text.encode(), before)):
            starts.append(i)
        before = token.text[-1:] or before
    return starts


def places(tokens: Sequence[Token]) -> tuple[Place, ...]:
    """Number the words of a reply."""
    starts = word_starts(tokens)
    edges = [*starts, len(tokens)]
    return tuple(
        Place(number, tuple(tokens[start:end]), start > 0 and tokens[start - 1].speaker is not tokens[start].speaker)
        for number, (start, end) in enumerate(pairwise(edges), 1)
    )


def hinges(some: Sequence[Place], limit: int) -> list[Place]:
    """Return the places worth asking about, in the order of the text: the switches first, then the widest partings."""
    apart = {place.number: disagreement(place.first) for place in some}
    worth = [place for place in some if place.switched or apart[place.number] > SLIGHT_BITS]
    worth.sort(key=lambda place: (not place.switched, -apart[place.number]))
    return sorted(worth[:limit], key=lambda place: place.number)


def disagreement(token: Token) -> float:
    """Return the Jensen-Shannon divergence in bits, on what was recorded of both sides; 0 if a side is missing.

    Tokens that neither side lists are lumped together, and one that a side does not list counts nothing there.
    """
    if token.base is None or token.aligned is None:
        return 0.0
    p, q = _chances(token.base), _chances(token.aligned)
    pairs = [(p.get(token, 0.0), q.get(token, 0.0)) for token in {*p, *q}]
    pairs.append((max(0.0, 1 - sum(p.values())), max(0.0, 1 - sum(q.values()))))
    return sum((_half(a, a + b) + _half(b, a + b)) / 2 for a, b in pairs)


def options(side: SideRecord, pieces: Sequence[bytes], before: str) -> list[Option]:
    """Return a side's likeliest ways to go on after a text, best first."""
    ranked = sorted(_chances(side).items(), key=lambda item: -item[1])
    return [_option(token, p, pieces[token], before) for token, p in ranked if 0 <= token < len(pieces)]


def other_word(place: Place, pieces: Sequence[bytes], before: str) -> Option | None:
    """Return the likeliest word of the voice that was silent here, other than the word that was said."""
    side = place.side(place.first.speaker.other)
    if side is None:
        return None
    ways = options(side, pieces, before)
    return next((way for way in ways if way.opens and not way.ends and way.id != place.first.id), None)


def reason(
    place: Place,
    names: dict[Role, str],
    *,
    diversity: float | None = None,
    router: str = "",
    sure_from: float | None = None,
) -> str:
    """Say in one sentence why this voice spoke here.

    Args:
        place: the word.
        names: what the voices are called.
        diversity: where the dial stood; None if nobody knows.
        router: the name of the rule.
        sure_from: the chance of its best word from which on base counts as sure; None where no such number decided.

    """
    token = place.first
    voice, other = names[token.speaker], names[token.speaker.other]
    dial = "" if diversity is None else f" at d={diversity:g}"
    sentence = REASONS.get(token.reason, "{voice} spoke here by the rule “{rule}”{dial}.")
    told = sentence.format(
        voice=voice,
        other=other,
        dial=dial,
        rule=token.reason,
        sure=_sure(place.side(Role.BASE), sure_from),
        kept="a function word" if "FC" in router.upper() else "punctuation or a line break",
    )
    told = told[0].upper() + told[1:]
    if token.spoken.refused:
        told += f" The dial had named {other}, but what {other} drew would have continued the old word."
    return told


def _chances(side: SideRecord) -> dict[int, float]:
    return {side.top: side.max_p} | {rival.id: math.exp(rival.logprob) for rival in side.rivals}


def _half(a: float, both: float) -> float:
    return a * math.log2(2 * a / both) if a > 0 else 0.0


def _option(token: int, p: float, piece: bytes, before: str) -> Option:
    return Option(token, piece.decode("utf-8", "replace"), p, ends=not piece, opens=opens_word(piece, before))


def _sure(base: SideRecord | None, sure_from: float | None) -> str:
    if base is None:
        return ""
    best = f" (its best word had {100 * base.max_p:.0f} %"
    return f"{best})" if sure_from is None else f"{best}, and {100 * sure_from:.0f} % counts as sure)"


REASONS = {  # what the routing rules and the engine call their decisions
    "unsure": "voice A was unsure{sure}, and such a place goes to {voice}{dial}.",
    "sure": "voice A was sure{sure}, and such a place goes to {voice}{dial}.",
    "locked": "a voice wanted {kept} here, and such places stay with {voice}.",
    "open": "no lock held this place, so it goes to {voice}{dial}.",
    "coin": "a coin fell on {voice}{dial}.",
    "alone": "the dial stood at its end: {voice} alone.",
    "blend": "both voices were mixed here, and {voice} liked this word better.",
    "end near": "{voice} would rather have ended the reply here, and it has the say about that.",
    "handed over": "{other} had come to the end of its text and handed over to {voice}.",
    "base barred": "{other} had drifted off, so it was told to be silent for a while.",
    "base run": "{other} had written as many words in a row as it may.",
    "line start": "a new line belongs to {voice} with this pair.",
    "inside word": "{other} had nothing to add that would start a word, so {voice} went on.",
}
