"""A chat as data: turns, the versions of every reply, and what undo and redo walk through.

Every change makes a new value; knows no model, no file and no terminal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from baco_cli.chat.places import word_starts
from baco_local.engine.answer import Token
from baco_local.text.chat import Message
from baco_local.types import FinishReason, Rival, Role, SideRecord

__all__ = ["Chat", "DialMove", "Reply", "Session", "Turn", "slim"]


@dataclass(frozen=True, slots=True)
class DialMove:
    """From this token on the dial stood here."""

    position: int
    diversity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One version of a reply, with enough about every token to colour and explain it later."""

    tokens: tuple[Token, ...]
    finish: FinishReason
    seed: int
    sample: int = 0
    pair: str = ""  # token ids mean something to this pair alone
    router: str = ""
    dial: tuple[DialMove, ...] = ()  # the first one stands at position 0
    tokens_per_s: float = 0.0

    @property
    def text(self) -> str:
        """Return what was said."""
        return "".join(token.text for token in self.tokens)

    @property
    def base_share(self) -> float:
        """Return base tokens / all tokens; 0 for an empty reply."""
        return sum(token.speaker is Role.BASE for token in self.tokens) / max(1, len(self.tokens))

    @property
    def switches(self) -> int:
        """Return how often the speaker changed."""
        return sum(a.speaker is not b.speaker for a, b in zip(self.tokens, self.tokens[1:], strict=False))

    def diversity_at(self, position: int) -> float | None:
        """Return where the dial stood at a token; None if nobody noted it."""
        passed = [move.diversity for move in self.dial if move.position <= position]
        return passed[-1] if passed else None


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user said, and every reply that was written to it."""

    user: str
    replies: tuple[Reply, ...] = ()
    current: int = 0  # the version that the conversation goes on from

    @property
    def reply(self) -> Reply | None:
        """Return the current version; None before the first reply."""
        return self.replies[self.current] if self.replies else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """A conversation at one moment."""

    turns: tuple[Turn, ...] = ()
    system: str = ""
    knobs: Mapping[str, str] = field(default_factory=dict)  # what was set by hand, as it was typed

    @property
    def last(self) -> Turn | None:
        """Return the last turn; None in a new chat."""
        return self.turns[-1] if self.turns else None

    def ask(self, user: str) -> Chat:
        """Add a turn that waits for its reply."""
        return dataclasses.replace(self, turns=(*self.turns, Turn(user)))

    def answer(self, reply: Reply) -> Chat:
        """Add a version to the last turn and go on from it; earlier versions stay."""
        assert self.turns, "a reply answers a turn"
        turn = self.turns[-1]
        replies = (*turn.replies, reply)
        return self._with_last(dataclasses.replace(turn, replies=replies, current=len(replies) - 1))

    def walk(self, step: int) -> Chat:
        """Go on from an earlier or later version of the last reply; the ends hold."""
        turn = self.last
        if turn is None or not turn.replies:
            return self
        current = min(max(0, turn.current + step), len(turn.replies) - 1)
        return self._with_last(dataclasses.replace(turn, current=current))

    def edit(self, user: str) -> Chat:
        """Ask something else in place of the last message; its replies go with it (undo brings both back)."""
        assert self.turns, "there is a message to edit"
        return dataclasses.replace(self, turns=(*self.turns[:-1], Turn(user)))

    def messages(self, n_dropped: int = 0) -> list[Message]:
        """Return the conversation as the models read it, without its oldest turns if they no longer fit."""
        told = [Message("system", self.system)] if self.system else []
        for turn in self.turns[n_dropped:]:
            told.append(Message("user", turn.user))
            if turn.reply is not None:
                told.append(Message("assistant", turn.reply.text))
        return told

    def question(self, n_dropped: int = 0) -> list[Message]:
        """Return the conversation up to the last message, for another reply to it."""
        told = self.messages(n_dropped)
        return told[:-1] if told and told[-1].role == "assistant" else told

    def _with_last(self, turn: Turn) -> Chat:
        return dataclasses.replace(self, turns=(*self.turns[:-1], turn))


class Session:
    """A chat, its past and its undone future: the one thing here that changes."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        # A chat from a file can be undone turn by turn, though its history was not saved.
        self._past = [dataclasses.replace(chat, turns=chat.turns[:n]) for n in range(len(chat.turns))]
        self._future: list[Chat] = []

    def change(self, chat: Chat) -> None:
        """Go on with another chat, so that undo comes back to this one."""
        self._past.append(self.chat)
        self._future.clear()
        self.chat = chat

    def adjust(self, chat: Chat) -> None:
        """Replace the chat without a step for undo: settings, and walks between versions."""
        self.chat = chat

    def undo(self) -> bool:
        """Take back the last change; False if there is none. Settings stay as they are."""
        return self._step(self._past, self._future)

    def redo(self) -> bool:
        """Take back the last undo; False if there is none."""
        return self._step(self._future, self._past)

    def _step(self, source: list[Chat], target: list[Chat]) -> bool:
        if not source:
            return False
        target.append(self.chat)
        self.chat = dataclasses.replace(source.pop(), system=self.chat.system, knobs=self.chat.knobs)
        return True


def slim(tokens: Sequence[Token]) -> tuple[Token, ...]:
    """Keep of every token what colours and explanations need: both sides where a word starts, five digits."""
    starts = set(word_starts(tokens))
    return tuple(_slim(token, opens=i in starts) for i, token in enumerate(tokens))


def _slim(token: Token, *, opens: bool) -> Token:
    spoken = dataclasses.replace(
        token.spoken,
        base=_rounded(token.base) if opens else None,
        aligned=_rounded(token.aligned) if opens else None,
    )
    return Token(token.text, spoken, token.position, _five_digits(token.elapsed_s))


def _rounded(side: SideRecord | None) -> SideRecord | None:
    if side is None:
        return None
    return SideRecord(
        side.top,
        _five_digits(side.max_p),
        _five_digits(side.entropy),
        _five_digits(side.logprob),
        _rounded_rivals(side.rivals),
    )


def _rounded_rivals(rivals: Sequence[Rival]) -> tuple[Rival, ...]:
    return tuple(Rival(rival.id, _five_digits(rival.logprob)) for rival in rivals)


def _five_digits(number: float) -> float:
    return float(f"{number:.5g}")
