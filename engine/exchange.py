"""Exchange: owns a State block, feeds batches to the compiled core, hands out events and tables.

It holds no rule. `submit` crosses into compiled code once per batch (and again only when the
event buffer had to be drained); the tables it returns are copies.
"""

from collections.abc import Iterator
from functools import cache

import numpy as np

from engine.constants import PPM, Flag, Side, SystemAccount
from engine.core import step
from engine.core.inspection import inspect as run_inspection
from engine.core.kernel import FIRST_PART_WORD, PART_WORDS, PARTS, direct
from engine.core.linking import link_parts
from engine.core.records import PEAK_PARTS
from engine.core.state import H
from engine.core.tables import Block, allocate, events_per_unit_max
from engine.digest import state_digest
from engine.profile import VenueProfile
from engine.rows import COMMAND, EVENT
from engine.venue import Capacities, DepthCurve, load_venue
from engine.views import (
    DOMAIN_FIELDS,
    POSITION_FIELDS,
    DomainView,
    PositionView,
    StepView,
)

EVENTS_COUNT, EVENTS_ROWS, EVENT_BYTES = int(H.EVENTS_COUNT), int(H.EVENTS_ROWS), EVENT.itemsize
EVENTS_SLACK = 1 << 16  # rows of event room beyond what one unit may need
EVENTS_NEAR = 1 << 11  # the same for who reads them in place: they stay in a processor's cache
FEW_EVENTS = 1 << 10  # rows that are copied fastest by Python itself


class EngineFault(RuntimeError):
    """Our bug: an assertion failed inside the core. The exchange must not be used again."""


@cache
def _addresses(parts_count: int) -> np.ndarray:
    """Where the parts of the core are in this process, of which there are this many by now. To ask
    for them takes longer than to make a small exchange."""
    words = np.zeros(FIRST_PART_WORD + PART_WORDS, np.int64)
    link_parts(words)
    assert parts_count == len(PARTS), "no part is made while parts are linked"
    return words[FIRST_PART_WORD:]


def join_events(parts: list[np.ndarray]) -> np.ndarray:
    """EVENT rows one after the other, copied as bytes.

    >>> len(join_events([np.zeros(2, EVENT), np.zeros(3, EVENT)]))
    5
    """
    return np.concatenate([part.view(np.uint8) for part in parts]).view(EVENT)


