"""What the commands to come will need is asked for before it is their turn.

With a million accounts almost every command finds the lines of its account, its positions and its
nodes in main memory, one after the other, as each says where the next is. So they are asked for
step by step, some commands ahead. Nothing is changed by it, and nothing decided.
"""

import numpy as np

from engine.constants import CommandKind
from engine.core.kernel import inlined, kernel
from engine.core.order_commands import command_of
from engine.core.slots import home_slot
from engine.core.state import (
    H,
    account_slots,
    accounts,
    fetch_account,
    fetch_account_slot,
    fetch_node,
    fetch_position,
    header,
    positions,
)
from engine.rows import COMMAND

COMMAND_BYTES = COMMAND.itemsize
SLOT_AHEAD, ACCOUNT_AHEAD, LEG_AHEAD, LEGS_AHEAD = 12, 9, 6, 3  # commands between each step
MANY_ACCOUNTS = 1 << 14  # below that everything is near anyway
LEGS_FETCHED = 4  # of an account besides its first; legs made together lie together


@inlined
def looks_ahead(s):
    """Whether it pays."""
    return header(s)[H.ACCOUNTS_COUNT] >= MANY_ACCOUNTS


@inlined
def _account_of(s, command_at):
    """Row of the account that enters or changes an order, if it lies where it belongs, or of
    another; 0 if there is none."""
    command = command_of(command_at)
    slots = account_slots(s)
    trades = command["kind"] == CommandKind.NEW_ORDER or command["kind"] == CommandKind.AMEND
    return np.int64(slots[home_slot(len(slots), command["account_id"])]) if trades else 0


@inlined
def _fetch_leg(s, row):
    fetch_position(s, row)
    fetch_node(s, row)


@kernel
def fetch_ahead(s, commands_at, index, count):
    """Ask for what commands after this one will need."""
    if index + SLOT_AHEAD < count:
        command = command_of(commands_at + (index + SLOT_AHEAD) * COMMAND_BYTES)
        fetch_account_slot(s, home_slot(len(account_slots(s)), command["account_id"]))
    if index + ACCOUNT_AHEAD < count:
        row = _account_of(s, commands_at + (index + ACCOUNT_AHEAD) * COMMAND_BYTES)
        if row != 0:
            fetch_account(s, row)
    if index + LEG_AHEAD < count:
        row = _account_of(s, commands_at + (index + LEG_AHEAD) * COMMAND_BYTES)
        if row != 0:
            _fetch_leg(s, accounts(s)[row]["position_head"])
    if index + LEGS_AHEAD < count:
        row = _account_of(s, commands_at + (index + LEGS_AHEAD) * COMMAND_BYTES)
        if row != 0:
            leg = accounts(s)[row]["position_head"]
            if positions(s)[leg]["account_next"] == leg + 1:
                for other in range(leg + 1, leg + 1 + LEGS_FETCHED):
                    _fetch_leg(s, other)
