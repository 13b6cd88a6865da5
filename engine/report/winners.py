"""Whom deleveraging cost what: haircuts by rank of the account, and how unequal they are."""

from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from engine.policies.metrics import gini

POINTS_MAX = 400  # of a drawn curve


class Winner(msgspec.Struct):
    """One deleveraged account: money in the smallest unit. `haircut` counts only what it lost
    against the mark of the instant, `gain` what it won on fills at better prices."""

    account_id: int
    fills: int
    notional: int
    haircut: int
    gain: int


class Winners(msgspec.Struct):
    """Every deleveraged account, the largest haircut first, and how unequal they are (0 to 1)."""

    accounts: list[Winner]
    gini_haircut: float | None  # None where nothing was lost
    gini_notional: float | None


def read_winners(run_dir: Path | str, money_decimals: int) -> Winners:
    """Sum up the table of deleveraging by account."""

    def units(expression: pl.Expr) -> pl.Expr:
        return (expression * 10**money_decimals).cast(pl.Int128).sum()

    cost, nothing = pl.col("haircut_at_mark"), pl.lit(0).cast(pl.Decimal(38, money_decimals))
    rows = (
        pl.read_parquet(Path(run_dir) / "adl.parquet")
        .group_by("counterparty_account")
        .agg(
            pl.len().alias("fills"),
            units(pl.col("notional")).alias("notional"),
            units(pl.when(cost > 0).then(cost).otherwise(nothing)).alias("haircut"),
            units(pl.when(cost < 0).then(-cost).otherwise(nothing)).alias("gain"),
        )
        .sort("haircut", "notional", "counterparty_account", descending=[True, True, False])
    )
    found = [Winner(*map(int, row)) for row in rows.rows()]

    def unequal(values: list[int]) -> float | None:
        return gini(np.array(values, np.float64)) if any(values) else None

    return Winners(
        accounts=found,
        gini_haircut=unequal([each.haircut for each in found]),
        gini_notional=unequal([each.notional for each in found]),
    )


def lorenz(values: list[int]) -> tuple[list[float], list[float]]:
    """Share of accounts, smallest first, and the share of the total they have; from 0 to 1.

    >>> lorenz([3, 1])
    ([0.0, 0.5, 1.0], [0.0, 0.25, 1.0])
    """
    ordered, total = sorted(values), sum(values)
    sums = np.concatenate([[0], np.cumsum(np.array(ordered, object))])
    kept = np.unique(np.linspace(0, len(ordered), min(len(ordered) + 1, POINTS_MAX)).astype(int))
    return (kept / max(len(ordered), 1)).tolist(), [int(sums[k]) / max(total, 1) for k in kept]
