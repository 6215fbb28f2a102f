"""How the base model is asked: plain text that ends where an answer starts.

A base model was never trained on chat tokens, so a frame holds none; knows no model and no chat template.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from baco_local.errors import UsageError
from baco_local.text.chat import Message
from baco_local.text.vocab import Vocab

__all__ = ["FRAMES", "Frame", "base_ids", "frame"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One way to ask a base model.

    Every prompt ends with a line break, as chat templates do, so that both models open their answer on a
    fresh line with a word that has no space before it.
    """

    name: str
    write: Callable[[str, Sequence[Message], str], str]  # system text, earlier turns, request -> prompt
    role_markers: tuple[str, ...] = ()  # what opens a turn: a base model that writes one has left its answer

    def render(self, messages: Sequence[Message]) -> str:
        """Return the prompt for a conversation whose last message is the user's."""
        turns = [message for message in messages if message.role != "system"]
        if not turns or turns[-1].role != "user":
            raise UsageError("there is nothing to answer: the last message must be the user's")
        system = "\n\n".join(message.content for message in messages if message.role == "system")
        text = self.write(system, turns[:-1], turns[-1].content)
        return text if text.endswith("\n") else text + "\n"


def frame(name_or_path: str) -> Frame:
    """Return the frame of this name, or read it from a text file with ``{system}``, ``{history}`` and ``{prompt}``."""
    if name_or_path in FRAMES:
        return FRAMES[name_or_path]
    path = Path(name_or_path).expanduser()
    try:
        template = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"no frame is called {name_or_path!r} and no such text file can be read; "
            f"use {', '.join(FRAMES)} or the path of a file that holds {{prompt}}"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the frame {name_or_path!r} is not UTF-8 text") from error
    return _from_template(path.name, template)


def base_ids(vocab: Vocab, frame: Frame, messages: Sequence[Message]) -> list[int]:
    """Return the prompt of the base model; special tokens are never read from the text."""
    ids = vocab.tokenize(frame.render(messages), trusted=False)
    return [vocab.bos, *ids] if vocab.add_bos and vocab.bos is not None else ids


def _qa(system: str, history: Sequence[Message], prompt: str) -> str:
    opening = f"{system}\n\n" if system else ""
    return f"{opening}{_qa_turns(history)}Question: {prompt}\n\nAnswer:\n"


def _qa_turns(history: Sequence[Message]) -> str:
    forms = {"user": "Question: {}\n\n", "assistant": "Answer:\n{}\n\n"}
    return "".join(forms[turn.role].format(turn.content) for turn in history)


def _raw(system: str, history: Sequence[Message], prompt: str) -> str:
    return "\n\n".join(text for text in (system, *(turn.content for turn in history), prompt) if text)


def _shots(system: str, history: Sequence[Message], prompt: str) -> str:
    opening = f"{system}\n\n" if system else ""
    return opening + _examples() + _qa("", history, prompt)


@cache
def _examples() -> str:
    return Path(__file__).with_name("shots.txt").read_text(encoding="utf-8").strip() + "\n\n"


_MARKER = re.compile(r"\{([A-Za-z_]\w*)\}")
_KNOWN_MARKERS = ("system", "history", "prompt")


def _from_template(name: str, template: str) -> Frame:
    """Read a frame's text; other braces than those of the three markers stay as they are."""
    markers = set(_MARKER.findall(template))
    if unknown := sorted(markers.difference(_KNOWN_MARKERS)):
        raise UsageError(
            f"the frame {name!r} holds {{{unknown[0]}}}; it may hold {{system}}, {{history}} and {{prompt}}"
        )
    if "prompt" not in markers:
        raise UsageError(f"the frame {name!r} never says {{prompt}}, so the base model would not see the request")

    def write(system: str, history: Sequence[Message], prompt: str) -> str:
        texts = {"system": system, "history": _qa_turns(history), "prompt": prompt}
        return _MARKER.sub(lambda marker: texts[marker[1]], template)

    return Frame(name, write, ("Question:", "Answer:") if "history" in markers else ())


FRAMES: dict[str, Frame] = {
    "qa": Frame("qa", _qa, ("Question:", "Answer:")),
    "raw": Frame("raw", _raw),
    "shots": Frame("shots", _shots, ("Question:", "Answer:")),
}
