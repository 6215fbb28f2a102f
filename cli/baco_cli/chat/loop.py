"""The loop of a chat: ask, obey or answer, keep, until the user leaves.

Knows faces, papers and commands; knows no terminal.
"""

from __future__ import annotations

import dataclasses

from baco_cli.chat import commands
from baco_cli.chat.commands import Draft, Leave, Next, Write
from baco_cli.chat.face import Asked, Face, Key
from baco_cli.chat.paper import ScreenPaper, version_words
from baco_cli.chat.talk import Heard, Talk, Wish
from baco_local.errors import BacoError, PromptTooLongError

__all__ = ["INTERRUPTED", "converse"]

INTERRUPTED = 130
HOW_TO_LEAVE = "Ctrl-D or /exit to leave"


def converse(talk: Talk, face: Face, paper: ScreenPaper) -> int:
    """Chat until the user leaves, and return the exit code."""
    draft = Draft("")
    while True:
        asked = face.ask(talk, draft.text)
        try:
            after = _obey(asked, draft, talk, paper)
        except BacoError as error:
            paper.warn(str(error))
            paper.gap()
            draft = Draft("")
            continue
        draft = Draft("")
        match after:
            case Leave():
                return 0
            case Draft():
                draft = after
            case Write():
                heard = _write(after, talk, face, paper)
                if heard.leave:
                    return INTERRUPTED
                draft = Draft(heard.typed)


def _obey(asked: Asked, draft: Draft, talk: Talk, paper: ScreenPaper) -> Next:
    match asked:
        case Key.LEAVE:
            return Leave()
        case Key.INTERRUPT:
            paper.say(HOW_TO_LEAVE)
        case Key.OLDER | Key.NEWER:
            _walk(talk, paper, -1 if asked is Key.OLDER else 1)
        case str() if not asked.strip():
            pass
        case str() if draft.edits:
            return Write(Wish(chat=talk.chat.edit(asked), typed=asked))
        case str() if asked.startswith("/") and not asked.startswith("//"):
            after = commands.run(asked, talk, paper)
            if not isinstance(after, Write):
                paper.gap()
            return after
        case str():
            return Write(talk.wish(asked.removeprefix("/")))
    return None


def _walk(talk: Talk, paper: ScreenPaper, step: int) -> None:
    """Go on from another version of the last reply, and show it."""
    turn = talk.chat.last
    if turn is None or len(turn.replies) < 2:
        paper.say("the last reply has no other version; /regen writes one" if turn else HOW_TO_LEAVE)
        return
    walked = talk.chat.walk(step)
    if walked == talk.chat:
        paper.say(f"this is the {'first' if step < 0 else 'last'} of {len(turn.replies)} versions")
        return
    talk.session.adjust(walked)
    talk.save()
    paper.turns(talk.chat, 1)


def _write(write: Write, talk: Talk, face: Face, paper: ScreenPaper) -> Heard:
    """Let the pair write what is wanted; the message comes back as a draft if nothing came of it."""
    wish = write.wish
    for time in range(write.times):
        heard = _hear(wish, talk, face, paper)
        try:
            reply = talk.keep(wish, heard)
        except BacoError as error:  # it is in the chat, but not in its file
            paper.warn(str(error))
            reply = talk.reply
        if reply is not None and heard.tokens:
            last = talk.chat.last
            n = len(last.replies) if last else 1
            paper.figures(reply, version_words(n, n) if n > 1 else "")
        if heard.error is not None:
            paper.warn(str(heard.error))
        elif not heard.tokens and not heard.stopped:
            paper.warn("the reply ended before its first word; ask again, perhaps in other words")
        if not heard.tokens:
            heard.typed = heard.typed or wish.typed
            if talk.attached and heard.error is not None:
                paper.say("what was read with /read still waits; /read - forgets it")
            paper.gap()
        if heard.leave or heard.error or heard.stopped or time == write.times - 1:
            break
        wish = dataclasses.replace(wish, chat=talk.chat)
    return heard


def _hear(wish: Wish, talk: Talk, face: Face, paper: ScreenPaper) -> Heard:
    """Start the reply, leaving out old turns until the conversation fits, and listen to it."""
    n_more = 0
    while True:
        before = talk.n_dropped
        try:
            stream = talk.start(wish, n_more)
            if talk.n_dropped > before:
                paper.say(_left_out(talk))
            heard = face.hear(talk, stream, len(wish.begun))
        except BacoError as error:
            heard = Heard(error=error)
        too_long = isinstance(heard.error, PromptTooLongError) and not heard.tokens
        if not too_long or talk.n_dropped >= len(wish.chat.turns) - 1:
            return heard
        n_more += 1


def _left_out(talk: Talk) -> str:
    n = talk.n_dropped
    turns = "the first turn no longer fits" if n == 1 else f"the first {n} turns no longer fit"
    return f"{turns} the context of {talk.pair.n_ctx} tokens: the voices go on without {'it' if n == 1 else 'them'}"
