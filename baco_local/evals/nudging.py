"""The rival ``nudge-words``: base writes while it is sure, and whole words of aligned nudge it on where it is not.

The word loop of Nudging (arXiv 2410.09300) as its public code runs it, over tokens that both models share: nothing is
tokenised anew, and no word is cut inside a token. Knows no file and no metric.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

from baco_local.engine import sequence as answers
from baco_local.engine.foresight import Foreseen
from baco_local.engine.voice import Moment
from baco_local.evals.questions import Question
from baco_local.evals.ways import Asking, Draft, Fits, plainly
from baco_local.sampling.sampler import Sampler
from baco_local.scheduling.base import Ask, Loop, Round
from baco_local.types import Role, Row, Rows, Spoken

__all__ = ["NUDGING", "nudged", "trimmed", "words_of"]

DRAFT = 16  # tokens that either model writes before they are looked at
ROUNDS = 150  # nudges, at most
SAME_NUDGES = 4  # so many in a row are a loop
LONG_CHUNK = 5  # words; a chunk of base that has more, and is in the answer already, is a loop
LONG_TAIL = 30  # characters; a shorter repeated tail is kept

BOTH = tuple(Role)
T = TypeVar("T")
Steps: TypeAlias = Generator[tuple[Ask, ...] | Spoken, tuple[Rows, ...], T]


class Ahead:
    """An answer that is only thought of: what was said, and what may follow."""

    def __init__(self, sequence: answers.Sequence, sampler: Sampler) -> None:
        self._sequence, self._scene, self._sampler = sequence, Foreseen(sequence), sampler
        self.ids: tuple[int, ...] = ()  # behind the answer

    def ask(self, role: Role) -> Steps[tuple[int, float]]:
        """Have a model read all of it; return the token that it says next, and the probability of its likeliest."""
        (rows,) = yield (Ask(role, self.ids),)
        row: Row = rows[-1]
        moment = Moment(self._scene, self._sampler, {role: row})
        return moment.draw(role), moment.sides[role].spread.max_p

    def add(self, token: int, role: Role) -> None:
        """Think of one more token."""
        self._scene.accept(Spoken(token, role, "", boundary=False))
        self._sampler.accept(token)
        self.ids = (*self.ids, token)

    @property
    def room(self) -> int:
        """Return how many more tokens may follow."""
        return self._sequence.room(BOTH) - len(self.ids)


@contextmanager
def ahead(sequence: answers.Sequence, sampler: Sampler) -> Iterator[Ahead]:
    """Think ahead from the answer so far; the sampler's memory stays as it is."""
    fork = sampler.fork()
    try:
        yield Ahead(sequence, fork)
    finally:
        fork.close()


def rounds(sequence: answers.Sequence, sampler: Sampler, threshold: float) -> Round:
    """Run the word loop to the end of the answer, or as far as there is room."""
    loop = word_loop(sequence, sampler, threshold)
    step = next(loop)
    while not isinstance(step, Spoken) or not (step.ends or sequence.room(BOTH) <= 1):
        step = loop.send((yield step))
    return step


def word_loop(sequence: answers.Sequence, sampler: Sampler, threshold: float) -> Steps[None]:
    """Let aligned draft and base judge, word by word, until aligned ends its turn or a loop is found."""
    pieces = sequence.vocab.pieces
    nudges: list[tuple[int, ...]] = []
    for _ in range(ROUNDS):
        draft, end = yield from drafted(sequence, sampler)
        words = words_of([pieces[token] for token in draft])
        if end is not None:
            yield from said([draft[a:b] for a, b in words], Role.ALIGNED, "nudge")
            yield Spoken(end, Role.ALIGNED, "end of turn", boundary=True, ends=True)
            return
        n_words, opening = yield from judged(sequence, sampler, draft, words, threshold)
        nudges = [*nudges[1 - SAME_NUDGES :], draft[: words[n_words - 1][1]]]
        if len(nudges) == SAME_NUDGES and len(set(nudges)) == 1:
            yield broken_off(sequence, "repeated nudge")
            return
        yield from said([draft[a:b] for a, b in words[:n_words]], Role.ALIGNED, "nudge")
        if opening is not None:
            yield from base_turn(sequence, sampler, opening, threshold)
    yield broken_off(sequence, "rounds")


