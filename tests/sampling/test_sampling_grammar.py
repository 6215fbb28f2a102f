"""Steps that look at the vocabulary: grammars let through what they should, and DRY finds repetitions."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from baco_local.errors import GrammarError, UsageError
from baco_local.sampling.chain import LlamaChain, build_chain, gbnf_of
from baco_local.sampling.draw import Address, Stream
from baco_local.sampling.sampler import Sampler
from baco_local.sampling.steps import Dry, Grammar, JsonSchema, MinP, Recipe, Temperature, TopP, Typical
from baco_local.types import MASKED

if TYPE_CHECKING:
    from conftest import SmallVocab

YES_OR_NO = Grammar('root ::= "yes" | "no"')


def allowed(chain: LlamaChain, vocab: SmallVocab) -> set[bytes]:
    """Return the pieces that a flat row may be drawn from; the end is b''."""
    return {vocab.pieces[token] for token in chain.apply(np.zeros(len(vocab), np.float32)).ids.tolist()}


def written(recipe: Recipe, vocab: SmallVocab, seed: int, length: int = 200) -> bytes | None:
    """Draw an answer from random rows; None if it does not end within ``length`` tokens."""
    sampler = Sampler(recipe, lambda steps: build_chain(steps, vocab.handle, len(vocab)))
    out = b""
    for position in range(length):
        row = np.random.default_rng([seed, position]).normal(0, 1, len(vocab)).astype(np.float32)
        row[[token for token, piece in enumerate(vocab.pieces) if not piece.isascii()]] = MASKED  # halves of characters
        row[vocab.end] += 4
        row[[vocab.id('"'), vocab.id("}"), vocab.id("]")]] += 3
        token = sampler.pick(row, Address(seed, 0, position, Stream.ALIGNED))
        if token == vocab.end:
            return out
        sampler.accept(token)
        out += vocab.pieces[token]
    return None


def test_a_grammar_lets_through_what_may_follow(small_vocab: SmallVocab) -> None:
    """At each place exactly the pieces that continue a sentence of the grammar are left, and the end at its end."""
    chain = build_chain((YES_OR_NO,), small_vocab.handle, len(small_vocab))
    assert allowed(chain, small_vocab) == {b"y", b"n", b"yes", b"no"}
    chain.accept(small_vocab.id("y"))
    assert allowed(chain, small_vocab) == {b"e"}
    for letter in "es":
        chain.accept(small_vocab.id(letter))
    assert set(chain.apply(np.zeros(len(small_vocab), np.float32)).ids.tolist()) == {small_vocab.end}
    chain.reset()
    assert allowed(chain, small_vocab) == {b"y", b"n", b"yes", b"no"}


@pytest.mark.parametrize("seed", range(5))
def test_answers_match_their_grammar(small_vocab: SmallVocab, seed: int) -> None:
    """Drawn answers are sentences of the grammar, with truncation behind it."""
    recipe = (Grammar('root ::= ("cat" | "dog") (" the " [a-c]+)?'), TopP(0.9), MinP(0.01), Temperature(1.3))
    answer = written(recipe, small_vocab, seed)
    assert answer is not None
    animal, _, rest = answer.decode().partition(" the ")
    assert animal in ("cat", "dog")
    assert set(rest) <= set("abc")


def test_typical_p_after_a_grammar_sees_numbers(small_vocab: SmallVocab) -> None:
    """What a grammar masks is gone before typical-p computes an entropy."""
    row = np.zeros(len(small_vocab), np.float32)
    row[[small_vocab.id("yes"), small_vocab.id("no"), small_vocab.id("y"), small_vocab.id("n")]] = np.log([5, 3, 1, 1])
    left = build_chain((YES_OR_NO, Typical(0.25)), small_vocab.handle, len(small_vocab)).apply(row)
    assert [small_vocab.pieces[token] for token in left.ids] == [b"no"]  # its surprise is nearest to the entropy


def test_accepting_what_a_grammar_forbids_is_an_error(small_vocab: SmallVocab) -> None:
    """llama.cpp would end the process; we raise, and the chain stands where it stood."""
    chain = build_chain((YES_OR_NO,), small_vocab.handle, len(small_vocab))
    for token in (small_vocab.id("cat"), small_vocab.end):
        with pytest.raises(GrammarError, match=f"token {token} was said"):
            chain.accept(token)
    chain.accept(small_vocab.id("yes"))
    assert allowed(chain, small_vocab) == {b""}
    chain.accept(small_vocab.end)


def test_a_grammar_that_leaves_nobody_is_an_error(small_vocab: SmallVocab) -> None:
    """If the only token that could follow is masked, the grammar says so instead of something else being drawn."""
    sampler = Sampler((YES_OR_NO,), lambda steps: build_chain(steps, small_vocab.handle, len(small_vocab)))
    sampler.accept(small_vocab.id("yes"))
    with pytest.raises(GrammarError, match="allows no token"):
        sampler.pick(np.zeros(len(small_vocab), np.float32), Address(0, 0, 1, Stream.BASE), (small_vocab.end,))


def test_forks_of_a_grammar_part(small_vocab: SmallVocab) -> None:
    """Two branches of one answer follow the grammar on their own, also when the first one is closed."""
    trunk = build_chain((YES_OR_NO,), small_vocab.handle, len(small_vocab))
    branch = trunk.fork()
    trunk.accept(small_vocab.id("n"))
    branch.accept(small_vocab.id("y"))
    assert allowed(trunk, small_vocab) == {b"o"}
    trunk.close()
    assert allowed(branch, small_vocab) == {b"e"}


@pytest.mark.parametrize(
    ("gbnf", "reason"),
    [
        ('root ::= "a" b', "Undefined rule identifier 'b'"),
        ('root ::= ("a"', r"expecting '\)'"),
        ('start ::= "a"', "a rule called 'root'"),
        ('root ::= root "a"', "no rule may begin with itself"),
    ],
)
def test_a_broken_grammar_is_explained(
    small_vocab: SmallVocab, gbnf: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What llama.cpp's parser prints is in the message, and its copy of the grammar is not on the screen."""
    with pytest.raises(GrammarError, match=reason):
        build_chain((Grammar(gbnf),), small_vocab.handle, len(small_vocab))
    assert "error parsing grammar" not in capfd.readouterr().err


