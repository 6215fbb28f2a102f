"""What the look into a file finds, and how it refuses what llama.cpp should never see."""

from __future__ import annotations

import os
from pathlib import Path

import gguf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.backend.gguf_file import FILE_TYPES, TENSOR_TYPES, check_adapter, check_model, describe, read_header
from baco_local.errors import BacoError, ModelFileError, ModelNotFoundError
from bad_gguf import ADAPTER, BAD_ADAPTERS, BAD_MODELS, GOOD, LORA, MODEL, WEIGHTS
from gguf_bytes import Entry, gguf_bytes
from synthetic_gguf import Quant, byte_pair, write_model
from tiny_models import SHAPE


@pytest.mark.parametrize("case", BAD_MODELS)
def test_bad_model_is_refused_in_one_line_that_names_file_and_reason(case: str, tmp_path: Path) -> None:
    """Every kind of bad file raises ModelFileError with its path and what is wrong, on one line."""
    data, words = BAD_MODELS[case]
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    with pytest.raises(ModelFileError) as caught:
        check_model(path)
    message = str(caught.value)
    assert str(path) in message
    assert words in message
    assert "\n" not in message


def test_good_model_passes_and_is_described(tmp_path: Path) -> None:
    """The file that the bad ones are made from is itself accepted."""
    path = tmp_path / "model.gguf"
    path.write_bytes(GOOD)
    summary = check_model(path)
    assert (summary.architecture, summary.n_layers, summary.n_vocab, summary.n_ctx_train) == ("llama", 2, 4, 64)
    assert (summary.kind, summary.quantisation, summary.n_parameters) == ("model", "F32", 32)
    assert summary.size_bytes == len(GOOD)


def test_missing_file_suggests_a_near_name(tmp_path: Path) -> None:
    """A path that does not exist raises ModelNotFoundError, exit code 5, and names a file that looks alike."""
    (tmp_path / "stories.gguf").write_bytes(GOOD)
    with pytest.raises(ModelNotFoundError, match=r"does not exist; did you mean stories\.gguf\?") as caught:
        check_model(tmp_path / "storys.gguf")
    assert caught.value.exit_code == 5


def test_path_below_a_missing_folder_is_not_found(tmp_path: Path) -> None:
    """A missing folder is reported like a missing file."""
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        check_model(tmp_path / "nowhere" / "model.gguf")


def test_folder_names_the_models_inside_it(tmp_path: Path) -> None:
    """A folder is refused, and the message says which files could have been meant."""
    (tmp_path / "a.gguf").write_bytes(GOOD)
    with pytest.raises(ModelFileError, match=r"is a folder; name one of its files: a\.gguf"):
        check_model(tmp_path)
    (tmp_path / "a.gguf").unlink()
    with pytest.raises(ModelFileError, match="no GGUF file in it"):
        check_model(tmp_path)


