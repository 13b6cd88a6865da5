"""Every enum, reject code, event kind, scale and limit of the exchange.

The vocabulary shared by the compiled core and the rulebook. It holds names and numbers and
imports nothing of ours: whoever reads a code in an event finds its meaning here.
"""

from enum import IntEnum

ENGINE_VERSION = "0.1.0"
FORMAT_VERSION = 1  # of the COMMAND and EVENT rows; a tape of another version is refused

PPM = 1_000_000  # parts per million: fees, margin rates, haircuts
PPB = 1_000_000_000  # parts per billion: funding rates and quantised scores

MONEY_MAX = 2**60  # bound on any sum of money in the smallest settlement unit
LOTS_MAX = 2**40  # bound on one order or one position, in lots
TICKS_MAX = 2**24  # price ticks of one market: four levels of a 64-ary bitmap
TIME_MAX_NS = 2**62  # tape time; the year 2116
ORDER_ID_MAX = 2**62  # ids from outside are 1..ORDER_ID_MAX; the engine's own are negative
ACCOUNT_ID_MAX = 2**62
MARKETS_MAX = 512
LEVERAGE_MAX = 255
TIERS_MAX = 64  # margin tiers of one market
DEPTH_LEVELS_MAX = 64  # levels a side of the market maker's depth curve
ORDERS_PER_ACCOUNT_MAX = 4_096  # bounds the cancellations of one liquidation
BASIS_SAMPLES_MAX = 128  # ring of mid minus index samples of one market
LIQUIDATION_ORDER_ID_BASE = -(2**62)  # the n-th liquidation order of a run is BASE + n
MAKER_ID_MARKET_SHIFT = 40  # a market maker's order is -(market_id << 40 | price)


class SystemAccount(IntEnum):
    """Accounts that exist in every exchange; their row equals their id."""

    INSURANCE_FUND = 1
    FEES = 2
    ROUNDING = 3
    CLEARING = 4  # takes the other side of every seeded position
    MARKET_MAKER = 5  # owns the quotes made from recorded depth or from the curve


FIRST_USER_ID = 16  # smaller account ids are the venue's own


class Payoff(IntEnum):
    LINEAR = 1  # V = lots * price * unit_quote (quanto too: another unit_quote)
    INVERSE = 2  # V = -lots * face_quote / price, half to even, once


class Side(IntEnum):
    BUY = 1
    SELL = 2


class PositionSide(IntEnum):
    NET = 0  # one-way mode
    LONG = 1  # hedge mode
    SHORT = 2


class OrderType(IntEnum):
    LIMIT = 1
    MARKET = 2
    STOP_LIMIT = 3
    STOP_MARKET = 4


class TimeInForce(IntEnum):
    GTC = 1
    IOC = 2
    FOK = 3


class SelfTrade(IntEnum):
    """What happens when an order meets its own account in the book."""

    ALLOW = 0
    CANCEL_NEWEST = 1
    CANCEL_OLDEST = 2
    CANCEL_BOTH = 3


class TriggerPrice(IntEnum):
    """The price that releases a stop order."""

    NONE = 0
    MARK = 1
    LAST = 2
    INDEX = 3


class Flag(IntEnum):
    """Bits of the `flags` field of commands, orders, positions and events."""

    REDUCE_ONLY = 1
    POST_ONLY = 2
    HEDGE = 4
    ISOLATED = 8
    MAKER = 16
    LAST_OF_BLOCK = 32  # of a DEPTH command: the book is consistent again after it


