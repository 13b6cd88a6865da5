"""Levels of margin domains: who is in breach, who waits, who is warned, restricted or called.

Implements R74, R88, R94, R95, R102, R105 and R106. `examine_touched` runs after every unit of work.
"""

from engine.constants import (
    PPM,
    CallEnd,
    CancelReason,
    EventKind,
    Flag,
    Level,
    QueueOrder,
)
from engine.core.adl_index import keep_up
from engine.core.arithmetic import mul_div_bounded, mul_div_up
from engine.core.bands import bands_hold, place_bands
from engine.core.events import emit
from engine.core.kernel import INT, NOTHING, inlined, kernel, part
from engine.core.ledger import (
    DOMAIN_BITS,
    FUND,
    breached_with,
    case_row,
    cross_health,
    domain_health,
    domain_key,
    emit_domain,
    initial_of,
    is_breached,
    isolated_health,
    move_to,
    repay,
    sums_of_legs,
    touch_account,
    touch_position,
    trigger_requirement,
)
from engine.core.margin import mixed
from engine.core.orders import cancel
from engine.core.position import find_position
from engine.core.records import ESCALATED, FORCED, RESUMED, TOUCHED, WAITS
from engine.core.sorting import sort_keys
from engine.core.state import (
    H,
    accounts,
    adl_queue,
    breached,
    cases,
    gated,
    header,
    liquidations,
    orders,
    positions,
    touched,
    waiting,
)
from engine.core.triggers import (
    is_queued,
    position_of_key,
    set_queued,
)

KEY_BITS = 38  # account row and leg of a domain key; its urgency is above them
KEY_MASK = (1 << KEY_BITS) - 1


@inlined
def key_of(s, account_row, domain_row):
    return domain_key(s, domain_row) if domain_row != 0 else account_row << DOMAIN_BITS


@kernel
def touch_domain(s, account_row, domain_row):
    if domain_row != 0:
        touch_position(s, domain_row)
    else:
        touch_account(s, account_row)


# -- waiting ----------------------------------------------------------------------------------


@part(NOTHING)
def wait(s, account_row, domain_row, pause_ns):
    """Implements R88: the domain is looked at again when the pause is over."""
    words = header(s)
    case = cases(s)[case_row(s, account_row, domain_row)]
    assert case["bits"] & WAITS == 0, "the domain waits already"
    due_ns = words[H.NOW_NS] + pause_ns
    case["bits"] |= WAITS
    case["due_ns"] = due_ns
    case["place"] = words[H.WAITING_COUNT]
    entry = waiting(s)[words[H.WAITING_COUNT]]
    entry["key"] = key_of(s, account_row, domain_row)
    entry["due_ns"] = due_ns
    if words[H.WAITING_COUNT] == 0 or due_ns < words[H.NEXT_DUE_NS]:
        words[H.NEXT_DUE_NS] = due_ns
    words[H.WAITING_COUNT] += 1


@kernel
def end_wait(s, account_row, domain_row):
    """Take a domain out of the list of those who wait."""
    words = header(s)
    case = cases(s)[case_row(s, account_row, domain_row)]
    words[H.WAITING_COUNT] -= 1
    last = waiting(s)[words[H.WAITING_COUNT]]
    place = case["place"]
    waiting(s)[place]["key"] = last["key"]
    waiting(s)[place]["due_ns"] = last["due_ns"]
    other = case_row(s, last["key"] >> DOMAIN_BITS, position_of_key(s, last["key"]))
    cases(s)[other]["place"] = place
    case["bits"] &= ~WAITS
    case["due_ns"] = 0
    case["place"] = 0


@part(NOTHING)
def wake(s):
    """Part of R88: whoever has waited long enough is to be examined."""
    words = header(s)
    now_ns = words[H.NOW_NS]
    next_ns = 0
    for index in range(words[H.WAITING_COUNT]):
        entry = waiting(s)[index]
        if entry["due_ns"] <= now_ns:
            touch_domain(s, entry["key"] >> DOMAIN_BITS, position_of_key(s, entry["key"]))
        elif next_ns == 0 or entry["due_ns"] < next_ns:
            next_ns = entry["due_ns"]
    words[H.NEXT_DUE_NS] = next_ns if next_ns != 0 else now_ns + 1


