"""The engine says what the method says: an independent reading of it, over the same rows and the same noise."""

from __future__ import annotations

import codecs
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baco_local.config import BoundaryRule, StopRule
from baco_local.engine.answer import Answer
from baco_local.errors import RouterError
from baco_local.pair import Pair
from baco_local.routing.base import Route, StepView
from baco_local.routing.blends import BLENDS
from baco_local.routing.dial import ROUTERS
from baco_local.routing.words import ENGLISH
from baco_local.sampling.draw import Address, Candidates, Stream, coin, draw
from baco_local.settings import Settings
from baco_local.testing import says, scripted_pair
from baco_local.text.vocab import TokenKind
from baco_local.types import FinishReason, Role
from scripted_pairs import NO_GUARDS, PROMPT, SAID, Scripts, id_of, scripts, towards, tracks

A, B = Role.ALIGNED, Role.BASE
SPARSE = {"xtc_probability": 0.5, "presence_penalty": 2.0}


def starts_word(piece: bytes, text: str, *, joiners: bool) -> bool:
    """Say whether a router may decide before this piece (method.md, section 1)."""
    if piece[:1] and 0x80 <= piece[0] < 0xC0:
        return False  # the rest of a character
    if not text or text[-1].isspace():
        return True
    piece_text = piece.decode("utf-8", "ignore")
    if not piece_text:
        return False
    head, kind, before = piece_text[0], unicodedata.category(piece_text[0])[0], unicodedata.category(text[-1])[0]
    if not head.isspace() and kind not in "PSZ":
        return False
    in_word = before in "LNM" and head in "'’-‐‑_"  # noqa: RUF001
    in_number = text[-1].isdigit() and head in ".,:/%"
    return not (joiners and (in_word or in_number))


def wants_base(name: str, d: float, p_base: np.ndarray, base_text: str, aligned_text: str, u: float) -> bool:
    """Say whether a router gives a position to base, 0 < d < 10, by the uncalibrated dial (method.md, section 2)."""

    def is_format(text: str) -> bool:
        return "\n" in text or (bool(text) and not any(unicodedata.category(char)[0] in "LNM" for char in text))

    lock = False
    if name.endswith("PUNC"):
        lock = is_format(base_text) or is_format(aligned_text)
    elif name.endswith("FC"):
        lock = base_text.strip().lower() in ENGLISH.functions
    if name in ("PUNC", "FC"):
        return u < (max(0.0, d / 5 - 1) if lock else d / 5)
    if name == "RAND":
        return u < d / 10
    if name == "NUDGE":
        return bool(p_base.max() >= 1 - d / 10)
    if lock:
        return False
    if name.startswith("P"):
        return bool(p_base.max() < d / 10)
    live = p_base[p_base > 0]
    return bool(-(live * np.log(live)).sum() > -2 * np.log(d / 10))


def generate(pair: Pair, two: Scripts, knobs: Settings, seed: int, sample: int) -> tuple[list[tuple[int, Role]], bool]:
    """Write one answer as method.md's ``generate`` does; return ids with their speakers, and whether it was ended."""
    o, vocab, script = knobs.decode, two.vocab, two.script
    prompts = pair.prompt_ids(PROMPT, knobs)
    d, name, stops = o.diversity, o.router, vocab.stops
    mute = [i for i, kind in enumerate(vocab.kinds) if kind & TokenKind.CONTROL and i not in stops]
    said: list[tuple[int, Role]] = []
    active = o.start if 0 < d < 10 else B if d == 10 else A
    reader, text = codecs.getincrementaldecoder("utf-8")("replace"), ""
    while len(said) < o.max_tokens:
        ids, t = [token for token, _ in said], len(said)
        rows = {role: script[role]([*prompts[role], *ids]).copy() for role in Role}
        rows[B][mute] = -1e30
        p_base = np.exp((rows[B] - rows[B].max()).astype(np.float64))
        p_base /= p_base.sum()

        everything = np.arange(len(vocab), dtype=np.int32)
        drawn = {
            role: draw(Candidates(everything, rows[role]), Address(seed, sample, t, stream))
            for role, stream in ((B, Stream.BASE), (A, Stream.ALIGNED))
        }
        opens = {
            role: o.boundary is BoundaryRule.TOKEN or starts_word(vocab.pieces[token], text, joiners=o.joiners)
            for role, token in drawn.items()
        }
        who, token = active, drawn[active]
        if 0 < d < 10:
            if who is B and token in stops and o.stop_rule is StopRule.ALIGNED:
                if drawn[A] in stops or opens[A]:
                    who, token = A, drawn[A]
                else:
                    rows[B][list(stops)] = -1e30
                    token = draw(Candidates(everything, rows[B]), Address(seed, sample, t, Stream.REDRAW))
            elif token not in stops and opens[who]:
                rival = {who: token, who.other: int(rows[who.other].argmax())}
                watched = {role: vocab.pieces[rival[role]].decode("utf-8", "ignore") for role in Role}
                wanted = A
                if int(rows[A].argmax()) not in stops:
                    u = coin(Address(seed, sample, t, Stream.ROUTER))
                    wanted = B if wants_base(name, d, p_base, watched[B], watched[A], u) else A
                if wanted is not who:
                    may_end = wanted is A or o.stop_rule is StopRule.EITHER
                    if may_end if drawn[wanted] in stops else opens[wanted]:
                        who, token = wanted, drawn[wanted]
        if token in stops:
            return said, True
        said.append((token, who))
        text += reader.decode(vocab.pieces[token])
        active = who
    return said, False


