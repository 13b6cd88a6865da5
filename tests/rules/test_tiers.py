"""Maintenance margin at every edge of the tiers. Every number here is ours.

One lot of 0.01, so one step of the price is one unit of money. Tiers: 5 % up to 1 000.00, 10 % up
to 5 000.00 (deduction 50.00), 20 % above (deduction 550.00). The account holds nothing, so it is
liquidated at once and the event shows the margin that was needed.
"""

import pytest
from notation import Venue

SMALL_STEPS = """
    given market.lot = 0.01
    given market.price_max = 9000000
"""
MARGINAL = [
    (1, "0.01"),  # 0.0005, rounded up
    (99_999, "50"),  # 49.9995
    (100_000, "50"),  # exactly
    (100_001, "50.01"),  # 100.001 rounded up, less 50
    (499_999, "450"),  # 499.999 rounded up, less 50
    (500_000, "450"),
    (500_001, "450.01"),  # 1 000.002 rounded up, less 550
    (1_999_999, "3450"),
    (2_000_000, "3450"),
    (2_000_001, "3450.01"),  # above the last bound the last tier goes on
    (8_000_000, "15450"),
]
FLAT = [
    (99_999, "50"),
    (100_000, "50"),
    (100_001, "100.01"),  # the whole notional at 10 %
    (500_000, "500"),
    (500_001, "1000.01"),
    (2_000_001, "4000.01"),
]


@pytest.mark.parametrize(("price", "margin"), MARGINAL)
def test_marginal_tiers(exchange: Venue, price: int, margin: str):
    """R30, R31."""
    exchange.play(SMALL_STEPS).play(f"""
        index {price}
        open alice
        seed alice 1 @ {price}
        expect event LIQUIDATION_STARTED alice amount 0 fee {margin}
    """)


@pytest.mark.parametrize(("price", "margin"), FLAT)
def test_flat_tiers(exchange: Venue, price: int, margin: str):
    """R30, R31."""
    exchange.play(SMALL_STEPS).play(f"""
        given margin.tier_mode = flat
        index {price}
        open alice
        seed alice -1 @ {price}
        expect event LIQUIDATION_STARTED alice amount 0 fee {margin}
    """)


@pytest.mark.parametrize(
    ("money", "liquidated"), [("49.99", True), ("50", False), ("50.01", False)]
)
def test_liquidation_starts_below_maintenance_not_at_it(
    exchange: Venue, money: str, liquidated: bool
):
    """R73. Notional 1 000.00 needs 50.00."""
    exchange.play(f"""
        index 100
        open alice
        deposit alice {money}
        seed alice 10 @ 100
        expect {"event" if liquidated else "no event"} LIQUIDATION_STARTED
    """)


@pytest.mark.parametrize("side", [1, -1])
def test_the_mark_at_which_it_starts(exchange: Venue, side: int):
    """R36, R73. One lot of 1.00 a step at 1 000, wallet 100: a long needs 5 % of 947 = 47.35 and
    has 47 there; a short needs 5 % of 1 000 and 10 % above: at 1 045 it has 55 and needs 54.50."""
    last_good, first_bad = (948, 947) if side == 1 else (1_045, 1_046)
    exchange.play(f"""
        index 1000
        open alice
        deposit alice 100
        seed alice {side} @ 1000
        mark {last_good}
        expect no event LIQUIDATION_STARTED
        mark {first_bad}
        expect event LIQUIDATION_STARTED alice
    """)


def test_inverse_margin_is_in_coin(exchange: Venue):
    """R31. 1 000 lots at 10 000 are 10 coin, 1 % of it 0.1; one lot more is in the second tier:
    2.5 % of 10.01, less 1.5 % of 10."""
    exchange.play("""
        given inverse
        index 10000
        open alice
        open bob
        seed alice 1000 @ 10000
        expect event LIQUIDATION_STARTED alice fee 0.1
        seed bob 1001 @ 10000
        expect event LIQUIDATION_STARTED bob fee 0.10025
    """)