@part(NOTHING)
def touch_gated(s):
    """Implements R93: a price has moved; whoever is in breach at mark only is to be examined."""
    words = header(s)
    for index in range(words[H.GATED_COUNT]):
        key = gated(s)[index]
        touch_domain(s, key >> DOMAIN_BITS, position_of_key(s, key))
    words[H.GATED_COUNT] = 0


@part(NOTHING)
def put_off(s, account_row, domain_row):
    """Implements R80 for deleveraging that comes last."""
    words = header(s)
    queue = adl_queue(s)
    queue[words[H.ADL_QUEUE_TAIL] & (len(queue) - 1)] = key_of(s, account_row, domain_row)
    words[H.ADL_QUEUE_TAIL] += 1
    set_queued(s, account_row, domain_row, 1)


@part(INT)
def is_below_backstop(s, account_row, domain_row):
    """Implements R95; 1 if so."""
    share_ppm = header(s)[H.BACKSTOP_PPM]
    equity, maintenance, _, legs = domain_health(s, account_row, domain_row)
    if share_ppm == 0 or legs == 0:
        return 0
    return 1 if equity < mul_div_up(maintenance, share_ppm, PPM) else 0


@kernel
def is_due(s, account_row, domain_row):
    """Implements R88; a domain whose wait is over leaves the list."""
    if not waits(s, account_row, domain_row):
        return is_breached(s, account_row, domain_row)
    case = cases(s)[case_row(s, account_row, domain_row)]
    over = header(s)[H.NOW_NS] >= case["due_ns"]
    escalated = case["bits"] & ESCALATED != 0
    if not over and (escalated or not is_below_backstop(s, account_row, domain_row)):
        return False
    end_wait(s, account_row, domain_row)
    case["bits"] |= RESUMED
    if over:
        case["bits"] &= ~ESCALATED
    else:
        case["bits"] |= ESCALATED
    return True


# -- examination ------------------------------------------------------------------------------


@kernel
def urgency(s, account_row, domain_row):
    """Implements R102."""
    order = header(s)[H.QUEUE_ORDER]
    if order == QueueOrder.WORST_FIRST:
        equity, maintenance, _, _ = domain_health(s, account_row, domain_row)
        return mul_div_bounded(max(equity, 0), PPM, max(1, maintenance), 2**24 - 1)
    if order == QueueOrder.RANDOM:
        return mixed(header(s)[H.SEQ], account_row)
    return 0


@part(NOTHING)
def examine_touched(s):
    """Implements R74: domains to be liquidated join the queue in order; then levels begin and end,
    and the healthy get new bands. Cancelling orders may touch domains anew. Where no levels begin
    or end nothing is said on the way, and only the queue is put in order."""
    words = header(s)
    while words[H.TOUCHED_COUNT] != 0:
        count = words[H.TOUCHED_COUNT]
        if count > 1 and not has_one_level(s):
            sort_keys(touched(s), count)
        for index in range(count):
            key = touched(s)[index]
            if words[H.ADL_LIVE] != 0:
                keep_up(s, key >> DOMAIN_BITS)
            if find_due(s, key):
                touched(s)[index] = 0
        queue_found(s)
        for index in range(count):
            if touched(s)[index] != 0:
                finish(s, touched(s)[index])
        again = words[H.TOUCHED_COUNT] - count
        for index in range(again):
            touched(s)[index] = touched(s)[count + index]
        words[H.TOUCHED_COUNT] = again


@inlined
def has_one_level(s):
    """Whether a domain that does not wait is either healthy or to be liquidated."""
    words = header(s)
    return words[H.WARN_PPM] == 0 and words[H.RESTRICT] == 0 and words[H.SECOND_PRICE] == 0


@inlined
def waits(s, account_row, domain_row):
    """Part of R88; the record of a domain is not looked at while nobody waits."""
    if header(s)[H.WAITING_COUNT] == 0:
        return False
    return cases(s)[case_row(s, account_row, domain_row)]["bits"] & WAITS != 0


@inlined
def is_mere_money(s, account_row):
    """Whether a wallet owes nothing and is seen at once to have no legs: its account has none, or
    one that is isolated."""
    account = accounts(s)[account_row]
    first = account["position_head"]
    leg = positions(s)[first]
    alone = first == 0 or (leg["isolated"] != 0 and leg["account_next"] == 0)
    return alone and account["wallet_quote"] >= 0


