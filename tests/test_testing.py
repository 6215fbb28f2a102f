from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.backend.base import CacheFull, Feed, Interrupted
from baco_local.testing import (
    WORDS,
    ScriptedModel,
    byte_vocab,
    chunkings,
    flat,
    lively,
    says,
    scripted_pair,
    word_vocab,
)
from baco_local.types import FinishReason, Role

BYTES = byte_vocab()
N = len(BYTES)


@given(st.text(max_size=30))
def test_bytes_spell_every_text(text: str) -> None:
    """The byte vocabulary splits any text and gives it back; special tokens are read from trusted text alone."""
    for trusted in (False, True):
        ids = BYTES.tokenize(text, trusted=trusted)
        assert b"".join(BYTES.pieces[i] for i in ids) == text.encode()
    assert BYTES.tokenize("<|end|>", trusted=True) == [3]
    assert len(BYTES.tokenize("<|end|>", trusted=False)) == 7


def test_words_are_split_by_the_longest() -> None:
    """A word vocabulary takes the longest piece, and says what it cannot spell."""
    vocab = word_vocab((" a", " and", "n", "d", " "))
    assert [vocab.pieces[i] for i in vocab.tokenize(" and n", trusted=False)] == [b" and", b" ", b"n"]
    with pytest.raises(ValueError, match="no piece for b'x"):
        vocab.tokenize("x", trusted=False)
    assert len(set(WORDS)) == len(WORDS)


@given(st.lists(st.integers(0, N - 1), max_size=12), st.integers(0, 9))
def test_scripts_are_functions(ids: list[int], seed: int) -> None:
    """Equal ids give equal rows; lively rows depend on the last few ids and on the seed."""
    for script in (flat(N), lively(N, seed), says([5, 6], N, after=0)):
        row = script(ids)
        assert row.shape == (N,)
        assert row.dtype == np.float32
        assert (row == script(list(ids))).all()
    assert (lively(N, seed)(ids) == lively(N, seed)([7, 8, 9, *ids][-4:])).all() or len(ids) < 4
    assert (lively(N, seed)(ids) != lively(N, seed + 1)(ids)).any()


def test_a_model_reads_in_pieces_as_at_once() -> None:
    """Rows are the same however ids are fed, rewound and forked."""
    whole, parts = (ScriptedModel(lively(N, 1), BYTES) for _ in range(2))
    ids = [5, 6, 7, 8, 9]
    (rows,) = whole.feed([Feed(0, 0, ids, 3)])
    parts.feed([Feed(0, 0, ids[:2], 0)])
    assert parts.fork(0, 1, 2)
    (one,) = parts.feed([Feed(1, 2, [99, 98])])
    assert parts.rewind(1, 2)
    (again,) = parts.feed([Feed(1, 2, ids[2:], 3)])
    assert (rows == again).all()
    assert (one[-1] != rows[-1]).any()
    assert (parts.n_feeds, parts.n_fed) == (3, 7)


def test_a_model_without_rewind_says_no() -> None:
    """It forgets all or nothing, and forks all or nothing."""
    model = ScriptedModel(flat(N), BYTES, can_rewind=False)
    model.feed([Feed(0, 0, [5, 6])])
    assert [model.fork(0, 1, 1), model.rewind(0, 1), model.rewind(0, 2), model.fork(0, 1, 2)] == [
        False,
        False,
        True,
        True,
    ]
    assert model.rewind(0, 0)


def test_a_model_refuses_as_llama_cpp_does() -> None:
    """A full cache and a wish to stop are told, and nothing was read."""
    model = ScriptedModel(flat(N), BYTES, n_cells=3)
    with pytest.raises(CacheFull):
        model.feed([Feed(0, 0, [5, 6, 7, 8])])
    model.cancelled = lambda: True
    with pytest.raises(Interrupted):
        model.feed([Feed(0, 0, [5])])
    model.cancelled = None
    model.feed([Feed(0, 0, [5, 6, 7])])


def test_a_pair_needs_nothing() -> None:
    """Without arguments a scripted pair writes with both models, ends at some point, and repeats itself."""
    pair = scripted_pair()
    answers = pair.generate("hi", n=6, seed=1, diversity=5, router="RAND")
    assert {token.speaker for answer in answers for token in answer.tokens} == set(Role)
    assert FinishReason.END in {answer.finish for answer in answers}
    assert [answer.text for answer in pair.generate("hi", n=6, seed=1, diversity=5, router="RAND")] == [
        answer.text for answer in answers
    ]


@given(st.text(max_size=20), st.lists(st.integers(0, 5), max_size=4))
def test_chunkings_joined_are_the_text(text: str, sizes: list[int]) -> None:
    """Cutting loses nothing, and no piece is empty."""
    for whole in (text, text.encode()):
        pieces = list(chunkings(whole, sizes))
        assert whole[:0].join(pieces) == whole  # type: ignore[arg-type]
        assert all(pieces)
