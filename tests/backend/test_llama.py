"""What llama.cpp computes for us: rows, sequences, splits, stops and refusals, on tiny random models."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.backend.base import CacheFull, Feed, Interrupted
from baco_local.backend.llama import LlamaModel, Weights, build_facts, cut, load_weights
from baco_local.config import CacheType, FlashAttention, LoadOptions, Offload, OffloadKind
from baco_local.errors import UsageError
from baco_local.text.vocab import TokenKind, Vocab
from tiny_models import LONG_TOKEN, OPTIONS, SHAPE

pytestmark = pytest.mark.model

Load = Callable[..., Weights]
Open = Callable[..., LlamaModel]
EXACT = 1e-4  # of logits that spread over about 5: the order of sums, nothing else
PROMPT = [int(i) for i in np.random.default_rng(7).integers(0, 500, 48)]


# --- rows -------------------------------------------------------------------------------------------------------


def test_a_real_model_tells_its_story(shared_data: Path, model_of: Open) -> None:
    """Greedy text of a trained model is the one that llama.cpp itself writes."""
    model = model_of(shared_data / "models" / "stories260K.gguf", options=LoadOptions(threads=1))
    assert model.vocab.bos is not None
    ids = [model.vocab.bos, *model.vocab.tokenize("Once upon a time", trusted=False)]
    said = b""
    for _ in range(32):
        (rows,) = model.feed([Feed(0, model.length(0), ids)])
        ids = [int(rows[0].argmax())]
        said += model.vocab.pieces[ids[0]]
    assert said.startswith(b", there was a little girl named Lily. She loved to play outside in the park. One day,")


def test_rows_have_the_asked_for_shape(tiny: Path, model_of: Open) -> None:
    """A feed returns as many rows of the width of the vocabulary as it asks for, none included."""
    model = model_of(tiny / "base.gguf", 3)
    rows = model.feed([Feed(0, 0, PROMPT, 5), Feed(1, 0, PROMPT, 0), Feed(2, 0, PROMPT[:1])])
    assert [r.shape for r in rows] == [(5, 512), (0, 512), (1, 512)]
    assert all(r.dtype == np.float32 for r in rows)
    assert model.feed([]) == []
    assert model.feed([Feed(0, len(PROMPT), (), 0)])[0].shape == (0, 512)


def test_step_by_step_equals_at_once(tiny: Path, model_of: Open) -> None:
    """Reading ids one by one gives the rows that reading them together gives."""
    model = model_of(tiny / "base.gguf")
    (whole,) = model.feed([Feed(0, 0, PROMPT, len(PROMPT))])
    whole = whole.copy()
    for position, token in enumerate(PROMPT):
        (row,) = model.feed([Feed(1, position, (token,))])
        np.testing.assert_allclose(row[0], whole[position], atol=EXACT)


def test_many_sequences_in_one_feed_equal_each_alone(tiny: Path, model_of: Open) -> None:
    """Sequences of different lengths that are read together do not disturb each other."""
    together, alone = model_of(tiny / "base.gguf", 4), model_of(tiny / "base.gguf", 1)
    texts = [PROMPT[i : i + 5 + 9 * i] for i in range(4)]
    rows = together.feed([Feed(i, 0, ids, 2) for i, ids in enumerate(texts)])
    for ids, mine in zip(texts, rows, strict=True):
        alone.rewind(0, 0)
        np.testing.assert_allclose(mine, alone.feed([Feed(0, 0, ids, 2)])[0], atol=EXACT)


def test_feeds_longer_than_a_batch_are_split_without_a_trace(tiny: Path, model_of: Open) -> None:
    """Rows do not depend on how many ids one decode takes, nor on more rows being asked for than it returns."""
    large, small = model_of(tiny / "base.gguf"), model_of(tiny / "base.gguf", options=replace(OPTIONS, batch_size=7))
    assert small.n_batch == 7
    feeds = [Feed(0, 0, PROMPT, 40), Feed(1, 0, PROMPT[::-1], 3)]
    for mine, theirs in zip(small.feed(feeds), large.feed(feeds), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=EXACT)


def test_rows_may_be_masked_in_place(tiny: Path, model_of: Open) -> None:
    """Writing into a row changes no later row."""
    model = model_of(tiny / "base.gguf")
    (first,) = model.feed([Feed(0, 0, PROMPT)])
    kept = first.copy()
    first[:] = -1e30
    model.rewind(0, 0)
    np.testing.assert_allclose(model.feed([Feed(0, 0, PROMPT)])[0], kept, atol=EXACT)


def test_rows_outlive_later_feeds_and_the_model_as_memory(tiny: Path, model_of: Open) -> None:
    """Old rows may be overwritten, but reading them is never a fault, even after a larger feed and after closing."""
    model = model_of(tiny / "base.gguf")
    (row,) = model.feed([Feed(0, 0, PROMPT)])
    model.feed([Feed(1, 0, PROMPT, len(PROMPT))])
    assert np.isfinite(row).all()
    model.close()
    assert np.isfinite(row).all()


@given(
    sizes=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda p: (p[0], min(p))), max_size=5),
    n_batch=st.integers(1, 16),
    n_outputs=st.integers(1, 8),
)
def test_cut_covers_every_feed_in_order_within_its_limits(
    sizes: list[tuple[int, int]], n_batch: int, n_outputs: int
) -> None:
    """Joined pieces are the feeds, wanted rows are the last ones, and no decode is empty or larger than allowed."""
    feeds = [Feed(i, 0, tuple(range(n)), rows) for i, (n, rows) in enumerate(sizes)]
    decodes = cut(feeds, n_batch, n_outputs)
    for pieces in decodes:
        assert 0 < sum(piece.stop - piece.first for piece in pieces) <= n_batch
        assert sum(piece.n_rows for piece in pieces) <= n_outputs
    flat = list(itertools.chain.from_iterable(decodes))
    for index, feed in enumerate(feeds):
        mine = [piece for piece in flat if piece.feed == index]
        assert [i for piece in mine for i in range(piece.first, piece.stop)] == list(feed.ids)
        wanted = [i for piece in mine for i in range(piece.stop - piece.n_rows, piece.stop)]
        assert wanted == list(feed.ids)[len(feed.ids) - feed.n_rows :]


# --- sequences --------------------------------------------------------------------------------------------------


def test_rewind_and_read_again_gives_equal_rows(tiny: Path, model_of: Open) -> None:
    """What was taken back leaves no trace, at any length."""
    model = model_of(tiny / "base.gguf")
    (whole,) = model.feed([Feed(0, 0, PROMPT, len(PROMPT))])
    whole = whole.copy()
    for length in (47, 30, 1, 0):
        model.feed([Feed(0, model.length(0), PROMPT[:3], 0)])  # something else, to be forgotten
        assert model.rewind(0, length)
        assert model.length(0) == length
        (rows,) = model.feed([Feed(0, length, PROMPT[length:], len(PROMPT) - length)])
        np.testing.assert_allclose(rows, whole[length:], atol=EXACT)


@pytest.mark.parametrize("n_sequences", [3, 5])  # cells are shared; each has its own
def test_fork_shares_what_was_read_and_separates_after(n_sequences: int, tiny: Path, model_of: Open) -> None:
    """A fork goes on as if it had read the shared positions, and neither side sees what the other reads later."""
    model = model_of(tiny / "base.gguf", n_sequences)
    (whole,) = model.feed([Feed(0, 0, PROMPT, len(PROMPT))])
    whole = whole.copy()
    assert model.fork(0, 1, 20)
    assert model.fork(0, 2, len(PROMPT))
    model.feed([Feed(0, len(PROMPT), PROMPT[:9], 0), Feed(2, len(PROMPT), PROMPT[9:19], 0)])
    (rows,) = model.feed([Feed(1, 20, PROMPT[20:], len(PROMPT) - 20)])
    np.testing.assert_allclose(rows, whole[20:], atol=EXACT)
    model.rewind(0, 0)  # the owner goes, the fork stays
    model.rewind(1, 20)
    (rows,) = model.feed([Feed(1, 20, PROMPT[20:])])
    np.testing.assert_allclose(rows[0], whole[-1], atol=EXACT)


def test_forks_share_cells(tiny: Path, model_of: Open) -> None:
    """Forks of a long prompt fit where copies of it would not: they own the same cells."""
    options = replace(OPTIONS, ctx_size=64)
    model = model_of(tiny / "base.gguf", 3, options)  # 256 cells
    model.n_ctx = 250  # the context does not know; only cells count
    model.feed([Feed(0, 0, (PROMPT * 5)[:200], 0)])
    assert all(model.fork(0, target, 200) for target in (1, 2))
    model.feed([Feed(i, 200, PROMPT[:10]) for i in range(3)])
    assert [model.length(i) for i in range(3)] == [210] * 3


def test_a_fork_of_a_fork_that_is_emptied_and_filled_again_before_anything_is_read(tiny: Path, model_of: Open) -> None:
    """Copies that wait for the next decode are those of the last fork, and of what its source held then."""
    model, other = model_of(tiny / "base.gguf", 4), model_of(tiny / "base.gguf", 1)
    model.feed([Feed(0, 0, PROMPT, 0), Feed(3, 0, PROMPT[:7], 0)])
    assert model.fork(3, 1, 7)
    model.rewind(1, 0)
    assert model.fork(0, 1, 30)
    assert model.fork(1, 2, 20)
    model.rewind(0, 0)
    rows = model.feed([Feed(2, 20, PROMPT[:2]), Feed(0, 0, PROMPT[5:9]), Feed(1, 30, PROMPT[:3])])
    for found, ids in zip(rows, (PROMPT[:20] + PROMPT[:2], PROMPT[5:9], PROMPT[:30] + PROMPT[:3]), strict=True):
        other.rewind(0, 0)
        np.testing.assert_allclose(found[0], other.feed([Feed(0, 0, ids)])[0][0], atol=EXACT)


@pytest.mark.parametrize("n_sequences", [3, 6])
def test_rows_come_in_the_order_of_the_feeds(n_sequences: int, tiny: Path, model_of: Open) -> None:
    """Whatever sequences are fed, with gaps between them, in whatever order and lengths, each gets its own rows."""
    model, other = model_of(tiny / "base.gguf", n_sequences), model_of(tiny / "base.gguf", 1)
    last = n_sequences - 1
    feeds = [Feed(last, 0, PROMPT[:9], 2), Feed(0, 0, PROMPT[3:4], 1), Feed(last - 1, 0, PROMPT[2:30], 0)]
    feeds += [Feed(1, 0, PROMPT[10:30], 20)] if n_sequences > 3 else []
    for feed, rows in zip(feeds, model.feed(feeds), strict=True):
        other.rewind(0, 0)
        np.testing.assert_allclose(rows, other.feed([feed._replace(sequence=0)])[0], atol=EXACT)


WRONG_FEEDS = {
    "no such sequence": [Feed(2, 0, (1,))],
    "negative sequence": [Feed(-1, 0, (1,))],
    "gap": [Feed(0, 5, (1,))],
    "overlap": [Feed(1, 2, (1,))],
    "id too large": [Feed(0, 0, (1, 512))],
    "negative id": [Feed(0, 0, (-1,))],
    "more rows than ids": [Feed(0, 0, (1, 2), 3)],
    "negative rows": [Feed(0, 0, (1, 2), -1)],
    "rows of nothing": [Feed(0, 0, (), 1)],
    "twice in one feed": [Feed(0, 0, (1,)), Feed(0, 1, (1,))],
    "longer than the context": [Feed(0, 0, (1,) * 65)],
}


@pytest.mark.parametrize("case", WRONG_FEEDS)
def test_wrong_feed_is_refused_and_changes_nothing(case: str, tiny: Path, model_of: Open) -> None:
    """Every mistake that would end the process or be answered with a riddle raises ValueError first."""
    model = model_of(tiny / "base.gguf", options=replace(OPTIONS, ctx_size=64))
    model.feed([Feed(1, 0, PROMPT[:4], 0)])
    with pytest.raises(ValueError, match=r"sequence|rows|id "):
        model.feed(WRONG_FEEDS[case])
    assert [model.length(0), model.length(1)] == [0, 4]
    assert model.feed([Feed(0, 0, (1,)), Feed(1, 4, (1,))])[1].shape == (1, 512)


def test_wrong_rewinds_and_forks_are_refused(tiny: Path, model_of: Open) -> None:
    """Sequences out of range, lengths that were never read and targets that hold something raise ValueError."""
    model = model_of(tiny / "base.gguf")
    model.feed([Feed(0, 0, PROMPT[:4], 0), Feed(1, 0, PROMPT[:2], 0)])
    wrong: tuple[Callable[[], object], ...] = (
        lambda: model.rewind(2, 0),
        lambda: model.rewind(0, 5),
        lambda: model.rewind(0, -1),
        lambda: model.fork(0, 1, 2),
        lambda: model.fork(0, 0, 2),
        lambda: model.fork(0, 7, 2),
    )
    for call in wrong:
        with pytest.raises(ValueError, match="sequence"):
            call()
    model.rewind(1, 0)
    with pytest.raises(ValueError, match="cannot be shared"):
        model.fork(0, 1, 5)


def test_full_cache_is_said_and_changes_nothing(tiny: Path, model_of: Open) -> None:
    """When no cell is left CacheFull is raised, also from the middle of a split feed, and the model stays usable."""
    model = model_of(tiny / "base.gguf", options=replace(OPTIONS, ctx_size=128, batch_size=32))  # 256 cells
    (before,) = model.feed([Feed(0, 0, PROMPT)])
    before = before.copy()
    model.n_ctx = 1000
    with pytest.raises(CacheFull, match="no room"):
        model.feed([Feed(1, 0, PROMPT * 6)])
    assert [model.length(0), model.length(1)] == [len(PROMPT), 0]
    model.feed([Feed(1, 0, PROMPT * 4, 0)])  # fits: what the failed feed had read was given back
    model.rewind(0, len(PROMPT) - 1)
    np.testing.assert_allclose(model.feed([Feed(0, len(PROMPT) - 1, PROMPT[-1:])])[0], before, atol=EXACT)


# --- stopping ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("looks", [0, 1, 2, 40])
@pytest.mark.parametrize("batch_size", [16, 512])
def test_cancelled_feed_changes_nothing(looks: int, batch_size: int, tiny: Path, model_of: Open) -> None:
    """A long feed that is cancelled at any moment raises Interrupted, and the same feed then gives its rows."""
    model = model_of(tiny / "base.gguf", options=replace(OPTIONS, batch_size=batch_size, ubatch_size=16))
    reference = model_of(tiny / "base.gguf")
    start = [Feed(0, 0, PROMPT[:5], 0), Feed(1, 0, PROMPT[5:6], 0)]
    rest = [Feed(0, 5, PROMPT[5:] * 3), Feed(1, 1, PROMPT[:4])]
    left = iter(range(looks))
    model.feed(start)
    model.cancelled = lambda: next(left, None) is None
    with pytest.raises(Interrupted):
        model.feed(rest)
    assert [model.length(0), model.length(1)] == [5, 1]
    model.cancelled = None
    reference.feed(start)
    for mine, theirs in zip(model.feed(rest), reference.feed(rest), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=EXACT)


def test_short_feeds_are_not_interrupted(tiny: Path, model_of: Open) -> None:
    """A feed of a few ids ends before anybody could want to stop it, so it is never given up."""
    model = model_of(tiny / "base.gguf")
    model.cancelled = lambda: True
    assert model.feed([Feed(0, 0, PROMPT[:32])])[0].shape == (1, 512)


def test_ctrl_c_inside_a_decode_arrives(tiny: Path, model_of: Open) -> None:
    """An exception of ``cancelled`` cannot pass through C; it is raised after the decode, and nothing has changed."""
    model = model_of(tiny / "base.gguf")

    def interrupt() -> bool:
        raise KeyboardInterrupt

    model.cancelled = interrupt
    with pytest.raises(KeyboardInterrupt):
        model.feed([Feed(0, 0, PROMPT)])
    model.cancelled = None
    assert model.length(0) == 0
    assert model.feed([Feed(0, 0, PROMPT)])[0].shape == (1, 512)


# --- one set of weights -----------------------------------------------------------------------------------------


def test_adapter_changes_the_aligned_context_alone(tiny: Path, weights_of: Load, model_of: Open) -> None:
    """Base stays what it is without an adapter, exactly; aligned differs; scale 0 equals base."""
    weights = weights_of(tiny / "base.gguf")
    base, aligned = model_of(weights), model_of(weights, adapter=tiny / "adapter.gguf")
    nothing = model_of(weights, adapter=tiny / "adapter.gguf", adapter_scale=0.0)
    plain = model_of(tiny / "base.gguf")
    feed = [Feed(0, 0, PROMPT, 4)]
    ours, theirs = plain.feed(feed)[0], aligned.feed(feed)[0]
    np.testing.assert_array_equal(base.feed(feed)[0], ours)
    np.testing.assert_allclose(nothing.feed(feed)[0], ours, atol=EXACT)
    assert float(np.abs(theirs - ours).max()) > 0.05
    assert base.vocab is aligned.vocab
    assert aligned.info.adapter == str(tiny / "adapter.gguf")
    assert base.info.adapter is None


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_weights_and_models_are_closed_in_any_order(order: tuple[int, ...], tiny: Path, model_of: Open) -> None:
    """Whoever goes last frees the weights; those that are still open go on working, and closing twice does nothing."""
    weights = load_weights(tiny / "base.gguf", OPTIONS)
    parts: list[Weights | LlamaModel] = [weights, model_of(weights), model_of(weights, adapter=tiny / "adapter.gguf")]
    open_models = {1, 2}
    for index in order:
        parts[index].close()
        parts[index].close()
        open_models.discard(index)
        for other in open_models:
            model = parts[other]
            assert isinstance(model, LlamaModel)
            model.rewind(0, 0)
            assert model.feed([Feed(0, 0, PROMPT)])[0].shape == (1, 512)
    assert not weights.handle


def test_closed_things_are_refused(tiny: Path, weights_of: Load, model_of: Open) -> None:
    """Whatever is asked of a closed model, of closed weights or of their tokenizer raises ValueError."""
    weights = weights_of(tiny / "base.gguf")
    model = model_of(weights)
    model.close()
    weights.close()
    wrong: tuple[Callable[[], object], ...] = (
        lambda: model.feed([Feed(0, 0, (1,))]),
        lambda: model.rewind(0, 0),
        lambda: model.fork(0, 1, 0),
        lambda: model.vocab.tokenize("a", trusted=False),
        lambda: model_of(weights),
    )
    for call in wrong:
        with pytest.raises(ValueError, match="closed"):
            call()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="memory maps are read from /proc")
def test_adapter_pair_maps_its_weights_once(tiny: Path, model_of: Open, weights_of: Load) -> None:
    """Two contexts over one set of weights hold one mapping of the file, and none after closing."""

    def mappings() -> int:
        return Path("/proc/self/maps").read_text().count(str(tiny / "base.gguf"))

    assert mappings() == 0
    weights = weights_of(tiny / "base.gguf")
    once = mappings()
    base, aligned = model_of(weights), model_of(weights, adapter=tiny / "adapter.gguf")
    assert mappings() == once > 0
    for part in (base, aligned, weights):
        part.close()
    assert mappings() == 0


# --- models that cannot be rewound ------------------------------------------------------------------------------


def test_recurrent_model_says_that_it_cannot_be_cut(tiny: Path, model_of: Open) -> None:
    """A state is kept whole: no partial rewind, no partial fork; emptying and whole forks work."""
    model = model_of(tiny / "mamba.gguf", 3)
    assert not model.can_rewind
    (first,) = model.feed([Feed(0, 0, PROMPT)])
    first = first.copy()
    assert not model.rewind(0, 3)
    assert model.length(0) == len(PROMPT)
    assert not model.fork(0, 1, 3)
    assert model.length(1) == 0
    assert model.fork(0, 1, len(PROMPT))
    model.feed([Feed(0, len(PROMPT), PROMPT[:7], 0)])
    (forked,) = model.feed([Feed(1, len(PROMPT), PROMPT[:1])])
    forked = forked.copy()
    assert model.rewind(0, 0)
    np.testing.assert_allclose(model.feed([Feed(0, 0, PROMPT)])[0], first, atol=1e-3)
    np.testing.assert_allclose(model.feed([Feed(0, len(PROMPT), PROMPT[:1])])[0], forked, atol=1e-3)


def test_recurrent_model_is_interrupted_only_where_nothing_is_lost(tiny: Path, model_of: Open) -> None:
    """A first feed can be given up; a later one is read to its end, for its state could not be restored."""
    model = model_of(tiny / "mamba.gguf")
    model.cancelled = lambda: True
    with pytest.raises(Interrupted):
        model.feed([Feed(0, 0, PROMPT)])
    assert model.length(0) == 0
    model.feed([Feed(0, 0, PROMPT[:5], 0)])
    assert model.feed([Feed(0, 5, PROMPT)])[0].shape == (1, 512)


# --- vocabulary -------------------------------------------------------------------------------------------------


def joined(vocab: Vocab, ids: list[int]) -> bytes:
    """Return what a reader sees of some ids."""
    return b"".join(vocab.pieces[i] for i in ids)


@pytest.fixture(scope="module")
def byte_vocab(tiny: Path) -> Vocab:
    """Return a byte-level vocabulary with user-defined tokens; its weights stay open."""
    return load_weights(tiny / "added.gguf", OPTIONS).vocab


@pytest.fixture(scope="module")
def spm_vocab(tiny: Path) -> Vocab:
    """Return a SentencePiece vocabulary; its weights stay open."""
    return load_weights(tiny / "spm.gguf", OPTIONS).vocab


@given(text=st.text(st.characters(codec="utf-8")))
def test_pieces_of_any_text_join_to_its_bytes(text: str, byte_vocab: Vocab) -> None:
    """Byte-level pieces give every text back, half characters and emoji included, special-looking text too."""
    for words in (text, f"<|im_end|>{text}<|im_start|>"):
        assert joined(byte_vocab, byte_vocab.tokenize(words, trusted=False)) == words.encode()


@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\u2581 "), min_size=1))
def test_sentence_pieces_of_any_text_join_to_its_bytes(text: str, spm_vocab: Vocab) -> None:
    """SentencePiece puts one space in front, and its byte tokens are one byte each."""
    assert joined(spm_vocab, spm_vocab.tokenize(text, trusted=False)) == b" " + text.encode()


def test_half_a_character_is_a_piece_of_its_own(byte_vocab: Vocab) -> None:
    """A character outside the vocabulary is spelled in bytes that are no text alone."""
    ids = byte_vocab.tokenize("\u6f22", trusted=False)
    assert [byte_vocab.pieces[i] for i in ids] == [b"\xe6", b"\xbc", b"\xa2"]


def test_special_tokens_are_read_from_trusted_text_alone(byte_vocab: Vocab) -> None:
    """Control tokens come only from trusted text, show nothing, and are the stops."""
    end, start = byte_vocab.texts.index("<|im_end|>"), byte_vocab.texts.index("<|im_start|>")
    assert byte_vocab.tokenize("<|im_end|>", trusted=True) == [end]
    assert end not in byte_vocab.tokenize("<|im_end|>", trusted=False)
    assert byte_vocab.pieces[end] == byte_vocab.pieces[start] == b""
    assert byte_vocab.kinds[end] & TokenKind.CONTROL
    assert end in byte_vocab.stops
    assert start not in byte_vocab.stops
    assert byte_vocab.eos in byte_vocab.stops


def test_user_defined_tokens_are_shown(byte_vocab: Vocab) -> None:
    """User-defined tokens are text to the reader, one of 600 bytes included."""
    tool, long = byte_vocab.texts.index("<tool>"), byte_vocab.texts.index(LONG_TOKEN)
    assert byte_vocab.pieces[tool] == b"<tool>"
    assert byte_vocab.pieces[long] == LONG_TOKEN.encode()
    assert byte_vocab.kinds[tool] & TokenKind.USER_DEFINED


def test_sentence_piece_bytes_and_unknown(spm_vocab: Vocab) -> None:
    """Byte tokens show their byte, the unknown token and the ends show nothing, BOS belongs in front."""
    assert spm_vocab.pieces[3 : 3 + 256] == tuple(bytes([b]) for b in range(256))
    assert spm_vocab.pieces[:3] == (b"", b"", b"")
    assert spm_vocab.model == "llama"
    assert spm_vocab.add_bos
    assert (spm_vocab.bos, spm_vocab.eos, spm_vocab.eot) == (1, 2, None)
    assert spm_vocab.stops == {2}


def test_no_text_is_no_id_and_broken_text_is_replaced(byte_vocab: Vocab, spm_vocab: Vocab) -> None:
    """Empty text has no ids, neither BOS nor a space, and a lone surrogate becomes a question mark."""
    for vocab in (byte_vocab, spm_vocab):
        assert vocab.tokenize("", trusted=True) == []
    assert joined(byte_vocab, byte_vocab.tokenize("a\ud800b\0c", trusted=False)) == b"a?b\0c"


def test_the_relatives_differ_in_their_end_but_not_in_their_stops(tiny: Path, weights_of: Load) -> None:
    """Base and aligned name different EOS tokens, and both sets of stops hold both."""
    base, aligned = weights_of(tiny / "base.gguf").vocab, weights_of(tiny / "aligned.gguf").vocab
    assert base.eos != aligned.eos
    assert base.stops == aligned.stops >= {base.eos, aligned.eos}
    assert base.texts == aligned.texts
    assert not base.add_bos


# --- options and facts ------------------------------------------------------------------------------------------


def test_info_says_what_was_loaded(tiny: Path, model_of: Open) -> None:
    """Name, architecture, template and sizes come from the file."""
    info = model_of(tiny / "aligned.gguf").info
    assert (info.name, info.architecture, info.n_ctx_train) == ("synthetic aligned", "llama", 1024)
    assert info.chat_template is not None
    assert (info.n_layers, info.layers_offloaded, info.device) == (SHAPE.layers, 0, "CPU")
    assert info.n_parameters > 50_000
    assert info.description.startswith("llama")


def test_context_is_as_trained_unless_asked(tiny: Path, model_of: Open) -> None:
    """Size 0 means the trained length per sequence, whatever the number of sequences; an explicit size is taken."""
    assert model_of(tiny / "base.gguf", 3).n_ctx == 1024
    model = model_of(tiny / "base.gguf", 2, replace(OPTIONS, ctx_size=100))
    assert (model.n_ctx, model.n_sequences) == (100, 2)
    rows = model.feed([Feed(0, 0, PROMPT * 2), Feed(1, 0, PROMPT * 2)])
    assert len(rows) == 2


def test_every_sequence_holds_a_full_context_at_once(tiny: Path, model_of: Open) -> None:
    """All sequences together may fill their contexts to the last position."""
    model = model_of(tiny / "base.gguf", 3, replace(OPTIONS, ctx_size=90))
    ids = (PROMPT * 2)[:90]
    assert [r.shape for r in model.feed([Feed(i, 0, ids) for i in range(3)])] == [(1, 512)] * 3


CACHE_ERRORS = {  # root mean square of the difference, of logits that spread over about 5
    CacheType.F32: 0.02,  # flash attention computes in half precision
    CacheType.F16: 0.02,
    CacheType.BF16: 0.05,
    CacheType.Q8_0: 0.1,
    CacheType.Q5_1: 0.5,
    CacheType.Q5_0: 0.5,
    CacheType.Q4_1: 1.0,
    CacheType.Q4_0: 1.0,
}


@pytest.mark.parametrize("kind", CACHE_ERRORS)
def test_every_cache_type_computes_nearly_the_same(kind: CacheType, tiny: Path, model_of: Open) -> None:
    """Each KV cache type of the options works, and its rows are as close to exact ones as its width allows."""
    options = LoadOptions(threads=1, cache_type_k=kind, cache_type_v=kind)
    feed = [Feed(0, 0, PROMPT, 8)]
    exact, mine = (model_of(tiny / "heads.gguf", options=o).feed(feed)[0] for o in (OPTIONS, options))
    assert float(np.sqrt(np.mean((mine - exact) ** 2))) < CACHE_ERRORS[kind]


@pytest.mark.parametrize("n_sequences", [0, -1, 100_000])
def test_impossible_numbers_of_sequences_are_refused(n_sequences: int, tiny: Path, model_of: Open) -> None:
    """Sequences below one and above llama.cpp's limit are a usage error that names the limit."""
    with pytest.raises(UsageError, match="at once"):
        model_of(tiny / "base.gguf", n_sequences)


