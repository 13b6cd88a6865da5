"""Matching: price, then time; what an order does when it arrives. Every number here is ours."""

from notation import Venue

TRADERS = """
    index 100
    open alice
    open bob
    open carol
    open dave
    deposit alice 100000
    deposit bob 100000
    deposit carol 100000
    deposit dave 100000
"""


def test_the_better_price_trades_first_at_the_resting_price(exchange: Venue):
    """R10, R11, R16. The buyer would pay 103 and pays 101 and 102."""
    exchange.play(TRADERS).play("""
        sell bob 2 @ 102
        sell carol 3 @ 101
        expect book | 101x3 102x2
        buy alice 4 @ 103
        expect events FILL.TRADE FILL.TRADE FILL.TRADE FILL.TRADE
        expect event FILL alice lots 3 price 101 other_id carol
        expect event FILL alice lots 1 price 102 other_id bob
        expect alice long 4 for 405           -- 3 * 101 + 102
        expect carol short 3 @ 101
        expect bob short 1 @ 102
        expect book | 102x1
        expect last 102
    """)


def test_at_one_price_the_older_order_trades_first(exchange: Venue):
    """R10, R17. Bob came first and is filled whole; Carol keeps what is left, in her place."""
    exchange.play(TRADERS).play("""
        sell bob 2 @ 101
        sell carol 2 @ 101
        sell dave 2 @ 101
        buy alice 3 @ 101
        expect bob short 2
        expect carol short 1
        expect queue sell 101: carol 1, dave 2
    """)


def test_the_takers_event_comes_first_and_says_what_each_side_did(exchange: Venue):
    """R18. Two FILL rows: opposite lots, one price, the maker's row flagged."""
    exchange.play(TRADERS).play("""
        sell bob 2 @ 101 #7
        buy alice 5 @ 101 #8
        expect events FILL.TRADE FILL.TRADE RESTED
        expect event FILL alice order_id 8 lots 2 side 1 flags 0
        expect event FILL bob order_id 7 lots -2 side 2 flags 16
        expect event RESTED alice order_id 8 lots 3 price 101
    """)


def test_what_a_limit_order_does_not_fill_rests_behind_its_level(exchange: Venue):
    """R13, R19."""
    exchange.play(TRADERS).play("""
        sell bob 2 @ 101
        buy carol 1 @ 100
        buy alice 5 @ 100
        expect book 100x6 | 101x2
        expect queue buy 100: carol 1, alice 5
    """)


def test_a_resting_order_at_the_limit_trades_and_one_tick_beyond_does_not(exchange: Venue):
    """R11. 101 is within a buy's limit of 101, 102 is not."""
    exchange.play(TRADERS).play("""
        sell bob 1 @ 101
        sell bob 1 @ 102
        buy alice 2 @ 101 ioc
        expect events FILL FILL CANCELLED.IOC_REMAINDER
        expect event CANCELLED alice lots 1
        expect book | 102x1
    """)


def test_immediate_or_cancel_never_rests(exchange: Venue):
    """R19. Nothing crosses: the whole order is cancelled."""
    exchange.play(TRADERS).play("""
        buy alice 2 @ 99 ioc
        expect events CANCELLED.IOC_REMAINDER
        expect alice orders 0
        expect alice flat
    """)


def test_fill_or_kill_takes_everything_or_is_refused(exchange: Venue):
    """R09. Three lots are for sale within the limit: 3 fill, 4 are refused untouched."""
    exchange.play(TRADERS).play("""
        sell bob 2 @ 101
        sell carol 1 @ 102
        sell carol 5 @ 103
        buy alice 4 @ 102 fok
        expect rejected FOK_NOT_FILLABLE
        expect book | 101x2 102x1 103x5
        buy alice 3 @ 102 fok
        expect alice long 3 for 304           -- 101 + 101 + 102
        expect book | 103x5
    """)


def test_fill_or_kill_does_not_count_what_could_vanish(exchange: Venue):
    """R09. Reduce-only orders may be cancelled before they trade, so they do not count."""
    exchange.play(TRADERS).play("""
        seed bob 5 @ 100
        sell bob 5 @ 101 reduce
        buy alice 5 @ 101 fok
        expect rejected FOK_NOT_FILLABLE
        buy alice 5 @ 101 ioc
        expect alice long 5 @ 101
    """)


def test_a_market_order_takes_what_there_is_and_drops_the_rest(exchange: Venue):
    """R11, R19. Without a band it trades to the end of the book."""
    exchange.play(TRADERS).play("""
        sell bob 1 @ 101
        sell bob 1 @ 150
        buy alice 3 market
        expect events FILL FILL FILL FILL CANCELLED.MARKET_REMAINDER
        expect alice long 2 for 251
        expect event CANCELLED alice lots 1 price 0
        expect book |
    """)


def test_a_market_order_stops_at_the_price_band(exchange: Venue):
    """R05, R11. Mark 100, band 5 %: a buy reaches 105, not 106."""
    exchange.play("given market.price_band_ppm = 50000").play(TRADERS).play("""
        sell bob 1 @ 105
        sell bob 1 @ 106
        buy alice 2 market
        expect alice long 1 @ 105
        expect event CANCELLED.MARKET_REMAINDER alice lots 1
        expect book | 106x1
    """)


def test_post_only_never_takes(exchange: Venue):
    """R08. At the best ask it would trade and is refused; one tick below it rests."""
    exchange.play(TRADERS).play("""
        sell bob 1 @ 101
        buy alice 1 @ 101 post
        expect rejected POST_ONLY_WOULD_CROSS
        buy alice 1 @ 100 post
        expect book 100x1 | 101x1
    """)


