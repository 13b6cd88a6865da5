"""The order steps of a liquidation: how much, where, at what price, and of which position.

Alice holds ten lots at 100 with a wallet of 100; at mark 94 she has 40 against 47, her bankruptcy
price is 90 and the position's notional 940. Every number here is ours.
"""

import pytest
from notation import Venue
from small_venues import ALICE_AND_BOB as START


def with_alice(lots: int, wallet: str) -> str:
    """The same with another position or wallet."""
    text = START.replace("deposit alice 100", f"deposit alice {wallet}")
    return text.replace("seed alice 10", f"seed alice {lots}")


@pytest.mark.parametrize(
    ("step", "lots"),
    [
        ("all", 10),
        ("cover_shortage", 2),  # 7 short, 4.70 a lot
        ("fraction fraction_ppm 250000", 3),  # 2.5, rounded up
        ("chunk chunk_lots 4", 4),
        ("chunk chunk_lots 40", 10),  # no more than there is
        ("cover_shortage floor 400", 5),  # 4.26, rounded up
        ("cover_shortage floor 100", 2),
        ("all cap 300", 3),  # 3.19, rounded down
        ("all cap 50", 1),  # less than a lot, but never nothing
        ("all cap 940", 10),
        ("fraction fraction_ppm 500000 floor 900 cap 300", 3),  # the cap is stronger
    ],
)
def test_how_much_a_step_closes(exchange: Venue, step: str, lots: int):
    """R72, R111."""
    exchange.play(f"given steps = {step}").play(START).play(f"""
        buy bob 10 @ 94
        mark 94
        expect event FILL.LIQUIDATION alice lots -{lots} price 94
    """)


@pytest.mark.parametrize(
    ("bound", "applies"),
    [("above 939.99", True), ("above 940", False), ("from_tier 1", True), ("from_tier 2", False)],
)
def test_a_step_may_not_apply(exchange: Venue, bound: str, applies: bool):
    """R87, R111. 940 is not above 940, and in the first tier; then the next step comes."""
    exchange.play(f"given steps = chunk chunk_lots 1 {bound}; all").play(START).play(f"""
        buy bob 10 @ 90
        mark 94
        expect {"event" if applies else "no event"} FILL.LIQUIDATION alice lots -1
    """)


def test_a_step_may_not_come_too_soon(exchange: Venue):
    """R111. One lot, once in ten seconds; it is looked at again after five, and then the fund
    takes nine lots at 94 - 40 / 9 = 89.56, so at 90."""
    exchange.play("""
        given steps = chunk chunk_lots 1 once_in_ns 10s pause_ns 5s
    """).play(START).play("""
        buy bob 10 @ 94
        mark 94
        expect event FILL.LIQUIDATION alice lots -1
        at 5s
        clock
        expect no event FILL.LIQUIDATION
        expect event FILL.TAKEOVER alice lots -9 price 90
    """)


def test_a_step_may_come_again_after_its_time(exchange: Venue):
    """R111. With a pause of ten seconds it is time again."""
    exchange.play("""
        given steps = chunk chunk_lots 1 once_in_ns 10s pause_ns 10s
    """).play(START).play("""
        buy bob 10 @ 94
        mark 94
        at 10s
        clock
        expect event FILL.LIQUIDATION alice lots -1
    """)


def test_liquidations_of_a_market_share_a_window(exchange: Venue):
    """R112. Eight lots in ten seconds: six of Alice, then two of Carol. The fund takes the rest;
    when the window is over the next six begin another."""
    exchange.play("given steps = chunk chunk_lots 6 window_lots 8 window_ns 10s").play(
        START
    ).play("""
        open carol
        open dave
        deposit carol 100
        deposit dave 120
        seed carol 10 @ 100
        seed dave 10 @ 100
        buy bob 30 @ 90
        at 100s
        mark 94
        expect event FILL.LIQUIDATION alice lots -6 price 90
        expect event FILL.LIQUIDATION carol lots -2 price 90
        expect event FILL.TAKEOVER carol lots -8 price 90
        at 110s
        mark 92
        expect event FILL.LIQUIDATION dave lots -6 price 90
    """)


def test_a_window_is_still_open_one_moment_before(exchange: Venue):
    """R112. One nanosecond too early there is nothing left for Dave."""
    exchange.play("given steps = chunk chunk_lots 8 window_lots 8 window_ns 10ns").play(
        START
    ).play("""
        open dave
        deposit dave 120
        seed dave 10 @ 100
        buy bob 30 @ 90
        at 1s
        mark 94
        expect event FILL.LIQUIDATION alice lots -8
        wait 9ns
        mark 92
        expect liquidated dave
        expect no event FILL.LIQUIDATION
    """)