BAD_OPTIONS = {
    "quantised values without flash attention": LoadOptions(
        cache_type_v=CacheType.Q8_0, flash_attention=FlashAttention.OFF
    ),
    "a GPU that is not there": LoadOptions(main_gpu=99),
    "a negative share": LoadOptions(tensor_split=(1.0, -1.0)),
    "shares of nothing": LoadOptions(tensor_split=(0.0,)),
    "more shares than devices": LoadOptions(tensor_split=(1.0,) * 1000),
    "more threads than llama.cpp has": LoadOptions(threads=513),
    "a context beyond counting": LoadOptions(ctx_size=2**31),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options_are_usage_errors(case: str, tiny: Path, model_of: Open) -> None:
    """What llama.cpp would answer with NULL, an abort or silence is refused with the value in the message."""
    with pytest.raises(UsageError):
        model_of(tiny / "base.gguf", options=BAD_OPTIONS[case])


def test_batches_beyond_the_context_are_cut_to_it(tiny: Path, model_of: Open) -> None:
    """Batch sizes that C could not even count are as good as the whole context."""
    options = replace(OPTIONS, ctx_size=64, batch_size=2**33, ubatch_size=2**33)
    model = model_of(tiny / "base.gguf", options=options)
    assert model.n_batch == 256
    assert model.feed([Feed(0, 0, PROMPT)])[0].shape == (1, 512)


def test_weights_without_mapping_compute_the_same(tiny: Path, model_of: Open) -> None:
    """Reading a file into memory instead of mapping it changes no row; on a CPU a wish for the GPU changes nothing."""
    mapped = model_of(tiny / "base.gguf").feed([Feed(0, 0, PROMPT)])[0]
    options = replace(OPTIONS, mmap=False, offload=Offload(OffloadKind.LAYERS, 0))
    np.testing.assert_array_equal(model_of(tiny / "base.gguf", options=options).feed([Feed(0, 0, PROMPT)])[0], mapped)


def test_build_facts_name_version_library_and_processor() -> None:
    """What the doctor shows is there: versions, a library that exists, and at least the CPU as a device."""
    facts = build_facts()
    assert facts.bindings.startswith("0.3.")
    assert facts.version
    assert Path(facts.library).exists()
    assert "CPU" in facts.system
    assert "CPU" in facts.backends
    assert any(not device.is_gpu and device.total_bytes > 0 for device in facts.devices)