def test_fewer_lots_keep_the_place_in_the_queue(exchange: Venue):
    """R14."""
    exchange.play(TRADERS).play("""
        sell bob 5 @ 101 #1
        sell carol 5 @ 101 #2
        amend bob #1 2 @ 101
        expect events AMENDED
        expect queue sell 101: bob 2, carol 5
        amend bob #1 2 @ 101                  -- nothing changes, nothing is lost
        expect queue sell 101: bob 2, carol 5
    """)


def test_more_lots_or_another_price_lose_the_place(exchange: Venue):
    """R14. The order is cancelled and entered anew, under its own id."""
    exchange.play(TRADERS).play("""
        sell bob 5 @ 101 #1
        sell carol 5 @ 101 #2
        amend bob #1 6 @ 101
        expect events CANCELLED.AMENDED RESTED
        expect queue sell 101: carol 5, bob 6
        amend carol #2 5 @ 102
        expect book | 101x6 102x5
        amend carol #2 5 @ 101
        expect queue sell 101: bob 6, carol 5
    """)


def test_an_amended_order_can_trade_at_once(exchange: Venue):
    """R14. Its new price crosses: it is a taker like any new order."""
    exchange.play(TRADERS).play("""
        sell bob 5 @ 103 #1
        buy carol 2 @ 100
        amend bob #1 5 @ 100
        expect events CANCELLED.AMENDED FILL FILL RESTED
        expect bob short 2 @ 100
        expect book | 100x3
    """)


def test_an_amended_order_that_reduces_is_cut_to_its_position(exchange: Venue):
    """R14, R28. Bob is short 3 and may buy back 3 lots, not 9."""
    exchange.play(TRADERS).play("""
        sell bob 3 @ 100
        buy carol 3 @ 100
        buy bob 2 @ 98 reduce #7
        amend bob #7 9 @ 97
        expect events CANCELLED.AMENDED CANCELLED.REDUCE_ONLY RESTED
        expect book 97x3 |
        amend bob #7 1 @ 99
        expect events CANCELLED.AMENDED RESTED
        expect book 99x1 |
    """)


def test_an_amended_order_is_checked_as_if_it_were_gone(exchange: Venue):
    """R14, R41. Erin's 50 carry five lots at leverage 10: four and another four would not fit, and
    beside a sale of two a purchase of four may become one of five."""
    exchange.play(TRADERS).play("""
        open erin
        deposit erin 50
        buy erin 4 @ 99 #1
        amend erin #1 4 @ 98
        expect events CANCELLED.AMENDED RESTED
        expect book 98x4 |
        sell erin 2 @ 105 #2
        amend erin #1 5 @ 97
        expect events CANCELLED.AMENDED RESTED
        amend erin #2 5 @ 106
        expect events CANCELLED.AMENDED RESTED
        amend erin #2 6 @ 106
        expect rejected INSUFFICIENT_MARGIN
        expect book 97x5 | 106x5
    """)


def test_an_order_that_moves_is_the_newest_of_its_account(exchange: Venue):
    """R13, R14, R15. One in the middle, again when it is the newest already, then the oldest."""
    exchange.play(TRADERS).play("""
        sell bob 2 @ 101 #1
        sell bob 2 @ 102 #2
        sell bob 2 @ 103 #3
        amend bob #2 2 @ 104
        amend bob #2 2 @ 105
        amend bob #1 2 @ 106
        cancel bob all
        expect events CANCELLED.USER CANCELLED.USER CANCELLED.USER
    """)
    assert [int(event["order_id"]) for event in exchange.events] == [3, 2, 1]


def test_an_amendment_that_is_refused_leaves_the_order(exchange: Venue):
    """R02, R14. Erin's 50 carry five lots at leverage 10, not six."""
    exchange.play(TRADERS).play("""
        open erin
        deposit erin 50
        buy erin 5 @ 100 #1
        amend erin #1 6 @ 100
        expect rejected INSUFFICIENT_MARGIN
        amend erin #1 0 @ 100
        expect rejected LOTS_OUT_OF_RANGE
        expect book 100x5 |
    """)


def test_cancel_takes_out_the_whole_order_and_cancel_all_the_oldest_first(exchange: Venue):
    """R14, R15."""
    exchange.play(TRADERS).play("""
        sell bob 5 @ 101 #1
        buy bob 5 @ 99 #2
        stop buy bob 1 @ 120 mark #3
        cancel bob #2
        expect event CANCELLED.USER bob order_id 2 lots 5 price 99
        buy bob 5 @ 98 #4
        cancel bob all
        expect events CANCELLED.USER CANCELLED.USER CANCELLED.USER
        expect bob orders 0
        expect book |
    """)
    assert [int(event["order_id"]) for event in exchange.events] == [1, 3, 4]


def test_cancel_all_in_one_market_leaves_the_others(exchange: Venue):
    """R15."""
    exchange.play("given two markets").play(TRADERS).play("""
        buy bob 5 @ 99
        in market 2
        index 50
        buy bob 5 @ 49
        cancel bob all here
        expect book |
        in market 1
        expect book 99x5 |
    """)


def test_the_inverse_contract_matches_the_same_way(exchange: Venue):
    """R16, R20. One lot is 100 of face: 4 lots at 10 000 are 0.04 coin, 1 at 12 500 is 0.008."""
    exchange.play("""
        given inverse
        index 10000
        open alice
        open bob
        deposit alice 1
        deposit bob 1
        sell bob 4 @ 10000
        sell bob 1 @ 12500
        buy alice 5 @ 12500
        expect alice long 5 for -0.048
        expect bob short 5 for 0.048
        expect alice equity 0.998             -- five lots at mark 10 000 are worth -0.05
    """)
