"""Fixtures that several rooms share; they are factories, and they skip with a reason what a newcomer lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of development data beside the repository, or skip."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the development data in ../shared/data, which a plain clone does not have")
    return folder


@pytest.fixture(scope="session")
def tales() -> Path:
    """Return the folder of the bundled pair."""
    return ROOT / "models" / "tales"
