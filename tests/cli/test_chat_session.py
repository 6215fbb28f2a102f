"""The chat as data: turns, versions, undo and redo."""

from __future__ import annotations

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from baco_cli.chat.session import Chat, Reply, Session, slim
from baco_local.engine.answer import Token
from baco_local.text.chat import Message
from chat_samples import chats, fox_chat, fox_reply, replies, token_lists


@settings(max_examples=20)
@given(chats, st.text())
def test_undo_takes_back_a_change_and_redo_brings_it_back(chat: Chat, message: str) -> None:
    """Undo returns to the chat before a change, redo to the one after it."""
    session = Session(chat)
    after = chat.ask(message)
    session.change(after)
    assert session.undo()
    assert session.chat == chat
    assert session.redo()
    assert session.chat == after


@settings(max_examples=20)
@given(chats)
def test_a_loaded_chat_can_be_undone_turn_by_turn(chat: Chat) -> None:
    """A chat from a file can be taken back to its start, and no further, and then forward to its end."""
    session = Session(chat)
    n = 0
    while session.undo():
        n += 1
        assert session.chat.turns == chat.turns[: len(chat.turns) - n]
    assert n == len(chat.turns)
    while session.redo():
        n -= 1
    assert n == 0
    assert session.chat == chat


@settings(max_examples=20)
@given(chats, st.text(), st.text())
def test_a_change_after_undo_forgets_what_was_undone(chat: Chat, message: str, other: str) -> None:
    """Redo never brings back a future that another change has replaced."""
    session = Session(chat)
    session.change(chat.ask(message))
    session.undo()
    session.change(chat.ask(other))
    assert not session.redo()


def test_undo_keeps_settings() -> None:
    """A system text or a knob that was set meanwhile survives an undo."""
    session = Session(fox_chat())
    session.adjust(dataclasses.replace(session.chat, system="Rhyme.", knobs={"min_p": "0.1"}))
    assert session.undo()
    assert (session.chat.system, session.chat.knobs) == ("Rhyme.", {"min_p": "0.1"})


@settings(max_examples=20)
@given(chats.filter(lambda chat: bool(chat.turns)), replies)
def test_a_new_version_keeps_the_earlier_ones(chat: Chat, reply: Reply) -> None:
    """Another reply becomes the current version and the earlier versions stay as they were."""
    before, after = chat.turns[-1], chat.answer(reply).turns[-1]
    assert after.replies == (*before.replies, reply)
    assert after.reply == reply


@settings(max_examples=20)
@given(chats, st.integers(-9, 9))
def test_walking_stays_within_the_versions(chat: Chat, step: int) -> None:
    """A walk changes which version is current, never the versions, and stops at both ends."""
    walked = chat.walk(step)
    assert [turn.replies for turn in walked.turns] == [turn.replies for turn in chat.turns]
    if walked.last and walked.last.replies:
        assert 0 <= walked.last.current < len(walked.last.replies)
        assert chat.walk(-9).walk(9).last.current == len(walked.last.replies) - 1  # type: ignore[union-attr]


def test_the_models_read_the_current_versions() -> None:
    """The conversation holds the system text, the messages, and of every reply its current version."""
    text = fox_reply().text
    assert fox_chat().messages() == [
        Message("system", "Be brief."),
        Message("user", "A fox?"),
        Message("assistant", text),
        Message("user", "And then?"),
        Message("assistant", text),
    ]


def test_another_reply_is_asked_with_the_same_question() -> None:
    """For another version the conversation ends with the last message; the system text is never left out."""
    assert fox_chat().question(n_dropped=1) == [Message("system", "Be brief."), Message("user", "And then?")]


def test_an_edit_takes_the_place_of_the_last_message() -> None:
    """An edited message waits for a reply of its own; the turns before it stay."""
    edited = fox_chat().edit("Why?")
    assert edited.turns[0] == fox_chat().turns[0]
    assert (edited.turns[1].user, edited.turns[1].reply) == ("Why?", None)


@settings(max_examples=30)
@given(token_lists())
def test_slim_tokens_say_and_colour_the_same(tokens: list[Token]) -> None:
    """What is left out of the record changes neither text nor speakers, and leaving out twice is leaving out once."""
    less = slim(tokens)
    assert [(token.text, token.speaker, token.boundary) for token in less] == [
        (token.text, token.speaker, token.boundary) for token in tokens
    ]
    assert slim(less) == less


def test_the_dial_is_known_at_every_token() -> None:
    """A reply tells where the dial stood at a token, before and after it was moved."""
    reply = fox_reply()
    assert (reply.diversity_at(3), reply.diversity_at(4)) == (5.0, 8.0)
    assert dataclasses.replace(reply, dial=()).diversity_at(3) is None
