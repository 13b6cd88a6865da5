"""What a scenario states one by one: accounts, commands at times, facts and evidence.

Shapes and the checks that need nothing but the message itself; `scheduled.py` makes commands.
"""

from typing import Annotated, Literal

from msgspec import Meta

from engine import constants as c
from engine.shapes import DecimalText, Lots, Message, Name, Text, checked_ns

COPIES_MAX = 100_000
TIMES_MAX = 1_000_000  # of one scheduled command
FUND_NAME = "fund"  # the insurance fund, where a schedule names an account


class HeldPosition(Message, frozen=True, kw_only=True):
    """A position at the start: `lots` on a `side`; `margin` makes it isolated."""

    market: Name
    side: Literal["long", "short"]
    lots: Lots
    entry: DecimalText
    leverage: Annotated[int, Meta(ge=1, le=c.LEVERAGE_MAX)] | None = None  # None: the market's
    margin: DecimalText | None = None


class HeldAsset(Message, frozen=True, kw_only=True):
    """A collateral asset at the start."""

    market: Name
    lots: Lots


class Account(Message, frozen=True, kw_only=True):
    """An account stated by name, `copies` times. `wallet` includes the isolated margins."""

    name: Name
    copies: Annotated[int, Meta(ge=1, le=COPIES_MAX)] = 1
    wallet: DecimalText = "0"
    hedge: bool = False
    positions: list[HeldPosition] = []
    assets: list[HeldAsset] = []

    def __post_init__(self) -> None:
        if self.name == FUND_NAME:
            raise ValueError(f"Expected a name other than {FUND_NAME!r}")
        if len({asset.market for asset in self.assets}) != len(self.assets):
            raise ValueError("Expected each market once in assets")
        legs = {(held.market, held.side if self.hedge else "") for held in self.positions}
        if len(legs) != len(self.positions):
            raise ValueError("Expected each leg once in positions")
        modes = {(held.market, held.margin is None) for held in self.positions}
        if len(modes) != len({held.market for held in self.positions}):
            raise ValueError("Expected every leg of a market isolated, or none")


# Fields each scheduled command needs, and fields it may have besides.
SCHEDULED = {
    "settle": ((), ("market", "price")),
    "deliver": (("market", "price"), ()),
    "check_margin": ((), ()),
    "clock": ((), ()),
    "funding": (("market", "rate_ppb"), ("price",)),
    "deposit": (("account", "amount"), ("market",)),
    "withdraw": (("account", "amount"), ()),
    "move_margin": (("account", "market", "amount"), ()),
    "deposit_asset": (("account", "market", "lots"), ()),
    "withdraw_asset": (("account", "market", "lots"), ()),
    "force_close": (("account",), ("market", "lots")),
    "volunteer": (("account", "market", "lots"), ()),
    "sell": (("account", "market", "lots"), ("price",)),
    "buy": (("account", "market", "lots"), ("price",)),
}


class Scheduled(Message, frozen=True, kw_only=True):
    """A command at a time, after the prices of that time; `every_seconds` repeats it `until` then.

    `account` is a name of `accounts` (all its copies), or "fund": with a `market` the one that
    answers for it. `amount` is money, with a minus
    for margin that leaves a position. `buy` and `sell` are market orders, with `price` limit
    orders that stay. Without `market`, `settle` and `force_close` are about every market.
    """

    time: str
    every_seconds: Annotated[int, Meta(ge=1, le=31_536_000)] | None = None
    until: str | None = None
    command: Literal[
        "settle",
        "deliver",
        "check_margin",
        "clock",
        "funding",
        "deposit",
        "withdraw",
        "move_margin",
        "deposit_asset",
        "withdraw_asset",
        "force_close",
        "volunteer",
        "sell",
        "buy",
    ]
    market: Name | None = None
    account: Name | None = None
    price: DecimalText | None = None
    amount: Annotated[str, Meta(pattern=r"^-?[0-9]{1,24}(\.[0-9]{1,18})?$")] | None = None
    lots: Lots | None = None
    rate_ppb: Annotated[int, Meta(ge=-c.PPB, le=c.PPB)] | None = None

    def __post_init__(self) -> None:
        needed, allowed = SCHEDULED[self.command]
        for name in ("market", "account", "price", "amount", "lots", "rate_ppb"):
            given = getattr(self, name) is not None
            if given and name not in (*needed, *allowed):
                raise ValueError(f"Expected no {name} with {self.command}")
            if not given and name in needed:
                raise ValueError(f"Expected {name} with {self.command}")
        if self.command == "settle" and self.price and not self.market:
            raise ValueError("Expected market with price")
        if (self.every_seconds is None) != (self.until is None):
            raise ValueError("Expected every_seconds and until together, or neither")
        if len(self.times_ns()) > TIMES_MAX:
            raise ValueError(f"Expected at most {TIMES_MAX} times")

    def times_ns(self) -> range:
        """When the command is given."""
        first = checked_ns(self.time)
        if self.every_seconds is None or self.until is None:
            return range(first, first + 1)
        last = checked_ns(self.until)
        if last < first:
            raise ValueError("Expected until at or after time")
        return range(first, last + 1, self.every_seconds * 1_000_000_000)


class Fact(Message, frozen=True, kw_only=True):
    """A fact the scenario is read against: in words (`value`), or measured (`measures.py`)."""

    what: Text
    value: Annotated[str, Meta(max_length=1_000)] = ""
    source: Text
    measure: Name | None = None
    expected: Annotated[str, Meta(pattern=r"^(-?[0-9]{1,24}(\.[0-9]{1,18})?)?$")] = ""
    tolerance: DecimalText = "0"

    def __post_init__(self) -> None:
        if not self.value and self.measure is None:
            raise ValueError("Expected value or measure")
        if (self.measure is None) != (self.expected == ""):
            raise ValueError("Expected measure and expected together, or neither")


class MeasuredFact(Message, frozen=True, kw_only=True):
    """A measured fact beside what the run shows."""

    what: str
    measure: str
    expected: str
    tolerance: str
    got: str
    ok: bool


class Evidence(Message, frozen=True, kw_only=True):
    """Where a number of the scenario comes from. `assumed` fields are listed by every report."""

    field: Annotated[str, Meta(min_length=1, max_length=200)]
    source: Text
    status: Literal["published", "third_party", "assumed"]
