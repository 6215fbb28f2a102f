"""The pair as a user of the library meets it: load, stream, generate.

Turns prompts into ids and wishes into engine work; knows no llama.cpp and prints nothing. One thread at a time may use
a pair; ``Stream.cancel`` and ``Stream.diversity`` may be touched from any thread.
"""

from __future__ import annotations

import dataclasses
import secrets
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, Unpack

from baco_local.backend.base import Model, ModelInfo
from baco_local.catalog import PairCard
from baco_local.config import Guards, ScheduleName, check_seed
from baco_local.engine.answer import Answer, Token
from baco_local.engine.casting import cast
from baco_local.engine.engine import Engine, Task
from baco_local.engine.sequence import Sequence as AnswerState
from baco_local.engine.voice import LoopVoice, led
from baco_local.errors import UsageError
from baco_local.routing.dial import Calibration
from baco_local.sampling.sampler import Build, Chain, Sampler
from baco_local.sampling.steps import Grammar, JsonSchema, Recipe, stateless
from baco_local.scheduling.base import Reader, Voice
from baco_local.scheduling.choice import Pace, schedule_for
from baco_local.scheduling.pace import TYPICAL, Costs
from baco_local.settings import Knobs, Settings
from baco_local.text.chat import ChatTemplate, Message, aligned_ids
from baco_local.text.frames import base_ids, frame
from baco_local.text.shared import SharedVocab
from baco_local.types import Role, Spoken

__all__ = ["Job", "Pair", "Prompt", "Stream"]

Prompt: TypeAlias = str | Sequence[Message]
"""One user message, or a whole conversation that ends with one."""

