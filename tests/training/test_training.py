"""The training of the bundled pair in miniature: tiny text, a tiny model, all steps to GGUF."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

reason = "the training needs torch, tokenizers, safetensors and gguf: pip install 'baco-local[train]'"
torch = pytest.importorskip("torch", reason=reason)
for library in ("tokenizers", "safetensors", "gguf"):
    pytest.importorskip(library, reason=reason)

from tales import tokenizer as bpe  # noqa: E402
from tales.card import read_card, update_card  # noqa: E402
from tales.compose import compose, held_out_topics, lexicon  # noqa: E402
from tales.config import read_plan  # noqa: E402
from tales.corpus import clean_book, holds_dropped_word  # noqa: E402
from tales.export import ROLES, export  # noqa: E402
from tales.model import Llama  # noqa: E402
from tales.pipeline import Work, load_model, prepare, pretrain, publish  # noqa: E402
from tales.requests import Conversation, Turn, careless, conversation  # noqa: E402
from tiny_training import N_PRETRAINING, PLAN, SOURCES, tiny_corpus, told, trained  # noqa: E402


def weights(work: Work, name: str) -> dict[str, Any]:
    """Return the weights of one model."""
    return dict(load_model(PLAN, work.file(f"{name}.safetensors")).state_dict())


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_weights(work: Work, tmp_path: Path) -> None:
    """A run that is stopped twice gives the same weights, bit for bit, as one without a stop."""
    resumed = trained(tmp_path, stops=(1, 3))
    for name in ("base", "tuned", "aligned"):
        whole = weights(work, name)
        assert all(torch.equal(whole[key], tensor) for key, tensor in weights(resumed, name).items())


@pytest.mark.slow
def test_training_lowers_the_loss(tmp_path: Path) -> None:
    """A hundred and twenty steps on a handful of stories end well below the loss of the first step."""
    plan = replace(PLAN, sittings=(replace(PLAN.sittings[0], n_steps=120),))
    prepare(plan, Work(tmp_path), Path(), tiny_corpus())
    reports = list(pretrain(plan, Work(tmp_path)))
    assert reports[-1].value < 0.8 * reports[0].value


def test_a_model_that_grows_computes_the_same() -> None:
    """Added layers change no logit before they are trained, whatever the number of layers."""
    model = Llama(replace(PLAN.shape, n_layers=2))
    ids = torch.arange(24).reshape(2, 12)
    for n_layers in (2, 3, 5):
        deep = model.deepened(n_layers)
        assert len(deep.blk) == n_layers
        assert torch.equal(deep(ids), model(ids))


@pytest.mark.slow
def test_publishing_writes_both_files_and_keeps_what_others_wrote(work: Work, tmp_path: Path) -> None:
    """Both GGUF files and the card are written; a key of the card that is not ours stays."""
    update_card(tmp_path / "card.json", {"calibration": [1, 2]})
    publish(PLAN, work, tmp_path)
    card = read_card(tmp_path / "card.json")
    assert card["calibration"] == [1, 2]
    assert all((tmp_path / name).stat().st_size > 0 for name in card["files"].values())
    assert card["n_tokens_seen"]["base"] == N_PRETRAINING * 4 * 32
    assert set(card["losses"]["aligned"]) == {"novels", "tales", "tinystories", "answers"}


@pytest.mark.slow
def test_the_exported_pair_decodes(work: Work, tmp_path: Path) -> None:
    """llama.cpp loads the quantised pair, finds one vocabulary, its own ends and one template, and decodes."""
    llama_cpp = pytest.importorskip("llama_cpp")
    publish(PLAN, work, tmp_path)
    base, aligned = (
        llama_cpp.Llama(str(tmp_path / f"{name}.gguf"), n_ctx=128, verbose=False) for name in ("base", "aligned")
    )
    assert (base.token_bos(), base.token_eos(), aligned.token_eos()) == (0, 0, 4)
    assert [name for name in base.metadata if "template" in name] == []
    assert "assistant" in aligned.metadata["tokenizer.chat_template"]
    for model in (base, aligned):
        assert llama_cpp.llama_vocab_get_add_bos(model._model.vocab)
        ids = model.tokenize(b"Once upon a time")
        assert len(list(islice(model.generate(ids, temp=0.8), 16))) == 16
        model.close()


@pytest.mark.slow
def test_llama_cpp_computes_what_torch_computes(work: Work, tmp_path: Path) -> None:
    """The logits of an F32 export equal torch's at every position, which proves the layout of q and k."""
    llama_cpp = pytest.importorskip("llama_cpp")
    model, tokenizer = load_model(PLAN, work.file("aligned.safetensors")), bpe.load(work.file("tokenizer.json"))
    export(model, tokenizer, ROLES["aligned"], tmp_path / "f32.gguf", quantised=False)
    f32 = 0  # GGML_TYPE_F32, for the cache too
    loaded = llama_cpp.Llama(
        str(tmp_path / "f32.gguf"), n_ctx=128, logits_all=True, verbose=False, type_k=f32, type_v=f32
    )
    text = told(1, 99)[0][:200]
    ids = loaded.tokenize(text.encode())[:96]
    assert ids == [bpe.END_OF_TEXT, *tokenizer.encode(text).ids][:96]
    loaded.eval(ids)
    with torch.no_grad():
        ours = model.cpu()(torch.tensor([ids]))[0].numpy()
    assert np.abs(np.array(loaded.scores[: len(ids)]) - ours).max() < 1e-3
    loaded.close()


