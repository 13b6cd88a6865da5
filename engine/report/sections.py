"""Sections of a run's page that show more than a series over time: depth, money, winners, accounts.

`read_views` gathers what they need from a run folder; each section is a list of HTML lines and puts
its figures by name into `figures`, its long tables into `packed`.
"""

from pathlib import Path

import msgspec
import polars as pl

from engine.profile import VenueProfile
from engine.report import pictures, words
from engine.report.charts import Figure
from engine.report.columns import Units
from engine.report.depth import Depth, changes, read_depth
from engine.report.document import Packed, chart, details, json_text, pack, table, text
from engine.report.money import CLASSES, REASONS, Money, read_money
from engine.report.series import RunSeries
from engine.report.winners import Winners, read_winners
from engine.report.xray import Found, account_states, check, marks_of, read_events
from engine.report.xray_packing import packed_accounts

NOTABLE = 12  # accounts offered by name, of each kind
Figures = dict[str, Figure]


class Accounts(msgspec.Struct):
    """Every account for the page: what it says about its blocks, the blocks, and the check."""

    about: dict
    blocks: dict[str, str]
    found: Found
    notable: list[tuple[int, str]]


class Views(msgspec.Struct):
    """What the sections show: `depth` as headings and grids, `accounts` None where none acted."""

    depth: list[tuple[str, Depth]]
    money: Money
    winners: Winners
    accounts: Accounts | None


def read_views(run_dir: str | Path, profile: VenueProfile, series: RunSeries) -> Views:
    """Read a run folder for the sections; the series say which markets and which hour."""
    units = Units(profile)
    winners = read_winners(run_dir, units.money_decimals)
    return Views(
        depth=_depths(run_dir, profile, series),
        money=read_money(run_dir, units.money_decimals),
        winners=winners,
        accounts=_accounts(run_dir, profile, units, winners),
    )


def _depths(
    run_dir: str | Path, profile: VenueProfile, series: RunSeries
) -> list[tuple[str, Depth]]:
    found = []
    events = pl.scan_parquet(Path(run_dir) / "events.parquet")
    decimals = {market.symbol: market.price_decimals for market in profile.markets}
    for market in series.markets:
        moved = changes(events, market.symbol)
        clocks = [("", (series.first_ns, series.last_ns))]
        if series.closer and series.closer.market.symbol == market.symbol:
            hour = (series.closer.first_ns, series.closer.last_ns)
            clocks.append((", the hour with most liquidated notional", hour))
        for heading, clock in clocks:
            grid = read_depth(run_dir, moved, market.symbol, clock, decimals[market.symbol])
            if grid is not None:
                found.append((market.symbol + heading, grid))
    return found


def _accounts(
    run_dir: str | Path, profile: VenueProfile, units: Units, winners: Winners
) -> Accounts | None:
    events = read_events(run_dir, units)
    states, marks = account_states(events, units), marks_of(events)
    if not states.height:
        return None
    accounts = pl.read_parquet(Path(run_dir) / "accounts.parquet")
    found, starts = check(states, marks, accounts, profile, units)
    about, blocks = packed_accounts(states, marks, starts, profile, units)
    return Accounts(about, blocks, found, _notable(run_dir, units, winners))


def _notable(run_dir: str | Path, units: Units, winners: Winners) -> list[tuple[int, str]]:
    """The largest liquidated accounts, and those deleveraged at the largest haircut."""
    whole = pl.sum_horizontal(f"notional_{where}" for where in ("book", "fund", "adl", "residual"))
    largest = (
        pl.scan_parquet(Path(run_dir) / "liquidations.parquet")
        .group_by("account_id")
        .agg((whole * 10**units.money_decimals).cast(pl.Int128).sum().alias("notional"))
        .sort("notional", "account_id", descending=[True, False])
        .head(NOTABLE)
        .collect()
    )

    def money(value: int) -> str:
        return f"{words.money_text(int(value), units.money_decimals)} {units.asset}"

    lines = [(a, f"{a}: liquidated, {money(n)} closed") for a, n in largest.rows()]
    return lines + [
        (each.account_id, f"{each.account_id}: deleveraged, haircut {money(each.haircut)}")
        for each in winners.accounts[:NOTABLE]
    ]


