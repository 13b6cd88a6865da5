"""Who is liquidated first when several are in breach, and who waits for deleveraging.

Everybody is long from 100. Accounts are opened alice, bob, carol. Every number here is ours.
"""

from itertools import permutations

import pytest
from notation import Venue

from engine.core.margin import mixed as core_mixed
from engine.reference.margin import mixed

START = """
    index 100
    open alice
    open bob
    open carol
    deposit alice 100
    deposit bob 90
    deposit carol 95
    seed alice 10 @ 100
    seed bob 10 @ 100
    seed carol 10 @ 100
"""


@pytest.mark.parametrize(
    ("order", "found"), [("account", "alice bob carol"), ("worst_first", "bob carol alice")]
)
def test_the_order_of_liquidation(exchange: Venue, order: str, found: str):
    """R74, R102. At 94 they have 40, 30 and 35 against 47 each."""
    exchange.play(f"given liquidation.order = {order}").play(START).play(f"""
        mark 94
        expect liquidated {found}
    """)


def test_the_worst_is_so_in_proportion(exchange: Venue):
    """R102. Dave with twenty lots has 80 against 188 - 50, 0.58 of what he needs; Alice with 40
    has 0.85."""
    exchange.play("given liquidation.order = worst_first").play("""
        index 100
        open alice
        open dave
        deposit alice 100
        deposit dave 200
        seed alice 10 @ 100
        seed dave 20 @ 100
        mark 94
        expect liquidated dave alice
    """)


def test_below_zero_all_are_equally_bad(exchange: Venue):
    """R102. At 85 they have -50, -60 and -55: by account."""
    exchange.play("given liquidation.order = worst_first").play(START).play("""
        mark 85
        expect liquidated alice bob carol
    """)


def test_a_random_number_from_two(exchange: Venue):
    """R100. By hand: nothing from nothing; from 1 and 0 1 103 515 245, mixed with itself shifted by
    17, times 1 597 334 677, mixed by 15, without its last seven bits. Never 2**24 or more."""
    plain = getattr(core_mixed, "py_func", core_mixed)  # only kernels may call the compiled one
    chosen = mixed if exchange.implementation == "rulebook" else plain
    assert chosen(0, 0) == 0
    low = 2**31 - 1
    first = 1_103_515_245 ^ (1_103_515_245 >> 17)
    second = ((first & low) * 1_597_334_677) ^ (((first & low) * 1_597_334_677) >> 15)
    assert chosen(1, 0) == (second & low) >> 7
    drawn = [chosen(a, b) for a in range(40) for b in range(40)]
    assert min(drawn) >= 0
    assert max(drawn) < 2**24
    assert len(set(drawn)) > 1_500


def test_a_random_order_is_another_one_with_every_command(exchange: Venue):
    """R102, R100. Every order of three accounts comes up when the breach comes later and later."""
    found = set()
    for later in range(60):
        venue = Venue(exchange.implementation)
        venue.play("given liquidation.order = random").play(START)
        venue.play("mark 100\n" * later + "mark 94")
        names = {number: name for name, number in venue.names.items()}
        started = venue.events[venue.events["kind"] == 19]
        found.add(tuple(names[int(row["account_id"])] for row in started))
        if len(found) == 6:
            break
    assert found == set(permutations(("alice", "bob", "carol")))


def test_a_random_position_goes_first(exchange: Venue):
    """R77, R100. Of two equal positions either goes first, by the number of the command."""
    found = set()
    for later in range(20):
        venue = Venue(exchange.implementation)
        venue.play("""
            given liquidation.select = random
            given two markets
            index 100
            open alice
            deposit alice 100
            seed alice 5 @ 100
            in market 2
            index 100
            seed alice 5 @ 100
            deposit fund 100000
            in market 1
        """).play("mark 100\n" * later + "mark 85")
        taken = venue.events[venue.events["reason"] == 3]
        found.add(int(taken[0]["market_id"]))
    assert found == {1, 2}


PHASES = """
    given losses.waterfall = adl fund_unlimited
    index 100
    open alice
    open bob
    open carol
    deposit alice 100
    deposit bob 95
    deposit carol 1000
    seed alice 10 @ 100
    seed bob 10 @ 100
    seed carol -20 @ 100
"""


def test_deleveraging_may_wait_until_all_books_were_tried(exchange: Venue):
    """R80, R90. Alice finds nobody and waits; Bob finds nobody and waits; then both are closed
    against Carol, at 90 and 91."""
    exchange.play("given liquidation.phase = adl_last").play(PHASES).play("""
        mark 94
        expect liquidated alice bob alice bob
        expect event LIQUIDATION_ENDED.PAUSED alice amount 40
        expect event FILL.ADL alice lots -10 price 90
        expect event FILL.ADL bob lots -10 price 91
        expect event LIQUIDATION_ENDED.DELEVERAGED bob amount 5
    """)


def test_or_it_is_each_accounts_last_step(exchange: Venue):
    """R80."""
    exchange.play(PHASES).play("""
        mark 94
        expect liquidated alice bob
        expect no event LIQUIDATION_ENDED.PAUSED
    """)


def test_no_order_is_tried_again_in_the_second_phase(exchange: Venue):
    """R80. Each has sent one order, in the first."""
    exchange.play("given liquidation.phase = adl_last").play(PHASES).play("mark 94")
    ended = exchange.events[(exchange.events["kind"] == 11) & (exchange.events["reason"] == 2)]
    assert len(ended) == 2
