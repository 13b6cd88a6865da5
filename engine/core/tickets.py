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


@kernel
def write_ticket(s, row, order_type, time_in_force, price, lots):
    """The order of a row as a command with this price and size; returns its address."""
    order, ticket = orders(s)[row], tickets(s)[0]
    ticket["order_id"] = order["order_id"]
    ticket["market_id"] = order["market_id"]
    ticket["side"] = order["side"]
    ticket["position_side"] = order["position_side"]
    ticket["self_trade"] = order["self_trade"]
    ticket["order_type"] = order_type
    ticket["time_in_force"] = time_in_force
    ticket["price"] = price
    ticket["lots"] = lots
    return header(s)[H.TICKETS_AT]
