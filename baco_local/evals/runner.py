"""Carry out a plan, point by point: a finished prompt is a line at once, and the same call goes on where it stopped.

Has the worker of ``baco batch`` write; knows no terminal and computes no metric.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baco_local.batch.items import Failure, Item, Row, Shard, Written, digest, seed_of
from baco_local.batch.ledger import Ledger, held
from baco_local.batch.manifest import Manifest, differences, settings_hash
from baco_local.batch.worker import Figures, Wishes, Worker
from baco_local.engine.answer import Answer, Token
from baco_local.errors import UsageError
from baco_local.evals.ideas import Ruler, ruler_from, watching
from baco_local.evals.methods import Method
from baco_local.evals.plan import Plan
from baco_local.evals.questions import Question
from baco_local.evals.run_folder import KIND, Line, Said, answers_path, lock_path, manifest_of, read_point
from baco_local.evals.tuning import Tuned, answers_apart, base_share, bisect
from baco_local.evals.ways import Asking, Cost, Draft, Fits, Wish, wording
from baco_local.pair import Pair, Stream
from baco_local.routing.dial import Calibration
from baco_local.types import Role

__all__ = ["Progress", "Run", "carry_out", "dealt"]

NEAR = 0.01  # of base share: a control that is this near is matched


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the work is."""

    method: str
    place: int  # of the point, from 1
    n_done: int  # answers, those of earlier runs included
    n_total: int
    n_now: int  # answers of this run
    figures: Figures


Watch = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept(Written):
    """What a study needs to know of an answer."""

    voices: tuple[tuple[Role, str], ...]
    n_base: int
    cost: Cost

    @classmethod
    def of(cls, answer: Answer) -> Kept:
        """Keep who wrote what, and what it cost."""
        plain = Written.of(answer)
        usage = answer.usage
        read = {
            role: usage.n_prompt[role] - usage.n_prompt_cached.get(role, 0) + usage.n_decoded.get(role, 0)
            for role in usage.n_prompt
            if usage.n_decodes.get(role, 0)  # a model that is never heard reads no prompt either
        }
        return cls(
            **{one.name: getattr(plain, one.name) for one in dataclasses.fields(Written)},
            voices=_voices(answer.tokens),
            n_base=sum(token.speaker is Role.BASE for token in answer.tokens),
            cost=Cost(
                generated=len(answer.tokens),
                read_base=max(0, read.get(Role.BASE, 0)),
                read_aligned=max(0, read.get(Role.ALIGNED, 0)),
            ),
        )


def carry_out(
    plan: Plan,
    pair: Pair,
    folder: Path,
    *,
    made_with: Mapping[str, Any],
    about: Mapping[str, Any],
    shard: Shard | None = None,
    live: list[Stream] | None = None,
    stopped: Callable[[], bool] = lambda: False,
    watch: Watch = lambda _progress: None,
    say: Callable[[str], None] = lambda _words: None,
) -> Run:
    """Write what is missing in a folder, and return the run.

    Args:
        plan: what is wanted.
        pair: who writes.
        folder: is made where it is not there.
        made_with: what else decides the texts: hashes of the files, versions of nothing.
        about: what else the manifest shall say.
        shard: which points are this call's, where others write in the same folder, perhaps now; None = all.
        live: is kept up to date, for whoever wants to cancel what is being written.
        stopped: asked between two moments of work; True ends the run after what is finished.
        watch: called between two moments of work.
        say: called with a few words where something else than answers takes a while.

    Raises:
        UsageError: the folder holds a run that was made with other settings.

    """
    run = Run(plan, pair, folder, made_with=made_with, about=about, shard=shard, live=live, stopped=stopped)
    run.begin(say)
    for method, place in run.points:
        if stopped():
            return run
        run.write_point(method, place, watch, say)
    run.finish()
    return run


