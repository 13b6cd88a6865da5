"""The insurance fund: what it may pay, what it is paid, and its drawdown. R79, R98 and R99."""

from engine.constants import PPM, EventKind, SystemAccount
from engine.core.arithmetic import mul_div_up
from engine.core.events import emit
from engine.core.kernel import INT, NOTHING, kernel, part
from engine.core.ledger import FUND, move_to, to_fund
from engine.core.records import PEAK_PARTS
from engine.core.state import H, accounts, header, peaks

FEES = SystemAccount.FEES.value


@kernel
def book_fee(s, account_row, domain_row, fee):
    """Implements R79: to the fund or the venue."""
    if header(s)[H.FEE_TO_VENUE] != 0:
        move_to(s, EventKind.VENUE_FEE, account_row, domain_row, fee, FEES)
    else:
        to_fund(s, EventKind.LIQUIDATION_FEE, account_row, domain_row, fee)


@kernel
def is_new_window(s):
    words = header(s)
    window_ns = words[H.FUND_CAP_WINDOW_NS]
    return window_ns != 0 and words[H.NOW_NS] - words[H.FUND_PAID_SINCE_NS] >= window_ns


@kernel
def peak(s):
    """Highest balance of the fund seen in the drawdown window."""
    highest = 0
    for index in range(PEAK_PARTS):
        highest = max(highest, peaks(s)[index]["quote"])
    return highest


@part(INT)
def allowance(s):
    """Implements R99."""
    words = header(s)
    balance = accounts(s)[FUND]["wallet_quote"]
    room = max(0, balance) if words[H.FUND_PAYS] != 0 else 0
    if words[H.FUND_CAP_QUOTE] != 0:
        paid = 0 if is_new_window(s) else words[H.FUND_PAID_QUOTE]
        room = min(room, max(0, words[H.FUND_CAP_QUOTE] - paid))
    if words[H.DRAWDOWN_PPM] != 0:
        floor = mul_div_up(peak(s), PPM - words[H.DRAWDOWN_PPM], PPM)
        room = min(room, max(0, balance - floor))
    return room


@part(INT)
def pay_from_fund(s, account_row, domain_row, missing):
    """Part of R99: returns how much was paid."""
    words = header(s)
    paid = min(missing, allowance(s))
    if paid <= 0:
        return 0
    if is_new_window(s):
        words[H.FUND_PAID_SINCE_NS] = words[H.NOW_NS]
        words[H.FUND_PAID_QUOTE] = 0
    words[H.FUND_PAID_QUOTE] += paid
    to_fund(s, EventKind.SHORTFALL, account_row, domain_row, -paid)
    return paid


@part(NOTHING)
def watch_fund(s):
    """Implements R98."""
    words = header(s)
    table = peaks(s)
    now = words[H.NOW_NS] // words[H.DRAWDOWN_PART_NS]
    balance = accounts(s)[FUND]["wallet_quote"]
    for index in range(PEAK_PARTS):
        if table[index]["part"] <= now - PEAK_PARTS:
            table[index]["quote"] = 0
    slot = now % PEAK_PARTS
    if table[slot]["part"] != now:
        table[slot]["part"] = now
        table[slot]["quote"] = 0
    table[slot]["quote"] = max(table[slot]["quote"], balance)
    high = peak(s)
    fallen = high - balance
    active = words[H.DRAWDOWN_ACTIVE]
    # fallen * PPM against ppm * high, as quotients that round alike
    start = mul_div_up(high, words[H.DRAWDOWN_PPM], PPM)
    stop = mul_div_up(high, words[H.DRAWDOWN_STOP_PPM], PPM)
    reason = 0
    if active == 0 and high > 0 and fallen >= start:
        reason = 1
    elif active != 0 and (balance >= high or fallen < stop):
        reason = 2
    if reason != 0:
        words[H.DRAWDOWN_ACTIVE] = 1 if reason == 1 else 0
        kind = EventKind.DRAWDOWN
        emit(s, kind, FUND.value, 0, 0, 0, 0, balance, high, 0, reason, 0, 0, 0)
