from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import baco_local as baco
from baco_local import assemble
from baco_local.assemble import build_facts, inspect_pair, load, pairs_for
from baco_local.config import LoadOptions, Offload, OffloadKind, PairFiles
from baco_local.errors import MemoryPlanError, ModelFileError, ModelNotFoundError, PairError, UsageError
from baco_local.text.agreement import Verdict
from baco_local.types import FinishReason, Role
from synthetic_gguf import byte_pair, write_model, write_pair
from tiny_models import OPTIONS, SHAPE, write_tiny_models

SMALL = {"options": OPTIONS, "calibrate": False}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with tiny models of every kind."""
    folder = tmp_path_factory.mktemp("assembled")
    write_tiny_models(folder)
    write_model(folder / "other-words.gguf", SHAPE, vocabulary=byte_pair(512, added=("<tool>",)), seed=1)
    return folder


@pytest.mark.model
def test_two_files_write_one_text(tiny: Path) -> None:
    """Two files become a pair that streams with both models, has both descriptions, and is reproducible."""
    with load(base=tiny / "base.gguf", aligned=str(tiny / "aligned.gguf"), n_parallel=3, **SMALL) as pair:
        assert (pair.name, pair.n_parallel, pair.n_ctx) == ("base + aligned", 3, 1024)
        assert pair.infos[Role.BASE].path == str(tiny / "base.gguf")
        answers = pair.generate("Tell me.", n=3, seed=1, router="RAND", max_tokens=12, min_p=0.02)
        assert {t.speaker for answer in answers for t in answer.tokens} == set(Role)
        again = pair.generate("Tell me.", first_sample=2, seed=1, router="RAND", max_tokens=12, min_p=0.02)[0]
        assert again.text == answers[2].text


@pytest.mark.model
def test_an_adapter_makes_the_aligned_model(tiny: Path) -> None:
    """Base weights and an adapter are a pair: base alone is what it is beside any partner, aligned differs from it."""
    with load(base=tiny / "base.gguf", aligned_lora=tiny / "adapter.gguf", **SMALL) as pair:
        assert pair.infos[Role.ALIGNED].adapter == str(tiny / "adapter.gguf")
        assert "no chat template" in " ".join(pair.notes)  # the base file has none
        base, aligned = (pair.generate("Tell me.", seed=1, diversity=d, max_tokens=12)[0].text for d in (10, 0))
    with load(base=tiny / "base.gguf", aligned=tiny / "aligned.gguf", **SMALL) as two_files:
        assert two_files.generate("Tell me.", seed=1, diversity=10, max_tokens=12)[0].text == base
    with load(base=tiny / "base.gguf", aligned_lora=tiny / "adapter.gguf", lora_scale=0.0, **SMALL) as same:
        assert same.generate("Tell me.", seed=1, diversity=0, max_tokens=12)[0].text != aligned


@pytest.mark.model
def test_a_grammar_binds_a_real_pair(tiny: Path) -> None:
    """Both models write within one grammar, and the answer ends where the grammar does."""
    with load(base=tiny / "base.gguf", aligned=tiny / "aligned.gguf", **SMALL) as pair:
        knobs: dict[str, Any] = {"router": "RAND", "grammar": 'root ::= "yes" | "no"', "max_tokens": 9}
        answers = pair.generate("Well?", n=1, seed=1, **knobs)
        assert answers[0].text in ("yes", "no")
        assert answers[0].finish is FinishReason.END


@pytest.mark.model
@pytest.mark.parametrize(("diversity", "both"), [(0, False), (5, True)])
def test_a_recurrent_pair_writes_too(tiny: Path, diversity: float, both: bool) -> None:
    """Models that cannot take back what they read share prompts and write the same text in every room."""
    texts = []
    for n_parallel in (1, 3):
        with load(base=tiny / "mamba.gguf", aligned=tiny / "mamba.gguf", n_parallel=n_parallel, **SMALL) as pair:
            answers = pair.generate("Tell me.", n=3, seed=1, router="RAND", diversity=diversity, max_tokens=10)
            texts.append([answer.text for answer in answers])
            assert not pair.engine.can_cut
            assert {t.speaker for answer in answers for t in answer.tokens} == (set(Role) if both else {Role.ALIGNED})
    assert texts[0] == texts[1]


@pytest.mark.model
def test_a_long_prompt_is_read_in_pieces(tiny: Path) -> None:
    """A prompt of several batches gives the text that one batch gives."""
    texts = []
    for batch_size in (16, 512):
        options = LoadOptions(
            threads=1,
            batch_size=batch_size,
            cache_type_k=OPTIONS.cache_type_k,
            cache_type_v=OPTIONS.cache_type_v,
            flash_attention=OPTIONS.flash_attention,
        )
        with load(base=tiny / "base.gguf", aligned=tiny / "aligned.gguf", options=options, calibrate=False) as pair:
            texts.append(pair.generate("Tell me. " * 20, seed=1, router="RAND", max_tokens=8)[0].text)
    assert texts[0] == texts[1]


@pytest.mark.model
@pytest.mark.slow
def test_a_calibration_is_kept_for_these_files(tiny: Path, tmp_path: Path) -> None:
    """The first calibrated answer measures the pair and keeps it; a damaged or foreign file is measured again."""
    said: list[str] = []

    def answer(base: Path) -> str:
        both = {"base": base, "aligned": tiny / "aligned.gguf", "options": OPTIONS}
        with load(**both, cache_dir=tmp_path / "kept", on_progress=said.append, n_parallel=8) as pair:  # type: ignore[arg-type]
            return pair.generate("Hi.", seed=1, max_tokens=4)[0].text

    first = answer(tiny / "base.gguf")
    (kept,) = (tmp_path / "kept").iterdir()
    assert sum("measuring" in words for words in said) == 1
    assert answer(tiny / "base.gguf") == first
    assert sum("measuring" in words for words in said) == 1
    kept.write_text("{")
    assert answer(tiny / "base.gguf") == first
    assert sum("measuring" in words for words in said) == 2
    twin = tmp_path / "base.gguf"
    twin.write_bytes((tiny / "base.gguf").read_bytes())
    answer(twin)
    assert sum("measuring" in words for words in said) == 3


@pytest.mark.model
@pytest.mark.slow
def test_a_folder_that_cannot_be_written_costs_no_answer(tiny: Path, tmp_path: Path) -> None:
    """Where a calibration cannot be kept the pair answers all the same."""
    (tmp_path / "file").write_text("no folder")
    both = {"base": tiny / "base.gguf", "aligned": tiny / "aligned.gguf", "options": OPTIONS}
    with load(**both, cache_dir=tmp_path / "file" / "kept", n_parallel=8) as pair:  # type: ignore[arg-type]
        assert pair.generate("Hi.", seed=1, max_tokens=4)[0].tokens


@pytest.mark.model
def test_two_vocabularies_are_refused(tiny: Path) -> None:
    """Two models that split text differently are a PairError that names the first difference."""
    with pytest.raises(PairError, match="first difference"):
        load(base=tiny / "base.gguf", aligned=tiny / "spm.gguf", **SMALL)


@pytest.mark.model
def test_other_words_are_refused_before_weights_are_loaded(tiny: Path) -> None:
    """Files of other tokens are a PairError even where their weights could never be loaded: there is no long wait."""
    huge = LoadOptions(ctx_size=1 << 40)
    with pytest.raises(MemoryPlanError):
        load(base=tiny / "base.gguf", aligned=tiny / "aligned.gguf", options=huge)
    with pytest.raises(PairError, match="first difference"):
        load(base=tiny / "base.gguf", aligned=tiny / "spm.gguf", options=huge)


@pytest.mark.parametrize(
    ("files", "error", "words"),
    [
        ({"base": "no.gguf", "aligned": "base.gguf"}, ModelNotFoundError, "no.gguf"),
        ({"base": "base.gguf", "aligned": "no.gguf"}, ModelNotFoundError, "no.gguf"),
        ({"base": "base.gguf", "aligned_lora": "no.gguf"}, ModelNotFoundError, "no.gguf"),
        ({"base": "base.gguf", "aligned_lora": "aligned.gguf"}, ModelFileError, "adapter"),
        ({"base": "base.gguf", "aligned_lora": "wider.gguf"}, ModelFileError, "wider"),
        ({"base": "adapter.gguf", "aligned": "base.gguf"}, ModelFileError, "adapter"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    tiny: Path, files: dict[str, str], error: type[Exception], words: str
) -> None:
    """A file that is missing, or not what it should be, is named before anything is decoded."""
    with pytest.raises(error, match=words):
        load(**{role: tiny / name for role, name in files.items()}, **SMALL)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"base": "a.gguf"}, "the aligned model is missing"),
        ({"aligned": "a.gguf"}, "the base model is missing"),
        ({"pair": "tales", "base": "a.gguf", "aligned": "b.gguf"}, "not both"),
        ({"base": "a.gguf", "aligned": "b.gguf", "aligned_lora": "c.gguf"}, "not both"),
        ({"base": "a.gguf", "aligned": "b.gguf", "n_parallel": 0}, "n_parallel is 0"),
    ],
)
def test_wishes_that_contradict_themselves_are_refused(wish: dict[str, Any], words: str) -> None:
    """Half a pair, two pairs at once, and no room for an answer are errors of use."""
    with pytest.raises(UsageError, match=words):
        load(**wish)


def test_an_unknown_name_is_refused() -> None:
    """A pair that nobody knows is not found, with a hint."""
    with pytest.raises(ModelNotFoundError, match="did you mean 'tales'"):
        load("tails")


@pytest.mark.model
def test_looking_at_a_pair_loads_no_weights(tiny: Path, tmp_path: Path) -> None:
    """An inspection says what both files are and whether their vocabularies agree."""
    found = inspect_pair(tiny / "base.gguf", tiny / "aligned.gguf")
    assert found.agreement.verdict is Verdict.SAME
    assert (found.base.quantisation, found.notes) == (found.aligned.quantisation, ())
    assert inspect_pair(tiny / "base.gguf", tiny / "spm.gguf").agreement.verdict is Verdict.REFUSED
    with pytest.raises(ModelNotFoundError):
        inspect_pair(tiny / "base.gguf", tmp_path / "no.gguf")
    write_pair(tmp_path, SHAPE)


def test_the_build_can_be_told() -> None:
    """Llama.cpp's version is known without a model."""
    assert build_facts().version
    assert baco.load is load


def test_a_tiny_pair_is_loaded_once_per_core(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where the number of threads was said for either model, and not where a device may compute."""
    monkeypatch.setattr(assemble, "usable_cores", lambda: 4)
    files = PairFiles(name="tiny", base=tiny / "base.gguf", aligned=tiny / "aligned.gguf")
    assert pairs_for(files, LoadOptions(), LoadOptions()) == 4
    assert pairs_for(files, LoadOptions(), LoadOptions(threads=2)) == 1
    monkeypatch.setattr(assemble, "PARAMETERS_PER_THREAD", 1000)
    assert pairs_for(files, LoadOptions()) == 1
    monkeypatch.undo()
    monkeypatch.setattr(assemble, "usable_cores", lambda: 4)
    facts = dataclasses.replace(build_facts(), supports_gpu_offload=True)
    monkeypatch.setattr(assemble, "build_facts", lambda: facts)
    assert pairs_for(files, LoadOptions()) == 1
    assert pairs_for(files, LoadOptions(offload=Offload(OffloadKind.LAYERS, 0))) == 4