@kernel
def find_due(s, key):
    """Whether no more is to be done for a domain: it is healthy and has its bands."""
    account_row, domain_row = key >> DOMAIN_BITS, position_of_key(s, key)
    if domain_row != 0:
        positions(s)[domain_row]["awaits"] &= ~TOUCHED
    else:
        accounts(s)[account_row]["awaits"] &= ~TOUCHED
    if is_queued(s, account_row, domain_row):
        return True
    if has_one_level(s) and not waits(s, account_row, domain_row):
        if domain_row != 0:
            equity, maintenance, _, legs = isolated_health(s, domain_row, 0)
        elif is_mere_money(s, account_row):
            return True
        else:
            equity, maintenance, _, legs = sums_of_legs(s, account_row, 0)
        if not breached_with(s, equity, maintenance, legs):
            slack = equity - trigger_requirement(s, maintenance)
            if not bands_hold(s, account_row, domain_row, slack):
                place_bands(s, account_row, domain_row, equity, maintenance)
            return True
    elif not is_due(s, account_row, domain_row):
        return False
    words = header(s)
    breached(s)[words[H.BREACHED_COUNT]] = (urgency(s, account_row, domain_row) << KEY_BITS) | key
    words[H.BREACHED_COUNT] += 1
    return False


@kernel
def queue_found(s):
    words = header(s)
    count = words[H.BREACHED_COUNT]
    if count > 1:
        sort_keys(breached(s), count)
    for index in range(count):
        key = breached(s)[index] & KEY_MASK
        join_queue(s, key >> DOMAIN_BITS, position_of_key(s, key))
    words[H.BREACHED_COUNT] = 0


@kernel
def join_queue(s, account_row, domain_row):
    words = header(s)
    queue = liquidations(s)
    set_queued(s, account_row, domain_row, 1)
    queue[words[H.LIQUIDATIONS_TAIL] & (len(queue) - 1)] = key_of(s, account_row, domain_row)
    words[H.LIQUIDATIONS_TAIL] += 1


@kernel
def finish(s, key):
    """Levels and bands of a domain that did not join the queue."""
    words = header(s)
    account_row, domain_row = key >> DOMAIN_BITS, position_of_key(s, key)
    if is_queued(s, account_row, domain_row):
        return
    waiting_now = waits(s, account_row, domain_row)
    if not waiting_now and (words[H.WARN_PPM] != 0 or words[H.RESTRICT] != 0):
        grade(s, account_row, domain_row)
    equity, maintenance, _, legs = domain_health(s, account_row, domain_row)
    gates = words[H.SECOND_PRICE] != 0 and not waiting_now and legs != 0
    if gates and breached_with(s, equity, maintenance, legs):
        gated(s)[words[H.GATED_COUNT]] = key
        words[H.GATED_COUNT] += 1
        return
    place_bands(s, account_row, domain_row, equity, maintenance)


# -- levels -----------------------------------------------------------------------------------


@part(NOTHING)
def grade(s, account_row, domain_row):
    """Implements R94."""
    words = header(s)
    if words[H.WARN_PPM] != 0:
        maintenance = domain_health(s, account_row, domain_row)[1]
        need = mul_div_up(maintenance, words[H.WARN_PPM], PPM)
        set_level(s, account_row, domain_row, Level.WARNED.value, need)
    if words[H.RESTRICT] != 0:
        need = initial_of(s, account_row, domain_row)
        if set_level(s, account_row, domain_row, Level.RESTRICTED.value, need):
            cancel_opening(s, account_row, domain_row)


@kernel
def set_level(s, account_row, domain_row, level, need):
    """Part of R94: one level; whether it was entered now."""
    case = cases(s)[case_row(s, account_row, domain_row)]
    equity = domain_health(s, account_row, domain_row)[0]
    below = need > 0 and equity < need
    if below == (case["level"] & level != 0):
        return False
    case["level"] ^= level
    kind = EventKind.LEVEL_LEFT.value
    if below:
        kind = EventKind.LEVEL_ENTERED.value
    emit_domain(s, kind, account_row, domain_row, 0, equity, need, level)
    return below


@kernel
def cancel_opening(s, account_row, domain_row):
    """Part of R94: orders of the domain that could open or enlarge a position."""
    row = accounts(s)[account_row]["order_head"]
    while row != 0:
        order = orders(s)[row]
        following = order["account_next"]
        leg = find_position(s, account_row, order["market_id"], order["position_side"])
        isolated = leg != 0 and positions(s)[leg]["isolated"] != 0
        mine = leg == domain_row if domain_row != 0 else not isolated
        if mine and order["bits"] & Flag.REDUCE_ONLY == 0:
            cancel(s, row, CancelReason.RESTRICTED)
        row = following


