"""Messages to the prompt of the aligned model, through the chat template that its file carries.

Knows no model; a template comes from a stranger's file, so it runs in a sandbox and fails in words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from baco_local.errors import UsageError
from baco_local.text.vocab import TokenKind, Vocab

__all__ = ["ROLES", "ChatTemplate", "Message", "aligned_ids"]

ROLES = ("system", "user", "assistant")

# A template may do anything that Python's operators can do wrong.
_FAULTS = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str  # "system", "user" or "assistant"
    content: str

    def __post_init__(self) -> None:
        """Refuse a role that no template knows."""
        if self.role not in ROLES:
            raise UsageError(f"a message has the role {self.role!r}; use one of {', '.join(ROLES)}")


class ChatTemplate:
    """A chat template in the dialect of Hugging Face Transformers."""

    def __init__(
        self, source: str, bos: str = "", eos: str = "", *, clock: Callable[[], datetime] = datetime.now
    ) -> None:
        self.source = source
        self._words = {"bos_token": bos, "eos_token": eos}
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlocks, loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = lambda form: clock().strftime(form)
        try:
            self._template = environment.from_string(source)
        except _FAULTS as error:
            raise UsageError(f"the chat template of the aligned model cannot be read: {error}") from error
        self.takes_system = self._takes_system()

    def notes(self, messages: Sequence[Message]) -> tuple[str, ...]:
        """Say what happens to these messages that their writer may not expect."""
        if self.takes_system or not any(message.role == "system" for message in messages):
            return ()
        return ("the chat template of the aligned model has no system role: the system text opens the first user turn",)

    def render(self, messages: Sequence[Message], *, open_turn: bool = True) -> str:
        """Return the conversation as the model was trained to see it, up to where its answer starts.

        Without ``open_turn`` the conversation ends with its last message, for a model that judges it.
        """
        return self._render(self.fitted(messages), open_turn=open_turn)

    def fitted(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Move system texts into the user turns that follow them, if the template has no system role."""
        return tuple(messages) if self.takes_system else _without_system(messages)

    def _render(self, messages: Sequence[Message], *, open_turn: bool = True) -> str:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            return self._template.render(
                messages=turns, add_generation_prompt=open_turn, tools=None, documents=None, **self._words
            )
        except _FAULTS as error:
            raise UsageError(
                f"the chat template of the aligned model refuses this conversation: {error}; "
                "let user and assistant take turns, starting with the user"
            ) from error

    def _takes_system(self) -> bool:
        """Try it: templates without a system role either raise or drop the text in silence."""
        probe = "\ue000system\ue000"
        try:
            return probe in self._render((Message("system", probe), Message("user", "?")))
        except UsageError:
            return False


def aligned_ids(
    vocab: Vocab, template: ChatTemplate, messages: Sequence[Message], *, open_turn: bool = True
) -> list[int]:
    """Return the prompt of the aligned model; what people typed never becomes a special token."""
    messages = template.fitted(messages)
    if not any(_holds_control(vocab, message.content) for message in messages):
        ids = vocab.tokenize(template.render(messages, open_turn=open_turn), trusted=True)
    else:
        ids = _split_by_author(vocab, template, messages, open_turn=open_turn)
    return _with_bos_once(vocab, ids)


def _holds_control(vocab: Vocab, text: str) -> bool:
    return any(vocab.kinds[token] & TokenKind.CONTROL for token in vocab.tokenize(text, trusted=True))


def _split_by_author(
    vocab: Vocab, template: ChatTemplate, messages: Sequence[Message], *, open_turn: bool
) -> list[int]:
    """Tokenize the template's words as trusted and the writer's words as plain text.

    Only for conversations that spell special tokens: split part by part, a SentencePiece vocabulary
    puts a space before each part.
    """
    marked = [Message(message.role, f"\ue000{i}\ue000") for i, message in enumerate(messages)]
    ids: list[int] = []
    for i, part in enumerate(re.split("\ue000(\\d+)\ue000", template.render(marked, open_turn=open_turn))):
        is_content = i % 2 == 1
        ids += vocab.tokenize(messages[int(part)].content if is_content else part, trusted=not is_content)
    return ids


def _with_bos_once(vocab: Vocab, ids: list[int]) -> list[int]:
    """Start with BOS if the vocabulary wants it, and never with two: templates often spell it."""
    if vocab.bos is None:
        return ids
    n_bos = next((i for i, token in enumerate(ids) if token != vocab.bos), len(ids))
    start = [vocab.bos] if vocab.add_bos or n_bos else []
    return [*start, *ids[n_bos:]]


def _without_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    fitted: list[Message] = []
    waiting: list[str] = []
    for message in messages:
        if message.role == "system":
            waiting.append(message.content)
        elif message.role == "user":
            fitted.append(Message("user", "\n\n".join((*waiting, message.content))))
            waiting.clear()
        else:
            fitted.append(message)
    if waiting:
        fitted.append(Message("user", "\n\n".join(waiting)))
    return tuple(fitted)


class _GenerationBlocks(Extension):
    """Read ``{% generation %} ... {% endgeneration %}``, which marks answers for training, as its content."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own attribute

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """Return the statements inside the block."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _to_json(value: Any, **options: Any) -> str:
    """Write JSON as Transformers does: without jinja2's escapes for HTML."""
    return json.dumps(value, **({"ensure_ascii": False} | options))


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)
