"""Hash tables from identifiers to rows: where a key lies, and the table of accounts.

Identifiers hash to their low bits with the high bits folded in, so that consecutive identifiers
lie in consecutive slots, which hold rows: the identifier is read in the row, whose line is needed
anyway. Accounts never leave, so their table is open, with linear probing and no removal; it is
sized to at least twice its entries, so a probe always ends. Orders come and go: `book` chains them.
"""

import numpy as np

from engine.core.kernel import inlined, kernel
from engine.core.state import account_slots, accounts


@inlined
def home_slot(size, key):
    """Where a key lies if it is alone; the size of a table is a power of two. Small keys on either
    side of 0 lie side by side, those of the venue itself at the end, where they push nobody on."""
    high = key >> 20
    if high == 0 or high == -1:
        return key & (size - 1)
    return (key + high * 40503 + (key >> 40) * 77747) & (size - 1)


@inlined
def find_account(s, account_id):
    """The row of an account, 0 if it is unknown."""
    slots = account_slots(s)
    slot = home_slot(len(slots), account_id)
    row = np.int64(slots[slot])
    if row == 0 or accounts(s)[row]["account_id"] == account_id:
        return row
    return _find_further(s, account_id, slot)


@kernel
def _find_further(s, account_id, slot):
    """The same where another account lies in its slot."""
    slots, table = account_slots(s), accounts(s)
    row = np.int64(slots[slot])
    while row != 0 and table[row]["account_id"] != account_id:
        slot = (slot + 1) & (len(slots) - 1)
        row = np.int64(slots[slot])
    return row


@kernel
def register_account(s, row):
    """Make a new account known by its identifier, which no other has."""
    slots, table = account_slots(s), accounts(s)
    slot = home_slot(len(slots), table[row]["account_id"])
    while slots[slot] != 0:
        assert table[slots[slot]]["account_id"] != table[row]["account_id"], "two of one identifier"
        slot = (slot + 1) & (len(slots) - 1)
    slots[slot] = row
