"""Auto-deleveraging: rank the other side, close it against a bankrupt position off book.

Implements R82-R85, R119, R131 and R138.
"""

from engine.bearers import SharePolicy, Space
from engine.constants import (
    PPB,
    PPM,
    AdlCandidates,
    AdlPrice,
    AdlScore,
    CancelReason,
    Cause,
    Contract,
    EventKind,
    Payoff,
    PositionSide,
    Scope,
    Side,
    SystemAccount,
)
from engine.core.adl_index import grid_of, is_indexable, spend
from engine.core.adl_search import fetch_leg, open_best, open_index, unit_of
from engine.core.arithmetic import mul_div, mul_div_bounded, mul_div_up
from engine.core.candidates import bearer_row, gather, share_case
from engine.core.events import emit
from engine.core.kernel import INT, INTS_3, NOTHING, inlined, kernel, part
from engine.core.ledger import (
    cross_health,
    domain_equity,
    domain_of,
    fund_row,
    is_system,
    isolated_health,
    leg_initial,
    position_notional,
    unrealised,
)
from engine.core.margin import mixed, value
from engine.core.matching import trade_off_book
from engine.core.orders import cancel_all
from engine.core.policies import amounts_at, columns_at
from engine.core.position import get_position
from engine.core.sorting import heapify_ranks, pop_rank, push_rank
from engine.core.state import (
    H,
    accounts,
    adl_heap,
    adl_nodes,
    adl_order,
    fetch_account,
    fetch_node,
    header,
    leg_links,
    markets,
    nodes,
    positions,
    ranks,
)

SCORE_PART_MAX = 2**60
POOL = SystemAccount.BACKSTOP.value
NET = PositionSide.NET.value


@inlined
def ratio(numerator, denominator):
    """In PPB, rounded down, saturated."""
    return mul_div_bounded(numerator, PPB, denominator, SCORE_PART_MAX)


@inlined
def product(first, second):
    return mul_div_bounded(first, second, PPB, SCORE_PART_MAX)


@part(INT)
def adl_score(s, position_row):
    """Implements R82."""
    words = header(s)
    position = positions(s)[position_row]
    rule = words[H.ADL_SCORE]
    if rule == AdlScore.NONE:
        return 0
    if rule == AdlScore.RANDOM:
        return mixed(words[H.SEQ], 4 * position["account_row"] + position["position_side"])
    domain = domain_of(s, position_row)
    profit = unrealised(s, position_row)
    if domain != 0:
        equity, maintenance, size, _ = isolated_health(s, domain, 0)
    else:
        equity, maintenance, size, _ = cross_health(s, position["account_row"])
    if rule == AdlScore.WALLET_PCT_MARGIN_RATIO:
        if profit <= 0 or equity <= 0:
            return 0
        balance = accounts(s)[position["account_row"]]["wallet_quote"]
        if domain != 0:
            balance = position["margin_quote"]
        return product(ratio(profit, max(1, balance)), ratio(maintenance, equity))
    held = position_notional(s, position_row)
    if rule == AdlScore.PRICE_GAIN_TIMES_LEVERAGE:
        return 0 if equity <= 0 else product(price_gain(s, position_row, held), ratio(held, equity))
    base = abs(position["entry_quote"])
    if rule == AdlScore.RETURN_TIMES_LEVERAGE:
        base = leg_initial(s, position_row, position["lots"], held)
        size = held
    first = ratio(abs(profit), max(1, base))
    if profit > 0:
        return product(first, ratio(size, equity)) if equity > 0 else 0
    if equity <= 0:
        return -SCORE_PART_MAX
    return -product(first, ratio(equity, max(1, size)))


@kernel
def price_gain(s, position_row, held):
    """Part of R82: mark over entry for a long, entry over mark for a short."""
    position = positions(s)[position_row]
    entry = max(1, abs(position["entry_quote"]))
    linear = markets(s)[position["market_id"]]["payoff"] == Payoff.LINEAR
    if linear == (position["lots"] > 0):
        return ratio(held, entry)
    return ratio(entry, max(1, held))


@part(INT)
def adl_price(s, position_row, bankruptcy):
    """Implements R119."""
    words = header(s)
    market_id = positions(s)[position_row]["market_id"]
    market = markets(s)[market_id]
    rule = words[H.ADL_PRICE]
    if rule == AdlPrice.MARK:
        return market["mark_price"]
    if rule == AdlPrice.PREVIOUS_MARK:
        before = market["previous_mark_price"]
        return before if before != 0 else market["mark_price"]
    if rule == AdlPrice.MARK_UNLESS_FUND_LOW:
        low = accounts(s)[fund_row(s, market_id)]["wallet_quote"] < words[H.FUND_LOW_QUOTE]
        return bankruptcy if low else market["mark_price"]
    return bankruptcy


