"""The text notation of the examples: sentences that drive an exchange and say what to expect.

    given market.taker_fee_ppm = 500      before the first command: the venue of this example
    open alice hedge                      deposit alice 1000        leverage alice 5 long
    sell bob 5 @ 101 ioc post reduce stp oldest #7                  buy alice 3 market
    stop sell alice 2 @ 95 mark limit 94  cancel alice #3           amend alice #3 2 @ 100
    isolated alice                        margin alice -10          seed alice -10 @ 100
    index 100     mark 90     last 95     depth buy 99 x 10         funding 100 ppm
    took buy 102 x 5                      (a recorded trade that is matched)
    force alice DELISTING keep 2 [everywhere]                       check          clock
    settle all    settle 105  deliver 105 asset alice -5            volunteer bob 5
    at 5s         wait 1h                 in market 2

What a venue is like, beyond `given section.field = value`:

    given liquidation.steps = cancel_orders cover_shortage      (in words, of the plain kind)
    given steps = fraction fraction_ppm 250000 limit mark; all limit none
    given tier 1 initial_ppm 200000       given lots tiers 5 20 100
    given tier steps base 1000 step 500 count 3 maintenance_ppm 10000 initial_ppm 20000
    given collateral 200000               (one more market: an asset with a haircut in ppm)

Prices and money are decimal text in the venue's own units, sizes are lots. A command that is
refused must be followed by `expect rejected CODE`; after every command the money identity and
the sum of all positions are checked. Expectations are in `expectations`. One `Venue` wraps the
compiled core or the rulebook.
"""

import re

import numpy as np
from expectations import Expectations
from small_venues import INVERSE, LINEAR, build, patch, raw_profile

from engine import constants as c
from engine.constants import CommandKind as K
from engine.exchange import Exchange
from engine.reference.exchange import ReferenceExchange
from engine.rows import COMMAND, EVENT
from engine.units import parse_decimal
from engine.venue import Capacities, DepthCurve, DepthLevel, market_numbers

NANOSECONDS = {"ns": 1, "s": 10**9, "m": 60 * 10**9, "h": 3_600 * 10**9}
SYSTEM = {"fund": 1, "fees": 2, "rounding": 3, "clearing": 4, "maker": 5, "backstop": 6}
LEGS = {"long": c.PositionSide.LONG, "short": c.PositionSide.SHORT}
TRIGGERS = {"mark": c.TriggerPrice.MARK, "last": c.TriggerPrice.LAST, "index": c.TriggerPrice.INDEX}
WHOLE_NUMBERS = (
    *("exponent", "tries_max"),
    *("order_lots_min", "order_lots_max", "open_interest_lots_max", "leverage_default"),
    *(
        "price_decimals",
        "leverage_max",
        "lots_to",
        "basis_samples",
        "tiers_down",
        "from_tier",
        "count",
    ),
)