class CommandKind(IntEnum):
    OPEN_ACCOUNT = 1  # account_id, flags HEDGE
    DEPOSIT = 2  # account_id, amount > 0
    WITHDRAW = 3  # account_id, amount > 0
    SET_LEVERAGE = 4  # account_id, market_id, position_side, amount = leverage
    SET_MARGIN_MODE = 5  # account_id, market_id, flags ISOLATED or 0
    SET_POSITION_MODE = 6  # account_id, flags HEDGE or 0
    MOVE_MARGIN = 7  # account_id, market_id, position_side, amount (+ wallet to position)
    NEW_ORDER = 8
    CANCEL = 9  # account_id, order_id
    CANCEL_ALL = 10  # account_id, market_id or 0 for every market
    AMEND = 11  # account_id, order_id, price, lots (what is left to be)
    INDEX = 12  # market_id, price
    MARK = 13  # market_id, price: the mark that history recorded
    TRADE = 14  # market_id, price, lots: a recorded trade; sets the last price
    DEPTH = 15  # market_id, side, price, lots the level is to hold; 0 deletes it
    DEPTH_CLEAR = 16  # market_id: the market maker withdraws every quote
    FUNDING = 17  # market_id, price (mark or index of this instant, 0 keeps), amount = rate ppb
    SEED_POSITION = 18  # account_id, market_id, position_side, signed lots, price = entry,
    #                     amount = isolated margin moved from the wallet (flags ISOLATED)


class EventKind(IntEnum):
    REJECTED = 1  # reason
    ACCOUNT_OPENED = 2
    DEPOSITED = 3  # amount
    WITHDRAWN = 4  # amount
    LEVERAGE_SET = 5  # amount = leverage
    MARGIN_MODE_SET = 6
    POSITION_MODE_SET = 7
    MARGIN_MOVED = 8  # amount > 0: wallet to isolated position
    RESTED = 9  # order_id, price, lots now resting
    FILL = 10  # one side of one trade; reason = Cause
    CANCELLED = 11  # order_id, lots taken out; reason = CancelReason
    AMENDED = 12  # order_id, price, lots left; kept its place
    STOP_PLACED = 13
    STOP_TRIGGERED = 14
    INDEX_SET = 15
    MARK_SET = 16
    LAST_SET = 17  # a recorded trade moved the last price
    FUNDING_PAID = 18  # amount > 0 is received by the account
    LIQUIDATION_STARTED = 19  # amount = equity, fee = maintenance margin
    LIQUIDATION_FEE = 20  # amount from the account to the insurance fund
    SURPLUS = 21  # amount from the account to the insurance fund
    SHORTFALL = 22  # amount from the insurance fund to the account, within the fund
    BAD_DEBT = 23  # amount from the insurance fund to the account, beyond the fund
    LIQUIDATION_ENDED = 24  # reason = LiquidationEnd
    TAKEOVER_REFUSED = 25  # reason = RefusedTakeover; lots, price
    FUNDING_SETTLED = 26  # market_id, price, amount = residue booked to ROUNDING
    DEPTH_SET = 27  # market_id, side, price, lots of the market maker's level


class Cause(IntEnum):
    """Why a FILL happened."""

    TRADE = 1  # two orders met in the book
    LIQUIDATION = 2  # a liquidation order met the book
    TAKEOVER = 3  # the insurance fund took the position
    ADL = 4  # auto-deleveraging
    SEED = 5  # a position from the population
    RESIDUAL = 6  # the last absorber: the fund beyond its limits


class CancelReason(IntEnum):
    USER = 1
    IOC_REMAINDER = 2
    MARKET_REMAINDER = 3
    SELF_TRADE = 4
    REDUCE_ONLY = 5  # nothing left to reduce
    LIQUIDATION = 6
    ADL = 7
    AMENDED = 8  # replaced by the amended order that follows
    STOP_REFUSED = 9  # triggered, then refused like any other order; price holds the Reject
    REQUOTE = 10  # the market maker renews its quotes
    DEPTH = 11  # recorded depth took the level away
    PRICE_BAND = 12  # the next price is outside the band


class LiquidationEnd(IntEnum):
    RESTORED = 1  # equity is at or above maintenance margin again
    CLOSED_IN_BOOK = 2
    TAKEN_OVER = 3
    DELEVERAGED = 4
    RESIDUAL = 5  # the last absorber took what was left
    NEGATIVE_BALANCE = 6  # no position; the negative balance was paid


