"""What can be typed after a slash.

Every command reads and changes the talk, says something on paper, and returns what happens next; knows no terminal.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from rich.text import Text

from baco_cli.chat import knobs
from baco_cli.chat.export import FORMATS, write_export
from baco_cli.chat.places import Option, Place, hinges, options, other_word, reason
from baco_cli.chat.session import Chat, Reply, Session
from baco_cli.chat.talk import Talk, Wish
from baco_cli.progress import count
from baco_local.config import Uncertainty
from baco_local.errors import UsageError
from baco_local.routing.dial import ROUTERS
from baco_local.types import Role, SideRecord, Spoken

__all__ = ["ALIASES", "COMMANDS", "LONG_VOICES", "Command", "Draft", "Leave", "Next", "Paper", "Write", "find", "run"]

VOICES = {Role.ALIGNED: "voice B", Role.BASE: "voice A"}
LONG_VOICES = {Role.ALIGNED: "voice B (polished)", Role.BASE: "voice A (wild)"}
WHO = {
    Role.BASE: "the base model: underlined; a higher d gives it more",
    Role.ALIGNED: "the aligned model: plain; it also ends the reply",
}
N_HINGES = 10  # places that /why lists
LEAST_P = 0.005  # what would be shown as 0 %
N_OPTIONS = 4  # words that /why shows of each side
BEFORE, AFTER = 26, 18  # characters of the reply shown around a word
WORD = 13  # characters of a word in a list
LONG_FILE = 200_000  # characters


class Paper(Protocol):
    """Where commands write."""

    def say(self, text: str | Text, indent: int = 0) -> None:
        """Print a line for the reader."""

    def warn(self, text: str) -> None:
        """Print something that went otherwise than wished."""

    def reply(self, reply: Reply, heading: str = "") -> None:
        """Print a whole reply in its two voices, and its figures."""

    def turns(self, chat: Chat, n: int) -> None:
        """Print the last turns of a chat."""

    def copy(self, text: str) -> bool:
        """Hand a text to the clipboard of the terminal; False if it has none."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The chat is over."""


@dataclass(frozen=True, slots=True)
class Draft:
    """The user goes on with this text in the input line."""

    text: str
    edits: bool = False  # it takes the place of the last message


@dataclass(frozen=True, slots=True)
class Write:
    """Replies are wanted, one after the other."""

    wish: Wish
    times: int = 1


Next: TypeAlias = "Leave | Draft | Write | None"
"""What follows a command; None = the next input."""


@dataclass(frozen=True, slots=True)
class Command:
    """A slash command."""

    usage: str  # its arguments, as help shows them
    help: str
    run: Callable[[Talk, Paper, str], Next]
    choices: Callable[[Talk], Sequence[str]] = lambda _talk: ()  # words that complete its first argument
    takes_path: bool = False  # its last argument is a path


def run(line: str, talk: Talk, paper: Paper) -> Next:
    """Run one line that starts with a slash."""
    word, _, rest = line[1:].partition(" ")
    return find(word).run(talk, paper, rest.strip())


def find(word: str) -> Command:
    """Return a command by its name, an alias, or the only beginning of a name that fits; or say which are near."""
    name = ALIASES.get(word, word)
    begun = [known for known in COMMANDS if known.startswith(name)] if name else []
    if name not in COMMANDS and len(begun) == 1:
        name = begun[0]
    if name not in COMMANDS:
        near = begun or difflib.get_close_matches(word, [*COMMANDS, *ALIASES], n=2)
        raise UsageError(f"there is no command /{word}; {' or '.join(f'/{one}' for one in near) or '/help'}?")
    return COMMANDS[name]


def _help(_talk: Talk, paper: Paper, _rest: str) -> Next:
    left = max(len(f"/{name} {command.usage}") for name, command in COMMANDS.items()) + 2
    for name, command in COMMANDS.items():
        paper.say(Text.assemble((f"  {f'/{name} {command.usage}':<{left}}", "accent"), command.help))
    for keys, does in KEYS.items():
        paper.say(Text.assemble((f"  {keys:<{left}}", "accent"), does))
    return None


def _exit(_talk: Talk, _paper: Paper, _rest: str) -> Next:
    return Leave()


def _clear(talk: Talk, paper: Paper, _rest: str) -> Next:
    talk.begin_anew()
    paper.say("a new chat; the old one stays saved" if talk.store else "a new chat")
    return None


