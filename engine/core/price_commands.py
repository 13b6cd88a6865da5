"""Price commands: index, mark, recorded trades and depth, funding ticks, and the marks of them.

Implements R50, R53, R55, R56, R59 and R62. Handlers return 0 or a Reject; with a Reject nothing
has changed.
"""

from engine.constants import LOTS_MAX, CommandKind, Contract, EventKind, MarkSource, Reject, Side
from engine.core.accounts import known_market
from engine.core.admission import OK, price_fits
from engine.core.events import emit
from engine.core.funding import settle_funding
from engine.core.kernel import kernel
from engine.core.liquidity import clear_depth, set_depth, set_index, take_recorded
from engine.core.prices import mark_price, touch_mark, update_average
from engine.core.sorting import sort_keys
from engine.core.state import H, header, markets, stale
from engine.core.triggers import fire_nodes


@kernel
def check_price(s, command):
    if not known_market(s, command["market_id"]):
        return Reject.UNKNOWN_MARKET.value
    fits = price_fits(markets(s)[command["market_id"]], command["price"])
    return OK if fits else Reject.PRICE_OUT_OF_RANGE.value


@kernel
def take_price(s, command):
    """INDEX, MARK and TRADE: a price of the tape. Implements R50, R53 and R56."""
    reject = check_price(s, command)
    if reject != OK:
        return reject
    market_id, price = command["market_id"], command["price"]
    if command["kind"] == CommandKind.INDEX:
        set_index(s, market_id, price)
        return OK
    if command["kind"] == CommandKind.MARK:
        markets(s)[market_id]["tape_mark_price"] = price
    else:
        if command["side"] != 0:
            reject = check_recorded(s, command)
            if reject != OK:
                return reject
            take_recorded(s, market_id, command["side"], price, command["lots"])
        markets(s)[market_id]["last_price"] = price
        emit(s, EventKind.LAST_SET, 0, 0, 0, price, 0, 0, 0, market_id, 0, 0, 0, 0)
    touch_mark(s, market_id)
    return OK


@kernel
def check_recorded(s, command):
    """Side, tick and size of recorded depth or of a trade that is to be matched."""
    side = command["side"]
    if side != Side.BUY and side != Side.SELL:
        return Reject.INVALID_SIDE.value
    if command["price"] % markets(s)[command["market_id"]]["tick_price"] != 0:
        return Reject.PRICE_OFF_TICK.value
    return OK if 0 <= command["lots"] <= LOTS_MAX else Reject.LOTS_OUT_OF_RANGE.value


@kernel
def take_depth(s, command):
    """Implements R55."""
    reject = check_price(s, command)
    if reject != OK:
        return reject
    words = header(s)
    side, lots = command["side"], command["lots"]
    market = markets(s)[command["market_id"]]
    reject = check_recorded(s, command)
    if reject != OK:
        return reject
    if market["curve_row"] != 0:
        return Reject.QUOTES_ARE_DERIVED.value
    if market["open_interest_lots"] + lots > market["open_interest_lots_max"]:
        return Reject.OPEN_INTEREST_BOUND.value
    used = words[H.ORDERS_COUNT] - words[H.CURVE_ORDERS_COUNT]
    if lots != 0 and used >= words[H.USER_ORDERS_MAX]:
        return Reject.ORDERS_FULL.value
    set_depth(s, command["market_id"], side, command["price"], lots)
    return OK


@kernel
def take_depth_clear(s, command):
    """Implements R56."""
    if not known_market(s, command["market_id"]):
        return Reject.UNKNOWN_MARKET.value
    if markets(s)[command["market_id"]]["curve_row"] != 0:
        return Reject.QUOTES_ARE_DERIVED.value
    clear_depth(s, command["market_id"])
    return OK


@kernel
def take_funding(s, command):
    """Implements R62."""
    market_id, price = command["market_id"], command["price"]
    if not known_market(s, market_id):
        return Reject.UNKNOWN_MARKET.value
    market = markets(s)[market_id]
    if market["contract"] == Contract.COLLATERAL:
        return Reject.NOT_COLLATERAL.value
    if price != 0 and not price_fits(market, price):
        return Reject.PRICE_OUT_OF_RANGE.value
    if abs(command["amount"]) > market["funding_cap_ppb"]:
        return Reject.RATE_OUT_OF_RANGE.value
    if market["mark_price"] == 0 and price == 0:
        return Reject.NO_MARK_PRICE.value
    if price != 0 and header(s)[H.MARK_SOURCE] == MarkSource.TAPE:
        market["tape_mark_price"] = price
        touch_mark(s, market_id)
    elif price != 0:
        set_index(s, market_id, price)
    update_marks(s)
    settle_funding(s, market_id, command["amount"])
    return OK


@kernel
def update_marks(s):
    """Implements R59: markets in the stale list, in order; a change is an event and fires the
    triggers it has met. The list is kept for the stops of the unit."""
    words = header(s)
    if words[H.STALE_COUNT] > 1:
        sort_keys(stale(s), words[H.STALE_COUNT])
    for index in range(words[H.STALE_COUNT]):
        market_id = stale(s)[index]
        market = markets(s)[market_id]
        update_average(s, market)
        mark = mark_price(s, market_id)
        if mark != market["mark_price"]:
            market["previous_mark_price"] = market["mark_price"]
            market["mark_price"] = mark
            emit(s, EventKind.MARK_SET, 0, 0, 0, mark, 0, 0, 0, market_id, 0, 0, 0, 0)
            fire_nodes(s, market_id)
