"""The rulebook's records: legs, accounts, markets, cases of domains, the fund."""

from dataclasses import dataclass, field
from types import SimpleNamespace

from sortedcontainers import SortedDict

from engine.reference.book import Book
from engine.venue import DepthCurve, MarketNumbers


@dataclass
class Position:
    """One leg: an account's position in one market, net or long or short."""

    account_row: int
    market_id: int
    position_side: int
    leverage: int
    isolated: bool = False
    lots: int = 0
    entry_quote: int = 0
    margin_quote: int = 0  # isolated: the position's own ledger row
    buy_lots: int = 0  # resting orders that may open or turn the leg
    sell_lots: int = 0
    reduce_lots: int = 0  # resting reduce-only orders
    session_quote: int = 0  # profit booked since the last settlement
    volunteer_lots: int = 0  # what it is ready to be assigned


@dataclass
class Account:
    row: int
    account_id: int
    hedge: bool = False
    wallet_quote: int = 0
    positions: SortedDict = field(default_factory=SortedDict)  # (market_id, side) -> Position
    orders: dict = field(default_factory=dict)  # order_id -> Order, resting or waiting
    call_ns: int = 0  # deadline of an open margin call
    debt_quote: int = 0  # booked as owed
    debt_ns: int = 0  # when it came to owe money


@dataclass
class Market:
    """What changes about one market."""

    numbers: MarketNumbers
    market_id: int
    book: Book = field(default_factory=Book)
    index_price: int = 0
    tape_mark_price: int = 0
    mark_price: int = 0
    previous_mark_price: int = 0
    average_price: int = 0  # of the last price, decaying
    average_time_ns: int = 0
    average_last: int = 0  # the last price since then
    mark_is_stale: bool = False
    last_price: int = 0
    loss_quote: int = 0  # bad debt since the last settlement
    window_start_ns: int = 0  # liquidation window
    window_lots: int = 0  # used of it
    open_interest_lots: int = 0
    funding_rate_ppb: int = 0
    funding_time_ns: int = 0
    basis: list = field(default_factory=list)  # newest last
    basis_time_ns: int = 0
    curve: DepthCurve | None = None  # None: recorded depth
    memory_ns: int = 0  # half-life of what is lacking in recorded depth; 0: none is remembered
    lacking: dict = field(default_factory=dict)  # price -> (lots, time) of recorded levels
    volatility_ppm: int = 0
    shift_ppb: int = 0  # of the curve's middle from the index
    taken_price: int = 0  # last price at which the curve's quotes were taken since they were made
    quotes: dict = field(default_factory=dict)  # (side, level) -> (price, lots quoted)
    deficits: dict = field(default_factory=dict)  # (side, level) -> lots
    quote_time_ns: int = 0


@dataclass
class Fill:
    """What one side of a fill did, for what follows from it."""

    account: Account
    position: Position
    lots_before: int
    lots_after: int
    margin_before: int
    opened: int
    realised: int
    fee: int
    price: int


Command = SimpleNamespace  # a COMMAND row, its fields by name
Domain = tuple[int, int, int]  # (account_row, 0, 0) cross, or (account_row, market_id, leg + 1)


@dataclass
class Case:
    """What the venue remembers of a domain that is not simply healthy."""

    level: int = 0  # bits of Level
    due_ns: int | None = None  # waiting: when it is looked at again
    resumed: bool = False  # it waited, so only the exit level ends it
    escalated: bool = False  # it was woken before its time, below the backstop level
    ramp_since_ns: int = 0  # when a step with a ramp first looked at it; 0: not yet
    freed_quote: int = 0  # shortage covered since then
    forced: bool = False  # to be closed whatever its health
    last_market: int = 0  # of the position last worked on
    once_ns: int | None = None  # its last step of a kind that must not come too often


@dataclass
class Fund:
    """What the venue remembers of an insurance fund."""

    peaks: dict = field(default_factory=dict)  # part of the window -> highest balance in it
    drawdown: bool = False


@dataclass
class Paid:
    """What a fund, or a fund for one market, paid in the present window of its cap."""

    quote: int = 0
    since_ns: int = 0
