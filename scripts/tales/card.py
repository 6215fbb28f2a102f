"""Write the card of the pair: what it is, what it learned from, how well it does.

Knows the card's keys; keeps keys that others have added.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["DATA", "read_card", "update_card"]

DATA: dict[str, dict[str, str]] = {
    "books": {
        "what": "57 children's books of Project Gutenberg",
        "licence": "public domain in the United States",
    },
    "novels": {
        "what": "the beginnings of 94 novels, from LitBank",
        "licence": "public domain (collection CC BY 4.0)",
    },
    "tales": {"what": "278 fairy tales of FairytaleQA", "licence": "Apache-2.0"},
    "tinystories": {"what": "2,155 stories of TinyStories", "licence": "CDLA-Sharing-1.0"},
    "composed": {"what": "stories composed by scripts/tales/compose.py", "licence": "Apache-2.0"},
    "questions": {
        "what": "9,675 questions of FairytaleQA; requests with careless answers by scripts/tales/requests.py",
        "licence": "Apache-2.0",
    },
    "answers": {
        "what": "conversations by scripts/tales/requests.py; some continue stories of TinyStories",
        "licence": "Apache-2.0, CDLA-Sharing-1.0",
    },
}


def read_card(path: Path) -> dict[str, Any]:
    """Return the card, or an empty one."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def update_card(path: Path, fresh: dict[str, Any]) -> None:
    """Replace the given keys of a card and keep all others."""
    card = read_card(path) | fresh
    path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