def _regen(talk: Talk, _paper: Paper, rest: str) -> Next:
    if talk.chat.last is None:
        raise UsageError("there is nothing to answer again yet")
    return Write(Wish(chat=talk.chat), times=_count(rest) if rest else 1)


def _undo(talk: Talk, paper: Paper, _rest: str) -> Next:
    _step(talk, paper, talk.session.undo, "nothing to take back")
    return None


def _redo(talk: Talk, paper: Paper, _rest: str) -> Next:
    _step(talk, paper, talk.session.redo, "nothing to bring back")
    return None


def _edit(talk: Talk, _paper: Paper, rest: str) -> Next:
    if talk.chat.last is None:
        raise UsageError("there is no message to edit yet")
    if rest:
        return Write(Wish(chat=talk.chat.edit(rest)))
    return Draft(talk.chat.last.user, edits=True)


def _system(talk: Talk, paper: Paper, rest: str) -> Next:
    if rest:
        text = "" if rest in ("-", '""') else rest
        talk.session.adjust(dataclasses.replace(talk.chat, system=text))
        talk.save()
    paper.say(f"system: {talk.chat.system or '(none)'}")
    return None


def _set(talk: Talk, paper: Paper, rest: str) -> Next:
    typed, _, text = rest.partition(" ")
    if not typed:
        return _show(talk, paper, "")
    name = knobs.spelled(typed)
    if not text.strip():
        raise UsageError(f"/set {name} wants a value; /show lists those in use")
    talk.turn(**{name: text.strip()})
    talk.save()
    paper.say(f"{name} = {text.strip()}")
    return None


def _show(talk: Talk, paper: Paper, _rest: str) -> Next:
    settings, chat = talk.settings(), talk.chat
    decode = settings.decode
    router = decode.router if settings.router is None else "a router of your own"
    dial = f"d={decode.diversity:g}" if decode.threshold is None else f"threshold {decode.threshold:g}"
    seed = talk.seed
    rows = {
        "chat": f"{talk.name} · {count(len(chat.turns), 'turn')}",
        "pair": f"{talk.pair.name} · context {talk.pair.n_ctx} tokens",
        "router": f"{router} · {dial}",
        "length": f"{decode.max_tokens} tokens at most",
        "pace": f"{talk.pace:g} tokens/s at most" if talk.pace else "as fast as it goes",
        "seed": "another one each time" if seed is None else str(seed),
        "system": chat.system or "(none)",
        "voice A": _differences(settings.base),
        "voice B": _differences(settings.aligned),
        "by hand": " · ".join(f"{name} = {value}" for name, value in chat.knobs.items()) or "(nothing)",
    }
    for name, value in rows.items():
        paper.say(Text.assemble((f"  {name:<9}", "muted"), value))
    return None


def _save(talk: Talk, paper: Paper, rest: str) -> Next:
    if talk.store is None:
        raise UsageError("this chat was started with --no-save; /export json FILE writes it to a file")
    if rest:
        slot = talk.store.slot(rest)
        if slot.path.exists() and (talk.slot is None or slot.path != talk.slot.path):
            raise UsageError(f"a chat {rest!r} exists; give another name")
        if talk.slot is None or slot.path != talk.slot.path:
            talk.slot = slot
    talk.save()
    paper.say(f"saved as {talk.name}; later: baco chat --cid {talk.name}")
    return None


def _load(talk: Talk, paper: Paper, rest: str) -> Next:
    if talk.store is None:
        raise UsageError("this chat was started with --no-save; start baco chat without it to load one")
    if not rest:
        names = talk.store.names()
        paper.say("saved chats: " + (" ".join(names[:20]) or "none yet"))
        return None
    slot, chat = talk.store.load(rest)
    talk.go_on_with(slot, Session(chat))
    paper.turns(chat, 2)
    return None


def _export(talk: Talk, paper: Paper, rest: str) -> Next:
    form, _, name = rest.partition(" ")
    if form not in FORMATS:
        raise UsageError(f"/export takes {', '.join(FORMATS)} and a file; not {form or 'nothing'!r}")
    written = write_export(talk.chat, talk.pair.name, form, _path(name) if name.strip() else None, talk.name)
    paper.say(f"wrote {written}")
    return None


