"""Who is not of the crowd: market makers, one whale; and collateral that accounts hold.

They are part of the open interest asked for: `reserved_lots` says how much of it they take.
"""

from collections.abc import Callable, Mapping

import numpy as np

from engine.constants import FIRST_USER_ID, LOTS_MAX, PPM
from engine.peopled import DrawnPopulation
from engine.population import margins
from engine.population.chance import Randomness
from engine.population.columns import Population, PopulationError, side_of
from engine.population.margins import MarketStart
from engine.profile import Margin


def _maker_lots(spec: DrawnPopulation, index: int) -> list[int]:
    """Signed lots of each market maker in one market, alternately long and short."""
    if spec.makers is None:
        return []
    people, market = spec.makers.accounts, spec.markets[index]
    share = market.open_interest_lots * spec.makers.share_ppm // PPM
    lots = [0] * people
    for start, sign in ((index % 2, 1), (1 - index % 2, -1)):
        mine = range(start, people, 2)
        if share < len(mine):
            raise PopulationError(
                f"population.makers.share_ppm: expected a lot of {market.market} at least for "
                f"each of {len(mine)} makers a side, got {share}"
            )
        for place, maker in enumerate(mine):
            lots[maker] = sign * (share // len(mine) + (place < share % len(mine)))
    return lots


def reserved_lots(spec: DrawnPopulation) -> dict[tuple[int, int], int]:
    """Lots that are not the crowd's, by index of the market and sign of the position."""
    found: dict[tuple[int, int], int] = {}
    for index, market in enumerate(spec.markets):
        makers = _maker_lots(spec, index)
        for sign in (1, -1):
            found[index, sign] = sum(abs(lots) for lots in makers if lots * sign > 0)
        if spec.whale is not None and spec.whale.market == market.market:
            found[index, 1 if spec.whale.side == "long" else -1] += spec.whale.lots
    return found


def extra_accounts(
    spec: DrawnPopulation, starts: list[MarketStart], rule: Margin, whale_entry: int | None
) -> Population | None:
    """Market makers, then the whale, with ids after the crowd's; None where there are none."""
    columns: list[list[int]] = []  # account row, index, lots, entry, leverage, isolated
    people = 0
    if spec.makers is not None:
        people = spec.makers.accounts
        by_market = [_maker_lots(spec, index) for index in range(len(starts))]
        columns += [
            [maker, index, lots[maker], 0, spec.makers.leverage, 0]
            for maker in range(people)
            for index, lots in enumerate(by_market)
        ]
    if spec.whale is not None:
        whale, index = spec.whale, [m.market for m in spec.markets].index(spec.whale.market)
        lots = whale.lots if whale.side == "long" else -whale.lots
        row = [people, index, lots, whale_entry or 0, whale.leverage, int(whale.isolated)]
        columns.append(row)
        people += 1
    if not people:
        return None
    table = np.array(columns, np.int64)
    owner, market, lots_all, isolated = table[:, 0], table[:, 1], table[:, 2], table[:, 5]
    entry, leverage, funds = table[:, 3].copy(), table[:, 4].copy(), np.zeros(len(table), np.int64)
    raised = 0
    for index, start in enumerate(starts):
        mine = np.flatnonzero(market == index)
        if len(mine):
            raised += _fund(spec, start, rule, mine, lots_all, entry, leverage, funds)
    deposits = np.zeros(people, np.int64)
    np.add.at(deposits, owner, funds)
    return Population(
        account_id=FIRST_USER_ID + spec.accounts + np.arange(people, dtype=np.int64),
        deposit_quote=deposits,
        hedge=np.zeros(people, np.int64),
        account_row=owner,
        market_id=np.array([start.market_id for start in starts], np.int64)[market],
        position_side=side_of(lots_all, np.zeros(len(table), np.int64)),
        lots=lots_all,
        entry_price=entry,
        leverage=leverage,
        isolated=isolated,
        margin_quote=np.where(isolated > 0, funds, 0),
        deposits_raised=raised,
    )


def _fund(
    spec: DrawnPopulation, start: MarketStart, rule: Margin, mine: np.ndarray, lots: np.ndarray,
    entry: np.ndarray, leverage: np.ndarray, funds: np.ndarray,
) -> int:  # fmt: skip
    """Fill in entries left open, tier caps and funds of one market; how many had to be raised."""
    tick = start.numbers.tick_price
    at_first = max(start.first_price // tick * tick, start.numbers.price_min)
    entry[mine] = np.where(entry[mine] == 0, at_first, entry[mine])
    size, price = lots[mine], entry[mine]
    at_entry = margins.notional(size, price, start.numbers)
    larger = np.maximum(at_entry, margins.notional(size, start.first_price, start.numbers))
    measures = np.abs(size) if rule.tier_by == "contracts" else larger
    leverage[mine] = np.minimum(leverage[mine], margins.leverage_cap(measures, start.numbers))
    initial = -(-at_entry // leverage[mine])
    brought = margins.mul_ppm_up(initial, np.int64(spec.wallet_factor_ppm))
    needs = margins.wanted_funds(spec.health_buffer_ppm, start, rule, leverage[mine], size, price)
    missing = needs - brought - margins.profit(size, price, start.first_price, start.numbers)
    funds[mine] = brought + np.maximum(missing, 0)
    return int((missing > 0).sum())


def held_collateral(
    spec: DrawnPopulation, part: Callable[[int], int], isolated: np.ndarray,
    deposits: np.ndarray, assets: Mapping[str, MarketStart], random: Randomness,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Account rows, market ids and lots of the collateral held; takes its worth off `deposits`."""
    open_rows = np.flatnonzero(isolated == 0)
    open_rows = open_rows[random.order(len(open_rows))] if spec.collateral else open_rows
    rows, ids, lots = [], [], []
    for place, held in enumerate(spec.collateral):
        start, where = assets[held.market], f"population.collateral[{place}]"
        worth = int(margins.notional(np.ones(1, np.int64), start.first_price, start.numbers)[0])
        worth = worth * (PPM - start.numbers.haircut_ppm) // PPM
        if worth < 1:
            raise PopulationError(f"{where}.market: a lot of {held.market} is worth nothing")
        chosen = np.sort(open_rows[: part(held.accounts_ppm)])
        open_rows = open_rows[part(held.accounts_ppm) :]
        replaced = deposits[chosen] // PPM * held.part_ppm
        replaced += deposits[chosen] % PPM * held.part_ppm // PPM
        amount = -(-replaced // worth)
        limit = min(LOTS_MAX, start.numbers.open_interest_lots_max)
        if int(amount.sum()) > limit:
            raise PopulationError(f"{where}: expected {limit} lots at most, got {amount.sum()}")
        chosen, replaced, amount = (each[amount > 0] for each in (chosen, replaced, amount))
        deposits[chosen] -= replaced
        rows.append(chosen)
        ids.append(np.full(len(chosen), start.market_id, np.int64))
        lots.append(amount)
    empty = np.zeros(0, np.int64)
    return tuple(np.concatenate([empty, *each]) for each in (rows, ids, lots))
