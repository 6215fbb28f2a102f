"""The documents keep their promises: the code in them runs, in order, with the bundled pair."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/python-api.md"])
def test_python_of_a_page_runs(page: str, tales: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever pastes the Python of a page, block after block, sees text and no error."""
    assert (tales / "base.gguf").is_file()
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    assert capsys.readouterr().out.strip()