class Exchange:
    """A deterministic exchange for one venue profile.

    `profile` is a VenueProfile or the name of a shipped one. `curves` maps a market id to the
    market maker's depth curve there. `feedback_ppm` is how much of the derived mark counts (0: a
    pure replay of the tape's mark). `check_index` compares the trigger index with a full scan
    after every unit of work.

    >>> from engine.constants import EventKind
    >>> from engine.venue import shipped_venues
    >>> exchange = Exchange(shipped_venues()[0])
    >>> events = exchange.submit(command("MARK", market_id=1, price=736_587))
    >>> [EventKind(kind).name for kind in events["kind"]]
    ['MARK_SET']
    """

    def __init__(
        self,
        profile: VenueProfile | str,
        *,
        capacities: Capacities | None = None,
        curves: dict[int, DepthCurve] | None = None,
        feedback_ppm: int = PPM,
        check_index: bool = False,
        events_slack: int = EVENTS_SLACK,
    ) -> None:
        self.profile = load_venue(profile) if isinstance(profile, str) else profile
        self.capacities = capacities or Capacities()
        self.block = allocate(
            self.profile, self.capacities, curves or {}, feedback_ppm, check_index
        )
        self._unit_room = events_per_unit_max(self.block.rows)
        self._events = np.empty(self._unit_room + events_slack, dtype=EVENT)
        self._event_bytes = self._events.data.cast("B")
        self._one = np.zeros(1, dtype=COMMAND)
        self._one_at = self._one.ctypes.data
        self._one_bytes = self._one.data.cast("B")
        self._fault: str | None = None
        self.relink()
        self._run = direct(step.run, 5)

    def relink(self) -> None:
        """Write what this process has where into the header: of a new or a restored block."""
        self.block.rebase()
        words = self.block.words
        self._words = words.data  # a word of an array takes longer to read
        words[H.EVENTS_AT] = self._events.ctypes.data
        words[H.EVENTS_ROWS] = len(self._events)
        words[FIRST_PART_WORD : FIRST_PART_WORD + PART_WORDS] = _addresses(len(PARTS))

    def submit(self, commands: np.ndarray) -> np.ndarray:
        """Apply COMMAND rows in order; returns their EVENT rows (a new array).

        A refused command is a REJECTED event. Raises EngineFault when an assertion of the core
        fails, and from then on.
        """
        commands = self._checked(commands)
        count = len(commands)
        if count == 1:  # to ask an array for its address takes longer than to apply it
            self._one_bytes[:] = commands.tobytes()
            at = self._one_at
        else:
            at = commands.ctypes.data
        done, events = self._drained(at, count, 0)
        if done == count:
            return events
        parts = [events]
        while done < count:
            done, events = self._drained(at, count, done)
            parts.append(events)
        return join_events(parts)

    def stream(self, commands: np.ndarray, in_place: bool = False) -> Iterator[np.ndarray]:
        """Like `submit`, but yields the events in the portions in which they were drained.

        With `in_place` a portion is not copied: it is where the core wrote it, until the next is
        asked for or anything else is submitted. Portions are smaller then.
        """
        commands = self._checked(commands)
        at, count, done = commands.ctypes.data, len(commands), 0
        room = len(self._events)
        if in_place:
            room = min(room, self._unit_room + EVENTS_NEAR)
        while True:
            self._words[EVENTS_ROWS] = room
            done, events = self._drained(at, count, done, not in_place)
            self._words[EVENTS_ROWS] = len(self._events)
            yield events
            if done == count:
                return

    def _checked(self, commands: np.ndarray) -> np.ndarray:
        """COMMAND rows that lie one after the other, if they can be applied."""
        commands = np.ascontiguousarray(commands)
        if commands.dtype is not COMMAND and commands.dtype != COMMAND:
            raise TypeError(f"expected COMMAND rows, got dtype {commands.dtype}")
        if self._fault:
            raise EngineFault(self._fault)
        return commands

    def _drained(
        self, at: int, count: int, start: int, copied: bool = True
    ) -> tuple[int, np.ndarray]:
        """Apply commands from `start` on until their events fill the buffer; returns the first
        command that is not finished, and the events."""
        words = self._words
        words[EVENTS_COUNT] = 0
        try:
            done = self._run(self.block.address, at, count, start, self._unit_room)
        except AssertionError as error:
            self._fault = f"command {words[H.SEQ]}: {error}"
            raise EngineFault(self._fault) from error
        rows = words[EVENTS_COUNT]
        if not copied:
            return done, self._events[:rows]
        # numpy copies structured rows field by field, bytes at once
        if rows <= FEW_EVENTS:
            return done, np.ndarray(rows, EVENT, bytearray(self._event_bytes[: rows * EVENT_BYTES]))
        return done, self._events[:rows].view(np.uint8).copy().view(EVENT)

    # -- tables -------------------------------------------------------------------------------

    def rows(self) -> dict[str, np.ndarray]:
        """Canonical tables of the state, int64 (rows, columns), sorted; see `digest`."""
        return canonical_rows(self)

    def digest(self) -> str:
        """Hash of `rows()`: equal for equal states, in either implementation."""
        return state_digest(self.rows())

    def best(self, market_id: int) -> tuple[int, int, int, int]:
        """Best bid price and lots, best ask price and lots of a market; 0 and 0 where empty."""
        if not 1 <= market_id <= len(self.profile.markets):
            raise KeyError(f"no market {market_id}")
        market = self.block.table("MARKETS")[market_id]
        levels = self.block.table("LEVELS")

        def at(name: str) -> tuple[int, int]:
            tick = int(market[name])
            lots = int(levels[int(market["level_row"]) + tick]["lots"]) if tick else 0
            return tick * int(market["tick_price"]), lots

        return *at("best_bid_tick"), *at("best_ask_tick")

    def inspect(self, account_id: int) -> list[DomainView]:
        """How an account stands now; see `views`. KeyError if it is unknown."""
        table = self.block.table("ACCOUNTS")[1 : self.block.words[H.ACCOUNTS_COUNT] + 1]
        found = np.flatnonzero(table["account_id"] == account_id)
        if len(found) == 0:
            raise KeyError(f"no account {account_id}")
        numbers = np.zeros(1 << 20, dtype=np.int64)
        count = run_inspection(self.block.address, int(found[0]) + 1, numbers.ctypes.data)
        taken = iter(numbers[1 : numbers[0] + 1].tolist())
        return [self._domain_view(taken) for _ in range(count)]

    def _domain_view(self, numbers: Iterator[int]) -> DomainView:
        fields = {name: next(numbers) for name in DOMAIN_FIELDS}
        legs = [self._position_view(numbers) for _ in range(next(numbers))]
        return DomainView(**fields, positions=legs)

    def _position_view(self, numbers: Iterator[int]) -> PositionView:
        fields = {name: next(numbers) for name in POSITION_FIELDS}
        steps = [
            StepView(step=index, lots=next(numbers), limit_price=next(numbers))
            for index in range(int(self.block.words[H.STEPS_COUNT]))
        ]
        return PositionView(**fields, steps=steps)

    def balance(self, account_id: int) -> int:
        """Wallet of an account in the smallest settlement unit; KeyError if it is unknown."""
        accounts = self.rows()["accounts"]
        found = accounts[accounts[:, 0] == account_id]
        if len(found) == 0:
            raise KeyError(f"no account {account_id}")
        return int(found[0, 1])


