"""Numbers as words: money with separators, the summary table and the one-sentence verdict.

Text only; which numbers exist is decided in `tables.py`, and how text is laid out in `page.py`.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from engine.messages import RunSummary
from engine.profile import VenueProfile

_GROUPED_FROM = 10_000  # from this many whole units on, fractions only distract
_SECOND = 1_000_000_000


class SummaryRow(msgspec.Struct, frozen=True):
    """One line of the summary table: what, how much, and how to read it."""

    label: str
    value: str
    note: str = ""


def money_text(value: int, decimals: int, places: int | None = None) -> str:
    """Smallest units as grouped text, rounded half to even for display.

    Without `places`: none from 10,000 whole units on, else two, else all that matter.

    >>> money_text(12_345_678_900_000, 6), money_text(-1_500_000, 6), money_text(7, 6)
    ('12,345,679', '\u22121.50', '0.000007')
    """
    exact = Decimal(value).scaleb(-decimals)
    if places is None:
        places = 0 if abs(exact) >= _GROUPED_FROM or not value else min(2, decimals)
        if value and abs(exact) < Decimal("0.01"):
            places = decimals
    return f"{exact:,.{places}f}".replace("-", "\u2212")


def count_text(value: int) -> str:
    """A count with thousands separators.

    >>> count_text(1234567)
    '1,234,567'
    """
    return f"{value:,}"


def share_text(part: int, whole: int) -> str:
    """`part` of `whole` in per cent, one decimal; empty when there is no whole.

    >>> share_text(1, 3)
    '33.3 %'
    """
    return f"{Decimal(100 * part) / Decimal(whole):.1f} %" if whole else ""


def number_text(value: float | None, places: int = 0) -> str:
    """A number with separators and so many decimals; empty for None."""
    if value is None:
        return ""
    return f"{value:,.{places}f}".replace("-", "\u2212")


def places_of(values: Iterable[float]) -> int:
    """Decimals that make a column of money readable."""
    largest = max((abs(value) for value in values), default=0.0)
    return 0 if largest >= 10_000 or not largest else 2 if largest >= 1 else 6


def when_text(time_ns: int, width_ns: int) -> str:
    """UTC text, with seconds only where stretches are shorter than a minute."""
    moment = datetime.fromtimestamp(time_ns // _SECOND, UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S" if width_ns < 60 * _SECOND else "%Y-%m-%d %H:%M")


def duration_text(width_ns: int) -> str:
    """Whole seconds in words.

    >>> duration_text(900 * 10**9)
    '15 minutes'
    """
    seconds = width_ns // _SECOND
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds % size == 0:
            count = seconds // size
            return f"{count} {name}{'s' if count > 1 else ''}"
    raise ValueError(f"expected whole seconds, got {width_ns} ns")


def verdict(summary: RunSummary) -> str:
    """The outcome in one sentence: who was liquidated, and who bore what was left."""
    if not summary.liquidations_count:
        return "No account was liquidated."

    def money(value: int) -> str:
        return f"{money_text(value, summary.money_decimals)} {summary.asset}"

    accounts = summary.accounts_liquidated_count
    text = (
        f"{count_text(accounts)} account{'s were' if accounts != 1 else ' was'} liquidated for "
        f"{money(summary.notional_liquidated_quote)}; the book closed "
        f"{share_text(summary.notional_book_quote, summary.notional_liquidated_quote) or 'nothing'}"
    )
    if summary.notional_fund_quote:
        text += f", the insurance fund took over {money(summary.notional_fund_quote)}"
    if summary.adl_fills_count:
        winners = summary.adl_accounts_count
        text += (
            f", {count_text(winners)} winning account{'s were' if winners != 1 else ' was'} "
            f"deleveraged at a haircut of {money(summary.cost_adl_quote)}"
        )
    else:
        text += ", nobody was deleveraged"
    text += f", and the fund ended at {money(summary.fund_end_quote)}"
    if summary.bad_debt_quote:
        text += f" after bad debt of {money(summary.bad_debt_quote)}"
    elif summary.notional_residual_quote:
        text += f" after the venue itself took {money(summary.notional_residual_quote)}"
    return text + "."


def summary_rows(summary: RunSummary, identity_difference: int | None) -> list[SummaryRow]:
    """The table of the run; the same lines in the same order for every run."""
    rows = [
        SummaryRow(
            "Accounts liquidated",
            count_text(summary.accounts_liquidated_count),
            f"{count_text(summary.liquidations_count)} liquidations",
        ),
        SummaryRow(
            "Notional liquidated",
            _money(summary, summary.notional_liquidated_quote),
            f"by accounts with {_money(summary, summary.equity_at_start_quote)} equity "
            "when it began",
        ),
        *_destination_rows(summary),
        *_fund_rows(summary),
        SummaryRow(
            "Trades in the book",
            count_text(summary.trades_count),
            _money(summary, summary.notional_traded_quote),
        ),
    ]
    if identity_difference is not None:
        rows.append(
            SummaryRow(
                "Money identity",
                f"difference {identity_difference}",
                "balances minus entry values minus net deposits, to the smallest unit",
            )
        )
    return rows


def _money(summary: RunSummary, value: int) -> str:
    return f"{money_text(value, summary.money_decimals)} {summary.asset}"


def _destination_rows(summary: RunSummary) -> list[SummaryRow]:
    """Where the liquidated positions went, and what that cost whom at the mark of the instant."""

    def taken(notional: int, rest: str) -> str:
        return f"{share_text(notional, summary.notional_liquidated_quote)} {rest}".strip()

    fills, adl_fills = (
        count_text(count) for count in (summary.liquidation_fills_count, summary.adl_fills_count)
    )
    takeovers, refused = (
        count_text(count) for count in (summary.takeovers_count, summary.takeovers_refused_count)
    )
    winners = count_text(summary.adl_accounts_count)
    return [
        SummaryRow(
            "Closed in the book",
            _money(summary, summary.notional_book_quote),
            taken(summary.notional_book_quote, f"in {fills} fills"),
        ),
        SummaryRow(
            "Cost of the book",
            _money(summary, summary.gain_book_quote),
            "what was sold below or bought above the mark of that instant",
        ),
        SummaryRow(
            "Taken over by the fund",
            _money(summary, summary.notional_fund_quote),
            taken(summary.notional_fund_quote, f"in {takeovers} takeovers; {refused} refused"),
        ),
        SummaryRow(
            "Auto-deleveraged",
            _money(summary, summary.notional_adl_quote),
            taken(summary.notional_adl_quote, f"from {winners} accounts in {adl_fills} fills"),
        ),
        SummaryRow(
            "Haircut of winners",
            _money(summary, summary.cost_adl_quote),
            "against the mark of that instant; others gained "
            f"{_money(summary, summary.gain_adl_quote)}",
        ),
        SummaryRow(
            "Left to the venue",
            _money(summary, summary.notional_residual_quote),
            taken(summary.notional_residual_quote, "beyond fund and winners"),
        ),
    ]


def _fund_rows(summary: RunSummary) -> list[SummaryRow]:
    """What the fund received and paid, and what it was left with."""
    fees, surplus, start, lowest, unrealised = (
        _money(summary, value)
        for value in (
            summary.liquidation_fees_quote,
            summary.surplus_quote,
            summary.fund_start_quote,
            summary.fund_min_quote,
            summary.fund_unrealised_quote,
        )
    )
    received = summary.liquidation_fees_quote + summary.surplus_quote
    lines = (
        ("Fund: received", received, f"fees {fees}, surplus {surplus}"),
        ("Fund: paid", summary.fund_paid_quote, "shortfalls in cash within its balance"),
        ("Bad debt", summary.bad_debt_quote, "shortfalls beyond the fund"),
        ("Fund balance", summary.fund_end_quote, f"from {start}, lowest {lowest}"),
        (
            "Fund inventory",
            summary.fund_notional_quote,
            f"still open, {unrealised} unrealised at the last mark",
        ),
    )
    return [SummaryRow(label, _money(summary, value), note) for label, value, note in lines]


def assumptions(profile: VenueProfile) -> list[tuple[str, str]]:
    """Fields of the profile that nobody has published, with what they rest on."""
    return [(each.field, each.source) for each in profile.evidence if each.status == "assumed"]
