"""What an account is told about itself: its margin domains and their positions.

Alice holds ten lots at 100 with a wallet of 100. Every number here is ours.
"""

from notation import Venue

from engine.views import DomainView


def views(venue: Venue, name: str) -> list[DomainView]:
    """The domains of an account, as the implementation in question reports them."""
    return venue.engine.inspect(venue.account(name))


START = """
    given steps = cover_shortage; all limit mark limit_ppm 20000
    given trigger.exit = buffer
    given trigger.exit_buffer_ppm = 10000
    index 100
    open alice
    deposit alice 100
    seed alice 10 @ 100
    mark 96
"""


def test_a_wallet_and_its_position(exchange: Venue):
    """R127, R37, R70, R111. At 96 there are 60: 5 % of 960 is needed, 1 % more to end a
    liquidation, 10 % at first; nothing is short, so the first step does not apply. The second
    sells ten lots at 94.08, so 95."""
    exchange.play(START).play("""
        expect alice equity 60
        expect alice maintains 48
        expect alice asks 48
        expect alice exit 57.6
        expect alice initial 96
        expect alice bankrupt at 90
        expect alice step 1 lots 0
        expect alice step 2 lots 10 limit 95
    """)
    [domain] = views(exchange, "alice")
    assert (domain.market_id, domain.balance, domain.equity) == (0, 10_000, 6_000)
    assert (domain.notional, domain.level, domain.due_ns) == (96_000, 0, 0)
    [leg] = domain.positions
    assert (leg.lots, leg.entry_quote, leg.notional) == (10, 100_000, 96_000)
    assert (leg.unrealised, leg.tier, leg.maintenance, leg.initial) == (-4_000, 0, 4_800, 9_600)


def test_an_isolated_leg_stands_by_itself(exchange: Venue):
    """R127, R35. The wallet first, without positions; then the leg with its own margin."""
    exchange.play("""
        index 100
        open alice
        isolated alice
        deposit alice 200
        seed alice 10 @ 100 isolated 150
        mark 95
    """)
    wallet, leg = views(exchange, "alice")
    assert (wallet.market_id, wallet.balance, wallet.positions) == (0, 5_000, [])
    assert (leg.market_id, leg.balance, leg.equity) == (1, 15_000, 10_000)
    assert leg.positions[0].bankruptcy_price == 85


def test_asking_changes_nothing(exchange: Venue):
    """R127."""
    exchange.play(START)
    before = {name: [tuple(r) for r in rows] for name, rows in exchange.engine.rows().items()}
    views(exchange, "alice")
    after = {name: [tuple(r) for r in rows] for name, rows in exchange.engine.rows().items()}
    assert before == after
