"""The rulebook's state as sorted tables of integers."""

from engine.constants import Flag, Side
from engine.reference import fund, orders
from engine.reference.book import Order
from engine.reference.ledger import World
from engine.reference.records import Account, Case, Domain, Market, Paid, Position


def canonical_rows(world: World) -> dict[str, list[tuple[int, ...]]]:
    """R91. The state as sorted tables of integers: what the state digest covers."""
    accounts = sorted(world.accounts.values(), key=lambda account: account.account_id)
    stops = sorted(filter(orders.is_stop, world.orders.values()), key=lambda order: order.seq)
    return {
        "accounts": [_account_row(world, account) for account in accounts],
        "positions": [
            _position_row(world, account, position)
            for account in accounts
            for position in account.positions.values()
        ],
        "orders": [
            _order_row(world, order)
            for market in world.markets.values()
            for side in (Side.BUY, Side.SELL)
            for order in market.book.orders(side)
        ],
        "stops": [
            (
                *_order_row(world, order),
                order.order_type,
                order.time_in_force,
                order.trigger_price,
                order.trigger_kind,
            )
            for order in stops
        ],
        "markets": [_market_row(world, market) for market in world.markets.values()],
        "totals": [
            (
                world.now_ns,
                world.seq,
                world.deposits_quote,
                world.withdrawals_quote,
                world.liquidations_count,
                world.gate_ns,
            )
        ],
        "funds": [
            (
                int(account.account_id),
                world.paid.get((account.row, 0), Paid()).quote,
                int(world.funds[account.row].drawdown),
                fund.peak(world, account.row),
            )
            for account in accounts
            if account.row in world.funds
        ],
    }


def _account_row(world: World, account: Account) -> tuple[int, ...]:
    return (
        int(account.account_id),
        account.wallet_quote,
        int(Flag.HEDGE) if account.hedge else 0,
        account.call_ns,
        account.debt_ns,
        account.debt_quote,
        *_case_row(world, (account.row, 0, 0)),
    )


def _position_row(world: World, account: Account, position: Position) -> tuple[int, ...]:
    return (
        int(account.account_id),
        position.market_id,
        position.position_side,
        position.lots,
        position.entry_quote,
        position.margin_quote,
        int(position.isolated),
        position.leverage,
        position.session_quote,
        position.volunteer_lots,
        *_case_row(world, (account.row, position.market_id, position.position_side + 1)),
    )


def _market_row(world: World, market: Market) -> tuple[int, ...]:
    return (
        market.market_id,
        market.index_price,
        market.tape_mark_price,
        market.mark_price,
        market.last_price,
        market.open_interest_lots,
        market.funding_rate_ppb,
        market.funding_time_ns,
        sum(market.basis),
        len(market.basis),
        market.previous_mark_price,
        market.average_price,
        market.loss_quote,
        market.window_lots,
        world.paid.get((world.fund_of(market.market_id).row, market.market_id), Paid()).quote,
        market.volatility_ppm,
        market.shift_ppb,
    )


def _case_row(world: World, domain: Domain) -> tuple[int, int]:
    """Levels of a domain and when it is looked at again, 0 if it does not wait."""
    case = world.cases.get(domain, Case())
    return int(case.level), case.due_ns or 0


def _order_row(world: World, order: Order) -> tuple[int, ...]:
    return (
        order.order_id,
        int(world.accounts[order.account_row].account_id),
        order.market_id,
        order.side,
        order.price,
        order.lots,
        order.flags,
        order.position_side,
        order.self_trade,
        order.seq,
    )
