"""A running chat: what is asked of the pair, how much of the conversation still fits, and where it is saved.

Knows the pair and the store; knows no terminal, no key and no command.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from baco_cli.chat.knobs import settings_of
from baco_cli.chat.places import Place, places
from baco_cli.chat.session import Chat, DialMove, Reply, Session, slim
from baco_cli.chat.store import ChatStore, Slot
from baco_local.engine.answer import Answer, Token
from baco_local.errors import BacoError, UsageError
from baco_local.pair import Pair, Stream
from baco_local.settings import Settings
from baco_local.types import Detail, Spoken

__all__ = ["Heard", "Talk", "Wish", "n_to_drop"]

RECORDED = {"detail": Detail.SIDES, "n_rivals": 5}  # what /why and /alt need
REPLY_SHARE = 1 / 3  # of the context is kept free for a reply, if it may be that long
UNREAD_BYTES_PER_TOKEN = 3.0  # a careful guess for text that no tokenizer has seen yet
FRAME_TOKENS = 12  # what templates and frames put around a message, likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A reply that is wanted."""

    chat: Chat  # the chat that it becomes the last reply of
    typed: str = ""  # the message as it was typed, to be given back if nothing comes of it
    begun: tuple[Spoken, ...] = ()  # how it begins, already decided
    seed: int | None = None  # None = as the settings say
    sample: int | None = None


@dataclass(slots=True)
class Heard:
    """What came of a wish."""

    tokens: list[Token] = field(default_factory=list)
    answer: Answer | None = None  # None: nothing was written
    moves: list[DialMove] = field(default_factory=list)
    error: BacoError | None = None
    stopped: bool = False  # Ctrl-C came
    typed: str = ""  # what the user wrote meanwhile
    leave: bool = False  # Ctrl-C came twice


