"""Compiled parts of every policy: an order, a walk, exact shares under caps, least maxima.

All numbers are int64 and below 2**61; products go through `mul_div`. Every division that rounds is
settled by largest remainder or a stated order, so a result does not depend on the machine. `work`
is the address of WORK_COLUMNS columns of scratch words, as long as the arrays.
"""

from engine.core.arithmetic import divide_product, mul_div, mul_div_bounded
from engine.core.kernel import inlined, kernel
from engine.core.records import INT64
from engine.core.windows import view_at

COMPARED_MAX = 2**62
SCALE = 2**61  # of the weights of a product, over all candidates
WORK_COLUMNS = 5


@inlined
def column(at, index, count):
    """Words of scratch memory: the column of that number where each has `count`."""
    return view_at(at + 8 * index * count, count, INT64)


# -- orders -----------------------------------------------------------------------------------


@inlined
def precedes(first, second, ids, a, b):
    """Whether place a stands before place b: larger first key, larger second, smaller id."""
    if first[a] != first[b]:
        return first[a] > first[b]
    if second[a] != second[b]:
        return second[a] > second[b]
    if ids[a] != ids[b]:
        return ids[a] < ids[b]
    return a < b


@kernel
def sort_run(first, second, ids, order, begin, end):
    """Insertion sort of order[begin:end]."""
    for place in range(begin + 1, end):
        item = order[place]
        slot = place
        while slot > begin and precedes(first, second, ids, item, order[slot - 1]):
            order[slot] = order[slot - 1]
            slot -= 1
        order[slot] = item


@kernel
def sort_places(first, second, ids, order, target, count):
    """Sort the first `count` places by `precedes`: merge sort over runs of 16, between `order` and
    `target`; returns the one that holds the result."""
    width = 16
    for begin in range(0, count, width):
        sort_run(first, second, ids, order, begin, min(begin + width, count))
    source = order
    while width < count:
        for begin in range(0, count, 2 * width):
            middle, end = min(begin + width, count), min(begin + 2 * width, count)
            left, right = begin, middle
            for slot in range(begin, end):
                take_left = right >= end
                if left < middle and right < end:
                    take_left = precedes(first, second, ids, source[left], source[right])
                if take_left:
                    target[slot] = source[left]
                    left += 1
                else:
                    target[slot] = source[right]
                    right += 1
        source, target = target, source
        width *= 2
    return source


# -- walks ------------------------------------------------------------------------------------


@kernel
def walk(need, order, count, caps, out):
    """Take from each in order up to its capacity until the need is met."""
    rest = need
    for slot in range(count):
        place = order[slot]
        out[place] = min(caps[place], rest)
        rest -= out[place]


@kernel
def walk_whole(need, order, count, caps, out):
    """Take the whole capacity of each in order until the need is met or passed."""
    rest = need
    for slot in range(count):
        if rest <= 0:
            return
        place = order[slot]
        out[place] = caps[place]
        rest -= caps[place]


# -- shares under caps ------------------------------------------------------------------------


@kernel
def total_of(values):
    """The sum of an int64 array."""
    total = 0
    for place in range(len(values)):
        total += values[place]
    return total


@kernel
def reachable(weights, caps):
    """Capacity of those with a weight."""
    total = 0
    for place in range(len(caps)):
        if weights[place] > 0:
            total += caps[place]
    return total


@kernel
def fill_level(need, weights, caps, full):
    """Mark who is full at the level t that solves sum of min(cap, t * weight) = need.

    Returns (rest, weight_sum) of the others, so t = rest / weight_sum. Newton's method on a
    concave function that is linear in pieces: the level only rises, and few passes are needed.
    """
    rest, weight_sum = need, total_of(weights)
    full[:] = 0
    while weight_sum > 0:
        next_rest, next_sum = rest, weight_sum
        for place in range(len(caps)):
            weight = weights[place]
            if weight == 0 or full[place]:
                continue
            if mul_div(rest, weight, weight_sum) >= caps[place]:
                full[place] = 1
                next_rest -= caps[place]
                next_sum -= weight
        if next_sum == weight_sum:
            break
        rest, weight_sum = next_rest, next_sum
    return rest, weight_sum


@kernel
def share_floors(need, weights, caps, out, remainders, full):
    """The level's amounts rounded down, with remainders over one denominator.

    Returns how much of the need rounding left.
    """
    out[:] = 0
    remainders[:] = 0
    if reachable(weights, caps) <= need:
        for place in range(len(caps)):
            if weights[place] > 0:
                out[place] = caps[place]
        return 0
    rest, weight_sum = fill_level(need, weights, caps, full)
    left = rest
    for place in range(len(caps)):
        if full[place]:
            out[place] = caps[place]
        elif weights[place] > 0:
            out[place], remainders[place] = divide_product(rest, weights[place], weight_sum)
            left -= out[place]
    return left


