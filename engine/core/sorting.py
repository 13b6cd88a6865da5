"""In-place sorting of int64 keys and ADL ranks: heapsort, no allocation, no recursion.

Keys are unique wherever they are sorted, so the order is complete.
"""

import numpy as np

from engine.core.kernel import inlined, kernel

FEW = 8  # keys that are sorted faster without a heap


@inlined
def sift_keys(keys, root, end):
    """Restore a max-heap of keys below `root`: its key goes down to a leaf, and up from there to
    its place, which costs fewer guesses."""
    key, top, child = keys[root], root, 2 * root + 1
    while child + 1 < end:
        child += np.int64(keys[child + 1] > keys[child])
        keys[root] = keys[child]
        root, child = child, 2 * child + 1
    if child < end:
        keys[root] = keys[child]
        root = child
    while root > top and keys[(root - 1) >> 1] < key:
        keys[root] = keys[(root - 1) >> 1]
        root = (root - 1) >> 1
    keys[root] = key


@kernel
def _insert_keys(keys, count):
    """The same for a few, each of which goes back to its place."""
    for index in range(1, count):
        key, place = keys[index], index
        while place > 0 and keys[place - 1] > key:
            keys[place] = keys[place - 1]
            place -= 1
        keys[place] = key


@kernel
def sort_keys(keys, count):
    """Ascending, the first `count` keys."""
    if count <= FEW:
        _insert_keys(keys, count)
        return
    for root in range(count // 2 - 1, -1, -1):
        sift_keys(keys, root, count)
    for end in range(count - 1, 0, -1):
        last = keys[end]
        keys[end] = keys[0]
        keys[0] = last
        sift_keys(keys, 0, end)


@inlined
def ranks_before(rank, other):
    """Implements R83: higher score, then larger notional, then lower account, then lower leg."""
    if rank["score"] != other["score"]:
        return rank["score"] > other["score"]
    if rank["notional_quote"] != other["notional_quote"]:
        return rank["notional_quote"] > other["notional_quote"]
    if rank["account_row"] != other["account_row"]:
        return rank["account_row"] < other["account_row"]
    return rank["leg"] < other["leg"]


@inlined
def copy_rank(ranks, to, row):
    """Field by field: a whole record just written in fields would have to wait for them."""
    rank, other = ranks[to], ranks[row]
    rank["score"] = other["score"]
    rank["notional_quote"] = other["notional_quote"]
    rank["position_row"] = other["position_row"]
    rank["account_row"] = other["account_row"]
    rank["leg"] = other["leg"]


@kernel
def sift_ranks(ranks, root, end):
    """Restore a heap with the best rank on top; ranks lie in rows 1 to end. Row 0 is the scratch
    row."""
    copy_rank(ranks, 0, root)
    child = 2 * root
    while child <= end:
        if child < end and ranks_before(ranks[child + 1], ranks[child]):
            child += 1
        if ranks_before(ranks[0], ranks[child]):
            break
        copy_rank(ranks, root, child)
        root, child = child, 2 * child
    copy_rank(ranks, root, 0)


@kernel
def heapify_ranks(ranks, count):
    """Make a heap of rows 1 to count, the best rank in row 1."""
    for root in range(count // 2, 0, -1):
        sift_ranks(ranks, root, count)


@kernel
def push_rank(ranks, count):
    """Let the rank in row `count` find its place in the heap of those before it."""
    copy_rank(ranks, 0, count)
    child = count
    while child > 1 and ranks_before(ranks[0], ranks[child // 2]):
        copy_rank(ranks, child, child // 2)
        child //= 2
    copy_rank(ranks, child, 0)


@kernel
def pop_rank(ranks, count):
    """Take the best rank off a heap of `count`."""
    copy_rank(ranks, 1, count)
    sift_ranks(ranks, 1, count - 1)