def _read(talk: Talk, paper: Paper, rest: str) -> Next:
    if not rest:
        raise UsageError("/read wants a file; - forgets what was read")
    if rest == "-":
        talk.attached = ""
        paper.say("nothing goes before your next message")
        return None
    path = _path(rest)
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as text: {getattr(error, 'strerror', None) or error}") from error
    if len(text) > LONG_FILE:
        raise UsageError(f"{path} holds {len(text):,} characters; no more than {LONG_FILE:,} can be read")
    talk.attached = f"{talk.attached}\n\n{text}" if talk.attached else text
    paper.say(f"read {len(text):,} characters; they go before your next message")
    return None


def _stats(talk: Talk, paper: Paper, _rest: str) -> Next:
    answer = talk.last_answer
    if answer is None:
        raise UsageError("no reply was written since this program started")
    usage = answer.usage
    paper.say(Text.assemble(("  seed     ", "muted"), f"{answer.seed}, sample {answer.sample}"))
    paper.say(Text.assemble(("  first    ", "muted"), f"after {1000 * (usage.first_token_s or 0):.0f} ms"))
    after_s = usage.elapsed_s - (usage.first_token_s or 0)
    for role in (Role.BASE, Role.ALIGNED):
        n_prompt, cached, decoded = usage.n_prompt[role], usage.n_prompt_cached[role], usage.n_decoded[role]
        speed = f" at {decoded / after_s:.0f} tok/s" if after_s > 0 and decoded else ""
        told = f"prompt {n_prompt} tokens, {cached} known already · reply {decoded}{speed}"
        paper.say(Text.assemble((f"  {VOICES[role]}  ", "muted"), told))
    used = max(usage.n_prompt[role] for role in Role) + len(answer.tokens)
    paper.say(Text.assemble(("  context  ", "muted"), f"{used} of {talk.pair.n_ctx} tokens"))
    if talk.pace:
        paper.say(Text.assemble(("  pace     ", "muted"), f"held at {talk.pace:g} tok/s; /set pace 0 lets it run"))
    for event in answer.guards:
        paper.say(Text.assemble(("  guard    ", "muted"), f"{event.guard} at token {event.position}"))
    return None


def _dial(talk: Talk, paper: Paper, rest: str) -> Next:
    if rest:
        try:
            talk.turn(diversity=f"{float(rest):g}")
        except ValueError:
            raise UsageError(f"the dial takes a number from 0 to 10, not {rest!r}") from None
        talk.save()
    d = talk.diversity
    ends = {0.0: "voice B alone", 10.0: "voice A alone"}
    meaning = ends.get(d, f"about {10 * d:.0f} % of the places that are free to choose go to voice A")
    paper.say(f"d={d:g}: {meaning}")
    return None


def _solo(talk: Talk, paper: Paper, rest: str) -> Next:
    if rest not in ("base", "aligned", "both"):
        raise UsageError("/solo takes base, aligned or both")
    if rest == "both":
        talk.turn(diversity=talk.before_solo)
        return _dial(talk, paper, "")
    if 0 < talk.diversity < 10:
        talk.before_solo = f"{talk.diversity:g}"
    return _dial(talk, paper, "10" if rest == "base" else "0")


def _who(talk: Talk, paper: Paper, _rest: str) -> Next:
    for role, told in WHO.items():
        line = Text.assemble("  ", (LONG_VOICES[role], str(role)))
        line.pad_right(23 - len(line))
        paper.say(line.append(told))
    replies = [turn.reply for turn in talk.chat.turns if turn.reply is not None]
    for name, some in (("last reply", replies[-1:]), ("this chat", replies)):
        n_tokens = sum(len(reply.tokens) for reply in some)
        if n_tokens:
            share = sum(reply.base_share * len(reply.tokens) for reply in some) / n_tokens
            switches = sum(reply.switches for reply in some)
            told = (
                f"A {100 * share:.0f} % · B {100 - round(100 * share):.0f} % · {switches} switches · {n_tokens} tokens"
            )
            paper.say(Text.assemble((f"  {name:<19}  ", "muted"), told))
    return None


def _why(talk: Talk, paper: Paper, rest: str) -> Next:
    numbered = talk.places()
    if rest:
        _explain(talk, paper, _place(numbered, rest))
        return None
    some = hinges(numbered, N_HINGES)
    if not some:
        paper.say("the voices never parted in this reply; /why N explains its word N all the same")
        return None
    for place in some:
        paper.say(_listed(talk, place))
    paper.say("/why N explains a word · /alt N goes on with the other voice's word")
    return None


