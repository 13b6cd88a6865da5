"""One self-contained HTML page for a run: opens offline, prints, and explains itself.

The page holds its own charting library, styles and data. Every text that came from a file is
escaped, and JSON inside the page cannot close its script element. Numbers come from the run's
tables (`series.py`) and its summary; this file only lays them out.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from engine.audit import AuditResult, Check
from engine.messages import RunSummary
from engine.profile import VenueProfile
from engine.report import charts, words
from engine.report.document import Packed, document
from engine.report.document import chart as _chart
from engine.report.document import details as _details
from engine.report.document import table as _table
from engine.report.document import text as _text
from engine.report.sections import (
    Figures,
    Views,
    accounts_section,
    depth_section,
    money_part,
    read_views,
    winners_section,
)
from engine.report.series import Closer, LiquidationMap, MarketSeries, RunSeries, read_series

_CONTENTS = (
    ("cascade", "Cascade"),
    ("depth", "Depth"),
    ("fund", "Fund"),
    ("losses", "Losses"),
    ("money", "Money"),
    ("map", "Liquidation prices"),
    ("winners", "Deleveraging"),
    ("accounts", "One account"),
    ("basis", "What this rests on"),
)


class PageData(msgspec.Struct, kw_only=True):
    """Everything on a page. Texts are plain; the page escapes them.

    `facts` are lines about the scenario, `hashes` the lines at the foot (seed, profile, tape,
    engine, digests), `assumptions` pairs of a field and what it rests on, `checks` the
    invariants of the audit.
    """

    title: str
    kicker: str
    verdict: str
    rows: list[words.SummaryRow]
    summary: RunSummary
    series: RunSeries
    views: Views
    facts: list[tuple[str, str]]
    hashes: list[tuple[str, str]]
    assumptions: list[tuple[str, str]]
    checks: list[Check]


def page_data(
    run_dir: str | Path,
    profile: VenueProfile,
    summary: RunSummary,
    *,
    title: str,
    kicker: str = "",
    facts: Sequence[tuple[str, str]] = (),
    hashes: Sequence[tuple[str, str]] = (),
    assumed: Sequence[tuple[str, str]] = (),
    audit: AuditResult | None = None,
    planned: LiquidationMap | None = None,
) -> PageData:
    """Gather a page from the tables of a run folder and what only the caller knows.

    `planned` maps a symbol to arrays of prices, notional (in units of the asset) and side (+1
    long, -1 short): where accounts would be liquidated as seen at the start. Without it the
    map shows where they were. `assumed` are assumptions beside those of the profile.
    """
    series = read_series(run_dir, planned)
    return PageData(
        title=title,
        kicker=kicker,
        verdict=words.verdict(summary),
        rows=words.summary_rows(summary, audit.identity_difference if audit else None),
        summary=summary,
        series=series,
        views=read_views(run_dir, profile, series),
        facts=list(facts),
        hashes=list(hashes),
        assumptions=[*assumed, *words.assumptions(profile)],
        checks=audit.checks if audit else [],
    )


def write_page(path: str | Path, data: PageData) -> None:
    """Write the page as UTF-8; below 10 MB, of which the charting library is two."""
    Path(path).write_text(render_page(data), encoding="utf-8")


def render_page(data: PageData) -> str:
    """The page as text."""
    figures: Figures = {}
    packed = Packed()
    asset, decimals = data.summary.asset, data.summary.money_decimals
    body = "\n".join(
        [
            *_opening(data),
            *_cascade_section(data, figures),
            *depth_section(data.views, data.series, figures, packed),
            *_fund_section(data, figures),
            *_loss_section(data, figures),
            *money_part(data.views, asset, decimals, figures),
            *_map_section(data, figures),
            *winners_section(data.views, asset, decimals, figures, packed),
            *accounts_section(data.views, packed),
            *_closing(data),
        ]
    )
    return document(data.title, body, figures, packed.data, ("xray.js",))


def _opening(data: PageData) -> list[str]:
    rows = [(row.label, row.value, row.note) for row in data.rows]
    return [
        f"<header><h1>{_text(data.title)}</h1>",
        f'<p class="kicker">{_text(data.kicker)}</p>' if data.kicker else "",
        f'<p class="verdict">{_text(data.verdict)}</p></header>',
        _contents(),
        "<main>",
        _table(("Outcome", "Amount", "Of which"), rows, (1,), "summary"),
        (
            '<noscript><p class="note">The pictures need JavaScript; every number in them is '
            "in the tables below.</p></noscript>"
        ),
    ]


def _contents() -> str:
    links = "".join(f'<a href="#{name}">{label}</a>' for name, label in _CONTENTS)
    return f'<nav aria-label="Sections">{links}</nav>'


def _drawn_note(data: PageData) -> list[str]:
    if not data.series.others:
        return []
    names = ", ".join(symbol for symbol, _ in data.series.others[:20])
    more = len(data.series.others) - 20
    tail = f" and {more} more" if more > 0 else ""
    return [
        (
            f'<p class="note">Markets with less liquidated notional are not drawn: '
            f"{_text(names)}{tail}. Their numbers are in the Parquet tables.</p>"
        )
    ]


def _cascade_section(data: PageData, figures: Figures) -> list[str]:
    series = data.series
    each = words.duration_text(series.stretch_ns)
    parts = [
        "<h2 id=cascade>1. Prices, liquidations and deleveraging</h2>",
        (
            f"<p>Mark and index price, and below them how many accounts were liquidated and how "
            f"many positions were deleveraged in every {_text(each)}.</p>"
        ),
    ]
    for place, market in enumerate(series.markets):
        name = f"cascade-{place}"
        figures[name] = charts.cascade(market, data.summary.asset, series)
        total = sum(s.liquidations for s in market.stretches)
        parts += [
            f"<h3>{_text(market.symbol)}</h3>",
            _chart(name, f"{market.symbol}: mark and index price with {total:,} liquidations"),
            _details(
                f"Numbers: {market.symbol} per {each}",
                _cascade_table(market, series, data),
            ),
        ]
    if series.closer:
        parts += _closer_part(series.closer, data, figures)
    return parts + _drawn_note(data)


def _closer_part(closer: Closer, data: PageData, figures: Figures) -> list[str]:
    symbol, each = closer.market.symbol, words.duration_text(closer.stretch_ns)
    figures["closer"] = charts.cascade(closer.market, data.summary.asset, closer)
    start, end = (words.when_text(t, closer.stretch_ns) for t in (closer.first_ns, closer.last_ns))
    return [
        f"<h3>{_text(symbol)}, the hour with most liquidated notional</h3>",
        f"<p>{_text(start)} to {_text(end)} UTC, in steps of {_text(each)}.</p>",
        _chart("closer", f"{symbol}: the hour with most liquidated notional, from {start}"),
        _details(f"Numbers: {symbol} per {each}", _cascade_table(closer.market, closer, data)),
    ]


def _cascade_table(market: MarketSeries, series: RunSeries | Closer, data: PageData) -> str:
    asset = data.summary.asset
    heads = (
        "From, UTC",
        "Mark low",
        "Mark high",
        "Mark last",
        "Index last",
        "Liquidations",
        f"Liquidated, {asset}",
        "ADL fills",
        f"ADL, {asset}",
    )
    price, money = data.series.price_decimals, words.places_of(s.notional for s in market.stretches)
    rows = [
        (
            words.when_text(s.start_ns, series.stretch_ns),
            words.number_text(s.mark_low, price),
            words.number_text(s.mark_high, price),
            words.number_text(s.mark_last, price),
            words.number_text(s.index_last, price),
            words.number_text(s.liquidations),
            words.number_text(s.notional, money),
            words.number_text(s.adl_fills),
            words.number_text(s.adl_notional, money),
        )
        for s in market.stretches
    ]
    return _table(heads, rows, range(1, 9))


def _fund_section(data: PageData, figures: Figures) -> list[str]:
    series, asset = data.series, data.summary.asset
    parts = ["<h2 id=fund>3. Insurance fund</h2>"]
    if not series.fund.time_ns:
        return [*parts, '<p class="note">The fund was never touched.</p>']
    figures["fund"] = charts.fund(series, asset)
    money = words.places_of(s.balance for s in series.fund_stretches)
    rows = [
        (
            words.when_text(s.start_ns, series.stretch_ns),
            words.number_text(s.received, money),
            words.number_text(s.paid, money),
            words.number_text(s.balance, money),
        )
        for s in series.fund_stretches
    ]
    heads = ("From, UTC", f"Received, {asset}", f"Paid, {asset}", f"Balance after, {asset}")
    return [
        *parts,
        (
            "<p>Cash balance of the fund. Liquidation fees and surplus fill it, shortfalls empty "
            "it; below zero it is bad debt. A fund that hardly moved is drawn on an axis that does "
            "not start at zero.</p>"
        ),
        _chart("fund", "Balance of the insurance fund over time"),
        _details(
            f"Numbers: fund per {words.duration_text(series.stretch_ns)}",
            _table(heads, rows, (1, 2, 3)),
        ),
    ]


def _loss_section(data: PageData, figures: Figures) -> list[str]:
    summary = data.summary
    figures["destinations"] = charts.destinations(summary)
    figures["losses"] = charts.loss_waterfall(summary)

    def money(value: int) -> str:
        return words.money_text(value, summary.money_decimals)

    went = [
        (label, money(value), words.share_text(value, summary.notional_liquidated_quote))
        for label, value in ((d[0], getattr(summary, d[1])) for d in charts.DESTINATIONS)
    ]
    paid = [(label, getattr(summary, name)) for label, name in charts.PAYERS]
    total = sum(value for _, value in paid)
    payers = [(label, money(value), words.share_text(value, total)) for label, value in paid]
    asset = summary.asset
    return [
        "<h2 id=losses>4. Loss waterfall: who paid</h2>",
        (
            "<p>Left: who took the liquidated positions. Right: the loss beyond the liquidated "
            "accounts' own equity, and who bore it. A position taken at a price worse than the "
            "mark of that instant is a loss to its taker, even before it is closed.</p>"
        ),
        '<div class="pair"><div><h3>Where positions went</h3>',
        _chart("destinations", "Liquidated notional by who took it"),
        _details("Numbers", _table(("Taken by", f"Notional, {asset}", "Share"), went, (1, 2))),
        "</div><div><h3>Who paid the loss</h3>",
        _chart("losses", "Loss beyond equity, by payer"),
        _details(
            "Numbers",
            _table(
                ("Paid by", f"Loss, {asset}", "Share"),
                [*payers, ("Loss beyond equity", money(total), "")],
                (1, 2),
            ),
        ),
        "</div></div>",
        *_inventory_note(summary),
    ]


def _inventory_note(summary: RunSummary) -> list[str]:
    """What became of the positions the fund took, which the loss at the takeover cannot show."""
    if not summary.fund_notional_quote:
        return []
    unrealised = words.money_text(abs(summary.fund_unrealised_quote), summary.money_decimals)
    result = "loss" if summary.fund_unrealised_quote < 0 else "profit"
    notional = words.money_text(summary.fund_notional_quote, summary.money_decimals)
    return [
        (
            f'<p class="note">The fund still holds positions of {notional} {_text(summary.asset)}, '
            f"with an unrealised {result} of {unrealised} {_text(summary.asset)} at the last mark. "
            "What the market did to it after the takeover is not part of the loss above.</p>"
        )
    ]


def _map_section(data: PageData, figures: Figures) -> list[str]:
    asset, price = data.summary.asset, data.series.price_decimals
    parts = ["<h2 id=map>5. Liquidation-price map</h2>"]
    for place, market in enumerate(data.series.markets):
        what = (
            "Notional by the price at which it would be liquidated, as seen at the start"
            if market.map_planned
            else "Notional by the price at which it was liquidated"
        )
        buckets = market.map_buckets
        if not buckets:
            parts.append(f'<p class="note">{_text(market.symbol)}: nothing to draw.</p>')
            continue
        name = f"map-{place}"
        figures[name] = charts.price_map(market, asset, data.series)
        money = words.places_of(b.longs + b.shorts for b in buckets)
        rows = [
            (
                f"{words.number_text(b.low, price)} \u2013 {words.number_text(b.high, price)}",
                words.number_text(b.longs, money),
                words.number_text(b.shorts, money),
            )
            for b in reversed(buckets)
        ]
        parts += [
            f"<h3>{_text(market.symbol)}</h3><p>{what}, with the path of the mark over it.</p>",
            _chart(name, f"{market.symbol}: {what}"),
            _details(
                f"Numbers: {market.symbol} per price bucket",
                _table(("Price", f"Longs, {asset}", f"Shorts, {asset}"), rows, (1, 2)),
            ),
        ]
        if market.map_outside:
            beyond = words.number_text(market.map_outside, money)
            low, high = (words.number_text(p, price) for p in (buckets[0].low, buckets[-1].high))
            parts.append(
                f'<p class="note">Another {beyond} {_text(asset)} lie beyond the drawn prices, '
                f"below {low} or above {high}.</p>"
            )
    return parts


def _closing(data: PageData) -> list[str]:
    parts = ["<h2 id=basis>What this rests on</h2>"]
    if data.facts:
        parts += ["<h3>Scenario</h3>", _table(("Fact", "Value"), data.facts, ())]
    if data.assumptions:
        parts += [
            "<h3>Assumptions</h3>",
            '<p class="note">Fields of the scenario and of the venue profile that rest on an '
            "assumption of ours, because no source is at hand that publishes them.</p>",
            _table(("Field", "Basis"), data.assumptions, ()),
        ]
    else:
        parts.append("<p>No field of scenario or venue profile is assumed.</p>")
    if data.checks:
        held = sum(check.ok for check in data.checks)
        kind = "good" if held == len(data.checks) else "bad"
        rows = [(k.id, k.sentence, "holds" if k.ok else k.difference) for k in data.checks]
        parts += [
            (
                f'<h3>Audit</h3><p>Rebuilt from the events alone: <span class="{kind}">{held} of '
                f"{len(data.checks)} invariants hold</span>.</p>"
            ),
            _details("Every invariant", _table(("Id", "Invariant", "Result"), rows, ())),
        ]
    lines = "".join(
        f"<tr><td>{_text(name)}</td><td class=hash>{_text(value)}</td></tr>\n"
        for name, value in data.hashes
    )
    return [*parts, "</main>", f"<footer><table><tbody>{lines}</tbody></table></footer>"]
