"""The book against real records: a futures exchange's own fills, a venue's own best quotes, and a
stock exchange's level-1 file."""

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from engine.core.flow import FLOW, Op
from engine.exchange import Exchange
from engine.importers.common import market_spec
from engine.importers.feed_check import check_feed, check_flow
from engine.importers.lobster import read_lobster
from engine.importers.raw_websocket import read_raw_feed
from engine.match import BookAlone, MatchError, run_match
from engine.price_files import recorded_as
from engine.venue import Capacities, VenueProfile, load_venue, validate

pytestmark = pytest.mark.realdata


def test_every_fill_quote_and_the_final_book_of_a_futures_exchange(shared_data, tmp_path):
    data = shared_data / "l3_cme_es"
    result = run_match(
        data / "commands.csv.gz",
        initial=data / "initial_book.csv.gz",
        fills=tmp_path / "fills.csv",
        final=tmp_path / "final.csv",
        bbo=tmp_path / "bbo.csv",
        bbo_every=250,
    )
    assert (result.messages, result.trades, result.qty) == (18_613, 1_959, 2_820)
    assert result.live == 10_449
    for ours, theirs, rows in (
        ("fills.csv", "expected_fills.csv.gz", 1_959),
        ("bbo.csv", "expected_bbo.csv.gz", 75),
        ("final.csv", "final_book.csv.gz", 10_449),
    ):
        expected = pl.read_csv(data / theirs)
        assert len(expected) == rows
        assert pl.read_csv(tmp_path / ours).equals(expected), theirs


def test_one_changed_size_is_seen(shared_data, tmp_path):
    data = shared_data / "l3_cme_es"
    rows = pl.read_csv(data / "commands.csv.gz", infer_schema=False)
    taking = rows["op"] == "ioc"
    place = taking.arg_true()[-1]
    changed = rows.with_columns(
        size=pl.when(pl.int_range(pl.len()) == place).then(pl.lit("77")).otherwise("size")
    )
    changed.write_csv(tmp_path / "commands.csv")
    run_match(
        tmp_path / "commands.csv", initial=data / "initial_book.csv.gz", fills=tmp_path / "f.csv"
    )
    expected = pl.read_csv(data / "expected_fills.csv.gz")
    assert not pl.read_csv(tmp_path / "f.csv").equals(expected)


def profile_of_2024():
    """The shipped profile with the tick of August 2024, so that its price range covers the book."""
    data = msgspec.to_builtins(load_venue("binance_usdm"))
    data["markets"][0] |= {
        "tick": "0.10",
        "price_max": "1600000",
        "open_interest_lots_max": 30_000_000,
    }
    return validate(msgspec.convert(data, VenueProfile))


class EngineBook:
    """The exchange's book, moved forward along the commands of a capture."""

    def __init__(self, commands: np.ndarray) -> None:
        self.commands, self.done = recorded_as(commands, "price"), 0
        capacities = Capacities(accounts_max=1, positions_max=1, orders_max=100_000)
        self.exchange = Exchange(profile_of_2024(), capacities=capacities, feedback_ppm=0)

    def advance(self, count: int) -> None:
        if count > self.done:
            events = self.exchange.submit(self.commands[self.done : count])
            refused = events[events["kind"] == 1]
            assert len(refused) == 0, refused
            self.done = count

    def best(self) -> tuple[int, int, int, int]:
        return self.exchange.best(1)


def test_best_quotes_equal_the_venues_own_wherever_they_can_be_compared(shared_data):
    """All 93,954 messages. A quote can be compared with a difference that covers its update id;
    60,386 quotes are overtaken by a later one inside the same difference."""
    path = shared_data / "raw_feed_20240808" / "binance_usdm_btcusdt_20240808.gz"
    feed = read_raw_feed(path, market_spec(profile_of_2024(), "BTCUSDT"), "BTCUSDT")
    check = check_feed(feed.blocks(), book_of=EngineBook)
    print(f"messages {feed.report.rows_read}, gaps {feed.report.gaps}, {check}")
    assert (feed.report.rows_read, feed.report.gaps) == (93_954, 0)
    assert (check.different, check.crossed, check.unquoted) == (0, 0, 0), check.examples
    assert (check.exact_equal, check.covered_equal, check.carried_equal) == (629, 5_074, 845)


class AloneBook:
    """The book alone behind the methods that `check_flow` drives."""

    def __init__(self) -> None:
        self.book = BookAlone(100_000, 60_000)

    def _run(self, op: Op, order_id: int, side: int, price: int, size: int) -> np.ndarray:
        rows = np.array([(op, order_id, side, price, size)], dtype=FLOW)
        return np.concatenate([part.copy() for part in self.book.run(rows)])

    def add(self, order_id: int, side: str, price: int, size: int) -> None:
        self._run(Op.ADD, order_id, 1 if side == "B" else 2, price, size)

    def reduce(self, order_id: int, size: int) -> None:
        self._run(Op.REDUCE, order_id, 1, 0, size)

    def take(self, side: str, price: int, size: int) -> None:
        self.taken = getattr(self, "taken", 0) + 1
        fills = self._run(Op.IOC, 2**61 + self.taken, 1 if side == "B" else 2, price, size)
        assert fills["lots"].sum() == size and (fills["price"] == price).all()

    def best(self) -> tuple[int, int, int, int]:
        bid, bid_size, _, ask, ask_size, _, _ = self.book.best()
        return ask, ask_size, bid, bid_size


def test_level_1_quotes_of_a_stock_day(shared_data):
    """57,515 rows: 49,347 follow from the messages; in 8,167 the best level was used up and the
    next one, which a level-1 message file cannot tell, is taken from the quotes; 1 is the start."""
    stem = str(shared_data / "lobster" / "AMZN_2012-06-21_34200000_57600000_")
    import_ = read_lobster(f"{stem}message_1.csv.gz", f"{stem}orderbook_1.csv.gz")
    assert check_flow(import_.blocks(), AloneBook()) == (57_515, 57_515)
    print(import_.report.counts)


def test_a_row_that_cannot_be_applied_is_named(shared_data, tmp_path):
    data = shared_data / "l3_cme_es"
    rows = pl.read_csv(data / "commands.csv.gz", infer_schema=False).head(20)
    rows[7, "order_id"] = "77"
    rows.write_csv(tmp_path / "commands.csv")
    out = tmp_path / "fills.csv"
    initial = Path(data / "initial_book.csv.gz")
    with pytest.raises(MatchError, match=r"^commands.csv: row 8: UNKNOWN_ORDER: op \w+ order 77"):
        run_match(tmp_path / "commands.csv", initial=initial, fills=out)
    assert not out.exists()
