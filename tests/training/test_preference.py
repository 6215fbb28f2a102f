"""The third stage: comparisons that are fair, a loss that prefers, an adapter that llama.cpp adds as torch does."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

reason = "the training needs torch, tokenizers, safetensors and gguf: pip install 'baco-local[train]'"
torch = pytest.importorskip("torch", reason=reason)
for library in ("tokenizers", "safetensors", "gguf"):
    pytest.importorskip(library, reason=reason)

from tales import tokenizer as bpe  # noqa: E402
from tales.adapter import adapted, low_rank_parts, merged  # noqa: E402
from tales.checks import is_well_formed, mentions, well_formed_sentences  # noqa: E402
from tales.compose import Noun, compose, held_out_topics  # noqa: E402
from tales.export import ROLES, export, export_adapter  # noqa: E402
from tales.gather import load_comparisons  # noqa: E402
from tales.model import Past  # noqa: E402
from tales.pipeline import Work, load_adapted, load_model  # noqa: E402
from tales.preference import (  # noqa: E402
    TIDIEST,
    Request,
    composed,
    judge,
    likelihoods,
    loss_of,
    overdone,
    request,
    rows_of,
    swapped,
)
from tales.requests import conversation, story_turn  # noqa: E402
from tales.sampling import Drawn, draw  # noqa: E402
from tiny_training import PLAN, told  # noqa: E402


def test_no_request_and_no_comparison_is_about_a_held_out_topic() -> None:
    """Neither tuning nor preference asks for a held-out topic, alone or as a made compound."""
    out = set(held_out_topics())
    for seed in range(400):
        asked = request(random.Random(seed))
        assert not {topic.word for topic in asked.topics} & out
        for turn in (*composed(random.Random(seed)).conversation.turns, *conversation(random.Random(seed), []).turns):
            named = [topic for topic in out if f" {topic}" in turn.user and " " in topic]
            assert not named, turn.user


def test_a_swapped_story_differs_in_the_topic_alone() -> None:
    """The worse answer has as many sentences, and nothing but the topic's words is changed."""
    for seed in range(100):
        rng = random.Random(seed)
        comparison = swapped(rng)
        better = comparison.conversation.turns[-1].answer
        assert better != comparison.worse
        assert better.count(".") == comparison.worse.count(".")
        changed = set(better.lower().split()) ^ set(comparison.worse.lower().split())
        assert len(changed) <= 14, changed


def test_an_overdone_story_names_the_topic_more_often() -> None:
    """The worse answer has the topic in place of another noun, and is otherwise the same."""
    for seed in range(60):
        comparison = overdone(random.Random(seed))
        better, worse = comparison.conversation.turns[-1].answer, comparison.worse
        assert better != worse
        assert better.count(".") == worse.count(".")
        new = set(worse.lower().split()) - set(better.lower().split())
        assert len(new) <= 10, new


def test_a_very_neat_voice_has_favourites() -> None:
    """The tidiest stories about one thing begin alike more often than those that tuning learns from."""
    fox = (Noun("fox", "animal"),)
    first = [
        {compose(random.Random(seed), fox, "happy", neat=neat).text.split(".")[0] for seed in range(100)}
        for neat in (0.75, TIDIEST)
    ]
    assert len(first[1]) < 0.6 * len(first[0])


def test_the_most_expected_answer_that_passes_is_the_better_one() -> None:
    """Of the model's own answers one that names the topic and ends stands against the least fitting one."""
    turn, story = story_turn(random.Random(4))
    asked = Request(turn, story.topics)
    fine = f"The {story.topics[0].word} came. The {story.topics[0].word} went."
    texts = ["It rained.", fine, fine + " It was late.", "It went on and"]
    drawn = [Drawn([1] * 4, True, -4.0), Drawn([1] * 4, True, -8.0), Drawn([1] * 4, True, -4.0), Drawn([1] * 4, False)]
    comparison, passed = judge(asked, drawn, texts)
    assert comparison is not None
    assert comparison.conversation.turns[-1].answer == texts[2]
    assert comparison.worse == "It rained."
    assert passed == 0.5


def test_a_composed_answer_stands_in_where_the_model_only_fails() -> None:
    """Where no answer passes, the better one is the grammar's; where none ends, there is nothing to compare."""
    asked = request(random.Random(1))
    comparison, passed = judge(asked, [Drawn([1], True, -1.0)], ["It rained."])
    assert comparison is not None
    assert (comparison.conversation.turns[-1].answer, comparison.worse) == (asked.turn.answer, "It rained.")
    assert passed == 0.0
    assert judge(asked, [Drawn([1], False, -1.0)], ["It rained"])[0] is None


@pytest.mark.slow
def test_the_loss_falls_when_the_better_answer_gains(work: Work) -> None:
    """Where nothing was gained the loss is ln 2 for each comparison; it falls where the better answer gained."""
    model = load_model(PLAN, work.file("tuned.safetensors"))
    encoded, before = load_comparisons(work.file("comparisons.npz"))
    ids, targets = (torch.from_numpy(rows) for rows in rows_of(encoded[:4]))
    with torch.no_grad():
        now = likelihoods(model, ids, targets)
    assert np.allclose(now.numpy(), before[:4], rtol=0.02, atol=1.0)  # what was kept was computed in bf16
    bare = loss_of(PLAN.preference.__class__(1, 8, 1, 0, 0.1, 0.1, 0.0, 0, 0, 0))
    with torch.no_grad():
        start, n = bare(model, ids, targets, now)
        gained, _ = bare(model, ids, targets, now + torch.tensor([-5.0, 5.0]))
    assert n == len(encoded[:4])
    assert float(start) == pytest.approx(n * np.log(2), rel=1e-3)
    assert float(gained) < float(start)


