"""Where accounts would be liquidated, as seen from one state: the liquidation-price map.

For every position of a user the price of its market at which the equity of its margin domain
would equal the maintenance margin, everything else standing still: the other markets of a cross
account at their present marks, no funding, no fees, no orders. The two legs of a cross hedge
share one price; an isolated position has its own. Positions that no price between one tick and
the market's highest can liquidate are left out. Floats: this is for a picture, nothing is decided
by it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from engine.constants import FIRST_USER_ID, PPM, Payoff
from engine.vectors import as_table
from engine.venue import MarketNumbers

_HALVINGS = 48  # brings any price range below a tick
_ACCOUNT, _MARKET, _SIDE, _LOTS, _ENTRY, _MARGIN, _ISOLATED = range(7)


def _value(market: MarketNumbers, lots: np.ndarray, prices: np.ndarray) -> np.ndarray:
    """V(lots, price) in money units, float64."""
    if market.payoff == Payoff.LINEAR:
        return lots * prices * market.unit_quote
    return -lots * market.face_quote / prices


def _maintenance(market: MarketNumbers, notional: np.ndarray, marginal: bool) -> np.ndarray:
    """Maintenance margin of each notional in money units, float64."""
    tiers = np.searchsorted(np.array(market.tier_to, np.float64), notional, side="left")
    tiers = np.minimum(tiers, len(market.tier_to) - 1)
    margin = notional * np.array(market.tier_maintenance_ppm, np.float64)[tiers] / PPM
    return margin - np.array(market.tier_deduction, np.float64)[tiers] if marginal else margin


def liquidation_map(
    rows: Mapping[str, Sequence[tuple[int, ...]] | np.ndarray],
    markets: Sequence[MarketNumbers],
    marginal: bool,
) -> dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Per market id: prices in price units, notional there in money units, side (+1 or -1).

    `rows` are canonical tables: accounts (id, wallet), positions (account, market, side, lots,
    entry, margin, isolated), markets (id, index, tape mark, mark). Markets are in profile order.
    """
    accounts = as_table(rows["accounts"], 2)
    held = as_table(rows["positions"], 7)
    held = held[(held[:, _ACCOUNT] >= FIRST_USER_ID) & (held[:, _LOTS] != 0)]
    marks = np.concatenate([[0], as_table(rows["markets"], 4)[:, 3]])
    held = held[marks[held[:, _MARKET]] > 0]
    if not len(held):
        return {}
    # A domain is one isolated position, or everything cross of an account.
    cross = held[:, _ISOLATED] == 0
    own = np.where(cross, 0, 1 + np.arange(len(held)))
    keys, domain = np.unique(np.column_stack([held[:, _ACCOUNT], own]), axis=0, return_inverse=True)
    domain = domain.reshape(-1)
    wallet = accounts[np.searchsorted(accounts[:, 0], keys[:, 0]), 1].astype(np.float64)
    surplus = np.where(keys[:, 1] == 0, wallet, 0.0)  # equity less maintenance, at the marks
    slack = np.zeros(len(held))
    for market_id in np.unique(held[:, _MARKET]):
        mine = held[:, _MARKET] == market_id
        at_mark = np.full(int(mine.sum()), float(marks[market_id]))
        slack[mine] = _slack(markets[market_id - 1], held[mine], at_mark, marginal)
    np.add.at(surplus, domain, slack)
    found = {}
    for market_id in np.unique(held[:, _MARKET]):
        mine = held[:, _MARKET] == market_id
        found[int(market_id)] = _one_market(
            markets[market_id - 1],
            (held[mine], domain[mine], slack[mine], surplus),
            float(marks[market_id]),
            marginal,
        )
    return found


def _slack(
    market: MarketNumbers, held: np.ndarray, prices: np.ndarray, marginal: bool
) -> np.ndarray:
    """What each position adds to equity less maintenance at a price."""
    value = _value(market, held[:, _LOTS].astype(np.float64), prices)
    profit = value - held[:, _ENTRY] + held[:, _MARGIN]
    return profit - _maintenance(market, np.abs(value), marginal)


def _one_market(
    market: MarketNumbers,
    rows: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    mark: float,
    marginal: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bisect from the mark toward both ends of the price range; the first end that breaks wins."""
    held, domain, slack, surplus = rows
    domains, legs = np.unique(domain, return_inverse=True)
    rest = surplus[domains].copy()
    np.subtract.at(rest, legs, slack)

    def health(prices: np.ndarray) -> np.ndarray:
        total = rest.copy()
        np.add.at(total, legs, _slack(market, held, prices[legs], marginal))
        return total

    answer = np.zeros(len(domains))
    for end in (float(market.price_min), float(market.price_max)):
        sound = np.full(len(domains), mark)
        broken = np.full(len(domains), end)
        breaks = (health(broken) < 0) & (health(sound) >= 0) & (answer == 0)
        for _ in range(_HALVINGS):
            middle = (sound + broken) / 2
            ill = health(middle) < 0
            broken, sound = np.where(ill, middle, broken), np.where(ill, sound, middle)
        answer = np.where(breaks, broken, answer)
    prices = answer[legs]
    keep = prices > 0
    lots = held[keep, _LOTS].astype(np.float64)
    return prices[keep], np.abs(_value(market, lots, prices[keep])), np.sign(lots)
