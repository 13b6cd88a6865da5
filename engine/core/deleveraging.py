"""Auto-deleveraging: rank the other side, close it against a bankrupt position off book.

Implements R82-R85.
"""

from engine.constants import PPB, AdlScore, CancelReason, Cause
from engine.core.arithmetic import mul_div_bounded
from engine.core.kernel import NOTHING, inlined, kernel, part
from engine.core.ledger import (
    domain_equity,
    domain_health,
    domain_of,
    is_system,
    position_notional,
    unrealised,
)
from engine.core.margin import value
from engine.core.orders import cancel_all, trade_off_book
from engine.core.sorting import heapify_ranks, pop_rank
from engine.core.state import H, accounts, header, markets, positions, ranks

SCORE_PART_MAX = 2**60


@kernel
def adl_score(s, position_row):
    """Implements R82."""
    position = positions(s)[position_row]
    profit = unrealised(s, position_row)
    if profit <= 0:
        return 0
    domain = domain_of(s, position_row)
    equity, maintenance, size, _ = domain_health(s, position["account_row"], domain)
    if equity <= 0:
        return 0
    if header(s)[H.ADL_SCORE] == AdlScore.WALLET_PCT_MARGIN_RATIO:
        balance = accounts(s)[position["account_row"]]["wallet_quote"]
        if domain != 0:
            balance = position["margin_quote"]
        first = mul_div_bounded(profit, PPB, max(1, balance), SCORE_PART_MAX)
        second = mul_div_bounded(maintenance, PPB, equity, SCORE_PART_MAX)
    else:
        first = mul_div_bounded(profit, PPB, max(1, abs(position["entry_quote"])), SCORE_PART_MAX)
        second = mul_div_bounded(size, PPB, equity, SCORE_PART_MAX)
    return mul_div_bounded(first, second, PPB, SCORE_PART_MAX)


@kernel
def rank_candidates(s, position_row):
    """Implements R83: a heap of every user position on the other side; returns their number."""
    bankrupt = positions(s)[position_row]
    long = bankrupt["lots"] > 0
    market = markets(s)[bankrupt["market_id"]]
    table = positions(s)
    heap = ranks(s)
    count = 0
    row = market["position_head"]
    while row != 0:
        position = table[row]
        account_row = position["account_row"]
        opposed = position["lots"] < 0 if long else position["lots"] > 0
        if opposed and not is_system(account_row) and account_row != bankrupt["account_row"]:
            count += 1
            heap[count]["score"] = adl_score(s, row)
            heap[count]["notional_quote"] = position_notional(s, row)
            heap[count]["position_row"] = row
            heap[count]["account_row"] = account_row
            heap[count]["leg"] = position["position_side"]
        row = position["market_next"]
    heapify_ranks(heap, count)
    return count


@inlined
def stays_solvent(s, counter_row, change, price):
    """Implements R85."""
    counter = positions(s)[counter_row]
    market = markets(s)[counter["market_id"]]
    gap = value(market, change, market["mark_price"]) - value(market, change, price)
    equity = domain_equity(s, counter["account_row"], domain_of(s, counter_row))
    return equity + gap >= 0


@part(NOTHING)
def deleverage(s, position_row, price):
    """Implements R84."""
    position = positions(s)[position_row]
    left = rank_candidates(s, position_row)
    heap = ranks(s)
    while left > 0 and position["lots"] != 0:
        counter_row = heap[1]["position_row"]
        pop_rank(heap, left)
        left -= 1
        counter = positions(s)[counter_row]
        lots = min(abs(counter["lots"]), abs(position["lots"]))
        change = lots if position["lots"] > 0 else -lots
        if not stays_solvent(s, counter_row, change, price):
            continue
        cancel_all(s, counter["account_row"], position["market_id"], CancelReason.ADL)
        trade_off_book(s, position_row, counter_row, -change, price, Cause.ADL)