def test_unreadable_path_says_why(tmp_path: Path) -> None:
    """What the operating system refuses to open becomes our error, not an OSError."""
    with pytest.raises(ModelFileError, match="cannot be read: File name too long"):
        check_model(tmp_path / ("x" * 300 + ".gguf"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_forbidden_file_says_why(tmp_path: Path) -> None:
    """A file without read permission is reported as such."""
    path = tmp_path / "model.gguf"
    path.write_bytes(GOOD)
    path.chmod(0)
    with pytest.raises(ModelFileError, match="Permission denied"):
        check_model(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in its file system")
def test_pipe_is_no_regular_file(tmp_path: Path) -> None:
    """A named pipe is refused at once instead of being waited for."""
    os.mkfifo(tmp_path / "model.gguf")
    with pytest.raises(ModelFileError, match="is no regular file"):
        check_model(tmp_path / "model.gguf")


SPLIT: dict[str, Entry] = {"split.count": 2, "split.no": 0, "split.tensors.count": 2}


def test_split_model_with_a_missing_part_names_it(tmp_path: Path) -> None:
    """Of a split model all parts must lie beside the first."""
    first = tmp_path / "m-00001-of-00002.gguf"
    first.write_bytes(gguf_bytes(MODEL | SPLIT, WEIGHTS))
    with pytest.raises(ModelFileError, match=r"is one of 2 parts; m-00002-of-00002\.gguf should lie beside it"):
        check_model(first)


def test_later_part_names_the_first(tmp_path: Path) -> None:
    """Given the second part of a split model, the message names the file to give."""
    later = tmp_path / "m-00002-of-00002.gguf"
    later.write_bytes(gguf_bytes(MODEL | SPLIT | {"split.no": 1}, WEIGHTS))
    with pytest.raises(ModelFileError, match=r"give its first, m-00001-of-00002\.gguf"):
        check_model(later)


def test_whole_split_model_is_described_as_one(tmp_path: Path) -> None:
    """Sizes and parameters of all parts are added up; a part that is cut off is named."""
    first, second = tmp_path / "m-00001-of-00002.gguf", tmp_path / "m-00002-of-00002.gguf"
    first.write_bytes(gguf_bytes(MODEL | SPLIT, WEIGHTS))
    rest = gguf_bytes({"split.no": 1, "split.count": 2}, {"output_norm.weight": (8,)})
    second.write_bytes(rest)
    summary = check_model(first)
    assert summary.parts == (first, second)
    assert summary.n_parameters == 40
    assert summary.size_bytes == first.stat().st_size + len(rest)
    second.write_bytes(rest[:-8])
    with pytest.raises(ModelFileError, match=r"m-00002-of-00002\.gguf is cut off"):
        check_model(first)


@pytest.mark.parametrize("case", BAD_ADAPTERS)
def test_bad_adapter_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    """What cannot be an adapter of the model raises ModelFileError with the reason."""
    model, adapter = tmp_path / "model.gguf", tmp_path / "adapter.gguf"
    model.write_bytes(GOOD)
    data, words = BAD_ADAPTERS[case]
    adapter.write_bytes(data)
    with pytest.raises(ModelFileError) as caught:
        check_adapter(adapter, describe(model))
    assert words in str(caught.value)
    assert str(adapter) in str(caught.value)


def test_adapter_for_the_same_architecture_passes(tmp_path: Path) -> None:
    """An adapter that names the model's architecture is accepted; whether its shapes fit only llama.cpp can say."""
    model, adapter = tmp_path / "model.gguf", tmp_path / "adapter.gguf"
    model.write_bytes(GOOD)
    adapter.write_bytes(gguf_bytes(ADAPTER, LORA))
    assert check_adapter(adapter, describe(model)).kind == "adapter"


@given(
    entries=st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1),
        st.one_of(
            st.text(st.characters(codec="utf-8")),
            st.booleans(),
            st.integers(-(2**63), 2**63 - 1),
            st.floats(allow_nan=False),
            st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=9),
        ),
        max_size=6,
    ).filter(lambda entries: "general.alignment" not in entries),
    tensors=st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1), st.lists(st.integers(1, 9), max_size=4), max_size=4
    ),
)
def test_what_was_written_is_read(
    entries: dict[str, Entry], tensors: dict[str, list[int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any metadata and any tensor table come back as they were written, and the file is exactly long enough."""
    path = tmp_path_factory.mktemp("written") / "any.gguf"
    path.write_bytes(gguf_bytes(entries, tensors))
    header = read_header(path)
    assert header.values == {key: tuple(v) if isinstance(v, list) else v for key, v in entries.items()}
    assert {t.name: list(t.shape) for t in header.tensors} == tensors
    assert header.needed_bytes <= header.file_bytes


@given(data=st.data())
def test_damage_never_raises_anything_but_our_errors(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any bytes of a good file may be changed or cut: the answer is a summary or one line of ours that names it."""
    damaged = bytearray(GOOD)
    for at, value in data.draw(st.lists(st.tuples(st.integers(4, len(GOOD) - 1), st.integers(0, 255)), max_size=8)):
        damaged[at] = value
    path = tmp_path_factory.mktemp("damaged") / "model.gguf"
    path.write_bytes(damaged[: data.draw(st.integers(0, len(GOOD)))])
    answer = ""
    try:
        answer = str(check_model(path).path)
    except BacoError as error:
        answer = str(error)
    assert str(path) in answer


def test_tensor_types_are_those_of_the_gguf_package() -> None:
    """Names and block sizes agree with the reference implementation for every type that both know."""
    theirs = {t.value: (t.name, *gguf.GGML_QUANT_SIZES[t]) for t in gguf.GGMLQuantizationType}
    both = TENSOR_TYPES.keys() & theirs.keys()
    assert len(both) > 30
    assert {kind: TENSOR_TYPES[kind] for kind in both} == {kind: theirs[kind] for kind in both}


def test_file_types_are_those_of_the_gguf_package() -> None:
    """File type numbers carry the names that llama.cpp gives them."""
    for number, name in FILE_TYPES.items():
        assert gguf.LlamaFileType(number).name.removeprefix("ALL_").removeprefix("MOSTLY_").startswith(name)


def test_models_written_by_the_gguf_package_are_described(tmp_path: Path) -> None:
    """Quantised weights, chat template, name and cache widths are read from a real writer's file."""
    path = tmp_path / "chat.gguf"
    write_model(path, SHAPE, Quant.Q8_0, vocabulary=byte_pair(SHAPE.vocab, chat=True))
    summary = describe(path)
    assert summary.name == "synthetic chat"
    assert summary.quantisation == "Q8_0"
    assert summary.chat_template is not None
    assert summary.chat_template.startswith("{% for m in messages %}")
    assert (summary.cache_width_k, summary.cache_width_v) == (2 * 2 * 16, 2 * 2 * 16)
    assert summary.n_parameters > sum(a * b for a, b in SHAPE.matrices().values())


def test_cache_width_adds_up_layers_of_different_width(tmp_path: Path) -> None:
    """A list of KV heads is summed layer by layer, and explicit key and value lengths are used."""
    path = tmp_path / "model.gguf"
    more: dict[str, Entry] = {
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": [2, 0],
        "llama.attention.key_length": 10,
        "llama.attention.value_length": 6,
    }
    path.write_bytes(gguf_bytes(MODEL | more, WEIGHTS))
    summary = describe(path)
    assert (summary.cache_width_k, summary.cache_width_v) == (20, 12)


def test_every_known_bad_file_of_the_development_data_is_refused(shared_data: Path) -> None:
    """The vocabularies of the development data hold no weights, and its models are accepted."""
    for path in sorted((shared_data / "models" / "vocab").glob("*.gguf")):
        with pytest.raises(ModelFileError, match="holds a vocabulary and no weights"):
            check_model(path)
    models = sorted((shared_data / "models").glob("*.gguf"))
    assert [check_model(path).n_vocab for path in models] == [512, 32000, 512]
    assert describe(shared_data / "models" / "vocab" / "ggml-vocab-phi-3.gguf").n_vocab == 32064
