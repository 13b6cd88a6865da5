"""Tapes that once showed a difference, as short as they go; R01 must hold for each again."""

from pathlib import Path

import pytest

from engine.campaign import again

KEPT = sorted((Path(__file__).parent / "kept").glob("*.txt"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_kept_tapes(path: Path):
    """R01."""
    assert again(path) == ""
