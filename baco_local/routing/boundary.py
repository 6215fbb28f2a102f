"""Where a word starts, so that no word is ever spliced from two models; OURS, the paper's test is not known.

Looks at bytes and at the last character of the text; knows no model and no router.
"""

from __future__ import annotations

import unicodedata

__all__ = ["ends_sentence", "opens_word"]

IN_WORDS = "'\u2019-\u2010\u2011_"  # apostrophes, hyphens, underscore between letters: don't, well-known
IN_NUMBERS = ".,:/%"  # after a digit: 3.14, 12:30
ENDERS = ".!?\u2026\u3002\uff01\uff1f"  # of sentences; the last three are those of Chinese and Japanese
CLOSERS = "\"')]}*_`~\u2019\u201d\u00bb\u300d\u300f"  # what may stand behind one
ZERO_WIDTH_JOINER = "\u200d"


def opens_word(piece: bytes, text: str, *, joiners: bool = True) -> bool:
    """Say whether a token starts a word, so that the speaker may change before it.

    Args:
        piece: the token as bytes; the rest of a character that the token before it began never opens a word.
        text: the answer so far; only its last character matters, so a short tail will do.
        joiners: ``'t``, ``-known`` and ``.14`` continue a word; False lets them open one.

    """
    if piece and 0x80 <= piece[0] < 0xC0:
        return False
    if not text:
        return True
    last = text[-1]
    if last.isspace():
        return True
    first = piece.decode("utf-8", "ignore")[:1]
    if not first:
        return False
    if first.isspace():
        return True
    if first.isalnum() or unicodedata.category(first)[0] not in "PSZ":
        return False
    if last == ZERO_WIDTH_JOINER or "\U0001f3fb" <= first <= "\U0001f3ff":  # one emoji of several characters
        return False
    if not joiners:
        return True
    if first in IN_WORDS and unicodedata.category(last)[0] in "LNM":
        return False
    return not (first in IN_NUMBERS and last.isdigit())


def ends_sentence(text: str) -> bool:
    """Say whether a text may be over: nothing yet, or a line break or a full stop at its end, closing marks apart."""
    tail = text[-16:]
    body = tail.rstrip()
    return not body or "\n" in tail[len(body) :] or body.rstrip(CLOSERS)[-1:] in tuple(ENDERS)
