"""People who act in a run besides those that history recorded: stops, added margin, bargains.

Stops are placed before history begins. The others act at instants of tape time, every so many
seconds from the first command on: after every command of that time or earlier, and before any
later one. What they do follows from the events up to there and from the seed, so it depends on no
size of batch or buffer; their commands go into the tape like any other, and whoever replays the
tape needs none of this.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn, Protocol

import numpy as np

from engine import constants as c
from engine.constants import CommandKind, EventKind
from engine.peopled import BargainHunters, MarginAdders, Participants, Stops
from engine.population.chance import Randomness
from engine.population.columns import BLOCK_ROWS_MAX, Population
from engine.population.margins import MarketStart
from engine.profile import VenueProfile
from engine.rows import COMMAND
from engine.units import UnitError, parse_decimal
from engine.venue import MarketNumbers

STOP_IDS, HUNTER_IDS = 1 << 40, 1 << 41  # order ids begin here, far above those of a schedule
GROUP_SHIFT = 32  # each entry of the scenario has its own range of order ids
STREAM = 1 << 21  # separates their draws from those of prices and population
NS = 1_000_000_000


@dataclass(frozen=True)
class Ground:
    """What participants stand on: venue, first prices, and the population that some belong to.

    `first_id` is the id of the first hunter; `fail` refuses a field of the scenario.
    """

    profile: VenueProfile
    starts: Mapping[str, MarketStart]
    start_ns: int
    population: Population | None
    first_id: int
    seed: int


Fail = Callable[[str, str], NoReturn]


def check_participants(
    wanted: Participants, profile: VenueProfile, numbers: Mapping[str, tuple[int, MarketNumbers]],
    has_population: bool, fail: Fail,
) -> None:  # fmt: skip
    """Refuse by field what does not fit the venue or the scenario."""
    adders = wanted.margin_adders
    needing = [f"participants.stops[{index}]" for index in range(len(wanted.stops))]
    if adders is not None:
        needing.append("participants.margin_adders")
        if not profile.trigger.warn_ppm and not profile.trigger.cure_ns:
            expected = "expected a venue that warns (trigger.warn_ppm) or calls (trigger.cure_ns)"
            fail("participants.margin_adders", f"{expected}; this one does neither")
    if needing and not has_population:
        fail(needing[0], "expected a population that it is a share of, got none")
    for index, stops in enumerate(wanted.stops):
        field = f"participants.stops[{index}].round"
        if _units(stops.round, stops.market, profile, numbers, field, fail) < 1:
            fail(field, f"expected more than 0, got {stops.round}")
    for index, hunters in enumerate(wanted.bargain_hunters):
        place = f"participants.bargain_hunters[{index}]"
        _money(hunters.wallet, profile, f"{place}.wallet", fail)
        most = numbers[hunters.market][1].order_lots_max
        if hunters.lots > most:
            fail(f"{place}.lots", f"expected at most {most} in one order, got {hunters.lots}")


def _units(
    text: str, symbol: str, profile: VenueProfile,
    numbers: Mapping[str, tuple[int, MarketNumbers]], field: str, fail: Fail,
) -> int:  # fmt: skip
    try:
        return parse_decimal(text, profile.markets[numbers[symbol][0] - 1].price_decimals)
    except UnitError as error:
        fail(field, str(error))


def _money(text: str, profile: VenueProfile, field: str, fail: Fail) -> int:
    try:
        value = parse_decimal(text, profile.settlement.decimals)
    except UnitError as error:
        fail(field, str(error))
    if value > c.MONEY_MAX:
        fail(field, f"expected at most {c.MONEY_MAX} smallest units, got {text}")
    return value


def _rows(kind: CommandKind, count: int, time_ns: int, **columns: object) -> np.ndarray:
    rows = np.zeros(count, COMMAND)
    rows["kind"], rows["time_ns"] = kind, time_ns
    for name, column in columns.items():
        rows[name] = column
    return rows


class Actor(Protocol):
    """Somebody who reads events and acts at instants."""

    next_ns: int

    def observe(self, events: np.ndarray) -> None:
        """Events, in order, as they are drained."""

    def act(self) -> list[np.ndarray]:
        """The commands of the instant `next_ns`, which then becomes the one after."""


class Crowd:
    """The participants of one run. Give every drained event to `observe`, and feed `commands`."""

    def __init__(self, wanted: Participants, ground: Ground) -> None:
        self._wanted, self._ground = wanted, ground
        self._actors: list[Actor] = []
        if wanted.margin_adders is not None:
            self._actors.append(_Adders(wanted.margin_adders, ground))
        first = ground.first_id
        self._hunters = []
        for index, hunters in enumerate(wanted.bargain_hunters):
            self._hunters.append(_Hunters(hunters, ground, index, first))
            first += hunters.accounts
        self._actors += self._hunters

    @property
    def reacts(self) -> bool:
        """Whether anybody's commands depend on what happens."""
        return bool(self._actors)

    @property
    def accounts(self) -> int:
        """How many accounts they bring."""
        return sum(len(hunters.ids) for hunters in self._hunters)

    @property
    def orders(self) -> int:
        """The most orders they can have at once."""
        people = self._ground.population
        held = 0 if people is None else len(people.account_row)
        return (held if self._wanted.stops else 0) + self.accounts

    def setup(self) -> Iterator[np.ndarray]:
        """Blocks that open and fund accounts and place stops, all before history."""
        for hunters in self._hunters:
            yield from _cut(hunters.setup())
        for index, stops in enumerate(self._wanted.stops):
            yield from _cut([_stop_orders(stops, self._ground, index)])

    def observe(self, events: np.ndarray) -> None:
        """Events in order, as they are drained."""
        for actor in self._actors:
            actor.observe(events)

    def commands(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """History with what participants do at their instants.

        An empty block says: everything before it must be applied, and its events observed,
        before the next block is asked for.
        """
        if not self._actors:
            yield from blocks
            return
        for block in blocks:
            rest = block
            while len(rest):
                due_ns = min(actor.next_ns for actor in self._actors)
                cut = int(np.searchsorted(rest["time_ns"], due_ns, side="right"))
                if cut:
                    yield rest[:cut]
                rest = rest[cut:]
                if len(rest):  # history goes on after the instant, so it is complete
                    yield rest[:0]
                    for actor in self._actors:
                        if actor.next_ns == due_ns:
                            yield from _cut(actor.act())


def _cut(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for block in blocks:
        for start in range(0, len(block), BLOCK_ROWS_MAX):
            yield block[start : start + BLOCK_ROWS_MAX]


def _stop_orders(stops: Stops, ground: Ground, index: int) -> np.ndarray:
    """Stop orders of a share of one market's positions, in the order of the population."""
    start, people = ground.starts[stops.market], ground.population
    assert people is not None, "checked when the scenario was loaded"
    decimals = ground.profile.markets[start.market_id - 1].price_decimals
    step, tick = parse_decimal(stops.round, decimals), start.numbers.tick_price
    random = Randomness(ground.seed, STREAM + 1 + index)
    mine = np.flatnonzero(people.market_id == start.market_id)
    mine = mine[random.uniform(len(mine)) % c.PPM < stops.share_ppm]
    is_long = people.lots[mine] > 0
    chance = random.uniform(len(mine))
    beyond = np.zeros(len(mine), np.int64)
    for nth in range(1, stops.reach):
        beyond += chance < (1 << 53) >> nth
    below = (start.first_price - 1) // step - beyond
    above = start.first_price // step + 1 + beyond
    level = np.where(is_long, below, above) * step
    away = np.rint(np.abs(random.normal(len(mine))) * stops.scatter_ppm).astype(np.int64)
    gap = level // c.PPM * away + level % c.PPM * away // c.PPM
    trigger = np.where(is_long, (level - gap) // tick, -(-(level + gap) // tick)) * tick
    numbers = start.numbers
    inside = (trigger >= numbers.price_min) & (trigger <= numbers.price_max) & (trigger > 0)
    mine, trigger, is_long = mine[inside], trigger[inside], is_long[inside]
    return _rows(
        CommandKind.NEW_ORDER,
        len(mine),
        ground.start_ns,
        account_id=people.account_id[people.account_row[mine]],
        order_id=STOP_IDS + (index << GROUP_SHIFT) + 1 + np.arange(len(mine)),
        market_id=start.market_id,
        side=np.where(is_long, int(c.Side.SELL), int(c.Side.BUY)),
        position_side=people.position_side[mine],
        order_type=int(c.OrderType.STOP_MARKET),
        time_in_force=int(c.TimeInForce.IOC),
        trigger_kind=int(c.TriggerPrice.MARK),
        trigger_price=trigger,
        lots=np.minimum(np.abs(people.lots[mine]), numbers.order_lots_max),
        flags=int(c.Flag.REDUCE_ONLY),
    )


_ADDER_EVENTS = [
    int(kind)
    for kind in (
        EventKind.LEVEL_ENTERED,
        EventKind.LEVEL_LEFT,
        EventKind.MARGIN_CALLED,
        EventKind.MARGIN_CALL_ENDED,
        EventKind.LIQUIDATION_STARTED,
    )
]


class _Adders:
    """Accounts of the population that add margin while a warning or a call stands."""

    def __init__(self, wanted: MarginAdders, ground: Ground) -> None:
        people = ground.population
        assert people is not None, "checked when the scenario was loaded"
        self._every_ns, self._part_ppm = wanted.every_seconds * NS, wanted.part_ppm
        self.next_ns = ground.start_ns + self._every_ns
        self._ids, self._deposits = people.account_id, people.deposit_quote
        chance = Randomness(ground.seed, STREAM).uniform(len(self._ids)) % c.PPM
        self._left = np.where(chance < wanted.share_ppm, wanted.times, 0)
        self._warned: dict[tuple[int, int, int], int] = {}  # domain -> its account's row

    def observe(self, events: np.ndarray) -> None:
        """Keep who is warned; whoever is being liquidated is too late."""
        for event in events[np.isin(events["kind"], _ADDER_EVENTS)]:
            kind, account_id = int(event["kind"]), int(event["account_id"])
            domain = account_id, int(event["market_id"]), int(event["position_side"])
            levels = kind in (EventKind.LEVEL_ENTERED, EventKind.LEVEL_LEFT)
            if levels and event["reason"] != c.Level.WARNED:
                continue
            if kind not in (EventKind.LEVEL_ENTERED, EventKind.MARGIN_CALLED):
                self._warned.pop(domain, None)
                self._warned.pop((account_id, 0, 0), None)
                continue
            row = int(np.searchsorted(self._ids, account_id))
            if row < len(self._ids) and self._ids[row] == account_id and self._left[row]:
                self._warned[domain] = row

    def act(self) -> list[np.ndarray]:
        """A deposit for each, moved on to the position where that has its own margin."""
        time_ns = self.next_ns
        self.next_ns += self._every_ns
        made = []
        for (account_id, market_id, side), row in self._warned.items():
            amount = int(self._deposits[row]) * self._part_ppm // c.PPM
            if not self._left[row] or amount < 1:
                continue
            self._left[row] -= 1
            given = {"account_id": account_id, "amount": amount}
            made.append(_rows(CommandKind.DEPOSIT, 1, time_ns, **given))
            if market_id:
                leg = {"market_id": market_id, "position_side": side}
                made.append(_rows(CommandKind.MOVE_MARGIN, 1, time_ns, **given, **leg))
        return [np.concatenate(made)] if made else []


class _Hunters:
    """Accounts that buy once when the mark is far enough below its moving average."""

    def __init__(self, wanted: BargainHunters, ground: Ground, index: int, first_id: int) -> None:
        start = ground.starts[wanted.market]
        self._wanted, self._market_id, self._price = wanted, start.market_id, start.first_price
        self._start_ns, self._every_ns = ground.start_ns, wanted.every_seconds * NS
        self.next_ns = self._start_ns + self._every_ns
        self.ids = first_id + np.arange(wanted.accounts, dtype=np.int64)
        self._wallet = parse_decimal(wanted.wallet, ground.profile.settlement.decimals)
        self._orders = HUNTER_IDS + (index << GROUP_SHIFT) + 1 + np.arange(wanted.accounts)
        draws = Randomness(ground.seed, STREAM + (1 << 16) + index).uniform(wanted.accounts)
        self._below_ppm = wanted.below_ppm + draws % (wanted.spread_ppm + 1)
        self._waits = np.ones(wanted.accounts, bool)
        self._samples: deque[int] = deque([self._price])
        self._sum = self._price

    def setup(self) -> list[np.ndarray]:
        """Open and fund the accounts."""
        people = len(self.ids)
        made = [_rows(CommandKind.OPEN_ACCOUNT, people, self._start_ns, account_id=self.ids)]
        if self._wallet:
            money = {"account_id": self.ids, "amount": self._wallet}
            made.append(_rows(CommandKind.DEPOSIT, people, self._start_ns, **money))
        return made

    def observe(self, events: np.ndarray) -> None:
        """Keep the last mark."""
        mine = (events["kind"] == EventKind.MARK_SET) & (events["market_id"] == self._market_id)
        marks = events["price"][mine]
        if len(marks):
            self._price = int(marks[-1])

    def act(self) -> list[np.ndarray]:
        """Sample the mark; those whose threshold it is below buy at market."""
        time_ns = self.next_ns
        self.next_ns += self._every_ns
        self._samples.append(self._price)
        self._sum += self._price
        if len(self._samples) > self._wanted.average_seconds // self._wanted.every_seconds:
            self._sum -= self._samples.popleft()
        depth_ppm = (self._sum - self._price * len(self._samples)) * c.PPM // self._sum
        buying = np.flatnonzero(self._waits & (self._below_ppm <= depth_ppm))
        if len(buying) == 0:
            return []
        self._waits[buying] = False
        order = {
            "side": int(c.Side.BUY),
            "order_type": int(c.OrderType.MARKET),
            "time_in_force": int(c.TimeInForce.IOC),
            "lots": self._wanted.lots,
        }
        owners = {"account_id": self.ids[buying], "order_id": self._orders[buying]}
        kind, market_id = CommandKind.NEW_ORDER, self._market_id
        return [_rows(kind, len(buying), time_ns, market_id=market_id, **owners, **order)]
