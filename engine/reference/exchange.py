"""The rulebook: the whole exchange in plain Python, unbounded integers, written to be read.

It is the specification. It caches nothing and scans everything after every unit of work; the
compiled core must produce the same events, row for row. The methods of `ReferenceExchange`
are those of `engine.Exchange`.
"""

from collections.abc import Callable, Iterable

from engine.constants import (
    LOTS_MAX,
    TIME_MAX_NS,
    CancelReason,
    CommandKind,
    Contract,
    EventKind,
    Reject,
    Side,
)
from engine.profile import VenueProfile
from engine.reference import (
    accounts,
    admission,
    canonical,
    fund,
    inspection,
    levels,
    orders,
    prices,
    settlement,
    stops,
    waterfall,
)
from engine.reference.book import Order
from engine.reference.ledger import World
from engine.reference.records import Command, Market
from engine.venue import Capacities, DepthCurve
from engine.views import DomainView

COMMAND_FIELDS = (
    *("time_ns", "account_id", "order_id", "price", "trigger_price", "lots", "amount"),
    *("market_id", "kind", "flags", "side", "order_type", "time_in_force", "position_side"),
    *("self_trade", "trigger_kind", "reserved"),
)


class ReferenceExchange:
    """The exchange as the rules state it. Commands and events are plain tuples of integers."""

    def __init__(
        self,
        profile: VenueProfile,
        *,
        capacities: Capacities | None = None,
        curves: dict[int, DepthCurve] | None = None,
        feedback_ppm: int = 1_000_000,
    ) -> None:
        self.world = World(
            profile,
            capacities or Capacities(),
            curves or {},
            feedback_ppm,
            orders.trim_reduce_only,
        )

    def submit(self, commands: Iterable[tuple]) -> list[tuple]:
        """Apply commands (tuples in COMMAND field order); returns their events as tuples."""
        self.world.events = []
        for row in commands:
            values = (int(value) for value in row)
            apply(self.world, Command(**dict(zip(COMMAND_FIELDS, values, strict=True))))
        return self.world.events

    def inspect(self, account_id: int) -> list[DomainView]:
        """How an account stands now; see `views`. The account must exist and have a mark."""
        return inspection.inspect(self.world, account_id)

    def rows(self) -> dict[str, list[tuple[int, ...]]]:
        """Canonical tables of the state; see `digest`."""
        return canonical.canonical_rows(self.world)


def apply(world: World, command: Command) -> None:
    """R02. Admit, validate, apply, settle. A refused command leaves one REJECTED event, counts in
    `seq`, and changes nothing else."""
    world.seq += 1
    reject = check_time(world, command)
    handler = HANDLERS.get(command.kind)
    if reject is None and handler is None:
        reject = Reject.UNKNOWN_COMMAND
    before_ns = world.now_ns
    if reject is None:
        world.now_ns = command.time_ns
        reject = handler(world, command)
    if reject is not None:
        world.now_ns = before_ns
        world.emit(
            EventKind.REJECTED,
            account_id=command.account_id,
            order_id=command.order_id,
            market_id=command.market_id,
            reason=reject,
        )
        return
    settle(world)


def check_time(world: World, command: Command) -> Reject | None:
    """R03. Time never goes backwards."""
    if not 0 <= command.time_ns <= TIME_MAX_NS:
        return Reject.TIME_OUT_OF_RANGE
    if command.time_ns < world.now_ns:
        return Reject.TIME_WENT_BACKWARDS
    return None


def settle(world: World) -> None:
    """R90. Units of work until nothing is queued: liquidations first, then deleveraging that was
    put off, then triggered stops. After each unit marks are made anew, then breached domains
    join their queue, levels begin and end, and reached stops join theirs."""
    end_unit(world)
    while world.liquidation_queue or world.adl_queue or world.stop_queue:
        if world.liquidation_queue:
            waterfall.liquidate(world, world.liquidation_queue.pop(0))
        elif world.adl_queue:
            waterfall.liquidate(world, world.adl_queue.pop(0), deferred=True)
        else:
            stops.fire_stop(world, world.stop_queue[0])
        end_unit(world)


def end_unit(world: World) -> None:
    prices.update_marks(world)
    fund.watch_funds(world)
    waterfall.book_debts(world)
    levels.find(world)
    while levels.grade(world):
        levels.find(world)
    stops.detect_stops(world)


# -- orders -----------------------------------------------------------------------------------