def depth_section(views: Views, series: RunSeries, figures: Figures, packed: Packed) -> list[str]:
    """The book as shades with the liquidations printed into it, and every cell in a table."""
    parts = ["<h2 id=depth>2. Depth of the book and liquidation prints</h2>"]
    if not views.depth:
        return [*parts, '<p class="note">Nothing ever rested near the mark.</p>']
    parts.append(
        "<p>Lots resting in the book at the end of each stretch, bids and asks together, the "
        "darker the more; a shade is a factor, not a sum. The signs are liquidated positions, by "
        "where they went and the larger the more lots.</p>"
    )
    marks = {market.symbol: market.mark for market in series.markets}
    for place, (heading, grid) in enumerate(views.depth):
        hour = series.closer if series.closer and grid.first_ns >= series.closer.first_ns else None
        closer = hour is not None and heading != grid.symbol
        mark = series.closer.market.mark if closer else marks[grid.symbol]
        figures[f"depth-{place}"] = pictures.depth_map(
            grid, mark, series.closer if closer else series
        )
        each = words.duration_text(grid.stretch_ns)
        parts += [
            f"<h3>{text(heading)}</h3>",
            chart(f"depth-{place}", f"{heading}: lots resting per {each} and price, liquidations"),
            details(
                f"Numbers: {heading} per {each} and price",
                _depth_table(grid, place, series.price_decimals, packed),
            ),
        ]
    return parts


