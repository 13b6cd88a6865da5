"""The index that finds breached domains and reached stops without scanning all of them.

Every open leg hangs on a ladder at a price beyond which its domain must be examined: as long as no
leg of a domain has met its trigger, the domain is healthy. Triggers are early rather than late,
and examination is exact, so the result equals a full scan (R73, R74); `scan_for_breaches` is that
scan. Stops hang on ladders of their own (R42, R43).
"""

from engine.constants import Side
from engine.core.kernel import NOTHING, inlined, kernel, part
from engine.core.ladder import clear_position, first_from, ladder_row, last_to, set_position
from engine.core.ledger import (
    DOMAIN_BITS,
    touch_position,
)
from engine.core.position import find_position
from engine.core.records import FAVOURED, QUEUED, STOP_REACHED
from engine.core.sorting import sort_keys
from engine.core.state import (
    H,
    Ladders,
    accounts,
    buckets,
    header,
    ladders,
    markets,
    nodes,
    orders,
    positions,
    reached,
    stale,
    stop_queue,
    triggers,
)

DOWN, UP = 0, 1
LOW_MASK = (1 << DOMAIN_BITS) - 1
SPARE_SHIFT = 3  # a node that must come nearer comes nearer by an eighth of its way to the mark
ROW_BITS = 26  # of an order row in a stop's key; its age is above them


# -- ladders of positions ---------------------------------------------------------------------


@inlined
def bucket_of(market, price):
    return (price >> market["bucket_shift"]) + 1


@inlined
def node_against(position_row):
    """Row of the node on which a leg hangs against it."""
    return position_row


@inlined
def node_in_favour(s, position_row):
    """Row of the node on which a leg hangs in its favour."""
    return header(s)[H.POSITIONS_ROWS] + position_row


@inlined
def leg_of_node(s, node_row):
    """Position row of a node."""
    half = header(s)[H.POSITIONS_ROWS]
    return node_row if node_row < half else node_row - half


@kernel
def unlink_node(s, row, market_id):
    """Take a node off its ladder, if it is on one."""
    table = nodes(s)
    node = table[row]
    trigger = node["trigger"]
    if trigger == 0:
        return
    if node["prev"] != 0:
        table[node["prev"]]["next"] = node["next"]
    else:
        ladder = ladder_row(market_id, Ladders.DOWN if trigger > 0 else Ladders.UP)
        bucket = bucket_of(markets(s)[market_id], abs(trigger))
        buckets(s)[ladders(s)[ladder]["bucket_row"] + bucket] = node["next"]
        if node["next"] == 0:
            clear_position(s, ladder, bucket)
    if node["next"] != 0:
        table[node["next"]]["prev"] = node["prev"]
    table[row] = table[0]
    leg = leg_of_node(s, row)
    if leg != row:
        positions(s)[leg]["beside"] &= ~FAVOURED


@inlined
def near_enough(mark, held, price):
    """Whether a node that hangs at `held` serves for a leg to be examined at `price`: a mark meets
    it first, but it has half as far to go at least."""
    wanted, given = abs(mark - price), abs(mark - held)
    return given <= wanted <= 2 * given


@kernel
def link_node(s, row, market_id, trigger):
    """Hang a node at a price, which a falling mark meets, or less it if a rising one does; 0 for
    nowhere. It stays where it hangs near enough. One that must come nearer comes nearer than it
    must, so that whoever trades often need not move it each time."""
    table = nodes(s)
    held = table[row]["trigger"]
    if held == trigger:
        return
    if held != 0 and trigger != 0 and (held > 0) == (trigger > 0):
        mark = markets(s)[market_id]["mark_price"]
        price = abs(trigger)
        if near_enough(mark, abs(held), price):
            return
        if abs(mark - price) < abs(mark - abs(held)):
            trigger += abs(mark - price) >> SPARE_SHIFT
    unlink_node(s, row, market_id)
    if trigger == 0:
        return
    ladder = ladder_row(market_id, Ladders.DOWN if trigger > 0 else Ladders.UP)
    bucket = bucket_of(markets(s)[market_id], abs(trigger))
    slot = ladders(s)[ladder]["bucket_row"] + bucket
    head = buckets(s)[slot]
    table[row]["trigger"] = trigger
    table[row]["next"] = head
    if head != 0:
        table[head]["prev"] = row
    else:
        set_position(s, ladder, bucket)
    buckets(s)[slot] = row
    leg = leg_of_node(s, row)
    if leg != row:
        positions(s)[leg]["beside"] |= FAVOURED


@part(NOTHING)
def fire_nodes(s, market_id):
    """A new mark: whoever it has met is to be examined."""
    market = markets(s)[market_id]
    mark = market["mark_price"]
    limit = bucket_of(market, mark)
    ladder = ladder_row(market_id, Ladders.DOWN.value)
    bucket = last_to(s, ladder, ladders(s)[ladder]["size"] - 1)
    while bucket >= limit:
        fire_bucket(s, ladders(s)[ladder]["bucket_row"] + bucket, market_id, mark)
        bucket = last_to(s, ladder, bucket - 1)
    ladder = ladder_row(market_id, Ladders.UP.value)
    bucket = first_from(s, ladder, 1)
    while bucket != 0 and bucket <= limit:
        fire_bucket(s, ladders(s)[ladder]["bucket_row"] + bucket, market_id, -mark)
        bucket = first_from(s, ladder, bucket + 1)