def new_order(world: World, command: Command) -> Reject | None:
    """Part of R04: shape, room, then a stop's or an order's own checks; past them it succeeds."""
    if command.market_id not in world.markets:
        return Reject.UNKNOWN_MARKET
    account, reject = accounts.find_user(world, command)
    if reject is not None:
        return reject
    reject = admission.check_shape(world, account, command)
    if reject is not None:
        return reject
    order = Order(
        order_id=command.order_id,
        account_row=account.row,
        market_id=command.market_id,
        side=command.side,
        position_side=command.position_side,
        order_type=command.order_type,
        time_in_force=command.time_in_force,
        price=command.price,
        lots=command.lots,
        flags=admission.closing_flags(command),
        self_trade=command.self_trade,
        trigger_price=command.trigger_price,
        trigger_kind=command.trigger_kind,
        seq=0,
    )
    reject = admission.check_room(world, order)
    if reject is not None:
        return reject
    if orders.is_stop(order):
        reject = stops.check_stop(world, order)
        if reject is None:
            orders.enter(world, order)
            world.emit_order(EventKind.STOP_PLACED, order, order.lots, amount=order.trigger_price)
        return reject
    reject = admission.check_risk(world, order)
    if reject is None:
        orders.place(world, order)
    return reject


def find_order(world: World, command: Command) -> tuple[Order | None, Reject | None]:
    account, reject = accounts.find_user(world, command)
    if reject is not None:
        return None, reject
    order = world.orders.get(command.order_id)
    if order is None:
        return None, Reject.UNKNOWN_ORDER
    if order.account_row != account.row or orders.is_of_liquidation(order):
        return None, Reject.NOT_YOUR_ORDER
    return order, None


def cancel_order(world: World, command: Command) -> Reject | None:
    order, reject = find_order(world, command)
    if reject is None:
        orders.cancel(world, order, CancelReason.USER)
    return reject


def cancel_all(world: World, command: Command) -> Reject | None:
    if command.market_id != 0 and command.market_id not in world.markets:
        return Reject.UNKNOWN_MARKET
    account, reject = accounts.find_user(world, command)
    if reject is None:
        orders.cancel_all(world, account, command.market_id, CancelReason.USER)
    return reject


def amend(world: World, command: Command) -> Reject | None:
    """R14. Fewer lots at the same price keep the place in the queue; anything else is the same
    order entered anew: checked without its old self, then cancelled and placed."""
    order, reject = find_order(world, command)
    if reject is not None:
        return reject
    if orders.is_stop(order):
        return Reject.STOPS_CANNOT_BE_AMENDED
    numbers = world.markets[order.market_id].numbers
    if not numbers.order_lots_min <= command.lots <= min(numbers.order_lots_max, LOTS_MAX):
        return Reject.LOTS_OUT_OF_RANGE
    if not numbers.price_min <= command.price <= numbers.price_max:
        return Reject.PRICE_OUT_OF_RANGE
    if command.price % numbers.tick_price:
        return Reject.PRICE_OFF_TICK
    if command.price == order.price and command.lots <= order.lots:
        orders.count_lots(world, order, command.lots - order.lots)
        order.lots = command.lots
        world.emit_order(EventKind.AMENDED, order, order.lots)
        return None
    amended = Order(**{**vars(order), "price": command.price, "lots": command.lots})
    orders.count_lots(world, order, -order.lots)
    reject = admission.check_risk(world, amended)
    orders.count_lots(world, order, order.lots)
    if reject is not None:
        return reject
    orders.cancel(world, order, CancelReason.AMENDED)
    orders.place(world, amended)
    return None


# -- prices -----------------------------------------------------------------------------------


def priced_market(world: World, command: Command):
    if command.market_id not in world.markets:
        return None, Reject.UNKNOWN_MARKET
    market = world.markets[command.market_id]
    if not market.numbers.price_min <= command.price <= market.numbers.price_max:
        return None, Reject.PRICE_OUT_OF_RANGE
    return market, None


def index(world: World, command: Command) -> Reject | None:
    market, reject = priced_market(world, command)
    if reject is None:
        prices.set_index(world, market, command.price)
    return reject


def mark(world: World, command: Command) -> Reject | None:
    market, reject = priced_market(world, command)
    if reject is None:
        market.tape_mark_price = command.price
        market.mark_is_stale = True
    return reject