@pytest.mark.parametrize(("down", "lots"), [(0, 50), (1, 10), (2, 50), (9, 50)])
def test_just_enough_to_fit_a_lower_tier(exchange: Venue, down: int, lots: int):
    """R113. Sixty lots at 100 are 6 000, in the third tier; 50 fit the second, ten the first.
    They need 20 % less 550, 650, and have 640."""
    exchange.play(f"given steps = lower_tier tiers_down {down}").play(with_alice(60, "640")).play(
        f"""
        expect liquidated alice
        expect event CANCELLED.IOC_REMAINDER alice lots {lots}
    """
    )


def test_in_the_lowest_tier_there_is_no_lower_one(exchange: Venue):
    """R113, R87. 940 is in the first tier: the step does not apply, the next one does."""
    exchange.play("given steps = lower_tier; chunk chunk_lots 3").play(START).play("""
        mark 94
        expect event CANCELLED.IOC_REMAINDER alice lots 3
    """)


def test_tiers_may_go_by_contracts(exchange: Venue):
    """R113, R30. Tiers up to 5, 20 and 100 lots, each for the whole: ten lots need 10 %, 94, and
    are five too many for the first tier."""
    exchange.play("""
        given lots tiers 5 20 100
        given steps = lower_tier
    """).play(START).play("""
        expect no event LIQUIDATION_STARTED
        mark 99
        expect event LIQUIDATION_STARTED alice amount 90 fee 99
        expect event CANCELLED.IOC_REMAINDER alice lots 5
    """)


@pytest.mark.parametrize(
    ("limit", "price"),
    [
        ("bankruptcy", 90),
        ("mark limit_ppm 0", 94),
        ("mark limit_ppm 20000", 93),  # 92.12
        ("touch limit_ppm 0", 89),
        ("touch limit_ppm 20000", 88),  # 87.22
        ("none", 1),
    ],
)
def test_the_price_bound_of_a_step(exchange: Venue, limit: str, price: int):
    """R101. Four lots are bid for at 89; whoever is limited there or below sells them."""
    exchange.play(f"given steps = all limit {limit}").play(START).play(f"""
        buy bob 4 @ 89
        mark 94
        expect event CANCELLED.IOC_REMAINDER alice price {price}
        expect {"event" if price <= 89 else "no event"} FILL.LIQUIDATION alice lots -4 price 89
    """)


@pytest.mark.parametrize(
    ("limit", "price"),
    [
        ("mark limit_ppm 20000", 107),  # 107.10
        ("touch limit_ppm 20000", 112),  # 112.20
        ("none", 100000),
    ],
)
def test_and_the_other_way_round_for_a_short(exchange: Venue, limit: str, price: int):
    """R101. Short ten at 100 with a wallet of 100; at 105 50 are left against 55."""
    exchange.play(f"given steps = all limit {limit}").play(with_alice(-10, "100")).play(f"""
        sell bob 4 @ 110
        mark 105
        expect event CANCELLED.IOC_REMAINDER alice price {price}
    """)


def test_without_a_best_price_a_touch_order_finds_nobody(exchange: Venue):
    """R101. Nobody bids: the highest price there is."""
    exchange.play("given steps = all limit touch").play(START).play("""
        mark 94
        expect event CANCELLED.IOC_REMAINDER alice lots 10 price 100000
        expect event FILL.TAKEOVER alice price 90
    """)


HALF = with_alice(10, "83.5")


@pytest.mark.parametrize(("fund", "price"), [("20", 90), ("19.99", 92)])
def test_a_spread_that_grows_as_health_falls(exchange: Venue, fund: str, price: int):
    """R114. Wallet 83.50: at 94 there are 23.50, half of 47. Half of twice the maintenance margin
    is 47, 4.70 a lot: 89.30, so 90. The bankruptcy price is 91.65, so 92; the ten lots would cost
    the fund 20, and without them the limit is 92."""
    exchange.play("given steps = all limit spread limit_ppm 2000000").play(
        HALF.replace("deposit fund 100000", f"deposit fund {fund}")
    ).play(f"""
        mark 94
        expect event LIQUIDATION_STARTED alice amount 23.5 fee 47
        expect event CANCELLED.IOC_REMAINDER alice price {price}
    """)


