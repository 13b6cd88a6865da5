"""The tables of a run hold what happened, exactly; the page shows it, opens and draws."""

import json
import re
from decimal import Decimal

import msgspec
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from engine import constants as c
from engine.audit import Audit
from engine.report import words
from engine.report.page import page_data, render_page, write_page
from engine.report.series import price_buckets, read_series, stretch_length, thin
from engine.report.tables import RunSummary, RunWriter
from engine.venue import load_venue, market_numbers
from event_story import FUND, K, Story, crash

PROFILE = load_venue("binance_usdm")
MARKETS = [market_numbers(PROFILE, market) for market in PROFILE.markets]
TABLES = ["events", "fills", "marks", "fund", "liquidations", "adl", "accounts", "positions"]
MONEY = Decimal(10) ** PROFILE.settlement.decimals


def write(folder, story: Story, batch: int = 10_000) -> RunSummary:
    writer = RunWriter(folder, PROFILE)
    events = story.array()
    for start in range(0, len(events), batch):
        writer.update(events[start : start + batch])
    return writer.finish(story.rows())


@pytest.fixture(scope="module")
def story() -> Story:
    return crash(MARKETS, accounts=250, minutes=1_200)


@pytest.fixture(scope="module")
def run(story, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, write(folder, story)


def total(table: pl.DataFrame, column: str) -> int:
    return int(sum(table[column].to_list()) * MONEY)


def test_every_table_is_there_and_says_its_units(run):
    folder, _ = run
    for name in TABLES:
        facts = json.loads(pq.read_schema(folder / f"{name}.parquet").metadata[b"crashtape"])
        assert facts["asset"] == "USDT"
        assert facts["profile_hash"] == PROFILE.hash()


def test_tables_do_not_depend_on_batches(run, story, tmp_path):
    folder, summary = run
    assert write(tmp_path, story, batch=7) == summary
    for name in TABLES:
        one, other = (pl.read_parquet(f / f"{name}.parquet") for f in (folder, tmp_path))
        assert one.equals(other), name


def test_events_are_kept_to_the_last_digit(run, story):
    table, events = pl.read_parquet(run[0] / "events.parquet"), story.array()
    for name in ("seq", "account_id", "order_id", "other_id", "price", "lots", "amount", "fee"):
        assert (table[name].to_numpy() == events[name]).all()
    assert (table["time"].cast(pl.Int64).to_numpy() == events["time_ns"]).all()
    kinds = [c.EventKind(kind).name.lower() for kind in events["kind"].tolist()]
    assert table["kind"].cast(pl.String).to_list() == kinds
    ends = table.filter(pl.col("kind").cast(pl.String) == "liquidation_ended")
    assert set(ends["reason"].cast(pl.String)) <= {e.name.lower() for e in c.LiquidationEnd}


def test_liquidations_add_up_to_the_events(run, story):
    folder, summary = run
    table, events = pl.read_parquet(folder / "liquidations.parquet"), story.array()
    assert (
        summary.liquidations_count
        == table.height
        == (events["kind"] == K.LIQUIDATION_STARTED).sum()
    )
    for column, kind in (("fee", K.LIQUIDATION_FEE), ("surplus", K.SURPLUS)):
        assert total(table, column) == int(events["amount"][events["kind"] == kind].sum())
    paid = int(events["amount"][events["kind"] == K.SHORTFALL].sum())
    debt = int(events["amount"][events["kind"] == K.BAD_DEBT].sum())
    assert (summary.fund_paid_quote, summary.bad_debt_quote) == (paid, debt)
    assert summary.shortfall_quote == paid + debt
    parts = [f"notional_{where}" for where in ("book", "fund", "adl", "residual")]
    assert sum(total(table, part) for part in parts) == summary.notional_liquidated_quote
    fills = events[(events["kind"] == K.FILL) & (events["reason"] == c.Cause.LIQUIDATION)][0::2]
    lots = fills["lots"].astype(object) * fills["price"] * MARKETS[0].unit_quote
    assert summary.notional_book_quote == abs(lots.sum())
    assert (table["end"] >= table["start"]).all()


def test_adl_haircut_is_the_distance_to_the_mark(run):
    folder, summary = run
    table = pl.read_parquet(folder / "adl.parquet")
    assert table.height == summary.adl_fills_count > 0
    unit = Decimal(PROFILE.markets[0].lot)
    for row in table.iter_rows(named=True):
        assert row["counterparty_was"] == "short"
        worse = (row["price"] - row["mark_price"]) * row["lots"] * unit
        assert row["haircut_at_mark"] == worse
        assert row["notional"] == row["price"] * row["lots"] * unit
    assert summary.cost_adl_quote - summary.gain_adl_quote == total(table, "haircut_at_mark")
    assert summary.adl_accounts_count == table["counterparty_account"].n_unique()


def test_fund_balance_follows_its_events(run, story):
    folder, summary = run
    table = pl.read_parquet(folder / "fund.parquet")
    assert (table["balance"] == table["amount"].cum_sum()).all()
    assert summary.fund_end_quote == story.wallets[FUND] == int(table["balance"][-1] * MONEY)
    assert summary.fund_start_quote == 20_000_000 * 10**6
    assert summary.fund_min_quote == int(
        min(table["balance"]) * MONEY
    )  # the deposit is its first row


def test_accounts_have_equity_at_the_last_mark(run, story):
    table = pl.read_parquet(run[0] / "accounts.parquet")
    unit, mark = MARKETS[0].unit_quote, story.prices[0][1]
    equity = dict(zip(table["account_id"], table["equity"], strict=True))
    for (account, _, _), (lots, entry, margin) in story.positions.items():
        expected = story.wallets[account] + margin + lots * mark * unit - entry
        assert equity[account] * MONEY == expected
    assert sum(table["equity"].to_list()) * MONEY == sum(
        story.wallets.values()
    ) - sum(p[1] for p in story.positions.values())  # fmt: skip


def test_marks_hold_every_change_once_per_command(run, story):
    table = pl.read_parquet(run[0] / "marks.parquet")
    prices = table.select("index_price", "mark_price", "last_price")
    assert not (prices == prices.shift(1)).select(pl.all_horizontal(pl.all())).to_series().any()
    assert table["seq"].is_unique().all()
    assert table["mark_price"][-1] == Decimal(story.prices[0][1]).scaleb(-2)


def test_an_empty_run_still_writes_every_table_and_a_page(tmp_path):
    empty = Story(MARKETS)
    summary = write(tmp_path, empty)
    assert summary.liquidations_count == summary.fund_min_quote == 0
    assert all((tmp_path / f"{name}.parquet").exists() for name in TABLES)
    page = render_page(page_data(tmp_path, PROFILE, summary, title="Nothing"))
    assert "No account was liquidated." in page


def test_thin_keeps_extremes_and_ends():
    values = np.sin(np.arange(50_000) / 500)
    values[31_234] = 9.0
    line = thin(np.arange(50_000), values)
    assert len(line.value) <= 2_000
    assert (line.value[0], line.value[-1]) == (values[0], values[-1])
    assert max(line.value) == 9.0
    assert line.time_ns == sorted(set(line.time_ns))


@pytest.mark.parametrize("seconds", [0, 1, 95, 96, 86_400, 10**8])
def test_stretches_fit_the_table(seconds):
    length = stretch_length(0, seconds * 10**9)
    assert seconds * 10**9 // length < 96


def test_price_buckets_lose_nothing():
    draw = np.random.default_rng(1)
    prices, notional = draw.uniform(1, 9_000, 5_000), draw.uniform(0, 9, 5_000)
    marks = np.array([8_000.0, 4_000.0])
    buckets, outside = price_buckets(prices, notional, np.sign(prices - 5_000), marks)
    drawn = sum(b.longs + b.shorts for b in buckets)
    assert drawn + outside == pytest.approx(notional.sum())
    assert len(buckets) < 60


def test_planned_prices_replace_the_executed_ones(run):
    planned = {"BTCUSDT": (np.array([5_000.0]), np.array([7.0]), np.array([-1]))}
    market = read_series(run[0], planned).markets[0]
    assert market.map_planned
    assert sum(b.shorts for b in market.map_buckets) == 7.0


def test_verdict_names_bad_debt(run):
    text = words.verdict(run[1])
    assert "deleveraged at a haircut of" in text
    worse = {**msgspec.structs.asdict(run[1]), "bad_debt_quote": 5 * 10**6}
    assert words.verdict(RunSummary(**worse)).endswith("after bad debt of 5.00 USDT.")


@pytest.fixture(scope="module")
def page(run, story):
    folder, summary = run
    audit = Audit(MARKETS)
    audit.update(story.array())
    data = page_data(
        folder,
        PROFILE,
        summary,
        title="Crash </title><script>alert(1)</script>",
        facts=[("Name & place", '<img src=x onerror="alert(2)">')],
        hashes=[("Seed", "7"), ("Profile", PROFILE.hash())],
        audit=audit.finish(story.rows()),
    )
    write_page(folder / "report.html", data)
    return folder / "report.html"


def test_page_escapes_and_stays_small(page):
    text = page.read_text()
    assert len(text) < 10_000_000
    assert "<script>alert" not in text
    assert "<img" not in text.split("<script")[0]
    assert "&lt;img src=x" in text
    assert "16 of 16 invariants hold" in text
    assert "difference 0" in text
    assert PROFILE.hash() in text
    assert not re.search(r'(?:src|href)="https?:', text)
    for part in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text):
        assert json.loads(part)["data"]
