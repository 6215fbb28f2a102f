"""The policies that say the next token: one model alone, two models in turn, or a blend of both.

A voice reads its sequence and the rows it is given, and changes neither; asked again, it says the same, so every
schedule may ask as often as it likes. The rules are those of ``routing``; this file is their order. Knows no model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from baco_local.config import BoundaryRule, EndCheck
from baco_local.engine.foresight import Guesses, Scene
from baco_local.engine.sequence import Sequence
from baco_local.errors import BacoError, RouterError
from baco_local.numerics import likeliest
from baco_local.routing.base import Route, Router, RowMissingError, SideView, StepView, as_route
from baco_local.routing.blends import Blend
from baco_local.routing.boundary import ends_sentence, opens_word
from baco_local.routing.stops import Endings
from baco_local.sampling.draw import Address, Stream, coin
from baco_local.sampling.sampler import Sampler
from baco_local.scheduling.base import Foresight, Loop, Round, Voice
from baco_local.types import MASKED, Detail, Rival, Role, Row, SideRecord, Spoken

__all__ = ["BlendVoice", "LoopVoice", "Moment", "SoloVoice", "SwitchVoice", "led"]

STREAMS = {Role.BASE: Stream.BASE, Role.ALIGNED: Stream.ALIGNED}


class Sides(dict[Role, SideView]):
    """The rows of one position, each masked and measured when it is first looked at; one that is missed: KeyError."""

    __slots__ = ("_rows", "_sequence")

    def __init__(self, sequence: Scene, rows: Mapping[Role, Row]) -> None:
        super().__init__()
        self._sequence, self._rows = sequence, rows

    def __missing__(self, role: Role) -> SideView:
        """Mask a row."""
        row, vocab = self._rows[role], self._sequence.vocab
        silent = (vocab.endless if self._sequence.options.ignore_end else vocab.masked)[role]
        if silent.size:
            row[silent] = MASKED
        side = self[role] = SideView(row)
        return side


class Moment:
    """One position of one sequence: the rows there, and what each side would draw."""

    __slots__ = ("_rows", "_sampler", "_sequence", "sides")

    def __init__(self, sequence: Scene, sampler: Sampler, rows: Mapping[Role, Row]) -> None:
        self._sequence, self._sampler, self._rows = sequence, sampler, rows
        self.sides = Sides(sequence, rows)

    def address(self, stream: Stream) -> Address:
        """Return where a number of noise for this position stands."""
        return Address(self._sequence.seed, self._sequence.sample, len(self._sequence.ids), stream)

    def coin(self) -> float:
        """Return the router's own number."""
        return coin(self.address(Stream.ROUTER))

    def draw(self, role: Role) -> int:
        """Return the token that a side says if it speaks, or raise RowMissingError."""
        return self._sampler.pick(self.row(role), self.address(STREAMS[role]))

    def draw_again(self, without: Collection[int]) -> int:
        """Return what base says instead of an end of its text."""
        return self._sampler.pick(self.row(Role.BASE), self.address(Stream.REDRAW), without)

    def top(self, role: Role) -> int:
        """Return the likeliest token of a side, or raise RowMissingError."""
        return self._side(role).top

    def opens(self, token: int) -> bool:
        """Return whether a token opens a word, so that the speaker may change before it."""
        options = self._sequence.options
        if options.boundary is BoundaryRule.TOKEN:
            return True
        return opens_word(self._sequence.vocab.pieces[token], self._sequence.text, joiners=options.joiners)

    def said(
        self,
        token: int,
        speaker: Role,
        reason: str,
        *,
        boundary: bool = False,
        refused: bool = False,
        ends: bool = False,
    ) -> Spoken:
        """Return a decision, with as much detail as was asked for."""
        if self._sequence.options.detail is Detail.ROUTE:
            return Spoken(token, speaker, reason, boundary, refused, ends)
        base, aligned = (self._record(role, token) for role in (Role.BASE, Role.ALIGNED))
        return Spoken(token, speaker, reason, boundary, refused, ends, base, aligned)

    def row(self, role: Role) -> Row:
        """Return a side's row, or raise RowMissingError."""
        return self._side(role).row

    def _side(self, role: Role) -> SideView:
        try:
            return self.sides[role]
        except KeyError:
            raise RowMissingError(role) from None

    def _record(self, role: Role, token: int) -> SideRecord | None:
        if role not in self._rows:
            return None
        row, spread = self.sides[role].row, self.sides[role].spread
        rivals = likeliest(row, self._sequence.options.n_rivals)
        return SideRecord(
            spread.top,
            spread.max_p,
            spread.entropy,
            float(row[token] if token < row.size else MASKED) - spread.log_z,
            tuple(Rival(int(i), float(row[i]) - spread.log_z) for i in rivals),
        )