class Talk:
    """The state of a running chat."""

    def __init__(
        self,
        pair: Pair,
        session: Session,
        defaults: Settings,
        *,
        store: ChatStore | None = None,
        slot: Slot | None = None,
        pace: float = 0.0,
    ) -> None:
        self.pair, self.session, self.defaults = pair, session, defaults
        self.store, self.slot = store, slot  # None: nothing is saved
        self.attached = ""  # goes before the next message
        self.last_answer: Answer | None = None  # with its cost, as long as this program runs
        self.n_dropped = 0  # turns that the voices no longer read
        self.before_solo = "5"  # where /solo both puts the dial
        self._pace = pace
        self.settings()  # refuses saved knobs that this version does not know

    @property
    def chat(self) -> Chat:
        """Return the conversation as it is now."""
        return self.session.chat

    @property
    def reply(self) -> Reply | None:
        """Return the reply that the conversation goes on from."""
        return self.chat.last.reply if self.chat.last else None

    @property
    def name(self) -> str:
        """Return the name of the file, or say that there is none."""
        return self.slot.name if self.slot else "not saved"

    @property
    def diversity(self) -> float:
        """Return where the dial stands for the next reply."""
        return self.settings().decode.diversity

    @property
    def seed(self) -> int | None:
        """Return the seed of the next replies; None = another one each time."""
        seed = int(self.chat.knobs.get("seed", "-1"))
        return None if seed < 0 else seed

    @property
    def pace(self) -> float:
        """Return how many tokens per second are wanted at most; 0 = no limit."""
        return float(self.chat.knobs.get("pace", self._pace))

    def settings(self, knobs: Mapping[str, str] | None = None) -> Settings:
        """Return the settings of the next reply, or of knobs to try."""
        return settings_of(self.defaults, self.chat.knobs if knobs is None else knobs)

    def turn(self, **typed: str) -> None:
        """Turn knobs by hand, or raise UsageError and leave them as they are."""
        knobs = {**self.chat.knobs, **typed}
        if "diversity" in typed and self.settings(knobs).decode.threshold is not None:
            knobs["threshold"] = "none"  # a raw threshold would keep the dial without effect
        self.settings(knobs)
        self.session.adjust(dataclasses.replace(self.chat, knobs=knobs))

    def move_dial(self, diversity: float) -> None:
        """Put the dial somewhere between 0 and 10."""
        self.turn(diversity=f"{min(max(diversity, 0.0), 10.0):g}")

    def wish(self, message: str) -> Wish:
        """Return the wish for a reply to a message, with what was read from files before it."""
        text = f"{self.attached}\n\n{message}" if self.attached else message
        return Wish(chat=self.chat.ask(text.encode("utf-8", "replace").decode()), typed=message)

    def start(self, wish: Wish, n_more: int = 0) -> Stream:
        """Ask the pair for a reply; how much of the conversation it does not read stands in ``n_dropped`` afterwards.

        Args:
            wish: what is wanted.
            n_more: turns to leave out beyond our own guess, because the pair said that it was not enough.

        """
        settings, turns = self.settings().turn(RECORDED), wish.chat.turns
        wanted = min(settings.decode.max_tokens, int(self.pair.n_ctx * REPLY_SHARE))
        room = self.pair.n_ctx - wanted - _size(wish.chat.system)
        sizes = [_size(turn.user) + (len(turn.reply.tokens) if turn.reply else 0) for turn in turns]
        sizes[-1] = _size(turns[-1].user)  # its replies are not read
        self.n_dropped = min(n_to_drop(sizes, room, self.n_dropped) + n_more, len(turns) - 1)
        seed, n_before = self.seed, sum(len(turn.replies) for turn in turns)
        return self.pair.stream(
            wish.chat.question(self.n_dropped),
            settings=settings,
            seed=seed if wish.seed is None else wish.seed,
            sample=(0 if seed is None else n_before) if wish.sample is None else wish.sample,
            begun=wish.begun,
        )

    def keep(self, wish: Wish, heard: Heard) -> Reply | None:
        """Make what was heard a reply of the chat and save it; None if nothing was heard."""
        if heard.answer is None or not heard.tokens:
            return None
        reply = Reply(
            tokens=slim(heard.tokens),
            finish=heard.answer.finish,
            seed=heard.answer.seed,
            sample=heard.answer.sample,
            pair=self.pair.name,
            router=self.settings().decode.router,
            dial=tuple(heard.moves),
            tokens_per_s=_speed(heard.tokens[len(wish.begun) :]),
        )
        # Settings are those of now: the dial may have been moved while the reply was written.
        answered = wish.chat.answer(reply)
        self.session.change(dataclasses.replace(answered, system=self.chat.system, knobs=self.chat.knobs))
        self.last_answer, self.attached = heard.answer, ""
        self.save()
        return reply

    def begin_anew(self) -> None:
        """Start another chat with the same settings, in another file."""
        if self.store is not None:
            self.slot = self.store.free_slot()
        self.session = Session(dataclasses.replace(self.chat, turns=()))
        self.n_dropped = 0

    def go_on_with(self, slot: Slot, session: Session) -> None:
        """Put another saved chat in the place of this one."""
        settings_of(self.defaults, session.chat.knobs)
        self.slot, self.session, self.n_dropped, self.last_answer = slot, session, 0, None

    def saved_names(self) -> list[str]:
        """Return the chats that can be loaded."""
        return self.store.names() if self.store is not None else []

    def save(self) -> None:
        """Write the chat to its file, unless nothing is to be saved or there is nothing yet."""
        if self.store is not None and self.slot is not None and (self.chat.turns or self.slot.stamp_ns is not None):
            self.slot = self.store.save(self.slot, self.chat, self.pair.name)

    def places(self) -> tuple[Place, ...]:
        """Return the numbered words of the last reply, or say why there are none."""
        if self.reply is None:
            raise UsageError("there is no reply yet")
        if self.reply.pair != self.pair.name:
            raise UsageError(f"this reply was written by the pair {self.reply.pair!r}; ask it again with /regen")
        return places(self.reply.tokens)


def n_to_drop(sizes: Sequence[int], room: int, n_dropped: int) -> int:
    """Return how many of the oldest turns must go so that the rest fits; never the last one.

    When some must go, a quarter of the room is freed at once: every drop makes the models read the rest anew. What
    was dropped before stays out as long as not everything fits.
    """
    if sum(sizes) <= room:
        return 0
    n_dropped = min(n_dropped, len(sizes) - 1)
    if sum(sizes[n_dropped:]) <= room:
        return n_dropped
    while n_dropped < len(sizes) - 1 and sum(sizes[n_dropped:]) > 0.75 * room:
        n_dropped += 1
    return n_dropped


def _speed(tokens: Sequence[Token]) -> float:
    """Return tokens per second after the first one; 0 where it cannot be told."""
    elapsed_s = tokens[-1].elapsed_s - tokens[0].elapsed_s if tokens else 0.0
    return round((len(tokens) - 1) / elapsed_s, 2) if elapsed_s > 0 else 0.0


def _size(text: str) -> int:
    return int(len(text.encode()) / UNREAD_BYTES_PER_TOKEN) + FRAME_TOKENS if text else 0
