"""Deleveraging as different venues do it: scores, candidates, prices, whose orders are cancelled.

Alice holds ten lots at 100 with a wallet of 100; at mark 94 she has 40 against 47 and is bankrupt
at 90. Bob is short six from 100, Carol eight from 110. Every number here is ours.
"""

import pytest
from notation import Venue
from small_venues import ALICE_BOB_CAROL

START = "given losses.waterfall = adl fund_unlimited\n" + ALICE_BOB_CAROL


@pytest.mark.parametrize(
    ("score", "winner", "loser"),
    [
        ("wallet_pct_margin_ratio", 100_000_000, 0),  # 125 / 125 * 25 / 250
        ("profit_times_leverage", 400_000_000, -125_000_000),  # 125 / 625 * 2; 100 / 400 / 2
        ("return_times_leverage", 5_000_000_000, -1_000_000_000),  # 125 / 50 * 2; 100 / 50 / 2
        ("price_gain_times_leverage", 2_500_000_000, 1_600_000_000),  # 1.25 * 2; 0.80 * 2
        ("none", 0, 0),
    ],
)
def test_the_scores(exchange: Venue, score: str, winner: int, loser: int):
    """R82, R127. Five lots short at mark 100: 500, initial margin 50, maintenance 25. Bob entered
    at 125 with a wallet of 125, Carol at 80 with 350: both have 250, a leverage of 2."""
    exchange.play(f"given losses.adl_score = {score}").play(f"""
        index 100
        open bob
        open carol
        deposit bob 125
        deposit carol 350
        seed bob -5 @ 125
        seed carol -5 @ 80
        expect bob scored {winner}
        expect carol scored {loser}
    """)


def test_a_long_gains_with_the_price(exchange: Venue):
    """R82. From 80 to 100: 1.25 times a leverage of 500 / 250."""
    exchange.play("given losses.adl_score = price_gain_times_leverage").play("""
        index 100
        open bob
        deposit bob 150
        seed bob 5 @ 80
        expect bob scored 2500000000
    """)


@pytest.mark.parametrize(
    ("score", "first"),
    [
        ("profit_times_leverage", "bob"),  # 36 / 600 * 564 / 136 and 128 / 880 * 752 / 1 128
        ("return_times_leverage", "bob"),  # 36 / 56.40 * 4.15 and 128 / 75.20 * 0.67
        ("price_gain_times_leverage", "bob"),  # 1.06 * 4.15 and 1.17 * 0.67
        ("none", "bob"),  # by account: size does not matter
    ],
)
def test_who_is_closed_first(exchange: Venue, score: str, first: str):
    """R82, R83."""
    exchange.play(f"given losses.adl_score = {score}").play(START).play(f"""
        mark 94
        expect event FILL.ADL {first}
        expect event FILL.ADL bob lots 6 price 90
        expect event FILL.ADL carol lots 4 price 90
        expect carol short 4
    """)


def test_a_return_counts_the_leverage_chosen(exchange: Venue):
    """R82. Carol from 100 as well, with 200: 36 / 600 * 564 / 236 and 36 / 56.40 * 2.39, half of
    that at leverage 5. Bob with 220 is before her only where the leverage counts."""
    for score, first in (("profit_times_leverage", "carol"), ("return_times_leverage", "bob")):
        venue = Venue(exchange.implementation)
        venue.play(f"""
            given losses.adl_score = {score}
            given losses.waterfall = adl fund_unlimited
            index 100
            open alice
            open bob
            open carol
            deposit alice 60
            deposit bob 220
            deposit carol 200
            leverage carol 5
            seed alice 6 @ 100
            seed bob -6 @ 100
            seed carol -6 @ 100
            mark 94
            expect event FILL.ADL {first} lots 6
        """)


def test_a_random_score(exchange: Venue):
    """R82, R100. Either of two equals, by the number of the command."""
    found = set()
    for later in range(20):
        venue = Venue(exchange.implementation)
        venue.play("""
            given losses.adl_score = random
            given losses.waterfall = adl fund_unlimited
            index 100
            open alice
            open bob
            open carol
            deposit alice 60
            deposit bob 200
            deposit carol 200
            seed alice 6 @ 100
            seed bob -6 @ 100
            seed carol -6 @ 100
        """).play("mark 100\n" * later + "mark 94")
        found.add(int(venue.events[venue.events["reason"] == 4][1]["account_id"]))
    assert found == {17, 18}


@pytest.mark.parametrize(("who", "closed"), [("opposite", True), ("winners", False)])
def test_losers_may_be_left_alone(exchange: Venue, who: str, closed: bool):
    """R83. Carol is short from 80, 14 a lot behind."""
    exchange.play(f"given losses.adl_candidates = {who}").play(
        START.replace("seed carol -8 @ 110", "seed carol -8 @ 80")
    ).play(f"""
        mark 94
        expect event FILL.ADL bob lots 6
        expect {"event" if closed else "no event"} FILL.ADL carol lots 4
        expect {"no event" if closed else "event"} FILL.RESIDUAL alice lots -4
    """)


def test_whoever_is_even_has_not_won(exchange: Venue):
    """R83. Bob and Carol are short from the mark."""
    exchange.play("given losses.adl_candidates = winners").play(
        START.replace("carol -8 @ 110", "carol -8 @ 94").replace("bob -6 @ 100", "bob -6 @ 94")
    ).play("""
        mark 94
        expect no event FILL.ADL
    """)


@pytest.mark.parametrize(("scope", "left"), [("none", 2), ("market", 1), ("account", 0)])
def test_whose_orders_are_cancelled(exchange: Venue, scope: str, left: int):
    """R84. Bob has an order in each of two markets."""
    exchange.play(f"given losses.adl_cancel = {scope}").play("given two markets").play(
        START
    ).play(f"""
        buy bob 1 @ 80 #1
        in market 2
        index 100
        buy bob 1 @ 80 #2
        in market 1
        mark 94
        expect event FILL.ADL bob lots 6
        expect bob orders {left}
    """)


@pytest.mark.parametrize(
    ("rule", "price", "left"),
    [("bankruptcy", 90, "0"), ("mark", 94, "40"), ("previous_mark", 97, "70")],
)
def test_the_price_of_deleveraging(exchange: Venue, rule: str, price: int, left: str):
    """R119. The mark was 97 before it was 94."""
    exchange.play(f"given losses.adl_price = {rule}").play(START).play(f"""
        mark 97
        mark 94
        expect event FILL.ADL alice lots -6 price {price}
        expect event FILL.ADL alice lots -4 price {price}
        expect alice wallet {left}
    """)


@pytest.mark.parametrize(("fund", "price"), [("50", 94), ("49.99", 90)])
def test_the_mark_unless_the_fund_is_low(exchange: Venue, fund: str, price: int):
    """R119. Low is below 50."""
    exchange.play("""
        given losses.adl_price = mark_unless_fund_low
        given losses.fund_low = 50
    """).play(START).play(f"""
        deposit fund {fund}
        mark 94
        expect event FILL.ADL alice lots -6 price {price}
    """)


def test_a_loss_at_mark_is_not_the_winners(exchange: Venue):
    """R119, R86. At 85 Alice is 50 short: closed at mark, the fund pays."""
    exchange.play("given losses.adl_price = mark").play(START).play("""
        deposit fund 60
        mark 85
        expect event FILL.ADL alice lots -6 price 85
        expect event SHORTFALL alice amount 50
    """)