RANDOM_SEEDS = 2**32  # short enough to be typed again


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One answer that is wanted."""

    prompt: Prompt
    settings: Settings = field(default_factory=Settings)
    seed: int = 0
    sample: int = 0  # the same seed gives another text to every sample
    begun: tuple[Spoken, ...] = ()  # how the answer begins, already decided; its tokens come first


class Stream(Iterator[Token]):
    """An answer while it is being written: an iterator of its tokens."""

    def __init__(self, pair: Pair, task: Task, settings: Settings) -> None:
        self._pair, self._task, self._settings = pair, task, settings
        self._ready: deque[Token] = deque()
        task.reader = weakref.ref(self)  # weak, so that an answer nobody reads any more is given up

    def __next__(self) -> Token:
        """Return the next token, decoding as far as needed."""
        while not self._ready:
            if self.finished:
                if self._task.error is not None:
                    raise self._task.error
                raise StopIteration
            self._pair._step()
        return self._ready.popleft()

    def __del__(self) -> None:
        """Decode no further for a reader who is gone."""
        self.cancel()

    @property
    def finished(self) -> bool:
        """Return whether the answer is complete, read or not."""
        return self._task.sequence.finish is not None

    @property
    def answer(self) -> Answer:
        """Return the answer so far; finished once the iterator is exhausted."""
        return self._task.sequence.answer()

    @property
    def seed(self) -> int:
        """Return the seed."""
        return self._task.sequence.seed

    @property
    def sample(self) -> int:
        """Return the number of the sample."""
        return self._task.sequence.sample

    @property
    def progress(self) -> float:
        """Return the share of the prompts that has been read, 0 to 1."""
        return self._pair.engine.progress(self._task)

    @property
    def diversity(self) -> float:
        """Return where the dial stands; set it to move the dial from the next token on."""
        return self._settings.decode.diversity

    @diversity.setter
    def diversity(self, value: float) -> None:
        settings = self._settings.turn({"diversity": value, "threshold": None})
        sequence = self._task.sequence
        # not measured now: that would decode in the middle of this answer, perhaps from another thread
        voice = cast(sequence, self._task.sampler, settings, lambda: self._pair.calibration)
        sequence.options = dataclasses.replace(sequence.options, diversity=value, threshold=None)
        self._settings, self._task.voice = settings, voice

    def cancel(self) -> None:
        """End the answer at the next token, also while a prompt is read; its text so far stays."""
        self._task.sequence.cancelled = True


class Pair:
    """Two models that write one text.

    Attributes:
        name: the alias it was loaded by, or the names of both files.
        card: what its makers say about it.
        settings: its defaults; ``settings.turn({...})`` gives others.
        notes: what a user should know about this pairing.
        infos: what each file says of itself.
        n_parallel: how many answers decode together; more are queued.
        pieces: [V] token id -> bytes, to show alternatives.

    """

    def __init__(
        self,
        models: Mapping[Reader, Model],
        vocab: SharedVocab,
        build: Build,
        *,
        name: str,
        card: PairCard,
        template: ChatTemplate | None,
        notes: Sequence[str] = (),
        n_parallel: int | None = None,
        n_cores: int = 1,
        calibration: Calibration | None = None,
        calibrate: Callable[[Pair], Calibration | None] | None = None,
        measure: Callable[[], Costs] | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        """Take the parts that ``assemble`` has made; ``calibrate`` is asked once, when a dial first needs it.

        ``models`` may hold a helper beside the two; with ``n_cores`` above 1 they read at the same time. ``measure``
        is asked once, when a schedule first needs it, what a decode of each takes; None = it is guessed from sizes.
        """
        self.name, self.card, self.notes = name, card, tuple(notes)
        self.settings = Settings().turn(card.sampling)
        self.infos: dict[Role, ModelInfo] = {role: models[role].info for role in Role}
        self.engine = Engine(models, n_parallel=n_parallel, n_cores=n_cores)
        self.n_ctx = min(models[role].n_ctx for role in Role)
        self.n_parallel = n_parallel or min(model.n_sequences for model in models.values())
        self.pieces = vocab.pieces
        can_rewind = all(model.can_rewind for model in models.values())
        self.pace = Pace(models.keys(), estimated(models), lambda: self.engine.n_live, can_rewind=can_rewind)
        self._measure = measure
        self.calibration = calibration
        self._calibrate, self._on_close = calibrate, on_close
        self._vocab, self._template, self._models = vocab, template, models
        self._reaches = self.engine.reaches
        self._build, self._shared_chains = build, dict[Recipe, Chain]()

    # --- writing --------------------------------------------------------------------------------------------------

    def stream(
        self,
        prompt: Prompt,
        *,
        settings: Settings | None = None,
        system: str | None = None,
        seed: int | None = None,
        sample: int = 0,
        begun: Sequence[Spoken] = (),
        **knobs: Unpack[Knobs],
    ) -> Stream:
        """Start one answer and return it as an iterator of tokens; seed None = a random one, see ``Stream.seed``."""
        chosen = (settings or self.settings).turn(knobs)
        job = Job(
            prompt=_messages(prompt, system),
            settings=chosen,
            seed=secrets.randbelow(RANDOM_SEEDS) if seed is None else seed,
            sample=sample,
            begun=tuple(begun),
        )
        return self.start([job])[0]

    def start(self, jobs: Sequence[Job]) -> list[Stream]:
        """Queue answers that decode together; iterate any of the streams, or all through ``interleave``."""
        streams = [Stream(self, self._task(job), job.settings) for job in jobs]
        for stream in streams:
            self.engine.submit(stream._task)
        return streams

    def interleave(self, jobs: Sequence[Job]) -> Iterator[tuple[Stream, Token]]:
        """Decode several answers together and yield their tokens as they come, each with its stream."""
        streams = self.start(jobs)
        while True:
            for stream in streams:
                while stream._ready:
                    yield stream, next(stream)
            if all(stream.finished for stream in streams):
                break
            self._step()
        for stream in streams:
            next(stream, None)  # raises what a task was given up for

    def answers(self, jobs: Sequence[Job]) -> list[Answer]:
        """Decode several answers together and return them in the order of their jobs."""
        streams = self.start(jobs)
        for stream in streams:
            deque(stream, maxlen=0)  # raises what a task was given up for
        return [stream.answer for stream in streams]

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        *,
        settings: Settings | None = None,
        system: str | None = None,
        n: int = 1,
        first_sample: int = 0,
        seed: int | None = None,
        on_token: Callable[[int, int, Token], None] | None = None,
        cancel: Callable[[], bool] | None = None,
        **knobs: Unpack[Knobs],
    ) -> list[Answer]:
        """Return n answers per prompt, ordered by prompt and sample; sample k is the same text in every call.

        Args:
            prompts: one message, one conversation, or a list of either.
            settings: None = those of the pair.
            system: a system text before every prompt.
            n: answers per prompt.
            first_sample: the number of the first sample.
            seed: None = a random one, see ``Answer.seed``.
            on_token: called with (index of the prompt, number of the sample, token).
            cancel: asked between tokens; once it says True, the answers so far are returned.
            knobs: settings by name, see ``Knobs``.

        """
        if n < 1:
            raise UsageError(f"n is {n}; ask for at least one answer")
        chosen = (settings or self.settings).turn(knobs)
        seed = secrets.randbelow(RANDOM_SEEDS) if seed is None else seed
        asked = _prompts(prompts)
        jobs = [
            Job(prompt=_messages(prompt, system), settings=chosen, seed=seed, sample=sample)
            for prompt in asked
            for sample in range(first_sample, first_sample + n)
        ]
        streams = self.start(jobs)
        places = {id(stream): (i // n, jobs[i].sample) for i, stream in enumerate(streams)}
        while not all(stream.finished for stream in streams):
            if cancel is not None and cancel():
                for stream in streams:
                    stream.cancel()
            self._step()
            if on_token is not None:
                for stream in streams:
                    while stream._ready:
                        on_token(*places[id(stream)], next(stream))
        for stream in streams:
            deque(stream, maxlen=0)  # raises what a task was given up for
        return [dataclasses.replace(stream.answer, prompt=places[id(stream)][0]) for stream in streams]

    def prompt_ids(self, prompt: Prompt, settings: Settings | None = None) -> dict[Role, list[int]]:
        """Return what each model would read before its answer."""
        messages = _messages(prompt, None)
        base_frame = frame((settings or self.settings).frame)
        base = base_ids(self._models[Role.BASE].vocab, base_frame, messages)
        aligned_vocab = self._models[Role.ALIGNED].vocab
        if self._template is None:
            return {Role.BASE: base, Role.ALIGNED: base_ids(aligned_vocab, base_frame, messages)}
        return {Role.BASE: base, Role.ALIGNED: aligned_ids(aligned_vocab, self._template, messages)}

    # --- lifetime -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Free both models; streams that are not finished end where they are."""
        self.engine.close()
        for chain in self._shared_chains.values():
            chain.close()
        self._shared_chains.clear()
        if self._on_close is not None:
            self._on_close()
            self._on_close = None

    def __enter__(self) -> Pair:
        """Return the pair, to be closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Free both models."""
        self.close()

    # --- the way down to the engine -------------------------------------------------------------------------------

    def _step(self) -> None:
        """Decode once for every live answer, and hand the tokens to their streams."""
        try:
            said = self.engine.step()
        except Exception as error:
            self.engine.abandon(error)
            raise
        except BaseException:
            self.engine.abandon()  # an interrupt may come anywhere: nothing half-done may stay
            raise
        for task, token in said:
            stream = task.reader()
            if stream is not None:
                stream._ready.append(token)

    def _task(self, job: Job) -> Task:
        settings = job.settings
        self._check_grammar(settings, job)
        decode = settings.decode
        if settings.blend is not None or settings.loop is not None:  # nobody's words could be cut back
            decode = dataclasses.replace(decode, guards=Guards(role_markers=False, loops=False))
        sequence = AnswerState(
            self.prompt_ids(job.prompt, settings),
            self._vocab,
            decode,
            seed=check_seed(job.seed),
            sample=job.sample,
            can_cut=self.engine.can_cut,
            begun=job.begun,
            reaches=self._reaches,
        )
        aligned, base = settings.aligned.recipe(), settings.base.recipe()
        sampler = Sampler(aligned, self._chain, {} if base == aligned else {Role.BASE: base})
        for spoken in job.begun:
            sampler.accept(spoken.id)
        voice = self._cast(sequence, sampler, settings)
        alike = (settings.router or decode.router, decode.diversity, decode.threshold)
        if isinstance(voice, LoopVoice):
            return Task(sequence, sampler, voice, led)
        return Task(sequence, sampler, voice, schedule_for(decode, self._pace_for(decode.schedule), alike))

    def _check_grammar(self, settings: Settings, job: Job) -> None:
        """A grammar binds the text, which both models share, from its first token on."""
        grammars = [
            tuple(step for step in settings.sampling(role).recipe() if isinstance(step, Grammar | JsonSchema))
            for role in Role
        ]
        if grammars[0] != grammars[1]:
            raise UsageError("a grammar or JSON schema binds the text of both models; give it to both")
        if grammars[0] and job.begun:
            raise UsageError("an answer under a grammar cannot be continued from a chosen token; write it anew")

    def _cast(self, sequence: AnswerState, sampler: Sampler, settings: Settings) -> Voice:
        return cast(sequence, sampler, settings, self._calibration_now)

    def _calibration_now(self) -> Calibration | None:
        """Return what the dial means for this pair, measured the first time that it is needed."""
        if self.calibration is None and self._calibrate is not None:
            measure, self._calibrate = self._calibrate, None  # the measuring itself turns no calibrated dial
            try:
                self.calibration = measure(self)
            except BaseException:
                self._calibrate = measure
                raise
        return self.calibration

    def _pace_for(self, schedule: ScheduleName) -> Pace:
        """Return the pace of the pair; decodes are timed the first time that a schedule asks and nothing is decoded."""
        if self._measure is not None and schedule in (ScheduleName.AUTO, ScheduleName.SPECULATIVE) and self.engine.idle:
            self.engine.abandon()  # what is still held would be in the way
            measure, self._measure = self._measure, None
            self.pace.costs = measure()
        return self.pace

    def _chain(self, recipe: Recipe) -> Chain:
        """Build a chain, or share the one that has no memory to part."""
        if not stateless(recipe):
            return self._build(recipe)
        if recipe not in self._shared_chains:
            self._shared_chains[recipe] = self._build(recipe)
        return self._shared_chains[recipe]


def estimated(models: Mapping[Reader, Model]) -> Costs:
    """Return a guess at what decodes cost, where nothing was measured: by size alone."""
    sizes = {reader: max(1, model.info.n_parameters) for reader, model in models.items()}
    return Costs({reader: TYPICAL.times(size / max(sizes.values())) for reader, size in sizes.items()})


def _messages(prompt: Prompt, system: str | None) -> tuple[Message, ...]:
    messages = (Message("user", prompt),) if isinstance(prompt, str) else tuple(prompt)
    return (Message("system", system), *messages) if system else messages


def _prompts(prompts: Prompt | Sequence[Prompt]) -> Sequence[Prompt]:
    """Tell one prompt from a list of them."""
    if isinstance(prompts, str):
        return [prompts]
    if prompts and isinstance(prompts[0], Message):
        return [[message for message in prompts if isinstance(message, Message)]]
    return [prompt for prompt in prompts if not isinstance(prompt, Message)]
