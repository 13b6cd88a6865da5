"""A run's book goes out as it was: levels rebuilt from events equal the exchange's own orders."""

import numpy as np
import polars as pl

from engine.bench.flows import make_flow
from engine.bench.work import exchange_flow, opening
from engine.constants import CommandKind, EventKind
from engine.exchange import Exchange, command
from engine.export import RunBook, export_hftbacktest
from engine.importers.common import market_spec
from engine.importers.hftbacktest_npz import BUY_EVENT, SELL_EVENT, read_hftbacktest
from engine.replay import replay
from engine.rows import EVENT
from engine.scenario import load_scenario
from engine.venue import Capacities, load_venue
from small_scenario import write_small

ACCOUNTS = 50


def book_of(rows: np.ndarray) -> dict[tuple[int, int], int]:
    """The last book; after no row is a bid at or above an ask."""
    bids: dict[int, int] = {}
    asks: dict[int, int] = {}
    for kind, side, price, lots in rows[["kind", "side", "price", "lots"]].tolist():
        if kind == CommandKind.DEPTH:
            levels = bids if side == 1 else asks
            levels[price] = lots
            if not lots:
                del levels[price]
            assert max(bids, default=0) < min(asks, default=2**62)
    return {(side, p): n for side, book in ((1, bids), (2, asks)) for p, n in book.items()}


def test_the_book_of_random_flow():
    flow = make_flow("realistic", 6_000, seed=3)
    capacities = Capacities(accounts_max=100, positions_max=100, orders_max=8_000)
    exchange = Exchange("binance_usdm", capacities=capacities, feedback_ppm=0)
    book = RunBook(1)
    parts = [book.update(exchange.submit(command("INDEX", market_id=1, price=5_000_000)))]
    for batch in (opening(ACCOUNTS, 10**14), exchange_flow(flow.rows, ACCOUNTS)):
        parts += [book.update(events.copy()) for events in exchange.stream(batch)]
    rows = np.concatenate([*parts, book.finish()])
    expected: dict[tuple[int, int], int] = {}
    orders = exchange.rows()["orders"]
    for side, price, lots in orders[:, 3:6].tolist():
        expected[side, price] = expected.get((side, price), 0) + lots
    assert book_of(rows) == expected and len(expected) > 100
    assert (rows["kind"] == CommandKind.TRADE).sum() == flow.trades > 100
    assert set(rows["side"][rows["kind"] == CommandKind.TRADE].tolist()) == {1, 2}


def test_what_is_gone_comes_first():
    events = np.zeros(3, EVENT)
    events["seq"], events["kind"], events["market_id"] = [1, 2, 2], EventKind.DEPTH_SET, 1
    events["side"], events["price"], events["lots"] = [2, 1, 2], [104, 105, 104], [9, 5, 0]
    book = RunBook(1)
    rows = np.concatenate([book.update(events), book.finish()])
    assert book_of(rows) == {(1, 105): 5}
    assert rows["flags"].tolist() == [32, 0, 32]


def test_a_run_folder(tmp_path):
    loaded = load_scenario(write_small(tmp_path))
    replay(loaded, tmp_path / "run")
    count = export_hftbacktest(tmp_path / "run", "BTCUSDT", tmp_path / "a.npz")
    spec = market_spec(load_venue("binance_usdm"), "BTCUSDT")
    rows = np.concatenate(list(read_hftbacktest(tmp_path / "a.npz", spec)))
    assert len(rows) == count
    events = pl.read_parquet(tmp_path / "run" / "events.parquet")
    book = book_of(rows)
    bids = [price for side, price in book if side == 1]
    asks = [price for side, price in book if side == 2]
    assert set(book.values()) == {5} and (len(bids), len(asks)) == (1, 1) and bids < asks
    fills = events.filter(
        (pl.col("kind") == "fill") & (pl.col("flags") & 16 > 0)
        & pl.col("reason").is_in(["trade", "liquidation"])
    )  # fmt: skip
    trades = rows[rows["kind"] == CommandKind.TRADE]
    assert trades["lots"].tolist() == fills["lots"].abs().to_list() and len(trades) > 0
    sides = np.load(tmp_path / "a.npz")["data"]["ev"] & np.uint64(BUY_EVENT | SELL_EVENT)
    assert (sides != 0).all()  # no side is missing, of trades either
