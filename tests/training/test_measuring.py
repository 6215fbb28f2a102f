"""The measuring of the bundled pair: its figures in miniature, what is held out, and words it must not say."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

reason = "the training needs torch, tokenizers, safetensors and gguf: pip install 'baco-local[train]'"
for library in ("torch", "tokenizers", "safetensors", "gguf"):
    pytest.importorskip(library, reason=reason)

from baco_local.assemble import load  # noqa: E402
from tales.card import read_card  # noqa: E402
from tales.checks import n_mentions  # noqa: E402
from tales.compose import held_out_topics  # noqa: E402
from tales.config import HERE  # noqa: E402
from tales.corpus import holds_dropped_word, read_corpus  # noqa: E402
from tales.measure import (  # noqa: E402
    adapter_figures,
    agreement,
    bits_per_byte,
    collapse,
    dial,
    open_pair,
    requests,
    spearman,
    story_telling,
    tell,
)
from tales.pipeline import Work, publish  # noqa: E402
from tales.samples import answered, figures_table, fill_in, samples_text  # noqa: E402
from tiny_training import PLAN, told  # noqa: E402

SAMPLING = {"temperature": 0.8, "min_p": 0.05}


@pytest.fixture(scope="module")
def shipped(work: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the three files of a tiny pair."""
    folder = tmp_path_factory.mktemp("shipped")
    publish(PLAN, work, folder)
    return folder


@pytest.mark.slow
def test_all_figures_of_a_tiny_pair(shipped: Path) -> None:
    """Every group of figures comes from the files alone, and the model card takes them in."""
    topics = requests(3)
    with open_pair(shipped) as pair:
        aligned, base = ([each[0] for each in tell(pair, topics, 1, d, SAMPLING)] for d in (0.0, 10.0))
        neat, lively = (tell(pair, topics, 2, d, SAMPLING) for d in (0.0, 10.0))
        measured = {
            "bits_per_byte": {"base": bits_per_byte(shipped / "base.gguf", {"tales": told(2, 7)})},
            "stories": story_telling(topics, aligned, base),
            "agreement": agreement(shipped, pair, topics, aligned),
            "adapter": adapter_figures(shipped, pair, topics, aligned),
            "collapse": collapse(neat, lively, shipped),
            "dial": dial(pair, topics[:2], 2, SAMPLING, shipped, lambda _text: None),
        }
        samples = answered(pair, SAMPLING)
    assert measured["adapter"]["kl_aligned_adapter_nats"] < 0.01
    assert 0 <= measured["agreement"]["top1_agreement"] <= 1
    assert measured["agreement"]["kl_aligned_base_nats"] >= 0
    shares = [row["base_share"] for row in measured["dial"]["rows"]]
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert measured["bits_per_byte"]["base"]["tales"] > 1
    card = shipped / "README.md"
    card.write_text(
        "# x\n<!-- figures -->\nold\n<!-- /figures -->\n<!-- samples -->\n<!-- /samples -->\nend\n", "utf-8"
    )
    fill_in(card, "figures", figures_table(measured))
    fill_in(card, "samples", samples_text(samples))
    text = card.read_text("utf-8")
    assert "old" not in text
    assert text.endswith("end\n")
    assert text.count("* d = ") == 40


@pytest.mark.slow
def test_base_with_the_adapter_is_a_pair(shipped: Path) -> None:
    """The product loads base and adapter, and they answer as base and aligned do, token by token at first."""
    whole = load(base=shipped / "base.gguf", aligned=shipped / "aligned.gguf", calibrate=False)
    lora = load(base=shipped / "base.gguf", aligned_lora=shipped / "aligned-lora.gguf", calibrate=False)
    with whole, lora:
        prompt = "Tell me a story about a fox."
        one, other = (pair.generate(prompt, seed=1, diversity=10, max_tokens=20)[0].text for pair in (whole, lora))
        assert one == other
        assert lora.generate(prompt, seed=1, diversity=0, max_tokens=20)[0].tokens


def test_a_card_without_marks_is_refused(tmp_path: Path) -> None:
    """Figures are never written over a card that has no place for them."""
    (tmp_path / "README.md").write_text("# x\n", "utf-8")
    with pytest.raises(ValueError, match="no marks for figures"):
        fill_in(tmp_path / "README.md", "figures", "1")


@pytest.mark.parametrize(
    ("one", "other", "rho"),
    [((1, 2, 3), (5, 6, 9), 1.0), ((1, 2, 3), (9, 6, 5), -1.0), ((1, 2, 3, 4), (1, 3, 3, 5), 0.949)],
)
def test_spearman(one: tuple[float, ...], other: tuple[float, ...], rho: float) -> None:
    """Ranks are correlated, and equal values share a rank."""
    assert spearman(one, other) == rho


def test_every_held_out_topic_is_named_in_its_request() -> None:
    """There are a hundred requests in three wordings, and each names its topic once, with a fitting article."""
    asked = requests(100)
    assert len({each.request for each in asked}) == 100
    assert {each.topic for each in asked} < set(held_out_topics())
    for each in asked:
        assert each.topic in each.request
        assert n_mentions(each.topic, each.request) == 1
        assert " a o" not in each.request
        assert " an h" not in each.request.replace("an hourglass", "")


@pytest.mark.slow
def test_the_split_is_kept(shared_data: Path) -> None:
    """No held-out book, novel or story is among the training texts, and no short story is about a held-out topic."""
    corpus = read_corpus(shared_data / "corpus")
    split = tomllib.loads((HERE / "split.toml").read_text("utf-8"))
    assert len(split["books"]) == 3
    trained = {
        line for texts in corpus.train.values() for text in texts for line in text.split("\n") if len(line) > 150
    }
    for name, texts in corpus.held_out.items():
        assert texts, name
        assert not {line for text in texts for line in text.split("\n")} & trained, name
    for story in corpus.train["tinystories"]:
        assert all(story.lower().count(topic) < 2 for topic in held_out_topics())


@pytest.mark.model
@pytest.mark.slow
def test_two_thousand_answers_of_base_hold_no_dropped_word(tales: Path) -> None:
    """At d = 10 and the card's settings base alone says none of the words that were kept out of its texts."""
    sampling = read_card(tales / "card.json")["sampling"]
    with load(base=tales / "base.gguf", aligned=tales / "aligned.gguf", n_parallel=32, calibrate=False) as pair:
        prompts = [each.request for each in requests(100)]
        answers = pair.generate(prompts, n=20, seed=7, diversity=10, max_tokens=48, **sampling)
    assert len(answers) == 2000
    assert [answer.text for answer in answers if holds_dropped_word(answer.text)] == []