def trade(world: World, command: Command) -> Reject | None:
    """R63. A recorded trade moves the last price; with a side it takes from our book (R137)."""
    market, reject = priced_market(world, command)
    if reject is None and command.side:
        reject = recorded_fits(market, command)
        if reject is None:
            prices.take_recorded(world, market, command.side, command.price, command.lots)
    if reject is None:
        market.last_price = command.price
        market.mark_is_stale = True
        world.emit(EventKind.LAST_SET, market_id=market.market_id, price=command.price)
    return reject


def recorded_fits(market: Market, command: Command) -> Reject | None:
    """Side, tick and size of recorded depth or of a trade that is to be matched."""
    if command.side not in (Side.BUY, Side.SELL):
        return Reject.INVALID_SIDE
    if command.price % market.numbers.tick_price:
        return Reject.PRICE_OFF_TICK
    if not 0 <= command.lots <= LOTS_MAX:
        return Reject.LOTS_OUT_OF_RANGE
    return None


def depth(world: World, command: Command) -> Reject | None:
    market, reject = priced_market(world, command)
    if reject is not None:
        return reject
    reject = recorded_fits(market, command)
    if reject is not None:
        return reject
    if market.curve is not None:
        return Reject.QUOTES_ARE_DERIVED
    if market.open_interest_lots + command.lots > market.numbers.open_interest_lots_max:
        return Reject.OPEN_INTEREST_BOUND
    if command.lots and len(world.orders) - world.curve_orders_count >= (
        world.capacities.orders_max
    ):
        return Reject.ORDERS_FULL
    prices.set_depth(world, market, command.side, command.price, command.lots)
    return None


def depth_clear(world: World, command: Command) -> Reject | None:
    if command.market_id not in world.markets:
        return Reject.UNKNOWN_MARKET
    market = world.markets[command.market_id]
    if market.curve is not None:
        return Reject.QUOTES_ARE_DERIVED
    prices.clear_depth(world, market)
    return None


def funding(world: World, command: Command) -> Reject | None:
    """R62. A funding tick: its price first (the tape's mark if the venue takes the mark from the
    tape, else the index), the mark from it, then payments, then the health test."""
    if command.market_id not in world.markets:
        return Reject.UNKNOWN_MARKET
    market = world.markets[command.market_id]
    if market.numbers.contract == Contract.COLLATERAL:
        return Reject.NOT_COLLATERAL
    if command.price and not (
        market.numbers.price_min <= command.price <= market.numbers.price_max
    ):
        return Reject.PRICE_OUT_OF_RANGE
    if abs(command.amount) > market.numbers.funding_cap_ppb:
        return Reject.RATE_OUT_OF_RANGE
    if market.mark_price == 0 and command.price == 0:
        return Reject.NO_MARK_PRICE
    if command.price and world.profile.mark.source == "tape":
        market.tape_mark_price = command.price
        market.mark_is_stale = True
    elif command.price:
        prices.set_index(world, market, command.price)
    prices.update_marks(world)
    prices.settle_funding(world, market, command.amount)
    return None


HANDLERS: dict[int, Callable[[World, Command], Reject | None]] = {
    CommandKind.OPEN_ACCOUNT: accounts.open_account,
    CommandKind.DEPOSIT: accounts.deposit,
    CommandKind.WITHDRAW: accounts.withdraw,
    CommandKind.SET_LEVERAGE: accounts.set_leverage,
    CommandKind.SET_MARGIN_MODE: accounts.set_margin_mode,
    CommandKind.SET_POSITION_MODE: accounts.set_position_mode,
    CommandKind.MOVE_MARGIN: accounts.move_margin,
    CommandKind.NEW_ORDER: new_order,
    CommandKind.CANCEL: cancel_order,
    CommandKind.CANCEL_ALL: cancel_all,
    CommandKind.AMEND: amend,
    CommandKind.INDEX: index,
    CommandKind.MARK: mark,
    CommandKind.TRADE: trade,
    CommandKind.DEPTH: depth,
    CommandKind.DEPTH_CLEAR: depth_clear,
    CommandKind.FUNDING: funding,
    CommandKind.SEED_POSITION: accounts.seed_position,
    CommandKind.FORCE_CLOSE: settlement.force_close,
    CommandKind.CHECK_MARGIN: settlement.check_margin,
    CommandKind.SETTLE: settlement.settle,
    CommandKind.DELIVER: settlement.deliver,
    CommandKind.DEPOSIT_ASSET: settlement.deposit_asset,
    CommandKind.WITHDRAW_ASSET: settlement.withdraw_asset,
    CommandKind.VOLUNTEER: settlement.volunteer,
    CommandKind.CLOCK: settlement.clock,
}
