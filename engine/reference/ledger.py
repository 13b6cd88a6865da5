"""The rulebook's state: accounts, positions, markets, and the only code that changes money.

`World` holds everything. Events are appended as plain tuples in the field order of an EVENT row.
Fills, margin transfers and the equity of a margin domain are here; orders, prices and the
waterfall are not.
"""

from collections.abc import Callable

from engine.constants import (
    PPM,
    Cause,
    Contract,
    EventKind,
    Flag,
    PositionSide,
    SystemAccount,
)
from engine.profile import VenueProfile
from engine.reference import margin
from engine.reference.book import Order, signed
from engine.reference.records import (
    Account,
    Case,
    Domain,
    Fill,
    Fund,
    Market,
    Paid,
    Position,
)
from engine.venue import Capacities, DepthCurve, market_numbers, policy_numbers


class World:
    """R01. The whole state of an exchange; the engine's core must always equal it."""

    def __init__(
        self,
        profile: VenueProfile,
        capacities: Capacities,
        curves: dict[int, DepthCurve],
        feedback_ppm: int,
        trim_reduce_only: Callable,
    ) -> None:
        self.trim_reduce_only = trim_reduce_only  # R28, in orders
        self.profile = profile
        self.capacities = capacities
        self.feedback_ppm = feedback_ppm
        self.now_ns = 0
        self.seq = 0
        self.accounts: dict[int, Account] = {
            row: Account(row=row, account_id=row) for row in SystemAccount
        }
        self.row_of_id: dict[int, int] = {row: row for row in SystemAccount}
        self.user_positions_count = 0
        self.orders: dict[int, Order] = {}  # every live order by id
        self.markets: dict[int, Market] = {}
        for index, spec in enumerate(profile.markets):
            market = Market(numbers=market_numbers(profile, spec), market_id=index + 1)
            quoted = curves.get(index + 1, DepthCurve())
            market.curve = quoted if quoted.levels else None
            market.memory_ns = 0 if quoted.levels else quoted.refill_half_life_ns
            self.markets[index + 1] = market
            fund_id = market.numbers.fund_id
            if fund_id not in self.row_of_id:
                row = len(self.accounts) + 1
                self.accounts[row] = Account(row=row, account_id=fund_id)
                self.row_of_id[fund_id] = row
        self.system_count = len(self.accounts)
        self.curve_orders_count = 0
        self.entered_count = 0
        self.deposits_quote = 0
        self.withdrawals_quote = 0
        self.policy = policy_numbers(profile)
        self.cases: dict[Domain, Case] = {}
        rows = {
            SystemAccount.INSURANCE_FUND,
            *range(max(SystemAccount) + 1, len(self.accounts) + 1),
        }
        self.funds = {int(row): Fund() for row in sorted(rows)}
        self.paid: dict[tuple[int, int], Paid] = {}  # by fund and market (0: for all of them)
        self.gate_ns = 0  # withdrawals wait until then
        self.liquidation_queue: list[Domain] = []
        self.adl_queue: list[Domain] = []
        self.stop_queue: list[Order] = []
        self.liquidations_count = 0
        self.disposals_count = 0
        self.events: list[tuple] = []

    # -- events -------------------------------------------------------------------------------

    def emit(self, kind: EventKind, account: Account | None = None, **values: int) -> None:
        get = values.get
        self.events.append(
            (
                self.seq,
                self.now_ns,
                account.account_id if account else get("account_id", 0),
                get("order_id", 0),
                get("other_id", 0),
                get("price", 0),
                get("lots", 0),
                get("amount", 0),
                get("fee", 0),
                get("market_id", 0),
                int(kind),
                int(get("reason", 0)),
                int(get("side", 0)),
                int(get("position_side", 0)),
                int(get("flags", 0)),
                0,
            )
        )

    def emit_order(self, kind: EventKind, order: Order, lots: int, **values: int) -> None:
        self.emit(
            kind,
            self.accounts[order.account_row],
            order_id=order.order_id,
            market_id=order.market_id,
            side=order.side,
            position_side=order.position_side,
            lots=lots,
            flags=order.flags,
            **{"price": order.price, **values},
        )

    # -- positions ----------------------------------------------------------------------------

    def find_position(self, account: Account, market_id: int, side: int) -> Position | None:
        return account.positions.get((market_id, side))

    def position(self, account: Account, market_id: int, side: int) -> Position:
        """Part of R24: a leg is made on first use; those of system accounts do not count."""
        key = (market_id, side)
        if key not in account.positions:
            numbers = self.markets[market_id].numbers
            account.positions[key] = Position(
                account.row, market_id, side, leverage=numbers.leverage_default
            )
            if account.row not in self.system_rows():
                self.user_positions_count += 1
        return account.positions[key]

    def system_rows(self) -> range:
        return range(1, self.system_count + 1)

    def is_system(self, account: Account) -> bool:
        return account.row <= self.system_count

    def fund_of(self, market_id: int) -> Account:
        """R130. The insurance fund that answers for a market; with 0 the venue's own."""
        fund_id = self.markets[market_id].numbers.fund_id if market_id else 1
        return self.accounts[self.row_of_id[fund_id]]

    def change_position(self, position: Position, lots: int, price: int) -> tuple[int, int]:
        """R23. Move a position by signed lots at a price; returns (realised PnL, lots opened).

        Closing realises minus the value of what was closed minus the entry value it releases;
        what is left over after a position reached zero opens the other way.
        """
        market = self.markets[position.market_id]
        traded = margin.value(market.numbers, lots, price)
        before = position.lots
        market.open_interest_lots += max(0, before + lots) - max(0, before)
        position.lots = before + lots
        if before == 0 or (before > 0) == (lots > 0):
            position.entry_quote += traded
            return 0, abs(lots)
        if abs(lots) <= abs(before):
            released = margin.released_entry(position.entry_quote, abs(lots), abs(before))
            position.entry_quote -= released
            return -traded - released, 0
        closing = margin.value(market.numbers, -before, price)
        realised = -closing - position.entry_quote
        position.entry_quote = traded - closing
        return realised, abs(lots) - abs(before)

    def credit(self, position: Position | None, account: Account, amount: int) -> None:
        """Book money to the row of a domain: the isolated margin, or the wallet."""
        if position is not None and position.isolated:
            position.margin_quote += amount
        else:
            account.wallet_quote += amount

    # -- fills --------------------------------------------------------------------------------

    def fill_side(
        self,
        account: Account,
        order: Order | None,
        other: Account,
        position: Position,
        lots: int,
        price: int,
        cause: Cause,
        fee_ppm: int,
        flags: int,
        order_id: int = 0,
    ) -> Fill:
        """R25. One side of a fill: position, realised PnL and fee, one FILL event."""
        numbers = self.markets[position.market_id].numbers
        lots_before, margin_before = position.lots, position.margin_quote
        realised, opened = self.change_position(position, lots, price)
        fee = 0
        if fee_ppm and not self.is_system(account):
            fee = margin.fee(margin.notional(numbers, lots, price), fee_ppm)
        self.credit(position, account, realised - fee)
        position.session_quote += realised
        self.accounts[SystemAccount.FEES].wallet_quote += fee
        self.emit(
            EventKind.FILL,
            account,
            order_id=order.order_id if order else order_id,
            other_id=other.account_id,
            market_id=position.market_id,
            side=1 if lots > 0 else 2,
            position_side=position.position_side,
            price=price,
            lots=lots,
            amount=realised,
            fee=fee,
            reason=cause,
            flags=flags | (Flag.ISOLATED if position.isolated else 0),
        )
        return Fill(
            account,
            position,
            lots_before=lots_before,
            lots_after=position.lots,
            margin_before=margin_before,
            opened=opened,
            realised=realised,
            fee=fee,
            price=price,
        )

    def after_fill(self, fill: Fill, liquidating: bool = False) -> None:
        """R26. Isolated margin follows a fill: closing returns its share of the margin with the
        realised PnL less the fee, opening takes initial margin and fee from the wallet, as far
        as the wallet has it. A liquidated position returns nothing here."""
        position = fill.position
        if position.isolated and not liquidating:
            move = -self.released_margin(fill)
            if fill.opened:
                numbers = self.markets[position.market_id].numbers
                opened_quote = margin.notional(numbers, fill.opened, fill.price)
                wanted = self.initial(position, fill.opened, opened_quote) + max(0, fill.fee)
                move += min(max(0, fill.account.wallet_quote - move), wanted)
            self.move_margin(fill.account, position, move)
        self.trim_reduce_only(self, fill.account, position)

    @staticmethod
    def released_margin(fill: Fill) -> int:
        closed = abs(fill.lots_after - fill.lots_before) - fill.opened
        if closed == 0:
            return 0
        if closed == abs(fill.lots_before):
            return max(0, fill.position.margin_quote)
        share = fill.margin_before * closed // abs(fill.lots_before)
        return max(0, share + fill.realised - fill.fee)

    def move_margin(self, account: Account, position: Position, amount: int) -> None:
        """Part of R27: positive amounts go from the wallet to the isolated position."""
        if amount:
            account.wallet_quote -= amount
            position.margin_quote += amount
            self.emit(
                EventKind.MARGIN_MOVED,
                account,
                market_id=position.market_id,
                position_side=position.position_side,
                amount=amount,
            )

    def trade(
        self,
        taker: Account,
        taker_position: Position,
        maker: Account,
        maker_position: Position,
        lots: int,
        price: int,
        cause: Cause,
        liquidating: bool = True,
    ) -> None:
        """R29. An off-book fill at a price: takeover, deleveraging, seeding. No order, and no fee
        but in deleveraging where the profile says so: the winner pays the maker's, the other the
        taker's."""
        numbers = self.markets[taker_position.market_id].numbers
        charged = cause == Cause.ADL and self.profile.losses.adl_fee == "maker_taker"
        fees = (numbers.taker_fee_ppm, numbers.maker_fee_ppm) if charged else (0, 0)
        first = self.fill_side(taker, None, maker, taker_position, lots, price, cause, fees[0], 0)
        second = self.fill_side(
            maker, None, taker, maker_position, -lots, price, cause, fees[1], Flag.MAKER
        )
        self.after_fill(first, liquidating=liquidating)
        self.after_fill(second)

    # -- domains ------------------------------------------------------------------------------

    def price(self, market_id: int, second: bool = False) -> int:
        """The mark, or the second price that must agree with it (R93)."""
        market = self.markets[market_id]
        return market.average_price or market.mark_price if second else market.mark_price

    def unrealised(self, position: Position, second: bool = False) -> int:
        if position.lots == 0:
            return 0
        numbers = self.markets[position.market_id].numbers
        price = self.price(position.market_id, second)
        return margin.worth(numbers, position.lots, price) - position.entry_quote

    def position_notional(self, position: Position) -> int:
        market = self.markets[position.market_id]
        if position.lots == 0:
            return 0
        return margin.notional(market.numbers, position.lots, market.mark_price)

    def position_maintenance(self, position: Position, second: bool = False) -> int:
        """R31 for a leg; the profile may take the largest size its open orders can make."""
        numbers = self.markets[position.market_id].numbers
        rules = self.profile.margin
        lots = position.lots
        if rules.worst_case_orders:
            lots = margin.worst_lots(lots, position.buy_lots, position.sell_lots)
        size = margin.notional(numbers, lots, self.price(position.market_id, second)) if lots else 0
        return margin.maintenance_margin(
            numbers, rules, lots, size, position.entry_quote, position.leverage
        )

    def initial(self, position: Position, lots: int, size: int) -> int:
        """R32 for lots of this notional in a leg."""
        return self.initial_in(position.market_id, lots, size, position.leverage)

    def initial_in(self, market_id: int, lots: int, size: int, leverage: int) -> int:
        market = self.markets[market_id]
        interest = 0
        if market.numbers.scaling_to and market.open_interest_lots:
            interest = margin.notional(market.numbers, market.open_interest_lots, market.mark_price)
        return margin.initial_margin(
            market.numbers, self.profile.margin, lots, size, leverage, interest
        )

    def is_collateral(self, position: Position) -> bool:
        return self.markets[position.market_id].numbers.contract == Contract.COLLATERAL

    def domain_of(self, position: Position) -> Domain:
        """R35. An isolated position is a margin domain of its own; all others share the
        account's wallet."""
        if position.isolated:
            return position.account_row, position.market_id, position.position_side + 1
        return position.account_row, 0, 0

    def domain_positions(self, domain: Domain) -> list[Position]:
        account_row, market_id, leg = domain
        account = self.accounts[account_row]
        if market_id:
            return [account.positions[(market_id, leg - 1)]]
        return [position for position in account.positions.values() if not position.isolated]

    def domain_balance(self, domain: Domain) -> int:
        if domain[1]:
            return self.domain_positions(domain)[0].margin_quote
        return self.accounts[domain[0]].wallet_quote

    def equity(self, domain: Domain, second: bool = False) -> int:
        """R36. Equity is the domain's balance plus the unrealised PnL of its positions and what
        its collateral is worth."""
        positions = self.domain_positions(domain)
        return self.domain_balance(domain) + sum(self.unrealised(p, second) for p in positions)

    def maintenance(self, domain: Domain, second: bool = False) -> int:
        """R37. Maintenance margin of a domain is the sum over its positions."""
        return sum(self.position_maintenance(p, second) for p in self.domain_positions(domain))

    def initial_of(self, domain: Domain) -> int:
        """Part of R94: initial margin of a domain's positions at their present size."""
        return sum(
            self.initial(p, p.lots, self.position_notional(p))
            for p in self.domain_positions(domain)
        )

    def trigger_requirement(self, domain: Domain, second: bool = False) -> int:
        """R92. Liquidation starts below maintenance margin, or at it if the profile says so."""
        need = self.maintenance(domain, second)
        at = need > 0 and self.profile.trigger.comparison == "at_or_below"
        return need + 1 if at else need

    def exit_requirement(self, domain: Domain) -> int:
        """R95. What equity must reach to end a liquidation: the trigger's requirement, that plus a
        buffer on notional, or initial margin; never less than the first."""
        need = self.trigger_requirement(domain)
        trigger = self.profile.trigger
        if trigger.exit == "initial":
            return max(need, self.initial_of(domain))
        if trigger.exit == "buffer":
            size = sum(self.margined_notional(p) for p in self.domain_positions(domain))
            return need + margin.ceil_div(size * trigger.exit_buffer_ppm, PPM)
        return need

    def margined_notional(self, position: Position) -> int:
        """Part of R95: notional at mark of what needs margin."""
        return 0 if self.is_collateral(position) else self.position_notional(position)

    def is_open(self, domain: Domain) -> bool:
        """Whether a domain has a position that needs margin."""
        return any(p.lots and not self.is_collateral(p) for p in self.domain_positions(domain))

    def is_breached(self, domain: Domain) -> bool:
        """R73. A domain is in breach when equity is below the trigger's requirement at mark, and
        at the second price if there is one; without positions when its balance is negative,
        unless the venue leaves negative balances alone."""
        if not self.is_open(domain):
            if self.profile.losses.residual in ("debt", "negative_left"):
                return False
            return self.equity(domain) < 0
        if self.equity(domain) >= self.trigger_requirement(domain):
            return False
        if self.profile.trigger.second_price == "none":
            return True
        return self.equity(domain, True) < self.trigger_requirement(domain, True)

    def requirement(self, account: Account) -> int:
        """R38. What an account's wallet must cover: initial margin of every cross leg at its
        worst size, and of what open orders can add to isolated legs."""
        total = 0
        for position in account.positions.values():
            market = self.markets[position.market_id]
            lots = margin.worst_lots(position.lots, position.buy_lots, position.sell_lots)
            if position.isolated:
                lots -= abs(position.lots)
            if lots:
                worst = margin.notional(market.numbers, lots, market.mark_price)
                total += self.initial(position, lots, worst)
        return total

    def free(self, account: Account) -> int:
        """R39. Cross equity less the requirement: what a new order or withdrawal may use."""
        return self.equity((account.row, 0, 0)) - self.requirement(account)


def leg_is_closing(position_side: int, side: int) -> bool:
    """Part of R12: in hedge mode selling a LONG leg or buying a SHORT leg is reduce-only."""
    if position_side == PositionSide.NET:
        return False
    return signed(side, 1) != (1 if position_side == PositionSide.LONG else -1)
