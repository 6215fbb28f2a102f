"""Chats, replies and tokens for tests of the chat: written by hand, or by Hypothesis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hypothesis import strategies as st
from rich.text import Text

from baco_cli.chat.session import Chat, DialMove, Reply, Session, Turn, slim
from baco_cli.chat.store import ChatStore
from baco_cli.chat.talk import Talk
from baco_local.engine.answer import Token
from baco_local.testing import lively, scripted_pair
from baco_local.types import FinishReason, Rival, Role, SideRecord, Spoken

PIECES = (b"", b" the", b" fox", b" hen", b" owl", b",", b" run", b"ning", b".", b"The")
ENDS, THE, FOX, HEN, OWL, COMMA, RUN, NING, STOP, CAPITAL_THE = range(len(PIECES))


def side(*chances: tuple[int, float], said: float = 0.1) -> SideRecord:
    """Return a record of these tokens with their probabilities, the likeliest first."""
    rivals = tuple(Rival(token, math.log(p)) for token, p in chances)
    return SideRecord(chances[0][0], chances[0][1], 1.0, math.log(said), rivals)


def token(
    position: int,
    piece: int,
    speaker: Role,
    *,
    base: SideRecord | None = None,
    aligned: SideRecord | None = None,
    boundary: bool = True,
    reason: str = "unsure",
) -> Token:
    """Return a token of a reply."""
    spoken = Spoken(piece, speaker, reason, boundary, base=base, aligned=aligned)
    return Token(PIECES[piece].decode(), spoken, position, 0.01 * position)


def fox_reply(pair: str = "another") -> Reply:
    """Return "The fox running, the hen." with one wide parting at the fox and one switch there and back."""
    sure = side((THE, 0.9), (HEN, 0.05))
    tokens = (
        token(0, CAPITAL_THE, Role.ALIGNED, base=side((CAPITAL_THE, 0.8)), aligned=side((CAPITAL_THE, 0.9))),
        token(1, FOX, Role.BASE, base=side((FOX, 0.6), (HEN, 0.2)), aligned=side((OWL, 0.7), (FOX, 0.1))),
        token(2, RUN, Role.ALIGNED, base=side((RUN, 0.5)), aligned=side((RUN, 0.5)), reason="sure"),
        token(3, NING, Role.ALIGNED, boundary=False, reason="inside word"),
        token(4, COMMA, Role.ALIGNED, base=side((COMMA, 0.5)), aligned=side((COMMA, 0.5)), reason="locked"),
        token(5, THE, Role.ALIGNED, base=sure, aligned=sure, reason="sure"),
        token(6, HEN, Role.ALIGNED, base=side((HEN, 0.5), (FOX, 0.4)), aligned=side((HEN, 0.6), (FOX, 0.3))),
        token(7, STOP, Role.ALIGNED, base=side((STOP, 0.5)), aligned=side((STOP, 0.5)), reason="locked"),
    )
    return Reply(
        tokens=slim(tokens),
        finish=FinishReason.END,
        seed=7,
        pair=pair,
        router="P-PUNC",
        dial=(DialMove(0, 5.0), DialMove(4, 8.0)),
        tokens_per_s=31.5,
    )


def fox_chat() -> Chat:
    """Return a chat of two turns, the last with two versions."""
    return Chat(
        turns=(Turn("A fox?", (fox_reply(),)), Turn("And then?", (fox_reply(), fox_reply()), current=1)),
        system="Be brief.",
        knobs={"diversity": "7"},
    )


chances = st.floats(1e-6, 1.0)
logprobs = st.floats(-80, 0)


@st.composite
def sides(draw: st.DrawFn) -> SideRecord:
    """Make a record with a few rivals."""
    rivals = draw(st.lists(st.builds(Rival, st.integers(0, 9), logprobs), max_size=1))
    return SideRecord(draw(st.integers(0, 9)), draw(chances), draw(st.floats(0, 12)), draw(logprobs), tuple(rivals))


@st.composite
def token_lists(draw: st.DrawFn) -> Sequence[Token]:
    """Make the tokens of a reply, with any text."""
    texts = draw(st.lists(st.text(max_size=4), max_size=5))
    return [
        Token(
            text,
            Spoken(
                draw(st.integers(0, 9)),
                draw(st.sampled_from(Role)),
                draw(st.sampled_from(["sure", "unsure", "locked", "inside word"])),
                draw(st.booleans()),
                refused=draw(st.booleans()),
                base=draw(st.none() | sides()),
                aligned=draw(st.none() | sides()),
            ),
            position,
            draw(st.floats(0, 100)),
        )
        for position, text in enumerate(texts)
    ]


replies = st.builds(
    Reply,
    tokens=token_lists().map(slim),
    finish=st.sampled_from(FinishReason),
    seed=st.integers(0, 2**63 - 1),
    sample=st.integers(0, 5),
    pair=st.text(max_size=5),
    router=st.just("P-PUNC"),
    dial=st.lists(st.builds(DialMove, st.integers(0, 9), st.floats(0, 10)), max_size=2).map(tuple),
    tokens_per_s=st.floats(0, 1000),
)


@st.composite
def turns(draw: st.DrawFn) -> Turn:
    """Make a turn with any number of versions, one of them current."""
    versions = tuple(draw(st.lists(replies, max_size=2)))
    return Turn(draw(st.text()), versions, draw(st.integers(0, max(0, len(versions) - 1))))


chats = st.builds(
    Chat,
    turns=st.lists(turns(), max_size=2).map(tuple),
    system=st.text(),
    knobs=st.dictionaries(st.sampled_from(["seed", "diversity", "temperature"]), st.text(), max_size=2),
)


class Notes:
    """A paper that only remembers; fulfils ``commands.Paper``."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self.replies: list[Reply] = []
        self.copied: list[str] = []

    def say(self, text: str | Text, indent: int = 0) -> None:  # noqa: ARG002
        """Remember a line."""
        self.lines.append(str(text))

    def warn(self, text: str) -> None:
        """Remember a warning."""
        self.warnings.append(text)

    def reply(self, reply: Reply, heading: str = "") -> None:  # noqa: ARG002
        """Remember a reply."""
        self.replies.append(reply)

    def turns(self, chat: Chat, n: int) -> None:
        """Remember the replies of the last turns."""
        self.replies += [turn.reply for turn in chat.turns[-n:] if turn.reply]

    def copy(self, text: str) -> bool:
        """Remember what went to the clipboard."""
        self.copied.append(text)
        return True

    @property
    def all(self) -> str:
        """Return all lines."""
        return "\n".join(self.lines)


@contextmanager
def chat_talk(chat: Chat | None = None, folder: Path | None = None, n_ctx: int = 4096) -> Iterator[Talk]:
    """Open a talk with a talkative scripted pair under a fixed seed; saved in a folder if there is one."""
    n_vocab = len(scripted_pair().pieces)
    scripts = [lively(n_vocab, seed, stop_bias=-5.0) for seed in (1, 2)]
    chat = Chat(knobs={"seed": "1"}) if chat is None else chat
    store = None if folder is None else ChatStore(folder)
    slot = None if store is None else store.slot("fox")
    with scripted_pair(*scripts, n_ctx=n_ctx) as pair:
        yield Talk(pair, Session(chat), pair.settings.turn({"max_tokens": 24}), store=store, slot=slot)