@part(INT)
def rank_side(s, market_id, long, winners, without_row):
    """Implements R83: a heap of the user positions of one side; returns their number."""
    market = markets(s)[market_id]
    table = positions(s)
    count = 0
    row = market["position_head"]
    while row != 0:
        position = table[row]
        account_row = position["account_row"]
        chosen = position["lots"] > 0 if long != 0 else position["lots"] < 0
        if chosen and winners != 0 and unrealised(s, row) <= 0:
            chosen = False
        if chosen and not is_system(s, account_row) and account_row != without_row:
            count += 1
            write_rank(s, count, row)
        row = leg_links(s)[row]
    heapify_ranks(ranks(s), count)
    return count


@kernel
def write_rank(s, slot, row):
    """A position into a row of RANKS."""
    position = positions(s)[row]
    rank = ranks(s)[slot]
    unsized = header(s)[H.ADL_SCORE] == AdlScore.NONE
    rank["score"] = adl_score(s, row)
    rank["notional_quote"] = 0 if unsized else position_notional(s, row)
    rank["position_row"] = row
    rank["account_row"] = position["account_row"]
    rank["leg"] = position["position_side"]


@kernel
def rank_cells(s, grid, unit, cells, left, winners, without_row):
    """Open what is closed until the best rank is above every bound. RANKS is a heap of `left`;
    how many there are then, and how many are closed."""
    heap, closed = ranks(s), adl_heap(s)
    while cells > 0 and (left == 0 or closed[1]["bound"] >= heap[1]["score"]):
        row, cells = open_best(s, grid, unit, cells)
        while row != 0:
            following = adl_nodes(s)[row]["next"]
            if following != 0:
                fetch_leg(s, following)
            account_row = positions(s)[row]["account_row"]
            if account_row != without_row and (winners == 0 or unrealised(s, row) > 0):
                fetch_account(s, account_row)
                fetch_node(s, row)
                left += 1
                write_rank(s, left, row)
                push_rank(heap, left)
            row = following
    return left, cells


@inlined
def closed_by_longs(position):
    """1 if longs are on the other side of a position, 0 if shorts are."""
    return 1 if position["lots"] < 0 else 0


@part(INTS_3)
def choose(s, position_row, cells, left, place, winners):
    """Put the next of the order into ADL_ORDER after `place`, until they hold as many lots as the
    bankrupt position; how many are closed then, how many are ranked, and the last place."""
    position = positions(s)[position_row]
    market_id, without_row = position["market_id"], position["account_row"]
    long = closed_by_longs(position)
    grid, unit = grid_of(market_id, long), unit_of(s, market_id, long)
    heap, order, lots, before = ranks(s), adl_order(s), abs(position["lots"]), left + place
    while lots > 0:
        left, cells = rank_cells(s, grid, unit, cells, left, winners, without_row)
        if left == 0:
            break
        row = heap[1]["position_row"]
        pop_rank(heap, left)
        left -= 1
        place += 1
        fetch_beside(s, row)
        if header(s)[H.CHECK_INDEX] != 0 and is_indexable(s, markets(s)[market_id]):
            assert order[place] == row, "the index of a side differs from its scan"
        order[place] = row
        lots -= abs(positions(s)[row]["lots"])
    spend(s, grid, left + place - before)
    return cells, left, place


@inlined
def fetch_beside(s, row):
    """Ask for the nodes between which that of a leg hangs; closing it takes it off."""
    node = nodes(s)[row]
    fetch_node(s, node["next"])
    fetch_node(s, node["prev"])


@part(INT)
def stays_solvent(s, counter_row, change, price):
    """Implements R85; 1 if so."""
    counter = positions(s)[counter_row]
    market = markets(s)[counter["market_id"]]
    gap = value(market, change, market["mark_price"]) - value(market, change, price)
    equity = domain_equity(s, counter["account_row"], domain_of(s, counter_row))
    return 1 if equity + gap >= 0 else 0


@part(NOTHING)
def deleverage(s, position_row, price):
    """Implements R84."""
    if header(s)[H.ADL_POLICY] != SharePolicy.RANKING:
        share_lots(s, position_row, price)
        return
    position = positions(s)[position_row]
    market_id, without_row = position["market_id"], position["account_row"]
    winners = 1 if header(s)[H.ADL_CANDIDATES] == AdlCandidates.WINNERS else 0
    long = closed_by_longs(position)
    indexed = is_indexable(s, markets(s)[market_id])
    cells, left, place, last = 0, 0, 0, -1
    if indexed:
        cells = open_index(s, market_id, long)
    if not indexed or header(s)[H.CHECK_INDEX] != 0:
        left = rank_side(s, market_id, long, winners, without_row)
    if indexed:
        left = keep_order(s, left)
    while position["lots"] != 0 and place != last:
        last = place
        cells, left, place = choose(s, position_row, cells, left, place, winners)
        for index in range(last + 1, place + 1):
            row = adl_order(s)[index]
            close_against(s, position_row, row, abs(positions(s)[row]["lots"]), price)