class Run:
    """A plan while it is carried out.

    Attributes:
        points: what it writes, in order; a control comes after all that it could be matched to.
        n_wanted: answers at these points.
        n_done: of these, how many are in the folder.
        n_failed: of these, how many are empty because of an error.
        figures: what was written by this run.

    """

    def __init__(
        self,
        plan: Plan,
        pair: Pair,
        folder: Path,
        *,
        made_with: Mapping[str, Any],
        about: Mapping[str, Any],
        shard: Shard | None = None,
        live: list[Stream] | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.plan, self.pair, self.folder = plan, pair, folder
        self.points = dealt(plan, shard or Shard())
        self.n_wanted = len(self.points) * len(plan.questions) * plan.n_samples
        self.n_done = self.n_failed = self._n_before = 0
        self._live = [] if live is None else live
        self._stopped = stopped
        self._worker = Worker(pair, Wishes(settings=plan.settings), live=self._live, keep=Kept.of)
        self._made_with = dict(made_with) | _decisive(plan)
        self._about = dict(about)
        self._entry: dict[str, Any] = {} if shard is None else {"shard": str(shard)}
        self._n_runs = 0  # in the manifest, before this one
        self._ruler: Ruler | None = None
        self._manifest = Manifest(path=folder / "manifest.json", kind=KIND, made_with=self._made_with)

    @property
    def figures(self) -> Figures:
        """Return what was written by this run."""
        return self._worker.figures()

    @property
    def complete(self) -> bool:
        """Return whether nothing is missing."""
        return self.n_done == self.n_wanted

    def begin(self, say: Callable[[str], None]) -> None:
        """Find out what is there, measure what the dials mean for the pair, and write the manifest."""
        self._look_at_manifest()
        (self.folder / "answers").mkdir(parents=True, exist_ok=True)
        with self._alone():  # what is measured for all points is measured once
            self._look_at_manifest()
            self._begin_manifest(say)
        wanted = {one.id for one in self.plan.questions}
        for method, place in self.points:
            lines = read_point(self.folder, method.name, place)
            self.n_done += sum(len(line.answers) for name, line in lines.items() if name in wanted)
        self._n_before = self.n_done

    def finish(self) -> None:
        """Write down what this run did."""
        self._entry |= {
            "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "answers": self.n_done - self._n_before,
            "tokens": self.figures.n_tokens,
        }
        with self._alone():
            self._look_at_manifest()
            self._manifest.runs[self._n_runs] = self._entry
            self._manifest.write()

    def write_point(
        self,
        method: Method,
        place: int,
        watch: Watch,
        say: Callable[[str], None],
    ) -> None:
        """Write the lines that a point misses."""
        path = answers_path(self.folder, method.name, place)
        with Ledger(path, KIND) as ledger:
            there = {str(record["id"]): record.get("settings") for _, record in ledger.records()}
            missing = [question for question in self.plan.questions if question.id not in there]
            if not missing and method.matched is None:
                self._check(there, self._mark(method, method.points[place - 1]), path)
                return
            value = self._value(method, place, say)
            mark = self._mark(method, value)
            self._check(there, mark, path)
            knobs = method.at(value, self._ruler)
            began_s = time.perf_counter()

            def take(unit: Unit, answers: Sequence[Draft]) -> None:
                nonlocal began_s
                now_s = time.perf_counter()
                line = unit.line(answers, mark, now_s - began_s)
                began_s = now_s
                ledger.append(line.to_json())
                self.n_done += len(line.answers)
                self.n_failed += line.n_failed

            def look() -> None:
                watch(
                    Progress(
                        method=method.name,
                        place=place,
                        n_done=self.n_done,
                        n_total=self.n_wanted,
                        n_now=self.n_done - self._n_before,
                        figures=self.figures,
                    )
                )

            units = (Unit(question, method, self.plan, knobs, self._fits(knobs)) for question in missing)
            _work(units, self._worker, take, self._stopped, look)

    def _look_at_manifest(self) -> None:
        """Go on with the manifest as it is now, and refuse one that was made with other settings."""
        found = manifest_of(self.folder)
        if found is None:
            return
        if settings_hash(found.made_with) != settings_hash(self._made_with):
            raise UsageError(
                f"{str(self.folder)!r} was made with other settings; nothing was written\n"
                f"{differences(found.made_with, self._made_with)}\n    choose another folder with -o"
            )
        self._manifest = found

    def _begin_manifest(self, say: Callable[[str], None]) -> None:
        """Write down what will be done, and what the dials mean, measured unless the folder knows."""
        known = self._manifest.about
        for what, value in self._about.items():
            if known.setdefault(what, value) != value:
                self._entry[what] = value  # another machine, another version: the first run's words stay
        known.setdefault("name", self.folder.name)
        known["calibration"] = self._worker.prepare(known.get("calibration"))
        if any(method.idea for method in self.plan.methods):
            known["divergence"] = list(self._measured_ruler(known.get("divergence"), say).divergence)
        known.setdefault("methods", {})
        for method in self.plan.methods:
            self._note(method)
        known["questions"] = [
            {"id": one.id, "task": one.task, "prompt": one.prompt, "constraints": one.constraints}
            for one in self.plan.questions
        ]
        self._n_runs = len(self._manifest.runs)
        self._entry["started"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._manifest.runs.append(self._entry)
        self._manifest.write()

    def _alone(self) -> AbstractContextManager[None]:
        """Hold the manifest: others may be writing points in the same folder."""
        return held(lock_path(self.folder), self._stopped)

    def _value(self, method: Method, place: int, say: Callable[[str], None]) -> float:
        """Return what the swept knob is set to: the point's own value, or the one that matches another method."""
        if method.matched is None:
            return method.points[place - 1]
        found = self._manifest.about.get("matched", {}).get(method.name, {})
        if str(place) not in found:
            lines = read_point(self.folder, method.matched, place).values()
            target = sum(line.n_base for line in lines) / max(1, sum(line.n_tokens for line in lines))
            say(f"matching {method.name} to the base share {target:.3f} of {method.matched}")
            tuned = self._matched(method, target)
            with self._alone():
                self._look_at_manifest()
                found = self._manifest.about.setdefault("matched", {}).setdefault(method.name, {})
                found[str(place)] = {
                    "value": tuned.value,
                    "target": round(target, 4),
                    "reached": round(tuned.reached, 4),
                }
                self._manifest.write()
        return float(found[str(place)]["value"])

    def _matched(self, method: Method, target: float) -> Tuned:
        """Find the knob at which the base share on held-out prompts is the wished one."""

        def measure(value: float) -> float:
            settings = self.plan.settings.turn(method.at(value))
            return base_share(self.pair, settings, self.plan.held_out, self.plan.seed)

        return bisect(measure, target, 0.0, 1.0, tolerance=NEAR)

    def _measured_ruler(self, divergence: Sequence[float] | None, say: Callable[[str], None]) -> Ruler:
        """Return what the dial of the ideas means for the pair, measured on the held-out prompts."""
        calibration = self._calibration()
        if divergence is not None:
            self._ruler = Ruler(calibration, tuple(divergence))
            return self._ruler
        say("measuring how far apart the two models are")
        seen: list[float] = []
        settings = self.plan.settings.turn({"router": watching(seen), "diversity": 5.0, "max_tokens": 60})
        answers_apart(self.pair, settings, self.plan.held_out, self.plan.seed)
        self._ruler = ruler_from(calibration, seen)
        return self._ruler

    def _calibration(self) -> Calibration | None:
        """Return what the dial of the routers means for the pair."""
        known = self._manifest.about.get("calibration")
        return None if known is None else Calibration.from_json(known)

    def _note(self, method: Method) -> None:
        """Write down a method, and refuse one that was another when its answers were written."""
        record = _method_record(method)
        notes = self._manifest.about["methods"]
        old = notes.get(method.name)
        if old is not None and old["points"] != record["points"]:
            raise UsageError(
                f"{str(self.folder)!r} has {method.name} at the points {old['points']}, and now they are "
                f"{record['points']}\n    choose another folder with -o, or the same --points"
            )
        notes[method.name] = record

    def _mark(self, method: Method, value: float) -> str:
        """Return the hash of all that decides the answers of a point."""
        own = _method_record(method)
        decisive = {name: own[name] for name in ("knobs", "turned", "way", "idea")}
        ruler = None if method.idea is None or self._ruler is None else list(self._ruler.divergence)
        words = wording() if method.family == "prompting" else None
        return digest([settings_hash(self._made_with), decisive, value, ruler, words])

    def _check(self, there: Mapping[str, Any], mark: str, path: Path) -> None:
        foreign = [name for name, own in there.items() if own != mark]
        if foreign:
            raise UsageError(
                f"{str(path)!r} has an answer to {foreign[0]!r} that was made with other settings\n"
                "    choose another folder with -o, or remove that file"
            )

    def _fits(self, knobs: Mapping[str, Any]) -> Fits:
        settings = self.plan.settings.turn(knobs)
        room = self.pair.n_ctx - self.plan.max_tokens
        return lambda messages: max(map(len, self.pair.prompt_ids(messages, settings).values())) <= room


class Unit:
    """One prompt of one point while it is answered: a policy that asks, and the drafts that it waits for."""

    def __init__(self, question: Question, method: Method, plan: Plan, knobs: Mapping[str, Any], fits: Fits) -> None:
        self.question = question
        self._plan, self._knobs = plan, dict(knobs)
        self._asking: Asking = method.way(question, plan.n_samples, fits)
        self._wishes: tuple[Wish, ...] = ()
        self._drafts: dict[int, Draft] = {}
        self._spent: list[Draft] = []  # everything that was written for this prompt
        self._n_failed = 0

    def first(self) -> list[Item]:
        """Return what is wished for first."""
        return self._wished(next(self._asking))

    def take(self, item: Item, result: Written | Failure) -> list[Item] | tuple[Draft, ...]:
        """Take a draft; return what is wished for next, or in the end all answers."""
        if isinstance(result, Failure):
            draft = Draft(finish=f"{result.kind}: {result.message}")
            self._n_failed += 1
        else:
            assert isinstance(result, Kept)
            draft = Draft(
                voices=result.voices,
                finish=result.finish.value,
                n_tokens=result.n_tokens,
                n_base=result.n_base,
                cost=result.cost,
            )
        self._drafts[item.sample] = draft
        self._spent.append(draft)
        if len(self._drafts) < len(self._wishes):
            return []
        drafts = tuple(self._drafts[place] for place in range(len(self._wishes)))
        try:
            return self._wished(self._asking.send(drafts))
        except StopIteration as end:
            answers: tuple[Draft, ...] = end.value
            return answers

    def line(self, answers: Sequence[Draft], mark: str, elapsed_s: float) -> Line:
        """Return what is kept of this prompt."""
        cost = sum((draft.cost for draft in self._spent), Cost())
        return Line(
            id=self.question.id,
            prompt=self.question.prompt,
            settings=mark,
            answers=tuple(
                Said(text=one.text, finish=one.finish, voices=tuple((role.value, part) for role, part in one.voices))
                for one in answers
            ),
            n_tokens=sum(draft.n_tokens for draft in self._spent),
            n_base=sum(draft.n_base for draft in self._spent),
            cost=cost,
            elapsed_s=elapsed_s,
            n_failed=self._n_failed,
        )

    def _wished(self, wishes: tuple[Wish, ...]) -> list[Item]:
        self._wishes, self._drafts = wishes, {}
        return [self._item(place, wish) for place, wish in enumerate(wishes)]

    def _item(self, place: int, wish: Wish) -> Item:
        knobs = self._knobs
        if wish.stretch != 1:
            knobs = knobs | {"max_tokens": round(self._plan.max_tokens * wish.stretch)}
        row = Row(line=0, id=self.question.id, messages=tuple(wish.messages), knobs=knobs)
        return Item(row=row, sample=place, seed=seed_of(self._plan.seed, self.question.id, wish.sample))


def _work(
    units: Iterator[Unit],
    worker: Worker,
    take: Callable[[Unit, tuple[Draft, ...]], None],
    stopped: Callable[[], bool],
    look: Callable[[], None],
) -> None:
    """Keep the worker busy with the wishes of many units; whatever a unit has finished is taken at once."""
    ready: deque[Item] = deque()
    asking: dict[str, Unit] = {}  # by the id of its prompt
    while not stopped():
        while len(ready) < worker.room:
            unit = next(units, None)
            if unit is None:
                break
            asking[unit.question.id] = unit
            ready += unit.first()
        if not ready and worker.idle:
            return
        fresh = [ready.popleft() for _ in range(min(worker.room, len(ready)))]
        for item, result in worker.work(fresh):
            unit = asking[item.row.id]
            more = unit.take(item, result)
            if isinstance(more, tuple):
                del asking[item.row.id]
                take(unit, more)
            else:
                ready += more
        look()
    worker.stop()


def _voices(tokens: Sequence[Token]) -> tuple[tuple[Role, str], ...]:
    """Return the stretches of text that one model wrote in a row."""
    parts: list[tuple[Role, str]] = []
    for token in tokens:
        if parts and parts[-1][0] is token.speaker:
            parts[-1] = (token.speaker, parts[-1][1] + token.text)
        elif token.text:
            parts.append((token.speaker, token.text))
    return tuple(parts)


def dealt(plan: Plan, shard: Shard) -> tuple[tuple[Method, int], ...]:
    """Return the points of a shard, controls last; each belongs to one, and a control to that of what it matches.

    Neighbours on the dial go to different shards, for an answer may cost more at one end than at the other.
    """
    rank = {method.name: place for place, method in enumerate(plan.methods)}
    points = (
        (method, place)
        for method in sorted(plan.methods, key=lambda one: one.matched is not None)
        for place in range(1, plan.n_points + 1)
    )
    return tuple((method, place) for method, place in points if shard.has(rank[method.matched or method.name] + place))


def _decisive(plan: Plan) -> dict[str, Any]:
    """Return what of a plan decides every text."""
    prompts = [
        [question.id, [[message.role, message.content] for message in question.messages], list(question.paraphrases)]
        for question in plan.questions
    ]
    return {
        "samples": plan.n_samples,
        "max_tokens": plan.max_tokens,
        "seed": plan.seed,
        "settings": dict(plan.knobs),
        "prompts": digest(prompts),
        "held_out": digest(list(plan.held_out)),
    }


def _method_record(method: Method) -> dict[str, Any]:
    return {
        "family": method.family,
        "does": method.does,
        "source": method.source,
        "turned": method.turned,
        "points": list(method.points),
        "knobs": dict(method.knobs),
        "way": method.way.__name__,
        "matched": method.matched,
        "idea": method.idea,
    }
