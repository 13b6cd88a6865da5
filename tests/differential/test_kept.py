"""Tapes that once showed a difference or a fault, as short as they go; R01 holds for each."""

from pathlib import Path

import pytest

from engine.campaign import again

KEPT = sorted((Path(__file__).parent / "kept").glob("*.txt"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_kept_tapes(path: Path):
    """R01."""
    assert again(path) == ""