@kernel
def keep_order(s, left):
    """The whole order of a side, from the heap of `left`, for the index to be held against; how
    many are left on the heap: nobody."""
    heap = ranks(s)
    for place in range(1, left + 1):
        adl_order(s)[place] = heap[1]["position_row"]
        pop_rank(heap, left + 1 - place)
    return 0


@kernel
def close_against(s, position_row, counter_row, lots, price):
    """Part of R84: close lots of one candidate, unless it would be left below zero."""
    position = positions(s)[position_row]
    lots = min(lots, abs(position["lots"]))
    change = lots if position["lots"] > 0 else -lots
    if not stays_solvent(s, counter_row, change, price):
        return
    scope = header(s)[H.ADL_CANCEL]
    if scope != Scope.NONE:
        market_id = position["market_id"] if scope == Scope.MARKET else 0
        cancel_all(s, positions(s)[counter_row]["account_row"], market_id, CancelReason.ADL)
    trade_off_book(s, position_row, counter_row, -change, price, Cause.ADL)


@kernel
def share_lots(s, position_row, price):
    """Implements R138."""
    words, position = header(s), positions(s)[position_row]
    market_id = position["market_id"]
    side = 1 if position["lots"] > 0 else -1
    winners = 1 if words[H.ADL_CANDIDATES] == AdlCandidates.WINNERS else 0
    count = gather(s, market_id, side, winners, position["account_row"], price)
    if count == 0:
        return
    most = abs(position["lots"])
    need = most
    if words[H.ADL_POLICY] == SharePolicy.WEALTH_TO_LOTS:
        need *= columns_at(words[H.SHARES_AT], count).gap[0]
    at = share_case(s, count, words[H.ADL_POLICY], need, Space.CONTRACT, side, most)
    for place in range(count):
        lots = amounts_at(at, count)[place]
        if lots > 0 and position["lots"] != 0:
            counter_row = bearer_row(s, market_id, columns_at(at, count).id[place])
            close_against(s, position_row, counter_row, lots, price)


# -- profits that a pool cannot bear ----------------------------------------------------------


@part(NOTHING)
def cut_profits(s):
    """Implements R131."""
    words = header(s)
    if words[H.POOL_PROFIT_PPM] == 0:
        return
    balance = max(0, accounts(s)[POOL]["wallet_quote"])
    most = mul_div(balance, words[H.POOL_PROFIT_PPM], PPM)
    stop = mul_div(balance, words[H.POOL_PROFIT_STOP_PPM], PPM)
    for market_id in range(1, words[H.MARKETS_COUNT] + 1):
        market = markets(s)[market_id]
        if market["contract"] != Contract.COLLATERAL:
            for side in range(Side.BUY.value, Side.SELL.value + 1):
                long = 1 if side == Side.BUY else 0
                profit = side_profit(s, market_id, long)
                if profit > most:
                    kind, mark = EventKind.PROFIT_CAPPED, market["mark_price"]
                    emit(s, kind, 0, 0, 0, mark, 0, profit, balance, market_id, 0, side, 0, 0)
                    cut_side(s, market_id, long, profit - stop)


@kernel
def side_profit(s, market_id, long):
    """Part of R131: what the users of one side have won and lost at mark."""
    total = 0
    row = markets(s)[market_id]["position_head"]
    while row != 0:
        position = positions(s)[row]
        chosen = position["lots"] > 0 if long != 0 else position["lots"] < 0
        if chosen and not is_system(s, position["account_row"]):
            total += unrealised(s, row)
        row = leg_links(s)[row]
    return total


@part(NOTHING)
def cut_side(s, market_id, long, excess):
    """Part of R131."""
    heap = ranks(s)
    scope = header(s)[H.ADL_CANCEL]
    left = rank_side(s, market_id, long, 1, 0)
    while left > 0 and excess > 0:
        row = heap[1]["position_row"]
        pop_rank(heap, left)
        left -= 1
        winner = positions(s)[row]
        profit, held = unrealised(s, row), abs(winner["lots"])
        lots = held
        if excess < profit:
            lots = mul_div_up(excess, held, profit)
        if scope != Scope.NONE:
            cancelled = market_id if scope == Scope.MARKET else 0
            cancel_all(s, winner["account_row"], cancelled, CancelReason.ADL)
        against = get_position(s, POOL, market_id, NET)
        change = lots if long != 0 else -lots
        mark = markets(s)[market_id]["mark_price"]
        trade_off_book(s, against, row, change, mark, Cause.ADL)
        excess -= profit - unrealised(s, row)
