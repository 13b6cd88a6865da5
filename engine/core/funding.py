"""Funding: settle one interval, eagerly, for every open position. Implements R61."""

from engine.constants import EventKind, Flag, SystemAccount
from engine.core.arithmetic import mul_div_signed
from engine.core.events import emit
from engine.core.kernel import NOTHING, kernel, part
from engine.core.ledger import credit_position, credit_wallet
from engine.core.margin import funding_amount
from engine.core.prices import touch_mark
from engine.core.state import H, accounts, header, markets, positions


@kernel
def accrued_ppb(s, market, rate_ppb):
    """Part of R61: what a rate comes to since funding was last paid."""
    words = header(s)
    if words[H.FUNDING_CONTINUOUS] == 0:
        return rate_ppb
    if market["funding_time_ns"] == 0:
        return 0
    elapsed_ns = words[H.NOW_NS] - market["funding_time_ns"]
    return mul_div_signed(rate_ppb, elapsed_ns, words[H.RATE_PERIOD_NS])


@part(NOTHING)
def settle_funding(s, market_id, rate_ppb):
    """Every open position pays or receives, in order of account row and leg."""
    words = header(s)
    market = markets(s)[market_id]
    mark = market["mark_price"]
    if words[H.FUNDING_ON_INDEX] != 0 and market["index_price"] != 0:
        mark = market["index_price"]
    charged_ppb = accrued_ppb(s, market, rate_ppb)
    total = 0
    table = positions(s)
    for account_row in range(1, words[H.ACCOUNTS_COUNT] + 1):
        row = accounts(s)[account_row]["position_head"]
        while row != 0:
            position = table[row]
            if position["market_id"] == market_id and position["lots"] != 0:
                amount = funding_amount(market, position["lots"], mark, charged_ppb)
                if amount != 0:
                    total += amount
                    credit_position(s, row, amount)
                    emit(
                        s,
                        EventKind.FUNDING_PAID,
                        accounts(s)[account_row]["account_id"],
                        0,
                        0,
                        mark,
                        position["lots"],
                        amount,
                        0,
                        market_id,
                        0,
                        0,
                        position["position_side"],
                        Flag.ISOLATED if position["isolated"] != 0 else 0,
                    )
            row = position["account_next"]
    credit_wallet(s, SystemAccount.ROUNDING, -total)
    market["funding_rate_ppb"] = rate_ppb
    market["funding_time_ns"] = words[H.NOW_NS]
    touch_mark(s, market_id)
    kind = EventKind.FUNDING_SETTLED
    emit(s, kind, 0, 0, 0, mark, 0, -total, rate_ppb, market_id, 0, 0, 0, 0)
