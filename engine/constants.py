"""Every enum, reject code, event kind, scale and limit of the exchange.

The vocabulary shared by the compiled core and the rulebook. It holds names and numbers and
imports nothing of ours: whoever reads a code in an event finds its meaning here.
"""

from enum import IntEnum

ENGINE_VERSION = "0.1.0"
FORMAT_VERSION = 1  # of the COMMAND and EVENT rows, as journals and snapshots name it

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
STEPS_MAX = 8  # order steps of one liquidation
WATERFALL_MAX = 8  # absorbers
DEPTH_LEVELS_MAX = 64  # levels a side of the market maker's depth curve
ORDERS_PER_ACCOUNT_MAX = 4_096  # bounds the cancellations of one liquidation
BASIS_SAMPLES_MAX = 128  # ring of mid minus index samples of one market
LIQUIDATION_ORDER_ID_BASE = -(2**62)  # the n-th liquidation order of a run is BASE + n
DISPOSAL_ORDER_ID_BASE = -(2**61)  # the n-th order of the fund for its inventory is BASE + n
MAKER_ID_MARKET_SHIFT = 40  # a market maker's order is -(market_id << 40 | price)


class SystemAccount(IntEnum):
    """Accounts that exist in every exchange; their row equals their id."""

    INSURANCE_FUND = 1
    FEES = 2
    ROUNDING = 3
    CLEARING = 4  # takes the other side of every seeded position
    MARKET_MAKER = 5  # owns the quotes made from recorded depth or from the curve
    BACKSTOP = 6  # the vault, the liquidity pool or the keepers: takes positions by transfer


FIRST_USER_ID = 16  # smaller account ids are the venue's own


class Payoff(IntEnum):
    LINEAR = 1  # V = lots * price * unit_quote (quanto too: another unit_quote)
    INVERSE = 2  # V = -lots * face_quote / price, half to even, once


class Contract(IntEnum):
    """What a market is to an account."""

    FUTURE = 1  # perpetual or dated: a position with margin
    COLLATERAL = 2  # an asset held: counts with its haircut, needs no margin


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
    FORCE_CLOSE = 19  # account_id, market_id or 0 for all, lots a leg may keep; amount = Force
    CHECK_MARGIN = 20  # the daily check: margin calls are made, cured, enforced; debts waived
    SETTLE = 21  # market_id or 0 for all, price or 0 for the mark: profits become balances
    DELIVER = 22  # market_id, price: every position is closed there
    DEPOSIT_ASSET = 23  # account_id, market_id of a collateral, lots > 0
    WITHDRAW_ASSET = 24  # account_id, market_id of a collateral, lots > 0
    VOLUNTEER = 25  # account_id, market_id, lots it is ready to be assigned
    CLOCK = 26  # time passes: whoever waited for it is looked at


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
    LEVEL_ENTERED = 28  # reason = Level; amount = equity, fee = the requirement it fell below
    LEVEL_LEFT = 29  # reason = Level; amount = equity, fee = the requirement
    MARGIN_CALLED = 30  # amount = shortfall, fee = nanoseconds to cure it
    MARGIN_CALL_ENDED = 31  # reason = CallEnd
    FORCE_CLOSED = 32  # reason = Force; lots closed in the market
    LOSS_SHARED = 33  # amount an open position gives for somebody else's loss
    LOSS_COVERED = 34  # amount the domain received from LOSS_SHARED, fee = residue to ROUNDING
    DEBT_LEFT = 35  # amount the account owes from now on, in all
    DEBT_WAIVED = 36  # amount, from the insurance fund to the account
    SETTLED = 37  # a leg's profit became balance: price, amount; its entry value moves with it
    CLAWED_BACK = 38  # amount of a winner's profit, to the insurance fund
    SEIZED = 39  # amount of margin that went to BACKSTOP with the position
    HAIRCUT = 40  # amount of a withdrawal, to the insurance fund
    DRAWDOWN = 41  # reason 1 started, 2 stopped; amount = fund, fee = its peak
    VOLUNTEERED = 42  # lots
    VENUE_FEE = 43  # liquidation fee to FEES instead of the fund
    POOL_PAID = 44  # amount from BACKSTOP to the account
    PROFIT_CAPPED = 45  # market, side: amount = the side's profit, fee = the pool's balance


class Cause(IntEnum):
    """Why a FILL happened."""

    TRADE = 1  # two orders met in the book
    LIQUIDATION = 2  # a liquidation order met the book
    TAKEOVER = 3  # the insurance fund took the position
    ADL = 4  # auto-deleveraging
    SEED = 5  # a position from the population
    RESIDUAL = 6  # the last absorber: the fund beyond its limits
    NETTED = 7  # an account's own long and short leg
    TRANSFER = 8  # to BACKSTOP
    ASSIGNED = 9  # to a volunteer
    DELIVERY = 10  # final settlement, against CLEARING
    ASSET = 11  # collateral in or out, at a price of 0, against CLEARING


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
    RESTRICTED = 12  # equity is below initial margin
    DELIVERY = 13  # the market is settled


