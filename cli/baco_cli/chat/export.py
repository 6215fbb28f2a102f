"""A chat as a file for people or programs: Markdown, JSON, or one HTML page that needs no network.

Writes only where nothing stood before; knows no model and no terminal.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from baco_cli.chat.session import Chat, Reply
from baco_cli.chat.store import to_json
from baco_local.engine.answer import Token
from baco_local.errors import UsageError
from baco_local.types import Role

__all__ = ["FORMATS", "as_html", "as_markdown", "runs", "write_export"]

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --base: #a626a4; --muted: #6a6a6a; --back: #fdfdfb; --text: #1d1d1f; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --base: #ff9df5; --muted: #a0a0a0; --back: #16171a; --text: #e9e9ea; }}
}}
body {{ max-width: 42rem; margin: 3rem auto; padding: 0 1rem; font: 1.05rem/1.6 Georgia, serif;
  background: var(--back); color: var(--text); }}
.you {{ font-weight: bold; margin-top: 2rem; }}
.you, .reply {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
.base {{ color: var(--base); text-decoration: underline; text-underline-offset: .15em; }}
.muted {{ color: var(--muted); font: .85rem/1.4 system-ui, sans-serif; }}
</style>
<h1>{title}</h1>
<p class="muted"><span class="base">voice A, the base model</span> · voice B, the aligned model · pair {pair}</p>
{body}
</html>
"""


def write_export(chat: Chat, pair: str, form: str, path: Path | None, name: str) -> Path:
    """Write a chat in one of ``FORMATS`` and return where; without a path, beside whatever stands there already."""
    if not chat.turns:
        raise UsageError("there is nothing to export yet")
    n = 1
    target = path or Path(f"{name.replace(' ', '-')}.{form}")
    while path is None and target.exists():
        n += 1
        target = Path(f"{name.replace(' ', '-')}-{n}.{form}")
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(FORMATS[form](chat, pair, name))
    except FileExistsError:
        raise UsageError(f"{target} exists; give another file") from None
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from error
    return target


def as_markdown(chat: Chat, pair: str, name: str) -> str:
    """Return the conversation as Markdown; what voice A wrote is underlined."""
    lines = [
        f"# {name}",
        f"*Pair {pair}. <u>Underlined</u>: voice A, the base model; plain: voice B, the aligned one.*",
    ]
    if chat.system:
        lines.append(f"**System:** {_escaped(chat.system)}")
    for turn in chat.turns:
        lines.append(f"**You:** {_escaped(turn.user)}")
        if turn.reply is not None:
            lines += [_painted(turn.reply.tokens, "<u>", "</u>", _escaped), f"*{_figures(turn.reply)}*"]
    return "\n\n".join(lines) + "\n"


def as_html(chat: Chat, pair: str, name: str) -> str:
    """Return the conversation as a page of its own."""
    parts = [f'<p class="muted">System: {html.escape(chat.system)}</p>'] if chat.system else []
    for turn in chat.turns:
        parts.append(f'<p class="you">{html.escape(turn.user)}</p>')
        if turn.reply is not None:
            text = _painted(turn.reply.tokens, '<span class="base">', "</span>", html.escape)
            parts += [f'<p class="reply">{text}</p>', f'<p class="muted">{html.escape(_figures(turn.reply))}</p>']
    return PAGE.format(title=html.escape(name), pair=html.escape(pair), body="\n".join(parts))


def as_json(chat: Chat, pair: str, name: str) -> str:
    """Return everything that is known of the chat, all versions included."""
    return json.dumps({"name": name, **to_json(chat, pair)}, ensure_ascii=False, indent=1) + "\n"


def runs(tokens: Sequence[Token]) -> list[tuple[Role, str]]:
    """Return the stretches of one speaker."""
    return [
        (role, "".join(token.text for token in some)) for role, some in groupby(tokens, key=lambda token: token.speaker)
    ]


def _painted(tokens: Sequence[Token], opening: str, closing: str, escape: Callable[[str], str]) -> str:
    """Put marks around the words of voice A, but not around the white space at their ends."""
    parts = []
    for role, text in runs(tokens):
        words = text.strip()
        if role is Role.BASE and words:
            before, after = text[: text.index(words)], text[text.index(words) + len(words) :]
            parts.append(f"{before}{opening}{escape(words)}{closing}{after}")
        else:
            parts.append(escape(text))
    return "".join(parts)


def _escaped(text: str) -> str:
    """Keep Markdown from reading a text as markup."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>#" else char for char in text)


def _figures(reply: Reply) -> str:
    dial = " → ".join(f"{move.diversity:g}" for move in reply.dial)
    parts = [f"voice A {100 * reply.base_share:.0f} %", f"{reply.switches} switches"]
    parts += [f"d={dial}"] if dial else []
    return " · ".join([*parts, reply.router, f"seed {reply.seed}"])


FORMATS: dict[str, Callable[[Chat, str, str], str]] = {"md": as_markdown, "json": as_json, "html": as_html}