def heard(answer: Answer) -> list[tuple[int, Role]]:
    """Return ids with their speakers."""
    return [(token.id, token.speaker) for token in answer.tokens]


@settings(max_examples=400, deadline=None)
@given(
    scripts(in_bytes=st.booleans()),
    st.sampled_from(sorted(ROUTERS)),
    st.one_of(st.sampled_from((0, 1, 5, 9, 10)), st.floats(0.1, 9.9)),
    st.fixed_dictionaries(
        {
            "boundary": st.sampled_from(BoundaryRule),
            "joiners": st.booleans(),
            "start": st.sampled_from(Role),
            "stop_rule": st.sampled_from(StopRule),
            "max_tokens": st.integers(1, 24),
        }
    ),
    st.integers(0, 2**63 - 1),
    st.integers(0, 9),
)
def test_the_engine_writes_what_the_method_writes(
    two: Scripts, router: str, d: float, rules: dict[str, object], seed: int, sample: int
) -> None:
    """Tokens, speakers and the end are those of the method, for every router, dial, boundary, start and stop rule."""
    pair = two.pair()
    knobs = pair.settings.turn({"router": router, "diversity": d, "guards": NO_GUARDS, **rules})
    stream = pair.stream(PROMPT, settings=knobs, seed=seed, sample=sample)
    list(stream)
    expected, ended = generate(pair, two, knobs, seed, sample)
    assert heard(stream.answer) == expected
    assert stream.answer.finish is (FinishReason.END if ended else FinishReason.LENGTH)


def pair_that_says(base: tuple[str, ...], aligned: tuple[str, ...]) -> Pair:
    """Return a pair whose sides are sure of every word."""
    ids = scripted_pair(vocab=SAID).prompt_ids(PROMPT)
    return scripted_pair(
        says([id_of(word) for word in base], len(SAID), after=len(ids[B])),
        says([id_of(word) for word in aligned], len(SAID), after=len(ids[A])),
        vocab=SAID,
    )


@pytest.mark.parametrize(
    ("base", "aligned", "wanted", "said"),
    [
        (("A", " fox", " ran"), ("The", " bird", " sang"), "bbb", "A fox ran"),
        (("A", " fox", " ran"), ("The", " bird", " sang"), "aba", "The fox sang"),
        (("A", " fox", "s", " ran"), ("The", " bird", " sang", "."), "abab", "The foxs ran"),  # "s" goes on with a word
        (("A", "s", " ran"), ("The", " bird", " sang"), "abb", "The bird ran"),  # base's "s" is refused
        (("don", "'t", " ran"), ("The", "-", " sang"), "bab", "don't ran"),
    ],
)
def test_the_router_decides_where_words_start(
    base: tuple[str, ...], aligned: tuple[str, ...], wanted: str, said: str
) -> None:
    """The named side speaks at a word start if its own draw opens a word; inside a word nobody is asked."""
    router = lambda step: B if wanted[step.position] == "b" else A  # noqa: E731
    answer = pair_that_says(base, aligned).generate(PROMPT, router=router, seed=1, max_tokens=len(wanted))[0]
    assert answer.text == said


def test_a_refused_draw_is_marked() -> None:
    """Where the other side's draw would splice a word, the speaker's own stands and the record says so."""
    pair = pair_that_says(("A", "s", " ran"), ("The", " bird", " sang"))
    answer = pair.generate(PROMPT, router=lambda step: "aligned" if step.position == 0 else "base", seed=1)[0]
    assert [t.spoken.refused for t in answer.tokens][:3] == [False, True, False]
    assert answer.tokens[1].speaker is A
    assert answer.tokens[1].boundary


def test_a_base_stop_hands_over_and_an_aligned_one_ends() -> None:
    """Where base would stop, aligned goes on if it opens a word; only aligned's own end is the end."""
    pair = pair_that_says(("A", " fox"), ("The", " bird", " sang", " then"))
    answer = pair.generate(PROMPT, router=towards(B), start=B, seed=1)[0]
    assert answer.text == "A fox sang then"
    assert [(t.reason, t.spoken.refused) for t in answer.tokens[2:]] == [("handed over", False), ("router", True)]
    assert answer.finish is FinishReason.END
    assert answer.end is not None
    assert answer.end.speaker is A