@kernel
def share(need, weights, caps, ids, out, work):
    """Amounts min(cap, t * weight) that sum to the need, made whole by largest remainder.

    A fraction below a whole cap leaves room for one unit, so the caps hold; whoever has no
    weight gives nothing.
    """
    n = len(caps)
    remainders = column(work, 0, n)
    left = share_floors(need, weights, caps, out, remainders, column(work, 1, n))
    if left == 0:
        return
    order = column(work, 1, n)
    count = 0
    for place in range(len(caps)):
        if remainders[place] > 0:
            order[count] = place
            count += 1
    order = sort_places(remainders, remainders, ids, order, column(work, 2, n), count)
    for slot in range(left):
        out[order[slot]] += 1


@kernel
def product_weights(a, b, out):
    """Weights in proportion to a * b, scaled to below 2**61 together; 1 at least if both are > 0.

    weight = floor(a * floor(b * F / max b) / max a) with F = 2**61 // n.
    """
    scale = SCALE // max(1, len(a))
    a_max, b_max = 1, 1
    for place in range(len(a)):
        a_max = max(a_max, a[place])
        b_max = max(b_max, b[place])
    for place in range(len(a)):
        out[place] = 0
        if a[place] > 0 and b[place] > 0:
            out[place] = max(1, mul_div(a[place], mul_div(b[place], scale, b_max), a_max))


# -- least maximum ----------------------------------------------------------------------------


@inlined
def ratio_below(a, b, c, d):
    """a / b < c / d for a, c >= 0, b, d > 0 and c < 2**62."""
    return mul_div_bounded(a, d, b, COMPARED_MAX) < c


@inlined
def cheaper(out, weights, ids, a, b):
    """Whether one unit more weighs less on place a than on place b."""
    if ratio_below(out[a] + 1, weights[a], out[b] + 1, weights[b]):
        return True
    if ratio_below(out[b] + 1, weights[b], out[a] + 1, weights[a]):
        return False
    return ids[a] < ids[b] if ids[a] != ids[b] else a < b


@kernel
def sift_cheapest(heap, root, count, out, weights, ids):
    """Restore the heap whose top bears one unit more at the least ratio."""
    item = heap[root]
    child = 2 * root + 1
    while child < count:
        if child + 1 < count and cheaper(out, weights, ids, heap[child + 1], heap[child]):
            child += 1
        if not cheaper(out, weights, ids, heap[child], item):
            break
        heap[root] = heap[child]
        root = child
        child = 2 * root + 1
    heap[root] = item


@kernel
def share_least_maximum(need, weights, caps, ids, out, work):
    """Whole amounts under caps whose largest amount / weight is as small as can be.

    The fractional optimum rounded down lies below every whole one; the rest goes, unit by unit,
    to whom it makes least worse off.
    """
    n = len(caps)
    left = share_floors(need, weights, caps, out, column(work, 0, n), column(work, 1, n))
    heap = column(work, 1, n)
    count = 0
    for place in range(len(caps)):
        if left > 0 and weights[place] > 0 and out[place] < caps[place]:
            heap[count] = place
            count += 1
    for root in range(count // 2 - 1, -1, -1):
        sift_cheapest(heap, root, count, out, weights, ids)
    for _ in range(left):
        top = heap[0]
        out[top] += 1
        if out[top] == caps[top]:
            count -= 1
            heap[0] = heap[count]
        sift_cheapest(heap, 0, count, out, weights, ids)


# -- rounding to lots -------------------------------------------------------------------------


@kernel
def to_lots(targets, gaps, caps, ids, out, work):
    """Targets in money to lots: rounded down, then one more by descending residual / gap while
    the money realised is below the sum of the targets.

    The ratio is compared exactly: two digits to the base 2**61 tell any two fractions of int64
    apart.
    """
    n = len(targets)
    first, second, order = column(work, 0, n), column(work, 1, n), column(work, 2, n)
    short, count = 0, 0
    for place in range(len(targets)):
        out[place] = 0
        short += targets[place]
        gap = gaps[place]
        if gap == 0:
            continue
        out[place] = min(caps[place], targets[place] // gap)
        residual = targets[place] - out[place] * gap
        short -= out[place] * gap
        if 0 < residual < gap and out[place] < caps[place]:
            first[place], rest = divide_product(residual, SCALE, gap)
            second[place] = mul_div(rest, SCALE, gap)
            order[count] = place
            count += 1
    order = sort_places(first, second, ids, order, column(work, 3, n), count)
    for slot in range(count):
        if short <= 0:
            return
        out[order[slot]] += 1
        short -= gaps[order[slot]]
