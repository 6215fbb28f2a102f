"""Ways to let two models write one text; all of them say the same tokens.

A schedule asks for rows and lets a voice judge them; it knows no model, no router and no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache

from baco_local.scheduling.base import Ask, Round, Schedule, Voice
from baco_local.scheduling.drafting import Drafter, continuation
from baco_local.types import Role, Row, Rows, Spoken

__all__ = ["beside", "lazily", "lazy", "lockstep", "speculative", "watchfully"]


def lockstep(voice: Voice) -> Round:
    """Let every model that the voice listens to read every token; the definition of the method."""
    rows = yield from _all_rows(voice)
    return _said(voice, rows)


def watchfully(note: Callable[[Collection[Role]], None]) -> Schedule:
    """Return lockstep that is looked at, so that it is known what lazy would save.

    Args:
        note: told after each token of two models which rows were looked at.

    """

    def one_round(voice: Voice) -> Round:
        rows = Watched((yield from _all_rows(voice)))
        said = _said(voice, rows)
        if len(rows) > 1:
            note(rows.looked_at)
        return said

    return one_round


def _all_rows(voice: Voice) -> Generator[tuple[Ask, ...], tuple[Rows, ...], dict[Role, Row]]:
    roles = tuple(voice.listens)
    found = yield _asks(roles)
    return {role: rows[-1] for role, rows in zip(roles, found, strict=True)}


def _said(voice: Voice, rows: Mapping[Role, Row]) -> Spoken:
    said = voice.say(rows)
    assert not isinstance(said, Role), f"the voice has {tuple(rows)}, yet misses {said}"
    return said


@cache
def _asks(roles: tuple[Role, ...]) -> tuple[Ask, ...]:
    return tuple(map(Ask, roles))


class Watched(Mapping[Role, Row]):
    """Rows that remember which of them were looked at."""

    __slots__ = ("_rows", "looked_at")

    def __init__(self, rows: Mapping[Role, Row]) -> None:
        self._rows = rows
        self.looked_at: set[Role] = set()

    def __getitem__(self, role: Role) -> Row:
        """Return a row."""
        self.looked_at.add(role)
        return self._rows[role]

    def __contains__(self, role: object) -> bool:
        """Return whether a row is there, without a look at it."""
        return role in self._rows

    def __iter__(self) -> Iterator[Role]:
        """Iterate over the models."""
        return iter(self._rows)

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self._rows)


def lazily(note: Callable[[Collection[Role]], None]) -> Schedule:
    """Let a model read only when its row is missed; it then catches up in one batch.

    Args:
        note: told after each token of two models which of them it has needed.

    """

    def one_round(voice: Voice) -> Round:
        rows: dict[Role, Row] = {}
        missed = tuple(voice.needs)
        while True:
            found = yield _asks(missed)
            rows |= {role: each[-1].copy() for role, each in zip(missed, found, strict=True)}  # to outlive another ask
            said = voice.say(rows)
            if not isinstance(said, Role):
                if len(voice.listens) > 1:
                    note(rows)
                return said
            missed = (said,)

    return one_round


lazy: Schedule = lazily(lambda _needed: None)


def beside(schedule: Schedule, note: Callable[[int, int], None]) -> Schedule:
    """Return a schedule of one token a round, and look on the side whether a guess from the text would have stood.

    Args:
        schedule: what is done; it says one token a round.
        note: told how many guesses there were, 0 or 1, and how many of them would have stood.

    """

    def one_round(voice: Voice) -> Round:
        with closing(voice.foresee()) as foresight:
            guess = continuation(foresight.known, 1)
        said = yield from schedule(voice)
        note(len(guess), guess == [said.id] and not said.ends)
        return said

    return one_round


def speculative(
    drafter: Drafter,
    n_draft: int,
    note: Callable[[int, int], None] = lambda _n_judged, _n_stood: None,
    otherwise: Schedule = lazy,
) -> Schedule:
    """Let guesses be read by all models in one batch, and say them as far as they stand.

    Verifying is saying again: every position is decided with the rows of all models, as in lockstep, and a guess that
    is not what was said ends the round. So no guess can change a text.

    Args:
        drafter: where guesses come from.
        n_draft: how many are wanted at most.
        note: told how many guesses were judged in a round, and how many of them stood.
        otherwise: the schedule of rounds without a guess.

    """

    def one_round(voice: Voice) -> Round:
        roles = tuple(voice.listens)
        with closing(voice.foresee()) as foresight:
            n_most = max(0, min(n_draft, foresight.room(roles) - 1))
            draft = yield from drafter(foresight, n_most)
        seen: dict[Role, Sequence[Row]] = {role: rows for role, rows in draft.rows.items() if role in roles}
        n = min((len(rows) for rows in seen.values()), default=len(draft.ids) + 1)  # positions that can be decided
        if not draft.ids and not seen:
            return (yield from otherwise(voice))
        asked = tuple(role for role in roles if role not in seen)
        found = yield tuple(Ask(role, draft.ids[: n - 1], n) for role in asked)
        seen |= {role: tuple(rows.copy()) for role, rows in zip(asked, found, strict=True)}
        n_judged = n_stood = i = 0
        try:
            while True:
                said = _said(voice, {role: seen[role][i] for role in voice.listens})
                guessed = i < len(draft.ids)
                stands = guessed and said.id == draft.ids[i] and not said.ends
                n_judged, n_stood, i = n_judged + guessed, n_stood + stands, i + 1
                if not stands or i == n:
                    return said
                yield said
        finally:
            note(n_judged, n_stood)

    return one_round
