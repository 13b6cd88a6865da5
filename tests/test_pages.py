"""Every kind of page in a real browser: nothing on the console, every mark drawn, controls work.

The run page is looked at on a run of the engine; what it draws and says of single accounts is
compared with the tables of that run and with the states in `engine.report.xray`.
"""

from bisect import bisect_right
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from browser import CHROMIUM, Browser
from plotly.offline import get_plotlyjs

from engine import EventKind, Exchange, OrderType, Side, TimeInForce, command
from engine.bench.page import write_results
from engine.bench.results import Machine, Peer, Row, Table
from engine.replay import replay
from engine.report import xray
from engine.report.charts import cascade
from engine.report.columns import Units
from engine.report.depth import changes
from engine.report.document import (
    LIBRARY_BEGINS,
    LIBRARY_ENDS,
    ROWS_INLINE_MAX,
    chart,
    document,
    without_wrapper,
)
from engine.report.money import read_money
from engine.report.pictures import haircuts
from engine.report.series import Closer, Line, MarketSeries, Stretch
from engine.report.tables import RunWriter
from engine.report.winners import Winner, Winners, read_winners
from engine.report.words import money_text
from engine.report.xray_packing import MARK_STRETCHES, _blocks, _eventful
from engine.scenario import load_scenario
from engine.study.comparison import compare, variants_of
from engine.study.page import write_comparison
from engine.study.sweeping import sweep
from engine.venue import load_venue
from small_scenario import write_small

