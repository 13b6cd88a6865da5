"""Hash tables from identifiers to rows: where a key lies, and the table of accounts.

Identifiers hash to their low bits with the high bits folded in, so that consecutive identifiers
lie in consecutive slots. Accounts never leave, so their table is open, with the key beside the row,
linear probing and no removal; it is sized to at least twice its entries, so a probe always ends.
Orders come and go: `book` chains them.
"""

from engine.core.kernel import inlined, kernel


@inlined
def home_slot(size, key):
    """Where a key lies if it is alone; the size of a table is a power of two."""
    return (key + (key >> 20) * 40503 + (key >> 40) * 77747) & (size - 1)


@kernel
def find_row(table, key):
    """The row of a key, 0 if it is not in the table."""
    mask = len(table) - 1
    slot = home_slot(len(table), key)
    while table[slot]["row"] != 0:
        if table[slot]["key"] == key:
            return table[slot]["row"]
        slot = (slot + 1) & mask
    return 0


@kernel
def insert_row(table, key, row):
    """Add a key that is not in the table."""
    mask = len(table) - 1
    slot = home_slot(len(table), key)
    while table[slot]["row"] != 0:
        assert table[slot]["key"] != key, "identifier is already in the table"
        slot = (slot + 1) & mask
    table[slot]["key"] = key
    table[slot]["row"] = row
