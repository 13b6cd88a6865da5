"""What the commands to come will need is asked for before it is their turn.

With a million accounts almost every command finds the lines of its account, its positions and its
nodes in main memory, one after the other, as each says where the next is; with many orders the same
holds for slots, orders and levels. So they are asked for step by step, some commands ahead. Nothing
is changed by it, and nothing decided; what is read for it may be stale by then, which costs only
time.
"""

import numpy as np

from engine.constants import CommandKind
from engine.core.book import tick_of
from engine.core.kernel import JIT, inlined, kernel
from engine.core.slots import home_slot
from engine.core.state import (
    H,
    account_slots,
    accounts,
    fetch_account,
    fetch_account_slot,
    fetch_level,
    fetch_node,
    fetch_order,
    fetch_order_slot,
    fetch_position,
    header,
    levels,
    markets,
    order_slots,
    orders,
    positions,
)
from engine.core.tickets import command_of
from engine.core.windows import fetch_at
from engine.rows import COMMAND

COMMAND_BYTES = COMMAND.itemsize
SLOT_AHEAD, ACCOUNT_AHEAD, LEG_AHEAD, LEGS_AHEAD = 12, 9, 6, 3  # commands between each step
ID_AHEAD, ORDER_AHEAD, LEVEL_AHEAD = 12, 8, 4
ROW_AHEAD = 32  # the commands themselves
MANY_ACCOUNTS = 1 << 14  # below that everything is near anyway
MANY_ORDERS = 1 << 12
LEGS_FETCHED = 4  # of an account besides its first; legs made together lie together


@inlined
def fetch_ahead(s, commands_at, index, count):
    """Ask for what commands after this one will need, if it pays."""
    words = header(s)
    if words[H.ACCOUNTS_COUNT] >= MANY_ACCOUNTS:
        _fetch_accounts(s, commands_at, index, count)
    if JIT:
        fetch_at(commands_at + (index + ROW_AHEAD) * COMMAND_BYTES)
    if index + ID_AHEAD < count:
        later_at = commands_at + index * COMMAND_BYTES
        _fetch_new_level(s, later_at + ORDER_AHEAD * COMMAND_BYTES)
        if words[H.ORDERS_USED] >= MANY_ORDERS:
            _fetch_orders(s, later_at)


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
def _fetch_accounts(s, commands_at, index, count):
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


@inlined
def _level_row(s, command):
    """Row of the level where an order is to rest, 0 if there is none."""
    price, market_id = command["price"], command["market_id"]
    if price <= 0 or not 1 <= market_id <= header(s)[H.MARKETS_COUNT]:
        return 0
    market = markets(s)[market_id]
    if price > market["price_max"]:
        return 0
    return market["level_row"] + tick_of(market, price)


@inlined
def _fetch_new_level(s, command_at):
    row = _level_row(s, command_of(command_at))
    if row != 0:
        fetch_level(s, row)


@kernel
def _fetch_orders(s, command_at):
    """The slot of an identifier, then its order, then the neighbours in the levels."""
    slots, table = order_slots(s), orders(s)
    command = command_of(command_at + ID_AHEAD * COMMAND_BYTES)
    fetch_order_slot(s, home_slot(len(slots), command["order_id"]))
    command = command_of(command_at + ORDER_AHEAD * COMMAND_BYTES)
    fetch_order(s, slots[home_slot(len(slots), command["order_id"])])
    command = command_of(command_at + LEVEL_AHEAD * COMMAND_BYTES)
    found = slots[home_slot(len(slots), command["order_id"])]
    if found != 0:
        order = table[found]
        fetch_order(s, order["prev"])
        fetch_order(s, order["next"])
        fetch_order(s, order["account_prev"])
        fetch_order(s, order["account_next"])
        fetch_level(s, markets(s)[order["market_id"]]["level_row"] + order["tick"])
    fetch_order(s, levels(s)[_level_row(s, command)]["tail"])
