"""The states of all accounts as bytes a page can carry and read without unpacking them whole.

Columns of 64-bit words, zigzag, split into planes of bytes (all first bytes, then all second ones:
most planes are zero and pack to nothing), in blocks of accounts; `xray.js` is the reader. What
follows from the rows before is left out: `entry` and `balance` are stored as the difference to what
a plain fill would give (`surprises`), `seq` as the difference to the row before of the account.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from engine import constants as c
from engine.profile import VenueProfile
from engine.report.columns import Units
from engine.report.document import pack
from engine.report.series import thin_places
from engine.report.xray import LEDGER_BIT, SIGN, K, is_plain
from engine.vectors import share_toward_zero
from engine.venue import MarketNumbers

BLOCK_ROWS = 40_000
PACKED_MAX = 6_800_000  # base64 characters of all blocks: what a page of 10 MB has room for
MARK_STRETCHES = 900  # four points each, of every market
COLUMNS = ("seq", "kind", "reason", "market", "leg", "price", "lots", "entry", "balance", "first")
COLUMNS += ("second", "other")
_EMPTIES = (K.LIQUIDATION_FEE, K.SURPLUS, K.SHORTFALL, K.BAD_DEBT)  # leave nothing, as a rule


def planes(values: np.ndarray) -> bytes:
    """int64 as zigzag words, byte planes: eight times as many bytes as values.

    >>> planes(np.array([1, -1]))[:4]
    b'\\x02\\x01\\x00\\x00'
    """
    values = np.ascontiguousarray(values, np.int64)
    zigzag = ((values << 1) ^ (values >> 63)).astype("<i8")
    return zigzag.view(np.uint8).reshape(len(values), 8).T.tobytes()


def surprises(
    states: pl.DataFrame, units: Units, starts: Mapping[int, tuple[int, int, int]]
) -> pl.DataFrame:
    """Columns as differences to what is to be expected from the row and those before it.

    A fill adds its value to the entry, releases the closed share of it, or opens anew beyond zero;
    it books the profit that leaves, less the fee. Charges of a liquidation empty the balance.
    `starts` are by row the mark as a liquidation begins, which `price` becomes, and equity and
    requirement to be expected there.
    """
    states = _less_expected(states, starts)
    get = {name: states[name].to_numpy() for name in states.columns if name != "reason"}
    kind, lots, moved = get["kind"], get["lots"], get["moves_lots"]
    fill, settled = kind == int(K.FILL), kind == int(K.SETTLED)
    lots_before, entry_before = lots - moved, get["entry"] - get["moves_entry"]
    grows = lots_before * np.sign(moved) >= 0
    flips = ~grows & (np.abs(moved) > np.abs(lots_before))
    part = np.where(fill & ~grows & ~flips, np.abs(moved), 0)
    released = share_toward_zero(
        np.where(part > 0, entry_before, 0), part, np.where(part > 0, np.abs(lots_before), 1)
    )
    expected = np.where(grows, entry_before + get["value"], entry_before - released)
    turned = fill & flips
    rest = units.values(lots[turned], get["price"][turned], get["market"][turned])
    expected[turned] = rest
    entry = np.where(fill, get["entry"] - expected, np.where(settled, get["moves_entry"], 0))
    realised = get["moves_entry"] - get["value"] - get["first"]
    before = get["balance"] - get["change"]
    likely = np.where(np.isin(kind, [int(k) for k in _EMPTIES]), 0, before)
    likely = np.where(
        fill, before + realised, np.where(settled, before + get["moves_entry"], likely)
    )
    twin = (kind == int(K.MARGIN_MOVED)) & (get["leg"] & LEDGER_BIT != 0)
    likely = np.where(twin, before - np.roll(get["change"], 1), likely)
    booked = np.isin(kind, list(SIGN))
    return states.with_columns(
        pl.Series("entry", entry),
        pl.Series("balance", np.where(booked, get["balance"] - likely, 0)),
    )


def _less_expected(
    states: pl.DataFrame, starts: Mapping[int, tuple[int, int, int]]
) -> pl.DataFrame:
    known = pl.DataFrame(
        [(row, *expected) for row, expected in starts.items()],
        schema=dict.fromkeys(("row", "mark", "equity", "requirement"), pl.Int64),
        orient="row",
    ).with_columns(kind=pl.lit(int(K.LIQUIDATION_STARTED), pl.Int64))
    both = states.join(known, on=["row", "kind"], how="left", maintain_order="left")
    return both.with_columns(
        pl.coalesce("mark", "price").alias("price"),
        pl.col("first") - pl.col("equity").fill_null(0),
        pl.col("second") - pl.col("requirement").fill_null(0),
    )


def _eventful(states: pl.DataFrame) -> pl.DataFrame:
    """Accounts: the liquidated first, then the deleveraged, then those with most events."""
    kind = pl.col("kind")
    struck = kind.is_in([int(K.LIQUIDATION_STARTED)])
    return (
        states.group_by("account_id")
        .agg(
            rows=pl.len(),
            struck=struck.any(),
            taken=((kind == int(K.FILL)) & (pl.col("reason") == "adl")).any(),
        )
        .sort("struck", "taken", "rows", "account_id", descending=[True, True, True, False])
    )


def _blocks(states: pl.DataFrame, order: pl.DataFrame) -> list[pl.DataFrame]:
    """The states cut into blocks of whole accounts, in this order of accounts."""
    ordered = order.with_columns(
        block=((pl.col("rows").cum_sum() - pl.col("rows")) // BLOCK_ROWS).cast(pl.Int64)
    )
    joined = states.join(ordered.select("account_id", "block"), on="account_id")
    # `leg` puts the wallet's row of a margin transfer before that of the position
    ordered = joined.sort("block", "account_id", "row", "leg")
    return ordered.partition_by("block", maintain_order=True)


def _block_bytes(block: pl.DataFrame, reasons: Mapping[str, int]) -> tuple[bytes, int]:
    """One block and how many accounts are in it: ids, counts of rows, then every column."""
    ids, counts = np.unique(block["account_id"].to_numpy(), return_counts=True)
    parts = [planes(ids), planes(counts)]
    for name in COLUMNS:
        column = block[name]
        if name == "reason":
            column = column.replace_strict(dict(reasons), return_dtype=pl.Int64)
        values = column.to_numpy().astype(np.int64)
        if name == "seq":
            values = np.diff(values, prepend=0)
            firsts = np.concatenate([[0], np.cumsum(counts)[:-1]])
            values[firsts] = column.to_numpy()[firsts]
        parts.append(planes(values))
    return b"".join(parts), len(ids)


def _market(market: MarketNumbers, profile: VenueProfile, place: int) -> dict[str, Any]:
    """What the page needs to value a leg, in whole numbers; as text where they may be large."""
    rules = profile.margin
    return {
        "symbol": market.symbol,
        "decimals": profile.markets[place].price_decimals,
        "unit": str(market.unit_quote),
        "face": str(market.face_quote),
        "collateral": market.contract == c.Contract.COLLATERAL,
        "haircut": market.haircut_ppm,
        "fee": market.taker_fee_ppm if rules.close_fee == "taker" else 0,
        "tiers": [
            [str(each) for each in tier]
            for tier in zip(
                market.tier_to, market.tier_maintenance_ppm, market.tier_deduction, strict=True
            )
        ]
        if is_plain(market, profile)
        else None,
    }


def _marks(marks: pl.DataFrame) -> dict[str, Any]:
    """The mark path of every market, thinned: seq, time and price as planes."""
    found, parts = [], []
    for market in sorted(marks["market"].unique().to_list()):
        own = marks.filter(pl.col("market") == market).unique(
            "seq", keep="last", maintain_order=True
        )
        times, prices = own["time_ns"].to_numpy(), own["price"].to_numpy()
        kept = thin_places(times, prices, MARK_STRETCHES)
        for name in ("seq", "time_ns", "price"):
            parts.append(planes(own[name].to_numpy()[kept]))
        found.append([market, len(kept)])
    return {"markets": found, "data": b"".join(parts)}


def packed_accounts(
    states: pl.DataFrame,
    marks: pl.DataFrame,
    starts: Mapping[int, tuple[int, int, int]],
    profile: VenueProfile,
    units: Units,
) -> tuple[dict[str, Any], dict[str, str]]:
    """What the page says about its blocks, and the blocks by name, as many as there is room for.

    `starts` is what `xray.check` expects of liquidations as they begin. Accounts that were
    liquidated or deleveraged come first; `left_out` counts those without room.
    """
    order = _eventful(states)
    clock = states.group_by("time_ns").agg(pl.col("seq").min()).sort("time_ns")
    states = surprises(states, units, starts)
    reasons = {word: place for place, word in enumerate(sorted(states["reason"].unique()))}
    blocks, data, ids, size = [], {}, [], 0
    for block in _blocks(states, order):
        content, accounts = _block_bytes(block, reasons)
        packed = pack(content)
        if size + len(packed) > PACKED_MAX:
            break
        name = f"accounts-{len(blocks)}"
        data[name] = packed
        blocks.append([accounts, block.height])
        ids.append(np.unique(block["account_id"].to_numpy()))
        size += len(packed)
    shown = sum(map(len, ids))
    data["accounts"] = pack(b"".join(planes(np.diff(each, prepend=0)) for each in ids))
    data["clock"] = pack(
        b"".join(planes(np.diff(clock[name].to_numpy(), prepend=0)) for name in ("seq", "time_ns"))
    )
    path = _marks(marks)
    data["marks"] = pack(path["data"])
    about = {
        "blocks": blocks,
        "columns": COLUMNS,
        "kinds": {int(kind): kind.name.lower().replace("_", " ") for kind in K},
        "reasons": [word.replace("_", " ") for word in reasons],
        "booked": [int(kind) for kind in SIGN],
        "empties": [int(kind) for kind in _EMPTIES],
        "marks": path["markets"],
        "clock": clock.height,
        "markets": [_market(m, profile, i) for i, m in enumerate(units.numbers)],
        "tierBy": profile.margin.tier_by,
        "over": 1 if profile.trigger.comparison == "at_or_below" else 0,
        "asset": units.asset,
        "decimals": units.money_decimals,
        "shown": shown,
        "leftOut": order.height - shown,
        "first": int(order["account_id"][0]) if order.height else None,
    }
    return about, data