def test_another_root_can_be_named(small_vocab: SmallVocab) -> None:
    """The rule that the answer must match is an argument."""
    chain = build_chain((Grammar('start ::= "cat"', root="start"),), small_vocab.handle, len(small_vocab))
    assert allowed(chain, small_vocab) == {b"c", b"cat"}


def test_a_grammar_without_a_vocabulary_is_refused() -> None:
    """A pair without a GGUF vocabulary cannot follow a grammar."""
    with pytest.raises(UsageError, match="a grammar needs the vocabulary"):
        build_chain((YES_OR_NO,), None, 10)


SCHEMAS: dict[str, tuple[dict[str, Any], type]] = {
    "object": (
        {
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
            "required": ["name"],
        },
        dict,
    ),
    "list": ({"type": "array", "items": {"enum": ["a", 1, None]}, "minItems": 2, "maxItems": 4}, list),
    "text": ({"type": "string", "maxLength": 12}, str),
    "nested": (
        {
            "type": "object",
            "properties": {"list": {"type": "array", "items": {"$ref": "#/$defs/b"}}},
            "required": ["list"],
            "$defs": {"b": {"type": "boolean"}},
        },
        dict,
    ),
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_answers_to_a_schema_are_json(small_vocab: SmallVocab, name: str) -> None:
    """Every finished answer under a schema parses as JSON of the right kind, and most answers finish."""
    schema, kind = SCHEMAS[name]
    answers = [written((JsonSchema(json.dumps(schema)),), small_vocab, seed) for seed in range(12)]
    finished = [json.loads(answer) for answer in answers if answer is not None]
    assert len(finished) >= 6
    for found in finished:
        assert isinstance(found, kind)
        if name == "object":
            assert isinstance(found["name"], str)
        elif name == "list":
            assert 2 <= len(found) <= 4
            assert all(each in ("a", 1, None) for each in found)


def test_json_strings_hold_no_raw_line_break(small_vocab: SmallVocab) -> None:
    """JSON forbids control characters inside a string, so the grammar does too."""
    chain = build_chain((JsonSchema('{"type": "string"}'),), small_vocab.handle, len(small_vocab))
    chain.accept(small_vocab.id('"'))
    followers = allowed(chain, small_vocab)
    assert b"cat" in followers
    assert b"\n\n" not in followers
    assert not followers & {bytes([control]) for control in range(1, 0x20)}


@pytest.mark.parametrize(
    "schema",
    [
        "[]",
        "3",
        "true",
        '{"type": "nope"}',
        '{"type": {"a": 1}}',
        '{"$ref": "#/x"}',
        '{"$ref": "https://example.org/a"}',
        '{"properties": 3}',
        '{"type": "string", "pattern": "abc"}',
    ],
)
def test_a_schema_that_cannot_be_followed_is_refused(schema: str) -> None:
    """Whatever the converter stumbles over becomes a GrammarError; nothing is fetched."""
    with pytest.raises(GrammarError, match="JSON schema cannot be turned into a grammar"):
        gbnf_of(schema)


def test_dry_lowers_what_would_repeat(small_vocab: SmallVocab) -> None:
    """After "cat dog no cat dog" DRY takes multiplier * base ** (2 - allowed) off "no", and nothing off others."""
    cat, dog, no = (small_vocab.id(word) for word in ("cat", "dog", "no"))
    row = np.zeros(len(small_vocab), np.float32)
    for allowed_length, penalty in ((1, 1.5 * 2.0), (2, 1.5), (3, 0.0)):
        chain = build_chain((Dry(1.5, 2.0, allowed_length),), small_vocab.handle, len(small_vocab))
        for token in (cat, dog, no, cat, dog):
            chain.accept(token)
        left = chain.apply(row)
        lowered = {token: logit for token, logit in zip(left.ids.tolist(), left.logits.tolist(), strict=True) if logit}
        assert lowered == ({no: pytest.approx(-penalty)} if penalty else {})


def test_dry_stops_at_sequence_breakers(small_vocab: SmallVocab) -> None:
    """A stretch that a breaker cuts is not a repetition."""
    cat, dog, no = (small_vocab.id(word) for word in ("cat", "dog", "no"))
    chain = build_chain((Dry(1.5, 2.0, 1, sequence_breakers=("dog",)),), small_vocab.handle, len(small_vocab))
    for token in (cat, dog, no, cat, dog):
        chain.accept(token)
    assert not chain.apply(np.zeros(len(small_vocab), np.float32)).logits.any()


def test_dry_follows_forks_and_forgets(small_vocab: SmallVocab) -> None:
    """A fork of DRY remembers the trunk; reset forgets."""
    cat, dog, no = (small_vocab.id(word) for word in ("cat", "dog", "no"))
    row = np.zeros(len(small_vocab), np.float32)
    trunk = build_chain((Dry(1.0),), small_vocab.handle, len(small_vocab))
    for token in (cat, dog, no, cat):
        trunk.accept(token)
    branch = trunk.fork()
    branch.accept(dog)
    assert branch.apply(row).logits.min() == pytest.approx(-1.0)
    assert trunk.apply(row).logits.min() == 0
    branch.reset()
    assert branch.apply(row).logits.min() == 0


def test_a_masked_row_under_a_grammar(small_vocab: SmallVocab) -> None:
    """Masked tokens are not offered, even if the grammar would take them."""
    row = np.zeros(len(small_vocab), np.float32)
    row[small_vocab.id("yes")] = MASKED
    row[small_vocab.id("n")] = -math.inf
    left = build_chain((YES_OR_NO,), small_vocab.handle, len(small_vocab)).apply(row)
    assert {small_vocab.pieces[token] for token in left.ids} == {b"y", b"no"}