class LiquidationEnd(IntEnum):
    RESTORED = 1  # equity is at or above maintenance margin again
    CLOSED_IN_BOOK = 2
    TAKEN_OVER = 3
    DELEVERAGED = 4
    RESIDUAL = 5  # the last absorber took what was left
    NEGATIVE_BALANCE = 6  # no position; the negative balance was paid
    PAUSED = 7  # looked at again later
    ASSIGNED_OUT = 8  # volunteers took it
    BACKSTOPPED = 9  # BACKSTOP took it


class RefusedTakeover(IntEnum):
    INVENTORY_FULL = 1
    CANNOT_PAY = 2
    DRAWDOWN = 3  # the fund fell too much within its window


class Level(IntEnum):
    """Levels of a margin domain above liquidation (bits)."""

    WARNED = 1
    RESTRICTED = 2


class CallEnd(IntEnum):
    CURED = 1
    EXPIRED = 2  # the positions are closed


class Force(IntEnum):
    """Why positions are closed whatever the account's health (amount of FORCE_CLOSE)."""

    POSITION_LIMIT = 1
    DELISTING = 2
    REGULATORY = 3
    EMERGENCY = 4


class Size(IntEnum):
    """How much one liquidation step closes."""

    ALL = 1
    COVER_SHORTAGE = 2
    FRACTION = 3
    LOWER_TIER = 4
    CHUNK = 5


class Channel(IntEnum):
    """Where a liquidation step trades."""

    IOC = 1
    FOK = 2
    TRANSFER = 3
    REST = 4  # in the book, and stays there


class Limit(IntEnum):
    """The price bound of a liquidation step."""

    BANKRUPTCY = 1
    SPREAD = 2  # mark less a spread that grows as health falls
    MARK = 3
    TOUCH = 4
    NONE = 5


class Scope(IntEnum):
    """Whose orders are cancelled."""

    NONE = 0
    MARKET = 1
    ACCOUNT = 2


class Select(IntEnum):
    """Which position of a domain goes first."""

    LARGEST = 1
    LARGEST_LOSS = 2
    RANDOM = 3


class QueueOrder(IntEnum):
    """In which order domains found at the same instant are liquidated."""

    ACCOUNT = 1
    WORST_FIRST = 2
    RANDOM = 3


class Absorber(IntEnum):
    """Who can take a bankrupt position (profile: losses.waterfall), in order."""

    INSURANCE_FUND = 1
    ADL = 2
    FUND_UNLIMITED = 3  # the venue itself
    FUND_PAYMENT = 4  # the fund pays into the domain what it may, and takes no position
    VOLUNTEERS = 5
    COVERED_BOOK = 6  # the book within a band of the touch; the fund covers the slippage
    VAULT = 7  # BACKSTOP takes position and margin, unless equity is negative
    POOL = 8  # BACKSTOP takes the position at mark
    RETRY = 9  # nobody: the domain waits
    LOSS_SHARING = 10  # others pay what the domain lacks, by a policy; the position stays


class AdlScore(IntEnum):
    WALLET_PCT_MARGIN_RATIO = 1  # max(0,pnl)/max(1,wallet) * maintenance/equity
    PROFIT_TIMES_LEVERAGE = 2  # pnl/|entry value| * notional/equity, losers divided
    RETURN_TIMES_LEVERAGE = 3  # pnl/initial margin * notional/equity, losers divided
    PRICE_GAIN_TIMES_LEVERAGE = 4  # mark/entry (short: entry/mark) * notional/equity
    RANDOM = 5  # seeded by the command number
    NONE = 6  # account order


class AdlCandidates(IntEnum):
    OPPOSITE = 1
    WINNERS = 2


class AdlPrice(IntEnum):
    BANKRUPTCY = 1
    MARK = 2
    PREVIOUS_MARK = 3
    MARK_UNLESS_FUND_LOW = 4


class FeeCap(IntEnum):
    """What bounds the liquidation fee."""

    EQUITY = 1
    SURPLUS = 2  # what the fill brought above the bankruptcy value
    FADED = 3  # a rate that falls to 0 as less is left


class Residual(IntEnum):
    """Who pays a balance below zero, after the fund's payment."""

    FUND = 1
    DEBT = 2
    NEGATIVE_LEFT = 3
    SOCIALISE_POSITIONS = 4
    SOCIALISE_PROFIT = 5
    WITHDRAWAL_HAIRCUT = 6
    POOL = 7  # BACKSTOP


class Exit(IntEnum):
    """What ends a liquidation."""

    MAINTENANCE = 1
    BUFFER = 2
    INITIAL = 3


class TierBy(IntEnum):
    """What selects a position's tier."""

    NOTIONAL = 1
    ENTRY_VALUE = 2
    CONTRACTS = 3


class TierMode(IntEnum):
    MARGINAL = 1  # rate applies to the part inside the tier (deduction)
    FLAT = 2  # rate applies to the whole notional


class MarkSource(IntEnum):
    TAPE = 1
    MEDIAN = 2  # median(funding-adjusted index, index + mean basis, last)
    INDEX = 3
    LAST = 4


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
    RESTRICTED = 47  # equity is below initial margin: only reducing orders
    NOT_COLLATERAL = 48  # an asset command for a futures market, or an order for an asset
    WITHDRAWALS_GATED = 49  # somebody's balance is negative: withdrawals wait
    INVALID_REASON = 50
