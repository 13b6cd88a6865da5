"""The policies by name: what a profile or a command line says, and the two functions that allocate.

`allocate` is the compiled way, `allocate_exactly` the same in plain integers and fractions.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.bearers import (
    NUMBER_MAX,
    Candidates,
    Options,
    Position,
    Score,
    Space,
)
from engine.core.linking import callable_part
from engine.core.policies import COLUMNS, INPUT_COLUMNS, OPTION_WORDS, share_out
from engine.policies.candidates import Allocation, checked
from engine.reference.closing import Case
from engine.reference.policies import SHARED_BY


@dataclass(frozen=True)
class Policy:
    """A way to share a need out; `number` is also its code in the compiled kernel."""

    number: int
    name: str
    exact: Callable[[Case], list[int]]


POLICIES = {
    policy.name.lower(): Policy(policy.value, policy.name.lower(), rule)
    for policy, rule in SHARED_BY.items()
}
SCORES = {score.name.lower(): score for score in Score}


def policy_named(name: str) -> Policy:
    """The policy of that name; ValueError listing the names there are."""
    if name not in POLICIES:
        raise ValueError(f"no policy {name!r}; there are: {', '.join(POLICIES)}")
    return POLICIES[name]


def _checked_options(need: int, options: Options) -> None:
    """ValueError for a need or an option outside its range."""
    if not 0 <= need < NUMBER_MAX:
        raise ValueError("need: 0 or more and below 2**61")
    if options.side not in (1, -1):
        raise ValueError("options: side is 1 or -1")
    if options.score not in set(Score) or not 0 <= options.weight <= 4:
        raise ValueError("options: no such score or weight")
    if not 0 <= options.exponent <= 16:
        raise ValueError("options: exponent from 0 to 16")
    for name in ("haircut_max_ppm", "theta_ppm", "withdrawal_ppm", "matured_ppm"):
        if not 0 <= getattr(options, name) <= 1_000_000:
            raise ValueError(f"options: {name} from 0 to 1000000")
    for name in ("last", "seed", "tries_max", "threshold_ppm", "equity_min"):
        if not 0 <= getattr(options, name) < NUMBER_MAX:
            raise ValueError(f"options: {name} from 0 to below 2**61")


def _result(amounts: np.ndarray, need: int) -> Allocation:
    """An allocation with what the amounts miss or pass the need by."""
    taken, need = int(amounts.sum()), int(need)
    return Allocation(amounts, max(0, need - taken), max(0, taken - need))


def allocate(
    name: str,
    candidates: Candidates,
    need: int,
    space: Space = Space.CONTRACT,
    options: Options | None = None,
) -> Allocation:
    """Share `need` (lots, or money in wealth space) over the candidates by the named policy.

    ValueError for an unknown policy and for numbers out of range.
    """
    options = options or Options()
    number = policy_named(name).number
    _checked_options(need, options)
    arrays = checked(candidates)
    count = len(arrays.id)
    case = np.zeros(OPTION_WORDS + COLUMNS * count, np.int64)
    case[: len(options)] = list(map(int, options))
    columns = case[OPTION_WORDS:].reshape(COLUMNS, count)
    columns[:INPUT_COLUMNS] = arrays
    callable_part(share_out)(0, case.ctypes.data, count, number, int(need), int(space), NUMBER_MAX)
    return _result(columns[INPUT_COLUMNS].copy(), need)


def allocate_exactly(
    name: str,
    candidates: Candidates,
    need: int,
    space: Space = Space.CONTRACT,
    options: Options | None = None,
) -> Allocation:
    """As `allocate`, in unbounded integers and fractions; for small cases and for tests."""
    options = options or Options()
    _checked_options(need, options)
    columns = [part.tolist() for part in checked(candidates)]
    positions = [Position(*row) for row in zip(*columns, strict=True)]
    case = Case(positions, need, Space(space), options)
    return _result(np.array(policy_named(name).exact(case), np.int64), need)