def test_at_zero_equity_the_spread_is_whole(exchange: Venue):
    """R114. Wallet 60: nothing is left at 94. Once 47 is 4.70 a lot: 89.30, so 90; below zero it
    grows no further: at 93 46.50, so 88.35, 89."""
    for mark, price in ((94, 90), (93, 89)):
        venue = Venue(exchange.implementation)
        venue.play("given steps = all limit spread limit_ppm 1000000").play(
            with_alice(10, "60")
        ).play(f"""
            mark {mark}
            expect event CANCELLED.IOC_REMAINDER alice price {price}
        """)


@pytest.mark.parametrize(("lots", "sold"), [(10, True), (9, False)])
def test_a_step_may_be_all_or_nothing(exchange: Venue, lots: int, sold: bool):
    """R78. Nine bids are not enough for ten lots: none is sold, the fund takes all."""
    exchange.play("given steps = all order fok").play(START).play(f"""
        buy bob {lots} @ 92
        mark 94
        expect {"event" if sold else "no event"} FILL.LIQUIDATION alice lots -10 price 92
        expect {"no event" if sold else "event"} FILL.TAKEOVER alice lots -10 price 90
    """)


@pytest.mark.parametrize(("limit", "price", "left"), [("mark", 94, "40"), ("bankruptcy", 90, "0")])
def test_a_step_may_hand_lots_to_the_backstop(exchange: Venue, limit: str, price: int, left: str):
    """R78, R101. Off the book, although there is a bid."""
    exchange.play(f"given steps = all order transfer limit {limit}").play(START).play(f"""
        buy bob 10 @ 94
        mark 94
        expect event FILL.TRANSFER alice lots -10 price {price}
        expect no event FILL.LIQUIDATION
        expect backstop long 10 @ {price}
        expect alice wallet {left}
        expect book 94x10 |
    """)


@pytest.mark.parametrize(("select", "first"), [("largest", 1), ("largest_loss", 2)])
def test_which_position_goes_first(exchange: Venue, select: str, first: int):
    """R77. Five lots at 100 without a loss, four from 100 at 90 with a loss of 40: 40 left of 80
    against 25 + 18. Whatever goes first at its bankruptcy price is enough."""
    exchange.play(f"given liquidation.select = {select}").play("""
        given two markets
        given steps = all limit mark
        index 100
        open alice
        open bob
        deposit alice 80
        deposit bob 100000
        deposit fund 100000
        seed alice 5 @ 100
        buy bob 5 @ 100
        in market 2
        index 100
        seed alice 4 @ 100
        buy bob 4 @ 90
        mark 90
    """).play(f"""
        expect event LIQUIDATION_STARTED alice amount 40 fee 43
        expect event FILL.LIQUIDATION alice market_id {first}
        expect no event FILL.LIQUIDATION alice market_id {3 - first}
        expect event LIQUIDATION_ENDED.RESTORED alice amount 40
    """)


@pytest.mark.parametrize(("scope", "left"), [("none", 2), ("market", 1), ("account", 0)])
def test_whose_orders_are_cancelled_first(exchange: Venue, scope: str, left: int):
    """R76. One order in the market of the position and one in another."""
    exchange.play(f"given liquidation.cancel = {scope}").play("given two markets").play(
        with_alice(9, "110")
    ).play(f"""
        sell alice 1 @ 120 #1
        in market 2
        index 100
        sell alice 1 @ 110 #2
        in market 1
        mark 92
        expect event LIQUIDATION_STARTED alice amount 38 fee 41.4
        expect alice orders {left}
    """)


HEDGED = """
    index 100
    open alice hedge
    deposit alice 70
    deposit fund 100000
    seed alice 8 @ 100 long
    seed alice -5 @ 100 short
    mark 94
    expect event LIQUIDATION_STARTED alice amount 52 fee 61.1
"""


def test_hedged_legs_close_each_other_first(exchange: Venue):
    """R108. 48 lost and 30 won leave 52 against 37.60 + 23.50. Netted at mark, three long need
    14.10."""
    exchange.play("given liquidation.net_hedged = true").play(HEDGED).play("""
        expect event FILL.NETTED alice position_side 1 lots -5 price 94 amount -30
        expect event FILL.NETTED alice position_side 2 lots 5 price 94 amount 30
        expect event LIQUIDATION_ENDED.RESTORED alice amount 52
        expect alice long 3 @ 100
        expect alice wallet 70
    """)


def test_or_they_do_not(exchange: Venue):
    """R76, R77. Then the larger leg goes, at 94 - 52 / 8 = 87.50, so 88; the 4 that are left are
    not enough for the short."""
    exchange.play("given liquidation.net_hedged = false").play(HEDGED).play("""
        expect no event FILL.NETTED
        expect event FILL.TAKEOVER alice position_side 1 lots -8 price 88
        expect event FILL.TAKEOVER alice position_side 2 lots 5 price 94
    """)