def command(kind: str, **fields: int) -> np.ndarray:
    """One COMMAND row (an array of length 1) from the name of its kind and its fields.

    Raises ValueError for an unknown kind or field.

    >>> command("DEPOSIT", account_id=100, amount=5)["amount"]
    array([5])
    """
    from engine.constants import CommandKind

    row = np.zeros(1, dtype=COMMAND)
    try:
        row["kind"] = CommandKind[kind]
    except KeyError:
        names = ", ".join(member.name for member in CommandKind)
        raise ValueError(f"unknown command {kind!r}; expected one of {names}") from None
    for name, value in fields.items():
        if name not in (COMMAND.names or ()):
            raise ValueError(f"unknown field {name!r} of a command")
        row[name] = value
    return row


def _columns(table: np.ndarray, names: str) -> np.ndarray:
    return np.stack([table[name].astype(np.int64) for name in names.split()], axis=1)


def canonical_rows(exchange: Exchange) -> dict[str, np.ndarray]:
    """Implements R91: the state as sorted int64 tables."""
    block = exchange.block
    words = block.words
    accounts = block.table("ACCOUNTS")[1 : words[H.ACCOUNTS_COUNT] + 1]
    order = np.argsort(accounts["account_id"], kind="stable")
    sorted_accounts = accounts[order]
    flags = sorted_accounts["hedge"].astype(np.int64) * int(Flag.HEDGE)
    known = block.table("CASES")
    cases = known[1 : words[H.ACCOUNTS_COUNT] + 1][order]
    account_rows = np.column_stack(
        [
            sorted_accounts["account_id"],
            sorted_accounts["wallet_quote"],
            flags,
            _columns(cases, "call_ns debt_ns debt_quote level due_ns"),
        ]
    )
    positions = block.table("POSITIONS")[1 : words[H.POSITIONS_COUNT] + 1]
    ids = accounts["account_id"][positions["account_row"] - 1]
    order = np.lexsort((positions["position_side"], positions["market_id"], ids))
    first = block.rows["ACCOUNTS"] + 1
    cases = known[first : first + len(positions)]
    position_rows = np.column_stack(
        [
            ids,
            _columns(
                positions,
                "market_id position_side lots entry_quote margin_quote isolated leverage "
                "session_quote",
            ),
            block.table("VOLUNTEERS")[1 : len(positions) + 1],
            _columns(cases, "level due_ns"),
        ]
    )[order]
    book, stops = _order_rows(block, accounts)
    return {
        "accounts": account_rows,
        "positions": position_rows,
        "orders": book,
        "stops": stops,
        "markets": _market_rows(block),
        "funds": _fund_rows(block, accounts),
        "totals": np.array(
            [
                [
                    words[H.NOW_NS],
                    words[H.SEQ],
                    words[H.DEPOSITS_QUOTE],
                    words[H.WITHDRAWALS_QUOTE],
                    words[H.LIQUIDATIONS_COUNT],
                    words[H.GATE_UNTIL_NS],
                ]
            ],
            dtype=np.int64,
        ),
    }