class Venue(Expectations):
    """One exchange of one implementation, driven by sentences."""

    def __init__(self, implementation: str) -> None:
        self.implementation = implementation
        self.raw = raw_profile(LINEAR)
        self.curve: DepthCurve | None = None
        self.feedback_ppm = c.PPM
        self.capacities = Capacities(accounts_max=64, positions_max=128, orders_max=256)
        self.engine = None
        self.market_id = 1
        self.now_ns = 0
        self.names = dict(SYSTEM)
        self.orders_count = 1_000  # ids of orders that an example does not number
        self.events = np.zeros(0, EVENT)
        self.refused = False
        self.sentence = ""

    # -- the venue ------------------------------------------------------------------------------

    def start(self) -> None:
        self.profile = build(self.raw)
        self.numbers = [market_numbers(self.profile, market) for market in self.profile.markets]
        if any(n.fund_id < 0 for n in self.numbers):
            self.names |= {f"fund-{n.symbol}": n.fund_id for n in self.numbers}
        self.money_decimals = self.profile.settlement.decimals
        options = {
            "capacities": self.capacities,
            "curves": {1: self.curve} if self.curve else {},
            "feedback_ppm": self.feedback_ppm,
        }
        if self.implementation == "core":
            self.engine = Exchange(self.profile, **options, check_index=True)
        else:
            self.engine = ReferenceExchange(self.profile, **options)

    def given(self, text: str) -> None:
        """A fact about the venue, before its first command."""
        assert self.engine is None, "`given` comes first"
        if text == "inverse":
            self.raw = raw_profile(INVERSE)
        elif text == "two markets":
            self.raw["markets"].append({**self.raw["markets"][0], "symbol": "Y"})
        elif text.startswith("curve "):
            self.given_curve(text.split()[1:])
        elif text.startswith("feedback "):
            self.feedback_ppm = int(text.split()[1])
        elif text.startswith("capacity "):
            _, name, value = text.split()
            numbers = {n: getattr(self.capacities, n) for n in self.capacities.__struct_fields__}
            self.capacities = Capacities(**{**numbers, f"{name}_max": int(value)})
        elif text.startswith("steps = "):
            self.given_step_tables(text.removeprefix("steps = "))
        elif text.startswith("collateral "):
            asset = {"symbol": "A", "contract": "collateral", "haircut_ppm": int(text.split()[1])}
            self.raw["markets"].append({**self.raw["markets"][0], **asset})
        elif " tiers " in text or text.startswith("tier "):
            self.given_tiers(text.split())
        else:
            path, words = (part.strip() for part in text.split("=", 1))
            self.given_field(path, words)

    def given_field(self, path: str, words: str) -> None:
        if path == "liquidation.steps":
            self.given_steps(words.split())
            return
        name = path.split(".")[-1]
        listed = name in ("waterfall", "scaling")
        patch(self.raw, path, words.split() if listed else self.field_value(name, words))

    def field_value(self, name: str, text: str) -> str | int | bool:
        """A profile field in the type it has: a number, a duration, a truth or a text."""
        if text in ("true", "false"):
            return text == "true"
        if name.endswith("_ns") and not text.isdecimal():
            return self.duration(text)
        number = name.endswith(("_ppm", "_ppb", "_ns", "_lots")) or name in WHOLE_NUMBERS
        return int(text) if number else text

    def given_tiers(self, words: list[str]) -> None:
        """`tier 1 initial_ppm 200000`, `tier steps base 1000 ...` or `lots tiers 5 20 100`."""
        market = self.raw["markets"][0]
        if words[0] == "lots":
            self.raw["margin"] |= {"tier_by": "contracts", "tier_mode": "flat"}
            for tier, bound in zip(market["tiers"], words[2:], strict=True):
                del tier["notional_to"]
                tier["lots_to"] = int(bound)
        elif words[1] == "steps":
            del market["tiers"]
            pairs = zip(words[2::2], words[3::2], strict=True)
            market["tier_steps"] = {name: self.field_value(name, text) for name, text in pairs}
        else:
            market["tiers"][int(words[1]) - 1][words[2]] = self.field_value(words[2], words[3])

    def given_step_tables(self, text: str) -> None:
        """`fraction fraction_ppm 250000 limit mark; all limit none`: step after step."""
        steps = []
        for size, *words in (part.split() for part in text.split(";")):
            pairs = zip(words[::2], words[1::2], strict=True)
            steps.append({"size": size, **{n: self.field_value(n, word) for n, word in pairs}})
        self.raw["liquidation"]["steps"] = steps

    def given_steps(self, words: list[str]) -> None:
        """`cancel_orders cover_shortage close_position`, any of them in this order."""
        sizes = {"cover_shortage": "cover_shortage", "close_position": "all"}
        rules = self.raw["liquidation"]
        rules["cancel"] = "account" if "cancel_orders" in words else "none"
        rules["steps"] = [{"size": sizes[word]} for word in words if word in sizes]

    def given_curve(self, words: list[str]) -> None:
        """`1000ppm x 5, ...` and `half life 10s`."""
        text = " ".join(words)
        levels = re.findall(r"(\d+)ppm x (\d+)", text)
        half = re.search(r"half life (\S+)", text)
        self.curve = DepthCurve(
            levels=[DepthLevel(offset_ppm=int(o), lots=int(n)) for o, n in levels],
            refill_half_life_ns=self.duration(half.group(1)) if half else 0,
        )

    # -- sentences ------------------------------------------------------------------------------

    def play(self, text: str) -> "Venue":
        """Act out sentences, one a line; text after ` -- ` is a comment."""
        for line in text.splitlines():
            sentence = line.split("--")[0].strip()
            if sentence:
                self.sentence = sentence
                self.act(sentence)
        assert not self.refused, f"not expected: rejected {self.reject_name()} at the end"
        return self

    def act(self, sentence: str) -> None:
        head, _, rest = sentence.partition(" ")
        if head == "given":
            self.given(rest)
            return
        if self.engine is None:
            self.start()
        if head == "expect":
            self.expect(rest)
            return
        words = rest.split()
        if head in ("at", "wait"):
            moment = self.duration(words[0])
            self.now_ns = moment if head == "at" else self.now_ns + moment
        elif sentence.startswith("in market"):
            self.market_id = int(words[1])
        else:
            self.send(**getattr(self, f"command_{head}")(words))

    def send(self, **values: int) -> None:
        assert not self.refused, f"not expected: rejected {self.reject_name()} before this"
        row = np.zeros(1, COMMAND)
        row["time_ns"] = self.now_ns
        for name, value in values.items():
            row[name] = value
        if self.implementation == "core":
            self.events = self.engine.submit(row)
        else:
            self.events = np.array(self.engine.submit([row[0].tolist()]), dtype=EVENT)
        self.refused = bool((self.events["kind"] == c.EventKind.REJECTED).any())
        assert not self.refused or len(self.events) == 1, "a refused command did something"
        self.check_identity()

    def reject_name(self) -> str:
        return c.Reject(int(self.events["reason"][0])).name

    def duration(self, text: str) -> int:
        number, unit = re.fullmatch(r"(\d+)(ns|s|m|h)", text).groups()
        return int(number) * NANOSECONDS[unit]

    def price(self, text: str) -> int:
        markets = self.profile.markets
        known = min(self.market_id, len(markets))  # an unknown market is the exchange's to refuse
        return parse_decimal(text, markets[known - 1].price_decimals)

    def money(self, text: str) -> int:
        return parse_decimal(text, self.money_decimals)

    def account(self, name: str) -> int:
        return self.names.get(name, c.ACCOUNT_ID_MAX)  # an id that was never opened

    # -- account commands -----------------------------------------------------------------------

    def command_open(self, words: list[str]) -> dict[str, int]:
        users = sum(number >= c.FIRST_USER_ID for number in self.names.values())
        account_id = self.names.setdefault(words[0], c.FIRST_USER_ID + users)
        flags = c.Flag.HEDGE if "hedge" in words else 0
        return {"kind": K.OPEN_ACCOUNT, "account_id": account_id, "flags": flags}

    def money_command(self, kind: K, words: list[str]) -> dict[str, int]:
        return {
            "kind": kind,
            "account_id": self.account(words[0]),
            "amount": self.money(words[1]),
        }

    def command_deposit(self, words: list[str]) -> dict[str, int]:
        return self.money_command(K.DEPOSIT, words)

    def command_withdraw(self, words: list[str]) -> dict[str, int]:
        return self.money_command(K.WITHDRAW, words)

    def leg(self, words: list[str]) -> dict[str, int]:
        legs = [LEGS[word] for word in words if word in LEGS]
        return {
            "account_id": self.account(words[0]),
            "market_id": self.market_id,
            "position_side": legs[0] if legs else c.PositionSide.NET,
        }

    def command_leverage(self, words: list[str]) -> dict[str, int]:
        return {"kind": K.SET_LEVERAGE, **self.leg(words), "amount": int(words[1])}

    def command_margin(self, words: list[str]) -> dict[str, int]:
        return {"kind": K.MOVE_MARGIN, **self.leg(words), "amount": self.money(words[1])}

    def mode(self, words: list[str], kind: K, flags: int) -> dict[str, int]:
        of_market = {"market_id": self.market_id} if kind == K.SET_MARGIN_MODE else {}
        return {"kind": kind, "account_id": self.account(words[0]), "flags": flags, **of_market}

    def command_isolated(self, words: list[str]) -> dict[str, int]:
        return self.mode(words, K.SET_MARGIN_MODE, c.Flag.ISOLATED)

    def command_cross(self, words: list[str]) -> dict[str, int]:
        return self.mode(words, K.SET_MARGIN_MODE, 0)

    def command_hedge(self, words: list[str]) -> dict[str, int]:
        return self.mode(words, K.SET_POSITION_MODE, c.Flag.HEDGE)

    def command_oneway(self, words: list[str]) -> dict[str, int]:
        return self.mode(words, K.SET_POSITION_MODE, 0)

    def command_seed(self, words: list[str]) -> dict[str, int]:
        """`seed alice -10 @ 100 isolated 50`."""
        isolated = "isolated" in words
        amount = self.money(words[words.index("isolated") + 1]) if isolated else 0
        return {
            "kind": K.SEED_POSITION,
            **self.leg(words),
            "lots": int(words[1]),
            "price": self.price(words[3]),
            "amount": amount,
            "flags": c.Flag.ISOLATED if isolated else 0,
        }

    # -- orders ---------------------------------------------------------------------------------

    def order(self, side: int, words: list[str], **values: int) -> dict[str, int]:
        """The part that every order has; options follow in any order."""
        numbered = [word for word in words if word.startswith("#")]
        self.orders_count += not numbered
        options = {
            "order_type": c.OrderType.LIMIT,
            "time_in_force": c.TimeInForce.GTC,
            "order_id": int(numbered[0][1:]) if numbered else self.orders_count,
        }
        for text in ("gtc", "ioc", "fok"):
            if text in words:
                options["time_in_force"] = c.TimeInForce[text.upper()]
        if "stp" in words:
            name = words[words.index("stp") + 1].upper()
            options["self_trade"] = c.SelfTrade[f"CANCEL_{name}"]
        flags = (c.Flag.POST_ONLY if "post" in words else 0) | (
            c.Flag.REDUCE_ONLY if "reduce" in words else 0
        )
        return {
            "kind": K.NEW_ORDER,
            **self.leg(words),
            "side": side,
            "lots": int(words[1]),
            "flags": flags,
            **options,
            **values,
        }

    def plain_order(self, side: int, words: list[str]) -> dict[str, int]:
        if "market" in words:
            return self.order(side, words, order_type=c.OrderType.MARKET)
        assert words[2] == "@", f"{self.sentence}: `@ PRICE` or `market`"
        return self.order(side, words, price=self.price(words[3]))

    def command_buy(self, words: list[str]) -> dict[str, int]:
        return self.plain_order(c.Side.BUY, words)

    def command_sell(self, words: list[str]) -> dict[str, int]:
        return self.plain_order(c.Side.SELL, words)

    def command_stop(self, words: list[str]) -> dict[str, int]:
        """`stop sell alice 2 @ 95 mark limit 94`: released by the mark at 95."""
        side, words = c.Side[words[0].upper()], words[1:]
        values = {
            "order_type": c.OrderType.STOP_MARKET,
            "trigger_price": self.price(words[3]),
            "trigger_kind": TRIGGERS[words[4]],
        }
        if "limit" in words:
            values["order_type"] = c.OrderType.STOP_LIMIT
            values["price"] = self.price(words[words.index("limit") + 1])
        return self.order(side, words, **values)

    def command_cancel(self, words: list[str]) -> dict[str, int]:
        account_id = self.account(words[0])
        if words[1] == "all":
            market_id = self.market_id if "here" in words else 0
            return {"kind": K.CANCEL_ALL, "account_id": account_id, "market_id": market_id}
        return {"kind": K.CANCEL, "account_id": account_id, "order_id": int(words[1][1:])}

    def command_amend(self, words: list[str]) -> dict[str, int]:
        return {
            "kind": K.AMEND,
            "account_id": self.account(words[0]),
            "order_id": int(words[1][1:]),
            "lots": int(words[2]),
            "price": self.price(words[4]),
        }

    # -- prices ---------------------------------------------------------------------------------

    def price_command(self, kind: K, words: list[str]) -> dict[str, int]:
        return {"kind": kind, "market_id": self.market_id, "price": self.price(words[0])}

    def command_index(self, words: list[str]) -> dict[str, int]:
        return self.price_command(K.INDEX, words)

    def command_mark(self, words: list[str]) -> dict[str, int]:
        return self.price_command(K.MARK, words)

    def command_last(self, words: list[str]) -> dict[str, int]:
        return self.price_command(K.TRADE, words)

    def command_depth(self, words: list[str]) -> dict[str, int]:
        """`depth buy 99 x 10` or `depth clear`."""
        if words[0] == "clear":
            return {"kind": K.DEPTH_CLEAR, "market_id": self.market_id}
        command = self.price_command(K.DEPTH, words[1:])
        return {**command, "side": c.Side[words[0].upper()], "lots": int(words[3])}

    def command_took(self, words: list[str]) -> dict[str, int]:
        """`took buy 102 x 5`: a recorded trade with the side of its taker."""
        command = self.price_command(K.TRADE, words[1:])
        return {**command, "side": c.Side[words[0].upper()], "lots": int(words[3])}

    def command_funding(self, words: list[str]) -> dict[str, int]:
        """`funding 100 ppm`, or `funding 100 ppb at 95` with the price of that instant."""
        rate_ppb = int(words[0]) * (1_000 if words[1] == "ppm" else 1)
        price = self.price(words[3]) if "at" in words else 0
        return {
            "kind": K.FUNDING,
            "market_id": self.market_id,
            "amount": rate_ppb,
            "price": price,
        }

    # -- what the venue does by the clock, and assets -------------------------------------------

    def command_force(self, words: list[str]) -> dict[str, int]:
        """`force alice POSITION_LIMIT keep 5 everywhere`."""
        kept = int(words[words.index("keep") + 1]) if "keep" in words else 0
        return {
            "kind": K.FORCE_CLOSE,
            "account_id": self.account(words[0]),
            "market_id": 0 if "everywhere" in words else self.market_id,
            "lots": kept,
            "amount": c.Force[words[1]] if words[1] in c.Force.__members__ else 0,
        }

    def command_check(self, words: list[str]) -> dict[str, int]:
        return {"kind": K.CHECK_MARGIN}

    def command_clock(self, words: list[str]) -> dict[str, int]:
        return {"kind": K.CLOCK}

    def command_settle(self, words: list[str]) -> dict[str, int]:
        """`settle all`, `settle here` or `settle 105`: everywhere, or this market, at a price."""
        price = 0 if words[0] in ("all", "here") else self.price(words[0])
        market_id = 0 if words[0] == "all" else self.market_id
        return {"kind": K.SETTLE, "market_id": market_id, "price": price}

    def command_deliver(self, words: list[str]) -> dict[str, int]:
        return self.price_command(K.DELIVER, words)

    def command_asset(self, words: list[str]) -> dict[str, int]:
        """`asset alice 5` brings lots of the asset that is this market, `asset alice -5` takes."""
        lots = int(words[1])
        kind = K.DEPOSIT_ASSET if lots > 0 else K.WITHDRAW_ASSET
        return {"kind": kind, **self.leg(words), "lots": abs(lots)}

    def command_volunteer(self, words: list[str]) -> dict[str, int]:
        return {"kind": K.VOLUNTEER, **self.leg(words), "lots": int(words[1])}
