"""Sobol indices of a finished `saltelli` sweep: which field decides a measure, and how surely.

A measure is its mean over the seeds at each point. The same seeds are used at every point, so that
mean is a function of the fields alone, and the indices share out its variance over the design. The
bands are bootstraps of the design; they know nothing of seeds the study did not take.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
import polars as pl

from engine.study.plan import LoadedStudy, sobol_problem
from engine.study.workers import StudyError

RESAMPLES = 1_000
RESAMPLING_SEED = 1
CONFIDENCE = 0.95
PLACES = 6  # decimals of an index: what lies beyond differs between mathematical libraries


class Index(msgspec.Struct, frozen=True):
    """One field's shares of the variance; `*_half` is half the width of a 95 % band."""

    field: str
    first: float
    first_half: float
    total: float
    total_half: float


class Sensitivity(msgspec.Struct, frozen=True):
    """One measure: its mean and deviation over the design; no index where it never changes."""

    column: str
    mean: float
    deviation: float
    points: int
    seeds: int
    indices: list[Index]


def sensitivities(
    study: LoadedStudy, rows: pl.DataFrame, columns: Sequence[str]
) -> list[Sensitivity]:
    """The indices of every column over the rows of a finished sweep.

    Raises StudyError for another design, a run that failed, or a column without numbers.
    """
    if study.study.design != "saltelli":
        design = study.study.design
        raise StudyError(f"{study.file}: $.design: expected saltelli for indices, got {design!r}")
    failed = rows.filter(pl.col("error") != "")
    if failed.height:
        first = failed.row(0, named=True)
        raise StudyError(f"indices need every run; run {first['run']} failed: {first['error']}")
    return [_of(study, rows, column) for column in columns]


def _of(study: LoadedStudy, rows: pl.DataFrame, column: str) -> Sensitivity:
    from SALib.analyze import sobol

    if column not in rows.columns or not rows[column].dtype.is_numeric():
        raise StudyError(f"measure: a row has no number {column!r}")
    seeds = study.study.seeds
    values = rows[column].to_numpy().reshape(-1, seeds).astype(np.float64).mean(axis=1)
    indices = []
    if np.ptp(values) > 0:
        found = sobol.analyze(
            sobol_problem(study.study),
            values,
            calc_second_order=False,
            num_resamples=RESAMPLES,
            conf_level=CONFIDENCE,
            seed=RESAMPLING_SEED,
        )
        columns = [found[name].tolist() for name in ("S1", "S1_conf", "ST", "ST_conf")]
        fields = [vary.field for vary in study.study.vary]
        indices = [
            Index(field, *(round(each, PLACES) for each in numbers))
            for field, *numbers in zip(fields, *columns, strict=True)
        ]
    return Sensitivity(
        column=column,
        mean=float(values.mean()),
        deviation=float(values.std()),
        points=len(values),
        seeds=seeds,
        indices=indices,
    )


def sensitivity_rows(found: Sensitivity) -> tuple[list[str], list[list[str]]]:
    """The indices of one measure as a table, the greatest total first."""
    heads = ["Field", "First", "95 % band", "Total", "95 % band"]
    ranked = sorted(found.indices, key=lambda each: -each.total)
    rows = [
        [
            each.field,
            _plain(each.first),
            f"{_plain(each.first - each.first_half)} to {_plain(each.first + each.first_half)}",
            _plain(each.total),
            f"{_plain(each.total - each.total_half)} to {_plain(each.total + each.total_half)}",
        ]
        for each in ranked
    ]
    return heads, rows


def _plain(value: float) -> str:
    return f"{value:.3f}".replace("-", "\u2212")