def _order_rows(block: Block, accounts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Resting orders in the order in which they would trade, and stops by age."""
    used = int(block.words[H.ORDERS_USED])
    table = block.table("ORDERS")[: used + 1]
    triggers = block.table("TRIGGERS")[: used + 1]
    live = np.flatnonzero(table["order_id"])
    ids = accounts["account_id"][table["account_row"][live] - 1]
    columns = np.column_stack(
        [
            table["order_id"][live],
            ids,
            _columns(table[live], "market_id side price lots"),
            table["bits"][live].astype(np.int64) & 15,
            _columns(table[live], "position_side self_trade seq"),
        ]
    )
    is_stop = table["order_type"][live] >= 3
    stops = np.column_stack(
        [
            columns,
            _columns(table[live], "order_type time_in_force"),
            _columns(triggers[live], "trigger_price trigger_kind"),
        ]
    )[is_stop]
    stops = stops[np.argsort(stops[:, 9], kind="stable")]
    rank = _queue_ranks(block, live[~is_stop])
    return columns[~is_stop][np.argsort(rank, kind="stable")], stops


def _queue_ranks(block: Block, rows: np.ndarray) -> np.ndarray:
    """Sort keys of resting orders: market, side, price from the touch, age."""
    table = block.table("ORDERS")[rows]
    price = np.where(table["side"] == Side.BUY, -table["price"], table["price"])
    order = np.lexsort((table["seq"], price, table["side"], table["market_id"]))
    rank = np.empty(len(rows), dtype=np.int64)
    rank[order] = np.arange(len(rows))
    return rank


def _market_rows(block: Block) -> np.ndarray:
    markets = block.table("MARKETS")[1:]
    held = np.minimum(markets["basis_count"], block.words[H.BASIS_SAMPLES])
    names = (
        "index_price tape_mark_price mark_price last_price open_interest_lots "
        "funding_rate_ppb funding_time_ns basis_sum"
    )
    market_ids = np.arange(1, len(markets) + 1, dtype=np.int64)
    more = "previous_mark_price average_price loss_quote window_lots"
    first = 1 + int(block.words[H.SYSTEM_ROWS])
    paid = block.table("FUNDS")["paid_quote"][first : first + len(markets)]
    return np.column_stack(
        [
            market_ids,
            _columns(markets, names),
            held,
            _columns(markets, more),
            paid,
            _columns(markets, "volatility_ppm shift_ppb"),
        ]
    )


def _fund_rows(block: Block, accounts: np.ndarray) -> np.ndarray:
    """Every insurance fund: account id, paid in its window, drawdown rule, highest balance."""
    own = range(max(SystemAccount) + 1, int(block.words[H.SYSTEM_ROWS]) + 1)
    rows = np.array([SystemAccount.INSURANCE_FUND, *own])
    ids = accounts["account_id"][rows - 1]
    peaks = block.table("PEAKS")["quote"].reshape(-1, PEAK_PARTS).max(axis=1)
    table = np.column_stack(
        [ids, _columns(block.table("FUNDS")[rows], "paid_quote drawdown"), peaks[rows]]
    )
    return table[np.argsort(ids, kind="stable")]