def _alt(talk: Talk, _paper: Paper, rest: str) -> Next:
    if not rest:
        raise UsageError("/alt wants the number of a word; /why lists the places worth trying")
    place, reply = _place(talk.places(), rest), talk.reply
    assert reply is not None, "places belong to a reply"
    other = other_word(place, talk.pair.pieces, _before(reply, place))
    if other is None:
        raise UsageError(f"{VOICES[place.first.speaker.other]} was not asked at word {place.number}; try another place")
    taken = Spoken(other.id, place.first.speaker.other, "chosen", boundary=True)
    begun = (*(token.spoken for token in reply.tokens[: place.start]), taken)
    return Write(Wish(chat=talk.chat, begun=begun, seed=reply.seed, sample=reply.sample))


def _copy(talk: Talk, paper: Paper, _rest: str) -> Next:
    if talk.reply is None:
        raise UsageError("there is no reply to copy yet")
    paper.say(
        "copied" if paper.copy(talk.reply.text) else "this terminal offers no clipboard; /export md writes a file"
    )
    return None


def _step(talk: Talk, paper: Paper, step: Callable[[], bool], nothing: str) -> None:
    if not step():
        raise UsageError(nothing)
    talk.save()
    paper.say(f"back at turn {len(talk.chat.turns)}" if talk.chat.turns else "back at the start")
    paper.turns(talk.chat, 1)


def _place(numbered: Sequence[Place], text: str) -> Place:
    number = _count(text)
    if number > len(numbered):
        raise UsageError(f"the reply has {len(numbered)} words; {number} is none of them")
    return numbered[number - 1]


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{text!r} is no number from 1 upwards")
    return int(text)


def _path(text: str) -> Path:
    try:
        words = shlex.split(text)
    except ValueError:
        words = [text]
    return Path(" ".join(words)).expanduser()


def _before(reply: Reply, place: Place) -> str:
    return "".join(token.text for token in reply.tokens[: place.start])


def _listed(talk: Talk, place: Place) -> Text:
    """Return one line of the list: number, the word in its surroundings, and what the other voice wanted."""
    reply = talk.reply
    assert reply is not None, "places belong to a reply"
    before = _before(reply, place)
    role = place.first.speaker
    other = other_word(place, talk.pair.pieces, before)
    line = Text.assemble((f"{place.number:>4}  ", "accent"), (_last_words(before, BEFORE).rjust(BEFORE), "muted"))
    line.append(_space_between(before, place.word))
    line.append(_cut(_squeezed(place.word)) or "⏎", str(role))
    if other is not None:
        line.pad_right(max(0, 6 + BEFORE + 1 + WORD + 2 - len(line)))
        line.append(f"{VOICES[role.other]}: {_quoted(other)}", "muted")
    return line


def _explain(talk: Talk, paper: Paper, place: Place) -> None:
    reply = talk.reply
    assert reply is not None, "places belong to a reply"
    before = _before(reply, place)
    role, after = place.first.speaker, "".join(token.text for token in reply.tokens[place.tokens[-1].position + 1 :])
    line = Text.assemble((f"{place.number:>4}  ", "accent"), (_last_words(before, BEFORE), "muted"))
    line.append(_space_between(before, place.word))
    line.append(_squeezed(place.word) or "⏎", str(role))
    line.append(_space_between(place.word, after) + _first_words(after, AFTER), "muted")
    paper.say(line)
    diversity = reply.diversity_at(place.start)
    told = reason(place, VOICES, diversity=diversity, router=reply.router, sure_from=_sure_from(talk, reply, diversity))
    paper.say(Text(told), indent=6)
    for side in (Role.BASE, Role.ALIGNED):
        record = place.side(side)
        if record is not None:
            paper.say(_ranked(talk, side, record, place, before), indent=6)
    other = other_word(place, talk.pair.pieces, before)
    if other is not None:
        paper.say(f"/alt {place.number} goes on with {_quoted(other)} instead", indent=6)


def _space_between(left: str, right: str) -> str:
    return " " if left and (left[-1:].isspace() or right[:1].isspace()) else ""


def _last_words(text: str, width: int) -> str:
    """Return as many whole words from the end as fit, after an ellipsis if there are more."""
    text = _squeezed(text)
    if len(text) <= width:
        return text
    return "…" + text[-width + 1 :].partition(" ")[2]


def _first_words(text: str, width: int) -> str:
    """Return as many whole words from the start as fit, before an ellipsis if there are more."""
    text = _squeezed(text)
    if len(text) <= width:
        return text
    return text[: width - 1].rpartition(" ")[0] + "…"


