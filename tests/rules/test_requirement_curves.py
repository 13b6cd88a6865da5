"""Requirements beyond plain tiers: other measures, other rates, slopes, roots, scaling, fees.

One lot at 100 is 100.00. Tiers: 5 % up to 1 000, 10 % up to 5 000 (less 50), 20 % above (less 550);
leverage 10. Every number here is ours.
"""

import pytest
from notation import Venue


def holding(lots: int, entry: int = 100) -> str:
    return f"""
        index 100
        open alice
        deposit alice 10000
        seed alice {lots} @ {entry}
    """


@pytest.mark.parametrize(("entry", "need"), [(100, "50"), (80, "40"), (120, "70")])
def test_tiers_may_go_by_entry_value(exchange: Venue, entry: int, need: str):
    """R30, R31. Ten lots: 5 % of 1 000 or of 800; 1 200 is in the second tier, 120 less 50. The
    mark of 100 does not matter."""
    exchange.play("given margin.tier_by = entry_value").play(holding(10, entry)).play(f"""
        expect alice maintains {need}
        mark 130
        expect alice maintains {need}
    """)


@pytest.mark.parametrize(("lots", "need"), [(5, "25"), (6, "60"), (20, "200"), (21, "420")])
def test_tiers_may_go_by_contracts(exchange: Venue, lots: int, need: str):
    """R30, R31. Up to 5 lots 5 %, up to 20 10 %, up to 100 20 %, each of the whole."""
    exchange.play("given lots tiers 5 20 100").play(holding(lots)).play(f"""
        expect alice maintains {need}
    """)


@pytest.mark.parametrize(("lots", "refused"), [(5, False), (6, True)])
def test_a_leverage_reaches_so_many_contracts(exchange: Venue, lots: int, refused: bool):
    """R33. Leverage 10 is allowed in the first tier, up to five lots whatever they are worth."""
    exchange.play("given lots tiers 5 20 100").play(f"""
        index 1000
        open alice
        deposit alice 10000
        buy alice {lots} @ 1000
        {"expect rejected POSITION_LIMIT" if refused else "expect events RESTED"}
    """)


def test_tiers_by_rule(exchange: Venue):
    """R30, R31, R32. Up to 1 000 1 %, up to 1 500 2 %, above it 3 %; initial 2, 3 and 4 %. Ten lots
    need 10 and 20, fifteen 30 - 10 and 45, sixteen 48 - 25 and 64."""
    for lots, maintenance, initial in ((10, "10", "20"), (15, "20", "45"), (16, "23", "64")):
        venue = Venue(exchange.implementation)
        venue.play("""
            given tier steps base 1000 step 500 count 3 maintenance_ppm 10000 initial_ppm 20000
            given margin.initial = tiers
            given market.leverage_default = 50
        """).play(holding(lots)).play(f"""
            expect alice maintains {maintenance}
            expect alice initial {initial}
        """)


@pytest.mark.parametrize(("lots", "need"), [(10, "100"), (20, "400")])
def test_initial_margin_by_tier(exchange: Venue, lots: int, need: str):
    """R32. Leverage 10 asks 10 %, the second tier of its own 20 %, one over its leverage."""
    exchange.play("given margin.initial = tiers").play(holding(lots)).play(f"""
        expect alice initial {need}
    """)


def test_a_tier_may_state_its_initial_rate(exchange: Venue):
    """R32. 15 % in the first tier, above the 10 % of leverage 10."""
    exchange.play("""
        given margin.initial = tiers
        given tier 1 initial_ppm 150000
    """).play(holding(10)).play("expect alice initial 150")


@pytest.mark.parametrize(("leverage", "need"), [(10, "50"), (5, "100"), (3, "166.67")])
def test_maintenance_may_be_a_share_of_the_initial_margin(
    exchange: Venue, leverage: int, need: str
):
    """R31. Half of 1 000 over the leverage, rounded up."""
    exchange.play("""
        given margin.maintenance = share_of_initial
        given margin.initial_share_ppm = 500000
    """).play(holding(10)).play(f"""
        leverage alice {leverage}
        expect alice maintains {need}
    """)


def test_maintenance_may_be_for_the_largest_size_of_open_orders(exchange: Venue):
    """R31, R34. Four lots and a bid for five: nine lots at 100, 45."""
    exchange.play("given margin.worst_case_orders = true").play(holding(4)).play("""
        buy alice 5 @ 90 #1
        sell alice 2 @ 110
        expect alice maintains 45
        cancel alice #1
        expect alice maintains 20
    """)


