"""More sentences for the notation: what settles, delivers and takes over.

settle     settle here     settle here @ 95        the session ends, in all markets or here
deliver 95                                         the market's final settlement
expect vault long 10 @ 114                         the BACKSTOP account by name
given losses.gate_ns = 5m                          durations
"""

from notation import Venue
from small_venues import patch

from engine import constants as c
from engine.constants import CommandKind as K


class Stage(Venue):
    """A `Venue` that understands the sentences above too."""

    def __init__(self, implementation: str) -> None:
        super().__init__(implementation)
        self.names["vault"] = int(c.SystemAccount.BACKSTOP)

    def given_field(self, path: str, words: str) -> None:
        if path.endswith("_ns"):
            patch(self.raw, path, self.duration(words))
        else:
            super().given_field(path, words)

    def command_settle(self, words: list[str]) -> dict[str, int]:
        return {
            "kind": K.SETTLE,
            "market_id": self.market_id if "here" in words else 0,
            "price": self.price(words[-1]) if "@" in words else 0,
        }

    def command_deliver(self, words: list[str]) -> dict[str, int]:
        return self.price_command(K.DELIVER, words)
