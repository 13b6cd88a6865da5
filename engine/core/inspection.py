"""The views of one account as a row of numbers, for `Exchange.inspect`. Implements R127."""

import numpy as np

from engine.core.deleveraging import adl_score
from engine.core.kernel import NOTHING, front, kernel, part
from engine.core.ledger import (
    case_row,
    domain_health,
    exit_requirement,
    initial_of,
    is_collateral,
    leg_initial,
    position_maintenance,
    position_notional,
    trigger_requirement,
    unrealised,
)
from engine.core.records import INT64
from engine.core.sizing import bankruptcy, limit_price, step_lots, tier_row_of
from engine.core.state import H, accounts, cases, header, markets, positions
from engine.core.windows import window_at


@kernel
def put(s, out_at, value):
    """Append a number; the first word of the buffer counts them."""
    out = window_at(out_at, 1 << 20, INT64)
    out[0] += 1
    out[out[0]] = value


@part(NOTHING)
def put_position(s, account_row, domain_row, row, out_at):
    position = positions(s)[row]
    size = position_notional(s, row)
    put(s, out_at, position["market_id"])
    put(s, out_at, position["position_side"])
    put(s, out_at, position["lots"])
    put(s, out_at, position["entry_quote"])
    put(s, out_at, size)
    put(s, out_at, unrealised(s, row))
    put(s, out_at, tier_row_of(s, row) - markets(s)[position["market_id"]]["tier_row"])
    put(s, out_at, position_maintenance(s, row))
    put(s, out_at, leg_initial(s, row, position["lots"], size))
    put(s, out_at, bankruptcy(s, account_row, domain_row, row))
    put(s, out_at, adl_score(s, row))
    for index in range(header(s)[H.STEPS_COUNT]):
        lots = 0
        if not is_collateral(s, row):
            lots = step_lots(s, account_row, domain_row, row, index)
        price = 0
        if lots != 0:
            price = limit_price(s, account_row, domain_row, row, index, lots)
        put(s, out_at, lots)
        put(s, out_at, price)


@kernel
def put_domain(s, account_row, domain_row, out_at):
    """A domain's numbers, then how many legs follow, then each of them."""
    equity, maintenance, size, _ = domain_health(s, account_row, domain_row)
    case = cases(s)[case_row(s, account_row, domain_row)]
    market_id, side, balance = 0, 0, accounts(s)[account_row]["wallet_quote"]
    if domain_row != 0:
        market_id = positions(s)[domain_row]["market_id"]
        side = positions(s)[domain_row]["position_side"]
        balance = positions(s)[domain_row]["margin_quote"]
    put(s, out_at, market_id)
    put(s, out_at, side)
    put(s, out_at, balance)
    put(s, out_at, equity)
    put(s, out_at, maintenance)
    put(s, out_at, trigger_requirement(s, maintenance))
    put(s, out_at, exit_requirement(s, account_row, domain_row))
    put(s, out_at, initial_of(s, account_row, domain_row))
    put(s, out_at, size)
    put(s, out_at, case["level"])
    put(s, out_at, case["due_ns"])
    out = window_at(out_at, 1 << 20, INT64)
    put(s, out_at, 0)
    place = out[0]
    row = domain_row if domain_row != 0 else accounts(s)[account_row]["position_head"]
    while row != 0:
        position = positions(s)[row]
        mine = domain_row != 0 or position["isolated"] == 0
        if mine and position["lots"] != 0:
            out[place] += 1
            put_position(s, account_row, domain_row, row, out_at)
        row = 0 if domain_row != 0 else position["account_next"]


@front
def inspect(s, account_row, out_at):
    """Write the domains of an account, cross first, and return how many there are."""
    count = 1
    put_domain(s, account_row, 0, out_at)
    row = accounts(s)[account_row]["position_head"]
    while row != 0:
        if positions(s)[row]["isolated"] != 0:
            count += 1
            put_domain(s, account_row, row, out_at)
        row = positions(s)[row]["account_next"]
    return np.int64(count)
