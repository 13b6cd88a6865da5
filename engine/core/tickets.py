"""An order in hand: the COMMAND row that asks for it, on its way through checks and matching.

A new order is its own command. An amendment and a stop that fires have one written for them, into
the one row of TICKETS.
"""

from engine.core.kernel import inlined, kernel
from engine.core.state import H, header, orders, tickets
from engine.core.windows import window_at
from engine.rows import COMMAND

COMMAND_ROW = COMMAND


@inlined
def command_of(command_at):
    """The COMMAND row at an address."""
    return window_at(command_at, 1, COMMAND_ROW)[0]


@inlined
def copy_terms(to, terms):
    """What an order and the command that asks for it have in common, from one to the other."""
    to["order_id"] = terms["order_id"]
    to["market_id"] = terms["market_id"]
    to["side"] = terms["side"]
    to["order_type"] = terms["order_type"]
    to["time_in_force"] = terms["time_in_force"]
    to["position_side"] = terms["position_side"]
    to["self_trade"] = terms["self_trade"]
    to["price"] = terms["price"]
    to["lots"] = terms["lots"]


@kernel
def write_ticket(s, row, order_type, price, lots):
    """The order of a row as a command of this type, price and size; returns its address."""
    ticket = tickets(s)[0]
    copy_terms(ticket, orders(s)[row])
    ticket["order_type"] = order_type
    ticket["price"] = price
    ticket["lots"] = lots
    return header(s)[H.TICKETS_AT]
