"""Hash tables from identifiers to rows: open addressing, linear probing, no tombstones.

Keys hash to their low bits with the high bits folded in, so that consecutive identifiers lie in
consecutive slots. Tables are sized to at least twice their entries, so a probe always ends.
"""

from engine.core.kernel import inlined, kernel


@inlined
def home_slot(table, key):
    """Where a key would lie in an empty table; the table's size is a power of two."""
    size = len(table)
    return (key + (key >> 20) * 40503) & (size - 1)


@kernel
def find_row(table, key):
    """The row of a key, 0 if it is not in the table."""
    mask = len(table) - 1
    slot = home_slot(table, key)
    while table[slot]["row"] != 0:
        if table[slot]["key"] == key:
            return table[slot]["row"]
        slot = (slot + 1) & mask
    return 0


@kernel
def insert_row(table, key, row):
    """Add a key that is not in the table."""
    mask = len(table) - 1
    slot = home_slot(table, key)
    while table[slot]["row"] != 0:
        assert table[slot]["key"] != key, "identifier is already in the table"
        slot = (slot + 1) & mask
    table[slot]["key"] = key
    table[slot]["row"] = row


@kernel
def remove_row(table, key):
    """Remove a key that is in the table; later entries of its run move back."""
    mask = len(table) - 1
    hole = home_slot(table, key)
    while table[hole]["key"] != key or table[hole]["row"] == 0:
        assert table[hole]["row"] != 0, "identifier is not in the table"
        hole = (hole + 1) & mask
    slot = (hole + 1) & mask
    while table[slot]["row"] != 0:
        home = home_slot(table, table[slot]["key"])
        if ((slot - home) & mask) >= ((slot - hole) & mask):
            table[hole]["key"] = table[slot]["key"]
            table[hole]["row"] = table[slot]["row"]
            hole = slot
        slot = (slot + 1) & mask
    table[hole]["key"] = 0
    table[hole]["row"] = 0