@pytest.mark.parametrize(
    "router",
    [
        lambda _step: 3,
        lambda _step: None,
        lambda _step: "nobody",
        lambda _step: Route("base", "by name"),  # type: ignore[arg-type]
        lambda _step: 1 / 0,
    ],
)
def test_a_router_that_fails_is_named_and_the_others_go_on(router: object) -> None:
    """A router that raises or returns rubbish ends its own answer with RouterError, and no other."""
    two = Scripts(1, 2, 3.0, -4.0)
    pair = two.pair()
    good = pair.settings.turn({"max_tokens": 20})
    alone = pair.generate(PROMPT, settings=good, seed=3)[0]

    def late(step: StepView) -> object:
        return "aligned" if step.position < 4 else router(step)  # type: ignore[operator]

    bad = pair.stream(PROMPT, settings=good, router=late, seed=3)  # type: ignore[arg-type]
    healthy = pair.stream(PROMPT, settings=good, seed=3)
    with pytest.raises(RouterError, match="position"):
        list(bad)
    assert len(bad.answer.tokens) >= 4
    with pytest.raises(RouterError):
        next(bad)
    list(healthy)
    assert tracks(healthy.answer) == tracks(alone)


def test_max_base_run_gives_aligned_a_word() -> None:
    """After so many words of base in a row aligned writes one."""
    pair = pair_that_says((" fox",) * 9, (" bird",) * 9)
    knobs = {"router": towards(B), "guards": type(NO_GUARDS)(max_base_run=2), "max_tokens": 7}
    answer = pair.generate(PROMPT, seed=1, start=B, **knobs)[0]  # type: ignore[arg-type]
    assert answer.text == "fox fox bird fox fox bird fox"
    assert answer.tokens[2].reason == "base run"


def test_without_rewind_aligned_writes_the_start_of_every_line() -> None:
    """A model that cannot take back what it read never lets base open a line, so no role marker needs a cut."""
    words = (" fox", "\n", "Question", ":", " ran")
    ids = scripted_pair(vocab=SAID).prompt_ids(PROMPT)
    spell = [id_of(c) for word in words for c in ([word] if word.encode() in SAID.pieces else list(word))]
    two = {role: says(spell, len(SAID), after=len(ids[role])) for role in Role}
    pair = scripted_pair(two[B], two[A], vocab=SAID, can_rewind=False)
    answer = pair.generate(PROMPT, router=towards(B), start=B, seed=1)[0]
    line = [t for t, before in zip(answer.tokens[1:], answer.tokens, strict=False) if before.text == "\n"]
    assert [(t.speaker, t.reason) for t in line] == [(A, "line start")]


def test_ignore_end_never_ends() -> None:
    """With ignore_end an answer is as long as it may be, for every router and at every dial."""
    for router in ("P-PUNC", "mix-prob", "RAND"):
        for d in (0, 5, 10):
            pair = Scripts(5, 6, 1.0, 8.0).pair()
            answer = pair.generate(PROMPT, router=router, diversity=d, ignore_end=True, max_tokens=12, seed=2)[0]
            assert (len(answer.tokens), answer.finish) == (12, FinishReason.LENGTH)


def test_a_blend_is_put_down_to_the_likelier_side() -> None:
    """A token of a mix counts as base's where base found it likelier."""
    pair = pair_that_says((" fox",) * 3, (" bird",) * 3)
    answers = pair.generate(PROMPT, router="mix-prob", diversity=5, n=8, seed=1, max_tokens=3)
    speakers = {token.text.strip(): token.speaker for answer in answers for token in answer.tokens}
    assert speakers == {"fox": B, "bird": A}


@settings(max_examples=30, deadline=None)
@given(scripts(), st.sampled_from(sorted(BLENDS)), st.floats(0.1, 9.9), st.integers(0, 99))
def test_a_mix_always_finds_something_to_say(two: Scripts, name: str, d: float, seed: int) -> None:
    """Whatever the two models find likely, every mix writes on, with presence penalty and XTC, too."""
    answer = two.pair().generate(PROMPT, router=name, diversity=d, seed=seed, max_tokens=24, ignore_end=True, **SPARSE)[
        0
    ]
    assert len(answer.tokens) == 24


def test_a_mix_survives_what_aligned_alone_would_say() -> None:
    """A place where all that aligned finds plausible is a token that base may not say does not stop contrast."""
    two = Scripts(138, 2, 5.0, -4.0)
    answer = two.pair().generate(
        PROMPT,
        router="contrast",
        diversity=0.8,
        start=B,
        joiners=False,
        guards=NO_GUARDS,
        max_tokens=24,
        seed=56,
        first_sample=3,
        **SPARSE,
    )[0]
    assert answer.finish in (FinishReason.LENGTH, FinishReason.END)


def test_a_ban_leaves_aligneds_other_words_to_a_mix() -> None:
    """Where a ban takes all that contrast finds plausible, the aligned model says the best of what is allowed."""
    pair = pair_that_says((" bird",) * 3, (" fox",) * 3)
    banned = ((id_of(" fox"), -np.inf),)
    answer = pair.generate(
        PROMPT, router="contrast", diversity=2, seed=1, max_tokens=3, ignore_end=True, logit_bias=banned
    )[0]
    assert len(answer.tokens) == 3
    assert id_of(" fox") not in [token.id for token in answer.tokens]
