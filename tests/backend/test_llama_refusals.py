"""What llama.cpp itself refuses, tried in a child process, where an abort would be seen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bad_gguf import BAD_ADAPTERS, BAD_MODELS, SPOILED

pytestmark = pytest.mark.model

CHILD = """
import json, sys
from pathlib import Path
from baco_local.backend.base import Feed
from baco_local.backend.llama import load_weights, open_model
from baco_local.config import LoadOptions
from baco_local.errors import BacoError

options = LoadOptions(ctx_size=64, threads=1)
for model, adapter in json.loads(sys.argv[1]):
    answer = {"error": "", "message": "nothing was raised", "log": ""}
    try:
        weights = load_weights(Path(model), options)
        opened = open_model(weights, options, n_sequences=1, adapter=adapter and Path(adapter))
        opened.vocab.tokenize("aA0 \u6f22", trusted=True)
        opened.feed([Feed(0, 0, (1, 2, 3))])
    except BacoError as error:
        answer = {"error": type(error).__name__, "message": str(error), "log": "".join(error.log)}
    print(json.dumps(answer), flush=True)
"""


def refusals(pairs: list[tuple[Path, Path | None]]) -> list[dict[str, str]]:
    """Load models and adapters in one child process and return what each raised; dead = the process ended there."""
    names = json.dumps([[str(model), adapter and str(adapter)] for model, adapter in pairs])
    child = subprocess.run([sys.executable, "-c", CHILD, names], capture_output=True, text=True, check=False)
    answers = [json.loads(line) for line in child.stdout.splitlines()]
    assert len(answers) == len(pairs), f"the process ended over {pairs[len(answers)]}: {child.stderr[-500:]}"
    assert child.returncode == 0
    assert child.stderr == ""
    return answers


@pytest.fixture(scope="module")
def spoiled(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Return what every spoiled model raised."""
    folder = tmp_path_factory.mktemp("spoiled")
    paths = []
    for number, (source, spoil, _) in enumerate(SPOILED.values()):
        paths.append(folder / f"{number}.gguf")
        paths[-1].write_bytes(spoil((tiny / f"{source}.gguf").read_bytes()))
    return dict(zip(SPOILED, refusals([(path, None) for path in paths]), strict=True))


@pytest.mark.parametrize("case", SPOILED)
def test_model_that_only_llama_cpp_can_refuse(case: str, spoiled: dict[str, dict[str, str]]) -> None:
    """llama.cpp's own reason stands in our one-line error, the whole log beside it, and nothing is printed."""
    answer = spoiled[case]
    assert answer["error"] == "ModelFileError"
    assert SPOILED[case][2] in answer["message"]
    assert "\n" not in answer["message"]
    assert answer["log"] or case == "byte without token"


def test_no_bad_file_ends_the_process(tmp_path: Path) -> None:
    """Every bad model, given to the loader as a user would give it, is refused, and the process lives on."""
    paths = []
    for number, (data, _) in enumerate(BAD_MODELS.values()):
        paths.append(tmp_path / f"{number}.gguf")
        paths[-1].write_bytes(data)
    answers = refusals([(path, None) for path in [*paths, tmp_path, tmp_path / "missing.gguf"]])
    assert {answer["error"] for answer in answers[:-1]} == {"ModelFileError"}
    assert answers[-1]["error"] == "ModelNotFoundError"


def test_no_bad_adapter_ends_the_process(tiny: Path, tmp_path: Path) -> None:
    """Every bad adapter is refused, one for another shape of model and one for a missing tensor included."""
    adapters = [tiny / "wider.gguf", tiny / "base.gguf", tmp_path / "missing.gguf", tmp_path / "renamed.gguf"]
    adapters[-1].write_bytes((tiny / "adapter.gguf").read_bytes().replace(b"blk.1.ffn_up", b"blk.9.ffn_up"))
    for number, (data, _) in enumerate(BAD_ADAPTERS.values()):
        adapters.append(tmp_path / f"{number}.gguf")
        adapters[-1].write_bytes(data)
    answers = refusals([(tiny / "base.gguf", adapter) for adapter in adapters])
    assert [a["error"] for a in answers] == ["ModelFileError"] * 2 + ["ModelNotFoundError"] + ["ModelFileError"] * (
        len(adapters) - 3
    )
    assert "is not an adapter for base.gguf" in answers[0]["message"]
    assert answers[0]["log"]
