"""The state of one answer: what was said, who is active, which guards hold base back, why it ended.

The only thing here that changes is the sequence itself; it decides nothing about the next token and knows no model.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from collections.abc import Sequence as Items
from typing import NamedTuple

from baco_local.config import DecodeOptions
from baco_local.engine.answer import Answer, GuardEvent, Token, Usage
from baco_local.engine.transcript import Line, Transcript
from baco_local.routing.guards import LoopWatch
from baco_local.scheduling.base import Helper, Reader
from baco_local.text.shared import SharedVocab
from baco_local.types import FinishReason, Role, Spoken

__all__ = ["Reach", "Sequence"]


class Reach(NamedTuple):
    """How much a model can read."""

    n_ctx: int  # positions of one sequence
    n_vocab: int


class Sequence:
    """One answer while it grows.

    The voice reads it, the engine feeds it: ``accept`` and ``close`` are the only ways in which it changes while it
    is decoded; ``options`` may be replaced between two tokens, and ``cancelled`` set from any thread.
    """

    def __init__(
        self,
        prompts: Mapping[Role, Items[int]],
        vocab: SharedVocab,
        options: DecodeOptions,
        *,
        seed: int,
        sample: int,
        can_cut: bool = True,
        begun: Items[Spoken] = (),
        reaches: Mapping[Reader, Reach] | None = None,
    ) -> None:
        self.prompts, self.vocab, self.options = prompts, vocab, options
        self._reaches = reaches or {}
        self.seed, self.sample = seed, sample
        self.can_cut = can_cut  # both models can forget what they read last
        self.ids: list[int] = []
        self.said: list[Spoken] = []
        self.active = options.start
        self.barred = 0  # boundaries at which base must stay silent
        self.silenced = False  # base may not speak again
        self.base_run = 0  # words that base has written in a row
        self.finish: FinishReason | None = None
        self.cancelled = False
        self.n_cached: dict[Reader, int] = dict.fromkeys((*Role, *Helper), 0)
        self.n_decoded = self.n_cached.copy()
        self.n_decodes = self.n_cached.copy()
        self._guards: list[GuardEvent] = []
        self._end: Spoken | None = None
        self._tokens: list[Token] = []
        self._transcript = Transcript(options.stop)
        self._loops, self._n_looped = LoopWatch(), 0  # characters that the loop watch has read
        self._started_s = time.perf_counter()
        self._first_token_s: float | None = None
        self._elapsed_s: float | None = None
        for spoken in begun:
            self._append(spoken)

    @property
    def base_alone(self) -> bool:
        """Return whether the dial stands at its upper end, where base also ends the answer."""
        return self.options.threshold is None and self.options.diversity >= 10

    @property
    def text(self) -> str:
        """Return everything that was said, printed or not."""
        return self._transcript.text

    def prompt(self, reader: Reader) -> Items[int]:
        """Return what a model reads before the answer; a helper reads what aligned reads."""
        return self.prompts[reader if isinstance(reader, Role) else Role.ALIGNED]

    def room(self, readers: Collection[Reader]) -> int:
        """Return how many more tokens may be said, and read by these models; 0 for one that lacks some token."""
        room = self.options.max_tokens - len(self.ids)
        for reader, reach in self._reaches.items():
            if reader in readers:
                prompt = self.prompt(reader)
                room = min(room, reach.n_ctx - len(prompt) - len(self.ids) + 1)
                if isinstance(reader, Helper) and max(*prompt, *self.ids) >= reach.n_vocab:
                    return 0
        return room

    def accept(self, spoken: Spoken) -> list[Token]:
        """Take one decision and return the tokens whose text it settles."""
        if spoken.ends:
            self._end = spoken
            return self.close(FinishReason.END)
        if self._first_token_s is None:
            self._first_token_s = time.perf_counter() - self._started_s
        self._append(spoken)
        if self._transcript.line is Line.MARKER:
            return self._cut_marker(spoken)
        return self.take()

    def take(self) -> list[Token]:
        """Return the tokens whose text is settled by now; a stop string or the last token ends the answer."""
        tokens = self._as_tokens(self._transcript.take())
        if self._transcript.stopped is not None:
            return tokens + self.close(FinishReason.STOP)
        if len(self.ids) >= self.options.max_tokens:
            return tokens + self.close(FinishReason.LENGTH)
        return tokens

    def close(self, finish: FinishReason) -> list[Token]:
        """End the answer and return the tokens whose text was still held back; that may complete a stop string."""
        tokens = self._as_tokens(self._transcript.finish())
        self.finish = finish if self._transcript.stopped is None else FinishReason.STOP
        self._elapsed_s = time.perf_counter() - self._started_s
        return tokens

    def answer(self) -> Answer:
        """Return the answer as far as it can be printed."""
        return Answer(
            text="".join(token.text for token in self._tokens),
            tokens=tuple(self._tokens),
            finish=self.finish or FinishReason.CANCELLED,
            seed=self.seed,
            sample=self.sample,
            guards=tuple(self._guards),
            stop=self._transcript.stopped,
            end=self._end,
            usage=Usage(
                n_prompt={role: len(ids) for role, ids in self.prompts.items()},
                n_prompt_cached={role: self.n_cached[role] for role in Role},
                n_decoded={role: self.n_decoded[role] for role in Role},
                n_decodes={role: self.n_decodes[role] for role in Role},
                elapsed_s=time.perf_counter() - self._started_s if self._elapsed_s is None else self._elapsed_s,
                first_token_s=self._first_token_s,
            ),
        )

    def _append(self, spoken: Spoken) -> None:
        if spoken.boundary:
            self._pass_boundary(spoken.speaker)
        self.ids.append(spoken.id)
        self.said.append(spoken)
        self.active = spoken.speaker
        self._transcript.add(self.vocab.pieces[spoken.id], suspect=self._suspects(spoken.speaker))

    def _suspects(self, speaker: Role) -> bool:
        """Return whether a line that this speaker opens may turn out to be a role marker that must go."""
        if self.base_alone and not self.text.strip():
            return False  # nothing would be left
        return speaker is Role.BASE and self.options.guards.role_markers and self.can_cut

    def _pass_boundary(self, speaker: Role) -> None:
        """Count down the bar, count base's words, and look for a loop in the words that are finished."""
        self.barred = max(0, self.barred - 1)
        self.base_run = self.base_run + 1 if speaker is Role.BASE else 0
        if self.options.guards.loops and self._loops.feed(self.text[self._n_looped :]):
            self._bar("loop")
        self._n_looped = len(self.text)

    def _bar(self, guard: str) -> None:
        self.barred = self.options.guards.barred_boundaries
        self._guards.append(GuardEvent(len(self.ids), guard))

    def _cut_marker(self, spoken: Spoken) -> list[Token]:
        """Cut the answer back to the line break before a role marker; aligned goes on, or base alone ends there."""
        again = any(event.guard == "role marker" for event in self._guards)
        self._bar("role marker")
        keep = self._transcript.before_line()
        del self.ids[keep:], self.said[keep:]
        self._transcript.cut([self.vocab.pieces[token] for token in self.ids])
        self._loops, self._n_looped = LoopWatch(), 0
        if self.base_alone:
            self._end = spoken
            return self.close(FinishReason.END)
        self.active, self.silenced = Role.ALIGNED, again
        return []

    def _as_tokens(self, printable: Items[tuple[int, str]]) -> list[Token]:
        elapsed_s = time.perf_counter() - self._started_s
        tokens = [Token(text, self.said[i], i, elapsed_s) for i, text in printable]
        self._tokens += tokens
        return tokens
