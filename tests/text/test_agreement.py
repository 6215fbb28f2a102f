from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from baco_local.errors import PairError
from baco_local.text.agreement import PROBES, Difference, Verdict, check_pair, compare, special_tokens
from baco_local.text.vocab import TokenKind, Vocab

NORMAL, CONTROL, UNUSED, ADDED = TokenKind.NORMAL, TokenKind.CONTROL, TokenKind.UNUSED, TokenKind.USER_DEFINED
Load = Callable[[str], Vocab]
Make = Callable[..., Vocab]

REAL = (
    "llama-spm",
    "phi-3",
    "gpt-2",
    "mpt",
    "falcon",
    "gpt-neox",
    "stories260K",
    "aidreams260K",
    "starter base",
    "starter aligned",
)


@pytest.mark.parametrize("name", REAL)
def test_a_real_vocabulary_agrees_with_itself(vocabulary: Load, name: str) -> None:
    """Every file can be paired with itself, without a note."""
    found = check_pair(vocabulary(name), vocabulary(name))
    assert (found.verdict, found.notes, found.unshared) == (Verdict.SAME, (), ())


@pytest.mark.parametrize(
    ("base", "aligned", "verdict"),
    [
        ("starter base", "starter aligned", Verdict.SAME),  # other BOS, EOS and template, one token table
        ("llama-spm", "phi-3", Verdict.BENIGN),  # 11 chat tokens and padding added
        ("phi-3", "llama-spm", Verdict.BENIGN),
        ("mpt", "gpt-neox", Verdict.REFUSED),  # one token table, two ways to split text
        ("stories260K", "aidreams260K", Verdict.REFUSED),  # equal size, other tokens
        ("falcon", "gpt-2", Verdict.REFUSED),
        ("gpt-2", "mpt", Verdict.REFUSED),
        ("gpt-2", "gpt-neox", Verdict.REFUSED),
        ("llama-spm", "gpt-2", Verdict.REFUSED),  # SentencePiece and byte-level BPE
        ("stories260K", "llama-spm", Verdict.REFUSED),  # the smaller is no beginning of the larger
        ("starter base", "stories260K", Verdict.REFUSED),
    ],
)
def test_truth_table_of_real_vocabularies(vocabulary: Load, base: str, aligned: str, verdict: Verdict) -> None:
    """Real pairs are accepted and refused as their makers would say."""
    assert compare(vocabulary(base), vocabulary(aligned)).verdict is verdict


def test_added_chat_tokens_are_named(vocabulary: Load) -> None:
    """The note on phi-3 beside its parent counts the chat tokens and the padding, and all of them are unshared."""
    found = compare(vocabulary("llama-spm"), vocabulary("phi-3"))
    assert "adds 11 special tokens (<|endoftext|>, <|assistant|>" in found.notes[0]
    assert "53 of padding" in found.notes[0]
    assert found.unshared == tuple(range(32000, 32064))
    assert found.n_common == 32000


def test_different_splitting_shows_a_probe(vocabulary: Load) -> None:
    """Equal tables that split text differently are refused with a text and both counts."""
    found = compare(vocabulary("mpt"), vocabulary("gpt-neox"))
    assert found.n_differences == 0
    assert 0 < len({split.text for split in found.splits}) < found.n_probes
    with pytest.raises(PairError, match=r'first difference: ".*" is split into \d+ \| \d+ tokens'):
        check_pair(vocabulary("mpt"), vocabulary("gpt-neox"))


def test_bpe_and_sentencepiece_agree_on_no_probe(vocabulary: Load) -> None:
    """Not one probe string comes out alike from two kinds of tokenizers."""
    found = compare(vocabulary("gpt-2"), vocabulary("llama-spm"))
    assert len({split.text for split in found.splits}) == found.n_probes > 10


def test_equal_tables_are_the_same(table: Make) -> None:
    """Two equal tables agree without reasons, notes and differences."""
    found = compare(table(), table())
    assert (found.verdict, found.reasons, found.notes, found.differences) == (Verdict.SAME, (), (), ())
    assert found.n_probes == len(PROBES)


def test_padding_is_benign_and_said(table: Make) -> None:
    """Ids of padding at the end change nothing; the note gives both sizes."""
    padded = table([(f"[PAD{i}]", UNUSED) for i in range(97, 128)])
    found = check_pair(table(), padded)
    assert found.verdict is Verdict.BENIGN
    assert found.notes == (
        f"vocabularies differ only in padding ({len(table())} vs {len(padded)}, the extra ids carry no text)",
    )


@pytest.mark.parametrize("kind", [CONTROL, ADDED])
def test_added_special_tokens_are_benign(table: Make, kind: TokenKind) -> None:
    """Chat tokens that one side adds at the end are fine, also when a probe spells them, and from either side."""
    chat = table([("<|im_start|>", kind), ("<|im_end|>", kind)])
    assert check_pair(table(), chat).verdict is check_pair(chat, table()).verdict is Verdict.BENIGN