def test_the_fee_of_closing_may_be_part_of_it(exchange: Venue):
    """R31. 0.1 % of 1 000."""
    exchange.play("""
        given margin.close_fee = taker
        given market.taker_fee_ppm = 1000
    """).play(holding(10)).play("expect alice maintains 51")


def test_a_slope_per_coin(exchange: Venue):
    """R96. 0.002 for each of ten coins: 2 % more of 1 000, also of the initial margin."""
    exchange.play("""
        given margin.initial = tiers
        given market.slope_per_coin = 0.002
    """).play(holding(10)).play("""
        expect alice maintains 70
        expect alice initial 120
    """)


def test_what_size_adds_is_at_most_one(exchange: Venue):
    """R96. 0.2 for each of ten coins would be 2."""
    exchange.play("given market.slope_per_coin = 0.2").play(holding(10)).play("""
        expect alice maintains 1050
    """)


def test_a_slope_of_an_inverse_contract_goes_by_its_notional(exchange: Venue):
    """R96. 1 000 lots of 100 at 10 000 are 10 coin: 0.001 for each is 1 %, beside the tier's 1."""
    exchange.play("""
        given inverse
        given market.slope_per_coin = 0.001
        index 10000
        open alice
        deposit alice 100
        seed alice 1000 @ 10000
        expect alice maintains 0.2
    """)


@pytest.mark.parametrize(("lots", "need"), [(4, "24"), (1, "5"), (9, "63")])
def test_a_root_of_the_size(exchange: Venue, lots: int, need: str):
    """R96. 0.01 times the root of the size beside 0.8 of 5 %: for four coins 4 + 2 = 6 %, for nine
    7 %. For one coin 5 % either way."""
    exchange.play("given market.sqrt_per_coin = 0.01").play(holding(lots)).play(f"""
        expect alice maintains {need}
    """)


@pytest.mark.parametrize(
    ("others", "need"),
    [
        (0, "100"),  # 1 000 of open interest: not above the first
        (5, "325"),  # 1 500, a quarter of the way: 10 % and a quarter of 90 %
        (10, "550"),
        (20, "1000"),
        (30, "1000"),
    ],
)
def test_initial_margin_may_rise_with_open_interest(exchange: Venue, others: int, need: str):
    """R32. From 10 % at 1 000 to everything at 3 000. Alice holds 1 000 of it."""
    bob = f"seed bob {others} @ 100" if others else ""
    exchange.play("given market.scaling = 1000 3000").play(holding(10)).play(f"""
        open bob
        deposit bob 10000
        {bob}
        expect alice initial {need}
        expect alice maintains 50
    """)


@pytest.mark.parametrize(("lots", "price"), [(10, 92), (-10, 107)])
def test_the_bankruptcy_price_may_leave_a_fee(exchange: Venue, lots: int, price: int):
    """R70. Wallet 100, fee 2 %: closing at 91.84 leaves 918.37 - 18.37, so 92; buying back at
    107.84 costs 1 078.43 + 21.57, so 107."""
    exchange.play("""
        given margin.bankruptcy_fee = true
        given market.taker_fee_ppm = 20000
        index 100
        open alice
        deposit alice 100
    """).play(f"""
        seed alice {lots} @ 100
        expect alice bankrupt at {price}
    """)


@pytest.mark.parametrize(("split", "price"), [("all", 85), ("by_maintenance", 90)])
def test_equity_may_be_split_among_positions(exchange: Venue, split: str, price: int):
    """R70. 150 stand behind ten lots here and five there; two thirds of it by maintenance."""
    exchange.play(f"given margin.bankruptcy_split = {split}").play("""
        given two markets
        index 100
        open alice
        deposit alice 150
        seed alice 10 @ 100
        in market 2
        index 100
        seed alice 5 @ 100
        in market 1
    """).play(f"expect alice bankrupt at {price}")


def test_a_quanto_pays_its_multiplier(exchange: Venue):
    """R20. One price unit of a lot is worth 0.5 of the money: ten lots at 100 are 500."""
    exchange.play("""
        given market.payoff = quanto
        given market.multiplier = 0.5
    """).play(holding(10)).play("""
        expect alice maintains 25
        mark 110
        expect alice equity 10050
    """)
