from __future__ import annotations

from collections.abc import Callable

from baco_local.text.vocab import TokenKind, Vocab


def test_fingerprint_is_the_same_for_equal_tables(table: Callable[..., Vocab]) -> None:
    """Two objects with one token table have one fingerprint, whatever their tokenizers and stops."""
    assert table().fingerprint() == table(longest=False, stops=()).fingerprint()


def test_fingerprint_is_stable_over_versions(table: Callable[..., Vocab]) -> None:
    """The fingerprint of a given table never changes, for it is written into files."""
    assert table().fingerprint() == "8d537950b6a833ae"


def test_fingerprint_tells_tables_apart(table: Callable[..., Vocab]) -> None:
    """A changed text, a changed kind, one more token or another tokenizer give another fingerprint."""
    tables = [
        table(),
        table(changed={7: ("xyz", TokenKind.NORMAL)}),
        table(changed={7: (table().texts[7], TokenKind.USER_DEFINED)}),
        table([("[PAD97]", TokenKind.UNUSED)]),
        table(model="llama"),
    ]
    assert len({vocab.fingerprint() for vocab in tables}) == len(tables)


def test_length_is_the_number_of_ids(table: Callable[..., Vocab]) -> None:
    """A vocabulary is as long as a row of logits."""
    assert len(table()) == len(table().texts) == len(table([("more", TokenKind.NORMAL)])) - 1