class RefusedTakeover(IntEnum):
    INVENTORY_FULL = 1
    CANNOT_PAY = 2


class Step(IntEnum):
    """What the ordered steps of a liquidation can be (profile: liquidation.steps)."""

    CANCEL_ORDERS = 1  # of the whole account
    COVER_SHORTAGE = 2  # an order just large enough to restore compliance
    CLOSE_POSITION = 3  # an order for everything


class Absorber(IntEnum):
    """Who can take a bankrupt position (profile: losses.waterfall), in order."""

    INSURANCE_FUND = 1
    ADL = 2
    FUND_UNLIMITED = 3  # the venue itself; the last element of every list


class AdlScore(IntEnum):
    WALLET_PCT_MARGIN_RATIO = 1  # max(0,pnl)/max(1,wallet) * maintenance/equity
    PROFIT_TIMES_LEVERAGE = 2  # pnl/|entry value| * notional/equity


class TierMode(IntEnum):
    MARGINAL = 1  # rate applies to the part inside the tier (deduction)
    FLAT = 2  # rate applies to the whole notional


class MarkSource(IntEnum):
    TAPE = 1
    MEDIAN = 2  # median(funding-adjusted index, index + mean basis, last)


class SurplusRule(IntEnum):
    TO_USER = 1
    TO_FUND = 2


class Reject(IntEnum):
    """Why a command was refused, in the order in which the checks run (R03)."""

    UNKNOWN_COMMAND = 1
    TIME_WENT_BACKWARDS = 2
    TIME_OUT_OF_RANGE = 3
    UNKNOWN_MARKET = 4
    UNKNOWN_ACCOUNT = 5
    ACCOUNT_EXISTS = 6
    ACCOUNT_ID_OUT_OF_RANGE = 7
    ACCOUNT_IS_SYSTEM = 8
    ACCOUNTS_FULL = 9
    AMOUNT_OUT_OF_RANGE = 10
    MONEY_BOUND = 11  # deposits would pass MONEY_MAX
    INSUFFICIENT_BALANCE = 12
    LEVERAGE_OUT_OF_RANGE = 13
    POSITION_OR_ORDERS_OPEN = 14  # the mode cannot change now
    POSITION_SIDE_MISMATCH = 15  # NET in hedge mode, or LONG/SHORT in one-way mode
    POSITIONS_FULL = 16
    NOT_ISOLATED = 17
    INVALID_SIDE = 18
    INVALID_ORDER_TYPE = 19
    INVALID_TIME_IN_FORCE = 20
    INVALID_SELF_TRADE = 21
    INVALID_TRIGGER = 22
    INVALID_FLAGS = 23
    ORDER_ID_OUT_OF_RANGE = 24
    DUPLICATE_ORDER_ID = 25
    UNKNOWN_ORDER = 26
    NOT_YOUR_ORDER = 27
    LOTS_OUT_OF_RANGE = 28
    PRICE_OUT_OF_RANGE = 29
    PRICE_OFF_TICK = 30
    TRIGGER_PRICE_OUT_OF_RANGE = 31
    TRIGGER_PRICE_OFF_TICK = 32
    TOO_MANY_ORDERS = 33  # of one account
    ORDERS_FULL = 34
    NO_MARK_PRICE = 35  # no mark yet, or no price yet of the kind that is to trigger
    OUTSIDE_PRICE_BAND = 36
    WOULD_TRIGGER_IMMEDIATELY = 37
    NOTHING_TO_REDUCE = 38
    OPEN_INTEREST_BOUND = 39
    POSITION_LIMIT = 40  # notional above what the tiers allow at this leverage
    INSUFFICIENT_MARGIN = 41
    POST_ONLY_WOULD_CROSS = 42
    FOK_NOT_FILLABLE = 43
    STOPS_CANNOT_BE_AMENDED = 44
    RATE_OUT_OF_RANGE = 45
    QUOTES_ARE_DERIVED = 46  # recorded depth for a market whose quotes come from a curve
