"""Who may have to bear a loss in a market, gathered for the policies of R138 and R139."""

from engine.bearers import NUMBER_MAX
from engine.core.arithmetic import divide_up
from engine.core.kernel import INT, inlined, kernel, part
from engine.core.ledger import domain_health, domain_of, is_system, unrealised
from engine.core.margin import notional, value
from engine.core.policies import OPTION_WORDS, columns_at, share_out
from engine.core.position import find_position
from engine.core.records import INT64
from engine.core.state import H, accounts, header, leg_links, markets, positions
from engine.core.windows import window_at

LEG_BITS = 2  # of the identifier of a candidate


@kernel
def write_options(s, at, side):
    """The profile's options, and the number of the command as the seed of the lottery."""
    words = header(s)
    options = window_at(at, OPTION_WORDS, INT64)
    options[0] = side
    options[1] = words[H.SHARE_SCORE]
    options[2] = words[H.SHARE_WEIGHT]
    options[3] = words[H.SHARE_EXPONENT]
    options[4] = words[H.SHARE_THRESHOLD_PPM]
    options[5] = words[H.SHARE_HAIRCUT_MAX_PPM]
    options[6] = words[H.SHARE_EQUITY_MIN_QUOTE]
    options[7] = 0
    options[8] = words[H.SEQ]
    options[9] = words[H.SHARE_TRIES_MAX]
    options[10] = words[H.SHARE_THETA_PPM]
    options[11] = words[H.SHARE_WITHDRAWAL_PPM]
    options[12] = words[H.SHARE_MATURED_PPM]


@inlined
def bears(s, row, side, winners):
    """Whether an open leg is one of those asked: of side 0 all, else those against that side."""
    lots = positions(s)[row]["lots"]
    if lots == 0 or lots * side > 0:
        return False
    return winners == 0 or unrealised(s, row) > 0


@kernel
def count_bearers(s, market_id, side, winners, without_row):
    """How many candidates there are."""
    count = 0
    row = markets(s)[market_id]["position_head"]
    while row != 0:
        account_row = positions(s)[row]["account_row"]
        mine = account_row == without_row or is_system(s, account_row)
        if not mine and bears(s, row, side, winners):
            count += 1
        row = leg_links(s)[row]
    return count


@kernel
def write_bearer(s, c, place, row, price):
    """One candidate: money of a lot at mark, at entry, and lost by closing it at the price."""
    position = positions(s)[row]
    market = markets(s)[position["market_id"]]
    lots, mark = position["lots"], market["mark_price"]
    size = abs(lots)
    equity, maintenance, _, _ = domain_health(s, position["account_row"], domain_of(s, row))
    c.id[place] = (position["account_row"] << LEG_BITS) | position["position_side"]
    c.lots[place] = lots
    c.mark[place] = notional(market, 1, mark)
    c.entry[place] = abs(position["entry_quote"]) // size
    c.pnl[place] = unrealised(s, row)
    c.equity[place] = equity
    c.maintenance[place] = maintenance
    lost = max(0, value(market, lots, mark) - value(market, lots, price))
    c.gap[place] = divide_up(lost, size)


@kernel
def bound_sum(values):
    """Where amounts add up to more than policies count to, none is above an equal share of it."""
    total, count = 0, len(values)
    for place in range(count):
        total = min(NUMBER_MAX, total + min(NUMBER_MAX, abs(values[place])))
    if total < NUMBER_MAX:
        return
    most = (NUMBER_MAX - 1) // count
    for place in range(count):
        values[place] = min(most, max(-most, values[place]))


@part(INT)
def gather(s, market_id, side, winners, without_row, price):
    """Candidates in account order into SHARES; their number. `side` of the bankrupt is 1 or -1, and
    0 asks both sides."""
    words = header(s)
    at = words[H.SHARES_AT]
    count = count_bearers(s, market_id, side, winners, without_row)
    c = columns_at(at, count)
    place = 0
    for account_row in range(words[H.SYSTEM_ROWS] + 1, words[H.ACCOUNTS_COUNT] + 1):
        row = 0 if account_row == without_row else accounts(s)[account_row]["position_head"]
        while row != 0:
            if positions(s)[row]["market_id"] == market_id and bears(s, row, side, winners):
                write_bearer(s, c, place, row, price)
                place += 1
            row = positions(s)[row]["account_next"]
    assert place == count, "candidates of a market are not those of its accounts"
    bound_sum(c.pnl)
    bound_sum(c.equity)
    return count


@inlined
def bearer_row(s, market_id, identifier):
    """The position row of a candidate."""
    leg = identifier & ((1 << LEG_BITS) - 1)
    return find_position(s, identifier >> LEG_BITS, market_id, leg)


@kernel
def share_case(s, count, policy, need, space, side, most):
    """Share a need out over the gathered candidates, at most so much; the address of the case."""
    at = header(s)[H.SHARES_AT]
    write_options(s, at, side)
    share_out(s, at, count, policy, need, space, most)
    return at
