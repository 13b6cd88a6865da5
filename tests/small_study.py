"""A small study to make runs of, and how a refusal of one reads."""

from pathlib import Path

import pytest

from engine.strict import ScenarioError
from engine.study.workers import StudyError
from small_scenario import write_small

STUDY = """
name = "small"
title = "a small <study>"
scenario = "small.toml"
seeds = 2
[[vary]]
field = "fund"
values = ["10", "100000"]
[[vary]]
field = "shock_ppm"
values = [1_000_000, 2_000_000]
"""


def write_study(folder: Path, *changes: tuple[str, str], text: str = STUDY) -> Path:
    write_small(folder)
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path = folder / "study.toml"
    path.write_text(text)
    return path


def parts(folder: Path) -> list[bytes]:
    """The bytes of every part of a sweep: of its rows and of its paths."""
    return [path.read_bytes() for path in sorted(folder.glob("*/part-*.parquet"))]


def refused(call, *arguments, **more) -> str:
    with pytest.raises((ScenarioError, StudyError)) as caught:
        call(*arguments, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)