@pytest.mark.slow
def test_nothing_but_matrices_and_chat_rows_is_tuned(work: Work) -> None:
    """Norms and embedding of aligned are those of base, so that an adapter holds all of the change."""
    base, aligned = (load_model(PLAN, work.file(f"{name}.safetensors")).state_dict() for name in ("base", "aligned"))
    pretrained = load_model(PLAN, work.file(f"sitting-{len(PLAN.sittings)}.safetensors")).state_dict()
    changed = {name for name, weight in aligned.items() if not torch.equal(weight, base[name])}
    assert changed
    assert not any("norm" in name or "embd" in name for name in changed)
    rows = (base["token_embd.weight"] != pretrained["token_embd.weight"]).any(dim=1).nonzero()[:, 0].tolist()
    assert set(rows) <= set(range(*bpe.CHAT_ROWS))
    assert bpe.END in rows


@pytest.mark.slow
def test_merged_weights_compute_what_the_parts_compute(work: Work) -> None:
    """An adapted model and its merged copy give the same logits, and a full rank loses nothing."""
    parts, whole = load_adapted(PLAN, work), load_model(PLAN, work.file("aligned.safetensors"))
    ids = torch.arange(40).reshape(2, 20)
    with torch.no_grad():
        assert torch.allclose(parts(ids), whole(ids), atol=1e-5)
        base = load_model(PLAN, work.file("base.safetensors"))
        assert torch.allclose(merged(adapted(base, whole, 64))(ids), whole(ids), atol=1e-3)
        assert len(list(low_rank_parts(parts))) == 7 * len(parts.blk)


@pytest.mark.slow
def test_llama_cpp_adds_the_adapter_as_torch_does(work: Work, tmp_path: Path) -> None:
    """Base with the adapter gives the low-rank model's logits, which proves the order of q's and k's rows."""
    llama_cpp = pytest.importorskip("llama_cpp")
    tokenizer = bpe.load(work.file("tokenizer.json"))
    model, base = load_adapted(PLAN, work), load_model(PLAN, work.file("base.safetensors"))
    export(base, tokenizer, ROLES["base"], tmp_path / "base.gguf", quantised=False)
    export_adapter(model, tmp_path / "lora.gguf", quantised=False)
    f32 = 0  # GGML_TYPE_F32, for the cache too
    loaded = llama_cpp.Llama(
        str(tmp_path / "base.gguf"),
        lora_path=str(tmp_path / "lora.gguf"),
        n_ctx=128,
        logits_all=True,
        verbose=False,
        type_k=f32,
        type_v=f32,
    )
    ids = loaded.tokenize(told(1, 99)[0][:200].encode())[:96]
    loaded.eval(ids)
    with torch.no_grad():
        ours, bare = (each(torch.tensor([ids]))[0].numpy() for each in (model, base))
    theirs = np.array(loaded.scores[: len(ids)])
    assert np.abs(theirs - ours).max() < 1e-3
    assert np.abs(theirs - bare).max() > 1e-2
    loaded.close()


@pytest.mark.slow
def test_reading_in_pieces_gives_the_same_states(work: Work) -> None:
    """A text that is read in two pieces, with what was read kept, has the states of a text read at once."""
    model = load_model(PLAN, work.file("tuned.safetensors"))
    ids = torch.arange(60).reshape(2, 30)
    past = [Past() for _ in model.blk]
    with torch.no_grad():
        pieces = torch.cat((model.hidden(ids[:, :11], past), model.hidden(ids[:, 11:], past)), dim=1)
        assert torch.allclose(pieces, model.hidden(ids), atol=1e-5)


@pytest.mark.slow
def test_drawn_answers_have_the_probability_that_is_told(work: Work) -> None:
    """The kept log-probability is that of reading the answer again, and a seed draws the same answers."""
    model = load_model(PLAN, work.file("tuned.safetensors"))
    prompts = torch.arange(10, 20).repeat(3, 1)
    one, again = (draw(model, prompts, bpe.END, 12, seed=5) for _ in range(2))
    assert [answer.ids for answer in one] == [answer.ids for answer in again]
    for answer in one:
        ids = torch.tensor([[*range(10, 20), *answer.ids, *[bpe.END] * answer.ended]])
        with torch.no_grad():
            nats = read_again(model, ids, 10)
        assert nats == pytest.approx(-answer.log_probability, abs=1e-2)


def read_again(model: torch.nn.Module, ids: torch.Tensor, n_prompt: int) -> float:
    """Return the nats of all ids after the prompt."""
    log_probs = torch.log_softmax(model(ids[:, :-1]).float(), dim=-1)[0, n_prompt - 1 :]
    return -float(log_probs.gather(1, ids[0, n_prompt:, None]).sum())


@pytest.mark.parametrize(
    ("sentence", "fine"),
    [
        ("The fox ran.", True),
        ('"Who is there?" asked the fox.', True),
        ("the fox ran.", False),
        ("The fox ran", False),
        ("He saw a owl.", False),
        ("He saw an fox.", False),
        ("The the fox ran.", False),
        ("It was very very late.", True),
        ("The fox <ran>.", False),
    ],
)
def test_a_well_formed_sentence(sentence: str, fine: bool) -> None:
    """Capital, end, articles, doubled words and stray signs are looked at; grammar is not."""
    assert list(well_formed_sentences(sentence)) == [fine]
    assert is_well_formed(sentence) is fine


def test_a_mention_is_a_whole_word() -> None:
    """The last word of a topic counts, also in the plural; a longer word that holds it does not."""
    assert mentions("old fox", "Two foxes came.")
    assert mentions("blueberry pie", "He ate pies.")
    assert mentions("fairy", "The fairies danced.")
    assert not mentions("fox", "A foxglove stood there.")
