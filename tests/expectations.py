"""What an example may expect: the `expect ...` half of the text notation.

    expect alice wallet 10.5     equity -3     margin 20 [long]     leverage 5     orders 2
    expect alice long 5 @ 101    short 5       flat
    expect book 99x5 98x1 | 101x2              expect queue sell 101: bob 5, carol 2
    expect rejected CODE         expect events FILL FILL CANCELLED.SELF_TRADE
    expect event LIQUIDATION_FEE alice amount 3.5      expect no event ADL
    expect mark 95    index 95   last 95       open interest 5
    expect liquidated alice bob
    expect alice asks 47         exit 57       initial 94   level 2     due 5s  (of her wallet)
    expect alice step 1 lots 5 limit 90        bankrupt at 90           scored 250000000

Equity is added up here from the state's rows and the profile, not asked of either
implementation. `expect events` and `expect event` speak of the last command only.
"""

import re
from fractions import Fraction

from engine import constants as c
from engine.units import format_decimal

REASONS = {
    c.EventKind.REJECTED: c.Reject,
    c.EventKind.FILL: c.Cause,
    c.EventKind.CANCELLED: c.CancelReason,
    c.EventKind.LIQUIDATION_ENDED: c.LiquidationEnd,
    c.EventKind.TAKEOVER_REFUSED: c.RefusedTakeover,
    c.EventKind.LEVEL_ENTERED: c.Level,
    c.EventKind.LEVEL_LEFT: c.Level,
    c.EventKind.MARGIN_CALL_ENDED: c.CallEnd,
    c.EventKind.FORCE_CLOSED: c.Force,
}
MONEY_FIELDS = ("amount", "fee")
VIEWED = {  # fields of views.DomainView
    "owns": "equity",
    "asks": "requirement",
    "maintains": "maintenance",
    "exit": "exit_requirement",
    "initial": "initial",
    "level": "level",
    "due": "due_ns",
}