def _cut(word: str) -> str:
    return word if len(word) <= WORD else word[: WORD - 1] + "…"


def _sure_from(talk: Talk, reply: Reply, diversity: float | None) -> float | None:
    """Return the chance from which on base counted as sure, where the router went by such a number."""
    decode = talk.settings().decode
    rule = next((dial for name, dial in ROUTERS.items() if name.casefold() == reply.router.casefold()), None)
    if rule is None or rule.unit != "probability" or decode.uncertainty is not Uncertainty.BASE:
        return None
    if diversity is None or not 0 < diversity < 10:
        return None
    return rule.gamma(diversity, talk.pair.calibration) if decode.threshold is None else decode.threshold


def _ranked(talk: Talk, side: Role, record: SideRecord, place: Place, before: str) -> Text:
    """Return a side's likeliest words with their chances, the one that was said marked, and among how many it chose."""
    line = Text.assemble((LONG_VOICES[side], str(side)))
    line.pad_right(20 - len(line))
    likely = [way for way in options(record, talk.pair.pieces, before) if way.p >= LEAST_P]
    for way in likely[:N_OPTIONS]:
        line.append(f"{_quoted(way)}  ", "bold" if way.id == place.first.id else "")
    return line.append(f"of about {count(max(1, round(math.exp(record.entropy))), 'choice')}", "muted")


def _quoted(way: Option) -> str:
    word = "the end" if way.ends else f"“{_cut(_squeezed(way.text)) or '⏎'}”"
    return f"{word} {100 * way.p:.0f} %" if way.p >= LEAST_P else f"{word} under 1 %"


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _differences(sampling: object) -> str:
    """Return the sampling numbers that do something."""
    off = type(sampling)()
    assert dataclasses.is_dataclass(sampling), "sampling options are plain values"
    told = []
    for field in dataclasses.fields(sampling):
        value = getattr(sampling, field.name)
        if value != getattr(off, field.name):
            told.append(f"{field.name} {value}")
    return " · ".join(told) or "as trained: temperature 1, nothing cut off"


KEYS = {
    "Alt-Enter, Ctrl-J": 'a new line in your message; or put it between two """',
    "Ctrl-↑ Ctrl-↓, + -": "the dial, also while a reply runs (+ - only then)",
    "← →": "on an empty line: walk the versions of the last reply",
    "Ctrl-G": "write in $EDITOR",
    "Ctrl-C, Ctrl-D": "stop the reply, leave",
}

ALIASES = {"bye": "exit", "quit": "exit", "q": "exit", "?": "help", "h": "help", "reset": "clear"}

COMMANDS: dict[str, Command] = {
    "help": Command("", "this list", _help),
    "d": Command("[N]", "the dial: 0 = voice B alone ... 10 = voice A alone", _dial),
    "who": Command("", "who speaks how, and how much", _who),
    "why": Command("[N]", "where the voices parted; why word N came out so", _why),
    "alt": Command("N", "take the other voice's word N and go on from there", _alt),
    "solo": Command("VOICE", "base, aligned or both", _solo, lambda _talk: ("base", "aligned", "both")),
    "regen": Command("[N]", "answer again (N times); earlier versions stay", _regen),
    "undo": Command("", "take back the last change of the conversation", _undo),
    "redo": Command("", "bring it back", _redo),
    "edit": Command("[TEXT]", "change your last message and answer it again", _edit),
    "system": Command("[TEXT]", "show or set the system text; - clears it", _system),
    "set": Command("KEY VALUE", "turn a knob: temperature, min_p, router, seed ...", _set, lambda _talk: knobs.NAMES),
    "show": Command("", "the settings in use", _show),
    "stats": Command("", "speed and cost of the last reply", _stats),
    "read": Command("FILE", "put a text file before your next message", _read, takes_path=True),
    "save": Command("[NAME]", "name this chat (it saves itself)", _save),
    "load": Command("[NAME]", "go on with a saved chat; list them", _load, lambda talk: talk.saved_names()),
    "export": Command("FORM [FILE]", f"{', '.join(FORMATS)}", _export, lambda _talk: tuple(FORMATS), takes_path=True),
    "copy": Command("", "the last reply to the clipboard", _copy),
    "clear": Command("", "begin a new chat", _clear),
    "exit": Command("", "leave (also /bye, /quit, Ctrl-D)", _exit),
}
