"""What many runs do over tape time: how long none is deleveraged, and how the fund fares.

Runs that begin at other times are laid over the first of them: times are those of its tape. A curve
ends where the shortest of its runs does, so every run is watched all along it and none is censored.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from engine.study.curve import share
from engine.study.workers import StudyError

QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}
NEEDED = ("start_ns", "end_ns", "first_adl_ns", "error")


def survival(rows: pl.DataFrame, by: Sequence[str] = ()) -> pl.DataFrame:
    """Share of runs in which no ADL has happened until a time: the Kaplan-Meier curve, in steps.

    `rows` are those of a comparison or a sweep; the runs with equal values of the columns `by` give
    one curve. A row of the result is a step: `time_ns` of the tape, `runs` and `without_adl`,
    `share`, and `low` and `high` of its 95 % band (Wilson's, at each time by itself). The first row
    is where the runs begin, the last where they end. Failed runs are left out. Raises StudyError
    for rows without these columns.
    """
    found = [
        {**key, "time_ns": time_ns, "runs": seen.of, "without_adl": seen.count,
         "share": seen.count / seen.of, "low": seen.low, "high": seen.high}
        for key, part in _groups(rows, by)
        for time_ns, seen in _steps(part)
    ]  # fmt: skip
    return pl.DataFrame(found, infer_schema_length=None)


def _groups(rows: pl.DataFrame, by: Sequence[str]) -> Iterator[tuple[dict[str, Any], pl.DataFrame]]:
    """The runs that did not fail, by equal values of these columns, in order of appearance."""
    if missing := [name for name in (*by, *NEEDED) if name not in rows.columns]:
        raise StudyError(f"over time: expected rows of runs; they have no column {missing[0]!r}")
    good = rows.filter(pl.col("error") == "")
    if not by:
        yield from [({}, good)] if good.height else []
        return
    for values, part in good.group_by(list(by), maintain_order=True):
        yield dict(zip(by, values, strict=True)), part


def _steps(part: pl.DataFrame) -> Iterator[tuple[int, Any]]:
    """The times at which the curve of these runs changes, and the share that is left then."""
    begin_ns = int(part["start_ns"][0])
    span_ns = int((part["end_ns"] - part["start_ns"]).min())
    after = (part["first_adl_ns"] - part["start_ns"]).drop_nulls().sort()
    after = after.filter(after <= span_ns)
    left, count = part.height, part.height
    yield begin_ns, share(left, count)
    for elapsed_ns, happened in after.value_counts(sort=False).sort(by=after.name).iter_rows():
        left -= happened
        yield begin_ns + elapsed_ns, share(left, count)
    yield begin_ns + span_ns, share(left, count)


def fund_fan(
    rows: pl.DataFrame, paths: pl.DataFrame, by: Sequence[str] = (), since_start: bool = False
) -> pl.DataFrame:
    """Quantiles of the fund's balance over the runs, at evenly spaced times of their tape.

    `rows` and `paths` are those of a comparison or a sweep; the runs with equal values of the
    columns `by` give one fan. Columns: `time_ns`, `runs`, and q05, q25, q50, q75, q95 in the
    smallest unit of money, between two runs in proportion; with `since_start` of what the fund has
    more than at the beginning of its run. Raises StudyError for frames without what is needed.
    """
    found = []
    if since_start:
        money = pl.col("fund_quote")
        paths = paths.with_columns(money - money.first().over("run"))
    for key, part in _groups(rows, by):
        mine = paths.filter(pl.col("run").is_in(part["run"].implode()))
        place = pl.int_range(pl.len()).over("run").alias("place")
        quantiles = (
            pl.col("fund_quote").quantile(q, "linear").alias(name) for name, q in QUANTILES.items()
        )
        found.append(
            mine.with_columns(place)
            .group_by("place")
            .agg(pl.col("time_ns").first(), pl.len().alias("runs"), *quantiles)
            .sort("place")
            .select(
                *(pl.lit(value).alias(name) for name, value in key.items()), pl.exclude("place")
            )
        )
    return pl.concat(found) if found else pl.DataFrame()
