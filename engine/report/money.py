"""Whose money went where: every class of account against every reason, in whole units.

What an account has at the end is what it deposited, less what it withdrew, plus what each reason
brought or took: profit and loss on prices (realised and not, from the entry price on), trading
fees, funding, charges of liquidations, and losses that others covered. Every reason sums to zero
over all accounts, but for the rounding of values of inverse contracts.
"""

from pathlib import Path

import msgspec
import polars as pl

from engine import constants as c

_S = c.SystemAccount
PRICES, FEES, FUNDING = "Price moves", "Trading fees", "Funding"
CHARGES, COVERED = "Liquidation charges", "Losses covered"
REASONS = (PRICES, FEES, FUNDING, CHARGES, COVERED)
CLASSES = ("Liquidated", "Deleveraged, not liquidated", "Other accounts, gained")
CLASSES += ("Other accounts, lost", "Insurance fund", "Fees of the venue", "Rounding")
CLASSES += ("Other side of the opening positions", "Market maker", "Backstop")
_SYSTEM = {
    int(_S.INSURANCE_FUND): 4,
    int(_S.FEES): 5,
    int(_S.ROUNDING): 6,
    int(_S.CLEARING): 7,
    int(_S.MARKET_MAKER): 8,
    int(_S.BACKSTOP): 9,
}
# kind: the reason, the sign for the account itself, and whether `other_id` has the other side
_MOVES = {
    "fill": (PRICES, 1, False),
    "settled": (PRICES, 1, False),
    "funding_paid": (FUNDING, 1, False),
    "liquidation_fee": (CHARGES, -1, True),
    "surplus": (CHARGES, -1, True),
    "venue_fee": (CHARGES, -1, True),
    "seized": (CHARGES, -1, True),
    "shortfall": (COVERED, 1, True),
    "bad_debt": (COVERED, 1, True),
    "debt_waived": (COVERED, 1, True),
    "pool_paid": (COVERED, 1, True),
    "loss_shared": (COVERED, -1, False),
    "loss_covered": (COVERED, 1, False),
    "clawed_back": (COVERED, -1, True),
    "haircut": (COVERED, -1, True),
}
_SHARED = [kind for kind, (_, _, shared) in _MOVES.items() if shared]
_WIDE = pl.Int128  # sums of amounts that each fit 64 bits


class Money(msgspec.Struct):
    """`rows[class][reason]` in the smallest unit; `net_deposits`, `ends` and `accounts` by class.

    `matches`: what every account has at the end is explained to the last unit.
    """

    rows: list[list[int]]
    net_deposits: list[int]
    ends: list[int]
    accounts: list[int]
    matches: bool


def read_money(run_dir: Path | str, money_decimals: int) -> Money:
    """Sum up a run folder; every number is a sum of events, but unrealised profit (accounts)."""
    run_dir = Path(run_dir)
    by_account = _by_account(run_dir)
    scale = 10**money_decimals

    def units(name: str) -> pl.Expr:
        return (pl.col(name) * scale).cast(_WIDE)

    accounts = pl.read_parquet(run_dir / "accounts.parquet").select(
        "account_id",
        equity=units("equity"),
        unrealised=units("unrealised"),
        liquidated=pl.col("liquidations") > 0,
        deleveraged=pl.col("adl_fills") > 0,
    )
    whole = accounts.join(by_account, on="account_id", how="left").with_columns(
        pl.col(name).fill_null(0) for name in (*REASONS, "deposits")
    )
    whole = whole.with_columns((pl.col(PRICES) + pl.col("unrealised")).alias(PRICES))
    gained = pl.sum_horizontal(*REASONS)
    whole = whole.with_columns(
        group=pl.when(pl.col("account_id") < c.FIRST_USER_ID)
        .then(  # the fund of a group or a market has an id below zero
            pl.col("account_id")
            .clip(lower_bound=0)
            .replace_strict(_SYSTEM | {0: 4}, default=6, return_dtype=pl.Int64)
        )
        .when("liquidated")
        .then(0)
        .when("deleveraged")
        .then(1)
        .when(gained >= 0)
        .then(2)
        .otherwise(3),
        explained=gained + pl.col("deposits") == pl.col("equity"),
    )
    sums = whole.group_by("group").agg(
        *(pl.col(name).sum() for name in (*REASONS, "deposits", "equity")), accounts=pl.len()
    )
    found = {row["group"]: row for row in sums.iter_rows(named=True)}
    nothing = dict.fromkeys((*REASONS, "deposits", "equity", "accounts"), 0)
    each = [found.get(place, nothing) for place in range(len(CLASSES))]
    return Money(
        rows=[[int(row[name]) for name in REASONS] for row in each],
        net_deposits=[int(row["deposits"]) for row in each],
        ends=[int(row["equity"]) for row in each],
        accounts=[row["accounts"] for row in each],
        matches=bool(whole["explained"].all()),
    )


def _by_account(run_dir: Path) -> pl.DataFrame:
    """Per account what events booked for each reason, and its net deposits."""
    sums = (
        pl.scan_parquet(run_dir / "events.parquet")
        .with_columns(pl.col("kind").cast(pl.String))
        .filter(pl.col("kind").is_in([*_MOVES, "deposited", "withdrawn", "funding_settled"]))
        .with_columns(other=pl.when(pl.col("kind").is_in(_SHARED)).then("other_id").otherwise(0))
        .group_by("account_id", "kind", "other")
        .agg(pl.col("amount").cast(_WIDE).sum(), pl.col("fee").cast(_WIDE).sum())
        .collect()
    )
    booked: dict[int, dict[str, int]] = {}

    def book(account: int, reason: str, amount: int) -> None:
        row = booked.setdefault(int(account), dict.fromkeys((*REASONS, "deposits"), 0))
        row[reason] += amount

    for account, kind, other, amount, fee in sums.rows():
        amount, fee = int(amount), int(fee)
        if kind in ("deposited", "withdrawn"):
            book(account, "deposits", amount if kind == "deposited" else -amount)
        elif kind == "funding_settled":
            book(_S.ROUNDING, FUNDING, amount)
        else:
            reason, sign, shared = _MOVES[kind]
            book(account, reason, sign * amount)
            if shared:
                book(other, reason, -sign * amount)
            if kind == "fill":
                book(account, FEES, -fee)
                book(_S.FEES, FEES, fee)
            elif kind == "loss_covered":
                book(_S.ROUNDING, COVERED, fee)
    rows = [{"account_id": account, **row} for account, row in booked.items()]
    schema = {"account_id": pl.Int64} | dict.fromkeys((*REASONS, "deposits"), _WIDE)
    return pl.DataFrame(rows, schema=schema)