@pytest.mark.slow
def test_the_chat_template_writes_what_the_model_was_tuned_on(work: Work, tmp_path: Path) -> None:
    """System text, history and the opening of the answer become the ids that the second stage trained on."""
    llama_cpp = pytest.importorskip("llama_cpp")
    chat_format = pytest.importorskip("llama_cpp.llama_chat_format")
    publish(PLAN, work, tmp_path)
    loaded = llama_cpp.Llama(str(tmp_path / "aligned.gguf"), vocab_only=True, verbose=False)
    template = loaded.metadata["tokenizer.chat_template"]
    render = chat_format.Jinja2ChatFormatter(template, eos_token="<|end|>", bos_token="<|endoftext|>")
    said = [("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello!"), ("user", "A fox")]
    prompt = render(messages=[{"role": role, "content": text} for role, text in said]).prompt
    held = Conversation((Turn("Hi", "Hello!"), Turn("A fox", "")), "Be kind.")
    ids, learned = bpe.encode_conversation(held, bpe.load(work.file("tokenizer.json")))
    n_after = 2  # the end of the empty answer, and the line break behind it
    assert loaded.tokenize(prompt.encode(), special=True) == ids[:-n_after]
    assert [token for token, bit in zip(ids, learned, strict=True) if bit].count(bpe.END) == 2
    loaded.close()


def test_the_shipped_plan_is_a_plan() -> None:
    """The one configuration file reads, and its shares name sources that exist."""
    assert set(read_plan().sources) == set(SOURCES)


def test_composed_text_never_holds_a_held_out_topic_as_its_topic() -> None:
    """No list that stories and requests draw from holds a held-out topic."""
    words = {noun.word for nouns in lexicon().nouns.values() for noun in nouns}
    assert not words & set(held_out_topics())


def test_composing_is_a_function_of_the_seed() -> None:
    """The same seed writes the same stories, conversations and question documents."""
    for make in (compose, lambda rng: conversation(rng, ["A. B. C."]), lambda rng: careless(rng, ["A. B."])):
        assert [make(random.Random(seed)) for seed in range(30)] == [make(random.Random(seed)) for seed in range(30)]


def test_composed_text_is_whole() -> None:
    """No story or conversation keeps a mark of the grammar, and answers begin with a capital."""
    for seed in range(300):
        rng = random.Random(seed)
        turns = conversation(rng, []).turns
        for text in (compose(rng).text, *(turn.answer for turn in turns), *(turn.user for turn in turns)):
            assert not set("[]|{}<>") & set(text), text
        for turn in turns:
            assert turn.answer
            assert not turn.answer[0].islower(), turn.answer


def test_books_are_cleaned() -> None:
    """Headings, captions and passages with dropped words go; lines are joined, quotation marks made straight."""
    story = "\u201cWell,\u201d said the\nfox -- and\nran. " + "So it went on and on. " * 30
    book = (
        f"PREFACE\n\n[Illustration: A fox]\n\nCHAPTER I\n\n{story}\n\nHe was a murderer, they said. {story}\n\n{story}"
    )
    documents = clean_book(book)
    assert len(documents) == 2
    assert documents[0].startswith('"Well," said the fox\u2014and ran. So it')
    assert not any(holds_dropped_word(document) or "Illustration" in document for document in documents)


def test_a_sitting_leaves_the_mean_that_was_asked_for(tmp_path: Path) -> None:
    """What the second sitting leaves is, by its parts, the first one's grown weights and its own."""
    left = {}
    for name, average in (("own", ()), ("mixed", (0.25, 0.75))):
        plan = replace(PLAN, sittings=(PLAN.sittings[0], replace(PLAN.sittings[1], average=average)))
        work = Work(tmp_path / name)
        prepare(plan, work, Path(), tiny_corpus())
        list(pretrain(plan, work))
        left[name] = load_model(plan, work.file("sitting-2.safetensors"))
    first = load_model(PLAN, Work(tmp_path / "own").file("sitting-1.safetensors"), PLAN.sittings[0].n_layers)
    grown, own, mixed = first.deepened(3).state_dict(), left["own"].state_dict(), left["mixed"].state_dict()
    assert all(torch.allclose(mixed[key], 0.25 * grown[key] + 0.75 * own[key]) for key in mixed)


@pytest.mark.parametrize("average", [(1.0,), (0.5, 0.6), (0.2, 0.3, 0.5)])
def test_an_average_has_a_part_for_each_sitting(average: tuple[float, ...]) -> None:
    """Parts that are too few, too many or not a whole are refused."""
    with pytest.raises(ValueError, match="2 parts that sum to 1"):
        replace(PLAN, sittings=(PLAN.sittings[0], replace(PLAN.sittings[1], average=average)))