@pytest.mark.parametrize("text", ["word", "  ", "\n\n", "<", "reserved"])
def test_an_added_ordinary_token_is_refused(table: Make, text: str) -> None:
    """A token of plain text that only one side knows is refused, however its file types it."""
    for kind in (NORMAL, ADDED):
        found = compare(table(), table([(text, kind)]))
        assert found.verdict is Verdict.REFUSED
        assert found.differences == (Difference(len(table()), None, text),)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (("<|reserved_special_token_7|>", NORMAL), ("<|im_end|>", CONTROL)),
        (("[PAD97]", UNUSED), ("<tool_call>", ADDED)),
        (("<|dummy|>", CONTROL), ("<|user|>", CONTROL)),
        (("anything", UNUSED), ("<|user|>", CONTROL)),
        (("<unused3>", UNUSED), ("<unused4>", UNUSED)),
    ],
)
def test_a_free_id_may_have_two_names(table: Make, ours: tuple[str, TokenKind], theirs: tuple[str, TokenKind]) -> None:
    """Reserved, unused, control and padding ids may differ, which is noted, and the id is kept out of answers."""
    for base, aligned in ((ours, theirs), (theirs, ours)):
        found = check_pair(table([base]), table([aligned]))
        assert found.verdict is Verdict.BENIGN
        assert found.unshared == (len(table()),)
        assert "two names" in found.notes[0]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (("word", NORMAL), ("other", NORMAL)),
        (("word", NORMAL), ("<|im_end|>", CONTROL)),
        (("word", NORMAL), ("[PAD97]", UNUSED)),
        (("<think>", ADDED), ("<tool_call>", ADDED)),
        (("<0x00>", TokenKind.BYTE), ("<0x01>", TokenKind.BYTE)),
    ],
)
def test_a_changed_ordinary_token_is_refused(
    table: Make, ours: tuple[str, TokenKind], theirs: tuple[str, TokenKind]
) -> None:
    """One ordinary token that means something else on the other side is enough, whatever it is there."""
    for base, aligned in ((ours, theirs), (theirs, ours)):
        found = compare(table([base]), table([aligned]))
        assert found.verdict is Verdict.REFUSED
        assert found.differences == (Difference(len(table()), base[0], aligned[0]),)


def test_another_tokenizer_type_is_refused(table: Make) -> None:
    """Equal tables under two types of tokenizers are refused, and both types are named."""
    found = compare(table(), table(model="llama"))
    reason = 'the tokenizers are of different types: "gpt2" | "llama"'
    assert found.reasons == (reason,)
    with pytest.raises(PairError, match=re.escape(f"first difference: {reason}")):
        check_pair(table(), table(model="llama"))


def test_probes_that_split_differently_are_refused(table: Make) -> None:
    """Equal tables with tokenizers that prefer longer and shorter tokens are refused for the probes they split."""
    found = compare(table([("two", NORMAL)]), table([("two", NORMAL)], longest=False))
    assert [split.text for split in found.splits if not split.trusted] == [PROBES[1]]
    assert found.reasons == (f"2 of {len(PROBES)} probe strings are split differently",)  # <s> is longer than <


def test_one_text_of_two_kinds_is_noted(table: Make) -> None:
    """A token that is control in one file and added text in the other is accepted with a note."""
    found = check_pair(table([("<x>", CONTROL)]), table([("<x>", ADDED)]))
    assert found.verdict is Verdict.BENIGN
    assert found.notes == ('1 ids have one text and two kinds: "<x>"',)
    assert found.unshared == ()


def test_all_differences_are_counted_and_the_first_shown(table: Make) -> None:
    """As many differences are listed as asked for; the count tells of all."""
    changed = {i: (f"other {i}", NORMAL) for i in range(10, 40)}
    found = compare(table(), table(changed=changed), n_shown=3)
    assert found.n_differences == 30
    assert [difference.id for difference in found.differences] == [10, 11, 12]


def test_the_error_says_what_differs_and_what_to_type(table: Make) -> None:
    """A refused pair gives the four parts of an error message: what, both values, what was done, what to type."""
    with pytest.raises(PairError) as caught:
        check_pair(table(), table(changed={5: ("!!", NORMAL)}), base_name="a b.gguf", aligned_name="c.gguf")
    assert str(caught.value) == (
        "these models cannot be paired\n"
        f"    base {len(table())} tokens (gpt2) | aligned {len(table())} tokens (gpt2)\n"
        '    first difference: id 5  "!" | "!!"\n'
        "    nothing was loaded.  see all differences:  baco pairs check 'a b.gguf' c.gguf"
    )
    assert caught.value.exit_code == 3


def test_special_tokens_are_reported_for_both_sides(table: Make) -> None:
    """BOS, EOS, the BOS rule and the ids that end a turn come with their texts, and do not touch the verdict."""
    found = compare(table(), table(add_bos=False, stops=("</s>", "~")))
    assert found.verdict is Verdict.SAME
    assert found.base == special_tokens(table())
    assert (found.base.add_bos, found.aligned.add_bos) == (True, False)
    assert found.base.bos is not None
    assert (found.base.bos.text, found.base.eot) == ("<s>", None)
    assert [token.text for token in found.aligned.stops] == ["</s>", "~"]