@kernel
def fire_bucket(s, slot, market_id, mark):
    """The nodes of a bucket that a mark has met; it is negative for nodes that wait for a rise."""
    table = nodes(s)
    row = buckets(s)[slot]
    while row != 0:
        following = table[row]["next"]
        if mark <= table[row]["trigger"]:
            unlink_node(s, row, market_id)
            touch_position(s, leg_of_node(s, row))
        row = following


# -- domains ----------------------------------------------------------------------------------


@kernel
def position_of_key(s, key):
    """Position row of a domain key, 0 for a cross account."""
    low = key & LOW_MASK
    if low == 0:
        return 0
    return find_position(s, key >> DOMAIN_BITS, (low - 1) >> 2, (low - 1) & 3)


@inlined
def is_queued(s, account_row, position_row):
    if position_row != 0:
        return positions(s)[position_row]["awaits"] & QUEUED != 0
    return accounts(s)[account_row]["awaits"] & QUEUED != 0


@inlined
def set_queued(s, account_row, position_row, queued):
    mark = QUEUED if queued != 0 else 0
    if position_row != 0:
        position = positions(s)[position_row]
        position["awaits"] = (position["awaits"] & ~QUEUED) | mark
    else:
        account = accounts(s)[account_row]
        account["awaits"] = (account["awaits"] & ~QUEUED) | mark


# -- stops ------------------------------------------------------------------------------------


@inlined
def stop_ladder(market_id, trigger_kind, side):
    kind = Ladders.STOP_MARK_SELL + 2 * (trigger_kind - 1)
    return ladder_row(market_id, kind + 1 if side == Side.BUY else kind)


@kernel
def link_stop(s, row):
    """Hang a stop at its trigger price."""
    table = orders(s)
    order = table[row]
    trigger = triggers(s)[row]
    ladder = stop_ladder(order["market_id"], trigger["trigger_kind"], order["side"])
    bucket = bucket_of(markets(s)[order["market_id"]], trigger["trigger_price"])
    slot = ladders(s)[ladder]["bucket_row"] + bucket
    head = buckets(s)[slot]
    order["tick"] = bucket
    order["next"] = head
    order["prev"] = 0
    if head != 0:
        table[head]["prev"] = row
    else:
        set_position(s, ladder, bucket)
    buckets(s)[slot] = row
    header(s)[H.STOPS_HUNG] += 1


@kernel
def unhang_stop(s, row):
    """Take a stop off its ladder; it stays in its account's list."""
    header(s)[H.STOPS_HUNG] -= 1
    table = orders(s)
    order = table[row]
    trigger = triggers(s)[row]
    ladder = stop_ladder(order["market_id"], trigger["trigger_kind"], order["side"])
    if order["prev"] != 0:
        table[order["prev"]]["next"] = order["next"]
    else:
        buckets(s)[ladders(s)[ladder]["bucket_row"] + order["tick"]] = order["next"]
        if order["next"] == 0:
            clear_position(s, ladder, order["tick"])
    if order["next"] != 0:
        table[order["next"]]["prev"] = order["prev"]


@kernel
def unlink_stop(s, row):
    """A stop leaves: off its ladder unless it was reached, and its trigger row is zeroed."""
    if orders(s)[row]["bits"] & STOP_REACHED == 0:
        unhang_stop(s, row)
    triggers(s)[row] = triggers(s)[0]


@kernel
def collect_stops(s, market_id, trigger_kind, price, count):
    """Stops of one market and kind that a price has reached join `reached`; returns its count."""
    if price == 0:
        return count
    market = markets(s)[market_id]
    limit = bucket_of(market, price)
    ladder = stop_ladder(market_id, trigger_kind, Side.SELL)
    bucket = last_to(s, ladder, ladders(s)[ladder]["size"] - 1)
    while bucket >= limit:
        count = collect_bucket(s, ladder, bucket, price, Side.SELL, count)
        bucket = last_to(s, ladder, bucket - 1)
    ladder = stop_ladder(market_id, trigger_kind, Side.BUY)
    bucket = first_from(s, ladder, 1)
    while bucket != 0 and bucket <= limit:
        count = collect_bucket(s, ladder, bucket, price, Side.BUY, count)
        bucket = first_from(s, ladder, bucket + 1)
    return count


@kernel
def collect_bucket(s, ladder, bucket, price, side, count):
    table = orders(s)
    row = buckets(s)[ladders(s)[ladder]["bucket_row"] + bucket]
    while row != 0:
        following = table[row]["next"]
        at = triggers(s)[row]["trigger_price"]
        if (side == Side.SELL and price <= at) or (side == Side.BUY and price >= at):
            unhang_stop(s, row)
            table[row]["bits"] |= STOP_REACHED
            reached(s)[count] = (table[row]["seq"] << ROW_BITS) | row
            count += 1
        row = following
    return count


@part(NOTHING)
def queue_stops(s):
    """Implements R43: stops that the prices of this unit have reached join the queue by age."""
    words = header(s)
    count = 0
    for index in range(words[H.STALE_COUNT]):
        market_id = stale(s)[index]
        market = markets(s)[market_id]
        count = collect_stops(s, market_id, 1, market["mark_price"], count)
        count = collect_stops(s, market_id, 2, market["last_price"], count)
        count = collect_stops(s, market_id, 3, market["index_price"], count)
    if count > 1:
        sort_keys(reached(s), count)
    queue = stop_queue(s)
    for index in range(count):
        queue[words[H.STOPS_TAIL] & (len(queue) - 1)] = reached(s)[index]
        words[H.STOPS_TAIL] += 1