class SoloVoice:
    """One model alone: an end of the dial. If the dial came there inside a word, the other one finishes it."""

    def __init__(self, sequence: Scene, sampler: Sampler, role: Role) -> None:
        self._sequence, self._sampler, self._role = sequence, sampler, role

    def foresee(self) -> Guesses:
        """Return what it may say next."""
        return _foresee(self._sequence, self._sampler, lambda scene, fork: SoloVoice(scene, fork, self._role))

    @property
    def listens(self) -> Collection[Role]:
        """Return the model that speaks, and behind it one whose word may not be finished."""
        return (self._role,) if self._sequence.active is self._role or not self._sequence.ids else tuple(Role)

    @property
    def needs(self) -> Collection[Role]:
        """Return the same."""
        return self.listens

    def say(self, rows: Mapping[Role, Row]) -> Spoken | Role:
        """Return the model's own draw."""
        for role in self.listens:
            if role not in rows:
                return role
        moment = Moment(self._sequence, self._sampler, rows)
        stops, last = self._sequence.vocab.stops, self._sequence.active
        token = moment.draw(self._role)
        ends = token in stops[self._role]
        if len(self.listens) > 1:
            rest = moment.draw(last)
            if rest not in stops[last] and not (moment.opens(rest) and (ends or moment.opens(token))):
                return moment.said(rest, last, "inside word")
        return moment.said(token, self._role, "end of turn" if ends else "alone", ends=ends)


class SwitchVoice:
    """Two models in turn: where a word starts, a router says who writes it (BACo, arXiv 2511.05650).

    The side that spoke last draws. If its draw opens a word, the router may name the other side; then that side draws
    too, and its draw is taken if it opens a word as well. So no word is ever spliced from two models.
    """

    def __init__(self, sequence: Scene, sampler: Sampler, router: Router, *, in_steps: bool = False) -> None:
        """Take the parts; ``in_steps`` = the router may be asked with one row, and again with both."""
        self._sequence, self._sampler, self._router, self._in_steps = sequence, sampler, router, in_steps
        self._endings = Endings(sequence.vocab.stops, sequence.options.stop_rule)
        self.listens: Collection[Role] = (Role.BASE, Role.ALIGNED)

    def foresee(self) -> Guesses:
        """Return what it may say next; a router of the user's own is not asked about what was not said."""
        router: Router = self._router if self._in_steps else lambda step: step.speaker
        return _foresee(
            self._sequence, self._sampler, lambda scene, fork: SwitchVoice(scene, fork, router, in_steps=True)
        )

    @property
    def needs(self) -> Collection[Role]:
        """Return the model that spoke last, for it draws first; both where both are recorded."""
        return self.listens if self._sequence.options.detail is Detail.SIDES else (self._sequence.active,)

    def say(self, rows: Mapping[Role, Row]) -> Spoken | Role:
        """Return the next token, or the model whose row it misses."""
        moment = Moment(self._sequence, self._sampler, rows)
        try:
            return self._say(moment, self._sequence.active)
        except RowMissingError as missing:
            return missing.role

    def _say(self, moment: Moment, active: Role) -> Spoken:
        token = moment.draw(active)
        if self._endings.ends(token, active):
            return moment.said(token, active, "end of turn", ends=True)
        if self._endings.hands_over(token, active):
            return self._hand_over(moment, active)
        if not moment.opens(token):
            return moment.said(token, active, "inside word")
        route = self._route(moment, token)
        if route.speaker is active:
            return moment.said(token, active, route.reason, boundary=True)
        other = active.other
        drawn = moment.draw(other)
        if not self._endings.accepts(drawn, other, opens=moment.opens(drawn)):
            return moment.said(token, active, route.reason, boundary=True, refused=True)
        if self._endings.ends(drawn, other):
            return moment.said(drawn, other, "end of turn", boundary=True, ends=True)
        return moment.said(drawn, other, route.reason, boundary=True)

    def _hand_over(self, moment: Moment, active: Role) -> Spoken:
        """Give the place of an end that may not end the answer to the other model, or let the speaker draw again."""
        other = active.other
        token = moment.draw(other)
        if self._endings.accepts(token, other, opens=moment.opens(token)):
            ends = self._endings.ends(token, other)
            return moment.said(token, other, "end of turn" if ends else "handed over", boundary=True, ends=ends)
        return moment.said(moment.draw_again(self._sequence.vocab.stops[active]), active, "inside word")

    def _route(self, moment: Moment, token: int) -> Route:
        """Return who shall speak where a word starts: the end check and the guards first, then the router."""
        sequence, guards = self._sequence, self._sequence.options.guards
        if self._may_be_over() and self._endings.claimed(moment.top(Role.ALIGNED)):
            return Route(Role.ALIGNED, "end near", locked=True)
        if sequence.silenced or sequence.barred:
            return Route(Role.ALIGNED, "base barred", locked=True)
        if guards.max_base_run and sequence.base_run >= guards.max_base_run:
            return Route(Role.ALIGNED, "base run", locked=True)
        if guards.role_markers and not sequence.can_cut and sequence.text.endswith("\n"):
            return Route(Role.ALIGNED, "line start", locked=True)  # a marker could not be cut back later
        if not self._in_steps:
            moment.row(sequence.active.other)  # or a router of the user's own would meet our RowMissingError
        step = StepView(
            moment.sides,
            sequence.vocab.pieces,
            position=len(sequence.ids),
            text=sequence.text,
            speaker=sequence.active,
            proposed=token,
            coin=moment.coin,
        )
        try:
            answer = self._router(step)
        except (BacoError, RowMissingError):
            raise
        except Exception as error:
            raise RouterError(f"the router failed at position {step.position}: {error!r}; repair it") from error
        return as_route(answer, step.position)

    def _may_be_over(self) -> bool:
        """Return whether it is looked up here that aligned wants to end its turn."""
        return self._sequence.options.end_check is EndCheck.WORD or ends_sentence(self._sequence.text)


