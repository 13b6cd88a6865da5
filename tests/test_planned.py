"""The liquidation-price map says where the engine liquidates: not a tick later, not one earlier."""

import numpy as np
import pytest

from engine.constants import EventKind, Flag, PositionSide
from engine.exchange import Exchange, command
from engine.report.planned import liquidation_map
from engine.venue import load_venue, market_numbers

PROFILE = load_venue("binance_usdm")
NUMBERS = [market_numbers(PROFILE, market) for market in PROFILE.markets]
MARK = 800_000
DOLLAR = 10**6
US, WINNER = 16, 17


def crowd(*positions: tuple[int, int, int, int], flags: int = 0, wallet: int) -> Exchange:
    """An exchange with one account of interest: market, position side, lots, isolated margin."""
    exchange = Exchange(PROFILE, feedback_ppm=0)
    rows = [command("INDEX", market_id=m, price=MARK) for m in (1, 2)]
    hedge = any(side for _, side, _, _ in positions) * int(Flag.HEDGE)
    winners = range(WINNER, WINNER + len(positions))
    for account in (US, *winners):
        flag, money = (hedge, wallet) if account == US else (0, 10**8)
        rows.append(command("OPEN_ACCOUNT", account_id=account, flags=flag))
        rows.append(command("DEPOSIT", account_id=account, amount=money * DOLLAR))
    for winner, (market, side, lots, margin) in zip(winners, positions, strict=True):
        mine = {"account_id": US, "market_id": market, "position_side": side}
        if flags:
            rows.append(command("SET_MARGIN_MODE", account_id=US, market_id=market, flags=flags))
        seed = {"price": MARK, "flags": flags, "amount": margin * DOLLAR}
        rows.append(command("SET_LEVERAGE", **mine, amount=50))
        rows.append(command("SEED_POSITION", **mine, lots=lots, **seed))
        rows.append(
            command("SEED_POSITION", account_id=winner, market_id=market, lots=-lots, price=MARK)
        )
    events = exchange.submit(np.concatenate(rows))
    assert (events["kind"] != EventKind.REJECTED).all()
    return exchange


def started(exchange: Exchange, market: int, price: int) -> bool:
    events = exchange.submit(command("INDEX", market_id=market, price=price))
    chosen = events["kind"] == EventKind.LIQUIDATION_STARTED
    return US in events["account_id"][chosen]


def planned_price(exchange: Exchange, market: int) -> float:
    prices, notional, side = liquidation_map(exchange.rows(), NUMBERS, True)[market]
    assert len(prices) == len(notional) == len(side) and (notional > 0).all()
    return float(prices[0])


ISOLATED = int(Flag.ISOLATED)
LONG, SHORT = int(PositionSide.LONG), int(PositionSide.SHORT)
CASES = {
    "isolated long": ([(1, 0, 5_000, 2_000)], ISOLATED, 10_000),
    "isolated short": ([(1, 0, -5_000, 2_000)], ISOLATED, 10_000),
    "isolated long over tiers": ([(1, 0, 2_000_000, 1_900_000)], ISOLATED, 3_000_000),
    "cross long": ([(1, 0, 5_000, 0)], 0, 1_500),
    "cross short": ([(1, 0, -90_000, 0)], 0, 50_000),
    "cross in two markets": ([(1, 0, 5_000, 0), (2, 0, -3_000, 0)], 0, 2_500),
    "cross hedge": ([(1, LONG, 9_000, 0), (1, SHORT, -4_000, 0)], 0, 3_000),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.replace(" ", "-"))
def test_the_engine_liquidates_at_the_planned_price(case):
    positions, flags, wallet = CASES[case]
    exchange = crowd(*positions, flags=flags, wallet=wallet)
    price = planned_price(exchange, 1)
    down = price < MARK
    assert down == (sum(lots for market, _, lots, _ in positions if market == 1) > 0)
    sound = int(np.ceil(price)) if down else int(np.floor(price))
    assert not started(exchange, 1, sound + (1 if down else -1))
    assert started(exchange, 1, sound - 2 if down else sound + 2)


def test_a_published_example_of_the_formula():
    # wallet 1,000 USDT, 1 BTC long at 8,000: (1000 + cum - 8000) / (0.004 - 1) within tier 1.
    exchange = crowd((1, 0, 1_000, 0), wallet=1_000)
    assert planned_price(exchange, 1) / 100 == pytest.approx(7_000 / 0.996)


def test_who_cannot_be_liquidated_is_left_out():
    exchange = crowd((1, 0, 1_000, 0), wallet=8_100)  # more equity than the position can lose
    prices, _, side = liquidation_map(exchange.rows(), NUMBERS, True)[1]
    assert len(prices) == 0 or (side < 0).all()


def test_no_position_no_map():
    assert liquidation_map(Exchange(PROFILE).rows(), NUMBERS, True) == {}
