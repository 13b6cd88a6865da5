"""Insurance funds: what one may pay, what it is paid, and its drawdown. R79, R98, R99 and R130."""

from engine.constants import PPM, EventKind, SystemAccount
from engine.core.arithmetic import mul_div_up
from engine.core.events import emit
from engine.core.kernel import INT, NOTHING, inlined, kernel, part
from engine.core.ledger import FUND, NAMED_ROWS, case_row, fund_row, move_to
from engine.core.records import PEAK_PARTS
from engine.core.state import H, accounts, cases, funds, header, peaks, positions

FEES = SystemAccount.FEES.value


@kernel
def loss_market(s, account_row, domain_row):
    """Part of R130: the market whose fund answers for a domain, 0 if there is none."""
    if domain_row != 0:
        return positions(s)[domain_row]["market_id"]
    return cases(s)[case_row(s, account_row, domain_row)]["last_market"]


@kernel
def book_fee(s, account_row, domain_row, market_id, fee):
    """Implements R79: to the fund or the venue."""
    if header(s)[H.FEE_TO_VENUE] != 0:
        move_to(s, EventKind.VENUE_FEE, account_row, domain_row, fee, FEES)
    else:
        kind = EventKind.LIQUIDATION_FEE
        move_to(s, kind, account_row, domain_row, fee, fund_row(s, market_id))


@inlined
def paid_row(s, market_id):
    """Implements R99: whose window of the cap it is, as a row of FUNDS."""
    words = header(s)
    if words[H.FUND_CAP_BY_MARKET] != 0 and market_id != 0:
        return words[H.SYSTEM_ROWS] + market_id
    return fund_row(s, market_id)


@kernel
def is_new_window(s, paid):
    words = header(s)
    window_ns = words[H.FUND_CAP_WINDOW_NS]
    return window_ns != 0 and words[H.NOW_NS] - paid["paid_since_ns"] >= window_ns


@kernel
def peak(s, row):
    """Highest balance of a fund seen in the drawdown window."""
    highest = 0
    for index in range(row * PEAK_PARTS, (row + 1) * PEAK_PARTS):
        highest = max(highest, peaks(s)[index]["quote"])
    return highest


@kernel
def in_drawdown(s, market_id):
    """Implements R98: the rule is active for the market's fund."""
    return funds(s)[fund_row(s, market_id)]["drawdown"] != 0


@part(INT)
def allowance(s, market_id):
    """Implements R99."""
    words = header(s)
    row = fund_row(s, market_id)
    balance = accounts(s)[row]["wallet_quote"]
    room = max(0, balance) if words[H.FUND_PAYS] != 0 else 0
    if words[H.FUND_CAP_QUOTE] != 0:
        paid = funds(s)[paid_row(s, market_id)]
        used = 0 if is_new_window(s, paid) else paid["paid_quote"]
        room = min(room, max(0, words[H.FUND_CAP_QUOTE] - used))
    if words[H.DRAWDOWN_PPM] != 0:
        floor = mul_div_up(peak(s, row), PPM - words[H.DRAWDOWN_PPM], PPM)
        room = min(room, max(0, balance - floor))
    return room


@part(INT)
def pay_from_fund(s, account_row, domain_row, market_id, missing):
    """Part of R99: returns how much was paid."""
    amount = min(missing, allowance(s, market_id))
    if amount <= 0:
        return 0
    paid = funds(s)[paid_row(s, market_id)]
    if is_new_window(s, paid):
        paid["paid_since_ns"] = header(s)[H.NOW_NS]
        paid["paid_quote"] = 0
    paid["paid_quote"] += amount
    kind = EventKind.SHORTFALL
    move_to(s, kind, account_row, domain_row, -amount, fund_row(s, market_id))
    return amount


@part(NOTHING)
def watch_funds(s):
    """Implements R98."""
    watch_fund(s, FUND)
    for row in range(NAMED_ROWS + 1, header(s)[H.SYSTEM_ROWS] + 1):
        watch_fund(s, row)


@kernel
def watch_fund(s, row):
    words = header(s)
    table = peaks(s)
    now = words[H.NOW_NS] // words[H.DRAWDOWN_PART_NS]
    balance = accounts(s)[row]["wallet_quote"]
    first = row * PEAK_PARTS
    for index in range(first, first + PEAK_PARTS):
        if table[index]["part"] <= now - PEAK_PARTS:
            table[index]["quote"] = 0
    slot = first + now % PEAK_PARTS
    if table[slot]["part"] != now:
        table[slot]["part"] = now
        table[slot]["quote"] = 0
    table[slot]["quote"] = max(table[slot]["quote"], balance)
    high = peak(s, row)
    fallen = high - balance
    active = funds(s)[row]["drawdown"]
    # fallen * PPM against ppm * high, as quotients that round alike
    start = mul_div_up(high, words[H.DRAWDOWN_PPM], PPM)
    stop = mul_div_up(high, words[H.DRAWDOWN_STOP_PPM], PPM)
    reason = 0
    if active == 0 and high > 0 and fallen >= start:
        reason = 1
    elif active != 0 and (balance >= high or fallen < stop):
        reason = 2
    if reason != 0:
        funds(s)[row]["drawdown"] = 1 if reason == 1 else 0
        account_id = accounts(s)[row]["account_id"]
        kind = EventKind.DRAWDOWN
        emit(s, kind, account_id, 0, 0, 0, 0, balance, high, 0, reason, 0, 0, 0)
