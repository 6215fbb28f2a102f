"""What a model says of other people's texts: bits that add up, long texts, yes or no, rewards."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baco_local.reading import Rewarder, Scorer
from baco_local.testing import TEMPLATE, ScriptedModel, byte_vocab, flat, lively
from baco_local.text.chat import ChatTemplate

VOCAB = byte_vocab()
N = len(VOCAB)
LETTERS = st.text("abc .", max_size=24)


def scorer(script, *, template=None, n_ctx=512):
    """Return a scorer on a scripted model."""
    return Scorer([ScriptedModel(script, VOCAB, n_ctx=n_ctx, n_sequences=1)], template)


def plain_bits(script, before, ids):
    """Return the bits of ids after others, one full row at a time."""
    total, read = 0.0, list(before)
    for token in ids:
        row = script(tuple(read)).astype(np.float64)
        total -= (row[token] - np.logaddexp.reduce(row)) / np.log(2)
        read.append(token)
    return total


@given(LETTERS)
def test_a_model_that_knows_nothing(text):
    """Under equally likely tokens each byte costs the log of their number."""
    assert scorer(flat(N)).bits("ask", text) == pytest.approx(len(text) * np.log2(N), rel=1e-6)


@settings(deadline=None)
@given(st.lists(st.tuples(LETTERS, LETTERS), min_size=1, max_size=4))
def test_bits_are_the_sum_over_tokens(pairs):
    """Whatever was read before, the bits of a text are those of its tokens one after the other."""
    script = lively(N, seed=3)
    own = scorer(script)
    for prefix, text in pairs:
        before = [VOCAB.bos, *VOCAB.tokenize(prefix, trusted=False)]
        wanted = plain_bits(script, before, VOCAB.tokenize(text, trusted=False))
        assert own.bits_after(prefix, text) == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_log_probability_per_token():
    """A model that knows nothing expects each token with the same log-probability."""
    own = scorer(flat(N))
    assert own.logprob("ask", "abc") == pytest.approx(-np.log(N), rel=1e-6)
    assert own.logprob("ask", "") == 0


def test_bits_add_up():
    """The bits of a text are those of its beginning, and of the rest after that."""
    own = scorer(lively(N, seed=1))
    whole = own.bits_after("once", " upon a time")
    assert whole == pytest.approx(own.bits_after("once", " upon") + own.bits_after("once upon", " a time"), rel=1e-6)


@pytest.mark.parametrize("length", [5, 31, 32, 33, 200])
def test_texts_beyond_the_context(length):
    """A text longer than the context is read in windows: under a script that looks back little, nothing changes."""
    script, text = lively(N, seed=2, reach=4), "abcdefgh " * length
    short, wide = (scorer(script, n_ctx=n_ctx).bits_after("x", text[:length]) for n_ctx in (32, 512))
    assert short == pytest.approx(wide, rel=1e-5)


def test_some_threads_may_ask_at_once():
    """With some contexts of one model, threads get the bits that one gets."""
    script = lively(N, seed=5)
    models = [ScriptedModel(script, VOCAB, n_sequences=1) for _ in range(3)]
    own, texts = Scorer(models), ["abc", "", "the fox", "abd", "a b c d"] * 8
    assert own.n_at_once == 3
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda text: own.bits("ask", text), texts))
    assert sum(model.n_feeds > 0 for model in models) > 1
    assert found == pytest.approx([scorer(script).bits("ask", text) for text in texts], rel=1e-6)


def test_each_model_is_asked_in_its_own_form():
    """With a chat template the prompt goes through it, without one into the plain frame."""
    seen = []

    def listening(ids):
        seen.append(bytes(b"".join(VOCAB.pieces[i] for i in ids)))
        return np.zeros(N, np.float32)

    for template, words in ((None, b"Question: ask\n\nAnswer:\n"), (ChatTemplate(TEMPLATE), b"\nask")):
        seen.clear()
        own = scorer(listening, template=template)
        own.bits("ask", "x")
        assert words in seen[-1]
        assert ("template" in own.form) is (template is not None)


def test_yes_and_no():
    """The chance of yes weighs the first letters of both answers."""
    yes = VOCAB.tokenize("Y", trusted=False)[0]

    def keen(_ids):
        row = np.zeros(N, np.float32)
        row[yes] = 20.0
        return row

    assert scorer(keen).chance_of_yes("Is it?") > 0.99
    assert scorer(flat(N)).chance_of_yes("Is it?") == pytest.approx(0.5)


class Lengths:
    """A stand-in for an embedder: a text's vector is how many ids it has, and its last id."""

    vocab, n_at_once = VOCAB, 1

    def __init__(self):
        self.read = []

    def ids(self, text):
        """Return the ids of a text behind its opening token."""
        return [VOCAB.bos, *VOCAB.tokenize(text, trusted=False)]

    def embed_ids(self, texts):
        """Return a vector per text."""
        self.read += texts
        return np.array([[len(ids), ids[-1]] for ids in texts], np.float32)

    def close(self):
        """Free nothing."""


def test_reward_is_the_last_state_times_the_head():
    """A row of weights turns states into rewards; the conversation ends with the answer, and opens no new turn."""
    own = Lengths()
    template = ChatTemplate(
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}!{% endif %}"
    )
    rewards = Rewarder(own, template, np.array([1.0, 0.5], np.float32))("ask", ["abc", "ab"])
    assert rewards == [len(ids) + 0.5 * ids[-1] for ids in own.read]
    read = [b"".join(VOCAB.pieces[i] for i in ids).decode() for ids in own.read]
    assert read == ["user: ask\nassistant: abc\n", "user: ask\nassistant: ab\n"]


def test_reward_of_a_pair_of_texts():
    """Without a template prompt and answer are read one after the other, with one opening token."""
    own = Lengths()
    assert Rewarder(own, None)("ab", ["cd"]) == [5.0]
    assert own.read == [[VOCAB.bos, *VOCAB.tokenize("abcd", trusted=False)]]


def test_reward_behind_a_softmax():
    """Of two labels whose chances sum to one, the reward is the log of their ratio: the head's own output."""

    class Chances(Lengths):
        def embed_ids(self, texts):
            p = 1 / (1 + np.exp(-np.arange(1.0, len(texts) + 1)))
            return np.stack([p, 1 - p], axis=1)

    assert Rewarder(Chances(), None, softmax=True)("ask", ["a", "b"]) == pytest.approx([1.0, 2.0])