def _depth_table(grid: Depth, place: int, decimals: int, packed: Packed) -> str:
    prints: dict[tuple[int, int], list[int]] = {}
    for each in grid.prints:
        at = (each.start_ns - grid.first_ns) // grid.stretch_ns
        bucket = int((each.price - grid.low) // grid.width)
        cell = prints.setdefault((at, bucket), [0, 0])
        cell[0] += each.fills
        cell[1] += each.lots
    rows = []
    for at in range(len(grid.bids[0])):
        for bucket in range(len(grid.bids)):
            bids, asks = grid.bids[bucket][at], grid.asks[bucket][at]
            fills, lots = prints.get((at, bucket), (0, 0))
            if bids or asks or lots:
                low = grid.low + bucket * grid.width
                rows.append(
                    (
                        words.when_text(grid.first_ns + at * grid.stretch_ns, grid.stretch_ns),
                        f"{words.number_text(low, decimals)} \u2013 "
                        f"{words.number_text(low + grid.width, decimals)}",
                        *(f"{value:,}" for value in (bids, asks, fills, lots)),
                    )
                )
    heads = ("From, UTC", "Price", "Bids, lots", "Asks, lots", "Liquidation fills", "Their lots")
    return packed.table(f"depth-{place}", heads, rows, (1, 2, 3, 4, 5))


def money_part(views: Views, asset: str, decimals: int, figures: Figures) -> list[str]:
    """Whose money went where: the flows, and the table of classes against reasons."""
    money = views.money
    if not any(any(row) for row in money.rows):
        return []
    figures["money"] = pictures.money_flows(money, asset, decimals)

    def cell(value: int) -> str:
        return words.money_text(value, decimals, decimals)

    rows = [
        (
            name,
            f"{count:,}",
            *(cell(value) for value in (*row, sum(row), deposits, end)),
        )
        for name, count, row, deposits, end in zip(
            CLASSES, money.accounts, money.rows, money.net_deposits, money.ends, strict=True
        )
        if any(row) or deposits
    ]
    totals = [sum(row[k] for row in money.rows) for k in range(len(REASONS))]
    last = (*totals, sum(totals), sum(money.net_deposits), sum(money.ends))
    rows.append(("Sum", f"{sum(money.accounts):,}", *(cell(value) for value in last)))
    heads = ("Class of account", "Accounts", *REASONS, "Together", "Net deposits", "Equity at end")
    said = (
        "what every account has at the end is explained to the last unit"
        if money.matches
        else "for some account the reasons do not explain what it has at the end"
    )
    return [
        "<h3 id=money>Whose money went where</h3>",
        "<p>Left who lost, right who gained, in between why. Price moves count from each "
        "position's entry price to where it was closed, or to the last mark. An account that was "
        f"liquidated or deleveraged once stands in that class for the whole run; {said}.</p>",
        chart("money", "Money from classes of account that lost to those that gained, by reason"),
        details(f"Numbers: {asset} by class and reason", table(heads, rows, range(1, 10))),
    ]


def winners_section(
    views: Views, asset: str, decimals: int, figures: Figures, packed: Packed
) -> list[str]:
    """Haircuts by rank, Lorenz curves, and every deleveraged account in a table."""
    winners = views.winners
    parts = ["<h2 id=winners>6. Deleveraging: who bore it</h2>"]
    if not winners.accounts:
        return [*parts, '<p class="note">Nobody was deleveraged.</p>']
    figures["winners"] = pictures.haircuts(winners, asset, decimals)

    def money(value: int) -> str:
        return words.money_text(value, decimals, decimals)

    rows = [
        (
            f"{rank:,}",
            str(each.account_id),
            f"{each.fills:,}",
            *map(money, (each.notional, each.haircut, each.gain)),
        )
        for rank, each in enumerate(winners.accounts, 1)
    ]
    heads = ("Rank", "Account", "Fills", f"Notional, {asset}", f"Haircut, {asset}")
    unequal = [
        f"{what} {value:.3f}"
        for what, value in (
            ("haircut", winners.gini_haircut),
            ("notional taken", winners.gini_notional),
        )
        if value is not None
    ]
    total = sum(each.haircut for each in winners.accounts)
    return [
        *parts,
        "<p>The haircut is what an account lost against the mark of the instant, over all its "
        "fills at worse prices; fills at better prices are a gain and are not set against it. The "
        "left axis is logarithmic and leaves out accounts that lost nothing. "
        f"{len(winners.accounts):,} accounts bore {words.money_text(total, decimals)} "
        f"{text(asset)}. Gini coefficient: {', '.join(unequal)} (0: all bear the same).</p>",
        chart("winners", "Haircut of each deleveraged account by rank, and Lorenz curves"),
        details(
            "Numbers: every deleveraged account",
            packed.table("winners", (*heads, f"Gain, {asset}"), rows, range(6)),
        ),
    ]


def accounts_section(views: Views, packed: Packed) -> list[str]:
    """The account x-ray: a form, a picture, and two tables that the page fills."""
    parts = ["<h2 id=accounts>7. One account through time</h2>"]
    if views.accounts is None:
        return [*parts, '<p class="note">No account ever did anything.</p>']
    about, found = views.accounts.about, views.accounts.found
    packed.data |= {**views.accounts.blocks, "about": pack(json_text(about).encode())}
    options = "".join(
        f'<option value="{account}">{text(label)}</option>'
        for account, label in views.accounts.notable
    )
    first = views.accounts.notable[0][0] if views.accounts.notable else about["first"]
    left = (
        f" The page has room for {about['shown']:,} accounts; {about['leftOut']:,} to which the "
        "least happened are in events.parquet only."
        if about["leftOut"]
        else ""
    )
    whole = all(market["tiers"] for market in about["markets"])
    plain = (
        ""
        if whole
        else " This venue's requirement also hangs on leverage, size or open orders, and "
        "is drawn only where tiers alone make it."
    )
    asset = text(about["asset"])
    path = table(("Time, UTC", "Mark", f"Equity, {asset}", "Requirement", "Margin ratio"), [], ())
    heads = ("Time, UTC", "Command", "Event", "Market", "Price", "Lots", "Fee", "Booked")
    events = table((*heads, "Balance after", "Said"), [], ())
    return [
        *parts,
        "<p>Equity of one account, the requirement below which it is liquidated, and the second "
        "as a share of the first (at 100 % liquidation begins), at the drawn marks. The state "
        "after every event is rebuilt from the events and compared with the engine: equity at "
        f"the end agrees for {found.accounts_equal:,} of {found.accounts:,} accounts; as "
        f"liquidations began, equity for {found.equity_equal:,} of {found.starts:,} and the "
        f"requirement for {found.requirement_equal:,}.{left}{plain}</p>",
        '<div id="xray"><form id="xray-form">',
        f'<label>Account <input id="xray-account" inputmode="numeric" value="{first}" '
        'autocomplete="off"></label><button type="submit">Show</button>',
        f'<label>Known <select id="xray-known"><option value="">choose one</option>{options}'
        "</select></label>",
        '<label>Part <select id="xray-domain"></select></label></form>',
        '<p id="xray-said" role="status" class="note"></p>',
        '<div class="chart" id="xray-chart" role="img" aria-label="One account"></div>',
        details(
            "Numbers: equity, requirement and margin ratio at the drawn marks",
            f'<div class="paged" id="xray-path" data-numbers="1 2 3 4">{path}</div>',
        ),
        "<h3>Events of the account</h3>",
        '<p class="note">Said: equity and requirement as a liquidation begins, the equity left as '
        "it ends, the amount of an event that moves no money.</p>",
        f'<div class="paged wide" id="xray-events" data-numbers="1 4 5 6 7 8">{events}</div></div>',
    ]