class Expectations:
    """The half of `Venue` that compares; it reads rows and events and changes nothing."""

    def table(self, name: str) -> list[tuple[int, ...]]:
        return [tuple(int(value) for value in row) for row in self.engine.rows()[name]]

    def market_row(self, market_id: int = 0) -> tuple[int, ...]:
        return self.table("markets")[(market_id or self.market_id) - 1]

    def value(self, market_id: int, lots: int, price: int) -> int:
        """What lots are worth at a price: restated here on purpose."""
        numbers = self.numbers[market_id - 1]
        if numbers.payoff == c.Payoff.LINEAR:
            return lots * price * numbers.unit_quote
        return -round(Fraction(lots * numbers.face_quote, price))

    def check_identity(self) -> None:
        """Money and lots are neither made nor lost, after every command."""
        rows = self.engine.rows()
        balances = sum(int(row[1]) for row in rows["accounts"])
        positions = [tuple(int(value) for value in row) for row in rows["positions"]]
        balances += sum(row[5] for row in positions)
        totals = rows["totals"][0]
        owed = int(totals[2]) - int(totals[3])
        assert balances - sum(row[4] for row in positions) == owed, "money was made or lost"
        for market_id in range(1, len(self.numbers) + 1):
            lots = sum(row[3] for row in positions if row[1] == market_id)
            assert lots == 0, f"lots in market {market_id} sum to {lots}"

    def positions_of(self, name: str) -> list[tuple[int, ...]]:
        account_id = self.account(name)
        return [row for row in self.table("positions") if row[0] == account_id]

    def wallet(self, name: str) -> int:
        account_id = self.account(name)
        return next(row[1] for row in self.table("accounts") if row[0] == account_id)

    def unrealised(self, row: tuple[int, ...]) -> int:
        if row[3] == 0:
            return 0
        worth = self.value(row[1], row[3], self.market_row(row[1])[3])
        numbers = self.numbers[row[1] - 1]
        if numbers.contract == c.Contract.COLLATERAL:
            worth = worth * (c.PPM - numbers.haircut_ppm) // c.PPM
        return worth - row[4]

    def equity(self, name: str) -> int:
        cross = [row for row in self.positions_of(name) if not row[6]]
        return self.wallet(name) + sum(self.unrealised(row) for row in cross)

    # -- sentences ------------------------------------------------------------------------------

    def expect(self, text: str) -> None:
        if text.startswith("rejected "):
            code = text.split()[1]
            assert self.refused, f"{self.describe()}, expected rejected {code}"
            assert self.reject_name() == code
            self.refused = False
            return
        assert not self.refused, f"not expected: rejected {self.reject_name()} before `{text}`"
        words = text.split()
        if words[0] in self.names:
            self.expect_account(words[0], words[1], words[2:])
        elif words[0] in ("mark", "index", "last"):
            column = {"index": 1, "mark": 3, "last": 4}[words[0]]
            assert self.market_row()[column] == self.price(words[1]), self.told(text)
        elif text.startswith("open interest "):
            assert self.market_row()[5] == int(words[2]), self.told(text)
        elif words[0] == "no":
            assert not self.matching(words[2:]), self.told(text)
        else:
            getattr(self, f"expect_{words[0]}")(words[1:], text)

    def told(self, text: str) -> str:
        return f"expected {text}; {self.describe()}; markets {self.table('markets')}"

    def expect_account(self, name: str, what: str, words: list[str]) -> None:
        if what == "wallet":
            self.same_money(f"{name}'s wallet", self.wallet(name), words[0])
        elif what == "equity":
            self.same_money(f"{name}'s equity", self.equity(name), words[0])
        elif what == "orders":
            account_id = self.account(name)
            found = [r for t in ("orders", "stops") for r in self.table(t) if r[1] == account_id]
            assert len(found) == int(words[0]), f"{name}'s orders: {found}"
        elif what in ("margin", "leverage"):
            leg = self.leg_row(name, words[1:])
            if what == "margin":
                self.same_money(f"{name}'s margin", leg[5], words[0])
            else:
                assert leg[7] == int(words[0]), f"{name}'s leverage is {leg[7]}"
        elif what in VIEWED:
            self.expect_view(name, what, words)
        elif what in ("step", "bankrupt", "scored"):
            self.expect_position_view(name, what, words)
        elif what == "flat":
            here = [r for r in self.positions_of(name) if r[1] == self.market_id and r[3]]
            assert not here, f"{name} holds {here}"
        else:
            self.expect_position(name, what, words)

    def leg_row(self, name: str, words: list[str]) -> tuple[int, ...]:
        side = {"long": 1, "short": 2}[words[0]] if words else 0
        found = [r for r in self.positions_of(name) if (r[1], r[2]) == (self.market_id, side)]
        assert found, f"{name} has no such leg"
        return found[0]

    def expect_position(self, name: str, what: str, words: list[str]) -> None:
        """`long 5`, `long 5 @ 101` (average entry) or `long 5 for 505.00` (entry value)."""
        sign = {"long": 1, "short": -1}[what]
        rows = [r for r in self.positions_of(name) if r[1] == self.market_id and r[3] * sign > 0]
        found = [row[3] * sign for row in rows]
        assert found == [int(words[0])], f"{name} {what}: {found}, expected {words[0]}"
        if "@" in words:
            entry = self.value(self.market_id, rows[0][3], self.price(words[2]))
            assert rows[0][4] == entry, f"{name}'s entry value is {self.text(rows[0][4])}"
        elif "for" in words:
            self.same_money(f"{name}'s entry value", rows[0][4], words[2])

    def expect_view(self, name: str, what: str, words: list[str]) -> None:
        """How the wallet's margin domain stands, as the exchange tells its owner."""
        domain = self.engine.inspect(self.account(name))[0]
        found, text = getattr(domain, VIEWED[what]), words[-1]
        if what == "level":
            assert found == int(text), f"{name}'s level is {found}"
        elif what == "due":
            assert found == self.duration(text), f"{name} waits until {found}"
        else:
            self.same_money(f"{name}'s {VIEWED[what]}", found, text)

    def expect_position_view(self, name: str, what: str, words: list[str]) -> None:
        """The next step, bankruptcy price or score of the leg in this market."""
        domains = self.engine.inspect(self.account(name))
        legs = [leg for domain in domains for leg in domain.positions]
        leg = next(leg for leg in legs if leg.market_id == self.market_id)
        if what == "bankrupt":
            assert leg.bankruptcy_price == self.price(words[1]), f"{name}: {leg}"
        elif what == "scored":
            assert leg.adl_score == int(words[0]), f"{name}: {leg}"
        else:
            step = leg.steps[int(words[0]) - 1]
            assert step.lots == int(words[2]), f"{name}: {step}"
            assert len(words) < 5 or step.limit_price == self.price(words[4]), f"{name}: {step}"

    def text(self, money: int) -> str:
        return format_decimal(money, self.money_decimals)

    def same_money(self, what: str, money: int, text: str) -> None:
        assert money == self.money(text), f"{what} is {self.text(money)}, expected {text}"

    # -- the book -------------------------------------------------------------------------------

    def levels(self, side: int) -> list[str]:
        """`price x lots` of every level, best first."""
        lots: dict[int, int] = {}
        for row in self.table("orders"):
            if (row[2], row[3]) == (self.market_id, side):
                lots[row[4]] = lots.get(row[4], 0) + row[5]
        decimals = self.profile.markets[self.market_id - 1].price_decimals
        return [f"{format_decimal(price, decimals)}x{size}" for price, size in lots.items()]

    def expect_book(self, words: list[str], text: str) -> None:
        wanted = [side.split() for side in " ".join(words).split("|")]
        found = [self.levels(c.Side.BUY), self.levels(c.Side.SELL)]
        assert found == wanted, f"book {found}, expected {wanted}"

    def expect_queue(self, words: list[str], text: str) -> None:
        side, price = c.Side[words[0].upper()], self.price(words[1].rstrip(":"))
        ids = {account_id: name for name, account_id in self.names.items()}
        found = [
            f"{ids[row[1]]} {row[5]}"
            for row in self.table("orders")
            if (row[2], row[3], row[4]) == (self.market_id, side, price)
        ]
        assert ", ".join(found) == " ".join(words[2:])

    # -- events ---------------------------------------------------------------------------------

    def names_of_events(self) -> list[str]:
        found = []
        for kind, reason in zip(self.events["kind"], self.events["reason"], strict=True):
            name = c.EventKind(int(kind)).name
            found.append(f"{name}.{REASONS[kind](int(reason)).name}" if kind in REASONS else name)
        return found

    def describe(self) -> str:
        return f"`{self.sentence}`: the last command gave {' '.join(self.names_of_events())}"

    def expect_events(self, words: list[str], text: str) -> None:
        """All events of the last command in order; a reason may be left out."""
        found = self.names_of_events()
        same = len(found) == len(words) and all(
            event == word or event.split(".")[0] == word
            for event, word in zip(found, words, strict=True)
        )
        assert same, f"{self.describe()}, expected {' '.join(words)}"

    def expect_event(self, words: list[str], text: str) -> None:
        assert self.matching(words), f"no event {' '.join(words)}; {self.seen_as(words)}"

    def seen_as(self, words: list[str]) -> str:
        kind = words[0].split(".")[0]
        rows = self.events[self.events["kind"] == c.EventKind[kind]]
        return f"{self.describe()}\n" + "\n".join(
            str({name: int(row[name]) for name in rows.dtype.names if row[name]}) for row in rows
        )

    def matching(self, words: list[str]) -> list:
        """Events of the last command of a kind (and reason), of an account, with fields."""
        kind, _, reason = words[0].partition(".")
        found = [row for row in self.events if row["kind"] == c.EventKind[kind]]
        if reason:
            number = REASONS[c.EventKind[kind]][reason]
            found = [row for row in found if row["reason"] == number]
        fields = words[1:]
        if fields and fields[0] in self.names:
            found = [row for row in found if row["account_id"] == self.names[fields[0]]]
            fields = fields[1:]
        for name, text in zip(fields[::2], fields[1::2], strict=True):
            found = [row for row in found if row[name] == self.field(name, text)]
        return found

    def field(self, name: str, text: str) -> int:
        if name in MONEY_FIELDS and text.endswith("s"):
            return self.duration(text)
        if name in MONEY_FIELDS and not text.endswith(("ppb", "raw")):
            return self.money(text)
        if name == "price":
            return self.price(text)
        if name == "other_id":
            return self.names[text]
        return int(re.sub(r"(ppb|raw)$", "", text))

    def expect_liquidated(self, words: list[str], text: str) -> None:
        """Whose liquidations started in the last command, in order."""
        ids = {account_id: name for name, account_id in self.names.items()}
        started = self.events[self.events["kind"] == c.EventKind.LIQUIDATION_STARTED]
        found = [ids[int(row["account_id"])] for row in started]
        assert found == words, f"{self.describe()}; liquidated {found}"