# -- margin calls -----------------------------------------------------------------------------


@part(NOTHING)
def check_margin(s):
    """Implements R105 and R106."""
    words = header(s)
    for account_row in range(words[H.SYSTEM_ROWS] + 1, words[H.ACCOUNTS_COUNT] + 1):
        if words[H.CURE_NS] != 0:
            check_call(s, account_row)
        waive_debt(s, account_row)


@kernel
def check_call(s, account_row):
    words = header(s)
    case = cases(s)[account_row]
    equity, _, _, legs = cross_health(s, account_row)
    short = initial_of(s, account_row, 0) - equity
    ended = EventKind.MARGIN_CALL_ENDED
    if case["call_ns"] == 0:
        if short > 0 and legs != 0:
            cure_ns = words[H.CURE_NS]
            case["call_ns"] = words[H.NOW_NS] + cure_ns
            account_id = accounts(s)[account_row]["account_id"]
            kind = EventKind.MARGIN_CALLED
            emit(s, kind, account_id, 0, 0, 0, 0, short, cure_ns, 0, 0, 0, 0, 0)
    elif short <= 0 or legs == 0:
        case["call_ns"] = 0
        emit_domain(s, ended, account_row, 0, 0, 0, 0, CallEnd.CURED.value)
    elif words[H.NOW_NS] >= case["call_ns"]:
        case["call_ns"] = 0
        emit_domain(s, ended, account_row, 0, 0, short, 0, CallEnd.EXPIRED.value)
        if case["bits"] & WAITS != 0:
            end_wait(s, account_row, 0)
        case["bits"] |= FORCED
        if not is_queued(s, account_row, 0):
            join_queue(s, account_row, 0)


@kernel
def waive_debt(s, account_row):
    """Implements R106."""
    words = header(s)
    case = cases(s)[account_row]
    wallet = accounts(s)[account_row]["wallet_quote"]
    repay(s, account_row)
    after_ns = words[H.WAIVE_AFTER_NS]
    if case["debt_ns"] == 0 or after_ns == 0 or words[H.NOW_NS] - case["debt_ns"] < after_ns:
        return
    case["debt_ns"] = 0
    case["debt_quote"] = 0
    move_to(s, EventKind.DEBT_WAIVED, account_row, 0, wallet, FUND)


# -- the oracle -------------------------------------------------------------------------------


@part(NOTHING)
def scan_for_breaches(s):
    """The oracle of the index: every domain that is due must be in the queue, every level right."""
    words = header(s)
    for account_row in range(words[H.SYSTEM_ROWS] + 1, words[H.ACCOUNTS_COUNT] + 1):
        check_domain(s, account_row, 0)
    for row in range(1, words[H.POSITIONS_COUNT] + 1):
        position = positions(s)[row]
        if position["isolated"] != 0 and position["account_row"] > words[H.SYSTEM_ROWS]:
            check_domain(s, position["account_row"], row)


@part(NOTHING)
def check_domain(s, account_row, domain_row):
    words = header(s)
    if is_queued(s, account_row, domain_row):
        return
    case = cases(s)[case_row(s, account_row, domain_row)]
    if case["bits"] & WAITS != 0:
        over = words[H.NOW_NS] >= case["due_ns"]
        deeper = is_below_backstop(s, account_row, domain_row)
        assert not over, "the index missed a domain whose wait is over"
        assert case["bits"] & ESCALATED != 0 or not deeper, "the index missed the backstop level"
        return
    assert not is_breached(s, account_row, domain_row), "the index missed a domain in breach"
    equity, maintenance, _, _ = domain_health(s, account_row, domain_row)
    if words[H.WARN_PPM] != 0:
        need = mul_div_up(maintenance, words[H.WARN_PPM], PPM)
        warned = case["level"] & Level.WARNED != 0
        assert warned == (need > 0 and equity < need), "the index missed a warning"
    if words[H.RESTRICT] != 0:
        need = initial_of(s, account_row, domain_row)
        restricted = case["level"] & Level.RESTRICTED != 0
        assert restricted == (need > 0 and equity < need), "the index missed a restriction"
