"""``baco chat``: from options and saved chats to a running loop.

Decides what is loaded, resumed and said first; how a chat goes on is the loop's business.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from baco_cli.chat.commands import LONG_VOICES
from baco_cli.chat.face import Face
from baco_cli.chat.loop import converse
from baco_cli.chat.paper import ScreenPaper
from baco_cli.chat.pipe import PipeFace
from baco_cli.chat.session import Chat, Session
from baco_cli.chat.store import ChatStore, Slot
from baco_cli.chat.talk import Talk
from baco_cli.chat.terminal import TerminalFace, history
from baco_cli.console import Screen
from baco_cli.folders import data_dir, pairs_file
from baco_cli.opening import open_pair
from baco_cli.options import (
    EachModel,
    Machine,
    ModelChoice,
    Output,
    Sampling,
    Writing,
    bundled,
    one_of,
    option,
    per_call,
    turned,
)
from baco_cli.render import banner
from baco_cli.stopping import Ending, endable
from baco_local.catalog import known_pairs
from baco_local.errors import UsageError
from baco_local.pair import Pair
from baco_local.types import Role

__all__ = ["app", "chat"]

app = typer.Typer(add_completion=False)

PANEL = "Chat"
STEERABLE_PACE = 40.0  # tokens per second: a person can follow, and turn the dial before it is over
SHOWN_TURNS = 2  # of a chat that goes on


@app.command()
@bundled
def chat(
    *,
    go_on: Annotated[bool, per_call("--continue", "-C", help="Go on with the last chat.", panel=PANEL)] = False,
    cid: Annotated[
        str | None,
        per_call("--cid", help="Go on with the chat of this name; made if new.", panel=PANEL, metavar="NAME"),
    ] = None,
    no_save: Annotated[bool, option("--no-save", help="Keep this chat off the disk.", panel=PANEL)] = False,
    system_prompt: Annotated[
        str | None, per_call("--system-prompt", "-sys", help="How the answers shall be.", panel=PANEL)
    ] = None,
    system_prompt_file: Annotated[
        Path | None, per_call("--system-prompt-file", "-sysf", help="The same from a file.", panel=PANEL)
    ] = None,
    pace: Annotated[
        float | None,
        option(
            "--pace", min=0, help="Tokens per second at most; 0 = no limit. On a terminal 40.", panel=PANEL, metavar="X"
        ),
    ] = None,
    models: ModelChoice,
    writing: Writing,
    sampling: Sampling,
    machine: Machine,
    each: EachModel,
    output: Output,
) -> None:
    """Talk, with the dial in your hand.

    Every chat is saved; baco chat -C goes on with the last one. Without a terminal, every line on stdin is a message.
    """
    if output.json:
        raise UsageError("baco chat writes no JSON; use baco run --json, or /export json in the chat")
    system = one_of("--system-prompt", system_prompt, system_prompt_file)
    screen = output.screen()
    store = None if no_save else ChatStore(data_dir() / "chats")
    slot, saved = _find(store, go_on=go_on, cid=cid)  # before loading: a damaged file is said at once
    interactive = sys.stdin.isatty() and screen.live
    with open_pair(_as_before(models, saved), machine, each, screen) as pair:
        defaults = turned(pair.settings, writing, sampling, each)
        knobs = dict(saved.knobs)
        for name in writing.knobs(pair.settings) | sampling.knobs():
            knobs.pop(name, None)  # what is given now goes before what was set then
        if sampling.seed is not None:
            knobs["seed"] = str(sampling.seed)
        if pace is None:
            pace = STEERABLE_PACE if interactive else 0.0
        else:
            knobs.pop("pace", None)
        begun = dataclasses.replace(saved, knobs=knobs, system=saved.system if system is None else system)
        talk = Talk(pair, Session(begun), defaults, store=store, slot=slot, pace=pace)
        paper = ScreenPaper(screen)
        banner(screen, pair, talk.settings(), verbose=output.verbose)
        _settle_dial(screen, pair, talk)
        _welcome(screen, pair, talk)
        if talk.reply is not None and talk.reply.pair != pair.name:
            paper.warn(f"this chat was written by the pair {talk.reply.pair}; {pair.name} goes on with it")
        paper.turns(talk.chat, SHOWN_TURNS)
        with _face(screen, interactive=interactive) as (face, ending):
            code = converse(talk, face, paper)
        code = ending.code or code
        _farewell(screen, talk)
        if isinstance(face, TerminalFace) and face.stuck:
            os._exit(code)  # llama.cpp is still at work in the other thread
    raise typer.Exit(code)


def _find(store: ChatStore | None, *, go_on: bool, cid: str | None) -> tuple[Slot | None, Chat]:
    """Return the file and the chat to go on with, or a free file and an empty chat."""
    if go_on and cid is not None:
        raise UsageError("-C and --cid both say which chat to go on with; give one of them")
    if store is None:
        if go_on or cid is not None:
            raise UsageError("--no-save keeps no chat to go on with; leave it out, or leave out -C and --cid")
        return None, Chat()
    if go_on:
        names = store.names()
        if not names:
            raise UsageError(f"there is no chat to go on with yet in {store.folder}")
        return store.load(names[0])
    if cid is None:
        return store.free_slot(), Chat()
    slot = store.slot(cid)
    return store.load(cid) if slot.path.exists() else (slot, Chat())


def _as_before(models: ModelChoice, saved: Chat) -> ModelChoice:
    """Go on with the pair that wrote the last reply, if nobody names another and it can be found by its name."""
    last = saved.last.reply if saved.last else None
    if (
        last is None
        or models.model is not None
        or models.base is not None
        or last.pair not in known_pairs(pairs_file())
    ):
        return models
    return dataclasses.replace(models, model=last.pair)


@contextmanager
def _face(screen: Screen, *, interactive: bool) -> Iterator[tuple[Face, Ending]]:
    """Open the way to talk; a pipe needs no tidying, so that a signal may end it where it stands."""
    if not interactive:
        yield PipeFace(screen, sys.stdin), Ending()
        return
    kept = None if os.environ.get("BACO_NOHISTORY") else data_dir() / "history"
    with endable() as ending:
        face = TerminalFace(screen, history(kept), ending=ending)
        with face.held():
            yield face, ending


def _settle_dial(screen: Screen, pair: Pair, talk: Talk) -> None:
    """Let a pair that nobody has measured yet find out what its dial means, before anybody waits for a word."""
    if pair.calibration is not None:
        return
    try:
        for _ in pair.stream("Hello", settings=talk.settings().turn({"max_tokens": 1})):
            pass
    finally:
        screen.status.clear()


def _welcome(screen: Screen, pair: Pair, talk: Talk) -> None:
    if screen.quiet:
        return
    legend = Text.assemble(
        (LONG_VOICES[Role.BASE], "base"),
        (": base model, underlined · ", "muted"),
        (LONG_VOICES[Role.ALIGNED], "aligned"),
        (": aligned model", "muted"),
    )
    screen.err.print(legend)
    n = len(talk.chat.turns)
    name = f"{talk.name} ({n} turn{'s' * (n > 1)})" if n else talk.name
    screen.say(f"context {pair.n_ctx} tokens · chat {name} · /help · Ctrl-D leaves")
    if screen.live:
        screen.err.print()


def _farewell(screen: Screen, talk: Talk) -> None:
    if talk.slot is not None and talk.slot.stamp_ns is not None and screen.live:
        screen.say(f"saved; go on with:  baco chat --cid {talk.name}")
