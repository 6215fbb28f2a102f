"""Which schedule an answer is decoded by: the one that was asked for, or the one that is cheapest by what was seen.

Chooses and counts; what it chooses changes no token. Knows no model and no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from baco_local.config import DrafterName, ScheduleName
from baco_local.errors import UsageError
from baco_local.scheduling.base import Helper, Reader, Round, Schedule, Voice
from baco_local.scheduling.drafting import Drafter, by_lookup, by_model
from baco_local.scheduling.pace import PAIRED, Acceptance, Costs, best_length, lazy_cost, round_costs
from baco_local.scheduling.schedules import beside, lazily, lazy, lockstep, speculative, watchfully
from baco_local.types import Role

__all__ = [
    "DRAFTERS",
    "Adaptive",
    "Numbers",
    "Pace",
    "Plan",
    "Seen",
    "Wish",
    "choose",
    "guess",
    "numbers",
    "schedule_for",
]

STEADY = 16  # rounds between two choices: a choice costs as much as a draw
WORTH = 0.95  # of what lockstep costs; what gains less is not worth the risk of wrong numbers
MANY_GLANCES = 64  # after that, one is enough before each choice: it costs as much as a short draw
WAKING_MEMORY = 64.0  # tokens; older ones fade, and so many seen, one is enough before each choice here, too


class Wish(Protocol):
    """What a caller asks for; ``config.DecodeOptions`` fulfils it."""

    @property
    def schedule(self) -> ScheduleName:
        """Return the schedule."""
        ...

    @property
    def drafter(self) -> DrafterName:
        """Return who guesses."""
        ...

    @property
    def draft_max(self) -> int:
        """Return how many guesses a round makes at most."""
        ...


@dataclass(slots=True)
class Seen:
    """What answers of one kind have shown: how often guesses stand, and how often each model must be woken."""

    acceptance: dict[DrafterName, Acceptance] = field(
        default_factory=lambda: {name: Acceptance() for name in DRAFTERS} | {DrafterName.LOOKUP: Acceptance(2.0, 0.0)}
    )
    shares: dict[Role, float] = field(default_factory=lambda: dict.fromkeys(Role, 1.0))  # of tokens
    n_glances: int = 0  # rounds beside which a guess from the text was judged, so that it need not be tried in hope
    weight: float = 8.0  # of the shares, in tokens; they begin without hope, for lockstep itself shows what they are

    def note_glance(self, n_judged: int, n_stood: int) -> None:
        """Take in what would have become of a guess from the text."""
        self.n_glances += 1
        self.acceptance[DrafterName.LOOKUP].note(n_judged, n_stood)

    def note_woken(self, readers: Collection[Reader]) -> None:
        """Take in which models a token has needed."""
        self.weight = min(self.weight + 1, WAKING_MEMORY)
        for role in Role:
            self.shares[role] += ((role in readers) - self.shares[role]) / self.weight


class Plan(NamedTuple):
    """What rounds are made of until the next choice."""

    schedule: ScheduleName
    drafter: DrafterName = DrafterName.NONE
    n_draft: int = 0
    n_looked_up: int = 0  # guesses taken from the text itself, where it offers any; 0 = it is not searched


class Pace:
    """What a pair has shown of its speed; its answers share it."""

    def __init__(
        self, readers: Collection[Reader], costs: Costs, n_live: Callable[[], int], *, can_rewind: bool
    ) -> None:
        """Take what is known.

        Args:
            readers: which models there are.
            costs: what everything takes; may be replaced by better numbers.
            n_live: asked how many answers decode now.
            can_rewind: False = what was read cannot be taken back, so nothing can be guessed.

        """
        self.readers, self.costs, self.n_live, self.can_rewind = readers, costs, n_live, can_rewind
        self._seen: dict[Hashable, Seen] = {}

    def seen(self, kind: Hashable) -> Seen:
        """Return what answers under these settings have shown."""
        return self._seen.setdefault(kind, Seen())

    def drafters(self, wish: Wish) -> tuple[DrafterName, ...]:
        """Return who may guess, or raise UsageError."""
        if not self.can_rewind or wish.drafter is DrafterName.NONE or not wish.draft_max:
            return ()
        if wish.drafter is DrafterName.AUTO:
            return tuple(name for name in DRAFTERS if name is not DrafterName.MODEL or Helper.DRAFT in self.readers)
        if wish.drafter is DrafterName.MODEL and Helper.DRAFT not in self.readers:
            raise UsageError("no small model is loaded that could guess; name one (--draft FILE), or another drafter")
        return (wish.drafter,)


class Numbers(NamedTuple):
    """What a choice is made by, as long as equally many answers decode and as many models are listened to."""

    costs: Costs
    rounds: Mapping[DrafterName, Sequence[float]]  # drafter -> cost of a round with 0, 1, ... guesses
    n_live: int


def numbers(costs: Costs, drafters: Collection[DrafterName], n_most: int, n_live: int = 1) -> Numbers:
    """Work out what does not depend on what will be seen; a model alone need not guess, for it knows what it says."""
    able = [name for name in drafters if name not in PAIRED or len(costs.roles) > 1]
    return Numbers(costs, {name: round_costs(name, costs, n_most, n_live) for name in able}, n_live)


def choose(by: Numbers, seen: Seen) -> Plan:
    """Return the cheapest way to say the next tokens; lockstep where little is to be gained."""
    costs = by.costs
    cost, plan = costs.both(1, by.n_live) * WORTH, Plan(ScheduleName.LOCKSTEP)
    if len(costs.roles) > 1 and (asleep := lazy_cost(costs, seen.shares, by.n_live)) < cost:
        cost, plan = asleep, Plan(ScheduleName.LAZY)
    for name, rounds in by.rounds.items():
        n_draft, guessed = best_length(name, rounds, seen.acceptance[name].rate)
        if name is not DrafterName.LOOKUP and guessed < cost:
            cost, plan = guessed, Plan(ScheduleName.SPECULATIVE, name, n_draft)
    if DrafterName.LOOKUP in by.rounds:
        n_draft, guessed = best_length(
            DrafterName.LOOKUP, by.rounds[DrafterName.LOOKUP], seen.acceptance[DrafterName.LOOKUP].rate
        )
        if guessed < WORTH * cost:
            plan = plan._replace(n_looked_up=n_draft)
    return plan


def guess(by: Numbers, seen: Seen, drafter: DrafterName) -> Plan:
    """Return how one drafter guesses best, at least one token."""
    rounds = by.rounds.get(drafter, ())
    n_draft = best_length(drafter, rounds, seen.acceptance[drafter].rate, least=1)[0] if len(rounds) > 1 else 1
    if drafter is DrafterName.LOOKUP:
        return Plan(ScheduleName.LAZY, n_looked_up=n_draft)
    return Plan(ScheduleName.SPECULATIVE, drafter, n_draft)


class Adaptive:
    """A schedule that chooses again every few rounds, by what was seen until then."""

    def __init__(
        self,
        pace: Pace,
        seen: Seen,
        drafters: Collection[DrafterName],
        n_most: int,
        plan: Callable[[Numbers, Seen], Plan],
    ) -> None:
        self._pace, self._seen, self._drafters, self._n_most, self._plan = pace, seen, drafters, n_most, plan
        self._n_rounds = 0
        self._roles: tuple[Role, ...] = ()
        self._numbers = Numbers(pace.costs, {}, n_live=0)  # worked out when it is known who listens
        self._chosen: Schedule = lockstep
        self._watched: Schedule = lockstep  # the same, with an eye on what it would need
        self._could_look_up = False

    def __call__(self, voice: Voice) -> Round:
        """Start a round of the schedule that is the best now."""
        roles, n_live = tuple(voice.listens), self._pace.n_live()
        changed = roles != self._roles or n_live != self._numbers.n_live
        if changed:
            self._roles, costs = roles, replace(self._pace.costs, roles=roles)
            self._numbers = numbers(costs, self._drafters, self._n_most, n_live)
        chooses = changed or self._n_rounds % STEADY == 0
        if chooses:
            plan = self._plan(self._numbers, self._seen)
            self._chosen = carried_out(plan, self._seen, lockstep)
            self._watched = carried_out(plan, self._seen, watchfully(self._seen.note_woken))
            one_by_one = plan.schedule is not ScheduleName.SPECULATIVE and not plan.n_looked_up
            self._could_look_up = DrafterName.LOOKUP in self._numbers.rounds and one_by_one
        self._n_rounds += 1
        schedule = self._watched if chooses or self._seen.weight < WAKING_MEMORY else self._chosen
        if self._could_look_up and (chooses or self._seen.n_glances < MANY_GLANCES):
            schedule = beside(schedule, self._seen.note_glance)
        return schedule(voice)


def carried_out(plan: Plan, seen: Seen, steadily: Schedule) -> Schedule:
    """Return the schedule of a plan; ``steadily`` = what stands for lockstep in it."""
    match plan.schedule:
        case ScheduleName.LAZY:
            schedule = lazily(seen.note_woken)
        case ScheduleName.SPECULATIVE:
            note = seen.acceptance[plan.drafter].note
            schedule = speculative(DRAFTERS[plan.drafter], plan.n_draft, note, lazily(seen.note_woken))
        case _:
            schedule = steadily
    if plan.n_looked_up:
        note = seen.acceptance[DrafterName.LOOKUP].note
        schedule = speculative(by_lookup, plan.n_looked_up, note, schedule)
    return schedule


def schedule_for(wish: Wish, pace: Pace, kind: Hashable = None) -> Schedule:
    """Return the schedule that was asked for, or what comes nearest to it with models that cannot be rewound.

    Args:
        wish: what was asked for.
        pace: what the pair has shown.
        kind: what answers have in common that are alike in speed: router, dial ...

    """
    drafters = pace.drafters(wish)
    match wish.schedule:
        case ScheduleName.LOCKSTEP:
            return lockstep
        case ScheduleName.SPECULATIVE if drafters:
            name = drafters[0]
            return Adaptive(pace, pace.seen(kind), drafters[:1], wish.draft_max, lambda by, seen: guess(by, seen, name))
        case ScheduleName.AUTO:
            return Adaptive(pace, pace.seen(kind), drafters, wish.draft_max, choose)
        case _:
            return lazy


DRAFTERS: dict[DrafterName, Drafter] = {  # the first of those that are there guesses if nobody is named
    DrafterName.MODEL: by_model(Helper.DRAFT),
    DrafterName.LOOKUP: by_lookup,
    DrafterName.ALIGNED: by_model(Role.ALIGNED),
    DrafterName.BASE: by_model(Role.BASE),
}
