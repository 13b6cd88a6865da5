"""What a run may be asked: whether one of its columns is above or below a number."""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.study.workers import StudyError

NAMED = {"adl_starts": "adl_fills_count > 0", "bad_debt": "bad_debt_quote > 0"}
COMPARE = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_CONDITION = re.compile(r"^\s*([a-z][A-Za-z0-9_-]*)\s*(>=|<=|>|<)\s*(-?[0-9][0-9_]*)\s*\Z")


@dataclass(frozen=True)
class Condition:
    """A column, a comparison and a number."""

    column: str
    holds: Callable[[int, int], bool]
    number: int

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Read `column > number` or a named condition; raises ValueError with what is expected.

        >>> Condition.parse("adl_starts").column
        'adl_fills_count'
        """
        match = _CONDITION.match(NAMED.get(text, text))
        if match is None:
            names = ", ".join(NAMED)
            raise ValueError(f"expected {names}, or a column, > or <, and a number, got {text!r}")
        return cls(match[1], COMPARE[match[2]], int(match[3]))

    def of(self, row: dict[str, Any]) -> bool:
        """Whether it holds in a row; raises StudyError for a row without such a number."""
        if row["error"]:
            raise StudyError(f"run of seed {row['seed']}: {row['error']}")
        value = row.get(self.column)
        if type(value) is not int:
            raise StudyError(f"condition: a row has no number {self.column!r}")
        return self.holds(value, self.number)