FALL = ["population.accounts=400", 'prices.points.1.price="5000"', "population.hedge_ppm=200000"]
STATE = ("kind", "market", "leg", "balance", "lots", "entry")
DRAWN = "document.querySelectorAll('.chart.js-plotly-plot').length"
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A fall of 37 % in 100 seconds: most longs are liquidated, shorts are deleveraged."""
    folder = tmp_path_factory.mktemp("pages")
    replay(load_scenario(write_small(folder), FALL), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def pages(run, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("others")
    scenario = write_small(folder)
    variants = variants_of((), ("adl_price=mark",), ())
    write_comparison(compare(scenario, variants, seeds=2, also=FALL[:2]), folder / "compare")
    (folder / "study.toml").write_text(
        'name = "small"\ntitle = "small"\nscenario = "small.toml"\n[[vary]]\nfield = "fund"\n'
        'values = ["10", "100000"]\n[[vary]]\nfield = "shock_ppm"\nvalues = [1_000_000, 2_000_000]'
    )
    sweep(folder / "study.toml", folder / "sweep")
    machine = Machine(processor="x", cores=2, load=3.0, python="", numpy="", numba="",
                      crashtape="", date="")  # fmt: skip
    ticks = [Row(key="tick-cross", work="quiet mark tick", value=90.0 + size, unit="ns", size=size,
                 lowest=1.0, highest=99.0, rounds=3, result="cd", goal=95.0,
                 reached=size == 10) for size in (10, 100)]  # fmt: skip
    book = Row(key="book-x", work="book alone", value=9.0, unit="M/s", size=1, lowest=8.0,
               highest=9.5, rounds=3, result="ab", goal=8.0, elsewhere=7.0,
               reached=True)  # fmt: skip
    peers = [Peer(name="other", flow="book alone", how=how, value=3.0, ours=6.0, ratio=2.0)
             for how in ("in a batch", "one call each")]  # fmt: skip
    bench = Table(kind="throughput", quick=True, machine=machine, rows=[book, *ticks], peers=peers)
    return {
        "run": run / "report.html",
        "compare": folder / "compare" / "compare.html",
        "sweep": folder / "sweep" / "study.html",
        "bench": write_results(folder / "bench", bench),
    }


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def page(browser, run):
    """The run page, open, with an account shown."""
    if browser.run("location.href") != (run / "report.html").as_uri():
        browser.open(run / "report.html")
    browser.wait("document.getElementById('xray').dataset.ready")
    yield browser
    assert browser.said == []


def count(browser, selector: str) -> int:
    return browser.run(f"document.querySelectorAll({selector!r}).length")


def texts(browser, selector: str) -> list[str]:
    return browser.run(f"Array.from(document.querySelectorAll({selector!r}), e => e.textContent)")


def rows_of(browser, box: str) -> list[list[str]]:
    """Every row of a paged table, by its Next button."""
    found = []
    while True:
        found += browser.run(
            f"Array.from(document.querySelectorAll({box + ' tbody tr'!r}), "
            "row => Array.from(row.cells, cell => cell.textContent))"
        )
        if browser.run(f"document.querySelectorAll({box + ' .pages button'!r})[2].disabled"):
            return found
        browser.run(f"document.querySelectorAll({box + ' .pages button'!r})[2].click()")


# -- every page -------------------------------------------------------------------------------


@needs_browser
@pytest.mark.parametrize("kind", ["run", "compare", "sweep", "bench"])
def test_a_page_draws_everything_and_says_nothing_on_the_console(browser, pages, kind):
    backgrounds = set()
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.ask("Emulation.setEmulatedMedia", features=features)
        browser.open(pages[kind])
        assert browser.run(DRAWN) >= count(browser, "[data-figure]") > 0
        empty = "Array.from(document.querySelectorAll('[data-figure]')).filter(e => "
        empty += "!e.querySelector('.point, .js-line, .hm image, .sankey-link')).length"
        assert browser.run(empty) == 0
        assert browser.run("performance.getEntriesByType('resource').length") == 0
        assert browser.said == []
        backgrounds.add(browser.run("getComputedStyle(document.body).backgroundColor"))
    assert len(backgrounds) == 2
    browser.ask("Emulation.setEmulatedMedia", features=[])


@needs_browser
def test_pictures_with_nothing_in_them_are_drawn_too(browser, tmp_path):
    none = [Stretch(k, None, None, None, None, k, 5.0, 0, 0.0) for k in range(3)]
    empty = MarketSeries("X", Line([], []), Line([], []), none, False, [], 0.0)
    figures = {
        "free": haircuts(Winners([Winner(16, 1, 100, 0, 7)], None, 0.0), "X", 2),
        "quiet": cascade(empty, "X", Closer(0, 3, 1, empty)),
    }
    body = chart("free", "a") + chart("quiet", "b")
    (tmp_path / "empty.html").write_text(document("x", body, figures))
    browser.open(tmp_path / "empty.html")
    assert browser.said == []
    assert count(browser, ".point") == 6  # three stretches, two kinds of bars


def test_blocks_hold_every_row_in_order(states):
    table = pl.concat(
        states[2].with_columns(pl.col("account_id") + 10_000 * copy) for copy in range(40)
    )
    table = table.sample(fraction=1.0, shuffle=True, seed=1)
    blocks = _blocks(table, _eventful(table))
    assert len(blocks) > 2
    key = ["account_id", "row", "leg"]
    assert all(block.select(key).equals(block.select(key).sort(key)) for block in blocks)
    assert pl.concat(blocks).select(key).sort(key).equals(table.select(key).sort(key))


def test_the_library_of_a_page_is_read_once_and_keeps_its_notice():
    whole = get_plotlyjs()
    lean = without_wrapper(whole)
    assert 0 < len(whole) - len(lean) < 1_000
    assert lean.startswith("/**") and "MIT license" in lean[:300]
    assert "\n" + LIBRARY_BEGINS in lean[:400] and LIBRARY_ENDS not in lean
    assert without_wrapper("var Plotly = {};") == "var Plotly = {};"


@needs_browser
def test_a_console_error_would_be_heard(browser, tmp_path):
    page = tmp_path / "broken.html"
    page.write_text("<script>document.documentElement.dataset.drawn=1; console.error('a')</script>"
                    "<script>nothing()</script>")  # fmt: skip
    browser.open(page)
    assert browser.said[0] == "error: a"
    assert browser.said[1].startswith("ReferenceError: nothing is not defined")


@needs_browser
@pytest.mark.parametrize(("kind", "panels", "lines"), [("compare", 1, 2), ("sweep", 2, 2)])
def test_studies_draw_survival_and_fans_of_all_their_curves(browser, pages, kind, panels, lines):
    browser.open(pages[kind])
    survival, fan = "[data-figure=figure-survival]", "[data-figure=figure-fan]"
    for figure, bands in ((survival, 1), (fan, 2)):
        assert count(browser, f"{figure} .cartesianlayer > .subplot") == panels * (
            1 if figure == survival else lines
        )
        assert count(browser, f"{figure} .js-fill") == panels * lines * bands
        drawn = f"Array.from(document.querySelectorAll('{figure} .js-line'), e => "
        drawn += "e.getBoundingClientRect()).filter(r => r.width > 20 || r.height > 20).length"
        assert browser.run(drawn) >= panels * lines
    assert count(browser, f"{survival} .legend .traces") == lines
    said = "document.querySelector('[data-figure=figure-survival] ~ table').tBodies[0].rows.length"
    assert browser.run(said) == panels * lines
    assert browser.said == []


# -- the run page -----------------------------------------------------------------------------


@needs_browser
def test_the_pictures_hold_the_numbers_of_the_tables(page, run):
    money = read_money(run, 6)
    assert money.matches
    assert [sum(row[k] for row in money.rows) for k in range(5)] == [0] * 5
    flows = sum(value != 0 for row in money.rows for value in row)
    assert count(page, "[data-figure=figure-money] .sankey-link") == flows > 5
    lost = sum(each.haircut > 0 for each in read_winners(run, 6).accounts)
    assert count(page, "[data-figure=figure-winners] .point") == lost > 10
    assert count(page, "[data-figure=figure-winners] .scatterlayer .js-line") == 3
    assert count(page, "[data-figure=figure-depth-0] .hm image") == 1
    assert count(page, "[data-figure=figure-depth-0] .point") > 3
    bars = "document.querySelector('[data-figure=figure-cascade-0]').data[2].y"
    started = pl.read_parquet(run / "liquidations.parquet").height
    assert page.run(f"{bars}.reduce((sum, each) => sum + each, 0)") == started > 100


@needs_browser
def test_long_tables_turn_page_by_page_from_the_keyboard(page, run):
    winners = read_winners(run, 6).accounts
    assert len(winners) > ROWS_INLINE_MAX
    box = "[data-rows=packed-rows-winners]"
    assert count(page, f"{box} tbody tr") == 0
    page.run(f"document.querySelector({box!r}).closest('details').firstChild.focus()")
    page.key("Enter", "\r")
    page.wait(f"document.querySelector({box + ' .pages'!r})")
    assert count(page, f"{box} tbody tr") == 25
    assert texts(page, f"{box} .pages span") == [f"1–25 of {len(winners)}"]
    page.key("Tab")  # into the scrolled box, then past First and Previous, which are disabled
    page.key("Tab")
    assert page.run("document.activeElement.textContent") == "Next"
    page.key("Enter", "\r")
    assert texts(page, f"{box} .pages span") == [f"26–50 of {len(winners)}"]
    page.run(f"document.querySelectorAll({box + ' .pages button'!r})[0].click()")
    said = rows_of(page, box)
    assert [row[1] for row in said] == [str(each.account_id) for each in winners]
    assert [row[4] for row in said] == [money_text(each.haircut, 6, 6) for each in winners]


def choose(page, account: int) -> None:
    page.run("document.getElementById('xray-account').select()")
    page.run("document.getElementById('xray-account').focus()")
    page.ask("Input.insertText", text=str(account))
    page.key("Enter", "\r")
    page.wait(f"document.getElementById('xray-said').textContent.includes('ccount {account}')")


@pytest.fixture(scope="module")
def states(run):
    profile = load_venue(run / "venue.toml")
    units = Units(profile)
    events = xray.read_events(run, units)
    return profile, units, xray.account_states(events, units), xray.marks_of(events)


def expected_path(states, account: int, domain) -> list[tuple[str, str]]:
    """Equity and requirement of a domain after its set-up and at every mark, as the page says."""
    profile, units, table, marks = states
    mine = table.filter(pl.col("account_id") == account).rows(named=True)
    begun = [row["seq"] for row in mine if row["time_ns"] == mine[0]["time_ns"]][-1]
    seqs, prices = marks["seq"].to_list(), marks["price"].to_list()
    assert len(seqs) < 4 * MARK_STRETCHES
    found = []
    for seq in [begun, *sorted({seq for seq in seqs if seq > begun})]:
        walked = xray.Account(profile, units)
        for row in mine:
            if row["seq"] <= seq:
                walked.apply(*(row[name] for name in STATE))
        at = {1: prices[bisect_right(seqs, seq) - 1]}
        found.append(tuple(money_text(value, 6, 6) for value in walked.stands(domain, at)))
    return found


@needs_browser
def test_an_account_on_the_page_is_what_the_engine_made_of_it(page, run, states):
    table = states[2]
    isolated = table.filter((pl.col("leg") & xray.ISOLATED_BIT) != 0)["account_id"]
    struck = table.filter(pl.col("kind") == int(xray.K.LIQUIDATION_STARTED))["account_id"]
    taken = table.filter(pl.col("reason") == "adl")["account_id"]
    hedged = table.filter((pl.col("leg") & 3) == 2)["account_id"]
    cross = ~struck.is_in(isolated.implode())
    quiet = table.filter(~pl.col("account_id").is_in(struck.implode()))["account_id"]
    chosen = [struck.filter(cross)[0], taken[-1], quiet[0]]
    chosen.append(hedged.filter(~hedged.is_in(isolated.implode()))[0])
    ends = pl.read_parquet(run / "accounts.parquet").filter(pl.col("account_id").is_in(chosen))
    ends = dict(zip(ends["account_id"], ends["equity"], strict=True))
    for account in chosen:
        choose(page, account)
        said = rows_of(page, "#xray-path")
        begins = table.filter((pl.col("account_id") == account) & pl.col("kind").eq(19)).height
        path = expected_path(states, account, None)
        assert len(said) == len(path) + begins
        left = [(row[2], row[3]) for row in said]
        if not begins:
            assert left == path
        assert set(path) <= set(left)
        if account not in isolated:
            assert left[-1][0] == money_text(int(ends[account] * 10**6), 6, 6)
        events = rows_of(page, "#xray-events")
        assert len(events) == table.filter(pl.col("account_id") == account).height
    assert count(page, "#xray-chart .scatterlayer .js-line") >= 2


@needs_browser
def test_parts_of_an_account_and_accounts_that_are_not_there(page, states):
    table = states[2]
    account = table.filter((pl.col("leg") & xray.LEDGER_BIT) != 0)["account_id"][0]
    choose(page, account)
    options = texts(page, "#xray-domain option")
    assert "cross" in options and any(each.startswith("isolated BTCUSDT") for each in options)
    select = "document.getElementById('xray-domain')"
    key = page.run(f"Array.from({select}.options).find(o => o.value).value")
    page.run(f"{select}.value = {key!r}; {select}.dispatchEvent(new Event('change'))")
    market, side = map(int, key.split("/"))
    said = [(row[2], row[3]) for row in rows_of(page, "#xray-path")]
    assert set(expected_path(states, account, (market, side))) <= set(said)
    choose(page, 999_999)
    assert texts(page, "#xray-said") == ["No account 999999 here."]
    known = "document.getElementById('xray-known')"
    page.run(f"{known}.selectedIndex = 1; {known}.dispatchEvent(new Event('change'))")
    account = page.run(f"{known}.value")
    page.wait(f"document.getElementById('xray-said').textContent.startsWith('Account {account}:')")
    assert count(page, "#xray-chart .point") > 0  # where its liquidation began


@needs_browser
def test_the_page_prints_on_white_and_every_control_has_a_name(page):
    page.run("dispatchEvent(new Event('beforeprint'))")
    assert page.run("getComputedStyle(document.body).width") == "670px"
    links = "Array.from(document.querySelectorAll('.sankey-link'), e => e.getBoundingClientRect())"
    edge = "document.body.getBoundingClientRect().right"
    assert page.run(f"{links}.length > 5 && {links}.every(r => r.width > 100 && r.right < {edge})")
    page.run("dispatchEvent(new Event('afterprint'))")
    nameless = "Array.from(document.querySelectorAll('input, select, button')).filter(e => "
    nameless += "!(e.textContent.trim() || (e.labels || []).length)).length"
    assert page.run(nameless) == 0
    assert page.run("Array.from(document.querySelectorAll('nav a')).every(a => "
                    "document.querySelector(a.getAttribute('href')))")  # fmt: skip
    assert count(page, ".chart:not([aria-label])") == 0


# -- what the pictures are made of ------------------------------------------------------------


def test_states_rebuilt_from_events_agree_with_the_engine(run, states):
    profile, units, table, marks = states
    accounts = pl.read_parquet(run / "accounts.parquet")
    found, _ = xray.check(table, marks, accounts, profile, units)
    assert found.accounts == found.accounts_equal == 400
    assert found.starts == found.equity_equal == found.requirement_equal > 100
    started = table.filter(pl.col("kind") == int(xray.K.LIQUIDATION_STARTED))["row"][0]
    wrong = table.with_columns(pl.col("first") + (pl.col("row") == started))
    assert xray.check(wrong, marks, accounts, profile, units)[0].equity_equal == found.starts - 1
    wrong = table.with_columns(pl.col("balance") + 1)
    assert xray.check(wrong, marks, accounts, profile, units)[0].accounts_equal == 0


def test_the_book_of_the_depth_map_is_the_engines(tmp_path):
    exchange = Exchange("binance_usdm")
    limit = {"market_id": 1, "order_type": OrderType.LIMIT, "time_in_force": TimeInForce.GTC}
    sell, buy = {**limit, "account_id": 17, "side": Side.SELL}, {**limit, "account_id": 16}
    commands = [
        command("INDEX", market_id=1, price=800_000),
        *(command("OPEN_ACCOUNT", account_id=account) for account in (16, 17)),
        *(command("DEPOSIT", account_id=account, amount=10**12) for account in (16, 17)),
        command("DEPTH", market_id=1, side=Side.BUY, price=799_000, lots=50),
        command("DEPTH", market_id=1, side=Side.BUY, price=798_000, lots=70),
        command("DEPTH", market_id=1, side=Side.SELL, price=803_000, lots=9),
        command("NEW_ORDER", order_id=1, price=801_000, lots=1_000, **sell),
        command("NEW_ORDER", order_id=2, price=802_000, lots=300, **sell),
        command("NEW_ORDER", order_id=3, price=801_000, lots=400, side=Side.BUY, **buy),
        command("NEW_ORDER", order_id=4, price=798_000, lots=60, **sell),
        command("AMEND", account_id=17, order_id=1, price=801_000, lots=350),
        command("CANCEL", account_id=17, order_id=2),
        command("NEW_ORDER", order_id=5, price=798_000, lots=11, side=Side.BUY, **buy),
        command("DEPTH", market_id=1, side=Side.SELL, price=803_000, lots=0),
    ]
    writer = RunWriter(tmp_path, load_venue("binance_usdm"))
    events = exchange.submit(np.concatenate(commands))
    assert not (events["kind"] == EventKind.REJECTED).any()
    writer.update(events)
    writer.finish(exchange.rows())
    moved = changes(pl.scan_parquet(tmp_path / "events.parquet"), "BTCUSDT")
    levels = moved.group_by("price", "side").agg(pl.col("change").sum())
    held: dict[tuple[int, int], int] = {}
    for _, _, _, side, price, lots, *_ in exchange.rows()["orders"].tolist():
        held[price, side] = held.get((price, side), 0) + lots
    assert held == {(798_000, 1): 71, (801_000, 2): 350}
    assert {(p, s): lots for p, s, lots in levels.rows() if lots} == held