class BlendVoice:
    """Both models at once: every token is drawn from a mix of their distributions, without a word boundary.

    Nobody speaks alone, so a token is put down to the model that found it likelier.
    """

    def __init__(self, sequence: Scene, sampler: Sampler, blend: Blend, weight: float) -> None:
        self._sequence, self._sampler, self._blend, self._weight = sequence, sampler, blend, weight
        self.listens = self.needs = (Role.BASE, Role.ALIGNED)

    def foresee(self) -> Guesses:
        """Return what it may say next."""
        return _foresee(
            self._sequence, self._sampler, lambda scene, fork: BlendVoice(scene, fork, self._blend, self._weight)
        )

    def say(self, rows: Mapping[Role, Row]) -> Spoken | Role:
        """Return a token of the mix; the aligned model's sampling settings and noise apply to it.

        Where a ban or a grammar leaves nothing of a mix that holds few tokens, the aligned model's row decides alone.
        """
        for role in self.listens:
            if role not in rows:
                return role
        moment = Moment(self._sequence, self._sampler, rows)
        stops = self._sequence.vocab.stops[Role.BASE] | self._sequence.vocab.stops[Role.ALIGNED]
        width = max(row.size for row in rows.values())
        base, aligned = (_widened(moment.row(role), width) for role in (Role.BASE, Role.ALIGNED))
        at = moment.address(Stream.ALIGNED)
        try:
            token = self._sampler.pick(self._blend(aligned, base, self._weight, stops), at)
        except BacoError:
            token = self._sampler.pick(aligned, at)
        ends = token in stops
        likelier = Role.ALIGNED
        if not ends and base[token] - moment.sides[Role.BASE].spread.log_z > (
            aligned[token] - moment.sides[Role.ALIGNED].spread.log_z
        ):
            likelier = Role.BASE
        return moment.said(token, likelier, "end of turn" if ends else "blend", ends=ends)


class LoopVoice:
    """A loop of one's own: it makes its rounds itself, so nobody asks it for the next token."""

    def __init__(self, sequence: Scene, sampler: Sampler, loop: Loop, threshold: float) -> None:
        self._sequence, self._sampler, self._loop, self._threshold = sequence, sampler, loop, threshold
        self.listens: Collection[Role] = (Role.BASE, Role.ALIGNED)
        self.needs = self.listens

    def round(self) -> Round:
        """Start from the answer so far."""
        return self._loop.rounds(self._sequence, self._sampler, self._threshold)

    def say(self, rows: Mapping[Role, Row]) -> Spoken | Role:
        """Refuse: a schedule has no part in a loop."""
        raise NotImplementedError(f"{self._loop.name} makes its rounds itself")

    def foresee(self) -> Foresight:
        """Refuse, too."""
        raise NotImplementedError(f"{self._loop.name} makes its rounds itself")


def led(voice: Voice) -> Round:
    """Let a loop make its round: the schedule of a ``LoopVoice``."""
    assert isinstance(voice, LoopVoice), f"{voice!r} makes no rounds"
    return voice.round()


def _foresee(scene: Scene, sampler: Sampler, speak: Callable[[Scene, Sampler], Voice]) -> Guesses:
    assert isinstance(scene, Sequence), "what is foreseen foresees nothing"
    return Guesses(scene, sampler, speak)


def _widened(row: Row, width: int) -> Row:  # [V] -> [width]
    """Return a row with the ids that its model does not know masked."""
    if row.size == width:
        return row
    wide = np.full(width, MASKED, np.float32)
    wide[: row.size] = row
    return wide