def drafted(sequence: answers.Sequence, sampler: Sampler) -> Steps[tuple[tuple[int, ...], int | None]]:
    """Return aligned's draft, and the token by which it ends the answer, if it does."""
    with ahead(sequence, sampler) as thought:
        while len(thought.ids) < DRAFT and thought.room > 0:
            token, _ = yield from thought.ask(Role.ALIGNED)
            if token in sequence.vocab.stops[Role.ALIGNED]:
                return thought.ids, token
            thought.add(token, Role.ALIGNED)
        return thought.ids, None


def judged(
    sequence: answers.Sequence,
    sampler: Sampler,
    draft: tuple[int, ...],
    words: Sequence[tuple[int, int]],
    threshold: float,
) -> Steps[tuple[int, int | None]]:
    """Return how many words of a draft are said, and the token with which base takes over, if it does.

    The first word is said in any case. The last one is not, for the limit may have cut it, unless it is the only one.
    """
    pieces = sequence.vocab.pieces
    with ahead(sequence, sampler) as thought:
        for n_words, (start, end) in enumerate(words[1:], start=1):
            for token in draft[len(thought.ids) : start]:
                thought.add(token, Role.ALIGNED)
            token, max_p = yield from thought.ask(Role.BASE)
            if token in sequence.vocab.stops[Role.BASE]:
                return n_words, None  # its turn is over as it begins
            if b"".join(pieces[one] for one in draft[start:end]).startswith(pieces[token]) or max_p >= threshold:
                return n_words, token
    return max(1, len(words) - 1), None


def base_turn(sequence: answers.Sequence, sampler: Sampler, opening: int, threshold: float) -> Steps[None]:
    """Let base write in chunks up to its first token that it is not sure of, or until it repeats itself."""
    pieces = sequence.vocab.pieces
    yield from said([(opening,)], Role.BASE, "agreed or sure")
    own = pieces[opening]
    n_most = DRAFT - 1  # the opening is the first of its chunk
    while True:
        unsure = stopped = False
        with ahead(sequence, sampler) as thought:
            while len(thought.ids) < n_most and thought.room > 0:
                token, max_p = yield from thought.ask(Role.BASE)
                unsure, stopped = max_p < threshold, token in sequence.vocab.stops[Role.BASE]
                if unsure or stopped:
                    break
                thought.add(token, Role.BASE)
            chunk = thought.ids
        text = b"".join(pieces[token] for token in chunk)
        repeats = text.count(b" ") >= LONG_CHUNK and text in sequence.text.encode()
        if repeats or (text in own and not unsure):  # an unsure end has cut the chunk short, so it may be anywhere
            return
        yield from said([(token,) for token in chunk], Role.BASE, "sure")
        if unsure or stopped:
            return
        own += text
        n_most = DRAFT


def said(words: Sequence[Sequence[int]], speaker: Role, reason: str) -> Steps[None]:
    """Say words, token by token; the other model may have taken over before each of them."""
    for word in words:
        for place, token in enumerate(word):
            yield Spoken(token, speaker, reason, boundary=place == 0)


def broken_off(sequence: answers.Sequence, reason: str) -> Spoken:
    """Return an end that neither model has said."""
    return Spoken(min(sequence.vocab.stops[Role.ALIGNED]), Role.ALIGNED, reason, boundary=True, ends=True)


def words_of(pieces: Sequence[bytes]) -> list[tuple[int, int]]:
    """Return where each word begins and ends: it begins with a space, and blanks alone are none.

    A space inside a token parts nothing, for no token is ever cut.
    """
    starts = [0]
    blank = True
    for place, piece in enumerate(pieces):
        if piece.startswith(b" ") and not blank:
            starts.append(place)
            blank = True
        blank = blank and not piece.strip(b" ")
    return list(zip(starts, [*starts[1:], len(pieces)], strict=True)) if pieces else []


def nudged(question: Question, n: int, fits: Fits) -> Asking:
    """Ask n times the same, and take a tail that repeats itself off each answer."""
    drafts: tuple[Draft, ...] = yield from plainly(question, n, fits)
    return tuple(draft.part(0, len(trimmed(draft.text))) for draft in drafts)


def trimmed(text: str) -> str:
    """Return a text without a long tail that stands just before it, too; again and again."""
    text = text.rstrip()
    while True:
        lengths = range(len(text) // 2, LONG_TAIL - 1, -1)
        n = next((n for n in lengths if text[-n:] == text[-2 * n : -n]), 0)
        if not n:
            return text
        text = text[:-n]


NUDGING = Loop("nudge-words", rounds)
